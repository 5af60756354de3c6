"""The table of names of a snapshot: which lists hold a name, and what each answers.

Owns how entries of several lists that hold one name are brought together: a combination of lists and actions is
stored once, however many names share it. Not what the lists and actions are (`snapshot.build`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.model.lists import PREFIXES, Trigger
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import WATCH_ANSWERS, WATCH_CLIENTS, WATCH_LISTS, WATCH_WORDS
from sekisho.snapshot.sections import Array

_LOAD = 0.6
_R32 = U64(32)


@dataclass(frozen=True, slots=True)
class Rows:
    """Entries of all lists in one set of columns."""

    digests: NDArray[np.uint64]
    lists: NDArray[np.uint8]
    triggers: NDArray[np.uint8]
    exact: NDArray[np.uint32]
    below: NDArray[np.uint32]
    depths: NDArray[np.uint8]


def index_of(rows: Rows) -> dict[str, Array]:
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


def watched_by(rows: Rows) -> NDArray[np.uint64]:
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
