"""All lines of all NASes, what is wanted of them, and the queues of what is to be asked.

Owns the indexes, and what a line is to be limited to: its part of what its customer is promised. When things change is `nas`'s.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping

from sekisho.enforce.naslines import Key, Line, Nas, Request
from sekisho.model.nas import Limit, RequestKind, Target


class Store:
    """Lines by NAS and session, and by customer."""

    def __init__(self, *, share: bool = True) -> None:
        """`share`: the live lines of a customer have equal parts of the limit; otherwise each has all of it."""
        self.share = share
        self._wanted: dict[str, Limit] = {}
        self._lines: dict[Key, Line] = {}
        self._of: dict[str, set[Key]] = {}
        self._nases: dict[str, Nas] = {}
        self._changed: set[Key] = set()
        self._numbers = itertools.count()

    def wanted(self) -> Mapping[str, Limit]:
        """Limits by customer."""
        return self._wanted

    def knows(self, customer: str) -> bool:
        """Whether a customer is to be limited, or may be."""
        return customer in self._wanted or customer in self._of

    def lines(self, nas: str | None = None) -> Iterator[Line]:
        return (line for line in self._lines.values() if nas is None or line.target.nas == nas)

    def lines_of(self, customer: str) -> list[Line]:
        return [self._lines[key] for key in self._of.get(customer, ())]

    def nases(self) -> Mapping[str, Nas]:
        return self._nases

    def limit_of(self, line: Line) -> Limit | None:
        """What a line is to be limited to: its part of what its customer is promised."""
        wanted = self._wanted.get(line.target.customer) if line.live else None
        if wanted is None or not self.share:
            return wanted
        return wanted.part(sum(one.takes for one in self.lines_of(line.target.customer) if one is not line) + 1)

    def next_of(self, line: Line) -> Request | None:
        """What is still to be asked about a line, whenever it is due."""
        request = self._wish(line)
        return None if request is not None and request == line.given_up and not line.slow else request

    def idle(self) -> bool:
        """Whether nothing is under way and nothing is left to be asked but what was refused."""
        return all(line.flight is None and self.next_of(line) in {None, line.given_up} for line in self._lines.values())

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
                self._otherwise(self._lines[key], 0.0)
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
            self._otherwise(line, now)
            self._queue(line, now)

    def _otherwise(self, line: Line, now: float) -> None:
        """Where something else is wanted than what was refused, that is asked at once."""
        if line.given_up is not None and self._wish(line) != line.given_up:
            line.tries, line.due, line.given_up = 0, now, None

    def _settle(self, line: Line) -> None:
        """Forget a line of which nothing is held nor wanted."""
        if line.flight is None and line.held is None and line.doubt is None and self._wish(line) is None:
            self._drop(line.target.key)

    def _later(self, line: Line, now: float) -> None:
        nas = self._nases.get(line.target.nas)
        line.tries += 1
        line.due = now + (nas.pace.wait(line.tries) if nas is not None else 0.0)
