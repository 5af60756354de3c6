"""HTB classes of slowed lines: on the devices towards the customers, and on one of our own for the other direction.

What goes to a customer waits in its class where it leaves towards the customers. What comes from one is led to our device of kind
ifb as soon as it comes in (nftables does that, for slowed customers alone) and waits there. A packet without a class passes as if
there were no HTB. Owns the roots with our handle and that device, which pyroute2 makes; a root of somebody else's is left as it is,
and told. All calls from one thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sekisho.drivers.classes import HANDLE, ROOT, Classes
from sekisho.enforce.difference import Change
from sekisho.enforce.state import Class
from sekisho.enforce.wanted import Where
from sekisho.model.errors import UnavailableError

UP_DEVICE = "sekisho-up"
_QUEUE_LENGTH = 1000
_GET_FLAGS, _UP = 0x8913, 0x1
"""SIOCGIFFLAGS, IFF_UP."""


@dataclass(frozen=True, slots=True)
class FoundClasses:
    """What was read. `problems`: a sentence for each device nothing can be done on; `left`: indexes of devices lines are not limited on
    any more, with a root of ours.
    """

    classes: dict[Class, int]
    busy: frozenset[Class]
    usable: frozenset[str]
    """Devices that are there and have no root of somebody else's."""
    problems: tuple[str, ...]
    indexes: Mapping[str, int]
    rooted: frozenset[str]
    left: tuple[int, ...]
    ready: bool
    """Whether our device is there, and up."""


def read_classes(classes: Classes, where: Where) -> FoundClasses:
    """Our classes on every device. Raises UnavailableError."""
    with told():
        indexes = {name: number for number, name in socket.if_nameindex()}
        roots = classes.roots(list(indexes.values()))
        wanted = {*where.down, where.up}
        usable, problems, rooted, left = {where.up}, [], set(), []
        for device, index in indexes.items():
            root = roots.get(index)
            ours = root is not None and root.handle == HANDLE and root.kind == "htb"
            if ours and device not in wanted:
                left.append(index)
            elif ours:
                rooted.add(device)
            if device in where.down and (ours or root is None or root.handle == 0):
                usable.add(device)
            elif device in where.down and root is not None:
                known = f"{root.kind} {root.handle >> 16:x}:"
                problems.append(f"HTB: {device} has a queueing discipline of somebody else's ({known}), which is left as it is")
        missing = [device for device in where.down if device not in indexes]
        problems += [f"HTB: there is no interface {device}; mend `lines: customers`" for device in missing]
        found: dict[Class, int] = {}
        busy = set()
        for device in rooted:
            for number, (rate, waits) in classes.read(indexes[device]).items():
                found[Class(device, number)] = rate
                if waits:
                    busy.add(Class(device, number))
    ready = _is_up(UP_DEVICE)
    return FoundClasses(found, frozenset(busy), frozenset(usable), tuple(problems), indexes, frozenset(rooted), tuple(left), ready)


def opened_classes() -> Classes:
    """Raises UnavailableError."""
    try:
        return Classes()
    except OSError as error:
        raise UnavailableError(f"HTB: no netlink socket ({error.strerror}); see RestrictAddressFamilies= of the unit") from error


class Shaping:
    """The classes, through one netlink socket."""

    def __init__(self) -> None:
        """Raises UnavailableError."""
        self._classes = opened_classes()
        self._pyroute: Any = None
        self._indexes: dict[str, int] = {}
        self._rooted: set[str] = set()
        self._ready = False

    def close(self) -> None:
        self._classes.close()
        if self._pyroute is not None:
            self._pyroute.close()

    def read(self, where: Where) -> FoundClasses:
        """Our classes on every device; what is on devices lines are not limited on any more goes. Raises UnavailableError."""
        found = read_classes(self._classes, where)
        with told():
            for index in found.left:
                self._route().tc("del", index=index, handle=HANDLE, parent=ROOT)
        self._indexes, self._rooted = dict(found.indexes), set(found.rooted)
        self._ready = found.ready
        return found

    def some(self, classes: Iterable[Class]) -> dict[Class, int]:
        """The rates of those of some classes that are there. Raises UnavailableError."""
        places = {(self._indexes[one.device], one.number): one for one in classes if one.device in self._indexes}
        with told():
            return {places[place]: rate for place, rate in self._classes.some(places).items()}

    def is_light(self, change: Change) -> bool:
        """Whether a change is of classes alone: our device and the roots they are under are there."""
        return self._ready and {one.device for one in change.put_classes} <= self._rooted

    def make(self, change: Change) -> None:
        """Make the classes a change wants there, and change the rates of those there are. Raises UnavailableError."""
        with told():
            for device in {one.device for one in change.put_classes}:
                self._root(device)
            self._classes.put({(self._indexes[one.device], one.number): rate for one, rate in change.put_classes.items()})

    def drop(self, change: Change) -> None:
        """Take away the classes a change does not want any more. Raises UnavailableError."""
        with told():
            known = (one for one in change.drop_classes if one.device in self._indexes)
            self._classes.drop((self._indexes[one.device], one.number) for one in known)

    def remove(self) -> None:
        """Take away every root of ours, and our device. Raises UnavailableError."""
        with told():
            devices = {name: number for number, name in socket.if_nameindex()}
            for index, root in self._classes.roots(list(devices.values())).items():
                if root.handle == HANDLE and root.kind == "htb":
                    self._route().tc("del", index=index, handle=HANDLE, parent=ROOT)
            if UP_DEVICE in devices:
                self._route().link("del", index=devices[UP_DEVICE])
        self._indexes, self._rooted, self._ready = {}, set(), False

    def prepare(self) -> None:
        """Make our device, with its root: nothing passes it yet. Raises UnavailableError."""
        with told():
            self.device()
            self._root(UP_DEVICE)

    def device(self) -> bool:
        """See that our device is there: rules name it. Whether it was made now. Raises UnavailableError."""
        if self._ready:
            return False
        made = UP_DEVICE not in self._indexes
        with told():
            if made:
                self._route().link("add", ifname=UP_DEVICE, kind="ifb", txqlen=_QUEUE_LENGTH)
                self._indexes[UP_DEVICE] = socket.if_nametoindex(UP_DEVICE)
            self._route().link("set", index=self._indexes[UP_DEVICE], state="up")
        self._ready = True
        return made

    def _root(self, device: str) -> None:
        if device in self._rooted:
            return
        if device == UP_DEVICE:
            self.device()
        if device not in self._indexes:
            raise UnavailableError(f"HTB: there is no interface {device}; mend `lines: customers`")
        # Class 0 does not exist: what has no class of its own goes straight on.
        self._route().tc("add", "htb", self._indexes[device], HANDLE, default=0)
        self._rooted.add(device)

    def _route(self) -> Any:
        """pyroute2, of which only those who slow lines have need: it takes most of a second to import."""
        if self._pyroute is None:
            try:
                from pyroute2 import IPRoute  # noqa: PLC0415
            except ImportError as error:
                raise UnavailableError("HTB: pyroute2 is not installed; install Sekisho with its dependencies") from error
            self._pyroute = IPRoute()
        return self._pyroute


def _is_up(device: str) -> bool:
    """Whether a device of this namespace is there, and up (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            told = fcntl.ioctl(asking, _GET_FLAGS, struct.pack("16sh14x", device.encode(), 0))
        except OSError:
            return False
    return bool(struct.unpack_from("h", told, 16)[0] & _UP)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What the kernel refuses, as a sentence."""
    try:
        yield
    except UnavailableError:
        raise
    except Exception as error:
        # pyroute2's error is no OSError, and is not imported before it is needed.
        code = getattr(error, "code", None) or getattr(error, "errno", None)
        if code is None:
            raise
        denied = code in {errno.EPERM, errno.EACCES}
        hint = "give the daemon CAP_NET_ADMIN" if denied else "see `tc qdisc` and whether the kernel has HTB and ifb"
        raise UnavailableError(f"HTB: {error}; {hint}") from error
