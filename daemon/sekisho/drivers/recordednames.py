"""What lists would have done to recorded queries: the plane's own steps, on a snapshot in this process's memory.

Owns the snapshot and the memory of names already judged, which ends with the reading. A name is in no answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sekisho.drivers.listfiles import ListFiles
from sekisho.drivers.listkey import CREDENTIAL, FILE, load_key
from sekisho.drivers.listversions import NOTHING, Identity, fitting
from sekisho.drivers.tablerows import STANDING, CustomerRow, standings
from sekisho.lists.idn import to_wire
from sekisho.model.clauses import Profile
from sekisho.model.errors import TableError
from sekisho.model.lists import ActionKind, ListDefinition
from sekisho.model.verdicts import STEPS, Step, Verdict
from sekisho.plane.names import PRINT_WORDS
from sekisho.plane.verdict import R_KIND, R_LIST, R_RULE, R_SLOTS, decide
from sekisho.plane.wire import NAME_ROOM
from sekisho.snapshot import layout
from sekisho.snapshot.build import Exemption, build
from sekisho.snapshot.digest import U64, Key
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.layout import Customers, Snapshot
from sekisho.snapshot.people import build_customers, fields_of
from sekisho.snapshot.sections import Array, Kind, unpack

_WORK = 130
_JUDGED = 1 << 18
_BLOCKED = frozenset(one.step for one in STEPS if one.verdict is Verdict.BLOCKED)


def stored_lists(
    state: Path, credentials: str | None, lists: Sequence[ListDefinition], never_block: Sequence[str]
) -> tuple[Key | None, list[tuple[ListDefinition, CompiledList]], list[str]]:
    """The key, the lists as the daemon keeps them, and a sentence for each that cannot be had. Writes nothing, no key neither."""
    if not lists:
        return None, [], []
    here = (state / FILE).exists() or (credentials is not None and (Path(credentials) / CREDENTIAL).exists())
    if not here:
        return None, [], [f"no list is judged: the daemon has not kept any in {state} yet; start it once"]
    try:
        key = load_key(state, credentials or "")
    except TableError as error:
        return None, [], [f"no list is judged: {error}"]
    protected = frozenset(to_wire(name) for name in never_block)
    found, missing = [], []
    for definition in lists:
        compiled = NOTHING
        try:
            stored = ListFiles(state).read(definition.id)
            stored = fitting(stored, Identity.of(definition, key, protected)) if stored is not None else None
            if stored is None:
                missing.append(f"list {definition.id} is not judged: the daemon has not kept it yet; start it once")
            else:
                compiled = stored.compiled
        except TableError as error:
            missing.append(f"list {definition.id} is not judged: {error}")
        found.append((definition, compiled))
    return key, found, missing


class NamesJudge:
    """Judges names for customers, told by the lists in force for them and what their terms say."""

    def __init__(
        self,
        key: Key,
        lists: Sequence[tuple[ListDefinition, CompiledList]],
        profiles: Sequence[Profile],
        exceptions: Sequence[Exemption],
        standing: Mapping[int, tuple[int, int]],
    ) -> None:
        """`standing`: mask of lists and profile's number, by customers' row."""
        data = build(1, lists, profiles, exceptions, key)
        _, arrays = unpack(data, Kind.SNAPSHOT, layout.SNAPSHOT_VERSION)
        self._snapshot = Snapshot(*(_read_only(arrays[name]) for name in Snapshot.names()))
        self._key = key
        self._lists = {definition.order: definition.id for definition, _ in lists}
        self._clauses = _clauses(arrays["directory"])
        # Customers whom the same lists reach by the same terms are judged once.
        alike = list(dict.fromkeys(standing.values()))
        numbers = {one: number for number, one in enumerate(alike, 1)}
        self._row_of = {row: numbers[one] for row, one in standing.items() if one[0]}
        self._customers = _table([CustomerRow("", (), mask, profile) for mask, profile in alike])
        self._judged: dict[tuple[int, bytes], tuple[str, str, str] | None] = {}
        self._buckets = np.zeros(1, np.uint64)
        self._work = np.zeros(_WORK, np.uint64), np.zeros(_WORK, np.int64), np.zeros((_WORK, PRINT_WORDS), np.uint64)

    def __call__(self, row: int, name: bytes) -> tuple[str, str, str] | None:
        """List, clause and answer; None: the name is let through."""
        number = self._row_of.get(row)
        if number is None:
            return None
        key = number, name
        if key not in self._judged:
            if len(self._judged) >= _JUDGED:
                self._judged.clear()
            self._judged[key] = self._judge(number, name)
        return self._judged[key]

    def _judge(self, number: int, name: bytes) -> tuple[str, str, str] | None:
        lower, labels, ruling = np.zeros(NAME_ROOM, np.uint8), np.zeros(_WORK, np.int64), np.zeros(R_SLOTS, np.int64)
        lower[: len(name)] = np.frombuffer(name, np.uint8)
        count = position = 0
        while name[position]:
            labels[count] = position
            count += 1
            position += name[position] + 1
        masks, combos, prints = self._work
        view, people = self._snapshot.view, self._customers.view
        step = Step(int(decide(
            view, people, self._buckets, self._key, number, U64(0), U64(0), lower, labels, count, 0, False, False, masks, combos, prints,
            ruling
        )))  # fmt: skip
        if step not in _BLOCKED:
            return None
        listed = self._lists.get(int(ruling[R_LIST]), "")
        clause = self._clauses[int(ruling[R_RULE])] if int(ruling[R_RULE]) < len(self._clauses) else ""
        return listed, clause, ActionKind(int(ruling[R_KIND])).name.lower()


def _clauses(directory: Array) -> tuple[str, ...]:
    return tuple(json.loads(directory.tobytes())["clauses"])


def _table(rows: Sequence[CustomerRow]) -> Customers:
    """Customers' tables without addresses, rows numbered from 1."""
    _, arrays = unpack(build_customers(1, len(rows) + 1, 0, 0), Kind.CUSTOMERS, layout.CUSTOMERS_VERSION)
    standing, told = fields_of(arrays["rows"], layout.ROW), standings(rows)
    for name in STANDING:
        standing[name][1 : len(rows) + 1] = told[name]
    return Customers(*(_read_only(arrays[name]) for name in Customers.names()))


def _read_only(array: Array) -> Array:
    view: Array = array.view()
    view.flags.writeable = False
    return view
