"""What every worker counted of each customer, window by window: the counts files read as differences.

Owns the sums over workers, over restarts of the plane and over the growth of its files, what resolvers told
of besides (`drivers.dnstap`) and the kernel counted (`drivers.kernelqueries`), and which customer a row is. Reads only.
Counters are 32 bits wide and wrap; differences over a window do not mind.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sekisho.detect.load import LoadSample
from sekisho.detect.overload import Line, Pattern, Window
from sekisho.drivers.customerstanding import standing
from sekisho.drivers.dnstapseen import Seen
from sekisho.drivers.kernelqueries import KernelQueries, Told
from sekisho.drivers.maps import Head, MappedCustomers, map_customers
from sekisho.drivers.sharedfiles import MappedTable, map_table, numbered_files
from sekisho.model.counters import Counter
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.people import fields_of
from sekisho.snapshot.sections import Kind

_ALIVE_NS = 5_000_000_000
_LATE_NS = 1_500_000_000
"""After its last sign of life, which comes with every wake-up, in which a worker is taken to be counting."""
_GONE_NS = 3600 * 10**9
"""After its last sign of life, in which a plane is taken to be one that is not used any more, where others tell of queries."""
_NO_CELLS = (np.empty(0, np.int64), np.empty((0, 7), np.uint32))
_FAILED = (Counter.UPSTREAM_TIMEOUTS, Counter.PENDING_FULL)


@dataclass(slots=True)
class _File:
    """One counts file."""

    table: MappedTable
    started: int
    busy: int = 0
    """As it was at the last window."""
    is_stale: bool = False
    """It counts by rows that are not those of now: a plane that goes on under tables of before."""
    base: NDArray[np.uint32] | None = None
    """What it had counted when that ended."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """Everything counted until a moment (monotonic seconds), by all workers there were."""

    at: float
    queries: NDArray[np.uint32]
    totals: NDArray[np.uint64]
    latency: NDArray[np.uint64]


class CustomerCounts:
    """Windows of the plane whose tables are in `folder`."""

    def __init__(self, folder: Path, seen: Seen | None = None) -> None:
        """`seen` is what resolvers tell of, which counts as much as what the plane counted."""
        self._folder = folder
        self._seen = seen if seen is not None else Seen()
        self._changes = 0
        """How often resolvers had come and gone at the last window."""
        self._files: dict[int, _File] = {}
        self._gone = _Sums(0.0, np.zeros(0, np.uint32), np.zeros(len(Counter), np.uint64), np.zeros(layout.BUCKETS, np.uint64))
        self._before: _Sums | None = None
        self.kernel = KernelQueries()
        """What the kernel counts of queries, beside the plane."""
        self._cells = _NO_CELLS
        """Rows looked at in the last window, and their pattern and loss counters, added up: the fields of `Pattern`, where what
        resolvers left unanswered is a difference that may be below zero."""
        self._customers: MappedCustomers | None = None
        self._looked = 0

    def window(self, at: float, now: float) -> Window | None:
        """What was counted since the last call; None at the first. `at`: UNIX seconds, `now`: monotonic seconds.

        Takes milliseconds with a million customers: not for the loop.
        """
        self._look()
        sums = self._sums(now)
        before, self._before = self._before, sums
        busy = self._busy()
        # All look at what changed since they were last asked.
        (asked, kernel), told, worked = self.kernel.window(now), self._is_told(), self._is_whole(time.time_ns())
        whole = worked and told
        if before is None or now <= before.at:
            return None
        counts = np.zeros(max(len(sums.queries), len(asked)), np.uint32)
        counts[: len(sums.queries)] = sums.queries
        counts[: len(before.queries)] -= before.queries[: len(counts)]
        counts[: len(asked)] += asked
        # The allowed networks are no customer.
        counts[: layout.ALLOWED + 1] = 0
        totals = (sums.totals - before.totals).astype(np.int64)
        latency = (sums.latency - before.latency).astype(np.int64)
        sample = LoadSample(
            now - before.at,
            busy,
            int(totals[Counter.UPSTREAM_ANSWERED]),
            int(sum(totals[counter] for counter in _FAILED)),
            [int(count) for count in latency],
            int(counts.sum(dtype=np.uint64)),
        )
        return Window(at, counts, sample, whole and kernel is Told.YES, late=whole and kernel is Told.LATE)

    def lines(self, rows: NDArray[np.int64]) -> list[Line]:
        """The customers in `rows`, as far as the last window tells of them. Rows looked at for the first time have no pattern yet.

        Raises TableError if the customers' table cannot be read: nobody is taken for gone because of that.
        """
        customers = self._current_customers()
        cells = self._cells_of(rows)
        (known, last), self._cells = self._cells, (rows, cells)
        at = np.minimum(np.searchsorted(known, rows), max(0, len(known) - 1))
        again = known[at] == rows if len(known) else np.zeros(len(rows), np.bool_)
        grown = np.where(again[:, None], cells - last[at], np.uint32(0)) if len(known) else np.zeros_like(cells)
        shares = self.kernel.share(grown[:, 5:])
        grown[:, 3] += shares[:, 0]
        grown[:, 4] += shares[:, 1]
        # Answers to queries of the window before make the difference negative.
        grown[:, 3] = np.maximum(grown[:, 3].view(np.int32), 0)
        patterns = grown[:, :5].tolist()
        active, silenced, addresses = standing(customers, rows)
        unheard = self._seen.answers_only & silenced & ~self.kernel.is_dropped(rows)
        return [
            Line(name, many, Pattern(*pattern) if seen else None, unheard=mute) if name is not None and here else Line(None)
            for name, here, many, seen, mute, pattern in zip(
                customers.names(rows), active.tolist(), addresses.tolist(), again.tolist(), unheard.tolist(), patterns, strict=True
            )
        ]

    def customers(self, rows: NDArray[np.int64]) -> list[str | None]:
        """Whose many rows are; None: nobody's, or not any more. Raises TableError."""
        customers = self._current_customers()
        known = rows < len(customers.tables.rows)
        flags = fields_of(customers.tables.rows, layout.ROW)["flags"][np.where(known, rows, 0)]
        active = known & (flags & layout.ACTIVE != 0)
        return [name if there else None for name, there in zip(customers.names(rows), active.tolist(), strict=True)]

    def line(self, row: int, customer: str) -> Line:
        """One customer's line, without a pattern."""
        try:
            *_, addresses = standing(self._current_customers(), np.array([row], np.int64))
            return Line(customer, int(addresses[0]))
        except TableError:
            return Line(customer)

    def _look(self) -> None:
        """Map files that are new. What a plane that is gone had counted stays in the sums."""
        for number, path in numbered_files(self._folder, "counts-"):
            known = self._files.get(number)
            try:
                status = path.stat()
                if known is not None and known.table.identity == (status.st_dev, status.st_ino):
                    continue
                table = map_table(path, Kind.COUNTS, layout.COUNTS_VERSION)
            except (OSError, TableError):
                continue
            started = int(table.arrays["worker"][layout.WORKER_STARTED])
            fresh = _File(table, started)
            if known is not None and known.started == started:
                fresh.busy, fresh.is_stale, fresh.base = known.busy, known.is_stale, known.base
            elif known is not None:
                self._gone = self._with(self._gone, known)
                # The pattern of a window in which a plane ended is not told.
                self._cells = _NO_CELLS
            self._files[number] = fresh
        self._look_at_rows()

    def _look_at_rows(self) -> None:
        """Which files count by the rows there are now."""
        numbered = 0
        with contextlib.suppress(TableError):
            numbered = Head(self._folder).numbered
        for file in self._files.values():
            was, file.is_stale = file.is_stale, int(file.table.arrays["worker"][layout.WORKER_EPOCH]) < numbered
            if was and not file.is_stale:
                file.base = file.table.arrays["customers"][:, layout.COUNT_QUERIES].copy()
                self._cells = _NO_CELLS

    def _sums(self, now: float) -> _Sums:
        sums = self._gone
        for file in self._files.values():
            sums = self._with(sums, file)
        told = self._seen.queries
        queries = np.zeros(max(len(sums.queries), len(told)), np.uint32)
        for one in (sums.queries, told):
            queries[: len(one)] += one
        return _Sums(now, queries, sums.totals, sums.latency)

    def _with(self, sums: _Sums, file: _File) -> _Sums:
        arrays = file.table.arrays
        column = arrays["customers"][:, layout.COUNT_QUERIES]
        if file.is_stale:
            column = column[:0]
        elif file.base is not None:
            column = column - np.pad(file.base, (0, len(column) - len(file.base)))
        short, long = sorted((sums.queries, column), key=len)
        queries = np.array(long, np.uint32)
        queries[: len(short)] += short
        return _Sums(sums.at, queries, sums.totals + arrays["totals"][: len(Counter)], sums.latency + arrays["latency"])

    def _is_whole(self, wall: int) -> bool:
        """Whether every UDP worker that lives has counted since the last call (`wall`: ns since 1970), and one does."""
        since, self._looked = self._looked, wall
        workers = [file.table.arrays["worker"] for file in self._files.values()]
        beats = [
            (wall - int(worker[layout.WORKER_HEARTBEAT]), int(worker[layout.WORKER_STARTED]))
            for worker in workers
            if not int(worker[layout.WORKER_ROLE])
        ]
        living = [(age, started) for age, started in beats if abs(age) < _ALIVE_NS]
        # A plane under tables of before counts for nobody: who is calm cannot be told.
        stale = any(file.is_stale for file in self._files.values())
        ages = [wall - int(worker[layout.WORKER_HEARTBEAT]) for worker in workers]
        if (self._seen.wanted or self.kernel.wanted) and all(age > _GONE_NS for age in ages):
            return True
        return bool(living) and not stale and all(age < _LATE_NS and started <= since for age, started in living)

    def _is_told(self) -> bool:
        """Whether resolvers, where they are wanted, told of queries all the while since the last call: one at least."""
        before, self._changes = self._changes, self._seen.changes
        return not self._seen.wanted or (before == self._changes and self._seen.streams > 0)

    def _busy(self) -> list[float]:
        """Seconds each living UDP worker was busy since the last call."""
        found = []
        wall = time.time_ns()
        for file in self._files.values():
            worker, total = file.table.arrays["worker"], int(file.table.arrays["totals"][Counter.BUSY_NS])
            if not int(worker[layout.WORKER_ROLE]) and abs(wall - int(worker[layout.WORKER_HEARTBEAT])) < _ALIVE_NS:
                found.append((total - file.busy) / 1e9)
            file.busy = total
        return found

    def _cells_of(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Forwarded, new, NXDOMAIN, unanswered and told of by resolvers of some rows, over all mapped workers, and what the kernel
        counted of them (`KernelQueries.of`); uint32 (rows, 7).
        """
        found = np.zeros((len(rows), 7), np.uint32)
        found[:, 5:] = self.kernel.of(rows)
        for file in self._files.values():
            if file.is_stale:
                continue
            arrays = file.table.arrays
            counts, patterns = arrays["customers"], arrays.get("patterns")
            here = rows < len(counts)
            if patterns is not None:
                found[here, :3] += patterns[rows[here], :3]
            found[here, 3] += counts[rows[here], layout.COUNT_LIMITED] + counts[rows[here], layout.COUNT_SILENCED]
        told, balance = self._seen.queries, self._seen.balance
        here = rows < min(len(told), len(balance))
        found[here, 4] += told[rows[here]]
        found[here, 3] += balance[rows[here]].view(np.uint32)
        return found

    def _current_customers(self) -> MappedCustomers:
        generation = Head(self._folder).generation
        if self._customers is None or self._customers.generation != generation:
            self._customers = map_customers(self._folder, generation)
        return self._customers
