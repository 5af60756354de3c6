"""The live sessions, and what each accounting request makes of them.

Owns the transitions of the `roster`: Start, Interim-Update and Stop in any order they arrive in, told twice or not at all;
Accounting-On and -Off, time-outs, and addresses that move from one session to another. It is told whose a user
name is and what time it is, gives facts for the disk (`changes`), and is the same again when it is filled from
them. A request that is told twice changes nothing the second time.

When news of two sessions contradict each other, the later news counts: by the time of the event, not of its arrival.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind, Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import WHOLE, Changes, Heard, Held, Named, Opened, Over, Part, Released, Revived, Told
from sekisho.sessions.columns import code_of, is_v4, prefix_of
from sekisho.sessions.counters import grown
from sekisho.sessions.past import YOUNG, Past, never_seen
from sekisho.sessions.roster import Roster

SLACK = 2.0
"""Seconds by which the times of two requests about one event may differ: Acct-Delay-Time is whole seconds."""
REMEMBERED = 900.0
"""Seconds for which a session that is over is known: a late Stop or Interim-Update is of it, and no session of its own."""


class Table(Roster):
    """All live sessions, and what becomes of them. `number` is the last number given to one."""

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.number = number
        self.replaced = 0
        """Sessions that lost their address to another since the start."""
        self._past: dict[tuple[int, str], Past] = {}
        self._restarts: dict[int, float] = {}

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

    def end(self, sessions: Iterable[tuple[int, int]], at: float, end: SessionEnd, changes: Changes) -> int:
        """End sessions `restarted` or `overdue` named, those that still are the same; returns how many."""
        ended = 0
        for row, number in sessions:
            if self._columns.number[row] == number:
                self._end(row, at, end, changes)
                ended += 1
        return ended

    def age(self, blocks: Iterable[tuple[int, int, Share]], at: float, changes: Changes) -> int:
        """Take blocks `aged` named from their sessions, which go on; returns how many still were there."""
        columns, taken = self._columns, 0
        for row, number, share in blocks:
            if columns.number[row] == number and share in self._allocated.get(row, ()):
                columns.shares[row] = tuple(one for one in columns.shares[row] if one != share)
                self._let_go(row, code_of(share.prefix), at, changes, share.ports, aged=True)
                taken += 1
        return taken

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
            changes.usage.append((customer, down, up, float(max(0, seconds))))
        self._hold(row, told, began, changes)
        self._tell(row, changes.begun)
        return row

    def _revive(self, key: tuple[int, str], past: Past, told: Accounting, customer: str | None, changes: Changes) -> int:
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
        changes.parts += [Part(code_of(one.prefix), one.ports, customer) for one in columns.shares[row]]

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
        if told.prefixes or told.shares or told.gone:
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
        # Of what the session did since it was last told of, however long the line had none before.
        lasted, before = told.at - columns.seen[row], columns.seconds[row]
        if told.seconds is not None:
            lasted = told.seconds - before if 0 <= before <= told.seconds else lasted
            columns.seconds[row] = told.seconds
        customer = columns.customers[row]
        if customer is not None and (down or up):
            changes.usage.append((customer, down, up, float(max(0.0, lasted))))

    def _hold(self, row: int, told: Accounting, since: float, changes: Changes) -> None:
        """Have the session hold what it says: of an address family it says something of, that and no more."""
        columns = self._columns
        number, customer = columns.number[row], columns.customers[row]
        before = columns.prefixes[row]
        said = tuple(dict.fromkeys(map(code_of, told.prefixes)))
        families = {is_v4(code) for code in said}
        kept = tuple(code for code in before if is_v4(code) not in families)
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
        if told.shares or told.gone:
            self._share(row, told, since, changes)

    def _share(self, row: int, told: Accounting, since: float, changes: Changes) -> None:
        """Have the session hold the parts of shared addresses that it says: besides those it has, if it says so, else no others."""
        columns = self._columns
        number, parts = columns.number[row], columns.shares[row]
        kept = [one for one in parts if not any(one.within(other) for other in told.gone)] if told.adds or not told.shares else []
        # What is told now takes the place of what it overlaps.
        kept = [one for one in kept if not any(one != other and one.overlaps(other) for other in told.shares)]
        after = tuple(sorted({*kept, *told.shares}, key=_place))
        if after != parts:
            for one in parts:
                if one not in after:
                    self._let_go(row, code_of(one.prefix), told.at, changes, one.ports)
            columns.shares[row] = after
            for one in after:
                if one not in parts:
                    self._take(row, code_of(one.prefix), one.ports, number, told, since, changes)
        self._allocate(row, told, parts, changes)

    def _allocate(self, row: int, told: Accounting, before: tuple[Share, ...], changes: Changes) -> None:
        """Remember when parts were allocated; one that was there before is so from now on."""
        known = self._allocated.get(row, {})
        for one in told.shares:
            if told.adds or one in known:
                self._allocated.setdefault(row, known)[one] = max(told.at, known.get(one, 0.0))
                if one in before:
                    changes.facts.append(Told(self._columns.number[row], code_of(one.prefix), one.ports.first, known[one]))

    def _take(self, row: int, code: int, ports: Ports, number: int, told: Accounting, since: float, changes: Changes) -> None:
        for rival in self._holders.rivals(code, ports, row):
            if ports is not WHOLE and self._yield(rival, code, ports, changes):
                continue
            self.replaced += 1
            self._end(rival, told.at, SessionEnd.REPLACED, changes)
        if self._holders.take(code, ports, row) and ports is not WHOLE:
            changes.shared.add(code)
        if ports is not WHOLE:
            changes.parts.append(Part(code, ports, self._columns.customers[row]))
        changes.facts.append(Held(number, code, ports, since, told.at if told.adds and ports is not WHOLE else None))

    def _yield(self, row: int, code: int, ports: Ports, changes: Changes) -> bool:
        """Have a session let go of ports that are another's now; False if it would have nothing left: then it is over.

        That it had them is known until it was last heard of.
        """
        columns = self._columns
        lost = [one for one in columns.shares[row] if one.overlaps(Share(prefix_of(code), ports))]
        left = tuple(one for one in columns.shares[row] if one not in lost)
        if not lost or not (left or columns.prefixes[row]):
            return False
        for one in lost:
            self._let_go(row, code, columns.seen[row], changes, one.ports)
        columns.shares[row] = left
        return True

    def _let_go(self, row: int, code: int, at: float, changes: Changes, ports: Ports = WHOLE, *, aged: bool = False) -> None:
        if self._holders.give(code, row, ports):
            changes.moves[code] = None
            self._note(row, changes)
        elif not self.is_shared(code):
            changes.shared.add(code)
        if ports is not WHOLE:
            changes.parts.append(Part(code, ports, None, given=True))
            known = self._allocated.get(row)
            if known is not None:
                known.pop(Share(prefix_of(code), ports), None)
                if not known:
                    del self._allocated[row]
        changes.facts.append(Released(self._columns.number[row], code, at, ports.first, aged))

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

    def _end(self, row: int, at: float, end: SessionEnd, changes: Changes) -> None:
        columns = self._columns
        number, key = columns.number[row], (columns.nas[row], columns.ids[row])
        counters = (columns.down[row], columns.up[row], columns.seconds[row], bool(columns.wide[row]))
        if end is SessionEnd.STOP:
            columns.seen[row] = max(columns.seen[row], at)
            changes.facts.append(Heard(number, columns.seen[row], *counters))
        if columns.customers[row] is not None:
            changes.ended.append(replace(columns.session(row), until=at, end=end))
        for code in columns.prefixes[row]:
            self._let_go(row, code, at, changes)
        for one in columns.shares[row]:
            self._let_go(row, code_of(one.prefix), at, changes, one.ports)
        changes.facts.append(Over(number, at, end))
        since, seen, customer = columns.since[row], columns.seen[row], columns.customers[row]
        self._past[key] = Past(number, columns.users[row], customer, since, seen, at, end, *counters)
        self._unindex(row)
        del self._rows[key]
        columns.give(row)


def _place(share: Share) -> tuple[Prefix, int, int, int, int]:
    """In the order of ports, however a NAS tells of them."""
    ports = share.ports
    return share.prefix, ports.first, ports.last, ports.step, ports.times
