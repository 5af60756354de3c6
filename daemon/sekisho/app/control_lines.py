"""Lines of customers kept as the measures say: what is in the kernel is read back, compared and repaired.

Owns what is wanted of each line now, the numbers of slowed ones, and when something is read or written. A change of one
customer is written as soon as it is told, from what the kernel is known to hold; every `every` seconds, and at the start,
all is read back, so that neither somebody else's hand nor a daemon that died leaves a throttle nobody remembers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linekernel import LineKernel, Sight, names_of
from sekisho.app.control_linewants import Addresses, Customers, LineWants
from sekisho.config.lines import LineMode, LineSettings, OnStop
from sekisho.config.settings import Settings
from sekisho.drivers.durable import write_file
from sekisho.enforce.difference import Change, Known, both, difference
from sekisho.enforce.state import COUNTING, DRAIN, Role, State
from sekisho.enforce.wanted import Line, Where, contested, state_of
from sekisho.model.customers import Prefix
from sekisho.model.errors import SekishoError, UnavailableError
from sekisho.model.measures import Enforcement

log = structlog.get_logger("sekisho.lines")

DRAIN_AFTER = 1.0
"""Seconds after which a class nothing is put in any more is looked at again."""
SILENCED_EVERY = 2.0
"""Seconds between two readings of the queries dropped: several in each window of `detection:`."""
_TURN = 1000
_SILENCE, _MAIL, _SHAPE = frozenset({Role.SILENCE}), frozenset({Role.MAIL, Role.NO_MAIL}), frozenset({Role.DOWN, Role.UP})


def roles_of(settings: LineSettings) -> frozenset[Role]:
    """What is to be done by the configuration, whether it is done or only observed."""
    chosen = ((settings.silence, _SILENCE), (settings.mail, _MAIL), (settings.shaping, _SHAPE), (settings.counters, COUNTING))
    return frozenset(role for on, roles in chosen if on for role in roles)


class Lines:
    """The lines of one daemon. Without `lines:` in the configuration it does nothing."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        people: Callable[[], Customers],
        enforced: Callable[[], Mapping[str, Enforcement]],
        counts: LineCounts,
        addresses: Addresses | None = None,
        left: Path | None = None,
    ) -> None:
        """`enforced` tells what is in force, by customer; without `addresses` a customer's are those of its record. The file
        `left` says where something may have been left in a kernel, for a start with another configuration.
        """
        self._settings_of = settings
        self.wants = LineWants(people, enforced, addresses)
        self.counts = counts
        self._left = left
        self._settings: Settings | None = None
        self._kernel: LineKernel | None = None
        self._where = Where()
        self._lines: dict[str, Line] = {}
        self._owners: dict[Prefix, str] = {}
        self._known = Known()
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._look_at = 0.0
        """Monotonic seconds at which all is read back next."""
        self._usage_at = self._silenced_at = self._sweep_at = 0.0
        self._draining = False
        self._failing = ""
        self.repairs: Counter[str] = Counter()
        """Steps taken since the start because something else was found than was there before, by `tables` and `classes`."""

    @property
    def settings(self) -> LineSettings | None:
        return self._settings.lines if self._settings is not None else None

    @property
    def kernel(self) -> LineKernel | None:
        return self._kernel

    @property
    def known(self) -> Known:
        return self._known

    def follow(self, customers: Collection[str]) -> None:
        """Something about some customers changed: what is in force, or where they are. Written at once, many in one step."""
        if self._settings_of().lines is not None:
            self._dirty.update(dict.fromkeys(customers))
            self._wake.set()

    def look_again(self) -> None:
        """Everything may have changed."""
        self._look_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Do what is due, for as long as the daemon lives."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause())
            self._wake.clear()
            await self.step()

    async def step(self) -> None:
        """Do what is due now. What cannot be done is logged, once for as long as it fails, and tried again."""
        try:
            async with self._lock:
                await self._step(time.monotonic())
        except SekishoError as error:
            self._look_at = time.monotonic() + (self.settings.every if self.settings is not None else DRAIN_AFTER)
            self._told(str(error))

    async def close(self) -> None:
        """The end of the daemon: what is in force stays, or goes, as the operator chose."""
        async with self._lock:
            if self._kernel is None:
                return
            try:
                if self.settings is not None and self.settings.on_stop is OnStop.REMOVE:
                    await self._kernel.remove()
                    self._remember(None)
                    log.info("lines-removed")
                await self._kernel.close()
            except SekishoError as error:
                log.error("lines-not-removed", error=str(error))  # noqa: TRY400 - the sentence says it all
            self._kernel = None

    async def sight(self, where: Where | None = None) -> Sight | None:
        """What is in the kernel now, read anew. Raises UnavailableError."""
        async with self._lock:
            return await self._kernel.read(where or self._asked()) if self._kernel is not None else None

    def where(self) -> Where:
        """Where lines are limited, as far as the last look at the kernel found it possible; all that is configured is done there."""
        return replace(self._where, roles=roles_of(self.settings)) if self.settings is not None else self._where

    def _asked(self) -> Where:
        """What is to be done, before anybody knows whether it can be."""
        settings = self.settings
        if settings is None:
            return Where(roles=frozenset())
        roles = roles_of(settings)
        return Where(settings.customers, "", roles if settings.mode is LineMode.ENFORCE else roles & COUNTING)

    def _pause(self) -> float:
        settings = self._settings_of().lines
        if settings is None and self._kernel is None:
            return 60.0
        due = [self._look_at]
        if self._draining:
            due.append(self._sweep_at)
        if Role.SILENCE in self._where.roles:
            due.append(self._silenced_at)
        if settings is not None and settings.counters:
            due.append(self._usage_at)
        return max(0.01, min(due) - time.monotonic())

    async def _step(self, ticks: float) -> None:
        settings = self._settings_of()
        if self._settings is None or _differ(settings, self._settings):
            await self._adopt(settings)
        if self._kernel is None or settings.lines is None:
            self._dirty.clear()
            return
        if ticks >= self._look_at:
            await self._look()
        elif self._dirty:
            await self._change()
        if self._draining and ticks >= self._sweep_at:
            self._sweep_at = ticks + DRAIN_AFTER
            for one in await self._kernel.sweep(self._where):
                self._known.classes.pop(one, None)
            self._draining = DRAIN in self._known.classes.values()
        await self._count(ticks)

    async def _adopt(self, settings: Settings) -> None:
        """Another configuration: another namespace, or none, means that what is in the old one goes."""
        self._settings = settings
        wanted = None if settings.lines is None else settings.lines.namespace or ""
        if self._kernel is not None and self._kernel.namespace != wanted:
            kernel, self._kernel = self._kernel, None
            await self._leave(kernel)
        elif self._kernel is None and (left := self._left_in()) is not None and left != wanted:
            await self._leave(LineKernel(left))
        if self._kernel is None and wanted is not None:
            self._kernel = LineKernel(wanted)
            self._remember(wanted)
        self._look_at = 0.0

    async def _leave(self, kernel: LineKernel) -> None:
        """Take everything away where lines are not limited any more. What cannot be is told, and tried at the next start."""
        self._known, self._lines, self._owners = Known(), {}, {}
        try:
            await kernel.remove()
        except SekishoError as error:
            log.error("lines-left-behind", namespace=kernel.namespace or "the daemon's own", error=str(error))  # noqa: TRY400
        else:
            self._remember(None)
        finally:
            await kernel.close()

    def _left_in(self) -> str | None:
        """The namespace (empty: the daemon's own) in which something of ours may be; None: in none."""
        try:
            return self._left.read_text(encoding="utf-8").strip() if self._left is not None else None
        except (OSError, UnicodeError):
            return None

    def _remember(self, namespace: str | None) -> None:
        if self._left is None:
            return
        try:
            if namespace is None:
                self._left.unlink(missing_ok=True)
            else:
                write_file(self._left, f"{namespace}\n".encode())
        except OSError as error:
            log.error("lines-not-remembered", file=str(self._left), error=error.strerror)  # noqa: TRY400

    async def _look(self) -> None:
        """Read all back, compare, repair."""
        kernel, settings = self._kernel, self._settings
        if kernel is None or settings is None or settings.lines is None:
            return
        told, self._dirty = list(self._dirty), {}
        sight = await kernel.read(self._asked())
        self._where = sight.where
        wrong = " ".join([*kernel.reasons.values(), *kernel.problems])
        lines = await self.wants.all(sight.state, counted=settings.lines.counters)
        wanted = state_of(lines.values(), sight.where, contested(lines.values()))
        change = await asyncio.to_thread(difference, sight.state, wanted)
        known = await asyncio.to_thread(_after, sight.state, change)
        # Somebody may have changed our tables behind us: what is written anew for that is a repair as well.
        self._repaired(sight.state, change)
        await kernel.apply(change, known.tables, sight.where, names_of(settings), sight.broken)
        self._moved({one: lines.get(one) for one in told})
        self._known, self._lines = known, lines
        self._owners = {prefix: customer for customer, line in lines.items() for prefix in line.prefixes}
        self._look_at = time.monotonic() + settings.lines.every
        self._draining = bool(known.classes.keys() - wanted.classes.keys())
        self._told(wrong)

    async def _change(self) -> None:
        """Write what some customers' lines are now, from what the kernel is known to hold."""
        kernel, settings = self._kernel, self._settings
        if kernel is None or settings is None:
            return
        customers, self._dirty = list(self._dirty), {}
        counted = settings.lines is not None and settings.lines.counters
        fresh = {one: self.wants.line(one, counted=counted) for one in customers}
        # Who has an address that is somebody else's now is looked at too: it may have gone from one to the other.
        held = {self._owners.get(prefix) for line in fresh.values() if line is not None for prefix in line.prefixes}
        fresh |= {one: self.wants.line(one, counted=counted) for one in held if one is not None and one not in fresh}
        old = [self._lines[one] for one in fresh if one in self._lines]
        new = [line for line in fresh.values() if line is not None]
        wanted = state_of(new, self._where, contested(new))
        found = self._known.part(both(state_of(old, self._where), wanted))
        change = difference(found, wanted, read=False)
        if change.size:
            await kernel.apply(change, self._known.tables | change.put_tables, self._where, names_of(settings))
            self._known.take(change)
        self._moved(fresh)
        for before in old:
            for prefix in before.prefixes:
                self._owners.pop(prefix, None)
        for customer, line in fresh.items():
            self._lines.pop(customer, None)
            if line is not None:
                self._lines[customer] = line
                self._owners.update(dict.fromkeys(line.prefixes, customer))
        self._draining |= DRAIN in change.put_classes.values()

    def _moved(self, fresh: Mapping[str, Line | None]) -> None:
        """Tell who counts of addresses that are another customer's with these lines."""
        if self.settings is None or not self.settings.counters:
            return
        pairs = ((prefix, customer) for customer, line in fresh.items() if line is not None for prefix in line.prefixes)
        self.counts.moved(prefix for prefix, customer in pairs if self._owners.get(prefix, customer) != customer)

    async def _count(self, ticks: float) -> None:
        kernel, settings = self._kernel, self.settings
        if kernel is None or settings is None:
            return
        if Role.SILENCE in self._where.roles and ticks >= self._silenced_at:
            self._silenced_at = ticks + SILENCED_EVERY
            self.counts.silenced(await kernel.counts(Role.SILENCE, self._known.tables), self._owners)
        if settings.counters and ticks >= self._usage_at:
            self._usage_at = ticks + settings.count_every
            parts = [await kernel.counts(role, self._known.tables) for role in (Role.COUNT_DOWN, Role.COUNT_UP, Role.COUNT_MAIL)]
            self.counts.usage(time.time(), parts[0], parts[1], parts[2], self._owners)

    def _repaired(self, found: State, change: Change) -> None:
        """What has to be done though nobody asked for it."""
        before = self._known
        tables = sum(before.entries.get(one) != found.entries.get(one) for one in {*change.drop_entries, *change.put_entries})
        classes = sum(before.classes.get(one) != found.classes.get(one) for one in {*change.put_classes, *change.drop_classes})
        self.repairs += Counter({"tables": tables, "classes": classes})
        if tables or classes:
            log.warning("lines-repaired", entries=tables, classes=classes)

    def _told(self, wrong: str) -> None:
        if wrong != self._failing:
            if wrong:
                log.error("lines-failing", error=wrong)
            else:
                log.info("lines-recovered")
        self._failing = wrong

    @property
    def problems(self) -> list[str]:
        """What keeps lines from being as they should, in sentences."""
        return [self._failing] if self._failing else []


def _after(found: State, change: Change) -> Known:
    known = Known.of(found)
    known.take(change)
    return known


def _differ(one: Settings, other: Settings) -> bool:
    return one.lines != other.lines or one.listen != other.listen


__all__ = ["Addresses", "Lines", "UnavailableError", "roles_of"]
