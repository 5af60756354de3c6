"""What the control plane reads of the plane: sums over workers and restarts, matches once each, losses counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.drivers import maps
from sekisho.drivers.hitrings import HitRings
from sekisho.drivers.maps import Head
from sekisho.drivers.tablereader import TableReader
from sekisho.drivers.tables import TableWriter
from sekisho.model.counters import Counter
from sekisho.model.errors import UnavailableError
from sekisho.model.verdicts import Step, Verdict
from sekisho.snapshot import layout
from sekisho.snapshot.build import build
from support.plane import (
    ALLOWED,
    BUDGET,
    CLAUSE,
    CUSTOMER,
    GARDENED,
    GROUNDS,
    KEY,
    MANDATORY_CLAUSE,
    OPTED_OUT,
    RESTRICTED,
    SILENCED,
    STRANGER,
    compile_entries,
    definition,
    profile,
    rule,
    wire,
)
from support.published import Site, published


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with published(tmp_path) as one:
        yield one


def test_a_plane_that_is_not_there_is_no_workers_and_no_counts(site: Site) -> None:
    seen = TableReader(site.folder).observe()
    assert (seen.workers_alive, seen.epoch, seen.restarts, sum(seen.totals.values())) == (0, 0, 0, 0)


def test_counts_are_summed_over_workers_by_list_and_by_clause(site: Site) -> None:
    for number in range(2):
        site.worker(number).ask("second.example", "second.example", "sealed.example", "www.example")
    reader = TableReader(site.folder)
    seen = reader.observe()
    assert (seen.per_list, seen.per_rule) == ({"list-0": 4, "list-1": 2}, {CLAUSE: 4, MANDATORY_CLAUSE: 2})
    assert seen.totals[Counter.QUERIES_UDP4] == 8
    assert reader.observe() == seen, "looking does not count"
    assert reader.customer_counts(1) == (8, 6, 0, 0)


def test_counters_only_grow_over_restarts_of_the_plane(site: Site) -> None:
    reader = TableReader(site.folder)
    before = 0
    for life in range(1, 4):
        worker = site.worker()
        worker.plane.desk.latency[3] += 1
        worker.ask("second.example", "www.example")
        seen = reader.observe()
        assert seen.latency[3] == sum(seen.latency) == life
        assert seen.totals[Counter.QUERIES_UDP4] == 2 * life > before
        assert (seen.per_list, seen.per_rule) == ({"list-0": life}, {CLAUSE: life})
        before = seen.totals[Counter.QUERIES_UDP4]


def test_what_a_plane_counted_after_the_last_look_is_not_lost_by_its_restart(site: Site) -> None:
    reader = TableReader(site.folder)
    first = site.worker()
    reader.observe()
    first.ask("second.example", "second.example")
    site.worker().ask("second.example")
    seen = reader.observe()
    assert (seen.totals[Counter.QUERIES_UDP4], seen.per_list["list-0"], seen.per_rule[CLAUSE]) == (3, 3, 3)


def test_a_worker_whose_counts_grew_for_more_customers_is_no_restart(site: Site) -> None:
    reader = TableReader(site.folder)
    worker = site.worker()
    worker.ask("second.example")
    reader.observe()
    worker.plane.counts = site.files.counts(0, 5000, worker.plane.counts)
    seen = reader.observe()
    assert (seen.totals[Counter.QUERIES_UDP4], seen.per_list["list-0"]) == (1, 1)
    assert reader.customer_counts(1) == (1, 1, 0, 0)


def test_gauges_are_of_now_and_not_of_planes_that_are_gone(site: Site) -> None:
    reader = TableReader(site.folder)
    for entries in (7, 2):
        worker = site.worker()
        worker.plane.desk.totals[int(Counter.CACHE_ENTRIES)] = entries
        worker.plane.counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
        worker.ask()
        assert reader.observe().totals[Counter.CACHE_ENTRIES] == entries


def test_a_heartbeat_ahead_of_a_clock_that_was_set_back_is_no_sign_of_life(site: Site) -> None:
    reader = TableReader(site.folder)
    worker = site.worker()
    for ahead, alive in ((0, 1), (3600, 0), (-3600, 0)):
        worker.plane.counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns() + ahead * 1_000_000_000
        assert reader.observe().workers_alive == alive


def test_the_ids_of_old_epochs_are_forgotten_in_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_DIRECTORIES", 3)
    reader = TableReader(site.folder)
    for epoch in range(2, 9):
        site.publish(epoch)
        worker = site.worker(epoch % 2)
        worker.ask("second.example")
        reader.observe()
    assert len(reader._directories._known) == 3


def test_a_third_epoch_takes_the_first_ones_half_and_nothing_is_counted_twice(site: Site) -> None:
    reader = TableReader(site.folder)
    worker = site.worker()
    for epoch in (1, 2, 3, 4):
        if epoch > 1:
            site.publish(epoch)
            worker.take()
        worker.ask("second.example")
        assert reader.observe().per_list == {"list-0": epoch}


def test_a_budget_counted_under_its_clause_is_read_by_its_clause(site: Site) -> None:
    lists = [(definition(0), compile_entries([]))]
    site.writer.publish_snapshot(build(2, lists, [profile(rule(CLAUSE), budget="nbnet/22-2-5")], [], KEY), 2)
    site.worker().ask(*["www.example"] * 5, source=BUDGET)
    seen = TableReader(site.folder).observe()
    assert seen.per_rule == {"nbnet/22-2-5": 3}
    assert seen.totals[Counter.STEP_BUDGET] == 3


@pytest.mark.parametrize(
    ("source", "name", "verdict", "step", "listed", "clause"),
    [
        (CUSTOMER, "www.second.example", Verdict.BLOCKED, Step.ENTITLED, "list-0", CLAUSE),
        (CUSTOMER, "sealed.example", Verdict.BLOCKED, Step.MANDATORY, "list-1", MANDATORY_CLAUSE),
        (CUSTOMER, "www.example", Verdict.ANSWERED, Step.CACHE, None, None),
        (OPTED_OUT, "second.example", Verdict.ANSWERED, Step.CACHE, None, None),
        (ALLOWED, "sealed.example", Verdict.ANSWERED, Step.CACHE, None, None),
        (SILENCED, "www.example", Verdict.SILENCED, Step.SILENCED, None, GROUNDS[0]),
        (GARDENED, "www.example", Verdict.GARDENED, Step.GARDEN, None, GROUNDS[1]),
        (GARDENED, "notice.test", Verdict.ANSWERED, Step.CACHE, None, None),
        (STRANGER, "www.example", Verdict.REFUSED, Step.SOURCE, None, None),
        ("2001:db8:1::5", "second.example", Verdict.BLOCKED, Step.ENTITLED, "list-0", CLAUSE),
    ],
)
def test_the_explanation_is_the_planes_own_verdict(
    site: Site, source: str, name: str, verdict: Verdict, step: Step, listed: str | None, clause: str | None
) -> None:
    said = TableReader(site.folder, KEY).explain(source, 40000, wire(name), 1)
    assert (said.verdict, said.step, said.list, said.clause) == (verdict, step, listed, clause)
    assert [one.decided for one in said.steps].count(True) == 1
    assert all(name.partition(".")[0] not in one.outcome for one in said.steps)


def test_the_steps_say_what_a_measure_does_and_under_which_clause(site: Site) -> None:
    reader = TableReader(site.folder, KEY)

    def told(source: str, name: str, step: Step) -> str:
        return next(one.outcome for one in reader.explain(source, 1, wire(name), 1).steps if one.step is step)

    assert told(SILENCED, "www.example", Step.SILENCED) == f"Yes: no answer at all under {GROUNDS[0]}."
    assert told(GARDENED, "www.example", Step.GARDEN).startswith(f"Yes under {GROUNDS[1]}: answered with the notice page's address")
    assert told(GARDENED, "www.notice.test", Step.GARDEN) == "Yes, but this name is let out of the walled garden."
    assert told(CUSTOMER, "www.example", Step.GARDEN) == "No."
    site.writer.publish_snapshot(build(2, [], [profile()], [], KEY, grounds=GROUNDS), 2)
    assert "answered REFUSED, since no notice page is set" in told(GARDENED, "www.example", Step.GARDEN)


def test_a_budget_of_a_measure_is_explained_and_counted_under_the_measures_clause(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.worker()
    worker.plane.buckets = site.files.budgets(20)
    worker.ask(*["www.example"] * 3, source=RESTRICTED)
    assert TableReader(site.folder).observe().per_rule == {GROUNDS[0]: 2}
    now = time.monotonic_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    worker.plane.buckets[:] = now + 3_600_000_000_000
    clause = TableReader(site.folder, KEY).explain(RESTRICTED, 1, wire("www.example"), 1).clause
    assert clause is None, "further ahead than any debt: a full bucket"
    worker.plane.buckets[:] = now + 1_500_000_000
    said = TableReader(site.folder, KEY).explain(RESTRICTED, 1, wire("www.example"), 1)
    assert (said.step, said.clause) == (Step.BUDGET, GROUNDS[0])


def test_an_explanation_charges_no_budget_and_leaves_no_trace(site: Site) -> None:
    site.worker()
    reader = TableReader(site.folder, KEY)
    site.files.budgets(10)
    for _ in range(20):
        assert reader.explain(BUDGET, 1, wire("www.example"), 1).verdict is Verdict.ANSWERED
        reader.explain(CUSTOMER, 1, wire("second.example"), 1)
    assert HitRings(site.folder).drain(10)[1:] == (0, 0)
    assert reader.observe().per_list == {}


@pytest.mark.parametrize("qtype", [0, 41, 249, 252, 254])
def test_a_type_that_is_not_served_is_explained_as_refused(site: Site, qtype: int) -> None:
    assert TableReader(site.folder, KEY).explain(CUSTOMER, 1, wire("second.example"), qtype).step is Step.MALFORMED


def test_nothing_is_explained_before_tables_are_published(tmp_path: Path) -> None:
    TableWriter(tmp_path)
    with pytest.raises(UnavailableError, match="no tables are published"):
        TableReader(tmp_path, KEY).explain(CUSTOMER, 1, wire("example"), 1)
    with pytest.raises(UnavailableError, match="without the list key"):
        TableReader(tmp_path).explain(CUSTOMER, 1, wire("example"), 1)


def test_tables_that_are_damaged_where_they_lie_are_told_apart_from_none(site: Site) -> None:
    """A plane that has taken them answers on, so nothing else notices."""
    path = site.folder / f"snapshot-{Head(site.folder).epoch}"
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnavailableError, match=r"the tables in force cannot be read: .*damaged.*sekisho reload") as caught:
        TableReader(site.folder, KEY).explain(CUSTOMER, 1, wire("example"), 1)
    assert "no tables are published" not in str(caught.value)
