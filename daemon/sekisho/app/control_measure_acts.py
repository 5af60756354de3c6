"""What an operator does about measures, one by one: look, suspend, lift, dismiss, extend, exempt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_measures import new_id
from sekisho.app.control_ordering import before_order
from sekisho.app.control_standing import View
from sekisho.config.validation import did_you_mean
from sekisho.measures.combine import ENFORCED
from sekisho.measures.deadlines import next_due, waits_for
from sekisho.measures.happenings import Delivered, Dismiss, Event, Extend, Found, Gone, Lift
from sekisho.measures.standing import Standing
from sekisho.model.clauses import BlockRule, BudgetRule, EmergencyRule, MeasureRule, NoticeTime, Rule
from sekisho.model.customers import Customer
from sekisho.model.errors import RefusedError
from sekisho.model.measureacts import CustomerExempted, ExemptionEnded
from sekisho.model.measures import Detector, Enforcement, Exemption, Finding, Measure, MeasureState
from sekisho.model.notices import NoticeState

Json = dict[str, Any]

SHOWN = 10_000
"""Measures of one answer at most."""


def show_all(core: Core, customer: str | None, clause: str | None, *, closed: bool, limit: int) -> Json:
    """Measures, the newest first; closed ones only if asked for, as far as they are remembered."""
    view = core.measures.view(core.clock())
    if customer is not None and not view.book.of(customer) and customer not in view.book.exemptions:
        core.people.get(customer)
    known: Iterable[Measure] = view.book.open() if customer is None else view.book.of(customer)
    if closed and customer is None:
        known = (case.measure for case in view.book.cases.values())
    found = [one for one in known if (closed or one.state.is_open) and clause in {None, one.clause}]
    found.sort(key=lambda one: one.opened_at, reverse=True)
    mine = view.book.exemptions if customer is None else {customer: view.book.exemptions.get(customer, {})}
    exemptions = [one for clauses in mine.values() for one in clauses.values() if clause in {None, one.clause}]
    hold = view.book.hold
    return {
        "mode": core.site.settings.measures.mode.value,
        "held": None if hold is None else dataclasses.asdict(hold),
        "measures": [body(core, one, view) for one in found[: min(limit, SHOWN)]],
        "more": len(found) > min(limit, SHOWN),
        "exemptions": [_exemption_body(one, view.now) for one in exemptions[:SHOWN]],
    }


def show(core: Core, measure_id: str) -> Json:
    """One measure, and every step of it. Raises RefusedError if there is none of this id."""
    view = core.measures.view(core.clock())
    _get(view, measure_id)
    case = view.book.cases[measure_id]
    steps = [dataclasses.asdict(one) for one in case.steps]
    return body(core, case.measure, view) | {"steps": steps}


async def suspend(core: Core, customer_id: str, clause: str, reason: str, *, urgent: bool, actor: str) -> Json:
    """Open a measure by hand, on any ground of the customer's terms.

    Raises RefusedError if no clause of the terms authorises it, or if there is one already.
    """
    now = core.clock()
    customer, view = core.people.get(customer_id), core.measures.view(now)
    standing = view.standing(customer_id, clause, Detector.OPERATOR)
    rule = standing.rule
    if rule is None:
        raise RefusedError(_no_rule(core, customer, clause))
    if standing.exempt:
        raise RefusedError(
            f"customer {customer_id} is exempt from {clause}; `sekisho measures unexempt` ends an exemption that was made here"
        )
    last = view.book.last(customer_id, clause, Detector.OPERATOR)
    if last is not None and last.state.is_open:
        raise RefusedError(f"there is measure {last.id} under {clause} already; `sekisho measures show {last.id}` shows how it stands")
    if urgent and not rule.urgent and rule.notice is NoticeTime.BEFORE:
        raise RefusedError(f"{clause} knows no urgent exception: the notice goes first; leave --urgent out")
    finding = Finding(Detector.OPERATOR, clause, customer_id, now, urgent=urgent)
    made = await core.measures.operate(None, (customer_id, clause, Detector.OPERATOR), Found(finding, new_id(), reason), now, actor)
    if made is None:
        raise RefusedError(f"the terms of customer {customer_id} or an exemption changed meanwhile; look again and repeat it")
    return show(core, made.id)


async def lift(core: Core, measure_id: str, reason: str, actor: str) -> Json:
    return await _operate(core, measure_id, Lift(reason), actor)


async def dismiss(core: Core, measure_id: str, reason: str, actor: str) -> Json:
    return await _operate(core, measure_id, Dismiss(reason), actor)


async def extend(core: Core, measure_id: str, until: float, reason: str, actor: str) -> Json:
    return await _operate(core, measure_id, Extend(until, reason), actor)


async def corrected(core: Core, measure_id: str, reason: str, actor: str) -> Json:
    """The condition is gone, as an operator knows: the measure ends as its terms say, after the release delay or the period."""
    measure = _get(core.measures.view(core.clock()), measure_id)
    if measure.gone_at is not None or measure.state is MeasureState.ENDING:
        raise RefusedError(f"measure {measure_id} has its condition gone already; `sekisho measures show {measure_id}` shows when it ends")
    return await _operate(core, measure_id, Gone(reason), actor)


async def delivered(core: Core, measure_id: str, at: float | None, actor: str) -> Json:
    """The notice reached the customer by another way, a letter or a call: the lead time runs from then."""
    now = core.clock()
    measure = _get(core.measures.view(now), measure_id)
    if measure.state is not MeasureState.NOTICED or measure.until is not None:
        raise RefusedError(f"measure {measure_id} does not wait for a delivery; `sekisho measures show {measure_id}` shows how it stands")
    if at is not None and not measure.since <= at <= now:
        raise RefusedError("the notice can only have been delivered between when it was due and now; give a time between the two")
    return await _operate(core, measure_id, Delivered(now if at is None else at), actor)


async def exempt(core: Core, customer_id: str, clause: str, reason: str, until: float | None, actor: str) -> Json:
    """Exempt a customer from a clause, which ends what is open under it; in force on return.

    Raises RefusedError for a clause that is none of the customer's terms or authorises no measure: it would change nothing.
    """
    now = core.clock()
    customer = core.people.get(customer_id)
    clauses = [one.id for name in customer.terms if name in core.site.packs for one in core.site.packs[name].clauses]
    if clause not in clauses:
        hint = did_you_mean(clause, clauses) or "; `sekisho terms show` lists the clauses"
        raise RefusedError(f"the terms of customer {customer_id} ({', '.join(customer.terms)}) have no clause {clause}{hint}")
    if clause not in _measured(core, customer):
        raise RefusedError(_no_exemption(core, customer, clause))
    if until is not None and until <= now:
        raise RefusedError("the time it would end lies in the past; give a later one, or none for an exemption for good")
    recorded = await core.measures.record(CustomerExempted(customer_id, clause, reason, until), now, actor)
    await core.measures.touch(customer_id, core.clock())
    return {"customer": customer_id, "clause": clause, "until": until, "reason": reason, "in_force": True, "number": recorded.number}


async def unexempt(core: Core, customer_id: str, clause: str, reason: str, actor: str) -> Json:
    """End an exemption. Raises RefusedError if there is none on record that is in force."""
    now = core.clock()
    if not core.measures.book.is_exempt(customer_id, clause, now):
        customer = core.people.get(customer_id)
        where = (
            "in the customer's record; take it out there"
            if clause in customer.exempt
            else "made; `sekisho measures list` shows those there are"
        )
        raise RefusedError(f"no exemption of customer {customer_id} from {clause} is in force here: none was {where}")
    recorded = await core.measures.record(ExemptionEnded(customer_id, clause, reason), now, actor)
    await core.measures.touch(customer_id, core.clock())
    return {"customer": customer_id, "clause": clause, "in_force": False, "number": recorded.number}


def body(core: Core, measure: Measure, view: View) -> Json:
    """A measure as the API tells it."""
    standing = view.standing_of(measure)
    rule = standing.rule
    customer = view.people.find(measure.customer)
    done = view.enforcement(customer) if customer is not None else Enforcement()
    enforced = measure.state in ENFORCED and measure.clause in done.by
    return {
        "id": measure.id,
        "customer": measure.customer,
        "clause": measure.clause,
        "detector": measure.detector.value,
        "state": measure.state.value,
        "cause": measure.cause.value,
        "since": measure.since,
        "opened_at": measure.opened_at,
        "enforced_at": measure.enforced_at,
        "until": measure.until,
        "condition_at": measure.condition_at,
        "gone_at": measure.gone_at,
        "observe": measure.observe or standing.observe,
        "urgent": measure.urgent,
        "extensions": measure.extensions,
        "termination_eligible": measure.termination_eligible,
        "evidence": dict(measure.evidence),
        "reason": measure.reason,
        "enforced": enforced,
        "held": standing.held,
        "waits_for": _waits_for(core, measure, standing),
        "next": next_due(measure, standing, core.measures.calendar),
        "rule": None if rule is None else _rule_body(rule),
    }


def _waits_for(core: Core, measure: Measure, standing: Standing) -> str:
    if measure.state is MeasureState.NOTICED and measure.until is None and not standing.held:
        ways = core.state.notices.of_order(before_order(measure).key)
        if ways and all(one.state is NoticeState.FAILED for one in ways):
            return "an operator to tell the customer, whom its notice did not reach (`sekisho measures delivered`)"
    return waits_for(measure, standing, core.measures.calendar)


def _rule_body(rule: MeasureRule) -> Json:
    return {
        "ground": rule.ground,
        "effect": rule.effect.value,
        "extent": rule.extent.value,
        "notice": rule.notice.value,
        "fees_continue": rule.fees_continue,
        "termination_clause": rule.termination_clause,
    }


def _exemption_body(one: Exemption, now: float) -> Json:
    return dataclasses.asdict(one) | {"in_force": one.in_force(now)}


async def _operate(core: Core, measure_id: str, event: Event, actor: str) -> Json:
    now = core.clock()
    measure = _get(core.measures.view(now), measure_id)
    await core.measures.operate(measure, (measure.customer, measure.clause, measure.detector), event, now, actor)
    return show(core, measure_id)


def _get(view: View, measure_id: str) -> Measure:
    measure = view.book.get(measure_id)
    if measure is None:
        raise RefusedError(f"there is no measure {measure_id}; `sekisho measures list --closed` shows those there are")
    return measure


def _rules(core: Core, customer: Customer) -> list[Rule]:
    return [rule for name in customer.terms if name in core.site.packs for rule in core.site.packs[name].rules]


def _measured(core: Core, customer: Customer) -> list[str]:
    """Clauses under which a measure or an emergency may reach the customer: those an exemption keeps away."""
    return list(dict.fromkeys(rule.clause for rule in _rules(core, customer) if isinstance(rule, MeasureRule | EmergencyRule)))


def _no_exemption(core: Core, customer: Customer, clause: str) -> str:
    """Why an exemption from a clause without measures would change nothing, and what would."""
    under = [rule for rule in _rules(core, customer) if rule.clause == clause]
    instead = f"`exempt:` in the customer's record (`sekisho customers add --replace`, or the customer file) takes {customer.id} out of it"
    if any(isinstance(rule, BlockRule) for rule in under):
        return f"{clause} blocks names of lists and opens no measure: {instead}, and `sekisho optout` where the terms let customers opt out"
    if any(isinstance(rule, BudgetRule) for rule in under):
        return f"{clause} is the hard budget of queries and opens no measure: {instead}"
    there = ", ".join(_measured(core, customer)) or "none of these terms"
    return f"{clause} authorises no measure, so an exemption from it would change nothing; clauses that do are {there}"


def _no_rule(core: Core, customer: Customer, clause: str) -> str:
    grounds = [rule.clause for rule in _rules(core, customer) if isinstance(rule, MeasureRule)]
    terms = ", ".join(customer.terms)
    if not grounds:
        return f"no clause of {terms} authorises a measure against customer {customer.id}; no clause, no measure"
    near = did_you_mean(clause, grounds) or f"; grounds are {', '.join(dict.fromkeys(grounds))}"
    return f"{clause} authorises no measure against customer {customer.id}, whose terms are {terms}{near}"
