"""What the plane writes, read by the control plane: counts, matches, and a verdict asked in dry run.

Owns the sums over workers and over restarts of the plane, the ids behind the plane's numbers, and
the place up to which matches were taken (kept in `head`, so a restart neither repeats nor skips).
Reads only; a plane that is not there reads as zero workers.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter as Sum
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sekisho.drivers.maps import Directory, Head, MappedCustomers, map_customers, map_snapshot
from sekisho.drivers.sharedfiles import HEAD, MappedTable, map_table
from sekisho.model.counters import Counter
from sekisho.model.errors import TableError, UnavailableError
from sekisho.model.lists import ActionKind
from sekisho.snapshot import layout
from sekisho.snapshot.digest import Key
from sekisho.snapshot.sections import Kind

if TYPE_CHECKING:
    from sekisho.drivers.verdicts import Explanation

_ALIVE_NS = 5_000_000_000
"""A worker that has not passed its loop for this long is not alive."""
_GAUGES = (Counter.CACHE_ENTRIES, Counter.CACHE_BYTES)
_LOW32, _LOW16 = 0xFFFFFFFF, 0xFFFF
_ACTION_AND_EPOCH = np.uint64(0xFFFFFFFF00FF0000)
_MINUTE_NS = np.uint64(60_000_000_000)


@dataclass(frozen=True, slots=True)
class PlaneObservation:
    """The plane at one moment, summed over its workers."""

    totals: dict[Counter, int]
    per_list: dict[str, int]
    """Matches by list id."""
    per_rule: dict[str, int]
    """Queries decided by clause id."""
    latency: list[int]
    workers_alive: int
    epoch: int
    """Lowest epoch a living worker answers by; 0 without one."""
    restarts: int
    refused_epoch: int = 0
    """A snapshot the plane refused as damaged; 0: none."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Equal matches of one minute, their numbers resolved; a part is None where its id is not known any more."""

    time_ns: int
    """Of the last of them."""
    customer: str | None
    clause: str | None
    list: str | None
    first: int
    second: int
    action: ActionKind
    epoch: int
    count: int = 1


@dataclass(slots=True)
class _Source:
    """One counts file as it was last read."""

    table: MappedTable
    started: int
    totals: Any
    latency: Any
    cells: dict[int, tuple[Any, Any]] = field(default_factory=dict)


class TableReader:
    """Reads the plane's tables in `folder`; `key` is needed to explain."""

    def __init__(self, folder: Path, key: Key | None = None) -> None:
        self._folder = folder
        self._key = key
        self._sources: dict[int, _Source] = {}
        self._rings: dict[int, MappedTable] = {}
        self._base = np.zeros(len(Counter), np.uint64)
        self._base_latency = np.zeros(layout.BUCKETS, np.uint64)
        self._lists: Sum[str] = Sum()
        self._rules: Sum[str] = Sum()
        self._directories: dict[int, Directory | None] = {}
        self._customers: MappedCustomers | None = None
        self._taken = map_table(folder / HEAD, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]

    def observe(self) -> PlaneObservation:
        """Sum what the workers count. Counters only grow, over restarts of the plane too."""
        totals, gauges = np.zeros((2, len(Counter)), np.uint64)
        latency = np.zeros(layout.BUCKETS, np.uint64)
        alive, epochs, refused = 0, [], 0
        now = time.time_ns()
        for number, path in self._files("counts-"):
            source = self._source(number, path)
            if source is None:
                continue
            arrays = source.table.arrays
            source.totals, source.latency = arrays["totals"][: len(Counter)].copy(), arrays["latency"].copy()
            gauges += source.totals
            totals += source.totals
            latency += source.latency
            self._count_cells(source)
            worker = arrays["worker"]
            if not int(worker[layout.WORKER_ROLE]) and now - int(worker[layout.WORKER_HEARTBEAT]) < _ALIVE_NS:
                alive += 1
                epochs.append(int(worker[layout.WORKER_EPOCH]))
                refused = max(refused, int(worker[layout.WORKER_REFUSED_EPOCH]))
        # Only now: what a plane that is gone had counted came to the base on the way here.
        totals += self._base
        latency += self._base_latency
        named = {counter: int(totals[counter]) for counter in Counter}
        named |= {counter: int(gauges[counter]) if alive else 0 for counter in _GAUGES}
        lists, rules = dict(self._lists), dict(self._rules)
        epoch = min(epochs, default=0)
        return PlaneObservation(
            totals=named,
            per_list=lists,
            per_rule=rules,
            latency=[int(count) for count in latency],
            workers_alive=alive,
            epoch=epoch,
            restarts=named[Counter.WORKER_RESTARTS],
            refused_epoch=refused if refused > epoch else 0,
        )

    def drain_hits(self, limit: int) -> tuple[list[Hit], int]:
        """Take up to `limit` matches of each worker, equal ones of a minute as one; and how many were overwritten unread."""
        found: list[Hit] = []
        lost = 0
        with contextlib.suppress(TableError):
            self._current_customers(Head(self._folder).generation)
        for number, path in self._files("hits-"):
            table = self._ring(number, path)
            if table is None or number >= layout.HEAD_WORDS - layout.HEAD_TAKEN:
                continue
            rows, missed = self._take(table.arrays["ring"], int(table.arrays["cursor"][0]), number, limit)
            lost += missed
            found += self._hits(rows)
        return found, lost

    def customer_counts(self, row: int) -> tuple[int, int, int, int]:
        """Queries, blocked, limited, silenced of one customer's row, over all workers."""
        sums = np.zeros(layout.COUNT_COLUMNS, np.uint64)
        for source in self._sources.values():
            columns = source.table.arrays["customers"]
            if row < len(columns):
                sums += columns[row]
        return int(sums[0]), int(sums[1]), int(sums[2]), int(sums[3])

    def explain(self, address: str, port: int, name: bytes, qtype: int, tcp: bool = False) -> Explanation:
        """The plane's own verdict on a query, charging no budget and leaving no trace.

        Raises UnavailableError if no tables are published yet.
        """
        if self._key is None:
            message = "this reader was opened without the list key"
            raise UnavailableError(message)
        try:
            head = Head(self._folder)
            snapshot = map_snapshot(self._folder, head.epoch, self._key)
            customers = self._current_customers(head.generation)
        except TableError as error:
            message = f"no tables are published yet: {error}"
            raise UnavailableError(message) from error
        # The verdict brings the packet path with it, which a start of the control plane does not wait for.
        from sekisho.drivers.verdicts import explain  # noqa: PLC0415

        return explain(self._folder, snapshot, customers, self._key, address, port, name, qtype, tcp=tcp)

    def _files(self, start: str) -> list[tuple[int, Path]]:
        found = [(path.name.removeprefix(start), path) for path in self._folder.glob(f"{start}*")]
        return sorted((int(number), path) for number, path in found if number.isdigit())

    def _source(self, number: int, path: Path) -> _Source | None:
        known = self._sources.get(number)
        try:
            status = path.stat()
            if known is not None and known.table.identity == (status.st_dev, status.st_ino):
                return known
            table = map_table(path, Kind.COUNTS, layout.COUNTS_VERSION)
        except (OSError, TableError):
            return known
        started = int(table.arrays["worker"][layout.WORKER_STARTED])
        fresh = _Source(table, started, table.arrays["totals"][: len(Counter)].copy(), table.arrays["latency"].copy())
        if known is not None and known.started == started:
            fresh.cells = known.cells
        elif known is not None:
            last = known.table.arrays
            self._count_cells(known)
            self._base += last["totals"][: len(Counter)]
            self._base_latency += last["latency"]
            for gauge in _GAUGES:
                self._base[gauge] = 0
        self._sources[number] = fresh
        return fresh

    def _count_cells(self, source: _Source) -> None:
        arrays = source.table.arrays
        for half in range(2):
            epoch = int(arrays["epochs"][half])
            directory = self._directory(epoch) if epoch else None
            if directory is None:
                continue
            lists, rules = arrays["lists"][half].astype(np.int64), arrays["rules"][half].astype(np.int64)
            if int(arrays["epochs"][half]) != epoch:
                continue  # the worker went on to another epoch in between
            before = source.cells.get(epoch)
            for order in np.flatnonzero(lists if before is None else lists - before[0]):
                name = directory.lists.get(int(order))
                if name is not None:
                    self._lists[name] += int(lists[order]) - (int(before[0][order]) if before else 0)
            for rule in np.flatnonzero(rules if before is None else rules - before[1]):
                if int(rule) < len(directory.clauses):
                    self._rules[directory.clauses[int(rule)]] += int(rules[rule]) - (int(before[1][rule]) if before else 0)
            source.cells[epoch] = (lists, rules)
        for old in [epoch for epoch in source.cells if epoch not in (int(arrays["epochs"][0]), int(arrays["epochs"][1]))]:
            del source.cells[old]

    def _directory(self, epoch: int) -> Directory | None:
        if epoch not in self._directories:
            try:
                self._directories[epoch] = map_snapshot(self._folder, epoch, verify=False).directory
            except TableError:
                self._directories[epoch] = None
        return self._directories[epoch]

    def _ring(self, number: int, path: Path) -> MappedTable | None:
        known = self._rings.get(number)
        try:
            status = path.stat()
            if known is None or known.identity != (status.st_dev, status.st_ino):
                if known is not None:
                    self._taken[layout.HEAD_TAKEN + number] = 0
                self._rings[number] = map_table(path, Kind.HITS, layout.HITS_VERSION)
        except (OSError, TableError):
            return known
        return self._rings[number]

    def _take(self, ring: Any, cursor: int, number: int, limit: int) -> tuple[Any, int]:
        """Rows from the last one taken on; a row overwritten while it was read is lost."""
        start = int(self._taken[layout.HEAD_TAKEN + number])
        if start > cursor:
            start = 0
        lost = max(0, cursor - start - layout.RING)
        start += lost
        sequence = np.arange(start, min(cursor, start + limit), dtype=np.uint64)
        places = (sequence % np.uint64(layout.RING)).astype(np.int64)
        rows = ring[places]
        whole = (rows[:, 0] == sequence + np.uint64(1)) & (ring[places, 0] == rows[:, 0])
        self._taken[layout.HEAD_TAKEN + number] = start + len(sequence)
        return rows[whole], lost + int(len(sequence) - np.count_nonzero(whole))

    def _hits(self, rows: Any) -> list[Hit]:
        """Bring equal rows of a minute together, and resolve them. A query's type and transport are not asked for."""
        if not len(rows):
            return []
        same = np.column_stack([rows[:, 2], rows[:, 3], rows[:, 4], rows[:, 5] & _ACTION_AND_EPOCH, rows[:, 1] // _MINUTE_NS])
        keys = np.ascontiguousarray(same).view(np.dtype((np.void, same.shape[1] * 8))).reshape(-1)
        _, last, counts = np.unique(keys[::-1], return_index=True, return_counts=True)
        chosen = rows[len(rows) - 1 - last].tolist()
        return [self._hit(row, count) for row, count in zip(chosen, counts.tolist(), strict=True)]

    def _hit(self, row: list[int], count: int) -> Hit:
        _, time_ns, packed, first, second, rest = row
        directory = self._directory(rest >> 32)
        rule, order = packed >> 32 & _LOW16, packed >> 48
        return Hit(
            time_ns=time_ns,
            customer=self._customer(packed & _LOW32),
            clause=directory.clauses[rule] if directory and rule < len(directory.clauses) else None,
            list=directory.lists.get(order) if directory else None,
            first=first,
            second=second,
            action=ActionKind(rest >> 16 & 0xFF),
            epoch=rest >> 32,
            count=count,
        )

    def _customer(self, row: int) -> str | None:
        customers = self._customers
        return customers.name(row) if customers is not None else None

    def _current_customers(self, generation: int) -> MappedCustomers:
        if self._customers is None or self._customers.generation != generation:
            self._customers = map_customers(self._folder, generation)
        return self._customers
