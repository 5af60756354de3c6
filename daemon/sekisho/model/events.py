"""What happened: acts of operators and customers, and matches of the plane.

An *act* is a durable, attributed fact of the ledger; state is the fold of acts. A *match* is what
proves that a blocking measure was applied: customer, clause, list, entry, time - no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, get_args


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


# Measures


@dataclass(frozen=True, slots=True)
class MeasureOpened:
    """A finding that opens a measure, which is `found` from then on."""

    kind: ClassVar[str] = "measure-opened"
    measure: str
    customer: str
    clause: str
    detector: str
    evidence: dict[str, float | int | str]
    observe: bool
    urgent: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeasureSustained:
    """The condition is there still; recorded now and then, not for every window."""

    kind: ClassVar[str] = "measure-sustained"
    measure: str
    customer: str
    evidence: dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class MeasureMoved:
    """A measure entered `state` for `cause`; `until` as in `model.measures.Measure`."""

    kind: ClassVar[str] = "measure-moved"
    measure: str
    customer: str
    state: str
    cause: str
    until: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeasureExtended:
    kind: ClassVar[str] = "measure-extended"
    measure: str
    customer: str
    until: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TerminationEligible:
    """The contract may be terminated under `clause`; said once for a measure, and nothing is done about it."""

    kind: ClassVar[str] = "termination-eligible"
    measure: str
    customer: str
    clause: str


@dataclass(frozen=True, slots=True)
class CustomerExempted:
    """An operator's exemption from a clause that authorises measures, which closes open ones of that clause."""

    kind: ClassVar[str] = "customer-exempted"
    customer: str
    clause: str
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class ExemptionEnded:
    kind: ClassVar[str] = "exemption-ended"
    customer: str
    clause: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EnforcementHeld:
    """Nothing is enforced by any measure until it is resumed."""

    kind: ClassVar[str] = "enforcement-held"
    reason: str


@dataclass(frozen=True, slots=True)
class EnforcementResumed:
    kind: ClassVar[str] = "enforcement-resumed"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EmergencyDeclared:
    """Communications of public interest come first: `priority` names customers and groups that go on unlimited."""

    kind: ClassVar[str] = "emergency-declared"
    clauses: list[str]
    until: float
    priority: list[str]
    reason: str


@dataclass(frozen=True, slots=True)
class EmergencyEnded:
    kind: ClassVar[str] = "emergency-ended"
    reason: str = ""


# Outages and announcements


@dataclass(frozen=True, slots=True)
class OutageOpened:
    """A failure of the operator's; `affected` names customers, groups or packs, empty: everybody."""

    kind: ClassVar[str] = "outage-opened"
    outage: str
    since: float
    affected: list[str]
    reason: str
    known: float | None = None
    """When the operator knew of it; None: from its beginning on."""


@dataclass(frozen=True, slots=True)
class OutageClosed:
    kind: ClassVar[str] = "outage-closed"
    outage: str
    at: float


@dataclass(frozen=True, slots=True)
class InterruptionAnnounced:
    """An interruption (maintenance, discontinuation) from `since` to `until`, announced for the packs named."""

    kind: ClassVar[str] = "interruption-announced"
    interruption: str
    what: str
    packs: list[str]
    since: float
    until: float | None
    urgent: bool
    reason: str


# Notices and attention calls


@dataclass(frozen=True, slots=True)
class NoticeQueued:
    """A notice that has to go out. `subject` is the measure, call or announcement it is about; `occasion` the template."""

    kind: ClassVar[str] = "notice-queued"
    notice: str
    customer: str
    subject: str
    clause: str
    occasion: str
    channel: str
    address: str
    """Of mail; of a posting where it can be read, if that was known then; otherwise empty."""
    digest_of: list[str]
    """Notices this one tells together, where several came at once."""
    order: str = ""
    """The key of the order it carries out (`NoticeOrder.key`)."""


@dataclass(frozen=True, slots=True)
class NoticeTried:
    """About to be handed over: a crash between this and the outcome is told as one unconfirmed send."""

    kind: ClassVar[str] = "notice-tried"
    notice: str
    customer: str
    attempt: int
    unconfirmed: bool = False
    """The attempt before may have succeeded."""


@dataclass(frozen=True, slots=True)
class NoticeDeferred:
    """The attempt failed for the time being; the next one is not before `until`."""

    kind: ClassVar[str] = "notice-deferred"
    notice: str
    customer: str
    until: float
    detail: str
    uncertain: bool = False
    """Whether it was taken is not known: the connection broke off after all of it was handed over."""


@dataclass(frozen=True, slots=True)
class NoticeSent:
    """Handed over; `deemed_at` is when it counts as delivered under the pack's rule, if that is known."""

    kind: ClassVar[str] = "notice-sent"
    notice: str
    customer: str
    deemed_at: float | None


@dataclass(frozen=True, slots=True)
class NoticeFailed:
    """`outcome`: `bounced` (the address does not work) or `given-up` (tried for too long)."""

    kind: ClassVar[str] = "notice-failed"
    notice: str
    customer: str
    outcome: str
    detail: str
    address: str = ""
    """The address that does not work, of an outcome `bounced`. A bounce of no notice on record has an empty `notice`."""


@dataclass(frozen=True, slots=True)
class LookedUp:
    """Whose address it was at a time: every such question is on the record, with why. `customer` empty: unknown or ambiguous."""

    kind: ClassVar[str] = "looked-up"
    address: str
    port: int | None
    at: float
    why: str
    clause: str
    customer: str
    outcome: str


@dataclass(frozen=True, slots=True)
class AttentionOpened:
    kind: ClassVar[str] = "attention-opened"
    call: str
    customer: str
    clause: str
    address: str
    at: float
    report: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class AttentionMoved:
    """`state`: sent, answered or closed."""

    kind: ClassVar[str] = "attention-moved"
    call: str
    customer: str
    state: str
    reason: str = ""


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
