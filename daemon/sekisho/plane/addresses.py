"""From a source address to the customer: longest prefix first, over the lengths that are present.

IPv4 lives at ::ffff:0:0/96 of the one 128-bit space. Reads the table `snapshot.people` lays out.
"""

from __future__ import annotations

import numpy as np

from sekisho.plane.native import get32, u64s
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import NOBODY, SLOT_STATE, SLOT_WORDS
from sekisho.snapshot.people import find_slot

V4 = U64(0xFFFF) << U64(32)
_ONE, _R32, _ALL = U64(1), U64(32), U64(0xFFFFFFFFFFFFFFFF)
AF_INET, AF_INET6 = 2, 10
SHORTEST_V4 = 96


@compiled
def source_of(names, base):  # type: ignore[no-untyped-def]
    """High and low word of the address in the sockaddr at `base` of `names` (uint8)."""
    if names[base] == AF_INET:
        return U64(0), V4 | U64(get32(names, base + 4))
    high = (U64(get32(names, base + 8)) << _R32) | U64(get32(names, base + 12))
    low = (U64(get32(names, base + 16)) << _R32) | U64(get32(names, base + 20))
    return high, low


@compiled
def find_customer(customers, high, low):  # type: ignore[no-untyped-def]
    """Row of the customer whose longest prefix holds the address, or -1."""
    slots, present = u64s(customers.slots), u64s(customers.present)
    shortest = SHORTEST_V4 if high == U64(0) and (low >> _R32) == U64(0xFFFF) else 0
    for length in range(128, shortest - 1, -1):
        if not (present[length >> 6] >> U64(length & 63)) & _ONE:
            continue
        if length > 64:
            masked_high = high
            masked_low = low & (_ALL << U64(128 - length)) if length < 128 else low
        else:
            masked_high = high & (_ALL << U64(64 - length)) if length > 0 else U64(0)
            masked_low = U64(0)
            if length == 64:
                masked_high = high
        slot = find_slot(slots, masked_high, masked_low, length)
        if slot >= 0:
            owner = np.int64(slots[SLOT_WORDS * slot + SLOT_STATE] >> _R32)
            if owner != NOBODY:
                return owner
    return -1
