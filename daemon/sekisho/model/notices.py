"""Notices and attention calls as the fold of the ledger knows them. Times are UNIX seconds.

queued ─► tried ─► sent            one attempt, and the receiver's side took it
   │        │  ◄─► deferred        it did not for now: tried again
   │        └────► failed          bounced, or given up
   └─► told                        a digest tells it together with others
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sekisho.model.measures import Occasion


class Channel(enum.StrEnum):
    """The way a notice goes."""

    EMAIL = "email"
    WEB = "web"
    """A page: the customer's own, or the page of announcements."""
    WEBHOOK = "webhook"
    """A system of the operator's."""
    OBSERVE = "observe"
    """Nowhere: the measure is observed only, and the record says what would have been told."""
    NONE = "none"
    """No way leads to the customer."""


class NoticeState(enum.StrEnum):
    QUEUED = "queued"
    TRIED = "tried"
    DEFERRED = "deferred"
    TOLD = "told"
    SENT = "sent"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Something is to be done about it yet."""
        return self in {NoticeState.QUEUED, NoticeState.TRIED, NoticeState.DEFERRED}


class Ending(enum.StrEnum):
    """How a notice failed."""

    BOUNCED = "bounced"
    GIVEN_UP = "given-up"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice by one channel. `id` is given when it is queued and never reused."""

    id: str
    customer: str
    """Empty: an announcement to everybody."""
    subject: str
    clause: str
    occasion: Occasion
    channel: Channel
    address: str
    queued_at: float
    order: str = ""
    digest_of: tuple[str, ...] = ()
    state: NoticeState = NoticeState.QUEUED
    since: float = 0.0
    """Entered this state."""
    attempts: int = 0
    next_at: float = 0.0
    """Not tried before."""
    uncertain: bool = False
    """An attempt whose outcome is unknown may have reached the customer."""
    deemed_at: float | None = None
    """When it counts, or will count, as delivered; None: not known, or never."""
    told_by: str = ""
    """The digest that tells it."""
    detail: str = ""
    """Why it was deferred or failed."""


@dataclass(frozen=True, slots=True)
class Bounce:
    """An address of a customer's that does not work, until mail reaches the customer again."""

    address: str
    at: float
    detail: str


class CallState(enum.StrEnum):
    OPEN = "open"
    SENT = "sent"
    ANSWERED = "answered"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One attention call: whose address it was at `at`, and how far the call went."""

    id: str
    customer: str
    clause: str
    address: str
    port: int | None
    at: float
    report: str
    opened_at: float
    state: CallState = CallState.OPEN
    since: float = 0.0
    """Entered this state."""
    reason: str = ""
