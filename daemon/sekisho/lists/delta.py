"""Differences of an incremental transfer, applied to a compiled list.

The compiled list is all there is to apply them to: no copy of the zone is kept. A deletion takes
away a trigger whose action is the record deleted; what was refused or not kept was never there
and its deletion changes nothing. Works on digests, so only additions need names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import idn
from sekisho.lists.guard import REFUSALS, Guard, digest_rows, select
from sekisho.lists.names import compacted
from sekisho.lists.rows import FIXED, Rows, Tally
from sekisho.lists.zonetransfer import Difference
from sekisho.model.lists import PREFIXES, Action, ActionKind, Trigger
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList

_RECORDS = frozenset({ActionKind.LOCAL_DATA, ActionKind.CHASE})


@dataclass(slots=True)
class _Working:
    """One name while differences are applied: the action of each of its triggers."""

    name: bytes
    depth: int
    kind: int
    """ADDRESS or CLIENT, of a prefix; 0: a name."""
    actions: dict[int, Action]


def apply(compiled: CompiledList, differences: Sequence[Difference], key: Key, guard: Guard, tally: Tally) -> CompiledList:
    """The list after the differences, in their order. `tally.refused` changes by what they refuse
    and by what of them had been refused before.
    """
    touched: dict[tuple[int, int], _Working] = {}
    for difference in differences:
        rows = difference.rows
        digests, depths, codes = digest_rows(rows, key, guard)
        for row, code in enumerate(codes.tolist()):
            name = rows.name(row)
            if code:
                if difference.adding:
                    tally.refuse(int(rows.lines[row]), REFUSALS[code], "" if tally.sealed else idn.to_text(name))
                else:
                    tally.refused -= 1
                continue
            digest = int(digests[row, 0]), int(digests[row, 1])
            working = touched.get(digest)
            if working is None:
                working = touched[digest] = _load(compiled, digest, name, int(depths[row]), int(rows.triggers[row] & PREFIXES))
            action, trigger = _action(rows, row), int(rows.triggers[row] & ~PREFIXES)
            if difference.adding:
                _add(working, trigger, action)
            else:
                _delete(working, trigger, action)
    return _rebuilt(compiled, touched)


def _action(rows: Rows, row: int) -> Action:
    number = int(rows.actions[row]) - 1
    return FIXED[number] if number < len(FIXED) else rows.extra[number - len(FIXED)]


def _load(compiled: CompiledList, digest: tuple[int, int], name: bytes, depth: int, kind: int) -> _Working:
    working = _Working(name, depth, kind, {})
    row = compiled.find(*digest)
    if row is not None:
        for trigger, column in ((Trigger.EXACT, compiled.exact), (Trigger.BELOW, compiled.below)):
            if compiled.triggers[row] & trigger:
                working.actions[int(trigger)] = compiled.actions[int(column[row]) - 1]
    return working


def _add(working: _Working, trigger: int, action: Action) -> None:
    present = working.actions.get(trigger)
    if present is None:
        working.actions[trigger] = action
    elif present.kind is ActionKind.LOCAL_DATA and action.kind is ActionKind.LOCAL_DATA and action.records[0] not in present.records:
        working.actions[trigger] = replace(present, records=present.records + action.records)


def _delete(working: _Working, trigger: int, action: Action) -> None:
    present = working.actions.get(trigger)
    if present is None or present.kind is not action.kind:
        return
    if present.kind not in _RECORDS:
        del working.actions[trigger]
        return
    gone = action.records[0]
    # A deletion's TTL is no part of what it deletes (RFC 2181 section 5.2: one TTL for the set).
    left = tuple(record for record in present.records if (record.rtype, record.rdata) != (gone.rtype, gone.rdata))
    if left:
        working.actions[trigger] = replace(present, records=left)
    else:
        del working.actions[trigger]


def _rebuilt(compiled: CompiledList, touched: dict[tuple[int, int], _Working]) -> CompiledList:
    keep = np.ones(len(compiled), np.bool_)
    for digest in touched:
        row = compiled.find(*digest)
        if row is not None:
            keep[row] = False
    base = select(compiled, keep)
    added = [(digest, working) for digest, working in touched.items() if working.actions]
    actions = dict.fromkeys((*base.actions, *(action for _, working in added for action in working.actions.values())))
    numbers = {action: index + 1 for index, action in enumerate(actions)}
    mapping = np.array([0] + [numbers[action] for action in base.actions], np.uint32)
    names = b"".join(working.name for _, working in added)
    starts = np.cumsum([0] + [len(working.name) for _, working in added])[:-1] + len(base.names)
    digests = np.concatenate((base.digests, np.array([digest for digest, _ in added], np.uint64).reshape(-1, 2)))
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    named = bool(len(base.names)) or not len(base)
    return _pruned(
        CompiledList(
            digests=digests[order],
            triggers=np.concatenate((base.triggers, np.array([sum(w.actions) | w.kind for _, w in added], np.uint8)))[order],
            exact=_column(mapping[base.exact], added, numbers, Trigger.EXACT)[order],
            below=_column(mapping[base.below], added, numbers, Trigger.BELOW)[order],
            depths=np.concatenate((base.depths, np.array([w.depth for _, w in added], np.uint8)))[order],
            actions=tuple(actions),
            names=np.concatenate((base.names, np.frombuffer(names, np.uint8))) if named else base.names,
            offsets=np.concatenate((base.offsets, starts.astype(np.int64)))[order] if named else base.offsets,
        )
    )


def _column(
    base: NDArray[np.uint32], added: list[tuple[tuple[int, int], _Working]], numbers: dict[Action, int], trigger: Trigger
) -> NDArray[np.uint32]:
    new = [numbers[working.actions[int(trigger)]] if int(trigger) in working.actions else 0 for _, working in added]
    return np.concatenate((base, np.array(new, np.uint32)))


def _pruned(compiled: CompiledList) -> CompiledList:
    """Without actions and names that no row refers to any more."""
    used = sorted({int(number) for number in np.unique(np.concatenate((compiled.exact, compiled.below)))} - {0})
    numbers = np.zeros(len(compiled.actions) + 1, np.uint32)
    numbers[used] = np.arange(1, len(used) + 1)
    pruned = replace(
        compiled,
        exact=numbers[compiled.exact],
        below=numbers[compiled.below],
        actions=tuple(compiled.actions[number - 1] for number in used),
    )
    return compacted(pruned)
