"""The facts of a notice: what it is about, in the words of its language. Pure.

No evidence goes into a notice beyond what a reason says in general words: the counts are the operator's to
explain, and names that were asked for are nobody's to tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sekisho.measures import words
from sekisho.measures.texts import Facts, one_line
from sekisho.measures.words import Language
from sekisho.model.clauses import Clause, MeasureRule, Pack
from sekisho.model.measures import Detector, Measure, MeasureState, Occasion

_FEES = words.Words("措置の期間中も料金は発生します。", "Fees go on while the measure is in force.")
_BEFORE = frozenset({MeasureState.FOUND, MeasureState.NOTICED})
_AFTER = frozenset({Occasion.LIFTED, Occasion.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about: a measure, an attention call or an interruption. Times are UNIX seconds."""

    since: float | None = None
    until: float | None = None
    detector: Detector | None = None
    reason: str = ""
    """What an operator wrote."""
    what: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """What is the same in all notices of one language."""

    language: Language
    contact: str
    opt_out: str


def of_measure(measure: Measure) -> Subject:
    """The subject of a notice about a measure, as it stands now."""
    since, until = measure.enforced_at, None
    if measure.state in _BEFORE:
        since = measure.until
    elif measure.state.is_open:
        until = measure.until
    else:
        until = measure.since
    return Subject(since, until, measure.detector, measure.reason)


def measure_rule(clause: Clause | None, detector: Detector | None) -> MeasureRule | None:
    """The rule of the clause a measure rests on."""
    rules = [rule for rule in clause.rules if isinstance(rule, MeasureRule)] if clause is not None else []
    return next((rule for rule in rules if rule.detector is detector), rules[0] if rules else None)


def facts(
    notice: str,
    customer: str,
    occasion: Occasion,
    pack: Pack | None,
    clause_id: str,
    subject: Subject,
    sender: Sender,
    at: float,
    page: str = "",
) -> Facts:
    """What the template of a notice sees. A clause that a reload took away leaves its words empty, and not its notice unsent."""
    language = sender.language
    clause = pack.clause(clause_id) if pack is not None else None
    rule = measure_rule(clause, subject.detector)
    return Facts(
        notice=notice,
        customer=customer,
        operator=one_line(pack.operator) if pack is not None else "",
        document=one_line(pack.title) if pack is not None else "",
        clause=clause_id,
        article=one_line(clause.article) if clause is not None else "",
        words=one_line(clause.ja if language is Language.JA else clause.en) if clause is not None else "",
        at=words.moment(at, language),
        effect=words.EFFECTS[rule.effect].of(language) if rule is not None else "",
        extent=words.EXTENTS[rule.extent].of(language) if rule is not None else "",
        reason=_joined((words.REASONS[subject.detector].of(language) if subject.detector else "", subject.reason)),
        since=words.moment(subject.since, language),
        until=words.moment(subject.until, language),
        period=words.span(rule.period if rule is not None else None, language),
        remedy="" if occasion in _AFTER or subject.detector is None else words.REMEDIES[subject.detector].of(language),
        termination=words.span(rule.termination_after, language) if rule is not None and rule.termination_after else "",
        termination_clause=(rule.termination_clause or "") if rule is not None else "",
        fees=_FEES.of(language) if rule is not None and rule.fees_continue and occasion not in _AFTER else "",
        what=subject.what,
        address=subject.address,
        contact=one_line(sender.contact),
        opt_out=one_line(sender.opt_out),
        page=page,
    )


def _joined(parts: Iterable[str]) -> str:
    return " ".join(one_line(part) for part in parts if part)
