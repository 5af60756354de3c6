"""Acts about notices, look-ups and attention calls.

`model.events` says what an act is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


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
