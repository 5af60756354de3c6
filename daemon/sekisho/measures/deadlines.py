"""What an open measure waits for, and until when; when it cannot stay. Asked by `lifecycle`, and by whoever sets a timer."""

from __future__ import annotations

from sekisho.measures.standing import Calendar, Standing
from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import Cause, Detector, Measure, MeasureState


def next_due(measure: Measure, standing: Standing, calendar: Calendar) -> float | None:
    """When something follows without anything happening; None: never by itself, see `waits_for`. A time past: now."""
    if not measure.state.is_open:
        return None
    if ended_by(measure, standing) is not None:
        return measure.since
    rule = standing.rule
    if rule is None:  # pragma: no cover - ended above
        return measure.since
    times: list[float | None] = []
    match measure.state:
        case MeasureState.FOUND:
            times = [None if standing.held else measure.since]
        case MeasureState.NOTICED:
            times = [None if standing.held else measure.until]
        case MeasureState.ENDING:
            times = [measure.until]
        case MeasureState.IN_FORCE:
            times = [measure.until, termination_at(measure, rule, calendar)]
        case _:  # pragma: no cover - closed
            pass
    return min((one for one in times if one is not None), default=None)


def waits_for(measure: Measure, standing: Standing, calendar: Calendar) -> str:
    """What an open measure waits for, in words; empty for one that is closed."""
    if not measure.state.is_open:
        return ""
    if measure.state in {MeasureState.FOUND, MeasureState.NOTICED} and standing.held:
        return "the operator to resume enforcement"
    if measure.state is MeasureState.NOTICED and measure.until is None:
        return "the notice to count as delivered"
    if measure.state is MeasureState.IN_FORCE and measure.until is None:
        return "the operator to lift it" if measure.detector is Detector.OPERATOR else "the condition to end"
    return "its time" if next_due(measure, standing, calendar) is not None else "the operator"


def ended_by(measure: Measure, standing: Standing) -> Cause | None:
    """Why an open measure cannot stay, if so."""
    if standing.rule is None:
        return Cause.TERMS_CHANGED
    if standing.exempt:
        return Cause.EXEMPTED
    if measure.observe and not standing.observe and measure.detector is not Detector.OPERATOR:
        return Cause.MODE_CHANGED
    return None


def termination_at(measure: Measure, rule: MeasureRule, calendar: Calendar) -> float | None:
    """When the contract may be terminated unless something changes."""
    if measure.observe or measure.termination_eligible or measure.gone_at is not None or rule.termination_clause is None:
        return None
    if rule.termination_after is None:
        return measure.until
    at = calendar.ends(rule.termination_after, measure.since)
    lifted_before = measure.until is not None and not rule.extension and at > measure.until
    return None if lifted_before else at
