"""What holds for one customer under one clause: the terms' rule, the operator's word, and the calendar.

Owns finding the rule. No clause of the customer's terms, no rule; no rule, no measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sekisho.model.clauses import MeasureRule, Pack
from sekisho.model.measures import Detector, Span


class Calendar(Protocol):
    """When a length of time ends that a document states (`sekisho.measures.calendar`). Times are UNIX seconds."""

    def ends(self, span: Span, start: float) -> float: ...

    def starts(self, span: Span, end: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """What the life cycle of one measure is judged by, besides the measure itself."""

    rule: MeasureRule | None
    """None: no clause of the customer's terms authorises it (any more)."""
    exempt: bool = False
    observe: bool = True
    """The clause is observed: all but the enforcing."""
    held: bool = False
    """The operator holds all enforcement."""


def rule_for(packs: Mapping[str, Pack], terms: Iterable[str], clause: str, detector: Detector) -> MeasureRule | None:
    """The rule of a customer's terms under `clause` for what `detector` found, or None.

    An operator may state any ground of the terms, also one that a detector watches.
    """
    found = [
        rule
        for name in terms
        if name in packs
        for rule in packs[name].rules
        if isinstance(rule, MeasureRule) and rule.clause == clause and detector in {rule.detector, Detector.OPERATOR}
    ]
    return min(found, key=lambda rule: rule.detector is not detector, default=None)
