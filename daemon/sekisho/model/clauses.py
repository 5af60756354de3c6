"""Terms packs: clauses, what they say, and the rules they authorise.

A pack encodes one terms document. No clause, no measure: a rule reaches a customer only through
a pack of the customer's terms.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sekisho.model.lists import Action
from sekisho.model.measures import Detector, Effect, Extent, Span


class RuleKind(enum.StrEnum):
    DNS_BLOCK = "dns-block"
    DNS_BUDGET = "dns-budget"
    MEASURE = "measure"
    CREDIT = "credit"
    ANNOUNCEMENT = "announcement"
    DELIVERY = "delivery"
    EMERGENCY = "emergency"


class OptOut(enum.StrEnum):
    """Who may lift a rule for a customer."""

    CUSTOMER = "customer"
    NOBODY = "nobody"


class NoticeTime(enum.StrEnum):
    NONE = "none"
    BEFORE = "before"
    AFTER = "after"


class Ede(enum.IntEnum):
    """Extended DNS Error codes of a blocked answer (RFC 8914)."""

    BLOCKED = 15
    CENSORED = 16
    FILTERED = 17


class OverBudget(enum.StrEnum):
    DROP = "drop"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a decision and how long (seconds)."""

    fields: tuple[str, ...]
    retention: float


@dataclass(frozen=True, slots=True)
class BlockRule:
    """Authorises cutting off name resolution for lists of the given categories."""

    clause: str
    categories: tuple[str, ...]
    answer: Action | None
    opt_out: OptOut
    consent_required: bool
    consent_versions: tuple[str, ...]
    """Terms versions whose consent covers the rule; empty: any."""
    notice: NoticeTime
    ede: Ede
    record: Record
    opt_out_clause: str | None = None
    """The clause that gives the opt-out, where it is another one (`gunma/別記-3`)."""
    consent_clause: str | None = None
    """The clause that requires the consent, likewise (`gunma/別記-2`)."""
    check_cnames: bool = False
    """Whether the aliases (CNAME) an answer goes through are looked up in the lists as the name itself is."""

    @property
    def mandatory(self) -> bool:
        """A rule nobody can opt out of is asked first and wins (verdict step 5)."""
        return self.opt_out is OptOut.NOBODY


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """Authorises a hard query budget: a token bucket per customer."""

    clause: str
    rate: int
    """Queries per second."""
    burst: int
    """Queries."""
    over: OverBudget
    notice: NoticeTime
    record: Record


class Capacity(enum.StrEnum):
    """Whose capacity a share is of."""

    LINE = "line"
    """The customer's access line."""
    SEGMENT = "segment"
    """The smallest shared segment the line is on."""


@dataclass(frozen=True, slots=True)
class Volume:
    """So many octets in `window` seconds, in one direction: from the customer (`up`), or towards them."""

    octets: int
    up: bool
    window: float


@dataclass(frozen=True, slots=True)
class MeasureRule:
    """Authorises a measure with a life cycle: a restriction, a suspension, a call."""

    clause: str
    ground: str
    """What the clause is about, in a word the pack chooses: `dns-overload`, `unpaid`, `misuse`."""
    detector: Detector
    effect: Effect
    extent: Extent
    notice: NoticeTime
    urgent: bool
    """In an emergency it is enforced first and noticed after, or not at all where `notice` is none."""
    lead: Span | None
    """Between notice and enforcement, where notice comes before."""
    period: Span | None
    """How long it is in force; None: as long as the condition holds."""
    extension: bool
    """Whether a period that is over is extended while the condition holds."""
    release_delay: Span | None
    """Between the end of the condition and lifting."""
    termination_after: Span | None
    """From enforcement on, after which the contract may be terminated: raised, never carried out."""
    termination_clause: str | None
    fees_continue: bool
    record: Record
    rate: int | None = None
    """Queries per second, of the effect `limit-dns`."""
    burst: int | None = None
    of: Capacity = Capacity.LINE
    """What `share` is a share of."""
    volumes: tuple[Volume, ...] = ()
    """Any of which is enough, beside `share`, of the detector `bandwidth`."""
    congested: bool = True
    """Whether a shared segment the line is on has to be congested, likewise."""
    count: int | None = None
    """New connections within `window`, of the detectors `mail-volume` and `connection-storm`."""
    focus: float | None = None
    """Share of them that went to a few targets, of the detector `connection-storm`."""
    share: float | None = None
    """Of the capacity that has to be occupied, of the detector `bandwidth`."""
    window: float | None = None
    """Seconds over which it has to be."""
    keep: float | None = None
    """Share of the line's capacity that the customer keeps, of the effect `limit-rate`."""
    termination_notice: bool = False
    """Whether the customer is told that the contract may be terminated."""
    connections: int | None = None
    """Connections a minute to ports of mail that are left, of the effect `limit-mail`; None: the usual few."""


@dataclass(frozen=True, slots=True)
class CreditRule:
    """Credit for an outage by the operator's fault.

    `floor(length / unit) x fee / divisor` yen for a contract paid `monthly` or `yearly`, for an outage of at least
    `minimum` hours; at most `cap` monthly fees. Less than a yen is dropped.
    """

    clause: str
    minimum: float
    """Hours."""
    unit: float
    """Hours that count as one."""
    monthly_divisor: int
    yearly_divisor: int | None
    """None: a twelfth of a year's fee is the month's."""
    cap: float | None
    claim: Span | None
    """Within which it has to be claimed; None: no claim is needed."""
    begun_counts: bool = False
    """A unit that has begun counts as a whole one: the length is rounded up."""
    from_knowledge: bool = False
    """The length counts from when the operator knew, not from when the service failed."""
    pays_loss: bool = False
    """What is owed is the customer's loss, up to the cap; the formula where none is shown."""


@dataclass(frozen=True, slots=True)
class AnnouncementRule:
    """A lead time for what concerns everybody: maintenance, discontinuation, a change of the terms."""

    clause: str
    what: str
    """A word of the pack: `maintenance`, `discontinuation`."""
    lead: Span | None
    """None: beforehand, without a length."""
    urgent: bool
    """Whether it may come later in an emergency."""


class Deemed(enum.StrEnum):
    """When a notice counts as delivered."""

    SENT = "sent"
    ACCEPTED = "accepted"
    """It reached the receiver's mail server."""
    READABLE = "readable"
    """A posting can be read."""


@dataclass(frozen=True, slots=True)
class DeliveryRule:
    clause: str
    channel: str
    """`email` or `web`."""
    deemed: Deemed


@dataclass(frozen=True, slots=True)
class EmergencyRule:
    """In a disaster or emergency communications of public interest come first and others are limited."""

    clause: str
    rate: int
    """Queries per second that a customer without priority keeps."""
    burst: int


Rule = BlockRule | BudgetRule | MeasureRule | CreditRule | AnnouncementRule | DeliveryRule | EmergencyRule


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: its id (`gunma/別記-1`), article and short statement in both languages."""

    id: str
    article: str
    ja: str
    en: str
    rules: tuple[Rule, ...] = ()
    informative: str = ""
    """Why no machine enforces it, for a clause without rules; for one that bounds others, how their rules keep to it."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One terms document. `version` is the document's own date or number."""

    id: str
    title: str
    operator: str
    version: str
    clauses: tuple[Clause, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for clause in self.clauses for rule in clause.rules)

    def clause(self, clause_id: str) -> Clause | None:
        return next((clause for clause in self.clauses if clause.id == clause_id), None)


@dataclass(frozen=True, slots=True)
class Profile:
    """What one combination of terms authorises, list by list.

    `block[order]` is the rule under which the list of that order may be enforced, or None. Where
    several clauses of the stacked contracts cover a list, a mandatory one wins, then the first.
    `budget` is the strictest budget of the contracts, or None: no clause, no measure.
    """

    terms: tuple[str, ...]
    block: tuple[BlockRule | None, ...]
    budget: BudgetRule | None
