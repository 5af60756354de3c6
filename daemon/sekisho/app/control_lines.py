"""Lines of customers kept as the measures say: what is told is written to the kernel.

Owns when something is read or written. A change of one customer is written as soon as it is told, from what the kernel is known to
hold (`control_linebook`); every `every` seconds, and at the start, all is read back (`control_linelooks`), so that neither somebody
else's hand nor a daemon that died leaves a throttle nobody remembers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import structlog

from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linekernel import LineKernel, names_of
from sekisho.app.control_linelooks import LineLooks
from sekisho.app.control_linereadings import Due, LineReadings
from sekisho.app.control_lineroles import differ
from sekisho.app.control_linesleft import LinesLeft
from sekisho.app.control_linewants import Addresses, Customers, LineWants
from sekisho.config.lines import OnStop
from sekisho.config.settings import Settings
from sekisho.enforce.difference import Change
from sekisho.enforce.state import DRAIN
from sekisho.model.errors import SekishoError
from sekisho.model.measures import Enforcement

log = structlog.get_logger("sekisho.lines")

DRAIN_AFTER = 1.0
"""Seconds after which a class nothing is put in any more is looked at again."""
WAITED = 5.0
"""Seconds for which somebody waits for what is told to be written."""


class Lines(LineLooks):
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
        super().__init__(settings, LineWants(people, enforced, addresses), counts)
        self._readings = LineReadings(counts)
        self._left = LinesLeft(left)
        self._rests = asyncio.Event()
        """All that was told is written, or cannot be now."""
        self._counting: asyncio.Task[None] | None = None
        self._fault: BaseException | None = None
        self._sweep_at = 0.0
        self._writing = False

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

    async def close(self) -> None:
        """The end of the daemon: what is in force stays, or goes, as the operator chose."""
        for task in (self._looking, self._counting):
            if task is not None:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        async with self._lock:
            if self._kernel is None:
                return
            kernel, self._kernel = self._kernel, None
            try:
                try:
                    if self.settings is not None and self.settings.on_stop is OnStop.REMOVE:
                        await kernel.remove()
                        self._left.remember(None)
                        log.info("lines-removed")
                finally:
                    # Raises likewise, where the network namespace cannot be entered any more.
                    await kernel.close()
            except SekishoError as error:
                log.error("lines-not-removed", error=str(error))  # noqa: TRY400 - the sentence says it all

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

    async def _write(self, ticks: float) -> None:
        """What changes the kernel, a part at a time: who else has something to write comes in between."""
        async with self._lock:
            settings = self._settings_of()
            if self._settings is None or differ(settings, self._settings):
                await self._adopt(settings)
            if self._kernel is None or settings.lines is None:
                self._dirty.clear()
                return
            if self._unsure and ticks >= self._look_at:
                await self._look()
        writing: asyncio.Task[None] | None = None
        self._writing, more = True, False
        try:
            while self._dirty and not self._unsure:
                async with self._lock:
                    change = self.book.change(self._dirty, self._where, counted=settings.lines.counted)
                    if DRAIN in change.put_classes.values():
                        self._draining, self._sweep_at = True, min(self._sweep_at, ticks + DRAIN_AFTER)
                    tables, where, names = self.book.known.tables, self._where, names_of(settings)
                    # The kernel's side takes one after the other: the next part is worked out while this one is written.
                    if writing is not None:
                        await writing
                    kernel = self._kernel
                    writing = asyncio.create_task(kernel.apply(change, tables, where, names)) if kernel and change.size else None
                # It begins now, and others have their turn.
                await asyncio.sleep(0)
            if writing is not None:
                await writing
            # Told while the last part was written: the next turn's.
            more = bool(self._dirty) and not self._unsure
        finally:
            self._writing = False
            if not more:
                self._rests.set()
        if self._draining and ticks >= self._sweep_at:
            async with self._lock:
                await self._sweep(ticks)

    async def _sweep(self, ticks: float) -> None:
        if self._kernel is None:
            return
        self._sweep_at = ticks + DRAIN_AFTER
        gone, mended = await self._kernel.sweep(self._where)
        held = self._kernel.held
        # What nobody of ours made may go with what was to go.
        self._repaired(0, mended + sum(one not in self.book.known.classes for one in gone))
        self.book.noted(Change(drop_classes=gone))
        for one in gone:
            self.book.known.classes.pop(one, None)
        self._draining = self._still(held) or DRAIN in self.book.known.classes.values()
        if not self._unsure:
            self._told(self._kernel.wrong)
        waits = any(rate == DRAIN and one not in held for one, rate in self.book.known.classes.items())
        if held and not waits and self.settings is not None:
            self._sweep_at = ticks + self.settings.every

    async def _prepare(self) -> None:
        """Have ready what the first change needs, while nobody waits for it."""
        async with self._lock:
            if self._kernel is not None and self._settings is not None and not self._unsure:
                await self._kernel.prepare(self._where, names_of(self._settings))

    async def _adopt(self, settings: Settings) -> None:
        """Another configuration: another namespace, or none, means that what is in the old one goes."""
        self._settings = settings
        self.counts.want(queries=settings.lines is not None and settings.lines.queries)
        wanted = None if settings.lines is None else settings.lines.namespace or ""
        if self._kernel is not None and self._kernel.namespace != wanted:
            kernel, self._kernel = self._kernel, None
            await self._leave(kernel)
        elif self._kernel is None and (left := self._left.namespace()) is not None and left != wanted:
            await self._leave(LineKernel(left))
        if self._kernel is None and wanted is not None:
            self._kernel = LineKernel(wanted)
            self._left.remember(wanted)
        self._look_at, self._unsure = 0.0, True

    async def _leave(self, kernel: LineKernel) -> None:
        """Take everything away where lines are not limited any more. What cannot be is told, and tried at the next start."""
        self.book.forget()
        try:
            await kernel.remove()
        except SekishoError as error:
            log.error("lines-left-behind", namespace=kernel.namespace or "the daemon's own", error=str(error))  # noqa: TRY400
        else:
            self._left.remember(None)
        finally:
            await kernel.close()

    async def _count(self, due: Due) -> None:
        try:
            if (kernel := self._kernel) is not None:
                await self._guarded(self._readings.read(due, kernel, self.book.known.tables, self.book.owners))
        finally:
            self._counting = None
            self._wake.set()
