"""What lines do between two reports of accounting: segments as full as they are, and conditions that do not end by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from sekisho.detect.recently import recently
from sekisho.detect.usage import Usage
from sekisho.model.usage import Source
from unit.detect.test_occupancy import LIGHT, LINE, LINES, Story

T = 1_775_000_000.0
LINES_90 = 90
RATE = 10e6
MINUTE = 60


def report(usage, at, rows, seconds, rate=RATE, early=None):
    """Accounting of some rows: a steady rate towards them, and a tenth from them, over so many seconds."""
    rows = np.array(rows, np.int64)
    down = np.full(len(rows), round(rate * seconds / 8), np.uint64)
    usage.add(Source.RADIUS, at, rows, down, down // np.uint64(10), np.full(len(rows), float(seconds)), early)


def staggered(interval, hours, *, beside=False):
    """90 lines, each told of every `interval` minutes in a minute of its own, `beside` flows of all of them; the share that is seen of their load."""
    usage, told = Usage(T), []
    rows = np.arange(LINES_90)
    octets = np.full(LINES_90, round(RATE * MINUTE / 8), np.uint64)
    for minute in range(1, hours * 60 + 1):
        now = T + minute * MINUTE
        if beside:
            usage.add(Source.FLOWS, now - 1, rows, octets, octets)
        if minute > 60 or not beside:
            report(usage, now, rows[rows % interval == minute % interval], interval * MINUTE)
        usage.advance(now + 20)
        if minute > (60 + interval if beside else interval):
            told.append(float(recently(usage, 300, now + 20).rates()[0].sum()) / (LINES_90 * RATE))
    return usage, told


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("interval", [5, 10, 15, 30, 60])
def test_the_load_of_a_segment_is_that_of_its_lines_however_seldom_accounting_tells_of_them(interval, beside):
    _, told = staggered(interval, 4, beside=beside)
    assert min(told) > 0.97
    assert max(told) < 1.03


def test_while_accounting_takes_over_from_flows_the_load_stays_what_it_is():
    usage, _ = staggered(15, 1, beside=True)
    rows, octets = np.arange(LINES_90), np.full(LINES_90, round(RATE * MINUTE / 8), np.uint64)
    for minute in range(61, 121):
        now = T + minute * MINUTE
        usage.add(Source.FLOWS, now - 1, rows, octets, octets)
        report(usage, now, rows[rows % 15 == minute % 15], 15 * MINUTE)
        load = float(recently(usage, 300, now + 20).rates()[0].sum()) / (LINES_90 * RATE)
        assert load == pytest.approx(1.0, abs=0.05), minute


def test_what_was_used_is_told_as_it_was_counted():
    usage, _ = staggered(15, 4)
    before = usage.octets.copy(), usage.seconds.copy(), usage.window(300, usage.at).octets
    assert recently(usage, 300, usage.at).octets.sum() > before[2].sum()
    assert np.array_equal(before[0], usage.octets)
    assert np.array_equal(before[1], usage.seconds)
    assert np.array_equal(before[2], usage.window(300, usage.at).octets)
    sent = 4 * 60 // 15 * LINES_90 * round(RATE * 15 * MINUTE / 8)
    assert int(usage.octets[0].sum()) == sent


def test_a_line_whose_report_is_late_and_one_that_is_told_of_no_more_are_quiet():
    usage = Usage(T)
    for turn in range(1, 5):
        report(usage, T + turn * 900, [3, 4], 900)
    last = T + 4 * 900
    for after, told in ((60, True), (899, True), (1349, True), (1351, False), (86400, False)):
        usage.advance(last + after)
        assert (recently(usage, 300, last + after).rates()[0, 3] == pytest.approx(RATE, rel=0.02)) == told, after
        if after == 60:
            usage.expect_none(Source.RADIUS, np.array([4, 99_999]))
            usage.expect_none(Source.FLOWS, np.array([3]))
        elif after > 300:
            assert recently(usage, 300, last + after).rates()[0, 4] == 0, "its session ended"


def test_a_line_that_grows_quiet_goes_down_with_its_next_report():
    usage = Usage(T)
    for turn in range(1, 5):
        report(usage, T + turn * 900, [3], 900)
    report(usage, T + 5 * 900, [3], 900, RATE / 10)
    usage.advance(T + 5 * 900 + 200)
    assert recently(usage, 300, usage.at).rates()[0, 3] == pytest.approx(RATE / 10, rel=0.02)


def test_a_reconnect_does_not_end_what_a_line_does_before_its_next_report():
    usage = Usage(T)
    for turn in range(1, 5):
        report(usage, T + turn * 900, [3], 900)
    report(usage, T + 4 * 900 + 120, [3, 4], 120, early=np.array([True, False]))
    for after in range(60, 900, 60):
        now = T + 4 * 900 + 120 + after
        usage.advance(now)
        assert recently(usage, 300, now).rates()[0, 3] == pytest.approx(RATE, rel=0.1), after


def test_a_source_that_tells_all_the_time_is_waited_for_in_no_window():
    usage = Usage(T)
    for turn in range(1, 61):
        usage.add(Source.FLOWS, T + turn * 10, np.array([3]), np.array([10**7], np.uint64), np.array([0], np.uint64))
    usage.add(Source.FLOWS, T + 10_000, np.array([3]), np.array([10**9], np.uint64), np.array([0], np.uint64))
    usage.advance(T + 11_000)
    assert usage.gathered[3] > 9000, "nobody sent flows for a while"
    assert recently(usage, 300, T + 11_000).rates()[0, 3] == 0


@pytest.mark.parametrize("seconds", [299, 31 * 86400])
def test_only_windows_that_are_kept_can_be_asked_for(seconds):
    with pytest.raises(ValueError, match="a window has from"):
        recently(Usage(T), seconds, T)


class Told(Story):
    """The same lines, each told of by accounting every `interval` minutes, in a minute of its own."""

    def pass_by(self, minutes, down=None, up=None, interval=15):
        self.ends = []
        for _ in range(minutes):
            self.now += MINUTE
            minute = round((self.now - T) / MINUTE)
            rows = np.array([row for row in range(self.lines.rows) if row % interval == minute % interval], np.int64)
            octets = [
                np.array([round((way or {}).get(row, 0.0) * LINE * interval * 60 / 8) for row in rows], np.uint64) for way in (down, up)
            ]
            used = (octets[0] > 0) | (octets[1] > 0)
            seconds = np.full(int(used.sum()), interval * 60.0)
            self.usage.add(Source.RADIUS, self.now, rows[used], octets[0][used], octets[1][used], seconds)
            self.look = self.memory.look(
                self.usage,
                self.lines,
                self.settings,
                lambda rows: [f"c-{row}" for row in rows],
                lambda name, _: name in self.limited,
                self.now,
            )
            self.ends += [(minute, one.customer) for one in self.look.gone]
        return self


@pytest.mark.parametrize("interval", [10, 15, 30])
def test_who_occupies_a_line_is_found_and_a_limit_does_not_end_between_two_reports(interval):
    story = Told().pass_by(120, {0: 0.9, **LIGHT}, interval=interval)
    assert set(story.found) == {"c-0"}
    assert story.found["c-0"]["utilisation"] == pytest.approx((0.9 + 19 * 0.2) / 5, abs=0.02)
    story.limited = {"c-0"}
    story.pass_by(180, {0: 0.25, **dict.fromkeys(range(1, LINES), 0.2)}, interval=interval)
    assert story.ends == [], "they press against the limit, and the segment would be full without it"
    assert set(story.found) == {"c-0"}
    story.pass_by(90, {0: 0.05, **dict.fromkeys(range(1, LINES), 0.2)}, interval=interval)
    assert [customer for _, customer in story.ends] == ["c-0"], "it ends when they do not"


def test_a_report_of_a_long_time_without_any_is_not_taken_for_the_usual_interval():
    usage = Usage(T)
    report(usage, T + 40_000, [3, 3], 40_000, early=np.array([False, True]))
    report(usage, T + 40_900, [3], 900)
    report(usage, T + 40_960, [3, 3], 60, early=np.array([False, True]))
    assert usage.gathered[3] == 900
    report(usage, T + 41_800, [3], 900, RATE / 10)
    usage.advance(T + 42_300)
    assert recently(usage, 300, usage.at).rates()[0, 3] == pytest.approx(RATE / 10, rel=0.1)
