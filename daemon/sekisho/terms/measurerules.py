"""The rules of a clause with a life cycle or a length of time: measures, credits, announcements, deliveries, emergencies.

Owns their keys, what is wrong within one, and the values they become. Lengths of time are data of the pack;
when one is over is the calendar's to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from sekisho.config.validation import FileModel, shown
from sekisho.config.values import Flag, Identifier, Length, Share, SomeSeconds, Whole
from sekisho.model.clauses import AnnouncementRule, CreditRule, Deemed, DeliveryRule, EmergencyRule, MeasureRule, NoticeTime
from sekisho.model.measures import Detector, Effect, Extent
from sekisho.terms.rules import ClauseId, RecordEntry, Wrong, no_such_clause, record_of

_FRACTION = re.compile(r"1 ?/ ?([1-9][0-9]{0,3})")
_NEEDS = {Effect.LIMIT_DNS: ("rate", "burst"), Effect.LIMIT_RATE: ("keep",)}
_HOUR = 3600.0


def _as_divisor(value: object) -> int:
    match = _FRACTION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected the part of the fee that one unit is worth, such as 1/30, found {shown(value)}")
    return int(match[1])


PartOfFee = Annotated[int, BeforeValidator(_as_divisor), WithJsonSchema({"type": "string", "pattern": f"^{_FRACTION.pattern}$"})]
Queries = Annotated[Whole, Field(ge=1, le=10_000_000)]


class TerminationEntry(FileModel):
    """From when on the contract may be terminated: raised as an event, never carried out."""

    clause: ClauseId
    """The clause that says so."""
    after: Length | None = None
    """How long after the measure came into force; left out: at the end of its fixed period."""


class MeasureEntry(FileModel):
    """A measure with a life cycle: a restriction, a suspension, a call."""

    kind: Literal["measure"]
    ground: Identifier
    """What the customer did or is, in a word: dns-overload, unpaid, misuse."""
    detector: Detector = Detector.OPERATOR
    """Who finds that the condition is there; left out: an operator. An operator may state every ground."""
    effect: Effect
    """What is done while it is in force."""
    extent: Extent
    """Whether the service is suspended in full or in part."""
    notice: NoticeTime
    """Whether the customer is told: none, before or after."""
    urgent: Flag = False
    """Whether in an emergency it is enforced at once and told afterwards."""
    lead: Length | None = None
    """Between a notice before and enforcement; left out: the document says no length."""
    period: Length | None = None
    """How long it is in force; left out: as long as the condition holds."""
    extension: Flag = False
    """Whether a period that is over is extended while the condition holds."""
    release_delay: Length | None = None
    """Between the end of the condition and lifting; the customer is told."""
    termination: TerminationEntry | None = None
    """From when on the contract may be terminated, and by which clause."""
    fees: Literal["continue", "stop"]
    """Whether fees go on while it is in force."""
    rate: Queries | None = None
    """Queries per second, of the effect limit-dns."""
    burst: Annotated[Whole, Field(ge=1, le=100_000_000)] | None = None
    """Queries that may come at once, likewise."""
    share: Share | None = None
    """Share of the line's capacity that has to be occupied, of the detector bandwidth."""
    window: SomeSeconds | None = None
    """For how long it has to be, likewise."""
    keep: Share | None = None
    """Share of the line's capacity that is kept, of the effect limit-rate."""
    connections: Annotated[Whole, Field(ge=0, le=100_000)] | None = None
    """Connections a minute to ports of mail (25, 465, 587) that are left, of the effect limit-mail; left out: 10."""
    record: RecordEntry
    """What is kept of the measure."""


class CreditEntry(FileModel):
    """The credit for an outage by the operator's fault. Less than a yen is dropped."""

    kind: Literal["credit"]
    minimum: SomeSeconds
    """An outage shorter than this is not counted."""
    unit: SomeSeconds
    """What counts as one."""
    begun_counts: Flag = False
    """Whether a unit that has begun counts as a whole one."""
    counted_from: Literal["failure", "knowledge"]
    """Whether the length counts from the failure or from when the operator knew."""
    monthly: PartOfFee
    """Part of the monthly fee that one unit is worth, such as 1/30."""
    yearly: PartOfFee | None = None
    """Part of the yearly fee, for contracts paid by the year."""
    cap: Annotated[float, Field(gt=0, le=120)] | None = None
    """At most so many monthly fees."""
    pays: Literal["formula", "loss"] = "formula"
    """`loss`: what is owed is the loss a customer shows, up to the cap, and the formula where none is shown."""
    claim: Length | None = None
    """Within which the customer has to claim it; left out: no claim is needed."""


class AnnouncementEntry(FileModel):
    """A lead time for what concerns everybody."""

    kind: Literal["announcement"]
    what: Identifier
    """What is announced, in a word: maintenance, discontinuation."""
    lead: Length | None = None
    """How long before; left out: beforehand, without a length."""
    urgent: Flag
    """Whether it may come later in an emergency."""


class DeliveryEntry(FileModel):
    """When a notice counts as delivered."""

    kind: Literal["delivery"]
    channel: Literal["email", "web"]
    """How it goes out."""
    deemed: Deemed
    """`sent`: with its sending; `accepted`: when the receiver's mail server has it; `readable`: when the posting can be read."""


class EmergencyEntry(FileModel):
    """In a disaster or emergency communications of public interest come first; others are limited."""

    kind: Literal["emergency"]
    rate: Queries
    """Queries per second that a customer without priority keeps."""
    burst: Annotated[Whole, Field(ge=1, le=100_000_000)]
    """Queries that may come at once."""


def measure_rule(clause: str, entry: MeasureEntry) -> MeasureRule:
    termination = entry.termination
    return MeasureRule(
        clause=clause,
        ground=entry.ground,
        detector=entry.detector,
        effect=entry.effect,
        extent=entry.extent,
        notice=entry.notice,
        urgent=entry.urgent,
        lead=entry.lead,
        period=entry.period,
        extension=entry.extension,
        release_delay=entry.release_delay,
        termination_after=termination.after if termination else None,
        termination_clause=termination.clause if termination else None,
        fees_continue=entry.fees == "continue",
        record=record_of(entry.record),
        rate=entry.rate,
        burst=entry.burst,
        share=entry.share,
        window=entry.window,
        keep=entry.keep,
        connections=entry.connections,
    )


def credit_rule(clause: str, entry: CreditEntry) -> CreditRule:
    return CreditRule(
        clause=clause,
        minimum=entry.minimum / _HOUR,
        unit=entry.unit / _HOUR,
        monthly_divisor=entry.monthly,
        yearly_divisor=entry.yearly,
        cap=entry.cap,
        claim=entry.claim,
        begun_counts=entry.begun_counts,
        from_knowledge=entry.counted_from == "knowledge",
        pays_loss=entry.pays == "loss",
    )


def announcement_rule(clause: str, entry: AnnouncementEntry) -> AnnouncementRule:
    return AnnouncementRule(clause, entry.what, entry.lead, entry.urgent)


def delivery_rule(clause: str, entry: DeliveryEntry) -> DeliveryRule:
    return DeliveryRule(clause, entry.channel, entry.deemed)


def emergency_rule(clause: str, entry: EmergencyEntry) -> EmergencyRule:
    return EmergencyRule(clause, entry.rate, entry.burst)


def measure_faults(rule: MeasureEntry, clauses: Collection[str]) -> Iterator[Wrong]:
    """What is wrong within a measure. `clauses` are the ids of the pack."""
    if rule.lead is not None and rule.notice is not NoticeTime.BEFORE:
        yield ("lead",), "lies between a notice and what it announces: say `notice: before`, or leave it out"
    if rule.urgent and rule.notice is not NoticeTime.BEFORE:
        yield ("urgent",), "is the exception from a notice before: say `notice: before`, or leave it out"
    if rule.extension and rule.period is None:
        yield ("extension",), "only a period can be extended: give `period`, or leave it out - the measure lasts as long as its condition"
    if rule.effect in {Effect.LIMIT_DNS, Effect.LIMIT_RATE, Effect.LIMIT_MAIL} and rule.extent is Extent.FULL:
        yield ("extent",), f"{rule.effect} leaves a part of the service: say `extent: partial`"
    if rule.termination is not None:
        yield from no_such_clause(rule.termination.clause, clauses, "termination", "clause")
        if rule.termination.after is None and rule.period is None:
            yield ("termination",), "from when on? give `after`, or a `period` at whose end it is"
    for effect, keys in _NEEDS.items():
        yield from _belong(rule, keys, rule.effect is effect, f"the effect {effect}")
    yield from _belong(rule, ("share", "window"), rule.detector is Detector.BANDWIDTH, f"the detector {Detector.BANDWIDTH}")
    if rule.connections is not None and rule.effect is not Effect.LIMIT_MAIL:
        yield ("connections",), f"belongs to the effect {Effect.LIMIT_MAIL} alone; leave it out"
    for key in ("share", "keep"):
        if getattr(rule, key) == 0:
            yield (key,), "is nothing at all; give a share such as 30%"


def _belong(rule: MeasureEntry, keys: tuple[str, ...], needed: bool, whose: str) -> Iterator[Wrong]:
    """Keys that one effect or detector has to have, and no other may."""
    for key in keys:
        if needed and getattr(rule, key) is None:
            yield (key,), f"the key is missing; {whose} needs it"
        elif not needed and getattr(rule, key) is not None:
            yield (key,), f"belongs to {whose} alone; leave it out"


def credit_faults(rule: CreditEntry) -> Iterator[Wrong]:
    if rule.unit < _HOUR:
        yield ("unit",), "is shorter than an hour; documents count hours or days, such as 24h"
    if rule.pays == "loss" and rule.cap is None:
        yield ("pays",), "a loss without a bound is a court's to say: give `cap`, or say `pays: formula`"
