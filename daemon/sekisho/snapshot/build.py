"""Compile lists, rules and exceptions into the snapshot: a pure function to one buffer.

Owns how entries of several lists that hold one name are brought together. Up to 64 lists; a
combination of lists and actions is stored once, however many names share it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.model.clauses import Profile
from sekisho.model.errors import RefusedError
from sekisho.model.lists import MAX_LISTS, PREFIXES, Action, ActionKind, ListDefinition, Trigger
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64, Key, digest_name
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.layout import (
    CHECK_NAME,
    MAX_RULES,
    NO_RULE,
    SNAPSHOT_VERSION,
    WATCH_ANSWERS,
    WATCH_CHAINS,
    WATCH_CLIENTS,
    WATCH_LISTS,
    WATCH_WORDS,
)
from sekisho.snapshot.sections import Array, Kind, pack

_LOAD = 0.6
_R32 = U64(32)


@dataclass(frozen=True, slots=True)
class Exemption:
    """An operator's exception: the list of `order` does not hold the name, or the prefix, of this digest.

    `depth` and `triggers` as in `CompiledList`.
    """

    order: int
    first: int
    second: int
    depth: int
    triggers: int


@dataclass(frozen=True, slots=True)
class Garden:
    """The walled garden: what names are answered with, and the names (canonical wire form) let out of it with all below."""

    action: Action
    passes: tuple[bytes, ...] = ()


@dataclass(slots=True)
class _Actions:
    """Interns actions; row 0 is DEFAULT."""

    rows: list[tuple[int, int, int, int]] = field(default_factory=lambda: [(0, 0, 0, 0)])
    records: list[tuple[int, int, int, int]] = field(default_factory=list)
    rdata: bytearray = field(default_factory=bytearray)
    seen: dict[Action, int] = field(default_factory=dict)

    def intern(self, action: Action) -> int:
        if action not in self.seen:
            first = len(self.records)
            for record in action.records:
                self.records.append((record.rtype, record.ttl, len(self.rdata), len(record.rdata)))
                self.rdata += record.rdata
            self.seen[action] = len(self.rows)
            self.rows.append((int(action.kind), first, len(action.records), 0))
        return self.seen[action]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Entries of all lists in one set of columns."""

    digests: NDArray[np.uint64]
    lists: NDArray[np.uint8]
    triggers: NDArray[np.uint8]
    exact: NDArray[np.uint32]
    below: NDArray[np.uint32]
    depths: NDArray[np.uint8]


def build(
    epoch: int,
    lists: Sequence[tuple[ListDefinition, CompiledList]],
    profiles: Sequence[Profile],
    exceptions: Sequence[Exemption],
    key: Key,
    *,
    grounds: Sequence[str] = (),
    garden: Garden | None = None,
) -> bytearray:
    """Build the snapshot file of `epoch`.

    `grounds` are the clauses of measures, whose numbers on customers' rows are their places in it. Without a `garden`
    whom a measure would lead there is answered REFUSED, with the clause.
    Raises RefusedError if there are more lists or rules than the tables can name.
    """
    if len(lists) > MAX_LISTS:
        message = f"{len(lists)} lists are defined and {MAX_LISTS} can be in force; remove or merge some"
        raise RefusedError(message)
    actions = _Actions()
    rows = _gather(lists, exceptions, actions)
    sections = _index(rows)
    sections["watched"] = _watched(rows)
    policy, directory = _policy(lists, profiles, actions, grounds)
    sections |= policy
    sections["watched"][WATCH_CHAINS] = np.bitwise_or.reduce(policy["chains"])
    sections |= _walls(garden or Garden(Action(ActionKind.REFUSED)), actions)
    sections["actions"] = np.array(actions.rows, np.uint32).reshape(-1, 4)
    sections["records"] = np.array(actions.records, np.uint32).reshape(-1, 4)
    sections["rdata"] = np.frombuffer(bytes(actions.rdata), np.uint8)
    sections["check"] = np.array(digest_name(CHECK_NAME, key), np.uint64)
    sections["directory"] = np.frombuffer(json.dumps(directory, ensure_ascii=False).encode(), np.uint8)
    return pack(Kind.SNAPSHOT, SNAPSHOT_VERSION, epoch, sections)


def _gather(lists: Sequence[tuple[ListDefinition, CompiledList]], exceptions: Sequence[Exemption], actions: _Actions) -> _Rows:
    columns: list[_Rows] = []
    excepted = actions.intern(Action(ActionKind.EXCEPT)) if exceptions else 0
    for definition, entries in lists:
        numbers = np.array([0] + [actions.intern(action) for action in entries.actions], np.uint32)
        triggers = entries.triggers
        exact, below = numbers[entries.exact], numbers[entries.below]
        mine = [item for item in exceptions if item.order == definition.order]
        extra: list[Exemption] = []
        if mine:
            triggers = triggers.copy()
        for item in mine:
            row = entries.find(item.first, item.second)
            if row is None:
                extra.append(item)
                continue
            triggers[row] |= item.triggers
            if item.triggers & 1:
                exact[row] = excepted
            if item.triggers & 2:
                below[row] = excepted
        full = np.full(len(entries), definition.order, np.uint8)
        columns.append(_Rows(entries.digests, full, triggers, exact, below, entries.depths))
        if extra:
            columns.append(_exempt_rows(extra, excepted))
    if not columns:
        none8, none32 = np.empty(0, np.uint8), np.empty(0, np.uint32)
        return _Rows(np.empty((0, 2), np.uint64), none8, none8, none32, none32, none8)
    if len(columns) == 1:
        return columns[0]
    return _Rows(*(np.concatenate([getattr(part, name) for part in columns]) for name in _Rows.__slots__))


def _exempt_rows(items: Sequence[Exemption], action: int) -> _Rows:
    number = np.full(len(items), action, np.uint32)
    return _Rows(
        np.array([(item.first, item.second) for item in items], np.uint64),
        np.array([item.order for item in items], np.uint8),
        np.array([item.triggers for item in items], np.uint8),
        number,
        number,
        np.array([item.depth for item in items], np.uint8),
    )


def _index(rows: _Rows) -> dict[str, Array]:
    """The names table and the combinations it refers to."""
    count = rows.digests.shape[0]
    slots = max(8, int(count / _LOAD) + 1)
    keys = np.zeros((slots, 2), np.uint64)
    heads = np.zeros(slots, np.uint32)
    chain = np.zeros(count, np.uint32)
    signature = (
        rows.lists.astype(np.uint64)
        | (rows.triggers & 3).astype(np.uint64) << np.uint64(6)
        | rows.exact.astype(np.uint64) << np.uint64(8)
        | rows.below.astype(np.uint64) << np.uint64(36)
    )
    prints = np.zeros(slots, np.uint64)
    _place(rows.digests, signature, keys, heads, chain, prints)
    combo = np.zeros(slots, np.uint32)
    first = _number_combinations(heads, prints, combo)
    holders, offsets, choices = [(0, 0)], [0], [0]
    if len(first):
        holders, offsets, choices = [], [], []
    for slot in first:
        members = []
        row = int(heads[slot])
        while row:
            members.append(row - 1)
            row = int(chain[row - 1])
        exact = sorted({int(rows.lists[m]): int(rows.exact[m]) for m in members if rows.triggers[m] & 1}.items())
        below = sorted({int(rows.lists[m]): int(rows.below[m]) for m in members if rows.triggers[m] & 2}.items())
        offsets.append(len(choices))
        holders.append((sum(1 << order for order, _ in exact), sum(1 << order for order, _ in below)))
        choices += [action for _, action in exact] + [action for _, action in below]
    depths = np.zeros(2, np.uint64)
    for depth in np.flatnonzero(np.bincount(rows.depths[(rows.triggers & PREFIXES) == 0], minlength=1)):
        depths[int(depth) >> 6] |= np.uint64(1 << (int(depth) & 63))
    return {
        "keys": keys,
        "combo": combo,
        "holders": np.array(holders, np.uint64).reshape(-1, 2),
        "offsets": np.array(offsets, np.uint32),
        "choices": np.array(choices or [0], np.uint32),
        "depths": depths,
    }


def _watched(rows: _Rows) -> NDArray[np.uint64]:
    """Which lengths the prefixes among the entries have, and which lists hold any; see `layout.WATCH_ANSWERS`."""
    watched = [0] * WATCH_WORDS
    for trigger, at in ((Trigger.ADDRESS, WATCH_ANSWERS), (Trigger.CLIENT, WATCH_CLIENTS)):
        mine = (rows.triggers & trigger) != 0
        for length in np.unique(rows.depths[mine]).tolist():
            watched[at + (length >> 6)] |= 1 << (length & 63)
        watched[at + WATCH_LISTS] = sum(1 << order for order in np.unique(rows.lists[mine]).tolist())
    return np.array(watched, np.uint64)


def _number_combinations(heads: NDArray[np.uint32], prints: NDArray[np.uint64], combo: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Number the combinations by their prints in `combo`; gives a slot that has each.

    A list has few: they are found in one pass with a small table, which is made larger if it fills up.
    """
    room = 1 << 12
    while True:
        table, firsts = np.zeros(room, np.int64), np.zeros(room // 2, np.int64)
        count = _number(heads, prints, combo, table, firsts)
        if count >= 0:
            return firsts[:count]
        room <<= 4


@compiled
def _number(heads, prints, combo, table, firsts):  # type: ignore[no-untyped-def]
    """Returns how many combinations there are, -1: more than `firsts` has room for. `table` holds number + 1, its size a power of two."""
    mask = U64(table.shape[0] - 1)
    count = 0
    for slot in range(heads.shape[0]):
        if heads[slot] == 0:
            continue
        at = np.int64(prints[slot] & mask)
        while table[at] != 0 and prints[firsts[table[at] - 1]] != prints[slot]:
            at = (at + 1) & np.int64(mask)
        if table[at] == 0:
            if count == firsts.shape[0]:
                return -1
            firsts[count] = slot
            count += 1
            table[at] = count
        combo[slot] = table[at] - 1
    return count


@compiled
def _place(digests, signature, keys, heads, chain, prints):  # type: ignore[no-untyped-def]
    """Put every row into the table; rows of one name form a chain, and a print of the whole chain."""
    slots = U64(keys.shape[0])
    for row in range(digests.shape[0]):
        first = digests[row, 0]
        second = digests[row, 1]
        slot = np.int64(((first >> _R32) * slots) >> _R32)
        while heads[slot] != 0 and (keys[slot, 0] != first or keys[slot, 1] != second):
            slot += 1
            if slot == keys.shape[0]:
                slot = 0
        keys[slot, 0] = first
        keys[slot, 1] = second
        chain[row] = heads[slot]
        heads[slot] = row + 1
        mixed = (prints[slot] ^ signature[row]) + U64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> U64(27))) * U64(0x94D049BB133111EB)
        prints[slot] = mixed ^ (mixed >> U64(31))


def _walls(garden: Garden, actions: _Actions) -> dict[str, Array]:
    """The walled garden's tables; its names lie with the actions' data."""
    passes = []
    for name in garden.passes:
        labels = position = 0
        while name[position]:
            labels, position = labels + 1, position + name[position] + 1
        passes.append((labels, len(actions.rdata), len(name)))
        actions.rdata += name
    return {
        "garden": np.array([actions.intern(garden.action)], np.uint32),
        "passes": np.array(passes, np.uint32).reshape(-1, 3),
    }


def _policy(
    lists: Sequence[tuple[ListDefinition, CompiledList]], profiles: Sequence[Profile], actions: _Actions, grounds: Sequence[str]
) -> tuple[dict[str, Array], dict[str, object]]:
    """The tables of what each profile's terms say of each list, and the directory of ids."""
    count = max(1, len(profiles))
    rules = np.full((count, MAX_LISTS), NO_RULE, np.uint16)
    defaults = np.zeros((count, MAX_LISTS), np.uint32)
    ede = np.zeros((count, MAX_LISTS), np.uint16)
    notes = np.zeros((count, MAX_LISTS), np.uint32)
    mandatory, chains = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    budgets = np.full(count, NO_RULE, np.uint16)
    clauses: list[str] = list(grounds)
    texts: list[str] = ["", *clauses]
    for number, profile in enumerate(profiles):
        for definition, _ in lists:
            order = definition.order
            rule = profile.block[order]
            if rule is None:
                continue
            if rule.clause not in clauses:
                clauses.append(rule.clause)
            rules[number, order] = clauses.index(rule.clause)
            defaults[number, order] = actions.intern(definition.answer or rule.answer or Action(ActionKind.NXDOMAIN))
            ede[number, order] = int(rule.ede)
            note = "" if definition.sealed else rule.clause
            if note not in texts:
                texts.append(note)
            notes[number, order] = texts.index(note)
            if rule.mandatory:
                mandatory[number] |= np.uint64(1 << order)
            if rule.check_cnames:
                chains[number] |= np.uint64(1 << order)
        if profile.budget is not None:
            if profile.budget.clause not in clauses:
                clauses.append(profile.budget.clause)
            budgets[number] = clauses.index(profile.budget.clause)
    if len(clauses) > MAX_RULES:
        message = f"{len(clauses)} clauses that authorise a measure are in use and {MAX_RULES} can be; use fewer terms packs"
        raise RefusedError(message)
    encoded = [text.encode() for text in texts]
    starts = np.cumsum([0, *(len(text) for text in encoded)])[:-1]
    sections: dict[str, Array] = {
        "rules": rules,
        "defaults": defaults,
        "ede": ede,
        "notes": notes,
        "mandatory": mandatory,
        "chains": chains,
        "budgets": budgets,
        "grounds": np.arange(1, len(grounds) + 1, dtype=np.uint32),
        "spans": np.array([(start, len(text)) for start, text in zip(starts, encoded, strict=True)], np.uint32),
        "text": np.frombuffer(b"".join(encoded) or b"\0", np.uint8),
    }
    directory: dict[str, object] = {
        "lists": [{"id": d.id, "order": d.order, "category": d.category, "sealed": d.sealed, "entries": len(c)} for d, c in lists],
        "clauses": clauses,
        "profiles": [list(profile.terms) for profile in profiles],
    }
    return sections, directory
