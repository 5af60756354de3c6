"""HTB classes of slowed lines, through pyroute2: on the devices towards the customers, and on one of our own for the other direction.

What goes to a customer waits in its class where it leaves towards the customers. What comes from one is led to our device of kind
ifb as soon as it comes in (nftables does that, for slowed customers alone) and waits there. A packet without a class passes as if
there were no HTB. Owns the roots with our handle and that device; a root of somebody else's is left as it is, and told.
All calls from one thread.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sekisho.enforce.difference import Change
from sekisho.enforce.state import DRAIN, MAJOR, Class
from sekisho.enforce.wanted import Where
from sekisho.model.errors import UnavailableError

UP_DEVICE = "sekisho-up"
_HANDLE = MAJOR << 16
_ROOT = 0xFFFFFFFF
_QUEUE_SECONDS = 0.25
"""Time a full frame waits at most at the rate of its class, where the kernel has no fq_codel."""
_FRAME = 1514
_FEW, _MANY = 64, 10_000
"""Frames that may wait, whatever the rate."""
_BURST_SECONDS = 0.01
_QUEUE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class FoundClasses:
    """What was read. `problems`: a sentence for each device nothing can be done on."""

    classes: dict[Class, int]
    busy: frozenset[Class]
    usable: frozenset[str]
    """Devices that are there and have no root of somebody else's."""
    problems: tuple[str, ...] = ()


class Shaping:
    """The classes, through one netlink socket."""

    def __init__(self) -> None:
        """Raises UnavailableError."""
        # Takes most of a second to import, and only those who slow lines need it.
        try:
            from pyroute2 import IPRoute  # noqa: PLC0415
            from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415
        except ImportError as error:
            raise UnavailableError("HTB: pyroute2 is not installed; install Sekisho with its dependencies") from error
        self._error: type[Exception] = NetlinkError
        try:
            self._route: Any = IPRoute()
        except OSError as error:
            raise UnavailableError(f"HTB: no netlink socket ({error.strerror}); see RestrictAddressFamilies= of the unit") from error
        self._fair = True
        self._indexes: dict[str, int] = {}
        self._rooted: set[str] = set()

    def close(self) -> None:
        self._route.close()

    def read(self, where: Where) -> FoundClasses:
        """Our classes on every device; what is on devices lines are not limited on any more goes. Raises UnavailableError."""
        with self._told():
            self._indexes = {one.get_attr("IFLA_IFNAME"): one["index"] for one in self._route.get_links()}
            roots = {one["index"]: one for one in self._route.get_qdiscs() if one["parent"] == _ROOT}
            wanted = {*where.down, where.up}
            usable, problems = {where.up}, []
            self._rooted = set()
            for device, index in self._indexes.items():
                root = roots.get(index)
                ours = root is not None and root["handle"] == _HANDLE and root.get_attr("TCA_KIND") == "htb"
                if ours and device not in wanted:
                    self._route.tc("del", index=index, handle=_HANDLE, parent=_ROOT)
                elif ours:
                    self._rooted.add(device)
                if device in where.down and (ours or root is None or root["handle"] == 0):
                    usable.add(device)
                elif device in where.down and root is not None:
                    known = f"{root.get_attr('TCA_KIND')} {root['handle'] >> 16:x}:"
                    problems.append(f"HTB: {device} has a queueing discipline of somebody else's ({known}), which is left as it is")
            missing = [device for device in where.down if device not in self._indexes]
            problems += [f"HTB: there is no interface {device}; mend `lines: customers`" for device in missing]
            classes, busy = self._classes()
        return FoundClasses(classes, busy, frozenset(usable), tuple(problems))

    def make(self, change: Change) -> None:
        """Make the classes a change wants there, and change the rates of those there are. Raises UnavailableError."""
        with self._told():
            for one, rate in change.put_classes.items():
                self._root(one.device)
                self._put(one, rate)

    def drop(self, change: Change) -> None:
        """Take away the classes a change does not want any more. Raises UnavailableError."""
        with self._told():
            for one in change.drop_classes:
                index = self._indexes.get(one.device)
                if index is not None:
                    self._gone(partial(self._route.tc, "del-class", index=index, handle=_HANDLE | one.number, parent=_HANDLE))

    def remove(self) -> None:
        """Take away every root of ours, and our device. Raises UnavailableError."""
        with self._told():
            for one in self._route.get_qdiscs():
                if one["parent"] == _ROOT and one["handle"] == _HANDLE and one.get_attr("TCA_KIND") == "htb":
                    self._route.tc("del", index=one["index"], handle=_HANDLE, parent=_ROOT)
            for one in self._route.get_links():
                if one.get_attr("IFLA_IFNAME") == UP_DEVICE:
                    self._route.link("del", index=one["index"])
        self._indexes, self._rooted = {}, set()

    def device(self, name: str) -> None:
        """See that our device is there: rules name it. Raises UnavailableError."""
        with self._told():
            if name not in self._indexes:
                self._route.link("add", ifname=name, kind="ifb", txqlen=_QUEUE_LENGTH)
                self._indexes[name] = self._route.link_lookup(ifname=name)[0]
            self._route.link("set", index=self._indexes[name], state="up")

    def _classes(self) -> tuple[dict[Class, int], frozenset[Class]]:
        classes: dict[Class, int] = {}
        busy = set()
        for device in self._rooted:
            for one in self._route.get_classes(index=self._indexes[device]):
                if one["handle"] >> 16 != MAJOR:
                    continue
                known = Class(device, one["handle"] & 0xFFFF)
                options = one.get_attr("TCA_OPTIONS")
                classes[known] = options.get_attr("TCA_HTB_RATE64") or options.get_attr("TCA_HTB_PARMS")["rate"]
                if one.get_attr("TCA_STATS2").get_attr("TCA_STATS_QUEUE")["qlen"]:
                    busy.add(known)
        return classes, frozenset(busy)

    def _root(self, device: str) -> None:
        if device in self._rooted:
            return
        if device == UP_DEVICE:
            self.device(device)
        if device not in self._indexes:
            raise UnavailableError(f"HTB: there is no interface {device}; mend `lines: customers`")
        # Class 0 does not exist: what has no class of its own goes straight on.
        self._route.tc("add", "htb", self._indexes[device], _HANDLE, default=0)
        self._rooted.add(device)

    def _put(self, one: Class, rate: int) -> None:
        """Make or change a class; what waits in it stays."""
        burst = int(max(2 * _FRAME, rate * _BURST_SECONDS))
        quantum = int(min(60_000, max(_FRAME, rate * _BURST_SECONDS)))
        shape = {"rate": rate, "ceil": rate, "burst": burst, "cburst": burst, "quantum": quantum}
        self._route.tc("replace-class", "htb", self._indexes[one.device], _HANDLE | one.number, parent=_HANDLE, **shape)
        if rate != DRAIN:
            self._queue(one, rate)

    def _queue(self, one: Class, rate: int) -> None:
        """The queue in a class: fq_codel where the kernel has it, else one that holds a quarter of a second."""
        parent, handle, index = _HANDLE | one.number, one.number << 16, self._indexes[one.device]
        if self._fair:
            try:
                self._same(lambda: self._route.tc("add", "fq_codel", index, handle, parent=parent))
            except self._error as error:
                if getattr(error, "code", 0) != errno.ENOENT:
                    raise
                self._fair = False
            else:
                return
        limit = int(min(_MANY, max(_FEW, rate * _QUEUE_SECONDS / _FRAME)))
        try:
            self._route.tc("add", "pfifo", index, handle, parent=parent, limit=limit)
        except self._error as error:
            if getattr(error, "code", 0) != errno.EEXIST:
                raise
            self._route.tc("change", "pfifo", index, handle, parent=parent, limit=limit)

    def _same(self, step: Any) -> None:
        """Do a step; that it is done already is right."""
        try:
            step()
        except self._error as error:
            if getattr(error, "code", 0) != errno.EEXIST:
                raise

    def _gone(self, step: Any) -> None:
        """Take something away; that it is gone already is right."""
        try:
            step()
        except self._error as error:
            if getattr(error, "code", 0) != errno.ENOENT:
                raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (self._error, OSError) as error:
            code = getattr(error, "code", None) or getattr(error, "errno", None)
            denied = code in {errno.EPERM, errno.EACCES}
            hint = "give the daemon CAP_NET_ADMIN" if denied else "see `tc qdisc` and whether the kernel has HTB and ifb"
            raise UnavailableError(f"HTB: {error}; {hint}") from error
