"""What the acts amount to: opt-outs, customers changed at run time, exceptions, accepted feeds, notices.

State is the fold of the acts in the order of the ledger and of nothing else: replaying them gives
the same state. It is not filtered by time: an opt-out past its `until` stays until an act removes
or replaces it, and `OptOutRecord.in_force(now)` says whether it counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from sekisho.ledger.notices import Notices
from sekisho.model.customers import OptOutRecord
from sekisho.model.events import (
    CustomerAdded,
    CustomerRemoved,
    ExceptionAdded,
    ExceptionRemoved,
    FeedAccepted,
    OptOutAdded,
    OptOutRemoved,
    RecordedAct,
)

V = TypeVar("V")


@dataclass(slots=True)
class State:
    """The fold so far. Only `apply` changes it.

    opt_outs    customer -> list -> record
    customers   customer -> the mapping it was added with, or None: removed at run time
    exceptions  list -> entry digest (hexadecimal) -> the act that added it
    accepted    list -> versions an operator accepted although a guard held them
    notices     notices and attention calls
    number      the last event taken in
    """

    opt_outs: dict[str, dict[str, OptOutRecord]] = field(default_factory=dict)
    customers: dict[str, dict[str, object] | None] = field(default_factory=dict)
    exceptions: dict[str, dict[str, ExceptionAdded]] = field(default_factory=dict)
    accepted: dict[str, set[str]] = field(default_factory=dict)
    notices: Notices = field(default_factory=Notices)
    number: int = 0

    def apply(self, recorded: RecordedAct) -> None:
        """Take in the next act."""
        act = recorded.act
        match act:
            case OptOutAdded():
                record = OptOutRecord(act.customer, act.list, recorded.at, act.by, act.until)
                self.opt_outs.setdefault(act.customer, {})[act.list] = record
            case OptOutRemoved():
                _discard(self.opt_outs, act.customer, act.list)
            case CustomerAdded():
                self.customers[act.customer] = act.record
            case CustomerRemoved():
                # Opt-outs stay: a customer who comes back must not be detected against their word.
                self.customers[act.customer] = None
            case FeedAccepted():
                self.accepted.setdefault(act.list, set()).add(act.version)
            case ExceptionAdded():
                self.exceptions.setdefault(act.list, {})[act.digest] = act
            case ExceptionRemoved():
                _discard(self.exceptions, act.list, act.digest)
        self.notices.apply(recorded)
        self.number = recorded.number

    def opted_out(self, customer: str, now: float) -> frozenset[str]:
        """The lists a customer has opted out of at `now`."""
        records = self.opt_outs.get(customer)
        if not records:
            return frozenset()
        return frozenset(record.list for record in records.values() if record.in_force(now))

    def opt_out(self, customer: str, list_id: str) -> OptOutRecord | None:
        """The last word of a customer on a list, in force or run out."""
        return self.opt_outs.get(customer, {}).get(list_id)

    def each_opt_out(self) -> Iterator[OptOutRecord]:
        for records in self.opt_outs.values():
            yield from records.values()


def fold(acts: Iterable[RecordedAct]) -> State:
    """The state after all acts."""
    state = State()
    for recorded in acts:
        state.apply(recorded)
    return state


def _discard(tree: dict[str, dict[str, V]], outer: str, inner: str) -> None:
    branch = tree.get(outer)
    if branch is not None:
        branch.pop(inner, None)
        if not branch:
            del tree[outer]
