"""Whatever happens in whatever order, a measure keeps to its terms."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.measures.deadlines import next_due, waits_for
from sekisho.measures.happenings import Delivered, Dismiss, Extend, Found, Gone, Lift, Tick
from sekisho.measures.lifecycle import step
from sekisho.measures.standing import Standing
from sekisho.model.clauses import NoticeTime
from sekisho.model.errors import RefusedError
from sekisho.model.measures import Cause, MeasureState
from sekisho.model.progress import opened, progress
from support.spans import PLAIN
from unit.measures.cases import DAY, T0, days, finding, rule

SPANS = st.one_of(st.none(), st.integers(1, 15).map(days))
RULES = st.builds(
    rule,
    notice=st.sampled_from(NoticeTime),
    urgent=st.booleans(),
    lead=SPANS,
    period=SPANS,
    extension=st.booleans(),
    release_delay=SPANS,
    termination_after=SPANS,
    termination_clause=st.sampled_from([None, "nbnet/26-1"]),
)
EVENTS = st.one_of(
    st.booleans().map(lambda urgent: ("found", urgent)),
    st.sampled_from(["gone", "delivered", "tick", "lift", "dismiss", "extend", "hold", "exempt", "terms", "observe", "crash"]).map(
        lambda name: (name, None)
    ),
)
STORIES = st.lists(st.tuples(st.floats(0, 8 * DAY), EVENTS), min_size=1, max_size=40)
OPEN, ENFORCED = {one for one in MeasureState if one.is_open}, {MeasureState.IN_FORCE, MeasureState.ENDING}


def event_of(name, value, now, number):
    match name:
        case "found":
            return Found(finding(now, urgent=value), f"m-{number}")
        case "gone":
            return Gone()
        case "delivered":
            return Delivered(now)
        case "lift":
            return Lift("x")
        case "dismiss":
            return Dismiss("x")
        case "extend":
            return Extend(now + 20 * DAY, "x")
        case _:
            return Tick()


@settings(max_examples=300, deadline=None)
@given(RULES, STORIES)
def test_a_measure_keeps_to_its_terms(given_rule, story):
    now, measure, world = T0, None, {"held": False, "exempt": False, "observe": False, "terms": True}
    delivered_at, terminations, number = None, 0, 0
    for wait, (name, value) in story:
        now = round((now + wait) * 1e6) / 1e6
        switch = {"hold": "held", "exempt": "exempt", "terms": "terms", "observe": "observe"}.get(name)
        if switch is not None:
            world[switch] = not world[switch]
        there = given_rule if world["terms"] else None
        standing = Standing(there, exempt=world["exempt"], observe=world["observe"], held=world["held"])
        if measure is not None and not measure.state.is_open:
            measure, delivered_at, terminations = None, None, 0
        number += 1
        before = measure
        if name == "delivered" and before is not None and before.state is MeasureState.NOTICED and before.until is None:
            delivered_at = now
        try:
            outcome = step(measure, event_of(name, value, now, number), standing, now, PLAIN)
        except RefusedError:
            assert name in {"lift", "dismiss", "extend"}
            continue
        # The record alone gives the measure, whatever was recorded of the step before the process died.
        folded = before
        for act in outcome.acts if name != "crash" else outcome.acts[:1]:
            folded = opened(act, now) if folded is None else progress(folded, act, now)
        if name == "crash":
            measure = folded
            terminations += sum(act.kind == "termination-eligible" for act in outcome.acts[:1])
            continue
        assert folded == outcome.measure
        measure = outcome.measure
        terminations += sum(act.kind == "termination-eligible" for act in outcome.acts)
        assert terminations <= 1
        if measure is None:
            continue
        entered = [act for act in outcome.acts if act.kind == "measure-moved" and act.state == "in-force"]
        if entered and (before is None or before.state not in ENFORCED):
            assert there is not None
            assert not world["exempt"]
            assert not world["held"]
            if given_rule.notice is NoticeTime.BEFORE and not measure.observe and entered[0].cause != Cause.URGENT:
                assert delivered_at is not None
                assert now >= (delivered_at if given_rule.lead is None else PLAIN.ends(given_rule.lead, delivered_at))
            assert entered[0].cause != Cause.URGENT or given_rule.urgent
        if given_rule.notice is NoticeTime.NONE:
            assert not outcome.orders
        if measure.state.is_open:
            due = next_due(measure, standing, PLAIN)
            assert due is None or due > now, "what is due has been done"
            assert waits_for(measure, standing, PLAIN)
            assert due is not None or waits_for(measure, standing, PLAIN) != "its time"
            assert there is not None
            assert not world["exempt"]
        # Asked again at the same time nothing more follows.
        assert step(measure, Tick(), standing, now, PLAIN).acts == ()


@settings(max_examples=200, deadline=None)
@given(RULES, st.floats(0, 60 * DAY))
def test_what_is_due_is_due_at_the_time_it_was_said_to_be(given_rule, wait):
    """`next_due` is right: nothing follows before it, something follows at it."""
    standing, now = Standing(given_rule, observe=False), T0
    measure = step(None, Found(finding(T0), "m-1"), standing, now, PLAIN).measure
    for _ in range(20):
        if measure.state is MeasureState.NOTICED and measure.until is None:
            measure = step(measure, Delivered(now), standing, now, PLAIN).measure
        due = next_due(measure, standing, PLAIN)
        if due is None or not measure.state.is_open:
            break
        early = max(now, due - 1)
        if early < due:
            assert step(measure, Tick(), standing, early, PLAIN).acts == ()
        now = due
        outcome = step(measure, Tick(), standing, now, PLAIN)
        assert outcome.acts
        measure = outcome.measure
        if now > T0 + wait and measure.state is MeasureState.IN_FORCE:
            measure = step(measure, Gone(), standing, now, PLAIN).measure
