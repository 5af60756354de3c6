"""Where the kernel is not as it is known to be, though somebody writes to it while it is read.

What is written meanwhile says nothing about anybody else's hand: it is left out. What is left is asked for once more before
anything is done about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sekisho.enforce.difference import Change, Known
from sekisho.enforce.state import DRAIN, Class, State, Table


@dataclass(slots=True)
class Places:
    """Some entries, limits and classes, whatever they are."""

    entries: dict[Table, set[bytes]] = field(default_factory=dict)
    limits: set[str] = field(default_factory=set)
    classes: set[Class] = field(default_factory=set)
    rules: bool = False
    """Chains and rules, too."""

    @property
    def size(self) -> int:
        return sum(map(len, self.entries.values())) + len(self.limits) + len(self.classes)

    def add(self, change: Change) -> None:
        """What a change is about."""
        for part in (change.drop_entries, change.put_entries):
            for table, keys in part.items():
                self.entries.setdefault(table, set()).update(keys)
        self.limits.update(change.put_limits, change.drop_limits)
        self.classes.update(change.put_classes, change.drop_classes)
        self.rules |= bool(change.put_tables)

    def less(self, other: Places) -> Places:
        entries = {table: left for table, keys in self.entries.items() if (left := keys - other.entries.get(table, set()))}
        return Places(entries, self.limits - other.limits, self.classes - other.classes)


def drift(found: State, known: Known) -> Places:
    """Where what was found is not what is known. `known` may be written to by another thread meanwhile."""
    places = Places()
    for table in {**found.entries, **dict(known.entries)}:
        there, due = found.entries.get(table, {}), known.entries.get(table, {})
        keys = {key for key, word in there.items() if due.get(key) != word}
        keys.update(key for key in list(due) if key not in there)
        if keys:
            places.entries[table] = keys
    places.limits = {name for name in {*found.limits, *list(known.limits)} if found.limits.get(name) != known.limits.get(name)}
    places.classes = {one for one in {*found.classes, *list(known.classes)} if found.classes.get(one) != known.classes.get(one)}
    return places


def known_at(known: Known, places: Places) -> State:
    """What is known of some places."""
    entries: dict[Table, dict[bytes, str]] = {}
    for table, keys in places.entries.items():
        there = known.entries.get(table)
        if there is not None:
            entries[table] = {key: there[key] for key in keys if key in there}
    limits = {one: known.limits[one] for one in places.limits if one in known.limits}
    return State(entries, limits, {one: known.classes[one] for one in places.classes if one in known.classes})


def mended(known: Known, change: Change, found: State) -> None:
    """The steps were taken that make what was found what is known: what has no part in it yet is on its way out."""
    for one in {**found.classes, **change.put_classes}:
        known.classes.setdefault(one, DRAIN)
