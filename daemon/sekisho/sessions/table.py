"""The live sessions, and what each accounting request makes of them.

Owns the transitions: Start, Interim-Update and Stop in any order they arrive in, told twice or not at all;
Accounting-On and -Off, time-outs, and addresses that move from one session to another. It is told whose a user
name is and what time it is, gives facts for the disk (`changes`), and is the same again when it is filled from
them. A request that is told twice changes nothing the second time.

When news of two sessions contradict each other, the later news counts: by the time of the event, not of its arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sekisho.model.customers import V4_MAPPED
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import WHOLE, Changes, Heard, Held, Named, Opened, Over, Released, Revived
from sekisho.sessions.columns import Columns, code_of, prefix_of
from sekisho.sessions.counters import grown
from sekisho.sessions.holders import Holders

SLACK = 2.0
"""Seconds by which the times of two requests about one event may differ: Acct-Delay-Time is whole seconds."""
REMEMBERED = 900.0
"""Seconds for which a session that is over is known: a late Stop or Interim-Update is of it, and no session of its own."""
YOUNG = 600
"""A session first heard of at this age (seconds) or younger lost its Start on the way: its octets are counted. Those of an
older one were used before we listened.
"""


@dataclass(slots=True)
class _Past:
    """A session that is over, as far as late news of it need."""

    number: int
    user: str
    customer: str | None
    since: float
    seen: float
    until: float
    end: SessionEnd
    down: int
    up: int
    seconds: int
    wide: bool


class Table:
    """All live sessions. `number` is the last number given to one."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.replaced = 0
        """Sessions that lost their address to another since the start."""
        self._columns = Columns()
        self._rows: dict[tuple[int, str], int] = {}
        self._holders = Holders()
        self._of_customer: dict[str, tuple[int, ...]] = {}
        self._of_unknown: dict[str, tuple[int, ...]] = {}
        self._several: set[str] = set()
        self._past: dict[tuple[int, str], _Past] = {}
        self._restarts: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def unknown(self) -> int:
        """Live sessions of users who are no customers."""
        return sum(map(len, self._of_unknown.values()))

    # What accounting says.

    def apply(self, told: Accounting, customer: str | None, changes: Changes) -> None:
        """A request about one session. `customer` is whose the user name is; None: nobody's whom we know."""
        key = (self._columns.nas_number(told.nas), told.session)
        row = self._rows.get(key)
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
            self._name(row, customer if told.user else self._columns.customers[row], changes)
            self._hear(row, told, changes)

    def restarted(self, told: Accounting) -> list[tuple[int, int]]:
        """Accounting-On or -Off: the sessions of the NAS that are over, each to be handed to `end`. None if told twice."""
        columns, nas = self._columns, self._columns.nas_number(told.nas)
        before = self._restarts.get(nas)
        if before is not None and abs(told.at - before) <= SLACK:
            return []
        self._restarts[nas] = told.at
        numbers = columns.numbers()
        since = np.array(columns.since)
        rows = np.flatnonzero((numbers > 0) & (columns.nas_numbers() == nas) & (since < told.at))
        return list(zip(rows.tolist(), numbers[rows].tolist(), strict=True))

    def overdue(self, now: float, limits: Sequence[float], heard_from: float) -> list[tuple[int, int]]:
        """Sessions of which nothing was heard for longer than their NAS is given, each to be handed to `end`.

        `limits`: seconds, by the number of the NAS in `nases`; infinity: none. `heard_from`: since when there has
        been somebody to hear.
        """
        if not self._rows:
            return []
        columns = self._columns
        numbers = columns.numbers()
        given = np.array(limits, np.float64)[columns.nas_numbers()]
        rows = np.flatnonzero((numbers > 0) & (np.maximum(columns.last_seen(), heard_from) + given < now))
        return list(zip(rows.tolist(), numbers[rows].tolist(), strict=True))

    def end(self, sessions: Iterable[tuple[int, int]], at: float, end: SessionEnd, changes: Changes) -> int:
        """End sessions `restarted` or `overdue` named, those that still are the same; returns how many."""
        ended = 0
        for row, number in sessions:
            if self._columns.number[row] == number:
                self._end(row, at, end, changes)
                ended += 1
        return ended

    def forget(self, now: float) -> None:
        """Let go of sessions that have been over for longer than anything late comes."""
        old = [key for key, past in self._past.items() if past.until + REMEMBERED < now and past.seen + REMEMBERED < now]
        for key in old:
            del self._past[key]

    # Whose the users are.

    def names(self) -> Iterator[tuple[int, int, str, str | None]]:
        """Every live session as it is now: row, number, user, customer."""
        columns = self._columns
        return iter([(row, number, columns.users[row], columns.customers[row]) for row, number in enumerate(columns.number) if number])

    def sessions_of(self, customer: str) -> list[tuple[int, int, str]]:
        """Row, number and user of a customer's live sessions."""
        return [(row, self._columns.number[row], self._columns.users[row]) for row in self._of_customer.get(customer, ())]

    def sessions_unknown(self, user: str) -> list[tuple[int, int, str]]:
        """The same of a user who was no customer."""
        return [(row, self._columns.number[row], user) for row in self._of_unknown.get(user, ())]

    def rename(self, row: int, number: int, customer: str | None, changes: Changes) -> None:
        """A session's user was found to be another customer's, or nobody's."""
        if self._columns.number[row] == number:
            self._name(row, customer, changes)

    # Questions.

    @property
    def nases(self) -> list[str]:
        return self._columns.nases

    def live(self, customer: str) -> list[Session]:
        return [self._columns.session(row) for row in self._of_customer.get(customer, ())]

    def several(self) -> list[Session]:
        """The live sessions of every customer who has more than one."""
        return [session for customer in sorted(self._several) for session in self.live(customer)]

    def prefixes_of(self, customer: str) -> tuple[int, ...]:
        """Codes of the prefixes a customer's live sessions have for themselves."""
        whole = self._holders.whole
        return tuple(code for row in self._of_customer.get(customer, ()) for code in self._columns.prefixes[row] if whole.get(code) == row)

    def holder(self, code: int) -> str | None:
        """The customer on whose line a prefix is."""
        row = self._holders.whole.get(code)
        return None if row is None else self._columns.customers[row]

    def holdings(self) -> tuple[list[tuple[int, int]], list[str | None]]:
        """All prefixes with the row that holds each, and the customer of each row, as of now."""
        return list(self._holders.whole.items()), list(self._columns.customers)

    @property
    def sharing(self) -> int:
        """Another number whenever the parts of shared addresses are other customers'."""
        return self._holders.sharing

    def shared(self) -> list[int]:
        """Codes of the addresses that are shared."""
        return list(self._holders.parts)

    def parts(self) -> list[tuple[int, Ports, str | None]]:
        """Every part of a shared IPv4 address: the address, its ports, whose it is. May be asked from another thread."""
        customers = self._columns.customers
        return [
            (code >> 8 & 0xFFFFFFFF, ports, customers[row])
            for code, parts in list(self._holders.parts.items())
            for row, ports in list(parts.items())
        ]

    def each(self, *, unknown: bool = False, user: str | None = None, nas: str | None = None) -> Iterator[Session]:
        """Live sessions, the latest first."""
        columns = self._columns
        numbers = columns.numbers()
        rows = [row for rows in self._of_unknown.values() for row in rows] if unknown else np.flatnonzero(numbers).tolist()
        rows.sort(key=lambda row: columns.since[row], reverse=True)
        for row in rows:
            if user not in {None, columns.users[row]} or nas not in {None, columns.nases[columns.nas[row]]}:
                continue
            yield columns.session(row)

    def on_nas(self) -> dict[str, int]:
        """How many live sessions each NAS has."""
        columns = self._columns
        found = np.bincount(columns.nas_numbers()[columns.numbers() > 0], minlength=len(columns.nases))
        return dict(zip(columns.nases, found.tolist(), strict=True))

    # Filled from the disk.

    def restore(self, opened: Opened, held: Iterable[Held]) -> None:
        """A session that was live when the facts were written."""
        row = self._open((self._columns.nas_number(opened.nas), opened.id), opened)
        prefixes, shares = [], []
        for one in held:
            if one.ports == WHOLE:
                prefixes.append(one.code)
                self._holders.take(one.code, WHOLE, row)
            else:
                shares.append(Share(prefix_of(one.code), one.ports))
                self._holders.take(one.code, one.ports, row)
        self._columns.prefixes[row] = tuple(prefixes)
        self._columns.shares[row] = tuple(shares)
        self.number = max(self.number, opened.number)

    def remember(self, opened: Opened, until: float, end: SessionEnd) -> None:
        """A session that was over when the facts were written, and not long ago."""
        key = (self._columns.nas_number(opened.nas), opened.id)
        counters = (opened.down, opened.up, opened.seconds, opened.wide)
        self._past[key] = _Past(opened.number, opened.user, opened.customer, opened.since, opened.seen, until, end, *counters)
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
        if past is not None and told.at <= past.until + (SLACK if past.end is SessionEnd.STOP else 0.0):
            return -1
        if past is not None and told.kind is AccountingKind.INTERIM and past.user == told.user and past.end is not SessionEnd.STOP:
            return self._revive(key, past, told, customer, changes)
        self._past.pop(key, None)
        self.number += 1
        began = told.at if told.kind is AccountingKind.START or told.seconds is None else told.at - told.seconds
        down, up = told.down or 0, told.up or 0
        seconds = -1 if told.seconds is None else told.seconds
        opened = Opened(self.number, told.nas, told.session, told.user, customer, began, told.at, down, up, seconds, told.wide)
        changes.facts.append(opened)
        row = self._open(key, opened)
        if customer is not None and (down or up) and (told.kind is AccountingKind.START or 0 <= seconds <= YOUNG):
            changes.usage.append((customer, down, up))
        self._hold(row, told, began, changes)
        self._tell(row, changes.begun)
        return row

    def _revive(self, key: tuple[int, str], past: _Past, told: Accounting, customer: str | None, changes: Changes) -> int:
        columns = self._columns
        changes.facts.append(Revived(past.number))
        del self._past[key]
        counters = (past.down, past.up, past.seconds, past.wide)
        row = self._open(
            key, Opened(past.number, columns.nases[key[0]], key[1], past.user, past.customer, past.since, past.seen, *counters)
        )
        self._name(row, customer, changes)
        self._hear(row, told, changes)
        self._tell(row, changes.begun)
        return row

    def _open(self, key: tuple[int, str], opened: Opened) -> int:
        columns = self._columns
        row = columns.take()
        columns.number[row] = opened.number
        columns.nas[row] = key[0]
        columns.ids[row] = key[1]
        # Most often the two are the same text: one of them is kept.
        columns.users[row] = opened.customer if opened.customer == opened.user and opened.customer is not None else opened.user
        columns.customers[row] = opened.customer
        columns.since[row], columns.seen[row] = opened.since, opened.seen
        columns.down[row], columns.up[row] = opened.down, opened.up
        columns.seconds[row], columns.wide[row] = opened.seconds, opened.wide
        self._rows[key] = row
        self._index(row)
        return row

    def _index(self, row: int) -> None:
        customer = self._columns.customers[row]
        index, name = (self._of_unknown, self._columns.users[row]) if customer is None else (self._of_customer, customer)
        rows = index[name] = (*index.get(name, ()), row)
        if customer is not None and len(rows) > 1:
            self._several.add(customer)

    def _unindex(self, row: int) -> None:
        customer = self._columns.customers[row]
        index, name = (self._of_unknown, self._columns.users[row]) if customer is None else (self._of_customer, customer)
        left = tuple(one for one in index.get(name, ()) if one != row)
        if left:
            index[name] = left
        else:
            index.pop(name, None)
        if customer is not None and len(left) < 2:
            self._several.discard(customer)

    def _name(self, row: int, customer: str | None, changes: Changes) -> None:
        columns = self._columns
        if columns.customers[row] == customer:
            return
        self._unindex(row)
        if columns.prefixes[row]:
            changes.moved |= {one for one in (columns.customers[row], customer) if one is not None}
        columns.customers[row] = customer
        self._index(row)
        changes.facts.append(Named(columns.number[row], customer))
        for code in columns.prefixes[row]:
            changes.moves[code] = customer
        self._holders.sharing += bool(columns.shares[row])

    def _hear(self, row: int, told: Accounting, changes: Changes) -> None:
        """News of a live session."""
        columns = self._columns
        if told.at < columns.seen[row] - SLACK or self._is_late(row, told):
            return
        self._count(row, told, changes)
        columns.seen[row] = max(columns.seen[row], told.at)
        changes.facts.append(
            Heard(columns.number[row], columns.seen[row], columns.down[row], columns.up[row], columns.seconds[row], bool(columns.wide[row]))
        )
        if told.prefixes or told.shares:
            self._hold(row, told, told.at, changes)

    def _is_late(self, row: int, told: Accounting) -> bool:
        """Whether a request was overtaken by a later one: it shows an earlier time of the session at about the same time."""
        known = self._columns.seconds[row]
        return told.seconds is not None and known > told.seconds and told.at - self._columns.seen[row] < 2 * SLACK

    def _count(self, row: int, told: Accounting, changes: Changes) -> None:
        columns = self._columns
        wide = told.wide or bool(columns.wide[row])
        anew = told.seconds is not None and told.seconds < columns.seconds[row]
        down = up = 0
        if told.down is not None:
            down, columns.down[row] = grown(columns.down[row], told.down, wide=wide, began_anew=anew), told.down
        if told.up is not None:
            up, columns.up[row] = grown(columns.up[row], told.up, wide=wide, began_anew=anew), told.up
        columns.wide[row] = wide
        if told.seconds is not None:
            columns.seconds[row] = told.seconds
        customer = columns.customers[row]
        if customer is not None and (down or up):
            changes.usage.append((customer, down, up))

    def _hold(self, row: int, told: Accounting, since: float, changes: Changes) -> None:
        """Have the session hold what it says: of an address family it says something of, that and no more."""
        columns = self._columns
        number, customer = columns.number[row], columns.customers[row]
        before, parts = columns.prefixes[row], columns.shares[row]
        said = tuple(dict.fromkeys(map(code_of, told.prefixes)))
        families = {_is_v4(code) for code in said}
        kept = tuple(code for code in before if _is_v4(code) not in families)
        after = kept + said
        if after != before:
            for code in before:
                if code not in after:
                    self._let_go(row, code, told.at, changes)
            columns.prefixes[row] = after
        for code in said:
            if self._holders.whole.get(code) != row:
                self._take(row, code, WHOLE, number, told, since, changes)
                changes.moves[code] = customer
                self._note(row, changes)
        if told.shares and told.shares != parts:
            for one in parts:
                if one not in told.shares:
                    self._let_go(row, code_of(one.prefix), told.at, changes)
            columns.shares[row] = told.shares
            for one in told.shares:
                if one not in parts:
                    self._take(row, code_of(one.prefix), one.ports, number, told, since, changes)

    def _take(self, row: int, code: int, ports: Ports, number: int, told: Accounting, since: float, changes: Changes) -> None:
        for rival in self._holders.rivals(code, ports, row):
            self.replaced += 1
            self._end(rival, told.at, SessionEnd.REPLACED, changes)
        self._holders.take(code, ports, row)
        changes.facts.append(Held(number, code, ports, since))

    def _let_go(self, row: int, code: int, at: float, changes: Changes) -> None:
        if self._holders.give(code, row):
            changes.moves[code] = None
            self._note(row, changes)
        changes.facts.append(Released(self._columns.number[row], code, at))

    def _tell(self, row: int, sessions: list[Session]) -> None:
        if self._columns.customers[row] is not None:
            sessions.append(self._columns.session(row))

    def _note(self, row: int, changes: Changes) -> None:
        """The customer of a session has other prefixes now."""
        customer = self._columns.customers[row]
        if customer is not None:
            changes.moved.add(customer)

    def _stop(self, key: tuple[int, str], row: int | None, told: Accounting, customer: str | None, changes: Changes) -> None:
        if row is not None:
            if told.at < self._columns.since[row] - SLACK:
                return  # of the session before, whose id the NAS used again
            if told.at >= self._columns.seen[row] - SLACK:
                self._name(row, customer if told.user else self._columns.customers[row], changes)
                self._count(row, told, changes)
            self._end(row, max(told.at, self._columns.since[row]), SessionEnd.STOP, changes)
            return
        past = self._past.get(key)
        if past is None:
            self._stopped_unseen(key, told, customer, changes)
            return
        if past.end is SessionEnd.STOP:
            return
        # Its last octets come after it was taken for lost, or after its address was another's.
        self._settle(past, told, changes)
        if past.end is SessionEnd.TIMEOUT:
            past.until, past.seen, past.end = told.at, told.at, SessionEnd.STOP
            changes.facts.append(Over(past.number, told.at, SessionEnd.STOP))

    def _settle(self, past: _Past, told: Accounting, changes: Changes) -> None:
        wide = told.wide or past.wide
        anew = told.seconds is not None and told.seconds < past.seconds
        down = grown(past.down, told.down, wide=wide, began_anew=anew) if told.down is not None else 0
        up = grown(past.up, told.up, wide=wide, began_anew=anew) if told.up is not None else 0
        past.down, past.up = told.down or past.down, told.up or past.up
        past.seconds = past.seconds if told.seconds is None else told.seconds
        changes.facts.append(Heard(past.number, past.seen, past.down, past.up, past.seconds, wide))
        if past.customer is not None and (down or up):
            changes.usage.append((past.customer, down, up))

    def _stopped_unseen(self, key: tuple[int, str], told: Accounting, customer: str | None, changes: Changes) -> None:
        """A Stop of a session nothing was heard of: it goes to the record, from its beginning to its end."""
        self.number += 1
        seconds = -1 if told.seconds is None else told.seconds
        since = told.at - max(0, seconds)
        down, up = told.down or 0, told.up or 0
        opened = Opened(self.number, told.nas, told.session, told.user, customer, since, told.at, down, up, seconds, told.wide)
        changes.facts.append(opened)
        changes.facts += [Held(self.number, code_of(prefix), WHOLE, since) for prefix in told.prefixes]
        changes.facts += [Held(self.number, code_of(one.prefix), one.ports, since) for one in told.shares]
        changes.facts += [Released(self.number, code_of(prefix), told.at) for prefix in told.prefixes]
        changes.facts += [Released(self.number, code_of(one.prefix), told.at) for one in told.shares]
        changes.facts.append(Over(self.number, told.at, SessionEnd.STOP))
        if customer is not None and (down or up) and 0 <= seconds <= YOUNG:
            changes.usage.append((customer, down, up))
        self._past[key] = _Past(self.number, told.user, customer, since, told.at, told.at, SessionEnd.STOP, down, up, seconds, told.wide)

    def _end(self, row: int, at: float, end: SessionEnd, changes: Changes) -> None:
        columns = self._columns
        number, key = columns.number[row], (columns.nas[row], columns.ids[row])
        if end is SessionEnd.STOP:
            columns.seen[row] = max(columns.seen[row], at)
            counters = (columns.down[row], columns.up[row], columns.seconds[row], bool(columns.wide[row]))
            changes.facts.append(Heard(number, columns.seen[row], *counters))
        if columns.customers[row] is not None:
            changes.ended.append(replace(columns.session(row), until=at, end=end))
        for code in columns.prefixes[row]:
            self._let_go(row, code, at, changes)
        for one in columns.shares[row]:
            self._let_go(row, code_of(one.prefix), at, changes)
        changes.facts.append(Over(number, at, end))
        self._past[key] = _Past(
            number,
            columns.users[row],
            columns.customers[row],
            columns.since[row],
            columns.seen[row],
            at,
            end,
            columns.down[row],
            columns.up[row],
            columns.seconds[row],
            bool(columns.wide[row]),
        )
        self._unindex(row)
        del self._rows[key]
        columns.give(row)


def _is_v4(code: int) -> bool:
    return code >> 40 == V4_MAPPED >> 32
