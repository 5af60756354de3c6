"""The kernel read back: compared with what is known and with the record, and mended where it is wrong.

Owns what a look comes to, and what one that told too little comes to. All is read beside what is written, and only what is found to be
wrong keeps changes waiting; at the start, and when what is known may be wrong, nothing is written meanwhile. When it is looked,
and what is written besides, is `control_lines`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace

import structlog

from sekisho.app.control_linebook import LineBook
from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linekernel import LineKernel, Sight, names_of
from sekisho.app.control_lineroles import asked_of, roles_of
from sekisho.app.control_linewants import LineWants
from sekisho.config.lines import LineSettings
from sekisho.config.settings import Settings
from sekisho.enforce.difference import Known, difference
from sekisho.enforce.drift import Places, drift, known_at, mended
from sekisho.enforce.plan import planned
from sekisho.enforce.state import DRAIN, Class
from sekisho.enforce.wanted import Where
from sekisho.model.errors import SekishoError

log = structlog.get_logger("sekisho.lines")

MENDED = 4096
"""Places that are mended one by one; where more is wrong, all is read and written while nothing else is."""
LOOK_AGAIN = 1.0
"""Seconds after which a look that told too little is repeated,"""
REPEATED = 3
"""as often at most: then all is read while nothing is written."""
AGAIN_AFTER = 1.0
"""Seconds after which what could not be done is tried again where no configuration says otherwise."""


class LineLooks:
    """What the kernel holds, as far as it was seen."""

    def __init__(self, settings: Callable[[], Settings], wants: LineWants, counts: LineCounts) -> None:
        self._settings_of = settings
        self.wants = wants
        self.counts = counts
        self.book = LineBook(wants, counts)
        self._settings: Settings | None = None
        self._kernel: LineKernel | None = None
        self._where = Where()
        self._dirty: dict[str, None] = {}
        """Customers whose lines are to be written."""
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._look_at = 0.0
        """Monotonic seconds at which all is read back next."""
        self._unsure = True
        """Whether what the kernel is known to hold is to be found out anew, while nothing is written."""
        self._repeated = 0
        self._looking: asyncio.Task[None] | None = None
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
        return self.book.known

    async def sight(self, where: Where | None = None) -> Sight | None:
        """What is in the kernel now, read anew. Raises UnavailableError."""
        return await self._kernel.look(where or asked_of(self.settings)) if self._kernel is not None else None

    def where(self) -> Where:
        """Where lines are limited, as far as the last look at the kernel found it possible; all that is configured is done there."""
        return replace(self._where, roles=roles_of(self.settings)) if self.settings is not None else self._where

    def _works(self) -> bool:
        return self._kernel is not None and self.settings is not None and not self._unsure

    async def _guarded(self, doing: Coroutine[None, None, None]) -> bool:
        """Whether it could be done."""
        try:
            await doing
        except SekishoError as error:
            self._unsure = True
            self._look_at = time.monotonic() + (self.settings.every if self.settings is not None else AGAIN_AFTER)
            self._told(str(error))
            return False
        return True

    async def _look(self) -> None:
        """Read all back, compare, repair, while nothing is written: at the start, and when what is known may be wrong."""
        kernel, settings = self._kernel, self._settings
        if kernel is None or settings is None or settings.lines is None:
            return
        told, self._dirty = list(self._dirty), {}
        sight = await kernel.read(asked_of(self.settings))
        self._where = sight.where
        lines = await self.wants.all(sight.state, counted=settings.lines.counted)
        plan = await asyncio.to_thread(planned, lines, sight.state, sight.where, self.book.known)
        self.book.noted(plan.change)
        # Somebody may have changed our tables behind us: what is written anew for that is a repair as well.
        self._repaired(plan.tables, plan.classes + sight.mended)
        await kernel.apply(plan.change, plan.known.tables, sight.where, names_of(settings), sight.broken)
        self.book.moved({one: lines.get(one) for one in told}, counted=settings.lines.counted)
        self.book.take(lines, plan)
        self._look_at = time.monotonic() + settings.lines.every
        # What cannot be used is tried again.
        self._unsure = bool(kernel.reasons)
        if not sight.whole:
            self._look_at = time.monotonic() + LOOK_AGAIN
        self._draining = self._still(kernel.held) or plan.draining
        self._told(kernel.wrong)

    async def _look_beside(self) -> None:
        """Read all back beside what is written, and have what is wrong mended."""
        try:
            await self._guarded(self._compare())
        finally:
            self._looking = self.book.touched = None
            self._wake.set()

    async def _compare(self) -> None:
        kernel, settings = self._kernel, self._settings
        if kernel is None or settings is None or settings.lines is None:
            return
        self._look_at = time.monotonic() + settings.lines.every
        touched = self.book.touched = Places()
        sight = await kernel.look(asked_of(self.settings))
        found = await asyncio.to_thread(drift, sight.state, self.book.known)
        if self._kernel is not kernel or self._unsure:
            return
        other = sight.where != self._where or bool(sight.state.tables - self.book.known.tables) or not sight.sound
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
        counted = settings.lines.counted
        for customer in await self.wants.changed(self.book.lines, self.book.known.classes, counted=counted):
            self._dirty[customer] = None

    async def _mend(self, kernel: LineKernel, places: Places) -> None:
        """Ask for what was found to be wrong once more, and make it what it was."""
        settings = self._settings
        if settings is None or self._kernel is not kernel or not places.size:
            return
        there = await kernel.some(places.entries, places.limits, places.classes)
        change = difference(there, known_at(self.book.known, places), read=False)
        if change.on_tables or change.on_classes:
            await kernel.apply(change, self.book.known.tables, self._where, names_of(settings))
        # Classes of somebody's that slow nobody are swept away, and known from now on.
        swept = there.classes.keys() - self.book.known.classes.keys() - change.put_classes.keys()
        mended(self.book.known, change, there)
        self._draining |= DRAIN in self.book.known.classes.values()
        self._repaired(sum(map(len, change.entries().values())), len(change.put_classes) + len(swept))

    def _still(self, held: Collection[Class]) -> bool:
        """Classes are there though they should have gone: whether there are any. They are tried again."""
        for one in held:
            self.book.known.classes.setdefault(one, DRAIN)
        return bool(held)

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
