"""The customers file: an address table and the customers' columns, updated in place.

Readers take no lock. What makes that safe: an address entry's key is written once in a generation
(its length last, which is what makes it visible), and afterwards only its owner changes, one
aligned 32-bit store; a customer's entitlement is one aligned 64-bit store. A table that has no
room left is rebuilt as the next generation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import CUSTOMERS_VERSION
from sekisho.snapshot.sections import Array, Kind, pack

_K1, _K2 = U64(0x9E3779B97F4A7C15), U64(0xC2B2AE3D27D4EB4F)
_K3, _K4 = U64(0x165667B19E3779F9), U64(0xD6E8FEB86659FD93)
_R32 = U64(32)


@compiled
def place_of(high, low, length, slots):  # type: ignore[no-untyped-def]
    """The slot at which the search for a prefix starts."""
    mixed = (high * _K1) ^ (low * _K2) ^ (U64(length) * _K3)
    mixed = (mixed ^ (mixed >> _R32)) * _K4
    mixed = (mixed ^ (mixed >> _R32)) * _K1
    return np.int64(((mixed >> _R32) * U64(slots)) >> _R32)


@compiled
def find_slot(addresses, lengths, high, low, length):  # type: ignore[no-untyped-def]
    """The slot of a prefix (`addresses` in one axis), or -1 - the free slot where it would go, or -1 - slots if the table is full."""
    slots = lengths.shape[0]
    slot = place_of(high, low, length, slots)
    for _ in range(slots):
        found = lengths[slot]
        if found == 0:
            return -1 - slot
        if found == length + 1 and addresses[2 * slot] == high and addresses[2 * slot + 1] == low:
            return slot
        slot += 1
        if slot == slots:
            slot = 0
    return -1 - slots


@compiled
def fill(addresses, lengths, owners, present, high, low, length, owner):  # type: ignore[no-untyped-def]
    """Enter many prefixes; returns how many slots were newly used. Columns uint64, uint64, uint8, uint32."""
    used = 0
    for row in range(high.shape[0]):
        slot = find_slot(addresses, lengths, high[row], low[row], np.int64(length[row]))
        if slot < 0:
            slot = -1 - slot
            used += 1
        addresses[2 * slot] = high[row]
        addresses[2 * slot + 1] = low[row]
        owners[slot] = owner[row]
        lengths[slot] = length[row] + 1
        present[np.int64(length[row]) >> 6] |= U64(1) << U64(np.int64(length[row]) & 63)
    return used


def build_customers(generation: int, rows: int, prefixes: int, identities: int) -> bytearray:
    """An empty customers file with room for `rows` customers, `prefixes` prefixes and `identities` bytes of ids."""
    slots = max(64, prefixes * 2)
    zero: NDArray[np.uint64] = np.zeros(rows, np.uint64)
    sections: dict[str, Array | bytes] = {
        "addresses": np.zeros((slots, 2), np.uint64),
        "lengths": np.zeros(slots, np.uint8),
        "owners": np.zeros(slots, np.uint32),
        "present": np.zeros(3, np.uint64),
        "masks": zero,
        "profiles": np.zeros(rows, np.uint16),
        "flags": np.zeros(rows, np.uint32),
        "rates": np.zeros(rows, np.uint32),
        "bursts": np.zeros(rows, np.uint32),
        "identities": np.zeros(identities, np.uint8),
        "spans": np.zeros((rows, 2), np.uint32),
        "used": np.zeros(8, np.uint64),
    }
    return pack(Kind.CUSTOMERS, CUSTOMERS_VERSION, generation, sections, checked=False)
