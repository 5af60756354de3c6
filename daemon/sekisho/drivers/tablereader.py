"""What the plane writes, read by the control plane: its counts, and a verdict asked in dry run.

Owns the sums over workers and over restarts of the plane, and the ids behind the plane's numbers.
Reads only; a plane that is not there reads as zero workers. Matches are read by `hitrings`.
"""

from __future__ import annotations

import time
from collections import Counter as Sum
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sekisho.drivers.maps import Directories, Head, MappedCustomers, map_customers, map_snapshot
from sekisho.drivers.sharedfiles import MappedTable, map_table, numbered_files
from sekisho.model.counters import Counter
from sekisho.model.errors import TableError, UnavailableError
from sekisho.snapshot import layout
from sekisho.snapshot.digest import Key
from sekisho.snapshot.sections import Kind

if TYPE_CHECKING:
    from sekisho.drivers.verdicts import Explanation

_ALIVE_NS = 5_000_000_000
"""A worker that has not passed its loop for this long is not alive; nor one that did so far ahead: the clock was set back since."""
_GAUGES = (Counter.CACHE_ENTRIES, Counter.CACHE_BYTES)


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
    """A snapshot the plane refused; 0: none."""
    refused_generation: int = 0
    """Customers' tables the plane refused; 0: none."""


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
        self._base = np.zeros(len(Counter), np.uint64)
        self._base_latency = np.zeros(layout.BUCKETS, np.uint64)
        self._lists: Sum[str] = Sum()
        self._rules: Sum[str] = Sum()
        self._directories = Directories(folder)
        self._customers: MappedCustomers | None = None

    def observe(self) -> PlaneObservation:
        """Sum what the workers count. Counters only grow, over restarts of the plane too."""
        totals, gauges = np.zeros((2, len(Counter)), np.uint64)
        latency = np.zeros(layout.BUCKETS, np.uint64)
        alive, epochs, generations, refused, refused_people = 0, [], [], 0, 0
        now = time.time_ns()
        for number, path in numbered_files(self._folder, "counts-"):
            source = self._source(number, path)
            if source is None:
                continue
            arrays = source.table.arrays
            source.totals, source.latency = arrays["totals"][: len(Counter)].copy(), arrays["latency"].copy()
            totals += source.totals
            latency += source.latency
            self._count_cells(source)
            worker = arrays["worker"]
            if not int(worker[layout.WORKER_ROLE]) and abs(now - int(worker[layout.WORKER_HEARTBEAT])) < _ALIVE_NS:
                alive += 1
                gauges += source.totals
                epochs.append(int(worker[layout.WORKER_EPOCH]))
                self._directories.of(epochs[-1])  # while its snapshot is there
                generations.append(int(worker[layout.WORKER_GENERATION]))
                refused = max(refused, int(worker[layout.WORKER_REFUSED_EPOCH]))
                refused_people = max(refused_people, int(worker[layout.WORKER_REFUSED_GENERATION]))
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
            refused_generation=refused_people if refused_people > min(generations, default=0) else 0,
        )

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

        Raises UnavailableError if no tables are published yet, or those that are cannot be read.
        """
        if self._key is None:
            message = "this reader was opened without the list key"
            raise UnavailableError(message)
        epoch = 0
        try:
            head = Head(self._folder)
            epoch = head.epoch
            snapshot = map_snapshot(self._folder, epoch, self._key)
            customers = self._current_customers(head.generation)
        except TableError as error:
            message = f"no tables are published yet: {error}"
            if epoch:
                message = (
                    f"the tables in force cannot be read: {error}; a plane that runs answers on by those it has taken, "
                    "and `sekisho reload` writes them anew"
                )
            raise UnavailableError(message) from error
        # The verdict brings the packet path with it, which a start of the control plane does not wait for.

        from sekisho.drivers.verdicts import explain  # noqa: PLC0415

        return explain(self._folder, snapshot, customers, self._key, address, port, name, qtype, tcp=tcp)

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
            directory = self._directories.of(epoch) if epoch else None
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

    def _current_customers(self, generation: int) -> MappedCustomers:
        if self._customers is None or self._customers.generation != generation:
            self._customers = map_customers(self._folder, generation)
        return self._customers
