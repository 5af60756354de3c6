"""From what was found to what is wanted: the steps, and what the kernel is like after them.

The order of the steps is the order of safety: classes are there before anything is put in them, and an entry is gone before what
it stands for. A class nothing is put in any more is first made fast, and goes when nothing waits in it: no packet is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sekisho.enforce.state import DRAIN, Class, Entry, State, Table


@dataclass(frozen=True, slots=True)
class Change:
    """Steps, in the order of the fields."""

    put_classes: Mapping[Class, int] = field(default_factory=dict)
    put_tables: frozenset[Table] = frozenset()
    put_limits: Mapping[str, int] = field(default_factory=dict)
    drop_entries: tuple[Entry, ...] = ()
    put_entries: Mapping[Entry, str] = field(default_factory=dict)
    drop_limits: tuple[str, ...] = ()
    drop_tables: frozenset[Table] = frozenset()
    drop_classes: tuple[Class, ...] = ()

    @property
    def size(self) -> int:
        """Steps; an entry that comes to stand for something else is one."""
        parts = (self.put_classes, self.put_tables, self.put_limits, self.drop_limits, self.drop_tables, self.drop_classes)
        return sum(len(part) for part in parts) + len({*self.drop_entries, *self.put_entries})

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
    gone = [entry for entry in found.entries if entry not in wanted.entries]
    put = {entry: word for entry, word in wanted.entries.items() if found.entries.get(entry) != word}
    changed = [entry for entry in put if entry in found.entries]
    classes = {one: rate for one, rate in wanted.classes.items() if found.classes.get(one) != rate}
    unwanted = [one for one in found.classes if one not in wanted.classes]
    idle = [one for one in unwanted if read and found.classes[one] == DRAIN and one not in found.busy]
    draining = {one: DRAIN for one in unwanted if found.classes[one] != DRAIN}
    return Change(
        put_classes=classes | draining,
        put_tables=wanted.tables - found.tables,
        put_limits={name: many for name, many in wanted.limits.items() if name not in found.limits},
        drop_entries=(*gone, *changed),
        put_entries=put,
        drop_limits=tuple(name for name in found.limits if name not in wanted.limits),
        drop_tables=found.tables - wanted.tables if read else frozenset(),
        drop_classes=tuple(idle),
    )


@dataclass(slots=True)
class Known:
    """What the kernel holds as far as we know: read once, and kept up with each change."""

    entries: dict[Entry, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    classes: dict[Class, int] = field(default_factory=dict)
    tables: frozenset[Table] = frozenset()

    @classmethod
    def of(cls, state: State) -> Known:
        return cls(dict(state.entries), dict(state.limits), dict(state.classes), state.tables)

    @property
    def state(self) -> State:
        return State(self.entries, self.limits, self.classes, self.tables)

    def part(self, like: State) -> State:
        """As much of it as concerns the entries, limits and classes of another state."""
        return State(
            {one: self.entries[one] for one in like.entries if one in self.entries},
            {one: self.limits[one] for one in like.limits if one in self.limits},
            {one: self.classes[one] for one in like.classes if one in self.classes},
            self.tables,
        )

    def take(self, change: Change) -> None:
        """The steps were taken. Raises KeyError for one that the kernel would have refused."""
        self.classes |= change.put_classes
        self.tables |= change.put_tables
        self.limits |= change.put_limits
        for entry in change.drop_entries:
            del self.entries[entry]
        for entry, word in change.put_entries.items():
            if entry.table not in self.tables or entry in self.entries:
                raise KeyError(entry)
            self.entries[entry] = word
        for name in change.drop_limits:
            del self.limits[name]
        for one in change.drop_classes:
            del self.classes[one]
        self.tables -= change.drop_tables


def both(one: State, other: State) -> State:
    """Two states' entries, limits and classes together; the other's words count."""
    return State(
        {**one.entries, **other.entries}, {**one.limits, **other.limits}, {**one.classes, **other.classes}, one.tables | other.tables
    )
