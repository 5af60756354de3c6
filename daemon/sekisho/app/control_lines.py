"""Lines of customers kept as the measures say: what is in the kernel is read back, compared and repaired.

Owns what is wanted of each line now, the numbers of slowed ones, and when something is read or written. A change of one
customer is written as soon as it is told, from what the kernel is known to hold; every `every` seconds, and at the start,
all is read back, so that neither somebody else's hand nor a daemon that died leaves a throttle nobody remembers. It is read
beside what is written, and only what is found to be wrong keeps changes waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linekernel import LineKernel, Sight, names_of
from sekisho.app.control_linereadings import Due, LineReadings
from sekisho.app.control_linewants import Addresses, Customers, LineWants
from sekisho.config.lines import LineMode, LineSettings, OnStop
from sekisho.config.settings import Settings
from sekisho.drivers.durable import write_file
from sekisho.enforce.difference import Change, Known, both, difference
from sekisho.enforce.drift import Places, drift, known_at, mended
from sekisho.enforce.plan import planned, rivals_in
from sekisho.enforce.state import COUNTING, DRAIN, Role
from sekisho.enforce.wanted import Line, Where, contested, state_of
from sekisho.model.customers import Prefix
from sekisho.model.errors import SekishoError, UnavailableError
from sekisho.model.measures import Enforcement

log = structlog.get_logger("sekisho.lines")

DRAIN_AFTER = 1.0
"""Seconds after which a class nothing is put in any more is looked at again."""
AT_ONCE = 1000
"""Customers whose lines are worked out and written in one step: a change that is told meanwhile waits for one."""
MENDED = 4096
"""Places that are mended one by one; where more is wrong, all is read and written while nothing else is."""
LOOK_AGAIN = 1.0
"""Seconds after which a look that told too little is repeated,"""
REPEATED = 3
"""as often at most: then all is read while nothing is written."""
WAITED = 5.0
"""Seconds for which somebody waits for what is told to be written."""
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
        self._readings = LineReadings(counts)
        self._left = left
        self._settings: Settings | None = None
        self._kernel: LineKernel | None = None
        self._where = Where()
        self._lines: dict[str, Line] = {}
        self._owners: dict[Prefix, str] = {}
        self._rivals: dict[Prefix, set[str]] = {}
        """Customers by prefixes that more than one of them has."""
        self._known = Known()
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._rests = asyncio.Event()
        """All that was told is written, or cannot be now."""
        self._lock = asyncio.Lock()
        self._look_at = 0.0
        """Monotonic seconds at which all is read back next."""
        self._unsure = True
        """Whether what the kernel is known to hold is to be found out anew, while nothing is written."""
        self._touched: Places | None = None
        """What was written since the look that is under way began."""
        self._repeated = 0
        self._looking: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._sweep_at = 0.0
        self._draining = self._writing = False
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
            self._rests.clear()
            self._wake.set()

    async def written(self) -> None:
        """Wait until what was told is in the kernel, but not long, and not where nothing can be written."""
        if self._dirty and self._works():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._rests.wait(), WAITED)

    def look_again(self) -> None:
        """Everything may have changed."""
        self._look_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Do what is due, for as long as the daemon lives."""
        await self._guarded(self._prepare())
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause())
            self._wake.clear()
            if self._fault is not None:
                raise self._fault
            await self._turn()

    async def step(self) -> None:
        """Do what is due now, to the end of it. What cannot be done is logged, once for as long as it fails, and tried again."""
        while begun := await self._turn():
            # What is seen may lead to more that is to be written.
            await asyncio.gather(*begun)

    async def _turn(self) -> list[asyncio.Task[None]]:
        """Do what is due now; what reads the kernel beside it is begun, and given back."""
        if not await self._guarded(self._write(time.monotonic())):
            return []
        ticks, begun = time.monotonic(), []
        if ticks >= self._look_at and self._looking is None and self._works():
            self._looking = asyncio.create_task(self._look_beside())
            self._looking.add_done_callback(self._ended)
            begun.append(self._looking)
        if self._counting is None and self._works() and (due := self._readings.due(self.settings, self._where, ticks)):
            self._counting = asyncio.create_task(self._count(due))
            self._counting.add_done_callback(self._ended)
            begun.append(self._counting)
        return begun

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What is no sentence to an operator is a fault of ours, and `run` ends with it."""
        if not task.cancelled():
            self._fault = task.exception()

    async def _guarded(self, doing: Coroutine[None, None, None]) -> bool:
        """Whether it could be done."""
        try:
            await doing
        except SekishoError as error:
            self._unsure = True
            self._look_at = time.monotonic() + (self.settings.every if self.settings is not None else DRAIN_AFTER)
            self._told(str(error))
            return False
        return True

    async def close(self) -> None:
        """The end of the daemon: what is in force stays, or goes, as the operator chose."""
        for task in (self._looking, self._counting):
            if task is not None:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
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
        return await self._kernel.look(where or self._asked()) if self._kernel is not None else None

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
        due = [self._look_at] if self._looking is None else []
        if self._draining:
            due.append(self._sweep_at)
        if self._counting is None:
            due += self._readings.times(settings, self._where)
        return max(0.01, min(due, default=60.0) - time.monotonic())

    def _works(self) -> bool:
        return self._kernel is not None and self.settings is not None and not self._unsure

    async def _write(self, ticks: float) -> None:
        """What changes the kernel, a part at a time: who else has something to write comes in between."""
        async with self._lock:
            settings = self._settings_of()
            if self._settings is None or _differ(settings, self._settings):
                await self._adopt(settings)
            if self._kernel is None or settings.lines is None:
                self._dirty.clear()
                return
            if self._unsure and ticks >= self._look_at:
                await self._look()
        writing: asyncio.Task[None] | None = None
        self._writing = True
        try:
            while self._dirty and not self._unsure:
                async with self._lock:
                    change = self._change()
                    tables, where, names = self._known.tables, self._where, names_of(settings)
                    # The kernel's side takes one after the other: the next part is worked out while this one is written.
                    if writing is not None:
                        await writing
                    kernel = self._kernel
                    writing = asyncio.create_task(kernel.apply(change, tables, where, names)) if kernel and change.size else None
                # It begins now, and others have their turn.
                await asyncio.sleep(0)
            if writing is not None:
                await writing
        finally:
            self._writing = False
            self._rests.set()
        if self._draining and ticks >= self._sweep_at:
            async with self._lock:
                await self._sweep(ticks)

    async def _sweep(self, ticks: float) -> None:
        if self._kernel is None:
            return
        self._sweep_at = ticks + DRAIN_AFTER
        gone = await self._kernel.sweep(self._where)
        self._noted(Change(drop_classes=gone))
        for one in gone:
            self._known.classes.pop(one, None)
        self._draining = DRAIN in self._known.classes.values()

    async def _prepare(self) -> None:
        """Have ready what the first change needs, while nobody waits for it."""
        async with self._lock:
            if self._kernel is not None and self._settings is not None and not self._unsure:
                await self._kernel.prepare(self._where, names_of(self._settings))

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
        self._look_at, self._unsure = 0.0, True

    async def _leave(self, kernel: LineKernel) -> None:
        """Take everything away where lines are not limited any more. What cannot be is told, and tried at the next start."""
        self._known, self._lines, self._owners, self._rivals = Known(), {}, {}, {}
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
        """Read all back, compare, repair, while nothing is written: at the start, and when what is known may be wrong."""
        kernel, settings = self._kernel, self._settings
        if kernel is None or settings is None or settings.lines is None:
            return
        told, self._dirty = list(self._dirty), {}
        sight = await kernel.read(self._asked())
        self._where = sight.where
        wrong = " ".join([*kernel.reasons.values(), *kernel.problems])
        lines = await self.wants.all(sight.state, counted=settings.lines.counters)
        plan = await asyncio.to_thread(planned, lines, sight.state, sight.where, self._known)
        self._noted(plan.change)
        # Somebody may have changed our tables behind us: what is written anew for that is a repair as well.
        self._repaired(plan.tables, plan.classes)
        await kernel.apply(plan.change, plan.known.tables, sight.where, names_of(settings), sight.broken)
        self._moved({one: lines.get(one) for one in told})
        self._known, self._lines, self._owners, self._rivals = plan.known, lines, plan.owners, plan.rivals
        self._look_at = time.monotonic() + settings.lines.every
        # What cannot be used is tried again.
        self._unsure = bool(kernel.reasons)
        if not sight.whole:
            self._look_at = time.monotonic() + LOOK_AGAIN
        self._draining = plan.draining
        self._told(wrong)

    async def _look_beside(self) -> None:
        """Read all back beside what is written, and have what is wrong mended."""
        try:
            await self._guarded(self._compare())
        finally:
            self._looking = self._touched = None
            self._wake.set()

    async def _compare(self) -> None:
        kernel, settings = self._kernel, self._settings
        if kernel is None or settings is None or settings.lines is None:
            return
        self._look_at = time.monotonic() + settings.lines.every
        touched = self._touched = Places()
        sight = await kernel.look(self._asked())
        found = await asyncio.to_thread(drift, sight.state, self._known)
        if self._kernel is not kernel or self._unsure:
            return
        other = sight.where != self._where or bool(sight.state.tables - self._known.tables) or not sight.sound
        if other or (found := found.less(touched)).size > MENDED:
            # Rules that were ours to write meanwhile, and what may be missing in this reading alone, are looked at anew; else it takes
            # more than to mend a place.
            again = (not sight.whole or (touched.rules and other)) and self._repeated < REPEATED
            self._unsure, self._look_at = not again, time.monotonic() + LOOK_AGAIN if again else 0.0
            self._repeated = self._repeated + 1 if again else 0
        else:
            self._repeated = 0
            if found.size:
                async with self._lock:
                    await self._mend(kernel, found.less(touched))
        counted = settings.lines.counters
        for customer in await self.wants.changed(self._lines, self._known.classes, counted=counted):
            self._dirty[customer] = None

    async def _mend(self, kernel: LineKernel, places: Places) -> None:
        """Ask for what was found to be wrong once more, and make it what it was."""
        settings = self._settings
        if settings is None or self._kernel is not kernel or not places.size:
            return
        there = await kernel.some(places.entries, places.limits, places.classes)
        change = difference(there, known_at(self._known, places), read=False)
        if not (change.on_tables or change.on_classes):
            return
        await kernel.apply(change, self._known.tables, self._where, names_of(settings))
        mended(self._known, change, there)
        self._draining |= DRAIN in self._known.classes.values()
        self._repaired(sum(map(len, change.entries().values())), len(change.put_classes))

    def _noted(self, change: Change) -> None:
        """For a look that is under way: this is our hand."""
        if self._touched is not None:
            self._touched.add(change)

    def _change(self) -> Change:
        """What some customers' lines need now, from what the kernel is known to hold; it is known as done. Those told last come first."""
        customers = [self._dirty.popitem()[0] for _ in range(min(AT_ONCE, len(self._dirty)))]
        counted = self.settings is not None and self.settings.counters
        fresh = self.wants.lines(customers, counted=counted)
        # Who has an address that is somebody else's now is looked at too: it may have gone from one to the other.
        for one in self._concerned(fresh):
            fresh[one] = self.wants.line(one, counted=counted)
            self._dirty.pop(one, None)
        old = [self._lines[one] for one in fresh if one in self._lines]
        new = [line for line in fresh.values() if line is not None]
        disputed = contested(new)
        wanted = state_of(new, self._where, disputed)
        found = self._known.part(both(state_of(old, self._where), wanted))
        change = difference(found, wanted, read=False)
        if change.size:
            self._noted(change)
            self._known.take(change)
        self._moved(fresh)
        for before in old:
            for prefix in before.prefixes:
                self._owners.pop(prefix, None)
                self._rivals.pop(prefix, None)
        for customer, line in fresh.items():
            self._lines.pop(customer, None)
            if line is not None:
                self._lines[customer] = line
                for prefix in line.prefixes:
                    self._owners[prefix] = customer
        if disputed:
            self._rivals |= rivals_in(fresh, disputed)
        self._draining |= DRAIN in change.put_classes.values()
        return change

    def _concerned(self, fresh: Mapping[str, Line | None]) -> set[str]:
        """Other customers who have, or had, one of the addresses of these or of what these were."""
        before = (line for one in fresh if (line := self._lines.get(one)) is not None)
        given = [prefix for line in (*fresh.values(), *before) if line is not None for prefix in line.prefixes]
        held = {owner for prefix in given if (owner := self._owners.get(prefix)) is not None}
        if self._rivals:
            held.update(rival for prefix in given for rival in self._rivals.get(prefix, ()))
        return held - fresh.keys()

    def _moved(self, fresh: Mapping[str, Line | None]) -> None:
        """Tell who counts of addresses that are another customer's with these lines."""
        if self.settings is None or not self.settings.counters:
            return
        pairs = ((prefix, customer) for customer, line in fresh.items() if line is not None for prefix in line.prefixes)
        self.counts.moved(prefix for prefix, customer in pairs if self._owners.get(prefix, customer) != customer)

    async def _count(self, due: Due) -> None:
        try:
            if (kernel := self._kernel) is not None:
                await self._guarded(self._readings.read(due, kernel, self._known.tables, self._owners))
        finally:
            self._counting = None
            self._wake.set()

    def _repaired(self, tables: int, classes: int) -> None:
        """What had to be done though nobody asked for it."""
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


def _differ(one: Settings, other: Settings) -> bool:
    return one.lines != other.lines or one.listen != other.listen


__all__ = ["Addresses", "Lines", "UnavailableError", "roles_of"]
