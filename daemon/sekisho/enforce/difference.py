"""From what was found to what is wanted: the steps, and what the kernel is like after them.

The order of the steps is the order of safety: classes are there before anything is put in them, and an entry is gone before what
it stands for. A class nothing is put in any more is first made fast, and goes when nothing waits in it: no packet is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sekisho.enforce.state import DRAIN, Class, Entries, State, Table


@dataclass(frozen=True, slots=True)
class Change:
    """Steps, in the order of the fields."""

    put_classes: Mapping[Class, int] = field(default_factory=dict)
    put_tables: frozenset[Table] = frozenset()
    put_limits: Mapping[str, int] = field(default_factory=dict)
    drop_entries: Mapping[Table, Collection[bytes]] = field(default_factory=dict)
    """Those that go, and those that come to stand for something else."""
    put_entries: Entries = field(default_factory=dict)
    drop_limits: tuple[str, ...] = ()
    drop_tables: frozenset[Table] = frozenset()
    drop_classes: tuple[Class, ...] = ()

    @property
    def size(self) -> int:
        """Steps; an entry that comes to stand for something else is one."""
        parts = (self.put_classes, self.put_tables, self.put_limits, self.drop_limits, self.drop_tables, self.drop_classes)
        return sum(len(part) for part in parts) + sum(len(keys) for keys in self.entries().values())

    def entries(self) -> dict[Table, set[bytes]]:
        """The addresses something is done about."""
        found: dict[Table, set[bytes]] = {}
        for part in (self.drop_entries, self.put_entries):
            for table, keys in part.items():
                found.setdefault(table, set()).update(keys)
        return found

    @property
    def on_tables(self) -> bool:
        return bool(self.put_tables or self.put_limits or self.drop_entries or self.put_entries or self.drop_limits or self.drop_tables)

    @property
    def on_classes(self) -> bool:
        return bool(self.put_classes or self.drop_classes)


def difference(found: State, wanted: State, *, read: bool = True) -> Change:
    """The steps from one to the other. `read`: `found` was just read, and not only remembered.

    Of what is remembered nobody knows what waits in a class: none is taken away. Tables that are empty stay then, too.
    """
    drop: dict[Table, list[bytes]] = {}
    put: dict[Table, dict[bytes, str]] = {}
    for table in {**found.entries, **wanted.entries}:
        there, due = found.entries.get(table, {}), wanted.entries.get(table, {})
        if there == due:
            continue
        fresh = {key: word for key, word in due.items() if there.get(key) != word}
        gone = [key for key in there if key not in due or key in fresh]
        if fresh:
            put[table] = fresh
        if gone:
            drop[table] = gone
    classes = {one: rate for one, rate in wanted.classes.items() if found.classes.get(one) != rate}
    unwanted = [one for one in found.classes if one not in wanted.classes]
    idle = [one for one in unwanted if read and found.classes[one] == DRAIN and one not in found.busy]
    draining = {one: DRAIN for one in unwanted if found.classes[one] != DRAIN}
    return Change(
        put_classes=classes | draining,
        put_tables=wanted.tables - found.tables,
        put_limits={name: many for name, many in wanted.limits.items() if name not in found.limits},
        drop_entries=drop,
        put_entries=put,
        drop_limits=tuple(name for name in found.limits if name not in wanted.limits),
        drop_tables=found.tables - wanted.tables if read else frozenset(),
        drop_classes=tuple(idle),
    )


@dataclass(slots=True)
class Known:
    """What the kernel holds as far as we know: read once, and kept up with each change."""

    entries: dict[Table, dict[bytes, str]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    classes: dict[Class, int] = field(default_factory=dict)

    @classmethod
    def of(cls, state: State) -> Known:
        return cls({table: dict(known) for table, known in state.entries.items()}, dict(state.limits), dict(state.classes))

    @property
    def state(self) -> State:
        return State(self.entries, self.limits, self.classes)

    @property
    def tables(self) -> frozenset[Table]:
        return frozenset(self.entries)

    def part(self, like: State) -> State:
        """As much of it as concerns the entries, limits and classes of another state, and all tables."""
        entries: dict[Table, dict[bytes, str]] = {}
        for table, known in self.entries.items():
            entries[table] = {key: known[key] for key in like.entries.get(table, ()) if key in known}
        return State(
            entries,
            {one: self.limits[one] for one in like.limits if one in self.limits},
            {one: self.classes[one] for one in like.classes if one in self.classes},
        )

    def take(self, change: Change) -> None:
        """The steps were taken. Raises KeyError for one that the kernel would have refused."""
        self.classes |= change.put_classes
        for table in change.put_tables:
            self.entries.setdefault(table, {})
        self.limits |= change.put_limits
        for table, keys in change.drop_entries.items():
            known = self.entries[table]
            for key in keys:
                del known[key]
        for table, put in change.put_entries.items():
            known = self.entries[table]
            if not known.keys().isdisjoint(put):
                raise KeyError(table)
            known.update(put)
        for name in change.drop_limits:
            del self.limits[name]
        for one in change.drop_classes:
            del self.classes[one]
        for table in change.drop_tables:
            del self.entries[table]


def both(one: State, other: State) -> State:
    """Two states' entries, limits and classes together; the other's words count."""
    entries = {table: {**one.entries.get(table, {}), **other.entries.get(table, {})} for table in {**one.entries, **other.entries}}
    return State(entries, {**one.limits, **other.limits}, {**one.classes, **other.classes})
