"""What NASes are to be asked: the limits that measures give reason for, against those the NASes acknowledged.

Pure: `want`, `started`, `ended` and `restarted` say how the world is, `due` what is to be asked now, `answered` what became
of it. Times are seconds of any one clock that does not step.

What a NAS holds cannot be read back (RFC 5176 has no way to ask), so it is remembered: the limit it acknowledged last, and
whether something was asked since that it did not answer. A request is in doubt from before it is sent until it is answered:
whoever writes `changes` down before sending knows after a crash of each limit that may be there. A limit without a reason
is asked to be lifted until the NAS acknowledges that or says that there is no such session.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from sekisho.enforce.naslines import ON_CAUSE, Key, Line, Nas, Next, Pace, Request, memory_of
from sekisho.enforce.nasstore import Store
from sekisho.model.nas import ErrorCause, Limit, Remembered, RequestKind, RequestOutcome, Target


class Book(Store):
    """All lines of all NASes, and what is to be asked of them."""

    def __init__(self, paces: Mapping[str, Pace], remembered: Iterable[Remembered] = (), *, share: bool = True) -> None:
        """`remembered`: what NASes may hold, as it was written down. Nothing is wanted yet, so all of it would be lifted.

        `share`: see `Store`.
        """
        super().__init__(share=share)
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

    def resumed(self, key: Key, now: float) -> None:
        """A session goes on of which nothing was heard for long: what its NAS may hold is not forgotten, and asked for once more."""
        line = self._lines.get(key)
        if line is not None:
            line.doubt = line.doubt or line.held
            line.tries, line.due, line.given_up = 0, now, None
            self._changed.add(key)
            self._queue(line, now)

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
            what = None if line is None else memory_of(line)
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

    # The parts

    def _afresh(self, line: Line, now: float) -> None:
        """What was given up is tried again: the template or the NAS may be another now."""
        if line.given_up is not None:
            line.given_up, line.tries, line.due = None, 0, now
            self._queue(line, now)

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
        elif then in {Next.GIVE_UP, Next.SLOWLY} and request.kind is not RequestKind.LIFT:
            line.given_up = request
            line.tries += 1
            line.due = now + (self._longest(line) if then is Next.SLOWLY else 0.0)
            self._otherwise(line, now)
        else:
            # A limit is asked to be lifted for as long as it takes; and a line nobody tells the starts of may come up any time.
            self._later(line, now)
            if then is not Next.RETRY:
                line.due = now + self._longest(line)

    def _longest(self, line: Line) -> float:
        nas = self._nases.get(line.target.nas)
        return nas.pace.backoff_max if nas is not None else 0.0
