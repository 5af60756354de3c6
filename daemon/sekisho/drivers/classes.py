"""HTB classes and the queues in them, as messages of rtnetlink(7): thousands written or read at once.

pyroute2 makes roots and devices (`shaping`); a class takes it milliseconds, most of them for tables that no kernel of today
reads. The layout is that of linux/pkt_sched.h.

All classes of a device are in one HTB. The kernel goes through all classes of a qdisc for a new one (`tc_bind_tclass`), and through a
sixteenth of all queues of the device for each that is named (its hash has 16 places): the more lines are slowed, the longer the next
takes. Measured in a namespace with `tc -batch`, Linux 6.18, on a busy machine: 1,000 classes 0.3 s, 4,000 4.7 s, 10,000 82 s; spread
over 64 HTBs within one, 0.2, 2.3 and 16 to 28 s. That is no other order of growth, and such a hierarchy has its price: the outer HTB
finds the inner one of a packet by a classifier (`flow`) that not every kernel has - this one did not -, and expects of what is in its
classes that it has a packet whenever it has any, which an HTB that holds a line back has not. So it is one.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sekisho.drivers.netlink import CREATE, ECHO, EXCLUSIVE, REPLACE, ROUTE, Message, Netlink, attribute, table_of, text, within
from sekisho.enforce.state import DRAIN, MAJOR

HANDLE = MAJOR << 16
ROOT = 0xFFFFFFFF
_NEWQDISC, _GETQDISC, _NEWTCLASS, _DELTCLASS, _GETTCLASS = 36, 38, 40, 41, 42
_TC = struct.Struct("=BBHiIII")
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_PARMS, _RATE64, _CEIL64 = 1, 6, 7
_QUEUE = 3
"""TCA_STATS_QUEUE."""
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
_AT_ONCE = 1000

Place = tuple[int, int]
"""Index of the device, and minor number of a class."""


@dataclass(frozen=True, slots=True)
class Root:
    """What is at the root of a device."""

    kind: str
    handle: int


class Classes:
    """One netlink socket, of the network namespace of the thread it is made in."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._netlink = Netlink(ROUTE)
        self._fair = True

    def close(self) -> None:
        self._netlink.close()

    def roots(self, devices: Sequence[int]) -> dict[int, Root]:
        """What is at the root of some devices, by index; those that have only what the kernel gives them may be missing. Raises OSError."""
        requests = [Message(_GETQDISC, ECHO, _TC.pack(0, 0, 0, one, 0, ROOT, 0)) for one in devices]
        found: dict[int, Root] = {}
        for first in range(0, len(requests), 64):
            for told in self._netlink.ask(requests[first : first + 64]).told.values():
                _, _, _, device, handle, parent, _ = _TC.unpack_from(told)
                if parent == ROOT:
                    found[device] = Root(table_of(told, _TC.size)[_KIND].rstrip(b"\0").decode(), handle)
        return found

    def read(self, device: int) -> dict[int, tuple[int, bool]]:
        """Our classes on a device by minor number: rate (bytes/s), and whether something waits. Raises OSError."""
        return _decode(self._netlink.dump(_GETTCLASS, _TC.pack(0, 0, 0, device, 0, HANDLE, 0)).parts)

    def some(self, places: Iterable[Place]) -> dict[Place, int]:
        """The rates of those of some classes that are there. Raises OSError."""
        found: dict[Place, int] = {}
        given = list(places)
        for first in range(0, len(given), 64):
            asked = given[first : first + 64]
            told = self._netlink.ask([Message(_GETTCLASS, ECHO, _head(device, number)) for device, number in asked]).told
            for at, one in told.items():
                for rate, _ in _decode([one]).values():
                    found[asked[at]] = rate
        return found

    def put(self, wanted: Mapping[Place, int]) -> None:
        """Make classes with their queues, or change their rates; what waits in them stays. Raises OSError."""
        given = list(wanted.items())
        for first in range(0, len(given), _AT_ONCE):
            part = given[first : first + _AT_ONCE]
            self._sent([class_in(place, rate) for place, rate in part])
            queued = [(place, rate) for place, rate in part if rate != DRAIN]
            if self._fair:
                missing = self._sent([fair_queue_in(place) for place, _ in queued], (errno.EEXIST, errno.ENOENT))
                self._fair = errno.ENOENT not in missing
            if not self._fair:
                self._sent([queue_in(place, rate) for place, rate in queued])

    def drop(self, places: Iterable[Place]) -> None:
        """Take classes away; that one is gone already is right. Raises OSError."""
        given = [Message(_DELTCLASS, 0, _head(device, number)) for device, number in places]
        for first in range(0, len(given), _AT_ONCE):
            self._sent(given[first : first + _AT_ONCE], (errno.ENOENT,))

    def _sent(self, messages: Sequence[Message], allowed: Sequence[int] = ()) -> set[int]:
        """The errors among those that are allowed. Raises OSError for another one."""
        found = set(self._netlink.ask(messages).errors.values())
        for code in sorted(found.difference(allowed)):
            raise OSError(code, os.strerror(code))
        return found


def class_in(place: Place, rate: int) -> Message:
    """A class of a rate (bytes/s) that nobody lends anything."""
    burst = int(max(2 * _FRAME, rate * _BURST_SECONDS))
    quantum = int(min(60_000, max(_FRAME, rate * _BURST_SECONDS)))
    ticks = min(0xFFFFFFFF, burst * 1_000_000_000 // rate // _TICK)
    spec = (0, _ETHERNET, 0, -1, 0, min(rate, 0xFFFFFFFF))
    options = attribute(_PARMS, _PARMS_FORM.pack(*spec, *spec, ticks, ticks, quantum, 0, 0))
    if rate > 0xFFFFFFFF:
        options += attribute(_RATE64, rate.to_bytes(8, "little")) + attribute(_CEIL64, rate.to_bytes(8, "little"))
    return Message(_NEWTCLASS, CREATE | REPLACE, _head(*place) + text(_KIND, "htb") + attribute(_OPTIONS, options))


def fair_queue_in(place: Place) -> Message:
    """The queue in a class, where the kernel has fq_codel."""
    flows = attribute(_FLOWS, _LINE_FLOWS.to_bytes(4, "little"))
    return Message(_NEWQDISC, CREATE | EXCLUSIVE, _within(place) + text(_KIND, "fq_codel") + attribute(_OPTIONS, flows))


def queue_in(place: Place, rate: int) -> Message:
    """The queue in a class elsewhere: one that holds a quarter of a second."""
    limit = int(min(_MANY, max(_FEW, rate * _QUEUE_SECONDS / _FRAME)))
    return Message(_NEWQDISC, CREATE | REPLACE, _within(place) + text(_KIND, "pfifo") + attribute(_OPTIONS, limit.to_bytes(4, "little")))


def _head(device: int, number: int) -> bytes:
    return _TC.pack(0, 0, 0, device, HANDLE | number, HANDLE, 0)


def _within(place: Place) -> bytes:
    device, number = place
    return _TC.pack(0, 0, 0, device, number << 16, HANDLE | number, 0)


def _decode(parts: Iterable[bytes]) -> dict[int, tuple[int, bool]]:
    """Messages of one length are laid out alike."""
    found: dict[int, tuple[int, bool]] = {}
    layouts: dict[int, tuple[int, int, int]] = {}
    number, rate32, rate64 = struct.Struct("=I"), struct.Struct("=I"), struct.Struct("=Q")
    for told in parts:
        (handle,) = number.unpack_from(told, 8)
        if handle >> 16 != MAJOR:
            continue
        layout = layouts.get(len(told))
        if layout is None:
            layout = layouts[len(told)] = _layout(told)
        narrow, wide, waiting = layout
        rate = rate64.unpack_from(told, wide)[0] if wide else rate32.unpack_from(told, narrow)[0]
        found[handle & 0xFFFF] = rate, bool(waiting and number.unpack_from(told, waiting)[0])
    return found


def _layout(told: bytes) -> tuple[int, int, int]:
    """Where the rate is in 32 and in 64 bits, and the number of packets that wait; 0: it is not told."""
    whole = (_TC.size, len(told))
    options = within(told, whole, _OPTIONS)
    narrow = within(told, options, _PARMS) if options is not None else None
    wide = within(told, options, _RATE64) if options is not None else None
    queue = within(told, whole, _STATS2, _QUEUE)
    if narrow is None:
        raise OSError(errno.EPROTO, "a class is told in a form that is not known")
    return narrow[0] + 8, wide[0] if wide is not None else 0, queue[0] if queue is not None else 0
