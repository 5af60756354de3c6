"""Compile lists, rules and exceptions into the snapshot: a pure function to one buffer.

Owns what goes into it, and the numbers lists, rules and actions have there. Up to 64 lists. The table of names
itself is made by `snapshot.index`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sekisho.model.clauses import Profile
from sekisho.model.errors import RefusedError
from sekisho.model.lists import MAX_LISTS, Action, ActionKind, ListDefinition
from sekisho.snapshot.digest import Key, digest_name
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.index import Rows, index_of, watched_by
from sekisho.snapshot.layout import (
    CHECK_NAME,
    MAX_RULES,
    NO_RULE,
    SNAPSHOT_VERSION,
    WATCH_CHAINS,
)
from sekisho.snapshot.sections import Array, Kind, pack


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
    sections = index_of(rows)
    sections["watched"] = watched_by(rows)
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


def _gather(lists: Sequence[tuple[ListDefinition, CompiledList]], exceptions: Sequence[Exemption], actions: _Actions) -> Rows:
    columns: list[Rows] = []
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
        columns.append(Rows(entries.digests, full, triggers, exact, below, entries.depths))
        if extra:
            columns.append(_exempt_rows(extra, excepted))
    if not columns:
        none8, none32 = np.empty(0, np.uint8), np.empty(0, np.uint32)
        return Rows(np.empty((0, 2), np.uint64), none8, none8, none32, none32, none8)
    if len(columns) == 1:
        return columns[0]
    return Rows(*(np.concatenate([getattr(part, name) for part in columns]) for name in Rows.__slots__))


def _exempt_rows(items: Sequence[Exemption], action: int) -> Rows:
    number = np.full(len(items), action, np.uint32)
    return Rows(
        np.array([(item.first, item.second) for item in items], np.uint64),
        np.array([item.order for item in items], np.uint8),
        np.array([item.triggers for item in items], np.uint8),
        number,
        number,
        np.array([item.depth for item in items], np.uint8),
    )


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
