"""What is done to one customer for everything that is open against them at once.

The stricter wins, and each ends for itself: what is left after one has ended is worked out anew from those that are open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sekisho.model.clauses import EmergencyRule, MeasureRule, Pack
from sekisho.model.customers import Customer
from sekisho.model.measures import NONE, Effect, Emergency, Enforcement, Measure, MeasureState

ENFORCED = frozenset({MeasureState.IN_FORCE, MeasureState.ENDING})
"""States in which a measure is enforced: until it is lifted, also while the release delay runs."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One reason to do something to a customer: an open measure, or an emergency, by the terms' rule."""

    clause: str
    effect: Effect
    rate: int | None = None
    burst: int | None = None


def combine(grounds: Iterable[Ground], *, held: bool = False) -> Enforcement:
    """What the grounds amount to. `held`: the operator holds all enforcement.

    No answer at all is stricter than anything else. The notice page takes the place of answers, and a budget bounds how many
    there are of either; of budgets the lower rate and the smaller burst count. What is not the plane's to do (a line's
    speed, mail, what is done by hand) does nothing here.
    """
    if held:
        return NONE
    known = list(grounds)
    silencing = [one for one in known if one.effect is Effect.SILENCE]
    fencing = [one for one in known if one.effect is Effect.WALLED_GARDEN]
    limiting = [one for one in known if one.effect is Effect.LIMIT_DNS and one.rate is not None and one.burst is not None]
    by = tuple(dict.fromkeys(one.clause for one in (*silencing, *fencing, *sorted(limiting, key=_strictness))))
    if silencing:
        return Enforcement(silenced=True, by=by)
    budget = (min(one.rate or 0 for one in limiting), min(one.burst or 0 for one in limiting)) if limiting else None
    return Enforcement(garden=bool(fencing), budget=budget, by=by)


def ground_of(measure: Measure, rule: MeasureRule | None, *, exempt: bool, observe: bool) -> Ground | None:
    """What a measure gives reason to, or None: not in force, observed only, exempted, or without a clause of the terms.

    `observe`: the clause is observed now, whatever it was when the measure was opened.
    """
    if measure.state not in ENFORCED or measure.observe or observe or exempt or rule is None:
        return None
    return Ground(measure.clause, rule.effect, rule.rate, rule.burst)


def emergency_ground(
    emergency: Emergency | None, customer: Customer, packs: Mapping[str, Pack], now: float, exempt: Collection[str] = ()
) -> Ground | None:
    """How an emergency limits a customer: by a clause of their own terms that was declared, unless they have priority.

    `exempt`: clauses that do not reach the customer.
    """
    if emergency is None or now >= emergency.until:
        return None
    if customer.id in emergency.priority or (customer.group is not None and customer.group in emergency.priority):
        return None
    rules = [
        rule
        for name in customer.terms
        if name in packs
        for rule in packs[name].rules
        if isinstance(rule, EmergencyRule) and rule.clause in emergency.clauses and rule.clause not in exempt
    ]
    strictest = min(rules, key=lambda rule: (rule.rate, rule.burst), default=None)
    return None if strictest is None else Ground(strictest.clause, Effect.LIMIT_DNS, strictest.rate, strictest.burst)


def _strictness(ground: Ground) -> tuple[int, int]:
    return ground.rate or 0, ground.burst or 0
