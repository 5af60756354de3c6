"""What NASes are to be asked: the limits that measures give reason for, against those the NASes acknowledged.

Pure: `want`, `started`, `ended` and `restarted` say how the world is, `due` what is to be asked now, `answered` what became
of it. Times are seconds of any one clock that does not step.

What a NAS holds cannot be read back (RFC 5176 has no way to ask), so it is remembered: the limit it acknowledged last, and
whether something was asked since that it did not answer. A request is in doubt from before it is sent until it is answered:
whoever writes `changes` down before sending knows after a crash of each limit that may be there. A limit without a reason
is asked to be lifted until the NAS acknowledges that or says that there is no such session.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sekisho.model.nas import ErrorCause, Limit, Remembered, RequestKind, RequestOutcome, Target

Key = tuple[str, str]

TOLD_AFTER = 3
"""Attempts after which something that does not come about needs somebody."""


class Next(enum.Enum):
    """What follows from a refusal."""

    GONE = enum.auto()
    """There is no such session: nothing holds anything."""
    GIVE_UP = enum.auto()
    """The same request would be refused again: somebody has to look at the NAS or the template."""
    RETRY = enum.auto()


ON_CAUSE: Mapping[ErrorCause, Next] = {
    ErrorCause.NONE: Next.RETRY,
    ErrorCause.OTHER: Next.RETRY,
    ErrorCause.RESIDUAL_SESSION_CONTEXT_REMOVED: Next.GONE,
    ErrorCause.INVALID_EAP_PACKET: Next.RETRY,
    ErrorCause.UNSUPPORTED_ATTRIBUTE: Next.GIVE_UP,
    ErrorCause.MISSING_ATTRIBUTE: Next.GIVE_UP,
    ErrorCause.NAS_IDENTIFICATION_MISMATCH: Next.GIVE_UP,
    ErrorCause.INVALID_REQUEST: Next.GIVE_UP,
    ErrorCause.UNSUPPORTED_SERVICE: Next.GIVE_UP,
    ErrorCause.UNSUPPORTED_EXTENSION: Next.GIVE_UP,
    ErrorCause.INVALID_ATTRIBUTE_VALUE: Next.GIVE_UP,
    ErrorCause.ADMINISTRATIVELY_PROHIBITED: Next.GIVE_UP,
    ErrorCause.REQUEST_NOT_ROUTABLE: Next.RETRY,
    ErrorCause.SESSION_CONTEXT_NOT_FOUND: Next.GONE,
    ErrorCause.SESSION_CONTEXT_NOT_REMOVABLE: Next.GIVE_UP,
    ErrorCause.OTHER_PROXY_PROCESSING_ERROR: Next.RETRY,
    ErrorCause.RESOURCES_UNAVAILABLE: Next.GIVE_UP,
    ErrorCause.REQUEST_INITIATED: Next.RETRY,
    ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED: Next.GIVE_UP,
}
"""What each Error-Cause (RFC 5176 section 3.5) means for the next step."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How one NAS is asked. Seconds."""

    window: int
    """Requests under way at once."""
    backoff: float
    """Wait after a first failure; doubled after each."""
    backoff_max: float

    def wait(self, tries: int) -> float:
        """The wait after so many failures in a row, from 1."""
        return min(self.backoff_max, self.backoff * 2.0 ** min(tries - 1, 32))


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked of a NAS. `limit`: that to be in force; of a lift the one that ends, for the speed to go back to."""

    kind: RequestKind
    target: Target
    limit: Limit | None


@dataclass(slots=True)
class Line:
    """One session that is limited, is to be, or may be."""

    target: Target
    held: Limit | None = None
    """What the NAS acknowledged last; None: full speed."""
    doubt: Limit | None = None
    """What it was asked for since, or to end, and did not answer for; None: nothing."""
    live: bool = True
    """The session goes on, as far as is known."""
    ending: bool = False
    """The session is to be ended."""
    flight: Request | None = None
    tries: int = 0
    """Failures in a row."""
    due: float = 0.0
    given_up: Request | None = None
    """What was refused for good."""
    cause: ErrorCause | None = None
    """Of the last refusal."""

    @property
    def takes(self) -> bool:
        """Whether it has a part of what its customer's lines share: not one that ends, nor one its NAS does not know."""
        return self.live and not self.ending and not self.unknown

    @property
    def unknown(self) -> bool:
        """Its NAS said that there is no such session."""
        return self.given_up is not None and self.cause is not None and ON_CAUSE[self.cause] is Next.GONE


@dataclass(slots=True)
class Nas:
    """One NAS, as it answers."""

    pace: Pace
    flights: int = 0
    silent_since: float | None = None
    tries: int = 0
    due: float = 0.0
    answers: int = 0
    """Answers until now."""
    answered_at: float | None = None
    lines: set[Key] = field(default_factory=set)
    queue: list[tuple[float, int, Key]] = field(default_factory=list)

    @property
    def room(self) -> int:
        """Requests that may be under way: one that does not answer is asked one thing at a time."""
        return self.pace.window if self.silent_since is None else 1


class Book:
    """All lines of all NASes, and what is wanted of them."""

    def __init__(self, paces: Mapping[str, Pace], remembered: Iterable[Remembered] = (), *, share: bool = True) -> None:
        """`remembered`: what NASes may hold, as it was written down. Nothing is wanted yet, so all of it would be lifted.

        `share`: the live lines of a customer have equal parts of the limit; otherwise each has all of it.
        """
        self.share = share
        self._wanted: dict[str, Limit] = {}
        self._lines: dict[Key, Line] = {}
        self._of: dict[str, set[Key]] = {}
        self._nases: dict[str, Nas] = {}
        self._changed: set[Key] = set()
        self._numbers = itertools.count()
        self._sent: dict[Key, int] = {}
        self.adopt(paces, 0.0)
        for one in remembered:
            line = Line(one.target, one.limit if one.certain else None, None if one.certain else one.limit)
            self._add(line, 0.0)

    # How the world is

    def adopt(self, paces: Mapping[str, Pace], now: float) -> None:
        """The NASes there are now. Lines of one that is gone stay: what it holds is not known to have ended."""
        for name, pace in paces.items():
            if name in self._nases:
                self._nases[name].pace = pace
            else:
                self._nases[name] = Nas(pace)
                for key, line in self._lines.items():
                    if key[0] == name:
                        self._nases[name].lines.add(key)
                        self._queue(line, now)
        for name in self._nases.keys() - paces.keys():
            del self._nases[name]
        for line in list(self._lines.values()):
            self._afresh(line, now)

    def want(self, customer: str, limit: Limit | None, sessions: Iterable[Target], now: float, ending: Iterable[Key] = ()) -> None:
        """What a customer's lines together are limited to from now on; None: full speed. `sessions`: those that go on.

        `ending`: sessions of them that are to be ended, whatever their speed.
        """
        if limit is None:
            self._wanted.pop(customer, None)
        else:
            self._wanted[customer] = limit
        seen = set()
        ends = set(ending)
        for target in sessions:
            seen.add(target.key)
            line = self._lines.get(target.key)
            if line is None and limit is None and target.key not in ends:
                continue
            if line is None:
                line = self._add(Line(target), now)
            self._retarget(line, target)
            line.ending = target.key in ends
        for key in list(self._of.get(customer, ())):
            line = self._lines[key]
            if key not in seen:
                # Nobody tells of the session: if the NAS holds a limit for it all the same, that has no reason.
                line.live, line.ending = False, False
            self._changed_want(line, now)

    def started(self, target: Target, now: float, *, ending: bool = False) -> None:
        """A session began, or goes on with other addresses. One of a limited customer is limited."""
        line = self._lines.get(target.key)
        if line is None:
            if target.customer not in self._wanted and not ending:
                return
            line = self._add(Line(target), now)
        self._retarget(line, target)
        line.ending = ending
        self._changed_want(line, now)
        self._shared_anew(target.customer)

    def ended(self, key: Key) -> None:
        """A session ended: what the NAS held for it is gone with it."""
        self._drop(key)

    def suspect(self, nas: str, now: float) -> None:
        """What a NAS acknowledged may not be what is meant now, since the template is another: all of it is asked again."""
        for line in self.lines(nas):
            line.doubt = line.doubt or line.held
            self._queue(line, now)

    def restarted(self, nas: str) -> None:
        """A NAS starts or stops: its sessions and all limits on them are gone."""
        for key in [key for key in self._lines if key[0] == nas]:
            self._drop(key)
        state = self._nases.get(nas)
        if state is not None:
            state.silent_since, state.tries, state.due = None, 0, 0.0

    # What is to be asked

    def due(self, now: float) -> list[Request]:
        """Requests to be sent now; each is under way until `answered` is told of it. Write `changes` down before sending."""
        found: list[Request] = []
        for nas in self._nases.values():
            while nas.queue and nas.queue[0][0] <= now and nas.flights < nas.room:
                if nas.silent_since is not None and now < nas.due:
                    break
                key = heapq.heappop(nas.queue)[2]
                line = self._lines.get(key)
                if line is None or line.flight is not None or line.due > now:
                    continue
                request = self.next_of(line)
                if request is None:
                    self._settle(line)
                    continue
                line.flight = request
                nas.flights += 1
                self._sent[key] = nas.answers
                self._changed.add(key)
                found.append(request)
        return found

    def next_due(self) -> float | None:
        """When something is to be asked next, as far as it does not wait for an answer."""
        ready = (nas for nas in self._nases.values() if nas.queue and nas.flights < nas.room)
        return min((max(nas.queue[0][0], 0.0 if nas.silent_since is None else nas.due) for nas in ready), default=None)

    def next_of(self, line: Line) -> Request | None:
        """What is still to be asked about a line, whenever it is due."""
        request = self._wish(line)
        return None if request is not None and request == line.given_up else request

    def answered(self, request: Request, outcome: RequestOutcome, cause: ErrorCause, now: float) -> None:
        """What became of a request of `due`."""
        nas = self._nases.get(request.target.nas)
        key = request.target.key
        sent = self._sent.pop(key, 0)
        if nas is not None:
            nas.flights = max(0, nas.flights - 1)
            if outcome in {RequestOutcome.ACKNOWLEDGED, RequestOutcome.REFUSED}:
                self._heard(nas, now)
            elif sent == nas.answers:
                nas.tries += 1
                nas.due = now + nas.pace.wait(nas.tries)
                nas.silent_since = now if nas.silent_since is None else nas.silent_since
        line = self._lines.get(key)
        if line is None or line.flight is not request:
            # The session is gone, or it is another one by the same name: what was said is not of this one.
            return
        line.flight = None
        self._changed.add(key)
        if outcome is RequestOutcome.ACKNOWLEDGED:
            if request.kind is RequestKind.DISCONNECT:
                self._drop(key)
                return
            line.held, line.doubt = (request.limit if request.kind is RequestKind.LIMIT else None), None
            line.tries, line.cause, line.given_up = 0, None, None
        elif outcome is RequestOutcome.REFUSED:
            line.cause = cause
            self._refused(line, request, ON_CAUSE[cause], now)
        else:
            if outcome is RequestOutcome.UNANSWERED and request.kind is not RequestKind.DISCONNECT:
                line.doubt = request.limit
            self._later(line, now)
        self._settle(line)
        if key in self._lines:
            self._queue(line, max(line.due, now))

    # What is known

    def changes(self) -> tuple[list[Remembered], list[Key]]:
        """What is to be written down since the last call: lines a NAS may hold a limit of, and those of which it holds none."""
        kept, gone = [], []
        for key in self._changed:
            line = self._lines.get(key)
            what = None if line is None else _remembered(line)
            if what is None:
                gone.append(key)
            else:
                kept.append(what)
        self._changed.clear()
        return kept, gone

    def unwritten(self, changes: tuple[list[Remembered], list[Key]]) -> None:
        """They could not be written: they are among the next changes."""
        self._changed.update(one.target.key for one in changes[0])
        self._changed.update(changes[1])

    def postpone(self, request: Request, until: float) -> None:
        """A request of `due` was not sent after all: it is due again later, and nothing is in doubt for it."""
        nas, line = self._nases.get(request.target.nas), self._lines.get(request.target.key)
        self._sent.pop(request.target.key, None)
        if nas is not None:
            nas.flights = max(0, nas.flights - 1)
        if line is not None and line.flight is request:
            line.flight, line.due = None, until
            self._changed.add(request.target.key)
            self._queue(line, until)

    def wanted(self) -> Mapping[str, Limit]:
        """Limits by customer."""
        return self._wanted

    def knows(self, customer: str) -> bool:
        """Whether a customer is to be limited, or may be."""
        return customer in self._wanted or customer in self._of

    def lines(self, nas: str | None = None) -> Iterator[Line]:
        return (line for line in self._lines.values() if nas is None or line.target.nas == nas)

    def nases(self) -> Mapping[str, Nas]:
        return self._nases

    def limit_of(self, line: Line) -> Limit | None:
        """What a line is to be limited to: its part of what its customer is promised."""
        wanted = self._wanted.get(line.target.customer) if line.live else None
        if wanted is None or not self.share:
            return wanted
        lines = (self._lines[key] for key in self._of[line.target.customer])
        return wanted.part(sum(one.takes for one in lines if one is not line) + 1)

    def idle(self) -> bool:
        """Whether nothing is under way and nothing is left to be asked."""
        return all(line.flight is None and self.next_of(line) is None for line in self._lines.values())

    # The parts

    def _add(self, line: Line, now: float) -> Line:
        key = line.target.key
        self._lines[key] = line
        self._of.setdefault(line.target.customer, set()).add(key)
        if key[0] in self._nases:
            self._nases[key[0]].lines.add(key)
        self._queue(line, now)
        return line

    def _retarget(self, line: Line, target: Target) -> None:
        """A session goes on, by what is known of it now: its user may be found to be another customer."""
        before = line.target.customer
        if before != target.customer:
            self._of[before].discard(target.key)
            if not self._of[before]:
                del self._of[before]
            self._of.setdefault(target.customer, set()).add(target.key)
        line.target, line.live = target, True

    def _drop(self, key: Key) -> None:
        line = self._lines.pop(key, None)
        if line is None:
            return
        customer = line.target.customer
        of = self._of.get(customer, set())
        of.discard(key)
        if not of:
            self._of.pop(customer, None)
        if key[0] in self._nases:
            self._nases[key[0]].lines.discard(key)
        self._changed.add(key)
        self._shared_anew(customer)

    def _shared_anew(self, customer: str) -> None:
        """A customer has more or fewer lines to share a limit now."""
        if self.share and customer in self._wanted:
            for key in self._of.get(customer, ()):
                self._queue(self._lines[key], 0.0)

    def _queue(self, line: Line, now: float) -> None:
        nas = self._nases.get(line.target.nas)
        if nas is not None and line.flight is None and self.next_of(line) is not None:
            heapq.heappush(nas.queue, (max(line.due, now), next(self._numbers), line.target.key))

    def _wish(self, line: Line) -> Request | None:
        if line.ending and line.live:
            return Request(RequestKind.DISCONNECT, line.target, None)
        wanted = self.limit_of(line)
        if wanted is not None and line.unknown:
            return line.given_up  # whatever its part would be: nobody is there to be asked
        if wanted is not None and (wanted != line.held or line.doubt is not None):
            return Request(RequestKind.LIMIT, line.target, wanted)
        if wanted is None and (line.held is not None or line.doubt is not None):
            return Request(RequestKind.LIFT, line.target, line.held or line.doubt)
        return None

    def _changed_want(self, line: Line, now: float) -> None:
        """Something about a line changed: what failed before is no measure of what is asked now."""
        request = self._wish(line)
        if request is None:
            line.given_up = None
            self._settle(line)
        elif request != line.given_up:
            if line.given_up is not None:
                line.tries, line.due, line.given_up = 0, now, None
            self._queue(line, now)

    def _afresh(self, line: Line, now: float) -> None:
        """What was given up is tried again: the template or the NAS may be another now."""
        if line.given_up is not None:
            line.given_up, line.tries, line.due = None, 0, now
            self._queue(line, now)

    def _settle(self, line: Line) -> None:
        """Forget a line of which nothing is held nor wanted."""
        if line.flight is None and line.held is None and line.doubt is None and self._wish(line) is None:
            self._drop(line.target.key)

    def _heard(self, nas: Nas, now: float) -> None:
        nas.answers += 1
        nas.answered_at = now
        if nas.silent_since is not None:
            nas.silent_since, nas.tries = None, 0
            for key in nas.lines:
                line = self._lines[key]
                if line.tries and line.cause is None and line.flight is None:
                    line.due = now
                    self._queue(line, now)

    def _refused(self, line: Line, request: Request, then: Next, now: float) -> None:
        if then is Next.GONE and line.target.session:
            # No session, so no limit: neither what was acknowledged nor what is in doubt.
            line.held, line.doubt, line.tries, line.given_up = None, None, 0, None
            line.given_up = self._wish(line)
            self._shared_anew(line.target.customer)
        elif then is Next.GIVE_UP and request.kind is not RequestKind.LIFT:
            line.given_up = request
            line.tries += 1
        else:
            # A limit is asked to be lifted for as long as it takes; and a line nobody tells the starts of may come up any time.
            self._later(line, now)
            if then is not Next.RETRY:
                nas = self._nases.get(line.target.nas)
                line.due = now + (nas.pace.backoff_max if nas is not None else 0.0)

    def _later(self, line: Line, now: float) -> None:
        nas = self._nases.get(line.target.nas)
        line.tries += 1
        line.due = now + (nas.pace.wait(line.tries) if nas is not None else 0.0)


def _remembered(line: Line) -> Remembered | None:
    if line.flight is not None and line.flight.limit is not None:
        return Remembered(line.target, line.flight.limit, certain=False)
    if line.doubt is not None:
        return Remembered(line.target, line.doubt, certain=False)
    if line.held is not None:
        return Remembered(line.target, line.held, certain=True)
    return None


@dataclass(frozen=True, slots=True)
class Tally:
    """How the lines of one NAS stand: counts, and refusals by cause."""

    wanted: int
    acknowledged: int
    """Of those wanted."""
    pending: int
    """Asked for, or to be asked again."""
    refused: int
    lifting: int
    """Limits without a reason, that may be there."""
    causes: Mapping[ErrorCause, int]


def tally(book: Book, nas: str) -> Tally:
    """How one NAS stands."""
    wanted = acknowledged = pending = refused = lifting = 0
    causes: Counter[ErrorCause] = Counter()
    for line in book.lines(nas):
        limit = book.limit_of(line)
        wanted += limit is not None
        if limit is not None and limit == line.held and line.doubt is None:
            acknowledged += 1
        elif line.given_up is not None:
            refused += 1
        elif limit is None and (line.held is not None or line.doubt is not None):
            lifting += 1
        else:
            pending += 1
        if line.cause is not None:
            causes[line.cause] += 1
    return Tally(wanted, acknowledged, pending, refused, lifting, causes)
