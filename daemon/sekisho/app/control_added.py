"""Customers added at run time: by the acts of the ledger, as far as they fit the customer file.

Owns their prefixes and log-in names, and whether another may have the same. Does not own the acts (`ledger.state`).
"""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.app.control_prefixes import PrefixIndex
from sekisho.config.customers import parse_customer
from sekisho.config.groups import VpnGroup, with_group
from sekisho.config.register import Customers
from sekisho.model.customers import Customer
from sekisho.model.errors import ConfigError


class AddedCustomers:
    """Those there are. `changed` are the acts: who was added or replaced with their record, who was removed with None."""

    def __init__(
        self, file: Customers, changed: Mapping[str, dict[str, object] | None], groups: Mapping[str, VpnGroup] | None = None
    ) -> None:
        """Blocks for long with many customers. `groups`: what is set for members of VPN groups."""
        self._file = file
        self._changed = changed
        self.by_id: dict[str, Customer] = {}
        self.prefixes = PrefixIndex()
        self.logins: dict[str, str] = {}
        self.warnings = self._read(groups or {})
        """A sentence for each that does not fit."""

    def put(self, customer: Customer) -> None:
        """With what is set for the group in it (`config.groups`)."""
        self.by_id[customer.id] = customer
        self.prefixes.add(customer.prefixes, customer.id)
        self.logins.update(dict.fromkeys(customer.logins, customer.id))

    def take_out(self, identity: str) -> None:
        before = self.by_id.pop(identity, None)
        if before is not None:
            self.prefixes.remove(before.prefixes)
            for name in before.logins:
                del self.logins[name]

    def conflict(self, customer: Customer) -> str | None:
        """Why a customer's prefixes or log-in names cannot be its own, or None."""
        return self._prefix_conflict(customer) or self._login_conflict(customer)

    def _read(self, groups: Mapping[str, VpnGroup]) -> tuple[str, ...]:
        warnings = []
        for identity, record in list(self._changed.items()):
            if record is None:
                continue
            try:
                customer = parse_customer(record)
                conflict = self.conflict(customer)
            except ConfigError as error:
                conflict = error.faults[0].message
            if conflict is not None:
                warnings.append(f"customer {identity}, added at run time, is left out: {conflict}")
                continue
            self.put(with_group(customer, groups))
        return tuple(warnings)

    def _prefix_conflict(self, customer: Customer) -> str | None:
        """Why the customer's prefixes cannot be its own, or None."""
        advice = "an address can be one customer's only: take one of them away or divide the prefix"
        but = frozenset(self._changed) | {customer.id}
        for overlap in self._file.overlaps_with(customer.prefixes, but=but):
            return f"{overlap.prefix} overlaps {overlap.other_prefix} of customer {overlap.other} ({overlap.where}); {advice}"
        for prefix in customer.prefixes:
            found = self.prefixes.overlap(prefix, customer.id)
            if found is not None:
                return f"{prefix} overlaps {found[0]} of customer {found[1]}, added at run time; {advice}"
        return None

    def _login_conflict(self, customer: Customer) -> str | None:
        """Why the customer cannot log in by its names, or its id, or None."""
        for name in (customer.id, *customer.logins):
            other = self.logins.get(name)
            if other is None:
                other = self._file.with_login(name)
                other = None if other in self._changed else other
            if other is None and name != customer.id and self._changed.get(name) is not None:
                other = name
            if other not in {None, customer.id}:
                return f"{name} is customer {other}'s, as id or log-in name; a name is one customer's: take it away from one of them"
        return None
