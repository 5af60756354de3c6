"""HTB classes and the queues in them, through rtnetlink(7): thousands written or read at once.

pyroute2 makes roots and devices (`shaping`); a class takes it milliseconds, most of them for tables that no kernel of today
reads. How they are written is `classforms`'s.

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
from collections.abc import Collection, Iterable, Mapping, Sequence

from sekisho.drivers.classforms import (
    DELQDISC,
    DELTCLASS,
    GETQDISC,
    GETTCLASS,
    GETTFILTER,
    HANDLE,
    ROOT,
    TC,
    Chain,
    Found,
    Place,
    Queue,
    Root,
    chains_in,
    class_at,
    class_in,
    classes_in,
    fair_queue_in,
    filters_out,
    is_queue_of,
    queue_at,
    queue_in,
    queues_in,
    rate_of,
    root_in,
)
from sekisho.drivers.netlink import ECHO, ROUTE, Message, Netlink, within
from sekisho.enforce.state import DRAIN, MOST_NUMBERS

_GETLINK, _LINKINFO, _INFO_KIND = 18, 18, 1
_LINK = struct.Struct("=BxHiII")
"""ifinfomsg of linux/rtnetlink.h."""
_AT_ONCE = 1000
_ASKED = 64
"""Requests at once of which each is answered."""


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
        found: dict[int, Root] = {}
        for told in self._told([Message(GETQDISC, ECHO, TC.pack(0, 0, 0, one, 0, ROOT, 0)) for one in devices]).values():
            _, _, _, device, _, parent, _ = TC.unpack_from(told)
            if parent == ROOT:
                found[device] = root_in(told)
        return found

    def read(self, device: int) -> dict[int, Found]:
        """Our classes on a device by minor number. Raises OSError."""
        return classes_in(self._netlink.dump(GETTCLASS, TC.pack(0, 0, 0, device, 0, HANDLE, 0)).parts)

    def queued(self) -> set[Place]:
        """The classes on all devices that have a queue as we make one. Raises OSError."""
        told = self._netlink.dump(GETQDISC, TC.pack(0, 0, 0, 0, 0, 0, 0)).parts
        return {place for place, queue in queues_in(told) if is_queue_of(place, queue)}

    def filters(self, device: int, numbers: Iterable[int]) -> set[Chain]:
        """Filters at a root of ours, at classes under it, and at the queues in them: we make none. Raises OSError."""
        # The last number is the handle of what comes in (ingress, clsact), which is no part of a root.
        parents = [HANDLE, *(parent for one in numbers for parent in (HANDLE | one, one << 16)[: 1 if one > MOST_NUMBERS else 2])]
        found: set[Chain] = set()
        try:
            for parent in parents:
                found |= chains_in(device, parent, self._netlink.dump(GETTFILTER, TC.pack(0, 0, 0, device, 0, parent, 0)).parts)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # a kernel that has no filters at all
                raise
        return found

    def kind(self, device: int) -> str:
        """The kind of a virtual device; none: of another one, or of one that is not there. Raises OSError."""
        for told in self._told([Message(_GETLINK, ECHO, _LINK.pack(0, 0, device, 0, 0))]).values():
            kind = within(told, (_LINK.size, len(told)), _LINKINFO, _INFO_KIND)
            return told[slice(*kind)].rstrip(b"\0").decode() if kind is not None else ""
        return ""

    def some(self, places: Iterable[Place]) -> dict[Place, int]:
        """The rates of those of some classes that are there, as `rate_of` has them. Raises OSError."""
        given = list(places)
        told = self._told([Message(GETTCLASS, ECHO, class_at(place)) for place in given])
        queues = self._queues(given)
        found: dict[Place, int] = {}
        for at, message in told.items():
            place = given[at]
            for one in classes_in([message]).values():
                found[place] = rate_of(one, queued=place in queues and is_queue_of(place, queues[place]))
        return found

    def put(self, wanted: Mapping[Place, int]) -> None:
        """Make classes with their queues, or change their rates; what waits in a queue of ours stays. Raises OSError."""
        given = list(wanted.items())
        for first in range(0, len(given), _AT_ONCE):
            part = given[first : first + _AT_ONCE]
            self._sent([class_in(place, rate) for place, rate in part])
            foreign = [place for place, queue in self._queues([place for place, _ in part]).items() if not is_queue_of(place, queue)]
            self._sent([Message(DELQDISC, 0, queue_at(place)) for place in foreign], (errno.ENOENT,))
            queued = [(place, rate) for place, rate in part if rate != DRAIN]
            if self._fair:
                missing = self._sent([fair_queue_in(place) for place, _ in queued], (errno.EEXIST, errno.ENOENT))
                self._fair = errno.ENOENT not in missing
            if not self._fair:
                self._sent([queue_in(place, rate) for place, rate in queued])

    def drop(self, places: Iterable[Place]) -> set[Place]:
        """Take classes away; that one is gone already is right. Those the kernel does not let go, since somebody else made something that
        leads there. Raises OSError.
        """
        given = list(places)
        held: set[Place] = set()
        for first in range(0, len(given), _AT_ONCE):
            part = given[first : first + _AT_ONCE]
            errors = self._netlink.ask([Message(DELTCLASS, 0, class_at(place)) for place in part]).errors
            held.update(part[at] for at, code in errors.items() if code == errno.EBUSY)
            _refuse(errors.values(), (errno.ENOENT, errno.EBUSY))
        return held

    def flush(self, filters: Iterable[Chain]) -> None:
        """Take filters away. Raises OSError."""
        self._sent([filters_out(one) for one in filters], (errno.ENOENT, errno.ENODEV, errno.EINVAL))

    def uproot(self, roots: Mapping[int, int]) -> None:
        """Take roots away, with all that is under them: handles by the index of the device. Raises OSError."""
        requests = [Message(DELQDISC, 0, TC.pack(0, 0, 0, device, handle, ROOT, 0)) for device, handle in roots.items()]
        self._sent(requests, (errno.ENOENT, errno.ENODEV))

    def _queues(self, places: Sequence[Place]) -> dict[Place, Queue]:
        """What is in some classes, where it is not what the kernel puts there itself."""
        return dict(queues_in(self._told([Message(GETQDISC, ECHO, queue_at(place)) for place in places]).values()))

    def _told(self, requests: Sequence[Message]) -> dict[int, bytes]:
        """What is told, by the place of the request; nothing of what is not there."""
        found: dict[int, bytes] = {}
        for first in range(0, len(requests), _ASKED):
            told = self._netlink.ask(requests[first : first + _ASKED]).told
            found.update((first + at, message) for at, message in told.items())
        return found

    def _sent(self, messages: Sequence[Message], allowed: Collection[int] = ()) -> set[int]:
        """The errors among those that are allowed. Raises OSError for another one."""
        found = set(self._netlink.ask(messages).errors.values())
        _refuse(found, allowed)
        return found


def _refuse(errors: Iterable[int], allowed: Collection[int]) -> None:
    for code in sorted(set(errors).difference(allowed)):
        raise OSError(code, os.strerror(code))
