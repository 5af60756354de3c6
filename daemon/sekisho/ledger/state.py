"""What the acts amount to: opt-outs, customers changed at run time, exceptions, accepted feeds, notices.

State is the fold of the acts in the order of the ledger and of nothing else: replaying them gives
the same state. It is not filtered by time: an opt-out past its `until` stays until an act removes
or replaces it or its retention is over, and `OptOutRecord.in_force(now)` says whether it counts.

It is made of parts (`ledger.part`); `PARTS` names them all.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self, TypeVar

from sekisho.ledger.measures import MeasureBook
from sekisho.ledger.notices import Notices
from sekisho.ledger.part import Chunk, Part, in_chunks
from sekisho.ledger.retention import Subject
from sekisho.model.customers import OptOutRecord
from sekisho.model.events import (
    Act,
    CustomerAdded,
    CustomerRemoved,
    ExceptionAdded,
    ExceptionRemoved,
    FeedAccepted,
    OptOutAdded,
    OptOutRemoved,
    RecordedAct,
)

_OPT_OUT = ("customer", "list", "since", "by", "until")

P = TypeVar("P", bound=Part)
V = TypeVar("V")


class OptOuts(Part):
    """Customer -> list -> record. The inner mappings are replaced and never changed, so that a copy may share them."""

    name: ClassVar[str] = "opt-outs"
    acts: ClassVar[tuple[type[Act], ...]] = (OptOutAdded, OptOutRemoved)

    def __init__(self) -> None:
        self.records: dict[str, dict[str, OptOutRecord]] = {}

    def apply(self, recorded: RecordedAct) -> None:
        match recorded.act:
            case OptOutAdded(customer, list_id, by, until):
                record = OptOutRecord(customer, list_id, recorded.at, by, until)
                self.records[customer] = {**self.records.get(customer, {}), list_id: record}
            case OptOutRemoved(customer, list_id):
                _discard(self.records, customer, list_id)

    def dump(self) -> Iterator[Chunk]:
        for rows in in_chunks(record for records in self.records.values() for record in records.values()):
            # By column: what is read at a start is as flat as JSON gets.
            yield [[getattr(row, name) for row in rows] for name in _OPT_OUT]

    def load(self, chunks: Iterable[Chunk]) -> None:
        records = self.records
        for customers, lists, *rest in chunks:
            # Lists are few, and their ids millions.
            for record in map(OptOutRecord, customers, map(sys.intern, lists), *rest):
                known = records.get(record.customer)
                if known is None:
                    records[record.customer] = {record.list: record}
                else:
                    known[record.list] = record

    def forget(self, subject: Subject) -> None:
        if subject.group == "opt-out":
            _discard(self.records, *subject.key)

    def copy(self) -> Self:
        return _copied(self, records=dict(self.records))


class Customers(Part):
    """Customer -> the mapping it was added with, or None: removed at run time."""

    name: ClassVar[str] = "customers"
    acts: ClassVar[tuple[type[Act], ...]] = (CustomerAdded, CustomerRemoved)

    def __init__(self) -> None:
        self.records: dict[str, dict[str, object] | None] = {}

    def apply(self, recorded: RecordedAct) -> None:
        match recorded.act:
            case CustomerAdded(customer, record):
                self.records[customer] = record
            case CustomerRemoved(customer):
                # Opt-outs stay: a customer who comes back must not be detected against their word.
                self.records[customer] = None

    def dump(self) -> Iterator[Chunk]:
        yield from in_chunks(self.records.items())

    def load(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self.records.update(chunk)

    def copy(self) -> Self:
        return _copied(self, records=dict(self.records))


class Exceptions(Part):
    """List -> entry digest (hexadecimal) -> the act that added it."""

    name: ClassVar[str] = "exceptions"
    acts: ClassVar[tuple[type[Act], ...]] = (ExceptionAdded, ExceptionRemoved)

    def __init__(self) -> None:
        self.records: dict[str, dict[str, ExceptionAdded]] = {}

    def apply(self, recorded: RecordedAct) -> None:
        match recorded.act:
            case ExceptionAdded(list_id, digest) as act:
                self.records.setdefault(list_id, {})[digest] = act
            case ExceptionRemoved(list_id, digest):
                _discard(self.records, list_id, digest)

    def dump(self) -> Iterator[Chunk]:
        yield from in_chunks(dataclasses.asdict(act) for acts in self.records.values() for act in acts.values())

    def load(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            for row in chunk:
                act = ExceptionAdded(**row)
                self.records.setdefault(act.list, {})[act.digest] = act

    def copy(self) -> Self:
        return _copied(self, records={list_id: dict(acts) for list_id, acts in self.records.items()})


class Accepted(Part):
    """List -> versions an operator accepted although a guard held them."""

    name: ClassVar[str] = "accepted-feeds"
    acts: ClassVar[tuple[type[Act], ...]] = (FeedAccepted,)

    def __init__(self) -> None:
        self.versions: dict[str, set[str]] = {}

    def apply(self, recorded: RecordedAct) -> None:
        match recorded.act:
            case FeedAccepted(list_id, version):
                self.versions.setdefault(list_id, set()).add(version)

    def dump(self) -> Iterator[Chunk]:
        yield {list_id: sorted(versions) for list_id, versions in self.versions.items()}

    def load(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            for list_id, versions in chunk.items():
                self.versions[list_id] = set(versions)


PARTS: tuple[type[Part], ...] = (OptOuts, Customers, Exceptions, Accepted, MeasureBook, Notices)
"""Every part of the state. A new one is added here and nowhere else."""


class State:
    """The fold so far; `number` is the last event taken in. Only `apply` and `forget` change it."""

    __slots__ = ("_takers", "number", "parts")

    def __init__(self, parts: Iterable[Part] | None = None, number: int = 0) -> None:
        made = [make() for make in PARTS] if parts is None else list(parts)
        self.parts: Mapping[type[Part], Part] = {type(part): part for part in made}
        self.number = number
        self._takers: dict[type[Any], list[Part]] = {}
        for part in made:
            for act in part.acts:
                self._takers.setdefault(act, []).append(part)

    def part(self, cls: type[P]) -> P:
        """The part of that class."""
        part = self.parts[cls]
        if not isinstance(part, cls):
            raise TypeError(cls)
        return part

    @property
    def opt_outs(self) -> dict[str, dict[str, OptOutRecord]]:
        """Customer -> list -> record"""
        return self.part(OptOuts).records

    @property
    def customers(self) -> dict[str, dict[str, object] | None]:
        """Customer -> the mapping it was added with, or None: removed at run time"""
        return self.part(Customers).records

    @property
    def exceptions(self) -> dict[str, dict[str, ExceptionAdded]]:
        """List -> entry digest (hexadecimal) -> the act that added it"""
        return self.part(Exceptions).records

    @property
    def accepted(self) -> dict[str, set[str]]:
        """List -> versions an operator accepted although a guard held them"""
        return self.part(Accepted).versions

    @property
    def measures(self) -> MeasureBook:
        """Measures, exemptions, the hold, emergencies, outages and interruptions."""
        return self.part(MeasureBook)

    @property
    def notices(self) -> Notices:
        """Notices and attention calls."""
        return self.part(Notices)

    def apply(self, recorded: RecordedAct) -> None:
        """Take in the next act."""
        for part in self._takers.get(type(recorded.act), ()):
            part.apply(recorded)
        self.number = recorded.number

    def forget(self, subjects: Iterable[Subject]) -> None:
        """Let go of subjects whose acts were erased, as the next fold of the ledger will."""
        for subject in subjects:
            for part in self.parts.values():
                part.forget(subject)

    def copy(self) -> State:
        """As it is now, whatever is applied afterwards."""
        return State([part.copy() for part in self.parts.values()], self.number)

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


def _copied(part: P, **fields: object) -> P:
    made = type(part)()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _discard(tree: dict[str, dict[str, V]], outer: str, inner: str) -> None:
    """Take a leaf out, by a branch made anew: a copy of the tree may share the old one."""
    branch = tree.get(outer)
    if branch is None or inner not in branch:
        return
    rest = {key: value for key, value in branch.items() if key != inner}
    if rest:
        tree[outer] = rest
    else:
        del tree[outer]
