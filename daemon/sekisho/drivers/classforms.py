"""HTB classes, the queues in them and filters as messages of rtnetlink(7): how they are written, and how they are told.

The layout is that of linux/pkt_sched.h. What is told of a class is compared as a whole with what we write for its rate: a ceil below
the rate, or a burst of nothing, slows a line as much as the rate does.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from sekisho.drivers.netlink import CREATE, EXCLUSIVE, REPLACE, Message, attribute, table_of, text, within
from sekisho.enforce.state import DRAIN, MAJOR, ODD

HANDLE = MAJOR << 16
ROOT = 0xFFFFFFFF
HTB = "htb"
NEWQDISC, DELQDISC, GETQDISC, NEWTCLASS, DELTCLASS, GETTCLASS, DELTFILTER, GETTFILTER = 36, 37, 38, 40, 41, 42, 45, 46
TC = struct.Struct("=BBHiIII")
_FAIR, _PLAIN = "fq_codel", "pfifo"
_QUEUES = frozenset({_FAIR, _PLAIN})
_KIND, _OPTIONS, _STATS2, _CHAIN = 1, 2, 7, 11
_PARMS, _INIT, _RATE64, _CEIL64 = 1, 2, 6, 7
_QUEUE = 3
"""TCA_STATS_QUEUE."""
_GLOBAL = struct.Struct("=III")
"""The first members of tc_htb_glob: version, rate2quantum, defcls."""
_PARMS_FORM = struct.Struct("=BBHhHIBBHhHIIIIII")
_FLOWS = 5
"""TCA_FQ_CODEL_FLOWS."""
_ETHERNET = 1
_TICK = 64
"""Nanoseconds of a tick in which the kernel has bursts (PSCHED_SHIFT)."""
_FRAME = 1514
_BURST_SECONDS = 0.01
_QUEUE_SECONDS = 0.25
"""Time a full frame waits at most at the rate of its class, where the kernel has no fq_codel."""
_FEW, _MANY = 64, 10_000
"""Frames that may wait, whatever the rate."""
_LINE_FLOWS = 128
"""Queues of one line among which it is fair: with the kernel's own thousand a class takes 70 kB."""
_WORD, _LONG, _OFFSETS = struct.Struct("=I"), struct.Struct("=Q"), struct.Struct("=HH")
_NARROW = 0xFFFFFFFF

Place = tuple[int, int]
"""Index of the device, and minor number of a class."""


class Root(NamedTuple):
    """What is at the root of a device. `default`: the class an HTB puts in what has none."""

    kind: str
    handle: int
    default: int = 0

    @property
    def is_ours(self) -> bool:
        return self.kind == HTB and self.handle == HANDLE


class Queue(NamedTuple):
    """What is in a class of ours."""

    handle: int
    kind: str


class Found(NamedTuple):
    """A class as it is told: its rate (bytes/s; `ODD`: it is not as we make one), whether something waits in it, the class or root it
    is under, and the handle of the queue in it.
    """

    rate: int
    waits: bool
    parent: int
    queue: int


class Chain(NamedTuple):
    """Filters at one place of a device: where they are (`parent`), and the number of their chain."""

    device: int
    parent: int
    chain: int


def class_in(place: Place, rate: int) -> Message:
    """A class of a rate (bytes/s) that nobody lends anything."""
    options = attribute(_PARMS, _parameters(rate, -1))
    if rate > _NARROW:
        options += attribute(_RATE64, _LONG.pack(rate)) + attribute(_CEIL64, _LONG.pack(rate))
    return Message(NEWTCLASS, CREATE | REPLACE, class_at(place) + text(_KIND, HTB) + attribute(_OPTIONS, options))


def fair_queue_in(place: Place) -> Message:
    """The queue in a class, where the kernel has fq_codel."""
    device, number = place
    head = TC.pack(0, 0, 0, device, number << 16, HANDLE | number, 0)
    flows = attribute(_FLOWS, _WORD.pack(_LINE_FLOWS))
    return Message(NEWQDISC, CREATE | EXCLUSIVE, head + text(_KIND, _FAIR) + attribute(_OPTIONS, flows))


def queue_in(place: Place, rate: int) -> Message:
    """The queue in a class elsewhere: one that holds a quarter of a second."""
    device, number = place
    head = TC.pack(0, 0, 0, device, number << 16, HANDLE | number, 0)
    limit = int(min(_MANY, max(_FEW, rate * _QUEUE_SECONDS / _FRAME)))
    return Message(NEWQDISC, CREATE | REPLACE, head + text(_KIND, _PLAIN) + attribute(_OPTIONS, _WORD.pack(limit)))


def class_at(place: Place) -> bytes:
    device, number = place
    return TC.pack(0, 0, 0, device, HANDLE | number, HANDLE, 0)


def queue_at(place: Place) -> bytes:
    """Whatever queue is in a class."""
    device, number = place
    return TC.pack(0, 0, 0, device, 0, HANDLE | number, 0)


def filters_out(one: Chain) -> Message:
    """All filters of a chain at once."""
    return Message(DELTFILTER, 0, TC.pack(0, 0, 0, one.device, 0, one.parent, 0) + attribute(_CHAIN, _WORD.pack(one.chain)))


def root_in(told: bytes) -> Root:
    parts = table_of(told, TC.size)
    kind, (_, _, _, _, handle, _, _) = parts[_KIND].rstrip(b"\0").decode(), TC.unpack_from(told)
    default = 0
    if kind == HTB and _OPTIONS in parts:
        _, _, default = _GLOBAL.unpack_from(table_of(parts[_OPTIONS])[_INIT])
    return Root(kind, handle, default)


def queues_in(parts: Iterable[bytes]) -> Iterator[tuple[Place, Queue]]:
    """Of qdiscs those that are in classes of ours."""
    for told in parts:
        _, _, _, device, handle, parent, _ = TC.unpack_from(told)
        if parent >> 16 == MAJOR:
            # The kind is told first.
            length, _ = _OFFSETS.unpack_from(told, TC.size)
            yield (device, parent & 0xFFFF), Queue(handle, told[TC.size + 4 : TC.size + length - 1].decode())


def is_queue_of(place: Place, queue: Queue) -> bool:
    """Whether it is one that we put in a class."""
    return queue.handle == place[1] << 16 and queue.kind in _QUEUES


def chains_in(device: int, parent: int, parts: Iterable[bytes]) -> set[Chain]:
    found = set()
    for told in parts:
        chain = table_of(told, TC.size).get(_CHAIN)
        found.add(Chain(device, parent, _WORD.unpack(chain)[0] if chain is not None else 0))
    return found


def classes_in(parts: Iterable[bytes]) -> dict[int, Found]:
    """By minor number. Messages of one length, with options of one length, are laid out alike."""
    found: dict[int, Found] = {}
    layouts: dict[tuple[int, bytes], tuple[int, int]] = {}
    for told in parts:
        _, _, _, _, handle, parent, queue = TC.unpack_from(told)
        if handle >> 16 != MAJOR:
            continue
        # "htb", the kind, is told first, and the length of the options behind it.
        alike = len(told), told[TC.size + 8 : TC.size + 10]
        layout = layouts.get(alike)
        if layout is None:
            first, waiting, rate = _layout(told)
            if rate is None:
                layouts[alike] = first, waiting
        else:
            (first, waiting), rate = layout, None
        parameters = told[first : first + _PARMS_FORM.size]
        if rate is None:
            (rate,) = _WORD.unpack_from(parameters, 8)
        waits = bool(waiting and _WORD.unpack_from(told, waiting)[0])
        found[handle & 0xFFFF] = Found(rate if rate and parameters == _told_of(rate) else ODD, waits, parent, queue)
    return found


def rate_of(one: Found, *, queued: bool) -> int:
    """Rate of a class, `ODD` also if what is in it (`queued`: a queue of ours) is not what we put there.

    One that nothing is put in any more has the queue it had, or none.
    """
    return one.rate if queued or (one.rate == DRAIN and not one.queue) else ODD


def _parameters(rate: int, align: int) -> bytes:
    burst = int(max(2 * _FRAME, rate * _BURST_SECONDS))
    quantum = int(min(60_000, max(_FRAME, rate * _BURST_SECONDS)))
    ticks = min(0xFFFFFFFF, burst * 1_000_000_000 // rate // _TICK)
    spec = (0, _ETHERNET, 0, align, 0, min(rate, _NARROW))
    return _PARMS_FORM.pack(*spec, *spec, ticks, ticks, quantum, 0, 0)


@lru_cache(4096)
def _told_of(rate: int) -> bytes:
    """What the kernel tells of a class of ours."""
    return _parameters(rate, 0)


def _layout(told: bytes) -> tuple[int, int, int | None]:
    """Where the parameters are, and the number of packets that wait (0: it is not told); and the rate if it is told in 64 bits, of which
    ceil has as many: else it is no rate of ours.
    """
    whole = (TC.size, len(told))
    options = within(told, whole, _OPTIONS)
    narrow = within(told, options, _PARMS) if options is not None else None
    if options is None or narrow is None or narrow[1] - narrow[0] < _PARMS_FORM.size:
        raise OSError(errno.EPROTO, "a class is told in a form that is not known")
    queue = within(told, whole, _STATS2, _QUEUE)
    waiting = queue[0] if queue is not None else 0
    rate, ceil = (within(told, options, kind) for kind in (_RATE64, _CEIL64))
    if rate is None and ceil is None:
        return narrow[0], waiting, None
    same = rate is not None and ceil is not None and told[slice(*rate)] == told[slice(*ceil)]
    return narrow[0], waiting, _LONG.unpack_from(told, rate[0])[0] if same and rate is not None else 0
