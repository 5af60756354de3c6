"""The life cycle of one measure, rule by rule."""

from __future__ import annotations

import pytest

from sekisho.measures.deadlines import next_due, waits_for
from sekisho.measures.happenings import Delivered, Dismiss, Extend, Found, Gone, Lift
from sekisho.measures.lifecycle import QUIET, SUSTAIN_EVERY, may_open
from sekisho.measures.standing import Standing, rule_for
from sekisho.model.clauses import Clause, NoticeTime, Pack
from sekisho.model.errors import RefusedError
from sekisho.model.measures import Cause, Detector
from support.spans import PLAIN
from unit.measures.cases import CLAUSE, DAY, T0, Story, days, finding, rule


def test_notice_comes_first_and_enforcement_when_it_counts_as_delivered():
    story = Story()
    story.finds()
    assert (story.state, story.orders, story.measure.until) == ("noticed", ["before"], None)
    story.ticks(T0 + 100 * DAY)
    assert story.state == "noticed"
    story.does(Delivered(T0 + 100 * DAY + 5))
    assert story.state == "noticed", "it is delivered in 5 seconds only"
    story.ticks(T0 + 100 * DAY + 5)
    assert (story.state, story.measure.enforced_at) == ("in-force", T0 + 100 * DAY + 5)
    assert story.orders == ["before"]


def test_the_lead_time_counts_from_delivery_and_not_from_sending():
    story = Story(rule(lead=days(10)))
    story.finds()
    story.does(Delivered(T0 + DAY), T0 + 2 * DAY)
    assert story.measure.until == T0 + 11 * DAY
    story.ticks(T0 + 11 * DAY - 0.001)
    assert story.state == "noticed"
    story.ticks(T0 + 11 * DAY)
    assert (story.state, story.measure.cause) == ("in-force", Cause.LEAD_TIME_OVER)


def test_a_delivery_from_before_the_notice_was_due_does_not_shorten_the_lead_time():
    story = Story(rule(lead=days(10)))
    story.finds()
    story.does(Delivered(T0 - 20 * DAY))
    assert story.measure.until == T0 + 10 * DAY


def test_a_second_delivery_does_not_move_the_lead_time():
    story = Story(rule(lead=days(10)))
    story.finds()
    story.does(Delivered(T0))
    story.does(Delivered(T0 + 5 * DAY), T0 + 5 * DAY)
    assert story.measure.until == T0 + 10 * DAY


def test_in_an_emergency_it_is_enforced_first_and_noticed_after():
    story = Story(rule(lead=days(10)))
    story.finds(urgent=True)
    assert (story.state, story.orders, story.measure.cause) == ("in-force", ["in-force"], Cause.URGENT)


def test_an_emergency_that_comes_up_while_the_lead_time_runs_ends_it():
    story = Story(rule(lead=days(10)))
    story.finds()
    story.finds(T0 + 60, urgent=True)
    assert (story.state, story.orders) == ("in-force", ["before", "in-force"])
    assert story.measure.urgent


def test_where_the_clause_knows_no_urgent_exception_urgency_changes_nothing():
    story = Story(rule(lead=days(10), urgent=False))
    story.finds(urgent=True)
    assert (story.state, story.measure.urgent) == ("noticed", False)


@pytest.mark.parametrize(("notice", "orders"), [(NoticeTime.NONE, []), (NoticeTime.AFTER, ["in-force", "ending", "lifted"])])
def test_without_notice_before_it_is_in_force_at_once(notice, orders):
    story = Story(rule(notice=notice))
    story.finds()
    assert story.state == "in-force"
    story.does(Gone())
    story.ticks(T0 + 3 * DAY)
    assert (story.state, story.orders) == ("lifted", orders)


def test_the_condition_gone_the_release_delay_runs_and_then_it_is_lifted():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.does(Gone(), T0 + DAY)
    assert (story.state, story.measure.until) == ("ending", T0 + 4 * DAY)
    story.ticks(T0 + 4 * DAY - 1)
    assert story.state == "ending"
    story.ticks(T0 + 4 * DAY)
    assert (story.state, story.measure.cause) == ("lifted", Cause.RELEASE_DELAY_OVER)


def test_without_a_release_delay_it_is_lifted_at_once():
    story = Story(rule(notice=NoticeTime.AFTER, release_delay=None))
    story.finds()
    story.does(Gone(), T0 + 1)
    assert (story.state, story.orders) == ("lifted", ["in-force", "lifted"])


def test_the_condition_back_before_it_is_lifted_it_is_in_force_again():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.does(Gone(), T0 + DAY)
    story.finds(T0 + 2 * DAY)
    assert (story.state, story.measure.until, story.measure.gone_at) == ("in-force", None, None)
    assert story.orders == ["in-force", "ending", "in-force-again"]
    story.ticks(T0 + 5 * DAY)
    assert story.state == "in-force", "the release delay of before does not run on"


def test_a_condition_that_ends_before_the_lead_time_is_never_enforced_and_the_customer_is_told():
    story = Story(rule(lead=days(10)))
    story.finds()
    story.does(Gone(), T0 + DAY)
    story.does(Delivered(T0))
    story.ticks(T0 + 50 * DAY)
    assert (story.state, story.orders, story.measure.enforced_at) == ("dismissed", ["before", "withdrawn"], None)


def test_findings_of_one_cause_do_not_pile_up():
    story = Story(rule(notice=NoticeTime.AFTER))
    for minute in range(180):
        story.finds(T0 + 60 * minute)
    assert story.kinds == ["measure-opened", "in-force:condition", "measure-sustained", "measure-sustained"]
    assert [at for at, act in story.acts if act.kind == "measure-sustained"] == [T0 + SUSTAIN_EVERY, T0 + 2 * SUSTAIN_EVERY]
    assert story.orders == ["in-force"]


def test_findings_in_an_emergency_do_not_pile_up_while_enforcement_is_held():
    story = Story(held=True)
    for minute in range(59):
        story.finds(T0 + 60 * minute, urgent=True)
    assert story.kinds == ["measure-opened"]


# --- Periods -----------------------------------------------------------------------------------------------


def fixed(**more):
    return rule(notice=NoticeTime.AFTER, period=days(7), release_delay=None, termination_clause=None, **more)


def test_a_fixed_period_runs_to_its_end_although_the_condition_is_gone():
    story = Story(fixed(extension=True))
    story.finds()
    assert story.measure.until == T0 + 7 * DAY
    story.does(Gone(), T0 + DAY)
    assert (story.state, story.measure.until) == ("in-force", T0 + 7 * DAY)
    story.does(Gone(), T0 + 2 * DAY)
    story.ticks(T0 + 7 * DAY)
    assert (story.state, story.measure.cause) == ("lifted", Cause.PERIOD_OVER)
    assert story.kinds == ["measure-opened", "in-force:condition", "in-force:condition-gone", "lifted:period-over"]


def test_a_period_over_and_not_corrected_is_extended_as_often_as_it_takes():
    story = Story(fixed(extension=True))
    story.finds()
    story.ticks(T0 + 7 * DAY)
    story.ticks(T0 + 14 * DAY)
    assert (story.state, story.measure.extensions, story.measure.until) == ("in-force", 2, T0 + 21 * DAY)
    assert story.orders == ["in-force", "extended", "extended"]


def test_after_long_nobody_looked_a_period_is_extended_once_past_now():
    story = Story(fixed(extension=True))
    story.finds()
    story.ticks(T0 + 30 * DAY)
    assert (story.measure.extensions, story.measure.until) == (1, T0 + 35 * DAY)


def test_a_period_over_is_not_extended_where_the_terms_do_not_say_so():
    story = Story(fixed())
    story.finds()
    story.ticks(T0 + 7 * DAY)
    assert story.state == "lifted"


def test_a_condition_back_in_a_fixed_period_has_it_extended():
    story = Story(fixed(extension=True))
    story.finds()
    story.does(Gone(), T0 + DAY)
    story.finds(T0 + 2 * DAY)
    story.ticks(T0 + 7 * DAY)
    assert (story.state, story.measure.extensions) == ("in-force", 1)


def test_a_release_delay_is_kept_also_after_a_period():
    story = Story(rule(notice=NoticeTime.AFTER, period=days(7), release_delay=days(3)))
    story.finds()
    story.does(Gone(), T0 + 6 * DAY)
    story.ticks(T0 + 7 * DAY)
    assert (story.state, story.measure.until) == ("ending", T0 + 9 * DAY)
    story.ticks(T0 + 9 * DAY)
    assert story.state == "lifted"


# --- Termination -------------------------------------------------------------------------------------------


def terminations(story):
    return [at for at, act in story.acts if act.kind == "termination-eligible"]


def test_termination_becomes_possible_once_and_nothing_is_done_about_it():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.ticks(T0 + 10 * DAY - 1)
    assert not terminations(story)
    for day in range(10, 40):
        story.ticks(T0 + day * DAY)
        story.finds(T0 + day * DAY)
    assert terminations(story) == [T0 + 10 * DAY]
    assert (story.state, story.measure.termination_eligible) == ("in-force", True)


def test_termination_counts_from_the_suspension_and_not_from_the_notice():
    story = Story()
    story.finds()
    story.does(Delivered(T0 + 9 * DAY), T0 + 9 * DAY)
    story.ticks(T0 + 10 * DAY)
    assert not terminations(story)
    story.ticks(T0 + 19 * DAY)
    assert terminations(story) == [T0 + 19 * DAY]


def test_a_cause_removed_within_the_days_leads_to_no_termination():
    story = Story(rule(notice=NoticeTime.AFTER, release_delay=days(5)))
    story.finds()
    story.does(Gone(), T0 + 9 * DAY)
    story.ticks(T0 + 11 * DAY)
    story.finds(T0 + 12 * DAY)
    story.ticks(T0 + 13 * DAY)
    assert not terminations(story)
    story.ticks(T0 + 22 * DAY)
    assert terminations(story) == [T0 + 22 * DAY]


def test_where_the_terms_give_a_period_and_no_days_termination_becomes_possible_at_its_end():
    story = Story(rule(notice=NoticeTime.AFTER, period=days(7), termination_after=None))
    story.finds()
    story.ticks(T0 + 7 * DAY)
    assert story.kinds[-2:] == ["termination-eligible", "lifted:period-over"]


def test_who_corrected_within_the_period_is_not_eligible():
    story = Story(rule(notice=NoticeTime.AFTER, period=days(7), termination_after=None, release_delay=None))
    story.finds()
    story.does(Gone(), T0 + DAY)
    story.ticks(T0 + 7 * DAY)
    assert story.state == "lifted"
    assert not terminations(story)


def test_days_that_end_after_the_suspension_lead_to_no_termination_however_late_it_is_looked_at():
    story = Story(rule(notice=NoticeTime.AFTER, period=days(7)))
    story.finds()
    story.ticks(T0 + 30 * DAY)
    assert story.state == "lifted"
    assert not terminations(story)


def test_what_is_observed_suspends_nobody_and_leads_to_no_termination():
    story = Story(rule(notice=NoticeTime.AFTER), observe=True)
    story.finds()
    story.ticks(T0 + 30 * DAY)
    assert story.measure.observe
    assert not terminations(story)


# --- Observe, hold, exemptions, terms ----------------------------------------------------------------------


def test_what_is_observed_goes_through_all_states_and_its_orders_say_so():
    story = Story(rule(lead=days(10)), observe=True)
    outcome = story.finds()
    assert [order.observe for order in outcome.orders] == [True]
    story.ticks(T0 + 10 * DAY)
    assert (story.state, story.measure.observe) == ("in-force", True)
    story.does(Gone())
    story.ticks(T0 + 13 * DAY)
    assert story.state == "lifted"


def test_what_was_observed_is_not_enforced_when_the_mode_changes_but_found_anew():
    story = Story(rule(lead=days(10)), observe=True)
    story.finds()
    story.ticks(T0 + 10 * DAY)
    story.standing = Standing(story.standing.rule, observe=False)
    story.ticks(T0 + 11 * DAY)
    assert (story.state, story.measure.cause) == ("lifted", Cause.MODE_CHANGED)
    story.measure = None
    story.finds(T0 + 11 * DAY)
    assert (story.state, story.measure.observe) == ("noticed", False)


def test_nothing_enters_into_force_while_enforcement_is_held_and_all_goes_on_afterwards():
    for given in (rule(lead=days(1)), rule(notice=NoticeTime.AFTER)):
        story = Story(given, held=True)
        story.finds()
        story.does(Delivered(T0))
        story.ticks(T0 + 2 * DAY)
        assert story.state in {"found", "noticed"}
        assert next_due(story.measure, story.standing, PLAIN) is None
        assert "resume" in waits_for(story.measure, story.standing, PLAIN)
        story.standing = Standing(given, observe=False)
        story.ticks(T0 + 3 * DAY)
        assert (story.state, story.measure.enforced_at) == ("in-force", T0 + 3 * DAY)


def test_what_is_in_force_ends_in_its_time_also_while_enforcement_is_held():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.standing = Standing(story.standing.rule, observe=False, held=True)
    story.does(Gone())
    story.ticks(T0 + 3 * DAY)
    assert story.state == "lifted"


@pytest.mark.parametrize(("more", "cause"), [({"exempt": True}, Cause.EXEMPTED), ({"rule": None}, Cause.TERMS_CHANGED)])
@pytest.mark.parametrize(
    ("notice", "state", "told"),
    [(NoticeTime.BEFORE, "dismissed", ["before", "withdrawn"]), (NoticeTime.AFTER, "lifted", ["in-force", "lifted"])],
)
def test_an_exemption_or_other_terms_close_what_is_open(more, cause, notice, state, told):
    story = Story(rule(notice=notice))
    story.finds()
    story.standing = Standing(**({"rule": story.standing.rule, "observe": False} | more))
    assert next_due(story.measure, story.standing, PLAIN) <= T0
    story.ticks(T0 + 1)
    assert (story.state, story.measure.cause) == (state, cause)
    assert story.orders == (told if cause is Cause.EXEMPTED else told[:1]), "no clause, no notice"


@pytest.mark.parametrize("more", [{"exempt": True}, {"rule": None}])
def test_no_measure_is_opened_without_a_clause_of_the_terms_or_against_an_exemption(more):
    story = Story()
    story.standing = Standing(**({"rule": rule(), "observe": False} | more))
    story.finds()
    assert story.measure is None
    assert not story.acts


# --- The operator ------------------------------------------------------------------------------------------


def test_the_operator_lifts_what_is_in_force_at_once():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.does(Lift("ticket 1"))
    assert (story.state, story.measure.cause, story.measure.reason, story.orders) == (
        "lifted",
        Cause.OPERATOR,
        "ticket 1",
        ["in-force", "lifted"],
    )


def test_the_operator_dismisses_what_is_not_in_force_yet():
    story = Story()
    story.finds()
    story.does(Dismiss("a school"))
    assert (story.state, story.orders) == ("dismissed", ["before", "withdrawn"])


@pytest.mark.parametrize(("notice", "event", "said"), [
    (NoticeTime.BEFORE, Lift("x"), "dismiss it"),
    (NoticeTime.AFTER, Dismiss("x"), "lift it"),
    (NoticeTime.AFTER, Extend(T0 + DAY, "x"), "no period"),
])  # fmt: skip
def test_what_the_operator_cannot_have_is_refused_and_says_what_to_do(notice, event, said):
    story = Story(rule(notice=notice))
    story.finds()
    with pytest.raises(RefusedError, match=said):
        story.does(event)


def test_a_closed_measure_is_not_moved_any_more():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.does(Lift("x"))
    acts = len(story.acts)
    story.does(Gone())
    story.does(Delivered(T0))
    story.ticks(T0 + 90 * DAY)
    assert len(story.acts) == acts
    with pytest.raises(RefusedError, match="is lifted already"):
        story.does(Lift("x"))


def test_the_operator_extends_a_period():
    story = Story(fixed())
    story.finds()
    story.does(Extend(T0 + 9 * DAY, "asked for it"))
    assert (story.measure.until, story.measure.extensions, story.orders[-1]) == (T0 + 9 * DAY, 1, "extended")
    with pytest.raises(RefusedError, match="longer"):
        story.does(Extend(T0 + 8 * DAY, "x"))


def test_an_operators_word_is_not_undone_by_the_next_window():
    story = Story(rule(notice=NoticeTime.AFTER))
    story.finds()
    story.does(Lift("x"), T0 + 60)
    assert not may_open(story.measure, finding(T0 + 61), T0 + 61)
    assert may_open(story.measure, finding(T0 + 61), T0 + 60 + QUIET)
    assert may_open(story.measure, finding(T0 + 61, detector=Detector.OPERATOR), T0 + 61)
    story = Story(rule(notice=NoticeTime.AFTER, release_delay=None))
    story.finds()
    story.does(Gone(), T0 + 60)
    assert may_open(story.measure, finding(T0 + 61), T0 + 61)


# --- Rules -------------------------------------------------------------------------------------------------


def test_a_rule_is_found_by_clause_and_detector_and_an_operator_may_state_any_ground():
    watched, by_hand = rule(), rule(detector=Detector.OPERATOR, ground="misuse")
    pack = Pack("nbnet", "t", "o", "1", (Clause(CLAUSE, "22", "ja", "en", (watched, by_hand)),))
    packs = {"nbnet": pack}
    assert rule_for(packs, ("nbnet",), CLAUSE, Detector.DNS_OVERLOAD) is watched
    assert rule_for(packs, ("nbnet",), CLAUSE, Detector.OPERATOR) is by_hand
    assert (
        rule_for(
            {"nbnet": Pack("nbnet", "t", "o", "1", (Clause(CLAUSE, "22", "ja", "en", (watched,)),))}, ("nbnet",), CLAUSE, Detector.OPERATOR
        )
        is watched
    )
    assert rule_for(packs, ("nbnet",), CLAUSE, Detector.BANDWIDTH) is None
    assert rule_for(packs, ("gunma",), CLAUSE, Detector.DNS_OVERLOAD) is None
    assert rule_for(packs, ("nbnet",), "nbnet/22-1", Detector.DNS_OVERLOAD) is None


def test_a_step_recorded_in_part_goes_on_where_it_stopped():
    """The process died after the first act: the measure is found, and the next look goes on."""
    from sekisho.model.progress import opened

    whole = Story(rule(notice=NoticeTime.AFTER))
    whole.finds()
    part = Story(rule(notice=NoticeTime.AFTER))
    part.measure = opened(whole.acts[0][1], T0)
    assert next_due(part.measure, part.standing, PLAIN) <= T0
    part.ticks(T0)
    assert part.measure == whole.measure
    assert part.orders == whole.orders


def test_the_event_of_a_measure_that_is_not_there_does_nothing():
    story = Story()
    for event in (Gone(), Delivered(T0), Lift("x")):
        assert story.does(event).acts == ()


def test_found_carries_the_operators_reason():
    story = Story(rule(detector=Detector.OPERATOR, notice=NoticeTime.AFTER))
    story.does(Found(finding(detector=Detector.OPERATOR), "m-1", "ticket 9"))
    assert story.measure.reason == "ticket 9"
    assert waits_for(story.measure, story.standing, PLAIN) == "the operator to lift it"
