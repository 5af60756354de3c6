"""Usage of lines: what a window says, who counts, and that nothing is counted twice."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.detect.tally import Tally
from sekisho.detect.usage import LONGEST, SHORTEST, Usage
from sekisho.model.usage import Source

T = dt.datetime(2026, 4, 1, 10, 0, tzinfo=dt.timezone(dt.timedelta(hours=9))).timestamp()
MIB = 1 << 20


def add(usage, source, at, octets, seconds=None):
    """octets: {row: (down, up)}."""
    rows = np.array(sorted(octets), np.int64)
    down, up = (np.array([octets[row][way] for row in sorted(octets)], np.uint64) for way in (0, 1))
    usage.add(source, at, rows, down, up, None if seconds is None else np.full(len(rows), float(seconds)))


def steady(usage, start, seconds, step, octets, source=Source.FLOWS, row=3):
    """So many octets each `step` seconds, towards the customer and a tenth from them."""
    for at in np.arange(start + step, start + seconds + 1, step):
        add(usage, source, float(at), {row: (octets, octets // 10)})
    return start + seconds


@pytest.mark.parametrize(
    ("window", "length", "step"), [(300, 1800, 10), (1800, 7200, 30), (86400, 3 * 86400, 600), (30 * 86400, 40 * 86400, 7200)]
)
def test_a_window_tells_the_rate_of_a_steady_line_however_long_it_is(window, length, step):
    usage = Usage(T)
    now = steady(usage, T, length, step, step * MIB)
    rates = usage.window(window, now).rates()[:, 3]
    assert rates[0] == pytest.approx(8 * MIB, rel=0.1)
    assert rates[1] == pytest.approx(0.8 * MIB, rel=0.1)
    assert rates[0] <= 8 * MIB * 1.02, "nobody is said to have used more than they did"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4000), st.integers(0, 200)), min_size=1, max_size=60),
    st.sampled_from([300, 600, 1800, 3600, 7200, 86400, 3 * 86400]),
)
def test_what_is_said_to_lie_in_a_window_does(batches, window):
    usage, now, counted = Usage(T), T, []
    for wait, amount in batches:
        now += wait
        add(usage, Source.FLOWS, now, {1: (amount * MIB, 0)})
        counted.append((now, amount * MIB))
    ring = next(one for one in usage.rings if window <= one.reach)
    told = int(usage.window(window, now).octets[0, 1])
    most = sum(octets for at, octets in counted if at >= now - window)
    least = sum(octets for at, octets in counted if at > now - window + ring.slot)
    unit = 1 << ring.shift
    assert least - unit <= told <= most + unit


def test_what_was_used_leaves_the_window_again():
    usage = Usage(T)
    now = steady(usage, T, 600, 10, 100 * MIB)
    assert usage.window(300, now).octets[0, 3] > 2000 * MIB
    usage.advance(now + 400)
    assert usage.window(300, now + 400).octets[0, 3] == 0
    assert usage.window(86400, now + 400).octets[0, 3] >= 5999 * MIB
    usage.advance(now + 2 * 86400)
    assert usage.window(86400, now + 2 * 86400).octets[0, 3] == 0


def test_a_line_that_has_just_begun_is_not_said_to_fill_a_long_window():
    usage = Usage(T)
    now = steady(usage, T, 120, 10, 100 * MIB)
    rate = usage.window(1800, now).rates()[0, 3]
    assert rate <= 8 * 1200 * MIB / 1500


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("interval", [300, 600, 1800])
def test_accounting_that_comes_seldom_says_the_same_rate_as_flows_that_come_often(interval, says):
    usage, told = Usage(T), []
    for turn in range(1, 13 + 7200 // interval):
        now = T + turn * interval
        add(usage, Source.RADIUS, now - 5, {1: (MIB, 0)}, interval if says else None)
        add(usage, Source.RADIUS, now, {3: (interval * MIB, 0)}, interval if says else None)
        for late in (1, interval // 2, interval - 1):
            usage.advance(now + late)
            if turn * interval > 3600 + interval:
                told.append(float(usage.window(3600, now + late).rates()[0, 3]) / (8 * MIB))
    assert max(told) <= 1.02
    assert min(told) >= 0.8
    usage.advance(now + 7200)
    assert usage.window(3600, now + 7200).rates()[0, 3] == 0, "after the last report it is over"


def test_accounting_of_a_short_window_is_no_rush_though_nobody_says_how_long_it_is_of():
    usage = Usage(T)
    for turn in range(1, 8):
        add(usage, Source.RADIUS, T + turn * 1800, {3: (1800 * MIB, 0)})
        add(usage, Source.RADIUS, T + turn * 1800 + 1, {4: (1800 * MIB, 0)})
        assert usage.window(300, usage.at).rates()[0, 3] <= 8 * MIB * 1.02


def test_accounting_that_takes_over_does_not_count_again_what_flows_counted():
    usage = Usage(T)
    for minute in range(1, 61):
        add(usage, Source.FLOWS, T + minute * 60, {3: (60 * MIB, 0)})
    add(usage, Source.RADIUS, T + 3610, {3: (600 * MIB, 0)})
    assert int(usage.octets[0, 3]) <= 3610 * MIB
    add(usage, Source.RADIUS, T + 4210, {3: (600 * MIB, 0)})
    assert int(usage.octets[0, 3]) == pytest.approx(4205 * MIB, abs=10 * MIB)


def test_one_long_report_does_not_look_like_a_short_rush():
    usage = Usage(T)
    add(usage, Source.RADIUS, T + 7200, {3: (7200 * MIB, 0)}, 7200)
    assert usage.window(300, T + 7200).rates()[0, 3] == pytest.approx(8 * MIB, rel=0.02)


def test_a_customer_whom_all_three_sources_count_is_counted_once():
    usage, now = Usage(T), T
    for _ in range(60):
        now += 10
        for source in (Source.FLOWS, Source.RADIUS, Source.COUNTERS):
            add(usage, source, now, {3: (MIB, MIB)})
    assert usage.counted_by(3) is Source.COUNTERS
    assert usage.octets[0, 3] == pytest.approx(60 * MIB, abs=2 * MIB)


def test_each_customer_has_a_source_of_its_own():
    usage = Usage(T)
    add(usage, Source.FLOWS, T + 10, {3: (MIB, 0), 4: (MIB, 0)})
    add(usage, Source.RADIUS, T + 20, {4: (5 * MIB, 0)}, 20)
    add(usage, Source.FLOWS, T + 30, {3: (MIB, 0), 4: (MIB, 0)})
    assert (usage.counted_by(3), usage.counted_by(4), usage.counted_by(99)) == (Source.FLOWS, Source.RADIUS, None)
    assert int(usage.octets[0, 3]) == 2 * MIB
    assert int(usage.octets[0, 4]) == MIB + 5 * MIB // 2, "of the time both counted what the first said is kept"


def test_a_source_that_falls_silent_is_replaced_and_takes_its_place_again_without_counting_twice():
    usage, now = Usage(T), T
    for turn in range(720):
        now = T + (turn + 1) * 10
        quiet = 1800 < now - T <= 5400
        if not quiet:
            add(usage, Source.COUNTERS, now, {3: (MIB, 0)}, 10)
        add(usage, Source.FLOWS, now, {3: (MIB, 0)})
        if quiet and now - T > 1800 + 960:
            assert usage.counted_by(3) is Source.FLOWS
    assert usage.counted_by(3) is Source.COUNTERS
    counted = int(usage.octets[0, 3]) / MIB
    assert 720 - 95 <= counted <= 720, "all but the wait for the silent one, and nothing twice"


def test_a_source_that_comes_back_with_all_it_missed_brings_what_nobody_counted():
    usage = Usage(T)
    add(usage, Source.RADIUS, T + 600, {3: (60 * MIB, 0)}, 600)
    for minute in range(1, 61):
        add(usage, Source.FLOWS, T + 600 + minute * 60, {3: (6 * MIB, 0)})
    add(usage, Source.RADIUS, T + 4200, {3: (360 * MIB, 0)}, 3600)
    assert int(usage.octets[0, 3]) <= (60 + 360) * MIB


def test_two_sessions_of_one_customer_add_up_in_one_batch_and_in_two():
    together, apart = Usage(T), Usage(T)
    for turn in range(1, 13):
        now = T + turn * 600
        rows = np.array([3, 1, 3], np.int64)
        octets = np.array([300 * MIB, 5 * MIB, 300 * MIB], np.uint64)
        together.add(Source.RADIUS, now, rows, octets, octets, np.array([600.0, 600.0, 600.0]))
        for at in (now, now + 1):
            add(apart, Source.RADIUS, at, {3: (300 * MIB, 300 * MIB)}, 600)
    for usage in (together, apart):
        assert int(usage.octets[0, 3]) == 12 * 600 * MIB
        assert usage.window(3600, now).rates()[0, 3] == pytest.approx(8 * MIB, rel=0.05)
    assert int(together.octets[0, 1]) == 60 * MIB


def test_a_report_that_comes_late_does_not_turn_the_time_back():
    usage = Usage(T)
    add(usage, Source.RADIUS, T + 600, {3: (MIB, 0)}, 600)
    add(usage, Source.RADIUS, T + 500, {3: (MIB, 0)}, 100)
    assert usage.seen[3] == T + 600
    assert int(usage.octets[0, 3]) == 2 * MIB


def test_a_day_is_japans_and_says_who_counted():
    usage = Usage(T)
    steady(usage, T, 20 * 3600, 600, 10 * MIB)
    add(usage, Source.RADIUS, T + 21 * 3600, {3: (7 * MIB, 0)}, 600)
    days = list(usage.days(3))[-2:]
    assert [dt.datetime.fromtimestamp(day.begins, dt.timezone(dt.timedelta(hours=9))).isoformat()[:16] for day in days] == [
        "2026-04-01T00:00",
        "2026-04-02T00:00",
    ]
    assert days[0].down == pytest.approx(83 * 10 * MIB, abs=11 * MIB)
    assert days[0].sources == (Source.FLOWS,)
    assert days[1].sources == (Source.RADIUS, Source.FLOWS)
    assert [(day.down, day.up) for day in usage.days(99)] == [(0, 0)] * len(list(usage.days(3)))


def test_only_windows_that_are_kept_can_be_asked_for_and_a_clock_set_back_changes_nothing():
    usage = Usage(T)
    for seconds in (SHORTEST - 1, LONGEST + 1):
        with pytest.raises(ValueError, match="a window has from"):
            usage.window(seconds, T)
    now = steady(usage, T, 600, 10, MIB)
    usage.advance(now - 86400)
    assert usage.at == now


def test_memory_stays_what_it_is_however_long_it_runs():
    usage, now = Usage(T), T
    for day in range(60):
        now = T + day * 86400
        add(usage, Source.FLOWS, now, dict.fromkeys(range(5), (MIB, MIB)))
    assert [len(ring.kept) for ring in usage.rings] == [ring.most for ring in usage.rings]


def tallied(tally, source, at, counts):
    rows = np.array(sorted(counts), np.int64)
    tally.add(source, at, rows, np.array([counts[row] for row in sorted(counts)], np.uint32))


def told(tally, window, now):
    rows, counts = tally.window(window, now)
    return dict(zip(rows.tolist(), counts[0].tolist(), strict=True))


def test_events_are_counted_in_their_window_and_by_one_source():
    tally = Tally()
    for minute in range(30):
        tallied(tally, Source.FLOWS, T + minute * 60, {3: 10, 4: 0, 5: 1})
        tallied(tally, Source.COUNTERS, T + minute * 60, {5: 2})
    now = T + 29 * 60 + 30
    assert told(tally, 600, now) == {3: 100, 5: 20}
    assert told(tally, 86400, now)[3] == 300
    assert told(tally, 600, now + 7200) == {}


def test_a_day_of_events_takes_few_slots_and_says_the_same():
    tally = Tally()
    for minute in range(25 * 60):
        tallied(tally, Source.FLOWS, T + minute * 60, {3: 1, minute % 7 + 10: 1})
    now = T + 25 * 3600
    assert len(tally.slots) < 180
    assert told(tally, 86400, now)[3] == pytest.approx(1440, abs=30)


def test_today_is_told_to_the_octet_and_has_little_of_the_day_before():
    usage = Usage(T)
    add(usage, Source.RADIUS, T + 600, {3: (5000, 2_000_000)}, 600)
    assert [(day.down, day.up) for day in usage.days(3)][-1] == (5000, 2_000_000)
    midnight = T + 14 * 3600
    add(usage, Source.RADIUS, midnight + 600, {3: (70_000, 1)}, 600)
    before, today = list(usage.days(3))[-2:]
    assert (before.down, before.up) == (0, MIB)
    assert today.down == 75_000, "less than 256 KiB were before"
    assert today.up == 1 + 2_000_000 % (MIB // 4)
    usage.ring(3600).kept.clear()
    assert list(usage.days(3))[-1].up == 1 + 2_000_000 % MIB, "where the hours are not known, less than 1 MiB"
