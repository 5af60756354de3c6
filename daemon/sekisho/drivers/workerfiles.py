"""The files the plane writes in the tables' folder: what its workers count, the matches they had, and everybody's budgets.

Owns that they have room for the customers there are, and that a plane goes on where the one before it ended. Not the threads
that write in them (`drivers.planeworkers`).
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sekisho.drivers.maps import MappedCustomers, MappedSnapshot
from sekisho.drivers.planebanks import only_one
from sekisho.drivers.sharedfiles import BUDGETS, counts_file, create_table, hits_file, map_table
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.digest import Key
from sekisho.snapshot.layout import Counts, Hits
from sekisho.snapshot.sections import Kind


@dataclass(frozen=True, slots=True)
class Tables:
    """What a verdict is reached with: swapped as one."""

    snapshot: MappedSnapshot
    customers: MappedCustomers
    buckets: Any
    key: Key


class WorkerFiles:
    """The files the plane writes in the tables' folder: budgets for all, counts and hits for each worker."""

    def __init__(self, folder: Path, first: int = 0) -> None:
        """`first`: the number of the first worker in the plane's bank (`planebanks`)."""
        self._folder = folder
        self._first = first

    def budgets(self, rows: int) -> Any:
        """The token buckets with room for `rows` customers; what they held is kept. Two planes share them."""
        with only_one(self._folder):
            return self._budgets(rows)

    def _budgets(self, rows: int) -> Any:
        path = self._folder / BUDGETS
        with contextlib.suppress(TableError):
            found = map_table(path, Kind.BUDGETS, layout.BUDGETS_VERSION, writable=True).arrays["full"]
            if len(found) >= rows:
                return found
        held = np.zeros(rows + rows // 4, np.uint64)
        with contextlib.suppress(TableError):
            before = map_table(path, Kind.BUDGETS, layout.BUDGETS_VERSION).arrays["full"]
            held[: len(before)] = before
        create_table(path, Kind.BUDGETS, layout.BUDGETS_VERSION, 0, {"full": held})
        return map_table(path, Kind.BUDGETS, layout.BUDGETS_VERSION, writable=True).arrays["full"]

    def counts(self, worker: int, rows: int, before: Counts | None = None) -> Counts:
        """A worker's counts, made anew with room for `rows` customers; `before` is carried over."""
        path = self._folder / counts_file(self._first + worker)
        fresh = layout.empty_counts(rows + rows // 4)
        if before is not None:
            for name in ("totals", "lists", "rules", "epochs", "latency", "worker"):
                fresh[name][:] = getattr(before, name)
            fresh["customers"][: len(before.customers)] = before.customers
            fresh["patterns"][: len(before.patterns)] = before.patterns
        else:
            fresh["worker"][layout.WORKER_PID] = os.getpid()
            fresh["worker"][layout.WORKER_STARTED] = time.time_ns()
        create_table(path, Kind.COUNTS, layout.COUNTS_VERSION, worker, fresh)
        arrays = map_table(path, Kind.COUNTS, layout.COUNTS_VERSION, writable=True).arrays
        return Counts(*(arrays[name] for name in Counts.names()))

    def grown(self, worker: int, rows: int, before: Counts) -> Counts:
        """A worker's counts with room for `rows` customers; as they are if the disk has none, and the customers beyond go uncounted."""
        if rows <= len(before.customers):
            return before
        with contextlib.suppress(TableError):
            return self.counts(worker, rows, before)
        return before

    def hits(self, worker: int) -> Hits:
        """A worker's ring of matches; one left by an earlier plane goes on, so nothing unread is lost."""
        path = self._folder / hits_file(self._first + worker)
        try:
            arrays = map_table(path, Kind.HITS, layout.HITS_VERSION, writable=True).arrays
        except TableError:
            create_table(path, Kind.HITS, layout.HITS_VERSION, worker, layout.empty_hits())
            arrays = map_table(path, Kind.HITS, layout.HITS_VERSION, writable=True).arrays
        return Hits(*(arrays[name] for name in Hits.names()))


def enter_epoch(counts: Counts, tables: Tables) -> None:
    """Tell the counts which epoch follows; the half it counts in starts from zero."""
    epoch, half = tables.snapshot.epoch, tables.snapshot.epoch & 1
    if int(counts.epochs[half]) != epoch:
        counts.epochs[half] = 0
        counts.lists[half] = 0
        counts.rules[half] = 0
        counts.epochs[half] = epoch
    counts.worker[layout.WORKER_EPOCH] = epoch
    counts.worker[layout.WORKER_GENERATION] = tables.customers.generation
