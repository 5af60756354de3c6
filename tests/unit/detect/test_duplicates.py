"""One ID in two sessions: side by side, and only by what was heard."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sekisho.detect.duplicates import Word, doubled
from sekisho.model.sessions import Session, SessionEnd

T = 1_775_000_000.0
HOUR = 3600.0


def session(identity, since, seen, nas="nas-1", customer="c-1", user="user-1"):
    return Session(nas, identity, user, customer, T + since, T + seen)


def found(sessions, now, allowed=1, grace=120.0, silent=2 * HOUR, due=900.0, heard=None):
    """`due`: within which NASes tell of a session again; `heard`: when anything was heard of each that sends no Interim-Updates."""

    def word(nas):
        return Word(due, 0.0) if heard is None or nas not in heard else Word(math.inf, T + heard[nas])

    return {name: dict(one.evidence) for name, one in doubled(sessions, lambda _: allowed, grace, silent, word, T + now).items()}


TWICE = [session("a", 0, HOUR), session("b", HOUR / 2, HOUR, nas="nas-2")]


def test_two_sessions_that_are_both_heard_of_are_a_duplicate():
    assert found(TWICE, HOUR) == {"c-1": {"sessions": 2, "allowed": 1, "side_by_side_seconds": 1800, "grace_seconds": 120, "nas": 2}}


def test_a_reconnect_whose_end_was_lost_is_none():
    assert found([session("a", 0, 1700), session("b", 1800, HOUR)], HOUR) == {}
    assert found([session("a", 0, 1860), session("b", 1800, HOUR)], HOUR) == {}, "within the grace"
    assert found([session("a", 0, 1930), session("b", 1800, HOUR)], HOUR) != {}


@pytest.mark.parametrize("quiet", [0, 1])
def test_a_nas_that_stopped_answering_makes_no_duplicate(quiet):
    sessions = [replace(one, seen=one.since) if place == quiet else one for place, one in enumerate(TWICE)]
    assert found(sessions, HOUR) == {}


def test_sessions_nothing_was_heard_of_for_long_count_no_more():
    assert found(TWICE, 2.5 * HOUR) != {}
    assert found(TWICE, 3.1 * HOUR) == {}


def test_a_session_that_ended_counts_no_more():
    assert found([TWICE[0], replace(TWICE[1], until=T + HOUR, end=SessionEnd.STOP)], HOUR) == {}


def test_a_plan_may_allow_more():
    assert found(TWICE, HOUR, allowed=2) == {}
    assert found([*TWICE, session("c", HOUR / 2 + 10, HOUR)], HOUR, allowed=2)["c-1"]["sessions"] == 3


def test_two_ids_of_one_customer_and_two_customers_are_nothing():
    assert found([TWICE[0], replace(TWICE[1], user="user-2")], HOUR) == {}
    assert found([TWICE[0], replace(TWICE[1], customer="c-2")], HOUR) == {}


def test_an_unknown_user_is_never_guessed():
    assert found([replace(one, customer=None) for one in TWICE], HOUR) == {}


STARTED = [session("a", 0, 0), session("b", 60, 60, nas="nas-2")]
"""Two log-ins, of which nothing but the Starts was heard."""


def test_two_log_ins_on_nases_that_send_no_interim_updates_are_a_duplicate_while_those_are_heard_of():
    assert found(STARTED, 300, heard={"nas-1": 60 + 119, "nas-2": 60}) == {}, "within the grace"
    told = {"sessions": 2, "allowed": 1, "side_by_side_seconds": 120, "grace_seconds": 120, "nas": 2}
    assert found(STARTED, 300, heard={"nas-1": 60 + 120, "nas-2": 60}) == {"c-1": told}
    assert found(STARTED, 12 * HOUR, heard={"nas-1": 12 * HOUR, "nas-2": 11 * HOUR}) != {}, "it is over with a Stop, not with silence"
    over = [STARTED[0], replace(STARTED[1], until=T + 90, end=SessionEnd.STOP)]
    assert found(over, 12 * HOUR, heard={"nas-1": 12 * HOUR, "nas-2": 12 * HOUR}) == {}


@pytest.mark.parametrize("quiet", ["nas-1", "nas-2"])
def test_one_that_sends_no_interim_updates_and_stopped_answering_makes_no_duplicate(quiet):
    heard = {"nas-1": 12 * HOUR, "nas-2": 12 * HOUR}
    assert found(STARTED, 12 * HOUR, heard=heard) != {}
    assert found(STARTED, 12 * HOUR, heard=heard | {quiet: 100}) == {}


def test_the_later_log_in_is_known_by_its_start_until_its_first_interim_update_is_due():
    assert found(STARTED, 600) == {}, "nothing was heard of the earlier one since"
    heard = [replace(STARTED[0], seen=T + 300), STARTED[1]]
    assert found(heard, 600)["c-1"]["side_by_side_seconds"] == 240
    assert found([replace(heard[0], seen=T + 179), heard[1]], 600) == {}, "within the grace"
    assert found(heard, 60 + 899) != {}
    assert found(heard, 60 + 900) == {}, "its NAS stopped answering"
    assert found([heard[0], replace(heard[1], seen=T + 60 + 880)], 60 + 900) != {}


@pytest.mark.parametrize(("quiet", "there"), [("nas-1", True), ("nas-2", False)])
def test_each_session_counts_as_its_own_nas_tells_of_it(quiet, there):
    """One NAS sends no Interim-Updates: of the other, the earlier session must be heard of and the later one has just begun."""
    assert bool(found(STARTED, 300, heard={quiet: 290})) == there
