"""Two planes at once: each writes files of its own, and the reader sums both without counting twice."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from sekisho.drivers import tablereader
from sekisho.drivers.hitrings import HitRings
from sekisho.drivers.planebanks import Bank
from sekisho.drivers.tablereader import TableReader
from sekisho.drivers.tables import TableWriter
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.model.counters import Counter
from sekisho.model.errors import UnavailableError
from sekisho.snapshot import layout


@pytest.fixture(autouse=True)
def _slow(monkeypatch) -> None:
    """A heartbeat is not old however slow the test."""
    monkeypatch.setattr(tablereader, "_ALIVE_NS", 10**18)


def test_each_of_two_planes_has_a_bank_and_a_third_is_told(tmp_path: Path) -> None:
    first, second = Bank(tmp_path), Bank(tmp_path)
    assert (first.first, second.first) == (0, layout.BANK)
    with pytest.raises(UnavailableError, match="two planes run"):
        Bank(tmp_path)
    first.release()
    third = Bank(tmp_path)
    assert third.first == 0, "a bank is free when its plane is gone"
    third.release()
    second.release()


def test_what_both_planes_count_is_summed_and_stays_when_one_is_gone(tmp_path: Path) -> None:
    TableWriter(tmp_path)
    reader = TableReader(tmp_path)
    files = WorkerFiles(tmp_path), WorkerFiles(tmp_path, layout.BANK)
    old, new = (one.counts(0, 10) for one in files)
    for counts, queries, entries in ((old, 100, 7), (new, 30, 2)):
        counts.totals[int(Counter.QUERIES_UDP4)] = queries
        counts.totals[int(Counter.CACHE_ENTRIES)] = entries
        counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
    seen = reader.observe()
    assert (seen.workers_alive, seen.totals[Counter.QUERIES_UDP4], seen.totals[Counter.CACHE_ENTRIES]) == (2, 130, 9)
    old.worker[layout.WORKER_HEARTBEAT] = 0
    seen = reader.observe()
    assert (seen.workers_alive, seen.totals[Counter.QUERIES_UDP4], seen.totals[Counter.CACHE_ENTRIES]) == (1, 130, 2)
    # A later plane takes the first bank again: what stood there counts on.
    files[0].counts(0, 10).totals[int(Counter.QUERIES_UDP4)] = 5
    assert reader.observe().totals[Counter.QUERIES_UDP4] == 135


def test_matches_of_both_planes_are_taken_from_rings_of_their_own(tmp_path: Path) -> None:
    TableWriter(tmp_path)
    rings = HitRings(tmp_path)
    for first in (0, layout.BANK):
        hits = WorkerFiles(tmp_path, first).hits(1)
        hits.ring[0] = np.array([1, first, 0, 1, 1, 1 << 32], np.uint64)
        hits.cursor[0] = 1
    # No snapshot names them, so each is told as lost.
    assert rings.drain(10)[1:] == (2, 2)
    assert rings.drain(10)[1:] == (0, 0)


def test_a_killed_planes_workers_live_no_more_when_the_next_one_comes(tmp_path: Path) -> None:
    TableWriter(tmp_path)
    reader = TableReader(tmp_path)
    first, second = Bank(tmp_path), Bank(tmp_path)
    WorkerFiles(tmp_path, second.first).counts(0, 10).worker[layout.WORKER_HEARTBEAT] = time.time_ns()
    first.release()
    Bank(tmp_path).release()
    assert reader.observe().workers_alive == 1, "somebody holds that bank"
    second.release()
    Bank(tmp_path).release()
    assert reader.observe().workers_alive == 0


def test_two_planes_share_one_budget_however_they_make_room_for_more_customers(tmp_path: Path) -> None:
    old, new = WorkerFiles(tmp_path), WorkerFiles(tmp_path, layout.BANK)
    old.budgets(10)[3] = 7
    assert int(new.budgets(5000)[3]) == 7
    old.budgets(5000)[4] = 9
    assert int(new.budgets(5000)[4]) == 9
