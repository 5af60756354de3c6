"""How customers stand in the plane's table: whether they are there, whether a measure silences them, and how many addresses they have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.maps import MappedCustomers
from sekisho.model.customers import V4_MAPPED
from sekisho.snapshot import layout
from sekisho.snapshot.people import fields_of

_MOST_PREFIXES = 1024
"""Prefixes of one customer that are counted up."""
_MOST_ADDRESSES = 256
"""Addresses that weigh: a /24."""


def standing(customers: MappedCustomers, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Whether there is a customer in each row, whether a measure silences them, and how many IPv4 addresses are theirs.

    From 1 to a /24's; IPv6 prefixes are one line, however long.
    """
    known = rows < len(customers.tables.rows)
    found = fields_of(customers.tables.rows, layout.ROW)[np.where(known, rows, 0)]
    slots = fields_of(customers.tables.slots, layout.SLOT)
    at = np.where(known, found["first"].astype(np.int64), 0)
    addresses = np.zeros(len(rows), np.int64)
    for _ in range(_MOST_PREFIXES):
        going = (at > 0) & (at <= len(slots))
        if not going.any():
            break
        slot = slots[at[going] - 1]
        bits = 129 - slot["length"].astype(np.int64)
        four = (slot["high"] == 0) & (slot["low"] >> np.uint64(32) == V4_MAPPED >> 32) & (bits <= 32)
        addresses[going] += np.where(four, 1 << np.clip(bits, 0, 8), 0)
        at[going] = slot["next"].astype(np.int64)
        at[~going] = 0
    flags = np.where(known, found["flags"], 0)
    return flags & layout.ACTIVE != 0, flags & layout.SILENCED != 0, np.clip(addresses, 1, _MOST_ADDRESSES)
