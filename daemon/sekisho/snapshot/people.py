"""The customers file: an address table and the customers' columns, updated in place.

Readers take no lock. What makes that safe: an address entry's key is written once in a generation
(its length last, which is what makes it visible), and afterwards only its owner changes, one
aligned 32-bit store; a customer's entitlement is one aligned 64-bit store. A table that has no
room left is rebuilt as the next generation.

An address entry is half a cache line and so is a customer's row: a query touches one of each. The
prefixes of one customer hang together in a chain, so that a change needs no search; the chain is
the control plane's and no reader follows it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import (
    CUSTOMERS_VERSION,
    NOBODY,
    ROW_FIRST,
    ROW_WORDS,
    SLOT_HIGH,
    SLOT_LOW,
    SLOT_NEXT,
    SLOT_STATE,
    SLOT_WORDS,
)
from sekisho.snapshot.sections import Array, Kind, pack

_K1, _K2 = U64(0x9E3779B97F4A7C15), U64(0xC2B2AE3D27D4EB4F)
_K3, _K4 = U64(0x165667B19E3779F9), U64(0xD6E8FEB86659FD93)
_R32, _ONE, _LOW32 = U64(32), U64(1), U64(0xFFFFFFFF)


@compiled
def place_of(high, low, length, slots):  # type: ignore[no-untyped-def]
    """The slot at which the search for a prefix starts."""
    mixed = (high * _K1) ^ (low * _K2) ^ (U64(length) * _K3)
    mixed = (mixed ^ (mixed >> _R32)) * _K4
    mixed = (mixed ^ (mixed >> _R32)) * _K1
    return np.int64(((mixed >> _R32) * U64(slots)) >> _R32)


@compiled
def find_slot(slots, high, low, length):  # type: ignore[no-untyped-def]
    """The slot of a prefix (`slots` uint64 in one axis), or -1 - the free slot where it would go, or -1 - slots if the table is full."""
    count = slots.shape[0] // SLOT_WORDS
    slot = place_of(high, low, length, count)
    for _ in range(count):
        at = SLOT_WORDS * slot
        found = np.int64(slots[at + SLOT_STATE] & _LOW32)
        if found == 0:
            return -1 - slot
        if found == length + 1 and slots[at + SLOT_HIGH] == high and slots[at + SLOT_LOW] == low:
            return slot
        slot += 1
        if slot == count:
            slot = 0
    return -1 - count


@compiled
def unlink(slots, rows, slot):  # type: ignore[no-untyped-def]
    """Take a slot out of its owner's chain."""
    owner = np.int64(slots[SLOT_WORDS * slot + SLOT_STATE] >> _R32)
    if owner == NOBODY:
        return
    at = np.int64(rows[ROW_WORDS * owner + ROW_FIRST]) - 1
    after = slots[SLOT_WORDS * slot + SLOT_NEXT]
    if at == slot:
        rows[ROW_WORDS * owner + ROW_FIRST] = after
        return
    for _ in range(slots.shape[0] // SLOT_WORDS):
        if at < 0:
            return
        following = np.int64(slots[SLOT_WORDS * at + SLOT_NEXT]) - 1
        if following == slot:
            slots[SLOT_WORDS * at + SLOT_NEXT] = after
            return
        at = following


@compiled
def link(slots, rows, slot, owner):  # type: ignore[no-untyped-def]
    """Put a slot at the head of a customer's chain."""
    slots[SLOT_WORDS * slot + SLOT_NEXT] = rows[ROW_WORDS * owner + ROW_FIRST]
    rows[ROW_WORDS * owner + ROW_FIRST] = U64(slot + 1)


@compiled
def fill(slots, rows, present, high, low, length, owner):  # type: ignore[no-untyped-def]
    """Enter many prefixes in a table that is not yet in force; returns how many slots were newly used.

    Columns uint64, uint64, uint8, uint32. Of the same prefix twice the last owner has it.
    """
    used = 0
    for row in range(high.shape[0]):
        slot = find_slot(slots, high[row], low[row], np.int64(length[row]))
        if slot < 0:
            slot = -1 - slot
            used += 1
        else:
            unlink(slots, rows, slot)
        at = SLOT_WORDS * slot
        slots[at + SLOT_HIGH] = high[row]
        slots[at + SLOT_LOW] = low[row]
        slots[at + SLOT_STATE] = U64(length[row]) + _ONE | U64(owner[row]) << _R32
        link(slots, rows, slot, np.int64(owner[row]))
        present[np.int64(length[row]) >> 6] |= _ONE << U64(np.int64(length[row]) & 63)
    return used


def build_customers(generation: int, rows: int, prefixes: int, identities: int) -> bytearray:
    """An empty customers file with room for `rows` customers, `prefixes` prefixes and `identities` bytes of ids."""
    sections: dict[str, Array | bytes] = {
        "slots": np.zeros((max(64, prefixes * 2), SLOT_WORDS), np.uint64),
        "present": np.zeros(3, np.uint64),
        "rows": np.zeros((rows, ROW_WORDS), np.uint64),
        "identities": np.zeros(identities, np.uint8),
        "spans": np.zeros((rows, 2), np.uint32),
        "used": np.zeros(8, np.uint64),
    }
    return pack(Kind.CUSTOMERS, CUSTOMERS_VERSION, generation, sections, checked=False)


def fields_of(section: Array, layout: np.dtype[np.void]) -> NDArray[np.void]:
    """The `slots` or `rows` section as records of `SLOT` or `ROW`: a store to one field is one aligned store to the table."""
    return section.view(layout)[:, 0]
