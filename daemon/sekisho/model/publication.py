"""What of the record is published to other systems: the type of each act's event, and what is withheld.

Owns the closed set of event types and the fields no event carries. How an event is written down is
the exporters'; which types a sink takes is its configuration's. A type is named by its word
(`measure.in-force`); the full name puts `jp.sekisho.` before it and the version behind it.

An event tells that something changed and for whom. It never carries a name of the DNS, an address of
a customer's at a time, a mail address or a customer's record: who may know these asks the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from sekisho.model.events import (
    Act,
    CustomerAdded,
    CustomerRemoved,
    ExceptionAdded,
    ExceptionRemoved,
    FeedAccepted,
    OptOutAdded,
    OptOutRemoved,
    PayloadsErased,
)
from sekisho.model.eventtypes import PREFIX, VERSION, WORDS
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
from sekisho.model.measures import MeasureState
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

_A_NAME = "it is a name of the DNS, or may have one in it"
_PERSONAL = "personal data an event has no need of"
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Published:
    """How acts of one kind are published: words of their types, and fields withheld with the reason."""

    words: tuple[str, ...]
    withheld: Mapping[str, str] = field(default_factory=lambda: _NONE)
    by_state: bool = False
    """The word's last part is the act's `state`."""


PUBLISHED: Mapping[type[Act], Published] = MappingProxyType(
    {
        OptOutAdded: Published(("optout.added",)),
        OptOutRemoved: Published(("optout.removed",)),
        CustomerAdded: Published(("customer.added",), {"record": _PERSONAL}),
        CustomerRemoved: Published(("customer.removed",)),
        FeedAccepted: Published(("list.accepted",)),
        ExceptionAdded: Published(("exception.added",), {"name": _A_NAME, "reason": _A_NAME}),
        ExceptionRemoved: Published(("exception.removed",)),
        MeasureOpened: Published(("measure.found",)),
        MeasureMoved: Published(tuple(f"measure.{state}" for state in MeasureState), by_state=True),
        MeasureExtended: Published(("measure.extended",)),
        TerminationEligible: Published(("measure.termination-eligible",)),
        CustomerExempted: Published(("exemption.added",)),
        ExemptionEnded: Published(("exemption.ended",)),
        EnforcementHeld: Published(("enforcement.held",)),
        EnforcementResumed: Published(("enforcement.resumed",)),
        EmergencyDeclared: Published(("emergency.declared",)),
        EmergencyEnded: Published(("emergency.ended",)),
        OutageOpened: Published(("outage.opened",)),
        OutageClosed: Published(("outage.closed",)),
        InterruptionAnnounced: Published(("interruption.announced",)),
        NoticeQueued: Published(("notice.queued",), {"address": _PERSONAL, "order": "it is the daemon's own key of what is owed"}),
        NoticeSent: Published(("notice.sent",)),
        NoticeFailed: Published(("notice.failed",), {"detail": "a mail server's words have the address in them", "address": _PERSONAL}),
        AttentionOpened: Published(("attention.opened",), {"address": _PERSONAL, "at": _PERSONAL, "port": _PERSONAL}),
        AttentionMoved: Published(("attention.sent", "attention.answered", "attention.closed"), by_state=True),
        PayloadsErased: Published(("ledger.payloads-erased",)),
    }
)

UNPUBLISHED: Mapping[type[Act], str] = MappingProxyType(
    {
        MeasureSustained: "the measure stays where it is",
        NoticeTried: "what came of the attempt is published",
        NoticeDeferred: "the notice is tried again; what comes of it is published",
        LookedUp: "a question changes nothing, and its answer is for who asked; a call it leads to is published",
    }
)
"""Acts that change no state, with the reason."""


_FIELDS: Mapping[type[Act], tuple[str, ...]] = MappingProxyType(
    {act: tuple(one.name for one in fields(act) if one.name not in how.withheld) for act, how in PUBLISHED.items()}
)


def word_of(act: Act) -> str | None:
    """The word of an act's event type, or None for an act that is not published."""
    published = PUBLISHED.get(type(act))
    if published is None:
        return None
    if not published.by_state:
        return published.words[0]
    return f"{published.words[0].partition('.')[0]}.{getattr(act, 'state')}"  # noqa: B009 - which acts have one is in the table


def type_of(word: str) -> str:
    """`jp.sekisho.measure.in-force.v1`."""
    return f"{PREFIX}{word}.{VERSION}"


def published_fields(act: type[Act]) -> tuple[str, ...]:
    """The fields of an act that its events carry, in order."""
    return _FIELDS[act]


def words_named(names: Iterable[str]) -> frozenset[str]:
    """The words that words and groups name; all of them where none is named."""
    wanted = frozenset(names)
    return frozenset(word for word in WORDS if not wanted or word in wanted or word.partition(".")[0] in wanted)
