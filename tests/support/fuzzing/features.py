"""The map of outcomes: which features an input had, and which of them were new.

A feature is a kind and a number; its place in the map is a hash, so two may share one, as in AFL's map.
"""

from __future__ import annotations

import numpy as np

from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64

PLACES = 1 << 16
TOUCHED = 64
"""Features one input may have."""
_K, _R = U64(0x9E3779B97F4A7C15), U64(48)

# Cells of a target's state.
FRESH, COUNT, FAULT, LENGTH, ROUNDS, POOLED, ANSWERED, SIZE, CHOICE, AWAY, CELLS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16
"""New features of the last input; its features; what was wrong with it; its length; inputs judged; inputs pooled;
answers seen; bytes of the last; what was drawn beside the input; 1 if it went on
to a resolver."""


@compiled
def mark(seen, touched, cells, kind, value):  # type: ignore[no-untyped-def]
    """Note a feature of the input being judged: `seen` uint8 (PLACES), `touched` int64 (TOUCHED)."""
    mixed = (U64(value & 0xFFFFFFFFFFFF) ^ (U64(kind) << _R)) * _K
    mixed ^= mixed >> U64(29)
    place = np.int64((mixed * _K) >> _R)
    if seen[place] == 0:
        seen[place] = 1
        cells[FRESH] += 1
    if cells[COUNT] < touched.shape[0]:
        touched[cells[COUNT]] = place
        cells[COUNT] += 1


@compiled
def bucket(value):  # type: ignore[no-untyped-def]
    """The power of two a number lies under: 0, 1, 2-3, 4-7 and so on."""
    size = 0
    while value > 0:
        value >>= 1
        size += 1
    return size
