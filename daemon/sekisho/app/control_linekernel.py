"""The kernel's side of lines: which enforcers there are, what they hold, and taking steps with them.

Owns the drivers, the thread they are called from, and why one of them cannot be used. An enforcer that cannot be used is told and
tried again at the next look; the others go on. Decides nothing about what is wanted (`control_lines`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sekisho.config.settings import Settings
from sekisho.drivers.capabilities import has_net_admin
from sekisho.drivers.classes import Classes
from sekisho.drivers.netspace import NetworkThread
from sekisho.drivers.nftables import Nftables
from sekisho.drivers.shaping import UP_DEVICE, FoundClasses, Shaping, has_ours, opened_classes, read_classes
from sekisho.drivers.tableread import Counted, FoundTables, TableReader
from sekisho.enforce.difference import Change
from sekisho.enforce.rules import Names
from sekisho.enforce.state import DRAIN, Class, Role, State, Table, class_word
from sekisho.enforce.wanted import Where
from sekisho.model.customers import Prefix
from sekisho.model.errors import UnavailableError

NFTABLES, HTB = "nftables", "htb"
ENFORCERS = (NFTABLES, HTB)
_SHAPING = frozenset({Role.DOWN, Role.UP})
FEW = 16
"""Steps that are taken at once, by whoever asks for them: of one customer's addresses in both directions, and not of many customers."""
HELD = 0.05
"""Seconds after which somebody else seems to hold the kernel's locks, """
APART = 30.0
"""and for how long whoever asks does not wait for them then."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was read, and where something can be done at all now. `broken`: families that are made anew.

    `sound`: chains, rules and devices are as they were left by what was written last.
    """

    state: State
    where: Where
    broken: frozenset[str] = frozenset()
    sound: bool = False
    whole: bool = True
    """Whether nothing that is there may be missing."""
    mended: int = 0
    """Things of somebody's that went from roots of ours before this was read."""


def names_of(settings: Settings) -> Names:
    """Where customers' queries go: what the plane listens on, and the resolvers `lines:` names besides."""
    at: dict[int, dict[Prefix, None]] = {}
    anywhere: dict[int, None] = {}
    for one in settings.listen:
        if one.host in {"0.0.0.0", "::"}:  # noqa: S104 - read, and not listened on
            anywhere[one.port] = None
        else:
            at.setdefault(one.port, {})[Prefix.parse(one.host)] = None
    resolvers = settings.lines.resolvers if settings.lines is not None else ()
    for resolver in resolvers:
        at.setdefault(53, {})[resolver] = None
    return Names(tuple((port, tuple(known)) for port, known in at.items()), tuple(anywhere), resolvers)


class LineKernel:
    """One network namespace's tables and classes.

    What is written is so from one thread. Another one reads beside it, by sockets of its own: what is looked at keeps nobody waiting.
    A few steps on what is there already are taken on the event loop while that thread has nothing to do: they take less of it than
    the two threads take to find each other, which is milliseconds where the processors are busy. A socket stays in the namespace it
    was made in.
    """

    def __init__(self, namespace: str) -> None:
        """`namespace` is empty for the daemon's own."""
        self.namespace = namespace
        self._thread = NetworkThread(namespace or None)
        self._beside = NetworkThread(namespace or None)
        self._tables: Nftables | None = None
        self._shaping: Shaping | None = None
        self._reader: TableReader | None = None
        self._classes_reader: Classes | None = None
        self._apart_until = 0.0
        """Monotonic seconds before which nothing is written on the event loop."""
        self.reasons: dict[str, str] = {}
        """Why an enforcer cannot be used, by its name."""
        self.problems: tuple[str, ...] = ()
        """What keeps a part of one from its work."""
        self._leaving = False
        """Whether there are roots or a device though no line is slowed: they go once no rule leads there."""

    @property
    def held(self) -> frozenset[Class]:
        """Classes that should have gone, and that the kernel does not let go."""
        return self._shaping.held if self._shaping is not None else frozenset()

    @property
    def wrong(self) -> str:
        """All that is not as it should be, in sentences; empty: nothing."""
        held = sorted(self.held)
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        stays = (f"HTB: class {class_word(one.number)} of {one.device}{more} is in use by somebody else and stays" for one in held[:1])
        return " ".join([*self.reasons.values(), *self.problems, *stays])

    async def read(self, where: Where) -> Sight:
        """What there is of ours, while nothing is written. Raises UnavailableError if nothing can be read at all."""
        return await self._thread.run(lambda: self._read(where))

    async def look(self, where: Where) -> Sight:
        """The same beside what is written: what changes meanwhile may be missing, or be told as it was. Raises UnavailableError."""
        return await self._beside.run(lambda: self._look(where))

    async def some(self, tables: Mapping[Table, Collection[bytes]], limits: Collection[str], classes: Collection[Class]) -> State:
        """What there is of some entries, limits and classes. Raises UnavailableError."""
        return await self._thread.run(lambda: self._some(tables, limits, classes))

    async def prepare(self, where: Where, names: Names) -> None:
        """Have ready what the first change needs. Raises UnavailableError."""
        await self._thread.run(lambda: self._prepare(where, names))

    async def apply(self, change: Change, tables: frozenset[Table], where: Where, names: Names, broken: Iterable[str] = ()) -> None:
        """Take the steps; `tables` are those there are afterwards. Raises UnavailableError: how far it came is to be read."""
        if not broken and self._is_light(change, tables, where, names):
            self._apply_here(change, tables, where, names)
            return
        await self._thread.run(lambda: self._apply(change, tables, where, names, broken))

    async def counts(self, role: Role, tables: frozenset[Table]) -> dict[Table, Counted]:
        """Packets and bytes of each address of a role. Raises UnavailableError."""
        return await self._beside.run(lambda: self._read_beside().counts(role, tables))

    async def sweep(self, where: Where) -> tuple[tuple[Class, ...], int]:
        """Take away the classes that nothing is put in any more and nothing waits in. Which, and how many things of somebody's went
        from roots of ours before they were read. Raises UnavailableError.
        """
        return await self._thread.run(lambda: self._sweep(where))

    async def remove(self) -> None:
        """Take all of ours away. Raises UnavailableError."""
        await self._thread.run(self._remove)

    async def close(self) -> None:
        """Raises UnavailableError; the threads have ended all the same."""
        try:
            if self._tables is not None or self._shaping is not None:
                await self._thread.run(self._close)
            if self._reader is not None:
                await self._beside.run(self._close_beside)
        finally:
            self._thread.close()
            self._beside.close()

    def _read(self, where: Where) -> Sight:
        self.reasons, self.problems, self._leaving = {}, (), False
        try:
            self._tables = self._tables or Nftables()
            tables = self._tables.read()
        except UnavailableError as error:
            self.reasons[NFTABLES] = str(error)
            with contextlib.suppress(UnavailableError):
                # What slows lines for nobody's sake goes all the same; but rules may still lead to our device.
                if where.roles & _SHAPING:
                    self._classes().read(replace(where, up=UP_DEVICE))
                else:
                    self._classes().remove(device=False)
            if where.roles & _SHAPING:
                self.reasons[HTB] = "HTB: nftables chooses the class of a packet, and cannot be used"
            raise
        if not where.roles & _SHAPING:
            try:
                self._leaving = has_net_admin() and self._classes().has_ours()
            except UnavailableError as error:
                self.problems = (str(error),)
            return Sight(tables.state, replace(where, down=(), up=""), tables.broken, whole=tables.whole)
        where = replace(where, up=UP_DEVICE)
        try:
            found = self._classes().read(where)
        except UnavailableError as error:
            self.reasons[HTB] = str(error)
            return Sight(tables.state, replace(where, down=(), up="", roles=where.roles - _SHAPING), tables.broken, whole=tables.whole)
        self.problems = found.problems
        return _sight(tables, found, where)

    def _look(self, where: Where) -> Sight:
        found = self._read_beside().read()
        sound = self._tables is not None and self._tables.is_as_written(found)
        if not where.roles & _SHAPING:
            sound &= self.problems != () or not has_net_admin() or not has_ours(self._classes_beside())
            return Sight(found.state, replace(where, down=(), up=""), found.broken, sound, found.whole)
        if self._shaping is None:
            # There was no use of it at the last reading, and why is told.
            return Sight(found.state, replace(where, down=(), up="", roles=where.roles - _SHAPING), found.broken, sound, found.whole)
        where = replace(where, up=UP_DEVICE)
        classes = read_classes(self._classes_beside(), where)
        sound &= classes.is_clean and (classes.ready or not any(table.role is Role.UP for table in found.state.entries))
        return replace(_sight(found, classes, where), sound=sound and classes.problems == self.problems)

    def _some(self, tables: Mapping[Table, Collection[bytes]], limits: Collection[str], classes: Collection[Class]) -> State:
        found = self._tables.some(tables, limits) if self._tables is not None else State()
        return replace(found, classes=self._shaping.some(classes)) if self._shaping is not None and classes else found

    def _prepare(self, where: Where, names: Names) -> None:
        if self._shaping is not None and Role.UP in where.roles and where.up:
            self._shaping.prepare()
        if self._tables is not None and where.roles:
            self._tables.prepare(where, names)

    def _apply(self, change: Change, tables: frozenset[Table], where: Where, names: Names, broken: Iterable[str]) -> None:
        if self._shaping is not None:
            if any(table.role is Role.UP for table in tables) and self._shaping.device() and self._tables is not None:
                # What leads to a device that is gone leads nowhere.
                self._tables.forget()
            if change.put_classes:
                self._shaping.make(change)
        if self._tables is not None:
            self._tables.apply(change, tables, where, names, broken)
        if self._shaping is not None and change.drop_classes:
            self._shaping.drop(change)
        if self._shaping is not None and self._leaving:
            self._shaping.remove()
            self._leaving = False

    def _is_light(self, change: Change, tables: frozenset[Table], where: Where, names: Names) -> bool:
        if change.size > FEW or self._leaving or not self._thread.idle or self._tables is None or time.monotonic() < self._apart_until:
            return False
        on_classes = change.on_classes or any(table.role is Role.UP for table in tables)
        if on_classes and (self._shaping is None or not self._shaping.is_light(change)):
            return False
        return self._tables.is_light(change, tables, where, names)

    def _apply_here(self, change: Change, tables: frozenset[Table], where: Where, names: Names) -> None:
        began = time.monotonic()
        try:
            self._apply(change, tables, where, names, ())
        except UnavailableError:
            # What was opened anew was so in the namespace of this thread, and maybe another's: the next reading begins with new ones.
            self._close()
            raise
        now = time.monotonic()
        if now - began > HELD:
            self._apart_until = now + APART

    def _sweep(self, where: Where) -> tuple[tuple[Class, ...], int]:
        if self._shaping is None:
            return (), 0
        found = self._shaping.read(where)
        idle = tuple(one for one, rate in found.classes.items() if rate == DRAIN and one not in found.busy)
        self._shaping.drop(Change(drop_classes=idle))
        return tuple(one for one in idle if one not in self._shaping.held), found.mended

    def _remove(self) -> None:
        try:
            self._tables = self._tables or Nftables()
            self._tables.remove()
        except UnavailableError:
            # Rules may still lead to our device.
            self._classes().remove(device=False)
            raise
        self._classes().remove()

    def _classes(self) -> Shaping:
        """The driver. Raises UnavailableError, also for want of the capability: reading needs none, and writing would fail."""
        if not has_net_admin():
            raise UnavailableError("HTB: not permitted; give the daemon CAP_NET_ADMIN")
        self._shaping = self._shaping or Shaping()
        return self._shaping

    def _read_beside(self) -> TableReader:
        self._reader = self._reader or TableReader()
        return self._reader

    def _classes_beside(self) -> Classes:
        self._classes_reader = self._classes_reader or opened_classes()
        return self._classes_reader

    def _close(self) -> None:
        if self._tables is not None:
            self._tables.close()
        if self._shaping is not None:
            self._shaping.close()
        self._tables = self._shaping = None

    def _close_beside(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._classes_reader is not None:
            self._classes_reader.close()
        self._reader = self._classes_reader = None


def _sight(tables: FoundTables, found: FoundClasses, where: Where) -> Sight:
    usable = tuple(device for device in where.down if device in found.usable)
    state = replace(tables.state, classes=found.classes, busy=found.busy)
    return Sight(state, replace(where, down=usable), tables.broken, whole=tables.whole, mended=found.mended)
