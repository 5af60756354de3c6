"""Who is told what: the notice that one act of the ledger owes a customer, or none.

A function of the record alone, so that after a crash the notices owed are found again from the acts that were made.
"""

from __future__ import annotations

from sekisho.model.clauses import MeasureRule, NoticeTime
from sekisho.model.events import Act, MeasureExtended, MeasureMoved
from sekisho.model.measures import Cause, Measure, MeasureState, NoticeOrder, Occasion


def order_for(before: Measure, act: Act, at: float, rule: MeasureRule | None) -> NoticeOrder | None:
    """The notice owed for an act made at `at` (UNIX seconds) to the measure as it was `before`.

    None where the terms ask for no notice, or where no clause of the customer's terms speaks of it any more.
    """
    if rule is None or rule.notice is NoticeTime.NONE:
        return None
    occasion = Occasion.EXTENDED if isinstance(act, MeasureExtended) else _occasion(before, act)
    if occasion is None:
        return None
    return NoticeOrder(before.id, before.customer, before.clause, occasion, at, before.observe)


def _occasion(before: Measure, act: Act) -> Occasion | None:
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
