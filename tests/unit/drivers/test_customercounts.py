"""The counts files as windows: differences over workers, restarts and growth, and whose a row is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sekisho.detect.overload import Line, Pattern, Window
from sekisho.drivers.customercounts import CustomerCounts
from sekisho.drivers.dnstapseen import Seen
from sekisho.drivers.maps import Head, map_customers
from sekisho.drivers.sharedfiles import counts_file, create_table, map_table
from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind
from support.plane import ALLOWED, BUDGET, OPTED_OUT, SILENCED
from support.published import Site, Worker, published

AT = 1_700_000_000.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with published(tmp_path) as one:
        yield one


@pytest.fixture(autouse=True)
def _wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat is not late however slow the test."""
    ticks = itertools.count(time.time_ns())
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks))


class Clock:
    """Windows of ten seconds."""

    def __init__(self, site: Site) -> None:
        self.counts = CustomerCounts(site.folder)
        self.now = 100.0

    def window(self) -> Window | None:
        self.now += 10
        return self.counts.window(AT, self.now)

    def queries(self) -> dict[int, int]:
        found = self.window()
        assert found is not None
        return {int(row): int(found.counts[row]) for row in np.flatnonzero(found.counts)}


def alive(worker: Worker) -> Worker:
    worker.plane.counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
    return worker


def test_a_window_is_what_all_workers_counted_in_it(site: Site) -> None:
    first, second = site.worker(0), site.worker(1)
    first.ask("a.example", "b.example")
    clock = Clock(site)
    assert clock.window() is None, "what was counted before the first look is of no window"
    first.ask("c.example", "d.example")
    second.ask("e.example")
    second.ask("f.example", source=OPTED_OUT)
    assert clock.queries() == {1: 3, 2: 1}
    assert clock.queries() == {}


def test_the_allowed_networks_are_no_customer(site: Site) -> None:
    worker, clock = site.worker(), Clock(site)
    clock.window()
    worker.ask("a.example", source=ALLOWED)
    worker.ask("a.example")
    assert clock.queries() == {1: 1}


def test_counters_that_wrap_round_make_no_flood(site: Site) -> None:
    worker, clock = site.worker(), Clock(site)
    worker.plane.counts.customers[1, layout.COUNT_QUERIES] = 2**32 - 2
    clock.window()
    worker.ask("a.example", "b.example", "c.example")
    assert clock.queries() == {1: 3}


def test_a_plane_that_starts_anew_makes_no_flood_and_loses_nothing(site: Site) -> None:
    clock, worker = Clock(site), site.worker()
    worker.ask(*["a.example"] * 50)
    clock.window()
    worker.ask("b.example", "c.example")
    site.worker().ask("d.example")
    assert clock.queries() == {1: 3}, "what the one before counted after the last look is of this window too"
    assert clock.queries() == {}


def test_a_second_plane_beside_the_first_is_counted_from_its_start(site: Site) -> None:
    clock, worker = Clock(site), site.worker()
    clock.window()
    worker.ask("a.example")
    site.worker(layout.BANK).ask("b.example")
    assert clock.queries() == {1: 2}


def test_files_that_grew_for_more_customers_are_no_restart(site: Site) -> None:
    clock, worker = Clock(site), site.worker()
    worker.ask(*["a.example"] * 5)
    clock.window()
    worker.plane.counts = site.files.counts(0, 5000, worker.plane.counts)
    worker.ask("b.example")
    worker.plane.counts.customers[4000, layout.COUNT_QUERIES] = 7
    assert clock.queries() == {1: 1, 4000: 7}


def test_load_is_of_the_window_and_of_living_workers(site: Site) -> None:
    clock = Clock(site)
    first, second = alive(site.worker(0)), site.worker(1)
    first.plane.counts.totals[Counter.BUSY_NS] = 5_000_000_000
    clock.window()
    for worker, busy in ((first, 13_000_000_000), (second, 9_000_000_000)):
        worker.plane.counts.totals[Counter.BUSY_NS] = busy
    first.plane.counts.totals[Counter.UPSTREAM_ANSWERED] = 40
    first.plane.counts.totals[Counter.UPSTREAM_TIMEOUTS] = 7
    second.plane.counts.totals[Counter.PENDING_FULL] = 3
    second.plane.counts.latency[2] = 11
    window = clock.window()
    assert window is not None
    assert (window.seconds, window.at) == (10.0, AT)
    assert list(window.load.busy) == [8.0], "the second worker's heart does not beat"
    assert (window.load.answered, window.load.failed, list(window.load.latency)[2], sum(window.load.latency)) == (40, 10, 11, 11)


def test_a_window_is_whole_if_every_worker_counted_all_the_while(site: Site) -> None:
    def whole() -> bool:
        window = clock.window()
        assert window is not None
        return window.whole

    first, second = alive(site.worker(0)), alive(site.worker(1))
    clock = Clock(site)
    clock.window()
    assert whole()
    second.plane.counts.worker[layout.WORKER_HEARTBEAT] -= 2_000_000_000
    assert not whole(), "the second is late"
    alive(site.worker(1))
    assert not whole(), "another came in its place within the window"
    assert whole()
    second.plane.counts.worker[layout.WORKER_HEARTBEAT] = 0
    site.worker(1).plane.counts.worker[layout.WORKER_HEARTBEAT] = 0
    assert whole(), "who has gone for good is not waited for"
    first.plane.counts.worker[layout.WORKER_HEARTBEAT] = 0
    assert not whole(), "nobody counts"


def test_no_plane_is_an_empty_window(tmp_path: Path) -> None:
    counts = CustomerCounts(tmp_path)
    assert counts.window(AT, 1.0) is None
    window = counts.window(AT, 2.0)
    assert window is not None
    assert (len(window.counts), list(window.load.busy), window.load.answered) == (0, [], 0)
    assert not window.whole


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_lines_tell_whose_a_row_is_and_from_the_second_window_on_the_pattern(site: Site) -> None:
    clock, worker = Clock(site), site.worker()
    clock.window()
    worker.ask("a.example")
    clock.window()
    assert clock.counts.lines(rows(1, 5)) == [Line("customer"), Line("silenced")]
    worker.ask("b.example", "b.example", "c.example", "second.example")
    worker.ask("d.example", "e.example", source=SILENCED)
    clock.window()
    assert clock.counts.lines(rows(1, 3, 5)) == [
        Line("customer", 1, Pattern(3, 2, 0, 0)), Line("budget"), Line("silenced", 1, Pattern(0, 0, 0, 2))
    ]  # fmt: skip
    worker.ask(*["f.example"] * 5, source=BUDGET)
    clock.window()
    [line] = clock.counts.lines(rows(3))
    assert line.pattern is not None
    assert line.pattern.unanswered == 3, "over the budget of two"


def test_the_pattern_of_a_window_in_which_the_plane_ended_is_not_told(site: Site) -> None:
    clock, worker = Clock(site), site.worker()
    clock.window()
    clock.counts.lines(rows(1))
    worker.ask("a.example")
    site.worker().ask("b.example")
    clock.window()
    assert clock.counts.lines(rows(1)) == [Line("customer")]


def test_counts_of_a_plane_from_before_patterns_were_counted_are_read(site: Site) -> None:
    fresh = layout.empty_counts(10)
    del fresh["patterns"]
    fresh["customers"][1, 0] = 4
    clock = Clock(site)
    clock.window()
    create_table(site.folder / counts_file(0), Kind.COUNTS, layout.COUNTS_VERSION, 0, fresh)
    assert clock.queries() == {1: 4}
    clock.counts.lines(rows(1))
    clock.window()
    assert clock.counts.lines(rows(1)) == [Line("customer", 1, Pattern(0, 0, 0, 0))]


def test_who_is_gone_has_no_line(site: Site) -> None:
    counts = CustomerCounts(site.folder)
    site.writer.remove_customer("customer")
    assert counts.lines(rows(1, 2, 999)) == [Line(None), Line("opted-out"), Line(None)]


def test_a_customer_has_as_many_lines_as_ipv4_addresses(site: Site) -> None:
    counts = CustomerCounts(site.folder)
    cases = {
        "one": (["198.51.100.1"], 1),
        "eight": (["198.51.100.8/29"], 8),
        "scattered": (["198.51.100.16/30", "198.51.100.32", "2001:db8:9::/48"], 5),
        "six": (["2001:db8:a::/48"], 1),
        "large": (["203.0.112.0/20"], 256),
        "none": ([], 1),
    }
    for name, (prefixes, addresses) in cases.items():
        site.writer.put_customer(CustomerRow(name, tuple(map(Prefix.parse, prefixes)), 0, 0))
        row = site.writer.row_of(name)
        assert row is not None
        [line] = counts.lines(rows(row))
        assert (line.customer, line.addresses) == (name, addresses)
        assert counts.line(row, name) == Line(name, addresses)


def test_a_folder_without_customers_is_told_and_nobody_is_taken_for_gone(tmp_path: Path) -> None:
    counts = CustomerCounts(tmp_path)
    with pytest.raises(TableError):
        counts.lines(rows(1))
    assert counts.line(1, "c-1") == Line("c-1")


def test_queries_the_kernel_dropped_count_as_asked_and_not_answered(site: Site) -> None:
    worker, clock = site.worker(), Clock(site)
    worker.ask("a.example")
    clock.window()
    rows = np.array([1, 40], np.int64)
    clock.counts.lines(rows[:1])
    worker.ask("b.example")
    clock.counts.kernel.dropped(rows, np.array([6, 2], np.uint32))
    clock.counts.kernel.dropped(rows[:1], np.array([1], np.uint32))
    window = clock.window()
    assert window is not None
    assert {int(row): int(window.counts[row]) for row in np.flatnonzero(window.counts)} == {1: 8, 40: 2}
    (line,) = clock.counts.lines(rows[:1])
    assert line.pattern is not None
    assert line.pattern.unanswered == 7
    assert clock.queries() == {}


def test_queries_the_kernel_saw_on_their_way_count_and_a_window_without_a_reading_is_not_whole(site: Site) -> None:
    clock, row = Clock(site), np.array([1], np.int64)
    clock.counts.kernel.wanted = True
    clock.window()
    none = np.zeros(0, np.int64), np.zeros(0, np.uint32)

    def window(*readings: int) -> tuple[int, bool]:
        for many in readings:
            clock.counts.kernel.asked(*((row, np.array([many], np.uint32)) if many else none), seconds=10.0 / len(readings))
        found = clock.window()
        assert found is not None
        return int(found.counts.sum()), found.whole

    assert not clock.window().whole, "nobody counts"  # type: ignore[union-attr]
    assert window(5, 2) == (7, True)
    (line,) = clock.counts.lines(row)
    assert window(3, 0) == (3, True)
    (line,) = clock.counts.lines(row)
    assert line.pattern == Pattern(0, 0, 0, 0, 3)
    assert window() == (0, False)
    assert window(0) == (0, True)
    clock.now += 3600
    assert not window()[1]
    worker = alive(site.worker())
    worker.ask("a.example")
    clock.window()
    alive(worker)
    assert not window()[1], "however long it was not read"
    clock.counts.kernel.wanted = False
    assert window()[1], "it is the plane's alone again as soon as the configuration says so"


def test_a_reading_longer_than_a_window_is_spread_over_its_time_and_windows_without_one_are_late(site: Site) -> None:
    alive(site.worker())
    clock, row = Clock(site), np.array([1], np.int64)
    clock.counts.kernel.wanted = True
    clock.window()

    def window(queries: int = 0, dropped: int = 0, seconds: float = 0.0) -> tuple[int, bool, bool]:
        if seconds:
            clock.counts.kernel.dropped(row, np.array([dropped], np.uint32))
            clock.counts.kernel.asked(row, np.array([queries], np.uint32), seconds)
        found = clock.window()
        assert found is not None
        return int(found.counts.sum()), found.whole, found.late

    assert window() == (0, False, False), "nothing is known of how far apart they are"
    assert window(400, 0, 40.0) == (100, True, False)
    clock.counts.lines(row)
    assert [window() for _ in range(3)] == [(0, False, True)] * 3
    clock.counts.lines(row)
    assert window(400, 200, 40.0) == (150, True, False)
    [line] = clock.counts.lines(row)
    assert line.pattern == Pattern(0, 0, 0, 50, 100)
    assert [window()[2] for _ in range(9)] == [True] * 8 + [False], "a reading that does not come is not waited for any longer"
    assert window(8, 0, 8.0) == (10, True, False)
    assert window(4, 0, 4.0) == (4, False, False), "less than half a window says nothing of it"
    assert window() == (0, False, False)


def test_a_window_before_the_first_reading_of_the_kernel_is_not_whole(site: Site) -> None:
    alive(site.worker())
    clock = Clock(site)
    clock.counts.kernel.wanted = True
    clock.window()
    found = clock.window()
    assert found is not None
    assert not found.whole


def test_who_is_silenced_is_not_heard_of_where_resolvers_tell_of_answers_alone_unless_the_kernel_counts(site: Site) -> None:
    seen = Seen()
    counts = CustomerCounts(site.folder, seen)
    table = map_customers(site.folder, Head(site.folder).generation)
    everybody = np.arange(1, 10, dtype=np.int64)
    (silenced,) = [int(row) for row, name in zip(everybody, table.names(everybody), strict=True) if name == "silenced"]
    rows = np.array([1, silenced], np.int64)

    def unheard() -> list[bool]:
        return [line.unheard for line in counts.lines(rows)]

    assert unheard() == [False, False], "of queries that resolvers tell of"
    seen.answers_only = True
    assert unheard() == [False, True]
    counts.kernel.dropped(np.array([silenced], np.int64), np.array([1], np.uint32))
    assert unheard() == [False, False]


def test_a_plane_from_before_an_upgrade_counts_for_nobody_until_it_has_the_tables_of_now(site: Site) -> None:
    """Its rows mean other customers now: a flood it counts must not be somebody else's."""
    worker, clock = site.worker(), Clock(site)
    worker.ask("a.example")
    clock.window()
    # As a control plane says that has given out rows anew, under epoch 2.
    map_table(site.folder / "head", Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"][layout.HEAD_NUMBERED] = 2
    worker.ask("b.example", "c.example")
    assert clock.queries() == {}
    rows = np.array([2], np.int64)
    clock.counts.lines(rows)
    site.publish(2)
    worker.take()
    assert clock.queries() == {}, "what it counted before is not of this window"
    worker.ask("d.example")
    assert list(clock.queries().values()) == [1]
