"""A NAS that restarts: what is told of a session by the same name before the end of the old one was carried out, and after."""

from __future__ import annotations

import pytest

from sekisho.model.sessions import Accounting, SessionEnd
from sekisho.sessions.changes import Changes, Opened, Over, Revived
from unit.sessions.fields import ADDRESS, INTERIM, ON, OTHER, START, STOP, Field, T


class Restarting(Field):
    """A NAS said at 100 s that it restarted; the sessions of before are still to be ended."""

    def __init__(self):
        super().__init__()
        self.tell(START, 0)
        self.tell(INTERIM, 60, down=1000, up=10)
        (self.before,) = self.table.each()
        self.ending = self.table.restarted(Accounting(ON, "bras", T + 100))

    def carry_out(self):
        """How many there were still to end."""
        return self.table.end(self.ending, T + 100, SessionEnd.NAS_RESTART, Changes())

    def opened(self):
        return [fact.since - T for fact in self.changes.facts if isinstance(fact, Opened)]


@pytest.fixture
def field():
    return Restarting()


@pytest.mark.parametrize("at", [100, 100.5, 160], ids=["in the same second", "soon", "later"])
@pytest.mark.parametrize("late", [False, True], ids=["before its turn", "after its turn"])
def test_a_log_in_with_the_same_name_is_another_session(field, at, late):
    assert not late or field.carry_out() == 1
    field.tell(START, at)
    assert field.opened() == [at]
    assert field.ends() == ([] if late else [SessionEnd.NAS_RESTART])
    assert field.carry_out() == 0
    (session,) = field.table.each()
    assert (session.since, session.down, field.holder()) == (T + at, 0, "c-1")


def test_the_session_of_before_is_over_since_the_restart_whatever_ends_it_first(field):
    field.tell(START, 160, "s2", "taro", customer="c-2")
    assert [fact.until - T for fact in field.changes.facts if isinstance(fact, Over)] == [100]
    assert (field.ends(), field.table.replaced) == ([SessionEnd.NAS_RESTART], 0)
    assert (field.carry_out(), field.holder()) == (0, "c-2")


def test_told_again_before_all_were_ended_it_names_those_that_are_left(field):
    assert field.table.restarted(Accounting(ON, "bras", T + 100)) == field.ending
    assert field.carry_out() == 1
    assert field.table.restarted(Accounting(ON, "bras", T + 100)) == []


def test_one_that_was_told_of_late_moves_no_end_back(field):
    assert field.table.restarted(Accounting(ON, "bras", T + 50)) == field.ending
    field.tell(START, 160, "s2", "taro", customer="c-2")
    assert [fact.until - T for fact in field.changes.facts if isinstance(fact, Over)] == [100]


@pytest.mark.parametrize("seconds", [None, 150])
def test_news_of_a_session_that_began_since_are_of_another_though_its_start_was_lost(field, seconds):
    field.tell(INTERIM, 260, down=7, up=0, seconds=seconds)
    assert field.opened() == [260 - (seconds or 0)]
    assert field.carry_out() == 0
    assert len(field.table) == 1


def test_a_session_that_went_on_over_the_restart_is_the_same(field):
    """Its time says so: the line card it is on was not concerned."""
    changes = field.tell(INTERIM, 160, down=1500, up=10)
    assert [type(fact) for fact in changes.facts if isinstance(fact, Opened | Over | Revived)] == [Over, Revived]
    assert changes.usage == [("c-1", 500, 0, 100.0)]
    assert field.carry_out() == 0, "its turn was before"
    assert [session.since for session in field.table.each()] == [T]


def test_what_was_told_before_the_restart_and_comes_late_is_of_the_session_of_before(field):
    assert not field.tell(START, 0).begun
    assert len(field.table) == 0
    changes = field.tell(STOP, 99, down=1200, up=10, seconds=99)
    assert (changes.usage, len(field.table)) == ([("c-1", 200, 0, 39.0)], 0)


def test_sessions_begun_with_the_restart_are_not_of_before(field):
    field.tell(START, 100, "s2", "taro", (OTHER,), "c-2")
    assert field.carry_out() == 1
    assert (field.holder(OTHER), field.holder(ADDRESS)) == ("c-2", None)
