"""Where customers are now: their fixed prefixes and those of live sessions, and whose an address is.

Owns the merging of both: a fixed prefix that is on another's line is not its owner's meanwhile. What sessions hold is the table's
(`sessions`), and who has what by contract the customers' (`control_directory`).

An IPv4 address that several customers share by ports is nobody's in the plane, which tells no ports apart, though somebody may
have a fixed prefix around it: nothing that is somebody's consent or measure reaches the others. A customer who shares is known
there by the prefixes of their own (the address inside a CGN, the IPv6 prefix of MAP-E), and in the record by the ports.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from sekisho.app.control_people import People
from sekisho.app.control_tables import Tables
from sekisho.drivers.tablerows import SHARED, Lent
from sekisho.model.customers import Prefix
from sekisho.model.sessions import Session
from sekisho.sessions.changes import Changes
from sekisho.sessions.columns import code_of, prefix_of, without
from sekisho.sessions.table import Table

MOST_SHARED = 1000
"""Shared addresses looked at for somebody's fixed prefix around them."""


class Whereabouts:
    """The prefixes customers have, by the table of sessions and the customers in force."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._tables: Tables | None = None
        self._looked_at: tuple[object, ...] = ()
        self._clash: tuple[Prefix, str] | None = None

    def prefixes_of(self, customer: str) -> tuple[Prefix, ...]:
        """All prefixes on a customer's lines now: the fixed ones, but for those on another's line, and those of live sessions.

        Addresses in them that others share by ports are left out: what is done to the rest reaches nobody else.
        """
        table = self.table
        found = self._people.prefixes(customer)
        if not len(table):
            return found
        if found and any(table.is_held(code_of(prefix)) for prefix in found):
            found = tuple([prefix for prefix in found if self.holder(prefix) in {None, customer}])
        live = table.prefixes_of(customer)
        if live:
            # Most have the one or the other; of a hundred thousand each step counts.
            held = map(prefix_of, live)
            found = (*found, *[prefix for prefix in held if prefix not in found]) if found else tuple(held)
        if table.sharing and any(table.shared_in(prefix) for prefix in found):
            return tuple([part for prefix in found for part in without(prefix, table.shared_in(prefix))])
        return found

    def prefixes_of_each(self, customers: Sequence[str]) -> list[tuple[Prefix, ...]]:
        """The same of many customers, in a third of the time."""
        table = self.table
        found = self._people.prefixes_of_each(customers)
        if not len(table):
            return found
        lost = table.held_of([prefix for own in found for prefix in own])
        several = bool(table.shared())
        for place, (own, theirs) in enumerate(zip(found, table.prefixes_of_each(customers), strict=True)):
            if not lost.isdisjoint(own) or (several and any(table.shared_in(prefix) for prefix in (*own, *theirs))):
                found[place] = self.prefixes_of(customers[place])
            elif theirs:
                found[place] = own + (theirs if set(own).isdisjoint(theirs) else tuple([one for one in theirs if one not in own]))
        return found

    def live_prefixes(self, customer: str) -> tuple[Prefix, ...]:
        return tuple(map(prefix_of, self.table.prefixes_of(customer)))

    def customers(self) -> set[str]:
        """Customers with live sessions."""
        return {name for name in self.table.holdings()[2] if name is not None}

    def holder(self, prefix: Prefix) -> str | None:
        """The customer on whose line a prefix is; `SHARED`: it is an address that customers share by ports."""
        code = code_of(prefix)
        return SHARED if self.table.is_shared(code) else self.table.holder(code)

    def fixed_owners(self, changes: Changes) -> set[str]:
        """Whose fixed prefixes are among those that moved, or around an address that is shared now or no more: they have less, or again."""
        if self._tables is None:
            return set()
        owners = {self._people.fixed(prefix_of(code)) for code in changes.moves}
        for code in changes.shared:
            owners.update(self._people.holders(prefix_of(code)))
        return {one for one in owners if one is not None}

    def lent(self) -> Callable[[People], Lent]:
        codes, rows, customers = self.table.holdings()
        shared = self.table.shared()

        def of(people: People) -> Lent:
            # Sessions share customers, and looking one up costs more than remembering them.
            known = {name for name in set(customers) if name is not None and name in people}
            names = [name if name in known else None for name in customers]
            return Lent(codes, [names[row] for row in rows], shared)

        return of

    def clash(self) -> tuple[Prefix, str] | None:
        """An address that is shared by ports, and the customer who has a fixed prefix around it: the plane tells no ports apart."""
        if self._tables is None:
            return None
        people = self._people
        key = (self.table.sharing, people, people.changes)
        if key != self._looked_at:
            shared = itertools.islice(self.table.shared(), MOST_SHARED)
            held = ((prefix, name) for prefix in map(prefix_of, shared) for name in people.holders(prefix))
            self._looked_at, self._clash = key, next(held, None)
        return self._clash

    def live(self, customer: str) -> list[Session]:
        """A customer's live sessions."""
        return self.table.live(customer)

    @property
    def _people(self) -> People:
        assert self._tables is not None  # noqa: S101 - there is nobody to ask before `start`
        return self._tables.people
