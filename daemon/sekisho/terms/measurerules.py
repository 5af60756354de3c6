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
from sekisho.config.values import ByteCount, Flag, Identifier, Length, Share, SomeSeconds, Whole, as_some_seconds
from sekisho.model.clauses import (
    AnnouncementRule,
    Capacity,
    CreditRule,
    Deemed,
    DeliveryRule,
    EmergencyRule,
    MeasureRule,
    NoticeTime,
    Volume,
)
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


def _as_window(value: object) -> float:
    seconds = as_some_seconds(value)
    if not 300 <= seconds <= 30 * 86400:
        raise ValueError("a window of a volume has from 5m to 30d")
    return seconds


PartOfFee = Annotated[int, BeforeValidator(_as_divisor), WithJsonSchema({"type": "string", "pattern": f"^{_FRACTION.pattern}$"})]
Queries = Annotated[Whole, Field(ge=1, le=10_000_000)]


class TerminationEntry(FileModel):
    """From when on the contract may be terminated: raised as an event, never carried out."""

    clause: ClauseId
    """The clause that says so."""
    after: Length | None = None
    """How long after the measure came into force; left out: at the end of its fixed period."""
    notice: Flag = False
    """Whether the customer is told that it may be."""


class VolumeEntry(FileModel):
    """So much within a time, in one direction."""

    up: ByteCount | None = None
    """Octets from the customer, or"""
    down: ByteCount | None = None
    """octets towards them: one of the two."""
    window: Annotated[SomeSeconds, BeforeValidator(_as_window)]
    """Within how long, 5m to 30d."""


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
    of: Capacity = Capacity.LINE
    """What the share is of: the access line, or the smallest shared segment it is on."""
    volumes: tuple[VolumeEntry, ...] = ()
    """Volumes any of which is enough, beside the share, of the detector bandwidth."""
    congested: Flag = True
    """Whether a shared segment has to be congested, likewise; false: whether or not others are disturbed."""
    count: Annotated[Whole, Field(ge=1, le=100_000_000)] | None = None
    """New connections within the window, of the detectors mail-volume and connection-storm."""
    focus: Share | None = None
    """Share of them that went to a few targets, of the detector connection-storm."""
    share: Share | None = None
    """Share of the capacity that has to be occupied, of the detector bandwidth."""
    window: SomeSeconds | None = None
    """Over how long: 5m to 30d of the detector bandwidth, 1m to 24h of mail-volume and connection-storm."""
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
    """Part of the yearly fee, for contracts paid by the year; left out: of a twelfth of it, which is the monthly fee then."""
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
        termination_notice=termination.notice if termination else False,
        fees_continue=entry.fees == "continue",
        record=record_of(entry.record),
        rate=entry.rate,
        burst=entry.burst,
        of=entry.of,
        volumes=tuple(Volume(one.up or one.down or 0, one.up is not None, one.window) for one in entry.volumes),
        congested=entry.congested,
        count=entry.count,
        focus=entry.focus,
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
    yield from _detector_faults(rule)
    if rule.connections is not None and rule.effect is not Effect.LIMIT_MAIL:
        yield ("connections",), f"belongs to the effect {Effect.LIMIT_MAIL} alone; leave it out"
    for key in ("share", "keep", "focus"):
        if getattr(rule, key) == 0:
            yield (key,), "is nothing at all; give a share such as 30%"


def _detector_faults(rule: MeasureEntry) -> Iterator[Wrong]:
    """What the figures of a rule have to be for the detector it names."""
    bandwidth, counting = rule.detector is Detector.BANDWIDTH, rule.detector in {Detector.MAIL_VOLUME, Detector.CONNECTION_STORM}
    whose = f"the detector {Detector.BANDWIDTH}"
    if bandwidth and rule.share is None and not rule.volumes:
        yield ("share",), f"the key is missing; {whose} needs it, or `volumes`"
    if not bandwidth:
        for key in ("share", "volumes", "of", "congested"):
            if getattr(rule, key) != MeasureEntry.model_fields[key].get_default():
                yield (key,), f"belongs to {whose} alone; leave it out"
    for index, one in enumerate(rule.volumes):
        if (one.up is None) == (one.down is None):
            yield ("volumes",), f"the volume at place {index + 1} needs one direction: `up` or `down`"
    yield from _belong(rule, ("count",), counting, f"the detectors {Detector.MAIL_VOLUME} and {Detector.CONNECTION_STORM}")
    yield from _belong(rule, ("focus",), rule.detector is Detector.CONNECTION_STORM, f"the detector {Detector.CONNECTION_STORM}")
    timed = counting or (bandwidth and rule.share is not None)
    yield from _belong(
        rule, ("window",), timed, f"a share of the detector {Detector.BANDWIDTH}, or a count of another," if not timed else whose
    )
    least, most = (300, 30 * 86400) if bandwidth else (60, 86400)
    if timed and rule.window is not None and not least <= rule.window <= most:
        yield ("window",), f"is of {least // 60} minutes to {most // 86400} days; give one between"


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
