"""Usage of one customer's line, and why it is limited: the answers to `usage show` and to `explain --customer`.

Owns the making of the answers. Usage is told as totals of days and by whom they were counted, never finer; why a line is slow
is told by the figures the measures keep.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_explain import clause_words
from sekisho.app.control_segments import Index
from sekisho.detect.reasons import reasons
from sekisho.detect.usage import JAPAN
from sekisho.drivers.localtime import spoken
from sekisho.measures.combine import ENFORCED
from sekisho.model.measures import Effect, Measure
from sekisho.terms.describe import effect_words

Json = dict[str, Any]

_JAPAN = dt.timezone(dt.timedelta(seconds=JAPAN))
_SLOWS = frozenset({Effect.LIMIT_RATE, Effect.LIMIT_MAIL, Effect.SILENCE, Effect.LIMIT_DNS, Effect.WALLED_GARDEN})
_ON_LINES = frozenset({Effect.LIMIT_RATE, Effect.LIMIT_MAIL})


def usage_body(core: Core, identity: str) -> Json:
    """Octets by day (Japan's), both directions. Raises RefusedError if there is no such customer."""
    customer = core.people.get(identity)
    row = core.tables.row_of(identity)
    usage = core.traffic.usage
    usage.advance(core.clock())
    days = list(usage.days(row)) if row is not None else []
    first = next((place for place, one in enumerate(days) if one.down or one.up), len(days))
    source = usage.counted_by(row) if row is not None else None
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
        "limited": bool(limits := _limits(core, identity, core.clock())),
        "limits": limits,
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
        enforced = measure.state in ENFORCED and measure.clause in view.enforcement(customer).by
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
                "observe": measure.observe or view.standing_of(measure).observe,
                "enforced": enforced,
                "evidence": dict(measure.evidence),
                "words": [_standing(measure, effect_words(rule)), *reasons(measure.detector, measure.evidence)],
            }
        )
    index = core.bandwidth.index
    row = core.tables.row_of(identity)
    words = [said for one in limits for said in one["words"]] or ["The line is not limited by any measure."]
    return {"customer": identity, "limits": limits, "words": words, "segments": _segments(core, index, row)}


def _limits(core: Core, identity: str, now: float) -> list[Json]:
    """What limits the line now: by which clause, how, and since when (UNIX seconds)."""
    if core.people.find(identity) is None:
        return []
    view, found = core.measures.view(now), []
    for one in core.measures.book.of(identity):
        standing = view.standing_of(one)
        if one.state not in ENFORCED or one.observe or standing.rule is None or standing.rule.effect not in _ON_LINES:
            continue
        if not (standing.exempt or standing.observe or standing.held):
            effect = standing.rule.effect.value
            found.append({"clause": one.clause, "effect": effect, "effect_words": effect_words(standing.rule), "since": one.enforced_at})
    return found


def _standing(measure: Measure, does: str) -> str:
    since = spoken(measure.since)
    if measure.observe:
        return f"Observed under {measure.clause} since {since}: nothing is done; enforced, {does}."
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
