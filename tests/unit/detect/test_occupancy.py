"""Who occupies lines and segments: shares and volumes, congestion, surges, and limits that keep a condition from showing."""

from __future__ import annotations

import numpy as np
import pytest

from sekisho.config.bandwidth import Bandwidth, Segment
from sekisho.detect.lines import Lines
from sekisho.detect.occupancy import Occupancy
from sekisho.detect.usage import Usage
from sekisho.model.clauses import Capacity, MeasureRule, NoticeTime, Record, Volume
from sekisho.model.measures import Detector, Effect, Extent
from sekisho.model.usage import Source

T = 1_775_000_000.0
CLAUSE = "nbnet/22-2-4"
LINES = 20
LINE = 100e6
"""bit/s of every line; the segment carries five of them."""


def rule(**changes):
    figures = {"share": 0.5, "window": 1800.0, "keep": 0.25, **changes}
    return MeasureRule(
        CLAUSE, "bandwidth", Detector.BANDWIDTH, Effect.LIMIT_RATE, Extent.PARTIAL, NoticeTime.AFTER, urgent=False, lead=None, period=None,
        extension=False, release_delay=None, termination_after=None, termination_clause=None, fees_continue=True, record=Record((), 1.0), **figures,
    )  # fmt: skip


class Story:
    """Twenty lines on one segment, minute by minute."""

    def __init__(self, told=None, lines=LINES, **settings):
        self.rule = told or rule()
        down, up = (f"{5 * LINE / 1e6:g}Mbit/s",) * 2
        self.segment = Segment.model_validate({"id": "pon-1", "down": down, "up": up, "everybody": True})
        self.settings = Bandwidth.model_validate({"segments": [self.segment.model_dump() | {"down": down, "up": up}], **settings})
        members = np.vstack((np.arange(lines), np.zeros(lines, np.int64))).astype(np.int64)
        self.lines = Lines(
            np.full((2, lines), LINE, np.float32), np.ones(lines, np.uint16), ((), (self.rule,)), members, self.settings.segments
        )
        self.usage, self.memory, self.now = Usage(T), Occupancy(), T
        self.limited = set()
        self.look = None

    def pass_by(self, minutes, down=None, up=None):
        """So much of a line's speed is used by each row; the last eight minutes are looked at, each."""
        rows = np.arange(self.lines.rows)
        octets = [np.array([round((way or {}).get(row, 0.0) * LINE * 60 / 8) for row in rows], np.uint64) for way in (down, up)]
        early = max(0, minutes - 8)
        for step in [10] * (early // 10) + [1] * (early % 10):
            self.now += 60 * step
            self.usage.add(Source.FLOWS, self.now, rows, *(one * np.uint64(step) for one in octets))
        for _ in range(minutes - early):
            self.now += 60
            self.usage.add(Source.FLOWS, self.now, rows, *octets)
            self.look = self.memory.look(
                self.usage,
                self.lines,
                self.settings,
                lambda rows: [f"c-{row}" for row in rows],
                lambda name, _: name in self.limited,
                self.now,
            )
            for one in self.look.gone:
                self.limited.discard(one.customer)
        return self

    @property
    def found(self):
        return {one.customer: dict(one.evidence) for one in self.look.found}


LIGHT = dict.fromkeys(range(1, LINES), 0.2)
"""The others use a fifth of their line each, which fills four fifths of the segment: 3.8 of its 5."""


def test_who_occupies_the_line_continuously_while_the_others_are_disturbed_is_found_with_the_figures():
    story = Story().pass_by(60, {0: 0.9, **LIGHT})
    ((customer, evidence),) = story.found.items()
    assert customer == "c-0"
    assert evidence["direction"] == "down"
    assert evidence["share_down"] == pytest.approx(0.9, abs=0.02)
    assert evidence["share_up"] == 0
    assert (evidence["threshold"], evidence["window_seconds"], evidence["of"]) == (0.5, 1800, "line")
    assert (evidence["segment"], evidence["congested_at"]) == ("pon-1", 0.8)
    assert evidence["utilisation"] == pytest.approx((0.9 + 19 * 0.2) / 5, abs=0.02)
    assert evidence["median_mbps"] == pytest.approx(20, abs=0.5)
    assert evidence["capacity_down_mbps"] == 100


def test_one_big_download_on_an_idle_line_is_nobodys_harm():
    assert Story().pass_by(120, {0: 1.0}).found == {}
    assert Story().pass_by(120, {0: 1.0, **dict.fromkeys(range(1, LINES), 0.05)}).found == {}


def test_an_event_that_lifts_everybody_is_nobodys_doing():
    story = Story().pass_by(120, dict.fromkeys(range(LINES), 0.55))
    assert story.look.segments[0].congested[0]
    assert story.found == {}


def test_a_burst_is_not_continuous():
    story = Story().pass_by(60, LIGHT)
    assert story.pass_by(10, {0: 1.0, **LIGHT}).found == {}


def test_directions_are_apart():
    story = Story().pass_by(60, down=LIGHT | {1: 0.3}, up={0: 0.9})
    assert story.found == {}, "the segment is congested towards the customers, who is heavy sends"
    assert set(story.pass_by(60, up={0: 0.9, **LIGHT}).found) == {"c-0"}
    assert story.found["c-0"]["direction"] == "up"


def test_a_volume_is_enough_and_only_in_its_direction():
    told = rule(share=None, window=None, volumes=(Volume(15 * 10**9, True, 86400.0),))
    slow = 15e9 * 8 / 86400 / LINE
    for volume, found in ((1.2, {"c-0"}), (0.8, set())):
        story = Story(told).pass_by(24 * 60, up={0: slow * volume, **dict.fromkeys(range(1, 4), 0.001)})
        assert story.found == {}, "nobody is disturbed"
        story.pass_by(15, up={0: slow * volume}, down=LIGHT | {0: 0.3})
        assert story.found == {}, "towards the customers only"
        story.settings = story.settings.model_copy(update={"congested": slow * volume / 5 / 2})
        assert set(story.pass_by(10, up={0: slow * volume, **dict.fromkeys(range(1, 4), 0.001)}).found) == found
    evidence = (
        Story(rule(share=None, window=None, congested=False, volumes=(Volume(10**9, True, 86400.0),)))
        .pass_by(30, up={0: 0.5, **LIGHT})
        .found["c-0"]
    )
    assert evidence["volume_up_limit_bytes"] == 10**9 < evidence["volume_up_bytes"]
    assert evidence["volume_up_window_seconds"] == 86400


def test_a_share_of_the_segment_is_another_measure_than_one_of_the_line():
    told = rule(share=0.15, of=Capacity.SEGMENT)
    assert Story(told).pass_by(60, {0: 0.7, **LIGHT}).found == {}
    story = Story(told).pass_by(60, {0: 0.9, **LIGHT})
    assert story.found["c-0"]["share_down"] == pytest.approx(0.18, abs=0.01)
    assert story.found["c-0"]["capacity_down_mbps"] == 500


def test_the_condition_ends_when_the_line_is_used_less_or_nobody_is_disturbed_any_more():
    for after in ({0: 0.1, **LIGHT}, {0: 0.9}):
        story = Story().pass_by(60, {0: 0.9, **LIGHT})
        assert "c-0" in story.found
        gone = [one for _ in range(60) if "c-0" in story.memory.watched[CLAUSE].customers for one in story.pass_by(1, after).look.gone]
        assert [one.customer for one in gone] == ["c-0"]
        assert story.found == {}


def test_a_limit_does_not_end_by_its_own_success_and_does_when_it_is_not_needed():
    story = Story().pass_by(60, {0: 1.0, **LIGHT})
    story.limited = {"c-0"}
    for _ in range(5):
        story.pass_by(20, {0: 0.25, **LIGHT, 1: 0.0})
    assert story.look.segments[0].utilisation[0] < 0.8
    assert story.found["c-0"]["limited"] == 1
    assert story.found["c-0"]["utilisation_without_limits"] > 0.8 * 0.8
    story.pass_by(30, {0: 0.25, **dict.fromkeys(range(1, LINES), 0.05)})
    assert story.found == {}, "even with the whole line nobody would be disturbed"
    story = Story().pass_by(60, {0: 1.0, **LIGHT})
    story.limited = {"c-0"}
    story.pass_by(30, {0: 0.1, **LIGHT})
    assert story.found == {}, "who does not use what the limit leaves does not need more"


def test_a_line_whose_capacity_nobody_knows_has_no_share():
    story = Story()
    story.lines.capacity[:, 0] = 0
    assert story.pass_by(60, {0: 0.9, **LIGHT}).found == {}


def test_a_line_on_no_segment_disturbs_nobody_that_is_known():
    story = Story()
    story.lines.members[:, 0] = story.lines.members[:, 1]
    assert story.pass_by(60, {0: 0.9, **LIGHT, 2: 0.5}).found.keys() <= {"c-1"}


def test_only_lines_whose_terms_say_so_are_found_and_a_condition_of_before_is_taken_over():
    story = Story()
    story.lines.terms[0] = 0
    assert story.pass_by(60, {0: 0.9, **LIGHT}).found == {}
    story = Story()
    story.memory.adopt(CLAUSE, 0, "c-0", T)
    gone = [one.customer for _ in range(5) for one in story.pass_by(1, LIGHT).look.gone]
    assert gone == ["c-0"], "what is there no more is said to be gone"


def test_a_segment_comes_and_goes_with_a_margin():
    story = Story()
    for share, held in ((0.7, False), (0.85, True), (0.7, True), (0.6, False), (0.7, False)):
        story.pass_by(10, dict.fromkeys(range(LINES), share * 5 / LINES))
        assert bool(story.look.segments[0].congested[0]) == held, share


def after_minutes(story, minutes, used, source, every):
    """Minutes until c-0 is found, of a source that tells of lines in use every so often; None: within `minutes` it is not."""
    lines = np.array(sorted(used), np.int64)
    octets = np.array([round(used[row] * LINE * 60 / 8 * every) for row in sorted(used)], np.uint64)
    seconds = np.full(len(lines), 60.0 * every)
    for minute in range(1, minutes + 1):
        story.now += 60
        if minute % every == 0:
            given = seconds if source is Source.RADIUS else None
            story.usage.add(source, story.now, lines, octets, np.zeros(len(lines), np.uint64), given)
        name = [f"c-{row}" for row in range(LINES)]
        story.look = story.memory.look(
            story.usage, story.lines, story.settings, lambda rows, name=name: [name[row] for row in rows], lambda *_: False, story.now
        )
        if "c-0" in story.found:
            return minute
    return None


@pytest.mark.parametrize(("source", "every"), [(Source.FLOWS, 1), (Source.COUNTERS, 1), (Source.RADIUS, 10)])
@pytest.mark.parametrize("surge", [0.3, 0.55, 0.8])
def test_who_downloads_after_a_surge_on_a_line_that_was_idle_is_found_by_what_they_did(source, every, surge):
    """The surge finds nobody; after it half of the line in half an hour is what it is, whether the line was used before or not."""
    story = Story()
    assert after_minutes(story, 60, dict.fromkeys(range(1, LINES), surge), source, every) is None
    assert story.look.segments[0].congested[0]
    assert story.found == {}
    found = after_minutes(story, 60, {0: 1.0, **LIGHT}, source, every)
    # A share of half an hour takes a quarter; what everybody did in it counts for as long as it is part of it.
    assert found is not None
    assert 15 <= found <= 15 + 9 + every


def test_who_uses_several_times_what_everybody_does_is_found_in_the_surge_and_nobody_else():
    story = Story()
    assert after_minutes(story, 40, {0: 1.0, **dict.fromkeys(range(1, LINES), 0.3)}, Source.FLOWS, 1) is not None
    assert set(story.found) == {"c-0"}
    assert after_minutes(Story(), 90, {0: 1.0, **dict.fromkeys(range(1, LINES), 0.4)}, Source.FLOWS, 1) is None, "three times, not two"


def test_a_big_download_on_an_idle_line_finds_nobody_while_the_segment_has_room():
    for source, every in ((Source.FLOWS, 1), (Source.RADIUS, 10)):
        assert after_minutes(Story(), 120, {0: 1.0, **dict.fromkeys(range(1, LINES), 0.1)}, source, every) is None
