"""Measures: what a clause authorises against a customer, what opens one, and where it stands.

A *finding* (detector or operator, clause, customer, evidence) opens or sustains a *measure*; the
`MeasureRule` of the customer's terms says all that differs between documents. Times are UNIX seconds.

    found ─► noticed ─► in force ─► ending ─► lifted
       │  (urgent: straight)  │  ▲________│ (condition back)
       └─► dismissed          └─► extended · termination-eligible (raised once, never carried out)
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

Evidence = Mapping[str, float | int | str]
"""What proves a finding: counts, shares, thresholds, words of closed sets. Never a queried name."""


class Detector(enum.StrEnum):
    """Who finds that the condition of a clause is there."""

    OPERATOR = "operator"
    DNS_OVERLOAD = "dns-overload"
    BANDWIDTH = "bandwidth"
    DUPLICATE_LOGIN = "duplicate-login"
    MAIL_VOLUME = "mail-volume"
    CONNECTION_STORM = "connection-storm"
    UNREACHABLE = "unreachable"


class Effect(enum.StrEnum):
    """What a measure does to the customer while it is in force."""

    SILENCE = "silence"
    """No DNS query is answered."""
    WALLED_GARDEN = "walled-garden"
    """Names are answered with the address of the notice page."""
    LIMIT_DNS = "limit-dns"
    """A hard query budget of the rule's own."""
    LIMIT_RATE = "limit-rate"
    """The line's speed is limited."""
    LIMIT_MAIL = "limit-mail"
    """The sending of mail is limited."""
    BY_HAND = "by-hand"
    """An operator carries it out elsewhere; recorded and noticed here."""


class Extent(enum.StrEnum):
    FULL = "full"
    PARTIAL = "partial"


class Unit(enum.StrEnum):
    SECONDS = "seconds"
    DAYS = "days"
    BUSINESS_DAYS = "business-days"
    """Days that are neither weekend nor public holiday in Japan."""
    MONTHS = "months"


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time as a document says it; when it ends is the calendar's to say."""

    amount: float
    unit: Unit


class MeasureState(enum.StrEnum):
    FOUND = "found"
    NOTICED = "noticed"
    IN_FORCE = "in-force"
    ENDING = "ending"
    LIFTED = "lifted"
    DISMISSED = "dismissed"

    @property
    def is_open(self) -> bool:
        return self not in {MeasureState.LIFTED, MeasureState.DISMISSED}


class Cause(enum.StrEnum):
    """Why a measure moved from one state to another."""

    CONDITION = "condition"
    """The condition of the clause came, or came back."""
    CONDITION_GONE = "condition-gone"
    NOTICE_DUE = "notice-due"
    NOTICE_DELIVERED = "notice-delivered"
    """The notice counts as delivered: the lead time runs."""
    LEAD_TIME_OVER = "lead-time-over"
    URGENT = "urgent"
    PERIOD_OVER = "period-over"
    RELEASE_DELAY_OVER = "release-delay-over"
    OPERATOR = "operator"
    EXEMPTED = "exempted"
    TERMS_CHANGED = "terms-changed"
    MODE_CHANGED = "mode-changed"
    """It was observed only, and its clause is enforced from now on: what is found anew starts with its notice."""


class Occasion(enum.StrEnum):
    """What a customer is told of a measure."""

    BEFORE = "before"
    """It will be in force, and why."""
    IN_FORCE = "in-force"
    EXTENDED = "extended"
    ENDING = "ending"
    """The condition is gone; when it will be lifted."""
    IN_FORCE_AGAIN = "in-force-again"
    """The condition came back before it was lifted."""
    LIFTED = "lifted"
    WITHDRAWN = "withdrawn"
    """What was announced will not be in force after all."""
    ANNOUNCEMENT = "announcement"
    """An interruption, for everybody whose terms are named."""
    TERMINATION_ELIGIBLE = "termination-eligible"
    """The contract may be terminated, and what keeps it from that."""
    ATTENTION = "attention"
    """An attention call: something of the customer's is in danger or a danger."""
    EMERGENCY = "emergency"
    """Communications of public interest come first."""
    C2_BLOCK = "c2-block"
    """What the blocking of C&C servers is, and how to opt out."""
    DIGEST = "digest"
    """Several notices in one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The condition of a clause is there for a customer, as of `at`, seen over `window` seconds."""

    detector: Detector
    clause: str
    customer: str
    at: float
    window: float = 0.0
    evidence: Evidence = field(default_factory=dict)
    urgent: bool = False
    """Equipment or third parties are in danger: where the clause knows an urgent exception, it applies."""


@dataclass(frozen=True, slots=True)
class ConditionGone:
    """The condition of a clause, which was there for a customer, is no more, as of `at`."""

    detector: Detector
    clause: str
    customer: str
    at: float
    evidence: Evidence = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure, as the fold of the ledger knows it. `id` is given when it is opened and never reused."""

    id: str
    clause: str
    customer: str
    detector: Detector
    state: MeasureState
    since: float
    """Entered this state."""
    opened_at: float
    evidence: Evidence
    observe: bool
    """All but the enforcing."""
    urgent: bool
    condition_at: float
    """When the condition was last known to be there."""
    enforced_at: float | None = None
    """First in force."""
    until: float | None = None
    """End of the period, of the lead time or of the release delay, whichever runs in this state; None: none does."""
    extensions: int = 0
    termination_eligible: bool = False
    reason: str = ""
    """What an operator wrote, for a measure opened or moved by hand."""
    gone_at: float | None = None
    """Since when the condition is known to be gone; None: it is there, as far as is known."""
    cause: Cause = Cause.CONDITION
    """Why it entered this state."""


@dataclass(frozen=True, slots=True)
class NoticeOrder:
    """A notice that is owed, since an act of the ledger made at `at`. Ordering it twice is ordering it once."""

    measure: str
    """The measure, the attention call, or the interruption of an announcement."""
    customer: str
    """Empty for an announcement: it concerns everybody whose terms have the clause."""
    clause: str
    occasion: Occasion
    at: float
    observe: bool = False
    """The measure is observed only: what the notice says is not so for the customer."""

    @property
    def key(self) -> str:
        """Equal for one order and no other, over restarts. What is posted stands under each clause by itself."""
        about = self.measure if self.customer else f"{self.measure}/{self.clause}"
        return f"{about}/{self.occasion}/{round(self.at * 1_000_000)}"


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What is done to one customer for all measures together: the strictest of what is in force.

    Who is silenced has neither garden nor budget. Silence, garden and budget are the plane's to do; a line's speed and
    the sending of mail are the kernel's or the NAS's.
    """

    silenced: bool = False
    """No query is answered."""
    garden: bool = False
    """Names are answered with the address of the notice page."""
    budget: tuple[int, int] | None = None
    """Rate (queries per second) and burst (queries) at most."""
    rate: tuple[int, int] | None = None
    """Speed of the line at most: bit/s towards the customer, and from them."""
    mail: int | None = None
    """Connections a minute to ports of mail (25, 465, 587) at most; 0: none."""
    by: tuple[str, ...] = ()
    """Clause ids, those of what is done first."""


NONE = Enforcement()


@dataclass(frozen=True, slots=True)
class Exemption:
    """An operator's exemption of a customer from a clause. Times are UNIX seconds; `until` None: for good."""

    customer: str
    clause: str
    reason: str
    by: str
    since: float
    until: float | None = None

    def in_force(self, now: float) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is enforced by any measure."""

    since: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Emergency:
    """Communications of public interest come first, under each of `clauses`, until `until`."""

    clauses: tuple[str, ...]
    since: float
    until: float
    priority: tuple[str, ...]
    """Customers and groups that go on unlimited."""
    by: str
    reason: str

    @property
    def id(self) -> str:
        """What its notices are about."""
        return f"emergency-{round(self.since * 1_000_000)}"


@dataclass(frozen=True, slots=True)
class Outage:
    """A failure of the operator's. `affected`: customers, groups or packs; empty: everybody."""

    id: str
    since: float
    until: float | None
    affected: tuple[str, ...]
    reason: str
    known: float
    """When the operator knew of it."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """An interruption that was announced, such as maintenance. `until` None: for good."""

    id: str
    what: str
    packs: tuple[str, ...]
    since: float
    until: float | None
    announced_at: float
    urgent: bool
    reason: str
