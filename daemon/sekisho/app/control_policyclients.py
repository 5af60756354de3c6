"""Whose addresses stand in which policy zone, and what of it changed since it was told last.

Owns the counting where several customers have one prefix. Not what stands for a customer (`rpz.order`), nor when it is
published (`control_policyzones`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sekisho.app.control_policyallowed import Allowed
from sekisho.model.customers import Prefix
from sekisho.rpz.order import Standing


@dataclass(slots=True)
class Clients:
    """The addresses in the zones of triggers on clients, by the labels of those zones."""

    allowed: Allowed = field(default_factory=Allowed)
    """What stands there of the networks of `allow:`."""
    _of: dict[str, tuple[str | None, tuple[Prefix, ...], tuple[str, ...]]] = field(default_factory=dict)
    _count: dict[str, Counter[Prefix]] = field(default_factory=dict)
    _before: dict[str, dict[Prefix, bool]] = field(default_factory=dict)
    """Of what changed since `take`: whether it stood there then."""
    _missed: Counter[str] = field(default_factory=Counter)

    def put(self, customer: str, standing: Standing | None, prefixes: tuple[Prefix, ...] = ()) -> None:
        """A customer as they stand now; None: there is no such customer any more."""
        zone, held, missed = self._of.pop(customer, (None, (), ()))
        if zone is not None:
            self._add(zone, held, -1)
        self._missed.subtract(missed)
        if standing is None or (standing.zone is None and not standing.missed):
            return
        self._of[customer] = standing.zone, prefixes, standing.missed
        if standing.zone is not None:
            self._add(standing.zone, prefixes, 1)
        self._missed.update(standing.missed)

    def take(self) -> dict[str, tuple[list[Prefix], list[Prefix]]]:
        """What left each zone and what came into it since this was asked last."""
        changes = {}
        for zone, before in self._before.items():
            count = self._count.get(zone, Counter())
            gone = [prefix for prefix, was in before.items() if was and not count[prefix]]
            come = [prefix for prefix, was in before.items() if not was and count[prefix]]
            if gone or come:
                changes[zone] = gone, come
        self._before.clear()
        return changes

    def prefixes(self, zone: str) -> list[Prefix]:
        """All that stand in a zone."""
        return list(self._count.get(zone, ()))

    def follow(self, before: Clients, zones: Iterable[str]) -> None:
        """Take the place of another, whose `take` told all but what has to be told now."""
        self._before = {}
        for zone in zones:
            old, new = before.known(zone), set(self.prefixes(zone))
            self._before[zone] = {prefix: prefix in old for prefix in old ^ new}

    def known(self, zone: str) -> set[Prefix]:
        """What stood in a zone when `take` was asked last."""
        found = set(self.prefixes(zone))
        for prefix, was in self._before.get(zone, {}).items():
            if was:
                found.add(prefix)
            else:
                found.discard(prefix)
        return found

    def missed(self) -> dict[str, int]:
        """Customers whom a list reaches by their terms and not by the zones, by list."""
        return {name: count for name, count in self._missed.items() if count}

    def _add(self, zone: str, prefixes: Sequence[Prefix], step: int) -> None:
        count, before = self._count.setdefault(zone, Counter()), self._before.setdefault(zone, {})
        for prefix in prefixes:
            before.setdefault(prefix, count[prefix] > 0)
            count[prefix] += step
            if not count[prefix]:
                del count[prefix]
