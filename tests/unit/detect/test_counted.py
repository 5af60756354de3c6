"""Mass mail and connection storms: who is found, whose condition ends, and what a limit does to the counting."""

from __future__ import annotations

import numpy as np
import pytest

from sekisho.config.bandwidth import Bandwidth
from sekisho.detect import mailvolume, storms
from sekisho.detect.counted import Counted
from sekisho.detect.lines import Lines
from sekisho.detect.tally import Tally
from sekisho.model.clauses import MeasureRule, NoticeTime, Record
from sekisho.model.measures import Detector, Effect, Extent
from sekisho.model.usage import Source

T = 1_775_000_000.0


def rule(detector, effect, **figures):
    return MeasureRule(
        "own/1", "ground", detector, effect, Extent.PARTIAL, NoticeTime.AFTER, urgent=False, lead=None, period=None, extension=False,
        release_delay=None, termination_after=None, termination_clause=None, fees_continue=True, record=Record((), 1.0), **figures,
    )  # fmt: skip


MAIL = rule(Detector.MAIL_VOLUME, Effect.LIMIT_MAIL, count=300, window=600.0, connections=10)
STORM = rule(Detector.CONNECTION_STORM, Effect.LIMIT_RATE, count=30000, window=300.0, focus=0.9, keep=0.1)


class Story:
    def __init__(self, told):
        self.rule, self.tally, self.memory, self.now = told, Tally(1 if told is MAIL else 2), Counted(), T
        self.lines = Lines(np.zeros((2, 5), np.float32), np.ones(5, np.uint16), ((), (told,)))
        self.limited, self.found, self.gone = set(), {}, []

    def pass_by(self, minutes, *counts):
        """Each minute so many connections by row; of storms a pair: all, and those to few targets."""
        for _ in range(minutes):
            self.now += 60
            each = counts[0] if counts else {}
            rows = np.array(sorted(each), np.int64)
            if each:
                values = np.array([each[row] for row in sorted(each)], np.uint32).reshape(len(rows), -1).T
                self.tally.add(Source.FLOWS, self.now, rows, *values)
            rules = (mailvolume if self.rule is MAIL else storms).rules_of([self.rule])
            found, gone = self.memory.look(
                self.tally,
                self.lines,
                rules,
                Bandwidth(),
                lambda rows: [f"c-{row}" for row in rows],
                lambda name, _: name in self.limited,
                self.now,
            )
            self.found = {one.customer: dict(one.evidence) for one in found}
            self.gone += [one.customer for one in gone]
        return self


def test_who_sends_many_mails_at_once_is_found_and_a_person_who_sends_some_is_not():
    story = Story(MAIL).pass_by(20, {1: 100, 2: 5})
    assert set(story.found) == {"c-1"}
    assert story.found["c-1"]["connections"] == pytest.approx(1000, abs=101)
    assert (story.found["c-1"]["threshold"], story.found["c-1"]["window_seconds"]) == (300, 600)
    story.pass_by(15)
    assert (story.found, story.gone) == ({}, ["c-1"])


def test_one_burst_is_looked_at_more_than_once_before_anybody_is_found():
    story = Story(MAIL).pass_by(2, {1: 400})
    assert story.found == {}
    assert set(story.pass_by(1, {1: 400}).found) == {"c-1"}


def test_who_presses_against_the_limit_of_mail_stays_found_and_who_stops_does_not():
    story = Story(MAIL).pass_by(10, {1: 100})
    story.limited = {"c-1"}
    story.pass_by(40, {1: 10})
    assert set(story.found) == {"c-1"}
    assert story.found["c-1"]["limited"] == 1
    story.pass_by(20, {1: 2})
    assert (story.found, story.gone) == ({}, ["c-1"])


def test_a_storm_goes_to_few_targets_and_a_busy_server_to_many():
    story = Story(STORM).pass_by(10, {1: (10000, 9900), 2: (10000, 3000), 3: (500, 500)})
    assert set(story.found) == {"c-1"}
    evidence = story.found["c-1"]
    assert evidence["few_targets_share"] == pytest.approx(0.99)
    assert (evidence["few_targets_threshold"], evidence["threshold"]) == (0.9, 30000)
    assert set(evidence) == {
        "connections", "threshold", "window_seconds", "windows_over", "windows_needed", "windows", "limited", "few_targets_share", "few_targets_threshold",
    }, "nothing says which targets"  # fmt: skip
    story.pass_by(10, {2: (10000, 3000)})
    assert (story.found, story.gone) == ({}, ["c-1"])


def test_terms_that_do_not_say_so_find_nobody():
    story = Story(MAIL)
    story.lines.terms[1] = 0
    assert story.pass_by(20, {1: 100}).found == {}
