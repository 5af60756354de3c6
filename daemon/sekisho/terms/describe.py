"""What a rule does, in words for a person and as values for a program.

Owns no rule: it reads back what a pack says, so that who wrote it and who compares packs see what the daemon will do.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from sekisho.model.clauses import (
    AnnouncementRule,
    BlockRule,
    BudgetRule,
    Clause,
    CreditRule,
    Deemed,
    DeliveryRule,
    EmergencyRule,
    MeasureRule,
    NoticeTime,
    OverBudget,
    Pack,
    Record,
    Rule,
    RuleKind,
)
from sekisho.model.lists import ActionKind
from sekisho.model.measures import Detector, Effect, Span, Unit

Words = list[tuple[str, str]]
"""Label and sentence, in the order a person asks."""

_KINDS: Mapping[type, RuleKind] = {
    BlockRule: RuleKind.DNS_BLOCK,
    BudgetRule: RuleKind.DNS_BUDGET,
    MeasureRule: RuleKind.MEASURE,
    CreditRule: RuleKind.CREDIT,
    AnnouncementRule: RuleKind.ANNOUNCEMENT,
    DeliveryRule: RuleKind.DELIVERY,
    EmergencyRule: RuleKind.EMERGENCY,
}
_EFFECTS = {
    Effect.SILENCE: "no query is answered",
    Effect.WALLED_GARDEN: "names are answered with the address of the notice page",
    Effect.LIMIT_DNS: "queries are limited to {rate}/s, {burst} at once",
    Effect.LIMIT_RATE: "the line keeps {keep:.0%} of its speed",
    Effect.LIMIT_MAIL: "the sending of mail is limited{left}",
    Effect.BY_HAND: "carried out by hand, elsewhere; recorded and told here",
}
_NOTICES = {NoticeTime.NONE: "the customer is not told", NoticeTime.BEFORE: "told before", NoticeTime.AFTER: "told after"}
_DEEMED = {
    Deemed.SENT: "counts as delivered when it is sent",
    Deemed.ACCEPTED: "counts as delivered when the receiver's mail server has it",
    Deemed.READABLE: "counts as delivered when it can be read",
}
_DAY = 86400
_SECONDS = ((_DAY, "d"), (3600, "h"), (60, "m"), (1, "s"))


def kind_of(rule: Rule) -> RuleKind:
    return _KINDS[type(rule)]


def length(span: Span) -> str:
    """A span as a pack writes it: `10 business days`, `1 month`, `24h`."""
    if span.unit is Unit.SECONDS:
        return seconds(span.amount)
    unit = {Unit.DAYS: "day", Unit.BUSINESS_DAYS: "business day", Unit.MONTHS: "month"}[span.unit]
    return f"{span.amount:g} {unit}{'' if span.amount == 1 else 's'}"


def seconds(amount: float) -> str:
    """Seconds as a pack writes a duration, in the largest unit that divides them; one day is 24h."""
    if amount == _DAY:
        return "24h"
    size, unit = next(((size, unit) for size, unit in _SECONDS if amount >= size and amount % size == 0), (1, "s"))
    return f"{amount / size:g}{unit}"


def pack_body(pack: Pack) -> dict[str, Any]:
    """A pack as values JSON has: lengths and enumerations in a pack's own words, retention in seconds."""
    document = {"title": pack.title, "operator": pack.operator, "version": pack.version}
    return {"pack": pack.id, "document": document, "clauses": [clause_body(clause) for clause in pack.clauses]}


def clause_body(clause: Clause) -> dict[str, Any]:
    return {
        "id": clause.id,
        "article": clause.article,
        "ja": clause.ja,
        "en": clause.en,
        "informative": clause.informative or None,
        "rules": [{"kind": str(kind_of(rule)), **_values(rule)} for rule in clause.rules],
    }


def _values(value: object) -> Any:
    match value:
        case Span():
            return length(value)
        case enum.IntEnum():
            return value.name.lower()
        case enum.StrEnum():
            return str(value)
        case tuple() | list():
            return [_values(one) for one in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {one.name: _values(getattr(value, one.name)) for one in dataclasses.fields(value) if one.name != "clause"}
        case str() | int() | float() | None:
            return value
        case _:
            return str(value)


def describe(rule: Rule) -> Words:
    """What a rule does, a label and a sentence at a time."""
    match rule:
        case BlockRule():
            return _block(rule)
        case BudgetRule():
            over = "the others are dropped" if rule.over is OverBudget.DROP else "the others are told to ask over TCP"
            words = [("limit", f"{rule.rate} queries a second, {rule.burst} at once; {over}"), ("notice", _NOTICES[rule.notice])]
            return [*words, _record(rule.record)]
        case MeasureRule():
            return _measure(rule)
        case CreditRule():
            return _credit(rule)
        case AnnouncementRule():
            lead = f"{length(rule.lead)} before" if rule.lead else "beforehand"
            return [(rule.what, lead + ("; later where it is urgent" if rule.urgent else ""))]
        case DeliveryRule():
            return [(rule.channel, _DEEMED[rule.deemed])]
        case EmergencyRule():
            return [("limit", f"who has no priority keeps {rule.rate} queries a second, {rule.burst} at once, while it lasts")]


def _block(rule: BlockRule) -> Words:
    by = f" ({rule.opt_out_clause})" if rule.opt_out_clause else ""
    consent = f" ({rule.consent_clause})" if rule.consent_clause else ""
    versions = f" to {', '.join(rule.consent_versions)}" if rule.consent_versions else ""
    answer = (rule.answer.kind if rule.answer else ActionKind.NXDOMAIN).name.lower()
    aliases = ", and aliases of them" if rule.check_cnames else ""
    return [
        ("blocks", f"names on lists of {', '.join(rule.categories)}{aliases}; answer {answer}, {rule.ede.name.lower()}"),
        ("opt-out", "nobody can lift it" if rule.mandatory else f"the customer can lift it at any time{by}"),
        ("consent", f"needs one on record{versions}{consent}" if rule.consent_required else "none is needed"),
        ("notice", _NOTICES[rule.notice]),
        _record(rule.record),
    ]


def _measure(rule: MeasureRule) -> Words:
    held = _held(rule)
    found = "stated by an operator" if rule.detector is Detector.OPERATOR else f"found by {rule.detector}{held}, or stated by an operator"
    effect = effect_words(rule)
    lead = f", {length(rule.lead)} ahead" if rule.lead else ""
    urgent = "; where it is urgent, enforced at once and told after" if rule.urgent else ""
    words = [
        ("ground", f"{rule.ground}, {found}"),
        ("effect", f"{rule.effect}, {rule.extent}: {effect}"),
        ("notice", _NOTICES[rule.notice] + lead + urgent),
    ]
    if rule.period is None:
        words.append(("period", "as long as the condition holds"))
    else:
        words.append(("period", length(rule.period) + (", extended while the condition holds" if rule.extension else "")))
    if rule.release_delay is not None:
        words.append(("lifting", f"takes {length(rule.release_delay)} once the condition is gone"))
    if rule.termination_clause is not None:
        since = f"after {length(rule.termination_after)} in force" if rule.termination_after else "when the period is over"
        told = ", the customer is told" if rule.termination_notice else ""
        words.append(("termination", f"possible {since} ({rule.termination_clause}); raised{told}, never carried out"))
    words.append(("fees", "go on" if rule.fees_continue else "stop"))
    return [*words, _record(rule.record)]


def effect_words(rule: MeasureRule) -> str:
    """What a measure does while it is in force."""
    left = f" to {rule.connections} connections a minute" if rule.connections is not None else ""
    return _EFFECTS[rule.effect].format(rate=rule.rate, burst=rule.burst, keep=rule.keep or 0, left=left)


def budget_words(rate: int | None, burst: int | None) -> str:
    """What a limit of queries does while it is in force: so many a second, and at once."""
    return _EFFECTS[Effect.LIMIT_DNS].format(rate=rate, burst=burst)


def _held(rule: MeasureRule) -> str:
    """What a detector has to see, in brackets; nothing where it has no figures of its own."""
    told = []
    if rule.share is not None and rule.window is not None:
        told.append(f"{rule.share:.0%} of the {rule.of} for {seconds(rule.window)}")
    told += [f"{octets(one.octets)} {'up' if one.up else 'down'} in {seconds(one.window)}" for one in rule.volumes]
    if rule.count is not None and rule.window is not None:
        told.append(f"{rule.count} connections in {seconds(rule.window)}")
    if rule.focus is not None:
        told[-1] += f", {rule.focus:.0%} of them to a few targets"
    if not told:
        return ""
    disturbed = ", while a segment is congested" if rule.detector is Detector.BANDWIDTH and rule.congested else ""
    return f" ({' or '.join(told)}{disturbed})"


def octets(number: int) -> str:
    """Octets as a pack writes them, in the largest unit that divides them: `15GB`."""
    units = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
    return next((f"{number // size}{unit}" for unit, size in units if number >= size and not number % size), f"{number}B")


def _credit(rule: CreditRule) -> Words:
    unit = f"{rule.unit:g}h"
    since = "from when the operator knew" if rule.from_knowledge else "from the failure"
    counted = f"each {unit} begun" if rule.begun_counts else f"each full {unit}"
    yearly = f", or 1/{rule.yearly_divisor} of a yearly one" if rule.yearly_divisor else ""
    words = [
        ("outage", f"of {rule.minimum:g}h or more, {since}"),
        ("credit", f"{counted}: 1/{rule.monthly_divisor} of a monthly fee{yearly}"),
    ]
    if rule.pays_loss:
        words.append(("loss", "where a customer shows a higher one, that"))
    if rule.cap is not None:
        words.append(("cap", f"{rule.cap:g} monthly fee{'' if rule.cap == 1 else 's'}"))
    words.append(("rounding", "less than a yen is dropped, once, at the end"))
    words.append(("claim", f"within {length(rule.claim)} of the day the outage ended" if rule.claim else "none is needed"))
    return words


def _record(record: Record) -> tuple[str, str]:
    return "record", f"{', '.join(record.fields)}; kept for {seconds(record.retention)}"
