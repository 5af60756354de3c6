"""Which payloads may be erased: their time is over, and no fold needs them any more.

Acts about one thing - an opt-out, a measure, a notice - are one *subject*. Two rules say what of a
subject may go, so that the fold of what is left is the state there was, without what is over:

* `LAST_WORD`: each act replaces the one before (opt-outs, customers' records, exemptions). An act
  goes once its retention has passed since it was replaced, the last one once it has passed since
  that ended by itself, and none before those in front of it: a removal that went first would bring
  back what it removed.
* `WHOLE`: the acts build on each other (measures, notices, calls, outages). They go together, once
  the subject is closed and the retention of each has passed since the last of them.

Times past are told by the acts and by `now`; what is erasable stays so.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sekisho.model.events import Act, CustomerAdded, CustomerRemoved, OptOutAdded, OptOutRemoved, RecordedAct
from sekisho.model.measureacts import (
    CustomerExempted,
    ExemptionEnded,
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


class Rule(enum.Enum):
    LAST_WORD = "last-word"
    WHOLE = "whole"


class Subject(NamedTuple):
    """What acts are about: `("opt-out", ("c-1", "c2"))`, `("measure", ("m-7",))`."""

    group: str
    key: tuple[str, ...]


_SUBJECTS: Mapping[type[Act], tuple[str, tuple[str, ...]]] = {
    OptOutAdded: ("opt-out", ("customer", "list")),
    OptOutRemoved: ("opt-out", ("customer", "list")),
    CustomerAdded: ("customer", ("customer",)),
    CustomerRemoved: ("customer", ("customer",)),
    CustomerExempted: ("exemption", ("customer", "clause")),
    ExemptionEnded: ("exemption", ("customer", "clause")),
    MeasureOpened: ("measure", ("measure",)),
    MeasureSustained: ("measure", ("measure",)),
    MeasureMoved: ("measure", ("measure",)),
    MeasureExtended: ("measure", ("measure",)),
    TerminationEligible: ("measure", ("measure",)),
    NoticeQueued: ("notice", ("notice",)),
    NoticeDeferred: ("notice", ("notice",)),
    NoticeTried: ("notice", ("notice",)),
    NoticeSent: ("notice", ("notice",)),
    NoticeFailed: ("notice", ("notice",)),
    AttentionOpened: ("attention", ("call",)),
    AttentionMoved: ("attention", ("call",)),
    OutageOpened: ("outage", ("outage",)),
    OutageClosed: ("outage", ("outage",)),
    LookedUp: ("look-up", ()),
}
"""Act -> the group of its subject, and the fields that say which one. An act without fields is a subject of its own."""
KINDS = frozenset(act.kind for act in _SUBJECTS)
"""Acts whose content may be erased. Those about one thing are judged together, also where only some are kept for a time."""
_LAST_WORD = frozenset({"opt-out", "customer", "exemption"})


def rule_of(subject: Subject) -> Rule:
    return Rule.LAST_WORD if subject.group in _LAST_WORD else Rule.WHOLE


_CLOSED_CALL = "closed"
_CLOSED_MEASURES = frozenset(state.value for state in MeasureState if not state.is_open)


def subject_of(recorded: RecordedAct) -> Subject | None:
    """What an act is about, or None for one that is never erased."""
    known = _SUBJECTS.get(type(recorded.act))
    if known is None:
        return None
    group, fields = known
    return Subject(group, tuple(str(getattr(recorded.act, name)) for name in fields) or (str(recorded.number),))


def over_at(recorded: RecordedAct) -> float | None:
    """When what the last act about a subject says is over by itself (UNIX seconds), or None: it is in force until another act."""
    match recorded.act:
        case OptOutAdded(until=until) | CustomerExempted(until=until):
            return None if until is None else max(until, recorded.at)
        case MeasureMoved(state=state):
            return recorded.at if state in _CLOSED_MEASURES else None
        case AttentionMoved(state=state):
            return recorded.at if state == _CLOSED_CALL else None
        case OptOutRemoved() | ExemptionEnded() | NoticeSent() | NoticeFailed() | OutageClosed() | LookedUp():
            return recorded.at
        case _:
            return None


@dataclass(slots=True)
class _Held:
    """What is known of a subject: each act not erased yet as (number, kind, time); when it is over, if it is."""

    acts: list[tuple[int, str, float]] = field(default_factory=list)
    over: float | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What may be erased of a subject: events by number, ascending. `gone`: nothing is left of it then."""

    subject: Subject
    numbers: tuple[int, ...]
    gone: bool


class Sweep:
    """Finds what may be erased at `now`, given how long each kind is kept (seconds; a kind not named is kept for good).

    Acts are shown in two passes, which keep in memory what may be due and nothing else: `consider`
    takes those old enough, and `follow` what came after them.
    """

    def __init__(self, retention: Mapping[str, float], now: float) -> None:
        self._retention = retention
        self._now = now
        self._held: dict[Subject, _Held] = {}

    @property
    def before(self) -> float:
        """An act of this time or later is not due, whatever its kind."""
        return self._now - min(self._retention.values(), default=float("inf"))

    def consider(self, recorded: RecordedAct) -> None:
        """Take in an act whose content is there, in the order of the ledger."""
        subject = subject_of(recorded)
        if subject is not None:
            self._take(self._held.setdefault(subject, _Held()), recorded)

    def follow(self, recorded: RecordedAct) -> None:
        """The same for an act that came later: it counts if it is about something taken in before."""
        subject = subject_of(recorded)
        held = self._held.get(subject) if subject is not None else None
        if held is not None:
            self._take(held, recorded)

    def due(self) -> list[Due]:
        found = []
        for subject, held in self._held.items():
            numbers = tuple(self._last_word(held) if rule_of(subject) is Rule.LAST_WORD else self._whole(held))
            if numbers:
                found.append(Due(subject, numbers, len(numbers) == len(held.acts)))
        return found

    def _take(self, held: _Held, recorded: RecordedAct) -> None:
        kind = recorded.act.kind
        held.acts.append((recorded.number, kind, recorded.at))
        # A measure once closed and a notice once handed over stay so, whatever is said of them afterwards.
        closes = over_at(recorded)
        subject = subject_of(recorded)
        whole = subject is not None and rule_of(subject) is Rule.WHOLE
        held.over = held.over if whole and closes is None else closes

    def _last_word(self, held: _Held) -> Iterator[int]:
        for place, (number, kind, _) in enumerate(held.acts):
            over = held.acts[place + 1][2] if place + 1 < len(held.acts) else held.over
            if over is None or not self._is_past(kind, over):
                return
            yield number

    def _whole(self, held: _Held) -> Iterable[int]:
        if held.over is None:
            return []
        last = max(held.over, *(at for _, _, at in held.acts))
        due = all(self._is_past(kind, last) for _, kind, _ in held.acts)
        return [number for number, _, _ in held.acts] if due else []

    def _is_past(self, kind: str, over: float) -> bool:
        kept = self._retention.get(kind)
        return kept is not None and self._now - over >= kept


def due(acts: Iterable[RecordedAct], retention: Mapping[str, float], now: float) -> list[Due]:
    """The same in one pass over all acts whose content is there, in the order of the ledger."""
    sweep = Sweep(retention, now)
    for recorded in acts:
        sweep.consider(recorded)
    return sweep.due()


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as runs, [first, last] each."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
