"""What happened: acts of operators and customers, and matches of the plane.

An *act* is a durable, attributed fact of the ledger; state is the fold of acts. A *match* is what
proves that a blocking measure was applied: customer, clause, list, entry, time - no more.
Acts about measures and about notices are in `measureacts` and `noticeacts`; `ACTS` are all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, get_args

from sekisho.model.measureacts import (
    CustomerExempted,
    EmergencyDeclared,
    EmergencyEnded,
    EnforcementHeld,
    EnforcementResumed,
    ExemptionEnded,
    InterruptionAnnounced,
    MeasureExtended,
    MeasureMoved,
    MeasureOpened,
    MeasureSustained,
    OutageClosed,
    OutageOpened,
    TerminationEligible,
)
from sekisho.model.noticeacts import (
    AttentionMoved,
    AttentionOpened,
    LookedUp,
    NoticeDeferred,
    NoticeFailed,
    NoticeQueued,
    NoticeSent,
    NoticeTried,
)


@dataclass(frozen=True, slots=True)
class OptOutAdded:
    kind: ClassVar[str] = "optout-added"
    customer: str
    list: str
    by: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class OptOutRemoved:
    kind: ClassVar[str] = "optout-removed"
    customer: str
    list: str
    by: str


@dataclass(frozen=True, slots=True)
class CustomerAdded:
    """A customer added or replaced at run time; `record` is the customer file's own mapping."""

    kind: ClassVar[str] = "customer-added"
    customer: str
    record: dict[str, object]


@dataclass(frozen=True, slots=True)
class CustomerRemoved:
    kind: ClassVar[str] = "customer-removed"
    customer: str


@dataclass(frozen=True, slots=True)
class FeedAccepted:
    """The operator accepted a held version of a list, named by the digest of its content."""

    kind: ClassVar[str] = "feed-accepted"
    list: str
    version: str


@dataclass(frozen=True, slots=True)
class ExceptionAdded:
    """An over-blocked name let through on one list.

    `digest` is the hexadecimal keyed digest of the name; `name` is empty for a sealed list.
    """

    kind: ClassVar[str] = "exception-added"
    list: str
    digest: str
    depth: int
    triggers: int
    name: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ExceptionRemoved:
    kind: ClassVar[str] = "exception-removed"
    list: str
    digest: str


# The record itself


@dataclass(frozen=True, slots=True)
class PayloadsErased:
    """The personal content of events up to `through` whose retention is over was erased; the chain verifies without it."""

    kind: ClassVar[str] = "payloads-erased"
    through: int
    count: int
    events: list[list[int]] = field(default_factory=list)
    """Their numbers in runs, [first, last] each."""


Act = (
    OptOutAdded
    | OptOutRemoved
    | CustomerAdded
    | CustomerRemoved
    | FeedAccepted
    | ExceptionAdded
    | ExceptionRemoved
    | MeasureOpened
    | MeasureSustained
    | MeasureMoved
    | MeasureExtended
    | TerminationEligible
    | CustomerExempted
    | ExemptionEnded
    | EnforcementHeld
    | EnforcementResumed
    | EmergencyDeclared
    | EmergencyEnded
    | OutageOpened
    | OutageClosed
    | InterruptionAnnounced
    | NoticeQueued
    | NoticeTried
    | NoticeDeferred
    | NoticeSent
    | NoticeFailed
    | LookedUp
    | AttentionOpened
    | AttentionMoved
    | PayloadsErased
)

ACTS: tuple[type[Act], ...] = get_args(Act)


@dataclass(frozen=True, slots=True)
class RecordedAct:
    """An act as it stands in the ledger: number, time (UNIX seconds) and who did it."""

    number: int
    at: float
    actor: str
    act: Act


@dataclass(frozen=True, slots=True)
class Match:
    """One blocked query. `entry` is the hexadecimal keyed digest of the list's entry."""

    at: float
    customer: str
    clause: str
    list: str
    entry: str
    action: str
    count: int = 1
