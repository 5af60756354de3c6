"""How one act changes one measure: the single rule by which the ledger's fold and the life cycle agree.

Pure and total: an act of a measure that is not there, or is closed, changes nothing. Times are UNIX seconds.
"""

from __future__ import annotations

from dataclasses import replace

from sekisho.model.events import Act
from sekisho.model.measureacts import MeasureExtended, MeasureMoved, MeasureOpened, MeasureSustained, TerminationEligible
from sekisho.model.measures import Cause, Detector, Measure, MeasureState, Occasion

MeasureAct = MeasureOpened | MeasureSustained | MeasureMoved | MeasureExtended | TerminationEligible
MEASURE_ACTS = (MeasureOpened, MeasureSustained, MeasureMoved, MeasureExtended, TerminationEligible)


def opened(act: MeasureOpened, at: float) -> Measure:
    """The measure an act at `at` opens: found."""
    return Measure(
        id=act.measure,
        clause=act.clause,
        customer=act.customer,
        detector=Detector(act.detector),
        state=MeasureState.FOUND,
        since=at,
        opened_at=at,
        evidence=dict(act.evidence),
        observe=act.observe,
        urgent=act.urgent,
        condition_at=at,
        reason=act.reason,
    )


def progress(measure: Measure, act: Act, at: float) -> Measure:
    """The measure after an act of its own that was made at `at`."""
    match act:
        case MeasureSustained():
            return replace(measure, condition_at=at, gone_at=None, evidence=dict(act.evidence))
        case MeasureMoved():
            return _moved(measure, act, at)
        case MeasureExtended():
            return replace(measure, until=act.until, extensions=measure.extensions + 1, reason=act.reason or measure.reason)
        case TerminationEligible():
            return replace(measure, termination_eligible=True)
        case _:
            return measure


def _moved(measure: Measure, act: MeasureMoved, at: float) -> Measure:
    state, cause = MeasureState(act.state), Cause(act.cause)
    entered = state is not measure.state
    gone, seen = measure.gone_at, measure.condition_at
    if cause is Cause.CONDITION_GONE:
        gone = at
    elif cause in {Cause.CONDITION, Cause.URGENT}:
        gone, seen = None, at
    return replace(
        measure,
        state=state,
        cause=cause,
        since=at if entered else measure.since,
        until=act.until,
        gone_at=gone,
        condition_at=seen,
        enforced_at=at if state is MeasureState.IN_FORCE and measure.enforced_at is None else measure.enforced_at,
        urgent=measure.urgent or cause is Cause.URGENT,
        reason=act.reason or measure.reason,
    )


def occasion_of(before: Measure, act: Act) -> Occasion | None:
    """What a customer would be told of an act of the measure as it was `before`, if the terms ask for notice; None: nothing."""
    match act:
        case MeasureExtended():
            return Occasion.EXTENDED
        case TerminationEligible():
            return Occasion.TERMINATION_ELIGIBLE
        case _:
            return _occasion_of_move(before, act)


def _occasion_of_move(before: Measure, act: Act) -> Occasion | None:
    if not isinstance(act, MeasureMoved):
        return None
    state = MeasureState(act.state)
    match state:
        case MeasureState.NOTICED if before.state is not MeasureState.NOTICED:
            return Occasion.BEFORE
        case MeasureState.IN_FORCE if before.state is MeasureState.ENDING:
            return Occasion.IN_FORCE_AGAIN
        case MeasureState.IN_FORCE if before.state is MeasureState.FOUND or act.cause == Cause.URGENT:
            return Occasion.IN_FORCE
        case MeasureState.ENDING:
            return Occasion.ENDING
        case MeasureState.LIFTED:
            return Occasion.LIFTED
        case MeasureState.DISMISSED if before.state is MeasureState.NOTICED:
            return Occasion.WITHDRAWN
        case _:
            return None
