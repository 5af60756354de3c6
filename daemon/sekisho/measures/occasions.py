"""Who is told what: the notice that one act of the ledger owes a customer, or none.

A function of the record alone, so that after a crash the notices owed are found again from the acts that were made.
"""

from __future__ import annotations

from sekisho.model.clauses import MeasureRule, NoticeTime
from sekisho.model.events import Act
from sekisho.model.measures import Measure, NoticeOrder, Occasion
from sekisho.model.progress import occasion_of


def order_for(before: Measure, act: Act, at: float, rule: MeasureRule | None) -> NoticeOrder | None:
    """The notice owed for an act made at `at` (UNIX seconds) to the measure as it was `before`.

    None where the terms ask for no notice, or where no clause of the customer's terms speaks of it any more.
    """
    occasion = occasion_of(before, act)
    if occasion is None or not owes(rule, occasion):
        return None
    return NoticeOrder(before.id, before.customer, before.clause, occasion, at, before.observe)


def owes(rule: MeasureRule | None, occasion: Occasion) -> bool:
    """Whether the rule has the customer told on an occasion: of a termination that is possible the terms may say so by themselves."""
    if rule is None:
        return False
    return rule.termination_notice if occasion is Occasion.TERMINATION_ELIGIBLE else rule.notice is not NoticeTime.NONE
