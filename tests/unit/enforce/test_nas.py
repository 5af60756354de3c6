"""What NASes are to be asked."""

from __future__ import annotations

import pytest

from sekisho.enforce.naslines import ON_CAUSE, Next
from sekisho.enforce.nastally import tally
from sekisho.model.nas import ErrorCause, Remembered
from unit.enforce.lines import (
    ACK,
    DISCONNECT,
    LIFT,
    LIMIT,
    NAK,
    NONE,
    PACE,
    SILENT,
    SLOW,
    SLOWER,
    UNSENT,
    acknowledged,
    book,
    kinds,
    line,
    only,
)

HALF = SLOW.part(2)


def test_live_sessions_of_a_limited_customer_share_what_is_promised_and_each_is_asked_once():
    asked = book()
    asked.want("c-1", SLOW, [line(1), line(2)], 0.0)
    assert (HALF.down, HALF.up, HALF.full_down, HALF.full_up) == (5_000_000, 500_000, 100_000_000, 10_000_000)
    assert sorted(kinds(asked.due(0.0))) == [(LIMIT, "s-1", HALF), (LIMIT, "s-2", HALF)]
    assert asked.due(1000.0) == [], "nothing is asked again while an answer is waited for"


def test_each_session_has_all_of_the_rate_where_the_nas_adds_them_up():
    asked = book()
    asked.share = False
    asked.want("c-1", SLOW, [line(1), line(2)], 0.0)
    assert sorted(kinds(asked.due(0.0))) == [(LIMIT, "s-1", SLOW), (LIMIT, "s-2", SLOW)]
    acknowledged(asked)
    asked.ended(line(2).key)
    assert asked.due(5.0) == []


def test_the_parts_are_sent_anew_when_a_session_ends_and_when_one_begins():
    asked = book(nases=("bng-1", "bng-2"))
    asked.want("c-1", SLOW, [line(1), line(2, "bng-2")], 0.0)
    for one in asked.due(0.0):
        asked.answered(one, ACK, NONE, 0.0)
    asked.ended(line(2, "bng-2").key)
    assert kinds(asked.due(5.0)) == [(LIMIT, "s-1", SLOW)]
    for one in asked.lines():
        asked.answered(one.flight, ACK, NONE, 6.0)
    asked.started(line(3), 10.0)
    assert sorted(kinds(asked.due(10.0))) == [(LIMIT, "s-1", HALF), (LIMIT, "s-3", HALF)]


def test_a_part_that_changed_while_the_nas_was_asked_for_another_is_asked_for_next():
    asked = book()
    asked.want("c-1", SLOW, [line(1)], 0.0)
    first = only(asked)
    asked.want("c-1", SLOW, [line(1), line(2)], 0.1)
    assert kinds(asked.due(0.1)) == [(LIMIT, "s-2", HALF)]
    asked.answered(first, ACK, NONE, 0.2)
    assert kinds(asked.due(0.2)) == [(LIMIT, "s-1", HALF)]


def test_a_session_that_is_to_end_and_one_the_nas_does_not_know_take_no_part():
    asked = book()
    asked.want("c-1", SLOW, [line(1), line(2), line(3)], 0.0, ending=[line(3).key])
    assert sorted(kinds(asked.due(0.0))) == [(DISCONNECT, "s-3", None), (LIMIT, "s-1", HALF), (LIMIT, "s-2", HALF)]
    requests = {one.target.session: one.flight for one in asked.lines()}
    asked.answered(requests["s-3"], ACK, NONE, 1.0)
    asked.answered(requests["s-1"], ACK, NONE, 1.0)
    asked.answered(requests["s-2"], NAK, ErrorCause.SESSION_CONTEXT_NOT_FOUND, 1.0)
    assert kinds(asked.due(1.0)) == [(LIMIT, "s-1", SLOW)]


def test_the_speed_of_the_contract_is_given_back_to_each_session_as_a_whole():
    asked = book()
    asked.want("c-1", SLOW, [line(1), line(2)], 0.0)
    acknowledged(asked)
    asked.want("c-1", None, [line(1), line(2)], 5.0)
    assert sorted(kinds(asked.due(5.0))) == [(LIFT, "s-1", HALF), (LIFT, "s-2", HALF)]
    assert (HALF.full_down, HALF.full_up) == (SLOW.full_down, SLOW.full_up)


def test_what_was_acknowledged_is_not_asked_again():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.want("c-1", SLOW, [line()], 60.0)
    assert asked.due(60.0) == []
    assert asked.idle()


def test_a_limit_whose_measure_was_lifted_is_taken_back_with_the_speed_of_the_contract():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.want("c-1", None, [line()], 5.0)
    assert kinds(asked.due(5.0)) == [(LIFT, "s-1", SLOW)]


def test_another_limit_takes_the_place_of_the_first():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.want("c-1", SLOWER, [line()], 5.0)
    assert kinds(asked.due(5.0)) == [(LIMIT, "s-1", SLOWER)]


def test_a_new_session_of_a_limited_customer_is_limited_at_its_start():
    asked = book()
    asked.want("c-1", SLOW, [line(1)], 0.0)
    acknowledged(asked)
    asked.started(line(2), 30.0)
    assert sorted(kinds(asked.due(30.0))) == [(LIMIT, "s-1", HALF), (LIMIT, "s-2", HALF)]


def test_a_session_of_somebody_who_is_not_limited_is_nobodys_business():
    asked = book()
    asked.started(line(2), 30.0)
    assert asked.due(30.0) == []
    assert list(asked.lines()) == []


def test_a_session_that_ended_is_forgotten_and_its_late_answer_changes_nothing():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    request = only(asked)
    asked.ended(line().key)
    assert asked.changes() == ([], [line().key])
    asked.answered(request, ACK, NONE, 1.0)
    assert list(asked.lines()) == []


def test_an_answer_for_the_session_before_is_not_taken_for_the_one_by_the_same_name():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    old = only(asked)
    asked.restarted("bng-1")
    asked.started(line(), 1.0)
    new = only(asked, 1.0)
    asked.answered(old, ACK, NONE, 1.5)
    assert not tally(asked, "bng-1").acknowledged
    asked.answered(new, ACK, NONE, 2.0)
    assert tally(asked, "bng-1").acknowledged == 1


@pytest.mark.parametrize(("wanted", "asked_for"), [(None, LIFT), (SLOW, LIMIT)])
def test_a_session_that_is_heard_of_again_has_what_its_nas_may_hold_asked_for_once_more(wanted, asked_for):
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.want("c-1", SLOW, [], 1.0)
    asked.answered(only(asked, 1.0), SILENT, NONE, 2.0)
    asked.want("c-1", wanted, [], 3.0)
    asked.resumed(line().key, 20.0)
    assert asked.changes()[0][0].certain is False
    asked.want("c-1", wanted, [line()], 20.0)
    assert kinds(asked.due(20.0)) == [(asked_for, "s-1", SLOW)]


def test_a_session_the_nas_did_not_know_is_asked_for_when_accounting_tells_of_it_again():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), NAK, ErrorCause.SESSION_CONTEXT_NOT_FOUND, 1.0)
    asked.resumed(line().key, 60.0)
    assert kinds(asked.due(60.0)) == [(LIMIT, "s-1", SLOW)]


def test_a_nas_that_restarted_has_forgotten_its_limits_and_they_are_applied_anew():
    asked = book()
    asked.want("c-1", SLOW, [line(1)], 0.0)
    acknowledged(asked)
    asked.restarted("bng-1")
    assert asked.due(1.0) == [], "its sessions are gone with it"
    asked.started(line(7), 20.0)
    assert kinds(asked.due(20.0)) == [(LIMIT, "s-7", SLOW)]


def test_a_limit_that_is_remembered_without_a_measure_is_taken_back_at_the_start():
    asked = book(Remembered(line(1), SLOW, certain=True), Remembered(line(2, customer="c-2"), SLOWER, certain=False))
    assert sorted(kinds(asked.due(0.0))) == [(LIFT, "s-1", SLOW), (LIFT, "s-2", SLOWER)]


def test_a_limit_that_is_remembered_and_wanted_is_left_as_it_is():
    asked = book(Remembered(line(), SLOW, certain=True))
    asked.want("c-1", SLOW, [line()], 0.0)
    assert asked.due(0.0) == []


def test_a_limit_that_was_asked_for_and_never_answered_is_asked_for_again_at_the_start():
    asked = book(Remembered(line(), SLOW, certain=False))
    asked.want("c-1", SLOW, [line()], 0.0)
    assert kinds(asked.due(0.0)) == [(LIMIT, "s-1", SLOW)]


def test_what_is_remembered_of_a_session_nobody_tells_of_is_taken_back_though_the_customer_is_limited():
    asked = book(Remembered(line(1), SLOW, certain=True))
    asked.want("c-1", SLOW, [line(2)], 0.0)
    assert sorted(kinds(asked.due(0.0))) == [(LIFT, "s-1", SLOW), (LIMIT, "s-2", SLOW)]


def test_a_request_is_in_doubt_from_before_it_is_sent_until_it_is_answered():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    request = only(asked)
    assert asked.changes() == ([Remembered(line(), SLOW, certain=False)], [])
    asked.answered(request, ACK, NONE, 1.0)
    assert asked.changes() == ([Remembered(line(), SLOW, certain=True)], [])
    asked.want("c-1", None, [line()], 2.0)
    request = only(asked, 2.0)
    assert asked.changes() == ([Remembered(line(), SLOW, certain=False)], [])
    asked.answered(request, ACK, NONE, 3.0)
    assert asked.changes() == ([], [line().key])


def test_changes_that_could_not_be_written_are_among_the_next_and_nothing_is_in_doubt_for_what_was_not_sent():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    request = only(asked)
    asked.unwritten(asked.changes())
    asked.postpone(request, 5.0)
    assert asked.due(4.0) == []
    assert asked.changes() == ([], [line().key])
    assert kinds(asked.due(5.0)) == [(LIMIT, "s-1", SLOW)]


def test_an_unanswered_request_is_asked_again_after_a_wait_that_doubles_up_to_its_most():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    now, waits = 0.0, []
    for _ in range(8):
        request = only(asked, now)
        asked.answered(request, SILENT, NONE, now)
        waits.append(asked.next_due() - now)
        assert asked.due(asked.next_due() - 0.001) == []
        now = asked.next_due()
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]


def test_a_limit_that_was_not_answered_for_is_taken_back_though_nobody_knows_whether_it_is_there():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), SILENT, NONE, 0.0)
    asked.want("c-1", None, [line()], 1.0)
    assert kinds(asked.due(10.0)) == [(LIFT, "s-1", SLOW)]


def test_a_nas_that_does_not_answer_is_asked_one_thing_at_a_time_and_everything_at_once_when_it_answers():
    asked = book()
    for number in range(1, 9):
        asked.want(f"c-{number}", SLOW, [line(number, customer=f"c-{number}")], 0.0)
    first = asked.due(0.0)
    assert len(first) == PACE.window
    for one in first:
        asked.answered(one, SILENT, NONE, 1.0)
    assert asked.due(5.0) == []
    probe = asked.due(300.0)
    assert len(probe) == 1
    asked.answered(probe[0], ACK, NONE, 301.0)
    assert len(asked.due(301.0)) == PACE.window


def test_one_session_the_nas_is_silent_about_holds_up_no_other():
    asked = book()
    asked.want("c-1", SLOW, [line(1)], 0.0)
    dumb = only(asked)
    asked.want("c-2", SLOW, [line(2, customer="c-2")], 0.0)
    asked.answered(only(asked), ACK, NONE, 1.0)
    asked.answered(dumb, SILENT, NONE, 20.0)
    asked.want("c-3", SLOW, [line(3, customer="c-3")], 20.0)
    assert kinds(asked.due(20.0)) == [(LIMIT, "s-3", SLOW)]
    assert asked.nases()["bng-1"].silent_since is None


def test_one_nas_that_is_silent_holds_up_no_other():
    asked = book(nases=("bng-1", "bng-2"))
    asked.want("c-1", SLOW, [line(1)], 0.0)
    asked.answered(only(asked), SILENT, NONE, 1.0)
    asked.want("c-2", SLOW, [line(2, nas="bng-2", customer="c-2")], 1.0)
    assert kinds(asked.due(1.0)) == [(LIMIT, "s-2", SLOW)]


def test_a_session_the_nas_does_not_know_is_gone_and_holds_nothing():
    asked = book(Remembered(line(1), SLOW, certain=True))
    request = only(asked)
    asked.answered(request, NAK, ErrorCause.SESSION_CONTEXT_NOT_FOUND, 1.0)
    assert list(asked.lines()) == []
    assert asked.changes() == ([], [line(1).key])


def test_a_live_session_the_nas_does_not_know_is_not_asked_for_again_and_again():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), NAK, ErrorCause.SESSION_CONTEXT_NOT_FOUND, 1.0)
    asked.want("c-1", SLOW, [line()], 60.0)
    assert asked.due(1000.0) == []
    assert tally(asked, "bng-1").refused == 1
    asked.started(line(2), 1000.0)
    assert kinds(asked.due(1000.0)) == [(LIMIT, "s-2", SLOW)]


def test_a_line_without_accounting_may_come_up_any_time_and_is_asked_for_again():
    asked = book()
    fixed = line()
    fixed = type(fixed)(fixed.nas, "", "", fixed.customer, fixed.prefixes)
    asked.want("c-1", SLOW, [fixed], 0.0)
    asked.answered(only(asked), NAK, ErrorCause.SESSION_CONTEXT_NOT_FOUND, 0.0)
    assert asked.due(299.0) == []
    assert len(asked.due(300.0)) == 1


@pytest.mark.parametrize("cause", [cause for cause, then in ON_CAUSE.items() if then is Next.GIVE_UP], ids=lambda cause: cause.word)
def test_what_is_refused_for_good_is_asked_again_only_when_something_else_is_wanted(cause):
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), NAK, cause, 1.0)
    assert asked.due(1e6) == []
    stand = tally(asked, "bng-1")
    assert (stand.refused, dict(stand.causes)) == (1, {cause: 1})
    asked.want("c-1", SLOWER, [line()], 2.0)
    assert kinds(asked.due(2.0)) == [(LIMIT, "s-1", SLOWER)]


@pytest.mark.parametrize("cause", [cause for cause, then in ON_CAUSE.items() if then is Next.SLOWLY], ids=lambda cause: cause.word)
def test_what_a_nas_that_was_mended_would_take_is_told_as_refused_and_asked_again_now_and_then(cause):
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    for now in (0.0, 300.0, 600.0):
        asked.answered(only(asked, now), NAK, cause, now)
        assert tally(asked, "bng-1").refused == 1
        assert asked.idle(), "nobody waits for it"
        assert (asked.due(now + 299.0), asked.next_due()) == ([], now + 300.0)
    acknowledged(asked, 900.0)
    assert tally(asked, "bng-1").acknowledged == 1


def test_another_limit_does_not_wait_for_the_turn_of_the_one_that_was_refused():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), NAK, ErrorCause.ADMINISTRATIVELY_PROHIBITED, 0.0)
    asked.started(line(2), 1.0)
    assert sorted(kinds(asked.due(1.0))) == [(LIMIT, "s-1", HALF), (LIMIT, "s-2", HALF)]
    asked.want("c-1", SLOWER, [line(), line(2)], 2.0)
    for one in list(asked.lines()):
        asked.answered(one.flight, NAK, ErrorCause.ADMINISTRATIVELY_PROHIBITED, 3.0)
    assert sorted(kinds(asked.due(3.0))) == [(LIMIT, "s-1", SLOWER.part(2)), (LIMIT, "s-2", SLOWER.part(2))]


def test_a_nas_without_resources_is_asked_again_soon_and_more_and_more_rarely():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        asked.answered(only(asked, now), NAK, ErrorCause.RESOURCES_UNAVAILABLE, now)
        waits.append(asked.next_due() - now)
        now = asked.next_due()
    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert tally(asked, "bng-1").pending == 1


@pytest.mark.parametrize("cause", [cause for cause, then in ON_CAUSE.items() if then is Next.RETRY], ids=lambda cause: cause.word)
def test_what_is_refused_for_now_is_asked_again_after_a_wait(cause):
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), NAK, cause, 1.0)
    assert asked.due(10.9) == []
    assert kinds(asked.due(11.0)) == [(LIMIT, "s-1", SLOW)]


def test_every_cause_has_a_next_step():
    assert set(ON_CAUSE) == set(ErrorCause)


def test_taking_a_limit_back_is_never_given_up():
    asked = book(Remembered(line(), SLOW, certain=True))
    now = 0.0
    for _ in range(5):
        asked.answered(only(asked, now), NAK, ErrorCause.ADMINISTRATIVELY_PROHIBITED, now)
        now += PACE.backoff_max
    assert tally(asked, "bng-1").lifting == 1


def test_a_refused_limit_leaves_the_one_before_in_force():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.want("c-1", SLOWER, [line()], 1.0)
    asked.answered(only(asked, 1.0), NAK, ErrorCause.INVALID_ATTRIBUTE_VALUE, 2.0)
    asked.changes()
    asked.want("c-1", None, [line()], 3.0)
    assert kinds(asked.due(3.0)) == [(LIFT, "s-1", SLOW)]


def test_what_was_given_up_is_tried_again_with_another_configuration():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), NAK, ErrorCause.UNSUPPORTED_ATTRIBUTE, 1.0)
    asked.adopt({"bng-1": PACE}, 5.0)
    assert kinds(asked.due(5.0)) == [(LIMIT, "s-1", SLOW)]


def test_with_another_template_what_was_acknowledged_is_asked_again():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.suspect("bng-1", 5.0)
    assert kinds(asked.due(5.0)) == [(LIMIT, "s-1", SLOW)]


def test_a_request_that_could_not_be_sent_puts_nothing_in_doubt_and_is_tried_again():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    asked.answered(only(asked), UNSENT, NONE, 0.0)
    assert asked.changes() == ([], [line().key])
    asked.want("c-1", None, [line()], 1.0)
    assert list(asked.lines()) == [], "nothing was sent, so nothing is taken back"


def test_limits_at_a_nas_that_is_not_configured_any_more_are_remembered_until_it_is_again():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    asked.adopt({}, 1.0)
    asked.want("c-1", None, [], 1.0)
    assert asked.due(1e6) == []
    asked.adopt({"bng-1": PACE}, 2.0)
    assert kinds(asked.due(2.0)) == [(LIFT, "s-1", SLOW)]


def test_the_second_session_of_a_duplicate_log_in_is_ended_and_the_first_left():
    asked = book()
    asked.want("c-1", None, [line(1), line(2)], 0.0, [line(2).key])
    assert kinds(asked.due(0.0)) == [(DISCONNECT, "s-2", None)]


def test_a_session_that_was_ended_on_request_is_forgotten():
    asked = book()
    asked.want("c-1", None, [line(2)], 0.0, [line(2).key])
    asked.answered(only(asked), ACK, NONE, 1.0)
    assert list(asked.lines()) == []


def test_a_session_that_is_found_to_be_another_customers_has_what_that_one_is_to_have():
    asked = book()
    asked.want("c-1", SLOW, [line()], 0.0)
    acknowledged(asked)
    other = line(customer="c-2")
    asked.want("c-2", None, [other], 1.0)
    asked.want("c-1", SLOW, [], 1.0)
    assert kinds(asked.due(1.0)) == [(LIFT, "s-1", SLOW)]
    assert not asked.idle()


def test_a_session_that_is_to_end_no_more_is_left_alone():
    asked = book()
    asked.want("c-1", None, [line(2)], 0.0, [line(2).key])
    asked.want("c-1", None, [line(2)], 0.0)
    assert asked.due(1.0) == []
    assert list(asked.lines()) == []
