"""What exporters may tell of measures, notices and calls: counts of the record, by clause, state and channel."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sekisho.app.control_core import Core
from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import MeasureState
from sekisho.model.notices import CallState
from sekisho.model.observation import CHANNELS, OUTCOMES

Json = dict[str, Any]


def of_record(core: Core, now: float) -> Json:
    """Fields of `model.observation.Observation`."""
    book, notices = core.measures.book, core.state.notices
    opened = book.open()
    counted = Counter((case.measure.clause, case.measure.state.value) for case in book.cases.values())
    clauses = dict.fromkeys([*rule_clauses(core), *(clause for clause, _ in counted)])
    emergency = book.emergency
    return {
        "measures": {(clause, state.value): counted[clause, state.value] for clause in clauses for state in MeasureState},
        "measures_observed": sum(one.observe and one.state is MeasureState.IN_FORCE for one in opened),
        "termination_eligible": sum(one.termination_eligible for one in opened),
        "findings": dict(core.measures.findings),
        "notices": {(channel, outcome): notices.counted[f"{channel}/{outcome}"] for channel in CHANNELS for outcome in OUTCOMES},
        "notices_waiting": sum(1 for _ in notices.open()),
        "attention_open": sum(call.state is not CallState.CLOSED for call in notices.calls.values()),
        "outages_open": sum(one.until is None for one in book.outages.values()),
        "enforcement_held": book.hold is not None,
        "emergency": emergency is not None and now < emergency.until,
    }


def rule_clauses(core: Core) -> list[str]:
    """Every clause of the packs that authorises a measure with a life cycle."""
    found = {rule.clause: None for pack in core.site.packs.values() for rule in pack.rules if isinstance(rule, MeasureRule)}
    return list(found)
