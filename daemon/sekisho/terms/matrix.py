"""Packs against capabilities: the table by which an operator compares what documents allow and promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sekisho.model.clauses import (
    AnnouncementRule,
    BlockRule,
    BudgetRule,
    CreditRule,
    DeliveryRule,
    EmergencyRule,
    MeasureRule,
    Pack,
    Rule,
)
from sekisho.model.measures import Detector, Effect, Extent, Span
from sekisho.terms.describe import length

R = TypeVar("R", bound=Rule)


@dataclass(frozen=True, slots=True)
class Row:
    """One capability: a word or two for each pack, in the packs' order; empty where the document says nothing."""

    capability: str
    cells: tuple[str, ...]


def matrix(packs: Iterable[Pack]) -> list[Row]:
    """Every capability, those that no pack has left out."""
    every = tuple(packs)
    named: list[tuple[str, Callable[[Pack], str]]] = [
        ("blocking", _blocking),
        ("query budget", lambda pack: _join(f"{rule.rate}/s" for rule in _of(pack, BudgetRule))),
        *((f"on {detector}", lambda pack, detector=detector: _found(pack, detector)) for detector in Detector),
        ("full suspension", lambda pack: _grounds(pack, Extent.FULL)),
        ("partial suspension", lambda pack: _grounds(pack, Extent.PARTIAL)),
        ("notice", lambda pack: _join(rule.notice for rule in _of(pack, MeasureRule))),
        ("urgent exception", lambda pack: _share(pack, lambda rule: rule.urgent)),
        ("lead time", lambda pack: _lengths(rule.lead for rule in _of(pack, MeasureRule))),
        ("period", lambda pack: _join("condition" if rule.period is None else length(rule.period) for rule in _of(pack, MeasureRule))),
        ("extension", lambda pack: _share(pack, lambda rule: rule.extension)),
        ("release delay", lambda pack: _lengths(rule.release_delay for rule in _of(pack, MeasureRule))),
        ("termination", _termination),
        ("fees suspended", lambda pack: _join("go on" if rule.fees_continue else "stop" for rule in _of(pack, MeasureRule))),
        ("outage credit", lambda pack: _join(_credit(rule) for rule in _of(pack, CreditRule))),
        ("credit counts", lambda pack: _join("units begun" if rule.begun_counts else "full units" for rule in _of(pack, CreditRule))),
        ("credit cap", lambda pack: _join(f"{rule.cap:g} month" for rule in _of(pack, CreditRule) if rule.cap)),
        ("credit claim", lambda pack: _join(length(rule.claim) if rule.claim else "not needed" for rule in _of(pack, CreditRule))),
        *((f"before {what}", lambda pack, what=what: _announced(pack, what)) for what in _announced_things(every)),
        ("delivered, email", lambda pack: _delivered(pack, "email")),
        ("delivered, web", lambda pack: _delivered(pack, "web")),
        ("emergency", lambda pack: _join(f"{rule.rate}/s" for rule in _of(pack, EmergencyRule))),
        ("clauses", lambda pack: str(len(pack.clauses))),
        ("informative clauses", lambda pack: str(sum(not clause.rules for clause in pack.clauses))),
    ]
    rows = [Row(capability, tuple(cell(pack) for pack in every)) for capability, cell in named]
    return [row for row in rows if any(row.cells)]


def _of(pack: Pack, kind: type[R]) -> list[R]:
    return [rule for rule in pack.rules if isinstance(rule, kind)]


def _join(words: Iterable[str]) -> str:
    """Each word once, in the order they came."""
    return ", ".join(dict.fromkeys(str(word) for word in words))


def _lengths(spans: Iterable[Span | None]) -> str:
    return _join(length(span) for span in spans if span is not None)


def _blocking(pack: Pack) -> str:
    rules = _of(pack, BlockRule)
    return _join(f"{category} ({'mandatory' if rule.mandatory else 'opt-out'})" for rule in rules for category in rule.categories)


def _found(pack: Pack, detector: Detector) -> str:
    """What is done by a detector's findings; an operator's grounds are counted by extent instead."""
    return "" if detector is Detector.OPERATOR else _join(_effect(rule) for rule in _of(pack, MeasureRule) if rule.detector is detector)


def _effect(rule: MeasureRule) -> str:
    return f"{rule.effect} {rule.rate}/s" if rule.effect is Effect.LIMIT_DNS else str(rule.effect)


def _grounds(pack: Pack, extent: Extent) -> str:
    count = len({rule.clause for rule in _of(pack, MeasureRule) if rule.extent is extent})
    return f"{count} grounds" if count > 1 else "1 ground" if count else ""


def _share(pack: Pack, has: Callable[[MeasureRule], bool]) -> str:
    """`yes`, `no`, or for how many of the measures."""
    rules = _of(pack, MeasureRule)
    count = sum(has(rule) for rule in rules)
    if not rules:
        return ""
    return "yes" if count == len(rules) else f"{count} of {len(rules)}" if count else "no"


def _termination(pack: Pack) -> str:
    rules = [rule for rule in _of(pack, MeasureRule) if rule.termination_clause]
    return _join(length(rule.termination_after) if rule.termination_after else "end of period" for rule in rules)


def _credit(rule: CreditRule) -> str:
    yearly = f", 1/{rule.yearly_divisor}" if rule.yearly_divisor else ""
    return f"1/{rule.monthly_divisor}{yearly} a {rule.unit:g}h, from {rule.minimum:g}h"


def _announced_things(packs: Iterable[Pack]) -> list[str]:
    return list(dict.fromkeys(rule.what for pack in packs for rule in _of(pack, AnnouncementRule)))


def _announced(pack: Pack, what: str) -> str:
    return _join(length(rule.lead) if rule.lead else "beforehand" for rule in _of(pack, AnnouncementRule) if rule.what == what)


def _delivered(pack: Pack, channel: str) -> str:
    return _join(rule.deemed for rule in _of(pack, DeliveryRule) if rule.channel == channel)
