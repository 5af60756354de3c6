"""The credit for an outage by the operator's fault, in whole yen, and until when it can be claimed.

What the documents say differently is data of the pack's `CreditRule` (`gunma/30`, `nbnet/38`, `vectant/28-7`,
`network-service/8-6`). All is reckoned in fractions, and one rounding ends it: less than a yen is dropped.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from fractions import Fraction

from sekisho.measures.calendar import last_moment
from sekisho.model.clauses import CreditRule

_HOUR = 3600


class Billing(enum.StrEnum):
    """How a contract is paid, which says what its fee is the fee of."""

    MONTHLY = "monthly"
    YEARLY = "yearly"


@dataclass(frozen=True, slots=True)
class Credit:
    """What a customer is owed for one outage under a clause."""

    clause: str
    yen: int
    units: int
    """Of the rule's `unit` hours, by its way of counting."""
    claim_by: float | None
    """UNIX seconds, exclusive: midnight after the last day for the claim; None: no claim is needed."""


def outage_credit(
    rule: CreditRule, fee: int, since: float, until: float, *, billing: Billing = Billing.MONTHLY, loss: int | None = None
) -> Credit | None:
    """The credit for an outage from `since` to `until` (UNIX seconds), or None: it was shorter than the clause counts.

    `fee` is the base fee in yen without tax, of a month or of a year as `billing` says; `loss` is the damage in
    yen that a customer has shown, for a clause that pays loss. Raises ValueError for what cannot be reckoned.

    A clause that reckons by the monthly fee alone has a twelfth of a year's for it: what is paid by the year at once is
    the fee of 12 months (`gunma` article 25), and the clauses speak of the month's amount however it is paid.
    """
    if fee < 0 or (loss is not None and loss < 0):
        raise ValueError("a fee or loss is 0 yen or more")
    month = Fraction(fee) if billing is Billing.MONTHLY else Fraction(fee, 12)
    by_year = billing is Billing.YEARLY and rule.yearly_divisor is not None
    unit = Fraction(fee, rule.yearly_divisor or 1) if by_year else month / rule.monthly_divisor
    # A clock's reading is a binary fraction: to the millisecond, so that twelve hours sharp are twelve hours.
    hours = Fraction(round((until - since) * 1000), 1000 * _HOUR)
    if hours < Fraction(rule.minimum):
        return None
    ratio = hours / Fraction(rule.unit)
    units = math.ceil(ratio) if rule.begun_counts else math.floor(ratio)
    owed = units * unit
    if rule.pays_loss and loss is not None:
        owed = max(owed, Fraction(loss))
    if rule.cap is not None:
        owed = min(owed, Fraction(rule.cap) * month)
    claim_by = None if rule.claim is None else last_moment(rule.claim, until)
    return Credit(rule.clause, math.floor(owed), units, claim_by)
