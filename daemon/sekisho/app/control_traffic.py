"""Traffic: where everybody who counts it hands in what was counted, and what is asked of it.

Owns the usage of all customers while the daemon runs, and when it is saved. A source hands in octets by the customers' rows;
which source a customer is counted by, and windows, are `detect.usage`'s. Nothing about who talked to whom comes in here.
Handing in waits for nothing: everything that touches the totals runs on the loop, and while a thread looks at them what is
handed in waits in a list.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import structlog
from numpy.typing import NDArray

from sekisho.detect.tally import Tally
from sekisho.detect.usage import Usage
from sekisho.drivers.usagestore import UsageStore
from sekisho.model.errors import TableError
from sekisho.model.usage import Source

log = structlog.get_logger("sekisho.traffic")

SAVE_EVERY = 300.0
"""Seconds of usage at most that a death of the machine costs."""


class Traffic:
    """The usage of all customers, and counts of what they began."""

    def __init__(self, store: UsageStore, rows: Callable[[], Mapping[str, int]], usage: Usage) -> None:
        """`rows`: every customer's row; `usage`: what `store` had."""
        self.usage = usage
        self.mail = Tally()
        """New connections to ports of mail."""
        self.connections = Tally(2)
        """New connections, and those of them to the targets a customer connected to most."""
        self.batches = dict.fromkeys(Source, 0)
        """Batches since the start, and"""
        self.last: dict[Source, float] = {}
        """when the last one was (UNIX seconds), by source."""
        self._store = store
        self._rows = rows
        self._saved = usage.at
        self._saving = asyncio.Lock()
        self._looks = 0
        self._waiting: list[Callable[[], None]] = []

    def add(
        self,
        source: Source,
        at: float,
        rows: NDArray[np.int64],
        down: NDArray[np.uint64],
        up: NDArray[np.uint64],
        mail: NDArray[np.uint32] | None = None,
        *,
        seconds: NDArray[np.float64] | None = None,
        early: NDArray[np.bool_] | None = None,
        connections: NDArray[np.uint32] | None = None,
        focused: NDArray[np.uint32] | None = None,
    ) -> None:
        """What a source counted since its last batch, by customers' row; a row may stand several times. For the loop's thread only.

        source: who counted; at: UNIX seconds of the end of the count. `rows` int64 (n), the other arrays (n) likewise.
        down, up: octets towards the customers and from them. mail: new connections from them to ports of mail (25, 465, 587).
        seconds: of how many seconds up to `at` a row's octets are, where that is not since the last batch or, of accounting, since
        its last report of the customer. early: reports before their time, as the last of a session.
        connections: new connections of any kind that customers began, and `focused` those of
        them to the few targets each connected to most, summed over buckets of a sketch: no target is told.
        """
        self.batches[source] += 1
        self.last[source] = max(at, self.last.get(source, at))
        if self._looks:
            self._waiting.append(lambda: self._add(source, at, rows, down, up, mail, seconds, early, connections, focused))
        else:
            self._add(source, at, rows, down, up, mail, seconds, early, connections, focused)

    def _add(
        self,
        source: Source,
        at: float,
        rows: NDArray[np.int64],
        down: NDArray[np.uint64],
        up: NDArray[np.uint64],
        mail: NDArray[np.uint32] | None,
        seconds: NDArray[np.float64] | None,
        early: NDArray[np.bool_] | None,
        connections: NDArray[np.uint32] | None,
        focused: NDArray[np.uint32] | None,
    ) -> None:
        self.usage.add(source, at, rows, down, up, seconds, early)
        if mail is not None:
            self.mail.add(source, at, rows, mail)
        if connections is not None:
            self.connections.add(source, at, rows, connections, connections if focused is None else focused)

    def expect_none(self, source: Source, rows: NDArray[np.int64]) -> None:
        """Customers of whom a source has no more to tell for now: nobody waits for its next report. For the loop's thread only."""
        if self._looks:
            self._waiting.append(lambda: self.usage.expect_none(source, rows))
        else:
            self.usage.expect_none(source, rows)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Have nothing change while a thread looks at it: what is handed in meanwhile is counted afterwards."""
        self._looks += 1
        try:
            yield
        finally:
            self._looks -= 1
            if not self._looks:
                waiting, self._waiting = self._waiting, []
                for add in waiting:
                    add()

    async def tick(self, now: float, *, everything: bool = False) -> None:
        """Have slots end, and save what ended. Raises TableError if the disk does not take it: it is tried again."""
        if self._looks and not everything:
            return
        self.usage.advance(now)
        if not everything and (self._saving.locked() or 0 <= now - self._saved < SAVE_EVERY):
            return
        async with self._saving:
            for slot, kept in await asyncio.to_thread(self._store.save, self.usage.totals(), dict(self._rows())):
                known = self.usage.ring(slot).kept
                if kept.number in known:
                    known[kept.number] = kept
            self._saved = now

    async def close(self) -> None:
        """Save everything, as far as the disk takes it."""
        with contextlib.suppress(TableError):
            await self.tick(self.usage.at, everything=True)


def open_traffic(store: UsageStore, rows: Callable[[], Mapping[str, int]], now: float) -> Traffic:
    """Traffic with what was saved. Blocks for long with many customers: not for the loop."""
    usage = store.load(rows(), now)
    log.info("usage-loaded", rows=usage.rows)
    return Traffic(store, rows, usage)
