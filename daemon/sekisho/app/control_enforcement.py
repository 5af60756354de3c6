"""What measures in force do to customers' rows, and the walled garden they may be led to.

Owns what is in force for whom, as it was told last, and the combining of it with the contract. Not when a
row is written (`control_tables`), nor why a measure is in force (`measures`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sekisho.config.settings import Settings
from sekisho.drivers.tablerows import BulkRows, CustomerRow
from sekisho.lists.idn import to_wire
from sekisho.model.errors import RefusedError
from sekisho.model.lists import Action, ActionKind, LocalRecord
from sekisho.model.measures import NONE, Effect, Enforcement
from sekisho.model.verdicts import GARDEN_TTL
from sekisho.snapshot.build import Garden
from sekisho.terms.grounds import Grounds

_MOST = 0xFFFFFFFF
"""The largest number a budget on a row can have."""
_A, _AAAA = 1, 28


class Enforcements:
    """What is in force by measure, by customer; of customers that are not known (yet, or any more) too."""

    def __init__(self, given: Mapping[str, Enforcement]) -> None:
        """Raises RefusedError for a budget no row can have."""
        self._of: dict[str, Enforcement] = {}
        self._gardened = 0
        self.put(given)

    def __len__(self) -> int:
        return len(self._of)

    def of(self, customer: str) -> Enforcement:
        return self._of.get(customer, NONE)

    def all(self) -> Mapping[str, Enforcement]:
        return self._of

    def gardened(self) -> int:
        """Customers who are answered with the notice page."""
        return self._gardened

    def put(self, given: Mapping[str, Enforcement]) -> None:
        """Remember what is in force for customers from now on. Raises RefusedError, and keeps none, for a budget no row can have."""
        self.check(given)
        for customer, what in given.items():
            self._gardened += _is_gardened(what) - _is_gardened(self._of.get(customer, NONE))
            if what.silenced or what.garden or what.budget is not None or what.rate is not None or what.mail is not None:
                self._of[customer] = what
            else:
                self._of.pop(customer, None)

    @staticmethod
    def check(given: Mapping[str, Enforcement]) -> None:
        """Raises RefusedError for a budget no row can have."""
        for budget in {what.budget for what in given.values()} - {None}:
            if budget is not None and not all(1 <= number <= _MOST for number in budget):
                raise RefusedError(f"a budget of {budget} queries a second and at once cannot be enforced; give 1 to {_MOST} of each")

    def on_row(self, row: CustomerRow, grounds: Grounds) -> CustomerRow:
        """The customer's row with what is in force on it."""
        what = self._of.get(row.id)
        return row if what is None else combine(row, what, grounds)

    def on_bulk(self, bulk: BulkRows, grounds: Grounds) -> BulkRows:
        """Many customers' rows likewise: who has the same on it of one group makes another group."""
        if not self._of:
            return bulk
        group, groups = bulk.group.astype("int64"), list(bulk.groups)
        made: dict[tuple[int, Enforcement], int] = {}
        for number, customer in enumerate(bulk.ids):
            what = self._of.get(customer)
            if what is None:
                continue
            key = int(group[number]), what
            if key not in made:
                made[key] = len(groups)
                groups.append(combine(groups[key[0]], what, grounds))
            group[number] = made[key]
        return replace(bulk, group=group, groups=groups)


def _is_gardened(what: Enforcement) -> bool:
    return what.garden and not what.silenced


def enforcement_body(what: Enforcement) -> dict[str, object] | None:
    """What measures have in force on a customer, for `explain` and `customers show`; None: nothing."""
    if what == NONE:
        return None
    budget = {"rate": what.budget[0], "burst": what.budget[1]} if what.budget is not None else None
    rate = {"down": what.rate[0], "up": what.rate[1]} if what.rate is not None else None
    done = {"silenced": what.silenced, "garden": what.garden, "budget": budget, "rate": rate, "mail": what.mail}
    return {**done, "clauses": list(what.by)}


def combine(row: CustomerRow, what: Enforcement, grounds: Grounds) -> CustomerRow:
    """A row as the contract has it, with a customer's measures on it: of two budgets the lower rate and the smaller burst.

    A budget that is a measure's is kept by silence, whatever the contract says of TC=1.
    """
    if what.silenced or what.garden:
        does = Effect.SILENCE if what.silenced else Effect.WALLED_GARDEN
        row = replace(row, silenced=what.silenced, garden=what.garden, measure=_number(what.by, does, grounds))
    if what.budget is None:
        return row
    rate, burst = what.budget
    if row.budget_rate:
        rate, burst = min(rate, row.budget_rate), min(burst, row.budget_burst)
        if (rate, burst) == (row.budget_rate, row.budget_burst):
            return row
    limiter = _number(what.by, Effect.LIMIT_DNS, grounds)
    return replace(row, budget_rate=rate, budget_burst=burst, over_truncate=False, limiter=limiter)


def _number(by: tuple[str, ...], does: Effect, grounds: Grounds) -> int:
    """The number of the clause that says so, counted from 1: the first that does this, else the first known; 0: none is."""
    known = [clause for clause in by if clause in grounds]
    clause = next((clause for clause in known if does in grounds[clause]), known[0] if known else None)
    return 0 if clause is None else list(grounds).index(clause) + 1


def garden_of(settings: Settings) -> Garden | None:
    """The walled garden as the configuration has it; None: it has none."""
    told = settings.walled_garden
    if told is None:
        return None
    records = [LocalRecord(_A, GARDEN_TTL, one.packed) for one in told.a]
    records += [LocalRecord(_AAAA, GARDEN_TTL, one.packed) for one in told.aaaa]
    return Garden(Action(ActionKind.SINKHOLE, tuple(records)), tuple(to_wire(name) for name in told.allow))
