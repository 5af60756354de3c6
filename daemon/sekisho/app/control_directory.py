"""Who the customers are now: the file, and the acts since.

Owns the merging of the customer file with what was added (`control_added`) and removed at run time, and every question of who somebody
is. What is in force for them is `control_people`'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from sekisho.app.control_added import AddedCustomers
from sekisho.app.control_standing import Alike
from sekisho.config.customers import parse_customer
from sekisho.config.groups import with_group
from sekisho.drivers.site import Site
from sekisho.ledger.state import State
from sekisho.model.customers import Customer, Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.lists import ListDefinition

_PART = 20_000
"""Customers looked at before others have their turn, where this runs in a thread."""


class Directory:
    """The customers, by one site and the acts of the ledger."""

    def __init__(self, site: Site, state: State) -> None:
        """Blocks for long with many customers: not for the loop."""
        self.site = site
        self._state = state
        self.changes = 0
        """Customers added and removed since these came in force."""
        self._added = AddedCustomers(site.customers, state.customers, site.settings.groups)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each customer added at run time who does not fit the file."""
        return self._added.warnings

    @property
    def lists(self) -> tuple[ListDefinition, ...]:
        return self.site.lists

    def __len__(self) -> int:
        file = self.site.customers
        hidden = sum(1 for identity in self._state.customers if identity in file)
        return len(file) - hidden + len(self._added.by_id)

    def find(self, identity: str) -> Customer | None:
        if identity in self._state.customers:
            return self._added.by_id.get(identity)
        return self.site.customers.get(identity)

    def prefixes(self, identity: str) -> tuple[Prefix, ...]:
        """The fixed prefixes of a customer; none of who is none."""
        if identity in self._state.customers:
            known = self._added.by_id.get(identity)
            return known.prefixes if known is not None else ()
        return self.site.customers.prefixes_of(identity)

    def prefixes_of_each(self, identities: Sequence[str]) -> list[tuple[Prefix, ...]]:
        """The same of many."""
        found = self.site.customers.prefixes_of_each(identities)
        if changed := self._state.customers:
            for place, identity in enumerate(identities):
                if identity in changed:
                    found[place] = self.prefixes(identity)
        return found

    def get(self, identity: str) -> Customer:
        """Raises RefusedError if there is no such customer."""
        customer = self.find(identity)
        if customer is None:
            raise RefusedError(f"there is no customer {identity}; `sekisho customers show` lists those there are")
        return customer

    def is_known(self, identity: str | None) -> bool | None:
        """Whether there is such a customer now; None: nobody is asked for."""
        return None if identity is None else identity in self

    def holders(self, address: Prefix) -> list[str]:
        """Customers whose prefixes hold an address (a prefix of full length)."""
        changed = self._state.customers
        found = [one.other for one in self.site.customers.overlaps_with([address], but=frozenset(changed))]
        added = self._added.prefixes.owner(address)
        return list(dict.fromkeys([*found, *([added] if added is not None else [])]))

    def fixed_around(self, prefixes: Collection[Prefix]) -> list[tuple[Prefix, str]]:
        """Of many prefixes each that overlaps somebody's fixed one, and whose."""
        found = [(one.prefix, one.other) for one in self.site.customers.overlaps_with(prefixes, but=self._state.customers)]
        if self._added.by_id:
            found += [(prefix, other[1]) for prefix in prefixes if (other := self._added.prefixes.overlap(prefix, "")) is not None]
        return found

    def __contains__(self, identity: object) -> bool:
        if identity in self._state.customers:
            return identity in self._added.by_id
        return identity in self.site.customers

    def with_login(self, name: str) -> str | None:
        """The customer who logs in by a name: one of their log-in names, or their id. None: nobody we know."""
        if name in self._added.by_id:
            return name
        found = self._added.logins.get(name)
        if found is None:
            found = self.site.customers.with_login(name)
            if found is not None and found in self._state.customers:
                return None
        return found

    def fixed(self, prefix: Prefix) -> str | None:
        """The customer whose fixed prefix this is, exactly."""
        found = self._added.prefixes.exact(prefix)
        if found is not None:
            return found
        changed = self._state.customers
        overlaps = self.site.customers.overlaps_with([prefix])
        return next((one.other for one in overlaps if one.other_prefix == prefix and one.other not in changed), None)

    def with_email(self, address: str) -> list[str]:
        """Customers whose mail address this is, upper and lower case alike."""
        wanted = address.casefold()
        found = [one for one in self.site.customers.with_email(address) if one not in self._state.customers]
        added = [one.id for one in self._added.by_id.values() if one.email is not None and one.email.casefold() == wanted]
        return [*found, *added]

    def source(self, identity: str) -> str:
        return "added at run time" if identity in self._added.by_id else "customer file"

    def ids(self) -> Iterator[str]:
        """Every customer's id: those of the file in its order, then those added at run time."""
        changed = self._state.customers
        yield from (identity for identity in self.site.customers.ids() if identity not in changed)
        yield from list(self._added.by_id)

    def each(self) -> Iterator[Customer]:
        """Every customer, in the same order."""
        changed = self._state.customers
        yield from (customer for customer in self.site.customers if customer.id not in changed)
        yield from list(self._added.by_id.values())

    def alike(self) -> Alike:
        """All customers by what they share: those of the file in columns, and apart from them those who were changed at run time."""
        file = self.site.customers
        groups, shared = file.groups()
        parts = (groups[first : first + _PART].tolist() for first in range(0, len(groups), _PART))
        return Alike(list(file.ids()), list(itertools.chain.from_iterable(parts)), shared, frozenset([*self._state.customers]))

    def group_names(self) -> set[str]:
        """The groups customers are in."""
        groups = {one.group for one in self.site.customers.contracts} | {one.group for one in self._added.by_id.values()}
        return {one for one in groups if one is not None}

    def members(self, group: str) -> list[str]:
        """Customers of a group, in the order of the file, then those added at run time."""
        file, changed = self.site.customers, self._state.customers
        numbers = [number for number, contract in enumerate(file.contracts) if contract.group == group]
        rows = set(np.flatnonzero(np.isin(file.contract_rows(), numbers)).tolist()) if numbers else set()
        found = [one for row, one in enumerate(file.ids()) if row in rows and one not in changed] if rows else []
        return found + [one.id for one in self._added.by_id.values() if one.group == group]

    def apart(self) -> tuple[frozenset[str], tuple[Customer, ...]]:
        """Ids the file does not speak for any more, and the customers added at run time."""
        return frozenset(self._state.customers), tuple(self._added.by_id.values())

    def page(self, after: str | None, limit: int) -> tuple[list[Customer], bool]:
        """`limit` customers that follow `after`, and whether there are more."""
        ids = self.ids()
        if after is not None:
            for identity in ids:
                if identity == after:
                    break
        found = [customer for customer in map(self.find, itertools.islice(ids, limit + 1)) if customer is not None]
        return found[:limit], len(found) > limit

    def parse(self, record: dict[str, object], *, replace: bool) -> Customer:
        """A customer to add. Raises RefusedError or ConfigError if it cannot be one."""
        customer = parse_customer(record)
        if not replace and self.find(customer.id) is not None:
            raise RefusedError(f"customer {customer.id} is there already; use --replace to put this one in its place")
        unknown = [pack for pack in customer.terms if pack not in self.site.packs]
        if unknown:
            known = ", ".join(sorted(self.site.packs)) or "none"
            raise RefusedError(
                f"the configuration has no terms pack {', '.join(unknown)} (it has {known}); add it to `terms:` or name another"
            )
        self._check_exempt(customer)
        conflict = self._added.conflict(customer)
        if conflict is not None:
            raise RefusedError(conflict)
        return customer

    def added(self, customer: Customer) -> None:
        """The act that added a customer stands in the ledger; it comes `completed`."""
        self.removed(customer.id)
        self.changes += 1
        self._added.put(customer)

    def completed(self, customer: Customer) -> Customer:
        """A customer with what is set for the group where the own record says nothing."""
        return with_group(customer, self.site.settings.groups)

    def removed(self, identity: str) -> None:
        """The act that removed a customer stands in the ledger."""
        self.changes += 1
        self._added.take_out(identity)

    def _check_exempt(self, customer: Customer) -> None:
        known = {definition.id for definition in self.lists}
        known |= {clause.id for pack in self.site.packs.values() for clause in pack.clauses}
        unknown = [item for item in customer.exempt if item not in known]
        if unknown:
            raise RefusedError(f"`exempt` names {', '.join(unknown)}, which is no list and no clause; name a list id or a clause id")


def first_address(prefixes: Sequence[Prefix]) -> str | None:
    """The first address of the first prefix, as text."""
    return str(prefixes[0]).rpartition("/")[0] if prefixes else None
