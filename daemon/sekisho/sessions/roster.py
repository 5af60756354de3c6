"""Who is on which line now: the live sessions, found by NAS and id, by customer, by user and by address.

Owns the rows and the indexes over them, and every question about them. What changes them is `table`'s and `tenure`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np

from sekisho.model.customers import Prefix, together
from sekisho.model.sessions import Ports, Session, Share
from sekisho.sessions.allocated import Allocated
from sekisho.sessions.changes import WHOLE, Held, Opened
from sekisho.sessions.columns import Columns, code_of, prefix_of
from sekisho.sessions.holders import Holders


class Roster:
    """The live sessions as they are."""

    def __init__(self) -> None:
        self._columns = Columns()
        self._rows: dict[tuple[int, str], int] = {}
        self._holders = Holders()
        self._of_customer: dict[str, tuple[int, ...]] = {}
        self._of_unknown: dict[str, tuple[int, ...]] = {}
        self._several: set[str] = set()
        self._allocated = Allocated()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def unknown(self) -> int:
        """Live sessions of users who are no customers."""
        return sum(map(len, self._of_unknown.values()))

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

    @property
    def nases(self) -> list[str]:
        return self._columns.nases

    def live(self, customer: str) -> list[Session]:
        return [self._columns.session(row) for row in self._of_customer.get(customer, ())]

    def several(self) -> list[Session]:
        """The live sessions of every customer who has more than one log-in."""
        return [session for customer in sorted(self._several) for session in self.logins(customer)]

    def logins(self, customer: str) -> list[Session]:
        """A customer's live sessions, but for blocks of ports that a CGN reported."""
        return [self._columns.session(row) for row in self._of_customer.get(customer, ()) if not self._columns.is_block(row)]

    def block(self, nas: str, name: str) -> Session | None:
        """A live session by its NAS and id."""
        row = self._rows.get((self._columns.nas_number(nas), name))
        return None if row is None else self._columns.session(row)

    def blocks(self) -> Iterator[Session]:
        """The blocks of ports that CGNs reported."""
        columns = self._columns
        return (columns.session(row) for row, number in enumerate(columns.number) if number and columns.is_block(row))

    def blocks_of(self, user: str) -> list[Session]:
        """Those of them under a user's name, who is a customer or was one."""
        rows = (*self._of_customer.get(user, ()), *self._of_unknown.get(user, ()))
        return [self._columns.session(row) for row in rows if self._columns.is_block(row)]

    def sharers(self, share: Share) -> list[Session]:
        """Live sessions with ports that overlap these."""
        return [self._columns.session(row) for row in self._holders.rivals(code_of(share.prefix), share.ports, -1)]

    def around(self, address: Prefix) -> Session | None:
        """The session that has an address (a prefix of full length), or the longest prefix around it, for itself."""
        whole = self._holders.whole
        for length in range(128, -1, -1):
            row = whole.get(address.value >> 128 - length << 128 - length << 8 | length)
            if row is not None:
                return self._columns.session(row)
        return None

    def prefixes_of(self, customer: str) -> tuple[int, ...]:
        """Codes of the prefixes a customer's live sessions have for themselves."""
        rows = self._of_customer.get(customer)
        if rows is None:
            return ()
        whole, prefixes = self._holders.whole, self._columns.prefixes
        return tuple([code for row in rows for code in prefixes[row] if whole.get(code) == row])

    def prefixes_of_each(self, customers: Iterable[str]) -> list[tuple[Prefix, ...]]:
        """The prefixes of many customers' live sessions, as `prefixes_of` has them."""
        whole, prefixes = self._holders.whole, self._columns.prefixes
        codes: list[int] = []
        ends: list[int] = []
        for rows in map(self._of_customer.get, customers):
            for row in rows or ():
                codes += [code for code in prefixes[row] if whole.get(code) == row]
            ends.append(len(codes))
        found = iter(together([code >> 8 for code in codes], [code & 0xFF for code in codes]))
        return [tuple(islice(found, end - begin)) for begin, end in pairwise([0, *ends])]

    def held_of(self, prefixes: Iterable[Prefix]) -> set[Prefix]:
        """Those of some prefixes that a session has, or part of them."""
        codes = {value << 8 | length for value, length in prefixes}
        return set(map(prefix_of, (codes & self._holders.whole.keys()) | (codes & self._holders.parts.keys())))

    def is_held(self, code: int) -> bool:
        """Whether a session has a prefix, or part of it."""
        return code in self._holders.whole or code in self._holders.parts

    def is_whole(self, code: int) -> bool:
        """Whether a session has a prefix for itself."""
        return code in self._holders.whole

    def holder(self, code: int) -> str | None:
        """The customer on whose line a prefix is."""
        row = self._holders.whole.get(code)
        return None if row is None else self._columns.customers[row]

    def holdings(self) -> tuple[list[int], list[int], list[str | None]]:
        """All prefixes' codes, the row that holds each, and the customer of each row, as of now."""
        return list(self._holders.whole), list(self._holders.whole.values()), list(self._columns.customers)

    @property
    def sharing(self) -> int:
        """Another number whenever the parts of shared addresses are other customers'."""
        return self._holders.sharing

    def shared(self) -> list[int]:
        """Codes of the addresses that are shared, in their order."""
        return list(self._holders.shared)

    def is_shared(self, code: int) -> bool:
        """Whether customers share an address by ports now: as a whole it is nobody's."""
        return code in self._holders.parts

    def shared_in(self, prefix: Prefix) -> list[Prefix]:
        """The addresses in a prefix that are shared."""
        if not self._holders.shared or prefix.value >> 64:
            return []  # all of them are of IPv4
        if prefix.length == 128:
            return [prefix] if self.is_shared(code_of(prefix)) else []
        last = prefix.value | (1 << (128 - prefix.length)) - 1
        return list(map(prefix_of, self._holders.shared_between(prefix.value << 8, last << 8 | 0xFF)))

    def parts(self) -> list[tuple[int, Ports, str | None]]:
        """Every part of a shared IPv4 address: the address, its ports, whose it is. May be asked from another thread."""
        customers = self._columns.customers
        return [
            (code >> 8 & 0xFFFFFFFF, ports, customers[row])
            for code, parts in list(self._holders.parts.items())
            for row, several in list(parts.items())
            for ports in several
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

    def aged(self, now: float, limits: Sequence[float], heard_from: float) -> list[tuple[int, int, Share]]:
        """Blocks of ports that were allocated by an event longer ago than can be, each to be handed to `age`: row, number, ports.

        `limits`: seconds, by the number of the NAS in `nases`; infinity: none. `heard_from` as for `overdue`.
        """
        columns = self._columns
        return [
            (row, columns.number[row], share)
            for nas, limit in enumerate(limits)
            if heard_from + limit < now
            for row, share in self._allocated.before(nas, now - limit)
        ]

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

    def _enter(self, opened: Opened, held: Iterable[Held]) -> None:
        """A session with what it holds."""
        row = self._open((self._columns.nas_number(opened.nas), opened.id), opened)
        prefixes, shares = [], []
        for one in held:
            if one.ports == WHOLE:
                prefixes.append(one.code)
                self._holders.take(one.code, WHOLE, row)
            else:
                share = Share(prefix_of(one.code), one.ports)
                shares.append(share)
                if one.told is not None:
                    self._allocated.put(self._columns.nas[row], row, share, one.told)
                self._holders.take(one.code, one.ports, row)
        self._columns.prefixes[row] = tuple(prefixes)
        self._columns.shares[row] = tuple(shares)

    def _index(self, row: int) -> None:
        customer = self._columns.customers[row]
        index, name = (self._of_unknown, self._columns.users[row]) if customer is None else (self._of_customer, customer)
        rows = index[name] = (*index.get(name, ()), row)
        if customer is not None and self._logged_in(rows) > 1:
            self._several.add(customer)

    def _unindex(self, row: int) -> None:
        customer = self._columns.customers[row]
        index, name = (self._of_unknown, self._columns.users[row]) if customer is None else (self._of_customer, customer)
        left = tuple(one for one in index.get(name, ()) if one != row)
        if left:
            index[name] = left
        else:
            index.pop(name, None)
        if customer is not None and self._logged_in(left) < 2:
            self._several.discard(customer)

    def _logged_in(self, rows: Iterable[int]) -> int:
        """How many of some sessions are log-ins."""
        return sum(not self._columns.is_block(row) for row in rows)
