"""The live sessions, and what each accounting request makes of them.

Owns the transitions: Start, Interim-Update and Stop in any order they arrive in, told twice or not at all; Accounting-On and -Off,
and time-outs. What sessions hold goes from one to another in `tenure`, questions are the `roster`'s. It is told whose a user
name is and what time it is, gives facts for the disk (`changes`), and is the same again when it is filled from
them. A request that is told twice changes nothing the second time.

When news of two sessions contradict each other, the later news counts: by the time of the event, not of its arrival.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sekisho.model.sessions import Accounting, AccountingKind, SessionEnd
from sekisho.sessions.changes import Changes, Heard, Held, Named, Opened, Over, Part, Revived
from sekisho.sessions.columns import code_of
from sekisho.sessions.counters import SLACK, carries, goes_on, growth, is_late, reading
from sekisho.sessions.past import YOUNG, Past, never_seen
from sekisho.sessions.tenure import Tenure

REMEMBERED = 900.0
"""Seconds for which a session that is over is known: a late Stop or Interim-Update is of it, and no session of its own."""


class Table(Tenure):
    """All live sessions, and what becomes of them. `number` is the last number given to one."""

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.number = number
        self.heard: dict[str, float] = {}
        """When anything was heard of each NAS last, by its name in sessions (UNIX seconds of the event)."""
        self.doubted = 0
        """Reports of octets since the start that were overtaken or could not follow those before, and were not counted."""

    # What accounting says.

    def apply(self, told: Accounting, customer: str | None, changes: Changes) -> None:
        """A request about one session. `customer` is whose the user name is; None: nobody's whom we know."""
        self.heard[told.nas] = max(told.at, self.heard.get(told.nas, 0.0))
        key = (self._columns.nas_number(told.nas), told.session)
        row = self._rows.get(key)
        if row is not None and self._columns.ending[row]:
            # Its turn has not come yet; what is told now finds it as it will be.
            self._end(row, self._restarts[key[0]], SessionEnd.NAS_RESTART, changes)
            row = None
        if row is not None and self._is_another(row, told):
            # The NAS used the id again, or another user logged in on the line: the first is over without a Stop.
            self._end(row, told.at, SessionEnd.REPLACED, changes)
            del self._past[key]
            row = None
        if told.kind is AccountingKind.STOP:
            self._stop(key, row, told, customer, changes)
            return
        if row is None:
            row = self._begin(key, told, customer, changes)
        else:
            self._recognise(row, told, customer, changes)
            self._hear(row, told, changes)

    def restarted(self, told: Accounting) -> list[tuple[int, int]]:
        """Accounting-On or -Off: the sessions of the NAS that are over, each to be handed to `end`. Told twice: those left.

        They are over from now on: what begins by the same name before its turn is a session of its own.
        """
        columns, nas = self._columns, self._columns.nas_number(told.nas)
        before = self._restarts.get(nas)
        numbers, ending = columns.numbers(), np.frombuffer(columns.ending, np.uint8)
        ours = (numbers > 0) & (columns.nas_numbers() == nas)
        if before is not None and abs(told.at - before) <= SLACK:
            rows = np.flatnonzero(ours & (ending > 0))
        else:
            self._restarts[nas] = max(told.at, before or 0.0)
            rows = np.flatnonzero(ours & (np.array(columns.since) < told.at))
            ending[rows] = 1
        return list(zip(rows.tolist(), numbers[rows].tolist(), strict=True))

    def end(self, sessions: Iterable[tuple[int, int]], at: float, end: SessionEnd, changes: Changes) -> int:
        """End sessions `restarted` or `overdue` named, those that still are the same; returns how many."""
        ended, columns = 0, self._columns
        for row, number in sessions:
            # One that was told of meanwhile may be over already, and go on after all.
            if columns.number[row] == number and (columns.ending[row] or end is not SessionEnd.NAS_RESTART):
                self._end(row, at, end, changes)
                ended += 1
        return ended

    def forget(self, now: float) -> None:
        """Let go of sessions that have been over for longer than anything late comes."""
        old = [key for key, past in self._past.items() if past.until + REMEMBERED < now and past.seen + REMEMBERED < now]
        for key in old:
            del self._past[key]

    # Whose the users are.

    def rename(self, row: int, number: int, customer: str | None, changes: Changes) -> None:
        """A session's user was found to be another customer's, or nobody's."""
        if self._columns.number[row] == number:
            self._name(row, customer, changes)

    # Filled from the disk.

    def restore(self, opened: Opened, held: Iterable[Held]) -> None:
        """A session that was live when the facts were written."""
        self._enter(opened, held)
        self.number = max(self.number, opened.number)

    def restored(self) -> None:
        """All sessions are restored."""
        self._allocated.order()
        columns = self._columns
        heard = np.zeros(len(columns.nases))
        np.maximum.at(heard, columns.nas_numbers(), columns.last_seen())
        self.heard = dict(zip(columns.nases, heard.tolist(), strict=True))

    def remember(self, opened: Opened, until: float, end: SessionEnd) -> None:
        """A session that was over when the facts were written, and not long ago."""
        key = (self._columns.nas_number(opened.nas), opened.id)
        counters = (opened.down, opened.up, opened.seconds, opened.wide)
        self._past[key] = Past(opened.number, opened.user, opened.customer, opened.since, opened.seen, until, end, *counters)
        self.number = max(self.number, opened.number)

    # Steps.

    def _is_another(self, row: int, told: Accounting) -> bool:
        columns = self._columns
        if told.at < columns.seen[row] - SLACK:
            return False
        if told.user and columns.users[row] and told.user != columns.users[row]:
            return True
        # A Start of the same user is the same session told again, or a second address family of it, unless its time began anew.
        return told.kind is AccountingKind.START and told.at > columns.since[row] + SLACK and columns.seconds[row] > 0 and not told.seconds

    def _begin(self, key: tuple[int, str], told: Accounting, customer: str | None, changes: Changes) -> int:
        past = self._past.get(key)
        if past is not None and past.has_told(told):
            return -1
        if past is not None and past.goes_on(told):
            return self._revive(key, past, told, customer, changes)
        self.number += 1
        began = told.at if told.kind is AccountingKind.START or told.seconds is None else told.at - told.seconds
        down, up = told.down or 0, told.up or 0
        seconds = -1 if told.seconds is None else told.seconds
        # One that began before we listened had octets then, and nobody knows how many of those it tells first came since.
        counted = 0 <= seconds <= YOUNG or (seconds < 0 and told.kind is AccountingKind.START and not (down or up))
        if counted and not carries(max(down, up), seconds):
            self.doubted += 1
            down = up = 0
        opened = Opened(self.number, told.nas, told.session, told.user, customer, began, told.at, down, up, seconds, told.wide)
        changes.facts.append(opened)
        row = self._open(key, opened)
        self._columns.untold[row] = not counted and told.down is None and told.up is None
        if customer is not None and (down or up) and counted:
            changes.usage.append((customer, down, up, float(seconds)))
        self._hold(row, told, began, changes)
        self._tell(row, changes.begun if told.kind is AccountingKind.START else changes.resumed)
        return row

    def _revive(self, key: tuple[int, str], past: Past, told: Accounting, customer: str | None, changes: Changes) -> int:
        columns = self._columns
        changes.facts.append(Revived(past.number))
        del self._past[key]
        counters = (past.down, past.up, past.seconds, past.wide)
        row = self._open(
            key, Opened(past.number, columns.nases[key[0]], key[1], past.user, past.customer, past.since, past.seen, *counters)
        )
        self._recognise(row, told, customer, changes)
        self._hear(row, told, changes)
        self._tell(row, changes.resumed)
        return row

    def _recognise(self, row: int, told: Accounting, customer: str | None, changes: Changes) -> None:
        """Whose a session is by a request, which may be the first to tell the user."""
        known = self._columns.users[row]
        # Late news of another user's session, by the same name, say nothing of this one.
        if told.user and known in {"", told.user}:
            self._name(row, customer, changes, told.user if not known else None)

    def _name(self, row: int, customer: str | None, changes: Changes, user: str | None = None) -> None:
        """A session is a customer's, and of a `user` if that was not told before."""
        columns = self._columns
        if columns.customers[row] == customer and user is None:
            return
        self._unindex(row)
        if user is not None:
            columns.users[row] = user
        if columns.prefixes[row]:
            changes.moved |= {one for one in (columns.customers[row], customer) if one is not None}
        columns.customers[row] = customer
        self._index(row)
        changes.facts.append(Named(columns.number[row], customer, user))
        for code in columns.prefixes[row]:
            changes.moves[code] = customer
        self._holders.sharing += bool(columns.shares[row])
        changes.parts += [Part(code_of(one.prefix), one.ports, customer) for one in columns.shares[row]]

    def _hear(self, row: int, told: Accounting, changes: Changes) -> None:
        """News of a live session."""
        columns = self._columns
        if told.at < columns.seen[row] - SLACK or not self._count(row, told, changes):
            return
        columns.seen[row] = max(columns.seen[row], told.at)
        changes.facts.append(
            Heard(columns.number[row], columns.seen[row], columns.down[row], columns.up[row], columns.seconds[row], bool(columns.wide[row]))
        )
        if told.prefixes or told.shares or told.gone:
            self._hold(row, told, told.at, changes)

    def _count(self, row: int, told: Accounting, changes: Changes) -> bool:
        """Octets that came since the last report; whether this one is news at all, and was not overtaken.

        One that cannot follow the last is doubted and changes nothing, unless the next goes on from it.
        """
        columns = self._columns
        if columns.untold[row] and (told.down is not None or told.up is not None):
            columns.untold[row] = False
            columns.down[row], columns.up[row] = told.down or 0, told.up or 0
        known, doubted = columns.reading(row), columns.doubted.pop(row, None)
        shown = reading(known, told)
        late = is_late(known, shown)
        found = None if late else growth(known, shown)
        if doubted is not None and goes_on(doubted, shown) and (found is None or (shown.seconds >= 0 and not goes_on(known, shown))):
            found = growth(doubted, shown)
        if found is None:
            columns.doubted[row] = shown
            self.doubted += 1
            return not late
        columns.down[row], columns.up[row], columns.wide[row] = shown.down, shown.up, shown.wide
        if shown.seconds >= 0:
            columns.seconds[row] = shown.seconds
        customer = columns.customers[row]
        if customer is not None and (found.down or found.up):
            changes.usage.append((customer, *found))
        return True

    def _stop(self, key: tuple[int, str], row: int | None, told: Accounting, customer: str | None, changes: Changes) -> None:
        if row is not None:
            since, past = self._columns.since[row], self._past.get(key)
            if told.at < since - SLACK or (past is not None and past.has_stopped(told, since)):
                return  # of the session before, whose id the NAS used again
            if told.at >= self._columns.seen[row] - SLACK:
                self._recognise(row, told, customer, changes)
                self._count(row, told, changes)
            self._end(row, max(told.at, self._columns.since[row]), SessionEnd.STOP, changes)
            return
        past = self._past.get(key)
        if past is None:
            self.number += 1
            self._past[key] = never_seen(self.number, told, customer, changes)
            return
        if past.end is SessionEnd.STOP:
            return
        # Its last octets come after it was taken for lost, or after its address was another's.
        past.settle(told, changes)
        if past.end is SessionEnd.TIMEOUT:
            past.until, past.seen, past.end = told.at, told.at, SessionEnd.STOP
            changes.facts.append(Over(past.number, told.at, SessionEnd.STOP))
