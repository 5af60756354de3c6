"""What measures mean for one customer now: by the configuration in force and the record, and by nothing else.

Functions over a `View`, which is made anew where it is needed: nothing here is kept, so nothing here is stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sekisho.config.lines import LineSettings
from sekisho.drivers.site import Site
from sekisho.ledger.measures import MeasureBook
from sekisho.measures.combine import Ground, combine, emergency_ground, ground_of
from sekisho.measures.standing import Standing, rule_for
from sekisho.model.clauses import EmergencyRule, MeasureRule
from sekisho.model.customers import Customer, Plan
from sekisho.model.measures import NONE, Detector, Enforcement, Measure


@dataclass(frozen=True, slots=True)
class Alike:
    """Customers by what they share. Of one number: their terms, group and exemptions."""

    ids: Sequence[str]
    group: Sequence[int]
    """The number of each, in the order of `ids`."""
    shared: Sequence[Customer]
    """Who stands for those of a number; without id, prefixes and contacts."""
    apart: frozenset[str]
    """Customers to be looked at one by one, among `ids` or not."""


_PART = 20_000
NO_CAPACITY = "nobody can say to what: the customer has no `plan`, and `lines: line` names no capacity of such lines"
"""Why a line is not slowed."""


class Known(Protocol):
    """Who the customers are (`control_people.People`)."""

    @property
    def site(self) -> Site: ...

    def find(self, identity: str) -> Customer | None: ...

    def alike(self) -> Alike: ...


@dataclass(frozen=True, slots=True)
class View:
    """The customers, the record of measures, and the time it is."""

    people: Known
    book: MeasureBook
    now: float
    _rules: dict[tuple[tuple[str, ...], str, Detector], MeasureRule | None] = field(default_factory=dict, compare=False, repr=False)
    """Rules looked up: many customers have the same terms."""

    def observes(self, clause: str) -> bool:
        """Whether the configuration only observes a clause."""
        return self.people.site.settings.measures.observes(clause)

    def is_exempt(self, customer: Customer, clause: str) -> bool:
        return clause in customer.exempt or self.book.is_exempt(customer.id, clause, self.now)

    def standing(self, customer_id: str, clause: str, detector: Detector) -> Standing:
        """What the life cycle of a measure is judged by."""
        customer = self.people.find(customer_id)
        if customer is None:
            return Standing(None)
        key = customer.terms, clause, detector
        if key not in self._rules:
            self._rules[key] = rule_for(self.people.site.packs, *key)
        rule = self._rules[key]
        return Standing(rule, exempt=self.is_exempt(customer, clause), observe=self.observes(clause), held=self.book.hold is not None)

    def standing_of(self, measure: Measure) -> Standing:
        return self.standing(measure.customer, measure.clause, measure.detector)

    def enforcement(self, customer: Customer) -> Enforcement:
        """What is done to a customer now, for all that is open against them together."""
        return combine(self._grounds(customer), held=self.book.hold is not None, plan=self._plan(customer))

    def observed(self, customer: Customer) -> Enforcement:
        """What would be done if nothing were observed only or held."""
        return combine(self._grounds(customer, all_of_them=True), plan=self._plan(customer))

    def enforcements(self) -> dict[str, Enforcement]:
        """Every customer to whom something is done now. In an emergency those without measures of their own are judged together."""
        found: dict[str, Enforcement] = {}
        single = self.book.customers()
        if self.emergency_counts and self.book.emergency is not None:
            alike = self.people.alike()
            general = [self.enforcement(customer) for customer in alike.shared]
            if any(what != NONE for what in general):
                # A part at a time: in a thread, the loop has its turn in between.
                for first in range(0, len(alike.ids), _PART):
                    of = map(general.__getitem__, alike.group[first : first + _PART])
                    found.update(zip(alike.ids[first : first + _PART], of, strict=True))
            if NONE in general:
                found = {identity: what for identity, what in found.items() if what != NONE}
            single |= alike.apart | {*self.book.exemptions} | {*self.book.emergency.priority}
        for identity in single:
            customer = self.people.find(identity)
            what = NONE if customer is None else self.enforcement(customer)
            if what != NONE:
                found[identity] = what
            else:
                found.pop(identity, None)
        return found

    @property
    def emergency_counts(self) -> bool:
        """Whether an emergency is declared that limits customers now."""
        emergency = self.book.emergency
        if emergency is None or self.now >= emergency.until or self.book.hold is not None:
            return False
        return not all(self.observes(clause) for clause in emergency.clauses)

    def emergency(self, customer: Customer, *, observed: bool = False) -> Ground | None:
        """How an emergency limits a customer now, unless all enforcement is held; `observed`: also by clauses that are observed only."""
        declared = self.book.emergency
        if declared is None:
            return None
        spared = {one for one in declared.clauses if (not observed and self.observes(one)) or self.is_exempt(customer, one)}
        return emergency_ground(declared, customer, self.people.site.packs, self.now, spared)

    def _plan(self, customer: Customer) -> Plan | None:
        return plan_of(customer, self.people.site.settings.lines)

    def _grounds(self, customer: Customer, *, all_of_them: bool = False) -> Iterator[Ground]:
        for measure in self.book.of(customer.id):
            if measure.state.is_open:
                standing = self.standing_of(measure)
                observe = standing.observe and not all_of_them
                known = replace(measure, observe=False) if all_of_them else measure
                ground = ground_of(known, standing.rule, exempt=standing.exempt, observe=observe)
                if ground is not None:
                    yield ground
        ground = self.emergency(customer)
        if ground is not None:
            yield ground


def plan_of(customer: Customer, lines: LineSettings | None) -> Plan | None:
    """The capacity of a customer's line: of the contract, or what the configuration says of lines without one."""
    if customer.plan is not None:
        return customer.plan
    return lines.plan if lines is not None else None


def emergency_clauses(site: Site) -> list[str]:
    """Every clause of the packs under which an emergency can be declared."""
    return [rule.clause for pack in site.packs.values() for rule in pack.rules if isinstance(rule, EmergencyRule)]
