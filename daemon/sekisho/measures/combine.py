"""What is done to one customer for everything that is open against them at once.

The stricter wins, and each ends for itself: what is left after one has ended is worked out anew from those that are open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sekisho.model.clauses import EmergencyRule, MeasureRule, Pack
from sekisho.model.customers import Customer, Plan
from sekisho.model.measures import NONE, Effect, Emergency, Enforcement, Measure, MeasureState

ENFORCED = frozenset({MeasureState.IN_FORCE, MeasureState.ENDING})
"""States in which a measure is enforced: until it is lifted, also while the release delay runs."""
MAIL_LEFT = 10
"""Connections a minute to ports of mail that a limit leaves where the rule gives no number: a person's mail goes out."""
_MEGABIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Ground:
    """One reason to do something to a customer: an open measure, or an emergency, by the terms' rule."""

    clause: str
    effect: Effect
    rate: int | None = None
    burst: int | None = None
    keep: float | None = None
    """Share of the line's capacity that is left."""
    connections: int | None = None
    """Connections a minute to ports of mail that are left."""


def combine(grounds: Iterable[Ground], *, held: bool = False, plan: Plan | None = None) -> Enforcement:
    """What the grounds amount to. `held`: the operator holds all enforcement; `plan`: the capacity of the customer's line.

    No answer at all is stricter than anything else. The notice page takes the place of answers, and a budget bounds how many
    there are of either; of budgets the lower rate and the smaller burst count. The line's speed and mail are another
    thing: the smallest share of the capacity and the fewest connections count, beside whatever is done to names. A line
    whose capacity is not known is not slowed, since nobody can say to what. What is done by hand does nothing here.
    """
    if held:
        return NONE
    known = list(grounds)
    silencing = [one for one in known if one.effect is Effect.SILENCE]
    fencing = [one for one in known if one.effect is Effect.WALLED_GARDEN]
    limiting = [one for one in known if one.effect is Effect.LIMIT_DNS and one.rate is not None and one.burst is not None]
    slowing = sorted((one for one in known if one.effect is Effect.LIMIT_RATE and one.keep and plan is not None), key=_kept)
    mailing = sorted((one for one in known if one.effect is Effect.LIMIT_MAIL), key=_connections)
    by = tuple(dict.fromkeys(one.clause for one in (*silencing, *fencing, *sorted(limiting, key=_strictness), *slowing, *mailing)))
    rate = _rate(plan, _kept(slowing[0])) if slowing and plan is not None else None
    mail = _connections(mailing[0]) if mailing else None
    if silencing:
        return Enforcement(silenced=True, rate=rate, mail=mail, by=by)
    budget = (min(one.rate or 0 for one in limiting), min(one.burst or 0 for one in limiting)) if limiting else None
    return Enforcement(garden=bool(fencing), budget=budget, rate=rate, mail=mail, by=by)


def ground_of(measure: Measure, rule: MeasureRule | None, *, exempt: bool, observe: bool) -> Ground | None:
    """What a measure gives reason to, or None: not in force, observed only, exempted, or without a clause of the terms.

    `observe`: the clause is observed now, whatever it was when the measure was opened.
    """
    if measure.state not in ENFORCED or measure.observe or observe or exempt or rule is None:
        return None
    return Ground(measure.clause, rule.effect, rule.rate, rule.burst, rule.keep, rule.connections)


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


def _kept(ground: Ground) -> float:
    return 1.0 if ground.keep is None else ground.keep


def _connections(ground: Ground) -> int:
    return MAIL_LEFT if ground.connections is None else ground.connections


def _rate(plan: Plan, keep: float) -> tuple[int, int]:
    """Bit/s towards the customer and from them."""
    return max(1, round(plan.down_mbps * keep * _MEGABIT)), max(1, round(plan.up_mbps * keep * _MEGABIT))
