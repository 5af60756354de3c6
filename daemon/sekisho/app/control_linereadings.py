"""When the kernel's counters of lines are read, beside what is written.

Owns the rhythm. What becomes of the counts is `control_linecounts`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linekernel import LineKernel
from sekisho.config.lines import LineSettings
from sekisho.enforce.state import USAGE, Role, Table
from sekisho.enforce.wanted import Where
from sekisho.model.customers import Prefix

SILENCED_EVERY = 2.0
"""Seconds between two readings of queries: several in each window of `detection:`."""
_QUERIES = frozenset({Role.SILENCE, Role.COUNT_QUERIES})
_REST = 4.0
"""Of the time a reading took, what passes at least until the next: a million counters take seconds."""


class Due(NamedTuple):
    """What is to be read: queries, dropped and let through, and usage."""

    silenced: bool
    usage: bool


class LineReadings:
    """The readings of one daemon's lines."""

    def __init__(self, counts: LineCounts) -> None:
        self._counts = counts
        self.silenced_at = self.usage_at = 0.0
        """Monotonic seconds of the next readings."""

    def times(self, settings: LineSettings | None, where: Where) -> list[float]:
        """When the next ones are."""
        found = [self.silenced_at] if where.roles & _QUERIES else []
        return [*found, self.usage_at] if settings is not None and settings.counters else found

    def due(self, settings: LineSettings | None, where: Where, ticks: float) -> Due | None:
        """What is to be read now, and then not for a while; None: nothing."""
        silenced = bool(where.roles & _QUERIES) and ticks >= self.silenced_at
        usage = settings is not None and settings.counters and ticks >= self.usage_at
        if silenced:
            self.silenced_at = ticks + SILENCED_EVERY
        if usage and settings is not None:
            self.usage_at = ticks + settings.count_every
        return Due(silenced, usage) if silenced or usage else None

    async def read(self, due: Due, kernel: LineKernel, tables: frozenset[Table], owners: Mapping[Prefix, str]) -> None:
        """Read what is due, and hand it on. Raises UnavailableError."""
        if due.silenced:
            await self._read_queries(kernel, tables, owners)
        if due.usage:
            parts = []
            for role in USAGE:
                parts.append(await kernel.counts(role, tables))
                # Of very many customers each takes longer than a window may.
                if time.monotonic() >= self.silenced_at and any(table.role in _QUERIES for table in tables):
                    await self._read_queries(kernel, tables, owners)
            at = time.time()
            new = await asyncio.to_thread(self._counts.usage_since, *parts)
            if new is not None:
                self._counts.usage(at, [await self._counts.by_row(one, owners, new.moved) for one in new.parts])

    async def _read_queries(self, kernel: LineKernel, tables: frozenset[Table], owners: Mapping[Prefix, str]) -> None:
        began = time.monotonic()
        counted = await kernel.counts(Role.SILENCE, tables)
        asks, at = any(table.role is Role.COUNT_QUERIES for table in tables), time.monotonic()
        passed = await kernel.counts(Role.COUNT_QUERIES, tables) if asks else {}
        dropped = await asyncio.to_thread(self._counts.silenced_since, counted)
        asked = await asyncio.to_thread(self._counts.asked_since, passed, at) if asks else None
        unanswered = await self._counts.by_row(dropped, owners)
        let_through = await self._counts.by_row(asked.queries, owners, asked.moved) if asked is not None else {}
        # Both at once: they are of the same time, and are to be of one window.
        self._counts.silenced(unanswered)
        if asked is not None:
            self._counts.asked(let_through, asked.seconds)
        ended = time.monotonic()
        self.silenced_at = max(began + SILENCED_EVERY, ended + _REST * (ended - began))
