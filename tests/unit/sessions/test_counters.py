"""Octets of sessions: what came since the last report, when reports overtake each other, wrap, begin anew or cannot be."""

from __future__ import annotations

import pytest

from sekisho.app.control_sessionoctets import MOST, SessionOctets
from sekisho.model.sessions import SessionEnd
from sekisho.sessions.counters import grown
from unit.sessions.fields import INTERIM, START, STOP, Field, T

GB = 1_000_000_000


@pytest.fixture
def field():
    field = Field()
    field.tell(START, 0)
    return field


def counted(changes):
    return [(down, up) for _, down, up, _ in changes.usage]


@pytest.mark.parametrize(
    ("before", "after", "wide", "anew", "expected"),
    [
        (10, 15, False, False, 5),
        ((1 << 32) - 10, 5, False, False, 15),
        ((1 << 32) - 10, 5, True, False, 5),
        (1000, 5, False, True, 5),
        ((1 << 32) + 7, 5, False, False, 5),
    ],
)
def test_counters_wrap_where_they_are_narrow_and_are_reset_where_they_are_not(before, after, wide, anew, expected):
    assert grown(before, after, wide=wide, began_anew=anew) == expected


def test_an_overtaken_report_without_a_session_time_is_no_wrap(field):
    assert counted(field.tell(INTERIM, 60, down=1000, up=10, seconds=None)) == [(1000, 10)]
    assert counted(field.tell(INTERIM, 60.5, down=900, up=9, seconds=None)) == []
    assert counted(field.tell(INTERIM, 120, down=1100, up=10, seconds=None)) == [(100, 0)]


@pytest.mark.parametrize("wide", [False, True])
def test_counters_without_a_session_time_that_fell_soon_are_told_by_the_next_report(field, wide):
    field.tell(INTERIM, 60, down=(1 << 32) - 10, up=0, seconds=None, wide=wide)
    assert counted(field.tell(INTERIM, 80, down=90, up=0, seconds=None, wide=wide)) == []
    assert counted(field.tell(INTERIM, 380, down=190, up=0, seconds=None, wide=wide)) == [(190 if wide else 200, 0)]


def test_a_report_told_again_later_shows_a_time_that_cannot_have_begun_since(field):
    assert counted(field.tell(INTERIM, 300, down=GB, up=0)) == [(GB, 0)]
    assert counted(field.tell(INTERIM, 600, down=2 * GB, up=0)) == [(GB, 0)]
    assert counted(field.tell(INTERIM, 606, down=GB, up=0, seconds=300)) == []
    assert counted(field.tell(INTERIM, 900, down=3 * GB, up=0)) == [(GB, 0)]
    assert field.table.doubted == 1


def test_counters_that_began_anew_with_the_session_are_counted_from_there(field):
    field.tell(INTERIM, 600, down=2 * GB, up=0)
    assert counted(field.tell(INTERIM, 900, down=GB, up=7, seconds=290)) == [(GB, 7)]


def test_a_session_that_began_anew_at_an_uncertain_time_is_counted_again_after_one_report(field):
    """The report at 600 s came late and did not say so: the counters began anew before it was heard."""
    field.tell(INTERIM, 600, down=2 * GB, up=0, seconds=580)
    assert counted(field.tell(INTERIM, 890, down=500, up=0, seconds=295)) == []
    assert counted(field.tell(INTERIM, 1190, down=800, up=0, seconds=595)) == [(800 - 500, 0)]
    (session,) = field.table.each()
    assert (session.seen, session.down) == (T + 1190, 800)


def test_the_same_late_report_twice_is_late_twice(field):
    field.tell(INTERIM, 600, down=2 * GB, up=0)
    for at in (605, 612, 619):
        assert counted(field.tell(INTERIM, at, down=GB, up=0, seconds=300)) == []
    assert counted(field.tell(INTERIM, 900, down=2 * GB + 1, up=0)) == [(1, 0)]


def test_what_no_line_carries_is_not_counted_and_what_came_meanwhile_is(field):
    field.tell(INTERIM, 300, down=GB, up=0)
    changes = field.tell(INTERIM, 600, down=(0xDEADBEEF << 32) + 5, up=0, wide=True)
    assert counted(changes) == []
    (session,) = field.table.each()
    assert (session.seen, session.down) == (T + 600, GB), "it is heard of all the same"
    assert counted(field.tell(INTERIM, 900, down=3 * GB, up=0)) == [(2 * GB, 0)]


def test_counters_that_jumped_for_good_are_counted_from_where_they_are(field):
    base = 0xDEAD << 32
    field.tell(INTERIM, 300, down=GB, up=0)
    assert counted(field.tell(INTERIM, 600, down=base, up=0)) == []
    assert counted(field.tell(INTERIM, 900, down=base + 5, up=0)) == [(5, 0)]
    assert counted(field.tell(INTERIM, 1200, down=base + 7, up=0)) == [(2, 0)]


@pytest.mark.parametrize("kind", [START, INTERIM, STOP])
def test_a_first_report_of_more_than_a_line_carries_is_not_counted(kind):
    field = Field()
    assert counted(field.tell(kind, 300, down=1 << 60, up=0, seconds=300)) == []


@pytest.mark.parametrize("kind", [START, INTERIM])
@pytest.mark.parametrize("seconds", [None, 90_000])
def test_the_first_report_of_a_session_of_no_known_or_of_an_old_beginning_counts_nothing_and_the_next_from_there(kind, seconds):
    """Its octets may be of days before it was heard of."""
    field = Field()
    later = None if seconds is None else seconds + 300
    assert counted(field.tell(kind, 0, down=40 * GB, up=GB, seconds=seconds)) == []
    assert field.tell(INTERIM, 300, down=41 * GB, up=GB, seconds=later).usage == [("c-1", GB, 0, 300.0)]


@pytest.mark.parametrize("kind", [START, INTERIM])
def test_the_time_of_a_session_told_later_than_its_octets_makes_none_of_them_new(kind):
    field = Field()
    field.tell(kind, 0, down=40 * GB, up=GB, seconds=None)
    assert field.tell(INTERIM, 300, down=41 * GB, up=GB, seconds=90_300).usage == [("c-1", GB, 0, 300.0)]


@pytest.mark.parametrize(("kind", "seconds"), [(START, 90_000), (INTERIM, 90_000), (INTERIM, None)])
def test_of_a_session_that_told_no_octets_at_first_those_it_tells_first_are_of_before(kind, seconds):
    field = Field()
    field.tell(kind, 0, seconds=seconds)
    assert counted(field.tell(INTERIM, 300, seconds=None)) == []
    assert counted(field.tell(INTERIM, 600, down=40 * GB, up=GB, seconds=None)) == []
    assert counted(field.tell(INTERIM, 900, down=41 * GB, up=GB, seconds=None)) == [(GB, 0)]
    field.tell(STOP, 950, down=41 * GB, up=GB, seconds=None)
    field.tell(START, 1000)
    assert counted(field.tell(INTERIM, 1300, down=7, up=0, seconds=None)) == [(7, 0)], "another session in the same place"


def test_a_stop_of_no_known_time_counts_nothing_of_a_session_never_heard_of(field):
    assert counted(field.tell(STOP, 60, "s2", down=GB, up=0, seconds=None)) == []


def test_a_late_stop_counts_nothing_of_before_and_still_ends_the_session(field):
    field.tell(INTERIM, 300, down=1000, up=0, seconds=None)
    changes = field.tell(STOP, 300.5, down=900, up=0, seconds=None)
    assert (counted(changes), field.ends()) == ([], [SessionEnd.STOP])
    assert field.table.doubted == 1


def test_a_late_stop_of_a_session_taken_for_lost_shows_no_wrap(field):
    field.tell(INTERIM, 300, down=2 * GB, up=0)
    field.table.end(field.table.overdue(T + 5000, [600.0], T), T + 5000, SessionEnd.TIMEOUT, field.changes)
    assert counted(field.tell(STOP, 310, down=GB, up=0, seconds=200)) == []
    assert len(field.table) == 0


class Traffic:
    def add(self, source, at, rows, down, up, seconds, early):
        assert not early.any()
        self.told = dict(zip(rows.tolist(), zip(down.tolist(), up.tolist(), strict=True), strict=True))


class Rows:
    def row_of(self, customer):
        return int(customer.removeprefix("c-"))


def test_a_customer_of_impossible_octets_loses_nobody_elses():
    octets, traffic = SessionOctets(), Traffic()
    octets.add([("c-1", (1 << 64) - 1, 5, 60.0), ("c-1", (1 << 64) - 1, 5, 60.0), ("c-2", 7, 8, 60.0)])
    octets.tell(traffic, Rows(), T, lambda _: True)
    assert traffic.told == {1: (MOST, 10), 2: (7, 8)}
