"""What is in force for each customer now: entitlements by the terms, and rows for the plane.

Owns the numbers of profiles, the rows of the customers table, and the counts of missing consents and of opt-outs. Does not own who
the customers are (`control_directory`), the table (`drivers.tables`), the acts (`ledger.state`), nor what terms entitle to
(`terms.entitlement`).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from sekisho.app.control_directory import Directory
from sekisho.app.control_reach import Reach, reach
from sekisho.drivers.site import Site
from sekisho.drivers.tablerows import BulkRows, CustomerRow
from sekisho.ledger.state import State
from sekisho.model.clauses import BudgetRule, OverBudget, Profile
from sekisho.model.customers import Customer
from sekisho.model.lists import ListDefinition
from sekisho.terms.entitlement import Entitlement, budget_of, entitle, find_list, profile_of
from sekisho.terms.grounds import grounds_of


class People(Directory):
    """The customers in force, by one site and the acts of the ledger, with what their terms say."""

    def __init__(self, site: Site, state: State, before: People | None = None) -> None:
        """Blocks for long with many customers: not for the loop. `before` is what a reload takes the place of."""
        super().__init__(site, state)
        self.grounds = grounds_of(site.packs)
        # A number keeps its terms for as long as the process lives: rows and snapshots change one after the other.
        self._numbers: dict[tuple[str, ...], int] = dict(before._numbers) if before is not None else {}  # noqa: SLF001
        self._profiles = [self._profile(terms) for terms in self._numbers]
        self._unconsented: Counter[int] = Counter()
        for contract in site.customers.contracts:
            self.profile_number(contract.terms)
        for customer in self._added.by_id.values():
            self.profile_number(customer.terms)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """What each combination of terms authorises, by number."""
        return tuple(self._profiles)

    def profile_number(self, terms: tuple[str, ...]) -> int:
        """The number of the profile of these terms; a new combination gets the next number."""
        number = self._numbers.get(terms)
        if number is None:
            number = self._numbers[terms] = len(self._profiles)
            self._profiles.append(self._profile(terms))
        return number

    def entitlement(self, customer: Customer, now: float) -> Entitlement:
        return entitle(self.profile(customer), self.lists, customer, self._state.opted_out(customer.id, now))

    def row(self, customer: Customer, now: float) -> CustomerRow:
        """The customer as the plane is to see it."""
        return self._row(customer, self.entitlement(customer, now).mask)

    def contract(self, customer: Customer) -> CustomerRow:
        """The same less the lists in force, which change with time."""
        return self._row(customer, 0)

    def bulk(self, now: float, unconsented: Counter[int]) -> tuple[BulkRows, list[CustomerRow]]:
        """Every customer's row: those of the file in columns, and apart from them those with acts of their own.

        `unconsented` is filled on the way. Customers who are alike to the terms are worked out once.
        """
        file, changed, opt_outs = self.site.customers, self._state.customers, self._state.opt_outs
        groups, shared = file.groups()
        entitlements = [self.entitlement(customer, now) for customer in shared]
        # Copied at once: this runs in a thread, and others are changed meanwhile.
        apart = frozenset(identity for identity in [*changed, *opt_outs] if identity in file)
        singles = [customer for customer in map(file.get, apart - changed.keys()) if customer is not None]
        singles += self._added.by_id.values()
        rows = []
        for customer in singles:
            entitlement = self.entitlement(customer, now)
            unconsented[entitlement.unconsented] += 1
            rows.append(self._row(customer, entitlement.mask))
        sizes = np.bincount(groups, minlength=len(shared)).tolist()
        for entitlement, size in zip(entitlements, sizes, strict=True):
            unconsented[entitlement.unconsented] += size
        numbers = {identity: number for number, identity in enumerate(file.ids()) if identity in apart} if apart else {}
        for number in numbers.values():
            unconsented[entitlements[int(groups[number])].unconsented] -= 1
        del unconsented[0]
        templates = [self._row(customer, one.mask) for customer, one in zip(shared, entitlements, strict=True)]
        return BulkRows(list(file.ids()), groups, templates, *file.columns(), frozenset(apart)), rows

    def loaded(self, unconsented: Counter[int]) -> None:
        """All rows were written; `unconsented` is what `bulk` filled."""
        self._unconsented = unconsented

    def recount(self, before: Customer | None, after: Customer | None, now: float) -> None:
        """Keep the count of missing consents when one customer changes."""
        for customer, step in ((before, -1), (after, 1)):
            mask = self.entitlement(customer, now).unconsented if customer is not None else 0
            if mask:
                self._unconsented[mask] += step

    def unconsented(self) -> tuple[int, list[int]]:
        """Customers a list does not reach for want of consent: of any list, and by order of the list."""
        per_list = [0] * len(self.lists)
        for mask, count in self._unconsented.items():
            for order in range(len(per_list)):
                per_list[order] += count if mask >> order & 1 else 0
        return sum(self._unconsented.values()), per_list

    def opted_out(self, now: float) -> tuple[int, list[int]]:
        """Customers with an opt-out in force: from any list, and by order of the list."""
        orders = {definition.id: definition.order for definition in self.lists}
        per_list, people = [0] * len(self.lists), 0
        for customer, records in self._state.opt_outs.items():
            if self._state.customers.get(customer, {}) is None:
                continue
            held = [orders[one.list] for one in records.values() if one.list in orders and one.in_force(now)]
            people += bool(held)
            for order in held:
                per_list[order] += 1
        return people, per_list

    def profile(self, customer: Customer) -> Profile:
        """What the customer's terms authorise."""
        return self._profiles[self.profile_number(customer.terms)]

    def budget(self, customer: Customer) -> BudgetRule | None:
        return budget_of(self.profile(customer), customer)

    def reaches(self, customer: Customer, now: float) -> list[Reach]:
        """For every list, in order, whether it is in force for the customer and why."""
        entitlement = self.entitlement(customer, now)
        profile, state = self.profile(customer), self._state
        return [reach(customer, one, profile, entitlement, state.opt_out(customer.id, one.id), now) for one in self.lists]

    def definition(self, list_id: str) -> ListDefinition:
        """Raises RefusedError if no such list is defined."""
        return find_list(self.lists, list_id)

    def _profile(self, terms: tuple[str, ...]) -> Profile:
        """Terms that a reload took away authorise nothing."""
        known = tuple(pack for pack in terms if pack in self.site.packs)
        return profile_of(self.site.packs, known, self.lists)

    def _row(self, customer: Customer, mask: int) -> CustomerRow:
        number = self.profile_number(customer.terms)
        budget = budget_of(self._profiles[number], customer)
        if budget is None:
            return CustomerRow(customer.id, customer.prefixes, mask, number)
        truncate = budget.over is OverBudget.TRUNCATE
        return CustomerRow(customer.id, customer.prefixes, mask, number, budget.rate, budget.burst, truncate)
