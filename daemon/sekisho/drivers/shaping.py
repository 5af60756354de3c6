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
from dataclasses import dataclass, replace
from typing import Any

from sekisho.drivers.classes import Classes
from sekisho.drivers.classforms import HANDLE, ROOT, Chain, Root, rate_of
from sekisho.enforce.difference import Change
from sekisho.enforce.state import Class
from sekisho.enforce.wanted import Where
from sekisho.model.errors import UnavailableError

UP_DEVICE = "sekisho-up"
_KIND = "ifb"
_QUEUE_LENGTH = 1000
_GET_FLAGS, _UP = 0x8913, 0x1
"""SIOCGIFFLAGS, IFF_UP."""


@dataclass(frozen=True, slots=True)
class FoundClasses:
    """What was read. `problems`: a sentence for each device nothing can be done on; `left`: roots that have to go, handles by the
    index of the device.
    """

    classes: dict[Class, int]
    busy: frozenset[Class]
    usable: frozenset[str]
    """Devices that are there and have no root of somebody else's."""
    problems: tuple[str, ...]
    indexes: Mapping[str, int]
    rooted: frozenset[str]
    left: Mapping[int, int]
    filters: tuple[Chain, ...]
    """Somebody's, at roots of ours."""
    ready: bool
    """Whether our device is there, of its kind, and up."""
    alien: bool
    """Whether a device of another kind has its name."""
    mended: int = 0
    """Things of somebody's that went for this to be so."""

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing that has to go before the classes count."""
        return not (self.left or self.filters or self.alien)


def read_classes(classes: Classes, where: Where) -> FoundClasses:
    """Our classes on every device. Raises UnavailableError."""
    with told():
        indexes = {name: number for number, name in socket.if_nameindex()}
        roots = classes.roots(list(indexes.values()))
        problems = [f"HTB: there is no interface {device}; mend `lines: customers`" for device in where.down if device not in indexes]
        usable, rooted = {where.up}, set[str]()
        left: dict[int, int] = {}
        for device, index in indexes.items():
            root = roots.get(index)
            if root is not None and _has_to_go(root, device, where):
                left[index] = root.handle
            elif root is not None and root.is_ours:
                rooted.add(device)
            if device in where.down and (root is None or root.is_ours or not root.handle):
                usable.add(device)
            elif device in where.down and root is not None:
                known = f"{root.kind} {root.handle >> 16:x}:"
                problems.append(f"HTB: {device} has a queueing discipline of somebody else's ({known}), which is left as it is")
        queued = classes.queued() if rooted else set()
        found: dict[Class, int] = {}
        busy, filters = set[Class](), set[Chain]()
        for device in sorted(rooted):
            index = indexes[device]
            there = classes.read(index)
            if any(one.parent != ROOT for one in there.values()):
                rooted.remove(device)
                left[index] = HANDLE
                continue
            filters |= classes.filters(index, there)
            found |= {Class(device, number): rate_of(one, queued=(index, number) in queued) for number, one in there.items()}
            busy |= {Class(device, number) for number, one in there.items() if one.waits}
        alien = UP_DEVICE in indexes and classes.kind(indexes[UP_DEVICE]) != _KIND
    ready = not alien and _is_up(UP_DEVICE)
    return FoundClasses(
        found, frozenset(busy), frozenset(usable), tuple(problems), indexes, frozenset(rooted), left, tuple(sorted(filters)), ready, alien
    )


def _has_to_go(root: Root, device: str, where: Where) -> bool:
    """Of ours: where lines are not limited, and one that puts what has no class in one; on our device anybody's."""
    if root.is_ours:
        return root.default != 0 or device not in {*where.down, where.up}
    return device == where.up and root.handle != 0


def has_ours(classes: Classes) -> bool:
    """Whether a root of ours, or our device, is there at all. Raises UnavailableError."""
    with told():
        indexes = {name: number for number, name in socket.if_nameindex()}
        return UP_DEVICE in indexes or any(root.is_ours for root in classes.roots(list(indexes.values())).values())


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
        self.held: frozenset[Class] = frozenset()
        """Classes that should have gone, and that the kernel did not let go."""

    def close(self) -> None:
        self._classes.close()
        if self._pyroute is not None:
            self._pyroute.close()

    def read(self, where: Where) -> FoundClasses:
        """Our classes on every device; what has to go before they count goes. Raises UnavailableError."""
        found = read_classes(self._classes, where)
        if not found.is_clean:
            self._clean(found)
            wanted = {found.indexes[device] for device in (*where.down, where.up) if device in found.indexes}
            mended = len(wanted & found.left.keys()) + len(found.filters) + found.alien
            found = replace(read_classes(self._classes, where), mended=mended)
        self._indexes, self._rooted = dict(found.indexes), set(found.rooted)
        self._ready = found.ready
        self.held = self.held.intersection(found.classes)
        return found

    def _clean(self, found: FoundClasses) -> None:
        with told():
            self._classes.flush(found.filters)
            self._classes.uproot(found.left)
            if found.alien:
                self._route().link("del", index=found.indexes[UP_DEVICE])

    def has_ours(self) -> bool:
        """Whether anything of ours is there at all. Raises UnavailableError."""
        return has_ours(self._classes)

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
        self.held = self.held.difference(change.put_classes)

    def drop(self, change: Change) -> None:
        """Take away the classes a change does not want any more; those that cannot go now are `held`. Raises UnavailableError."""
        places = {(self._indexes[one.device], one.number): one for one in change.drop_classes if one.device in self._indexes}
        with told():
            held = {places[place] for place in self._classes.drop(places)}
        self.held = self.held.difference(change.drop_classes) | held

    def remove(self, *, device: bool = True) -> None:
        """Take away every root of ours, and our device unless rules may lead to it. Raises UnavailableError."""
        with told():
            devices = {name: number for number, name in socket.if_nameindex()}
            roots = self._classes.roots(list(devices.values()))
            self._classes.uproot({index: root.handle for index, root in roots.items() if root.is_ours})
            if device and UP_DEVICE in devices:
                self._route().link("del", index=devices[UP_DEVICE])
        self._indexes, self._rooted, self._ready, self.held = {}, set(), False, frozenset()

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
                self._route().link("add", ifname=UP_DEVICE, kind=_KIND, txqlen=_QUEUE_LENGTH)
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
