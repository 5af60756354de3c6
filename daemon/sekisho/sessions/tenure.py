"""What live sessions hold, and how it goes from one to another.

Owns the steps: a session takes what it is told to have, from whoever had it; lets go of what it has no more, also for its age; and
lets go of all when it ends. When a session begins and ends is the `table`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import WHOLE, Changes, Heard, Held, Over, Part, Released, Told
from sekisho.sessions.columns import code_of, is_v4, prefix_of
from sekisho.sessions.past import Past
from sekisho.sessions.roster import Roster


class Tenure(Roster):
    """The live sessions with what each holds, and those that ended a short while ago."""

    def __init__(self) -> None:
        super().__init__()
        self.replaced = 0
        """Sessions that lost their address to another since the start."""
        self._past: dict[tuple[int, str], Past] = {}
        self._restarts: dict[int, float] = {}
        """When a NAS said last that none of its sessions goes on, by its number."""

    def age(self, blocks: Iterable[tuple[int, int, Share]], at: float, changes: Changes) -> int:
        """Take blocks `aged` named from their sessions, which go on; returns how many still were there."""
        columns, taken = self._columns, 0
        for row, number, share in blocks:
            if columns.number[row] == number and self._allocated.told(columns.nas[row], row, share) is not None:
                columns.shares[row] = tuple(one for one in columns.shares[row] if one != share)
                self._let_go(row, code_of(share.prefix), at, changes, share.ports, aged=True)
                taken += 1
        return taken

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
        number, nas = self._columns.number[row], self._columns.nas[row]
        for one in told.shares:
            known = self._allocated.told(nas, row, one)
            if told.adds or known is not None:
                at = max(told.at, known or 0.0)
                self._allocated.put(nas, row, one, at)
                if one in before:
                    changes.facts.append(Told(number, code_of(one.prefix), one.ports.first, at))

    def _take(self, row: int, code: int, ports: Ports, number: int, told: Accounting, since: float, changes: Changes) -> None:
        for rival in self._holders.rivals(code, ports, row):
            if ports is not WHOLE and self._yield(rival, code, ports, changes):
                continue
            self.replaced += not self._columns.ending[rival]
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
            self._allocated.drop(self._columns.nas[row], row, Share(prefix_of(code), ports))
        changes.facts.append(Released(self._columns.number[row], code, at, ports.first, aged))

    def _tell(self, row: int, sessions: list[Session]) -> None:
        if self._columns.customers[row] is not None and not self._columns.is_block(row):
            sessions.append(self._columns.session(row))

    def _note(self, row: int, changes: Changes) -> None:
        """The customer of a session has other prefixes now."""
        customer = self._columns.customers[row]
        if customer is not None:
            changes.moved.add(customer)

    def _end(self, row: int, at: float, end: SessionEnd, changes: Changes) -> None:
        columns = self._columns
        if columns.ending[row] and end is not SessionEnd.NAS_RESTART:
            # It was over before that.
            at, end = self._restarts[columns.nas[row]], SessionEnd.NAS_RESTART
        number, key = columns.number[row], (columns.nas[row], columns.ids[row])
        counters = (columns.down[row], columns.up[row], columns.seconds[row], bool(columns.wide[row]))
        if end is SessionEnd.STOP:
            columns.seen[row] = max(columns.seen[row], at)
            changes.facts.append(Heard(number, columns.seen[row], *counters))
        if columns.customers[row] is not None and not columns.is_block(row):
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
