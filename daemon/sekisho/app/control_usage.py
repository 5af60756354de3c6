"""Usage of one customer's line, and why it is limited: the answers to `usage show` and to `explain --customer`.

Owns the making of the answers. Usage is told as totals of days and by whom they were counted, never finer; why a line is slow
is told by the figures the measures keep. "In force" is told of what is carried out and of nothing else (`control_carried`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sekisho.app.control_carried import OBSERVED, ON_LINES, held, why_not
from sekisho.app.control_core import Core
from sekisho.app.control_explain import clause_words
from sekisho.app.control_segments import Index
from sekisho.app.control_standing import View
from sekisho.detect.reasons import reasons
from sekisho.detect.usage import JAPAN
from sekisho.drivers.localtime import spoken
from sekisho.measures.combine import ENFORCED
from sekisho.model.customers import Customer
from sekisho.model.measures import Effect, Measure
from sekisho.terms.describe import budget_words, effect_words

Json = dict[str, Any]

_JAPAN = dt.timezone(dt.timedelta(seconds=JAPAN))
_SLOWS = frozenset({Effect.LIMIT_RATE, Effect.LIMIT_MAIL, Effect.SILENCE, Effect.LIMIT_DNS, Effect.WALLED_GARDEN})


def usage_body(core: Core, identity: str) -> Json:
    """Octets by day (Japan's), both directions. Raises RefusedError if there is no such customer."""
    customer = core.people.get(identity)
    row = core.tables.row_of(identity)
    usage = core.traffic.usage
    usage.advance(core.clock())
    days = list(usage.days(row)) if row is not None else []
    first = next((place for place, one in enumerate(days) if one.down or one.up), len(days))
    source = usage.counted_by(row) if row is not None else None
    limits, not_done = _limits(core, customer, core.clock())
    return {
        "customer": customer.id,
        "source": source.value if source is not None else None,
        "plan": {"down_mbps": customer.plan.down_mbps, "up_mbps": customer.plan.up_mbps} if customer.plan is not None else None,
        "days": [
            {
                "date": dt.datetime.fromtimestamp(one.begins, _JAPAN).date().isoformat(),
                "down_bytes": one.down,
                "up_bytes": one.up,
                "sources": [each.value for each in one.sources],
            }
            for one in days[first:]
        ],
        "limited": bool(limits),
        "limits": limits,
        "not_done": not_done,
    }


def line_body(core: Core, identity: str, now: float) -> Json:
    """Why a customer's line is slow, or that no measure makes it so. Raises RefusedError if there is no such customer."""
    customer = core.people.get(identity)
    view = core.measures.view(now)
    limits: list[Json] = []
    for measure in sorted(core.measures.book.of(identity), key=lambda one: one.opened_at):
        rule = view.standing_of(measure).rule
        if not measure.state.is_open or rule is None or not (rule.effect in _SLOWS or reasons(measure.detector, measure.evidence)):
            continue
        why = why_not(core, view, customer, measure) if measure.state in ENFORCED else None
        enforced = measure.state in ENFORCED and why is None and measure.clause in view.enforcement(customer).by
        observed = measure.observe or view.standing_of(measure).observe
        limits.append(
            {
                "measure": measure.id,
                "clause": measure.clause,
                "clause_words": clause_words(core.site.packs, measure.clause),
                "detector": measure.detector.value,
                "effect": rule.effect.value,
                "state": measure.state.value,
                "since": measure.since,
                "opened_at": measure.opened_at,
                "condition_at": measure.condition_at,
                "observe": observed,
                "enforced": enforced,
                "not_done": why,
                "evidence": dict(measure.evidence),
                "words": [_standing(measure, effect_words(rule), why, observed=observed), *reasons(measure.detector, measure.evidence)],
            }
        )
    index = core.bandwidth.index
    row = core.tables.row_of(identity)
    emergency = _emergency(core, view, customer)
    words = [said for one in (*limits, *([emergency] if emergency is not None else ())) for said in one["words"]]
    words = words or ["The line is not limited by any measure."]
    return {"customer": identity, "limits": limits, "emergency": emergency, "words": words, "segments": _segments(core, index, row)}


def _limits(core: Core, customer: Customer, now: float) -> tuple[list[Json], list[Json]]:
    """What limits the line now: by which clause, how, and since when (UNIX seconds); and what is in force and not done, with why."""
    view = core.measures.view(now)
    done: list[Json] = []
    left: list[Json] = []
    for one in core.measures.book.of(customer.id):
        standing = view.standing_of(one)
        rule = standing.rule
        if one.state not in ENFORCED or rule is None or rule.effect not in ON_LINES or one.observe or standing.observe:
            continue
        told = {"clause": one.clause, "effect": rule.effect.value, "effect_words": effect_words(rule), "since": one.enforced_at}
        why = why_not(core, view, customer, one)
        if why is None:
            done.append(told)
        else:
            left.append(told | {"why": why})
    return done, left


def _emergency(core: Core, view: View, customer: Customer) -> Json | None:
    """How an emergency that is declared limits a customer, or would; None: it does not reach them."""
    declared, ground = view.book.emergency, view.emergency(customer, observed=True)
    if declared is None or ground is None:
        return None
    in_force = view.emergency(customer)
    why = OBSERVED if in_force is None else held(view)
    ground = in_force or ground
    does, when = budget_words(ground.rate, ground.burst), f"in the emergency declared {spoken(declared.since)}"
    under = f"under {ground.clause} until {spoken(declared.until)}"
    said = f"In force {when}, {under}: {does}." if why is None else f"Nothing is done {when}, {under}: {why}. Enforced, {does}."
    return {
        "clause": ground.clause,
        "clause_words": clause_words(core.site.packs, ground.clause),
        "effect": ground.effect.value,
        "since": declared.since,
        "until": declared.until,
        "enforced": why is None,
        "not_done": why,
        "words": [said],
    }


def _standing(measure: Measure, does: str, why: str | None, *, observed: bool) -> str:
    since = spoken(measure.since)
    if observed:
        return f"Observed under {measure.clause} since {since}: nothing is done; enforced, {does}."
    if why is not None:
        return f"Due under {measure.clause} since {since}, but nothing is done: {why}. Enforced, {does}."
    state = {"in-force": "In force", "ending": "Ending, the condition is gone", "noticed": "Noticed, not yet in force"}.get(
        measure.state.value, "Found, not yet in force"
    )
    return f"{state} under {measure.clause} since {since}: {does}."


def _segments(core: Core, index: Index | None, row: int | None) -> list[Json]:
    """The shared segments the line is on, as the last look saw them."""
    look = core.bandwidth.last
    if index is None or look is None or row is None or row >= index.lines.rows or len(look.segments) != len(index.lines.segments):
        return []
    return [
        {
            "segment": index.lines.segments[one].id,
            "utilisation_down": round(float(look.segments[one].utilisation[0]), 4),
            "utilisation_up": round(float(look.segments[one].utilisation[1]), 4),
            "congested": bool(look.segments[one].congested.any()),
        }
        for one in index.lines.on(row)
    ]
