"""Whose a port of a shared IPv4 address is (CGN, MAP-E): the parts customers have, as an array, and the search in it.

Owns the array and the search; who has which part is told by `sessions`. An address that is shared is nobody's as a whole: what comes
from a port that is no customer's part, or tells no port, is of nobody who is known, whoever else may hold a prefix around it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sekisho.model.sessions import Ports
from sekisho.snapshot.compiling import compiled

P_ADDRESS, P_FIRST, P_LAST, P_STEP, P_TIMES, P_ROW = range(6)
"""Columns: an IPv4 address, the first range of its ports, how far apart the ranges are, how many, and the customer's row; 0: nobody's
whom we know."""
COLUMNS = 6
WHOLE, UNKNOWN = -1, -2
"""The address is shared by nobody; it is shared, and the port is no customer's."""
NO_PORT = -1

Shares = NDArray[np.int64]
"""int64 (parts, COLUMNS), by ascending address."""


def no_shares() -> Shares:
    return np.zeros((0, COLUMNS), np.int64)


def make_shares(parts: Iterable[tuple[int, Ports, int]]) -> Shares:
    """Of IPv4 addresses with ports and the row of whose they are."""
    rows = [(address, one.first, one.last, one.step, one.times, row) for address, one, row in parts]
    shares = np.array(rows, np.int64).reshape(-1, COLUMNS)
    return np.ascontiguousarray(shares[np.argsort(shares[:, P_ADDRESS], kind="stable")])


@compiled
def find_sharer(shares, address, port):  # type: ignore[no-untyped-def]
    """The row of the customer who has a port of an IPv4 address; WHOLE, or UNKNOWN. `port` NO_PORT: it is not told."""
    low, high = 0, shares.shape[0]
    while low < high:
        middle = (low + high) // 2
        if shares[middle, P_ADDRESS] < address:
            low = middle + 1
        else:
            high = middle
    if low == shares.shape[0] or shares[low, P_ADDRESS] != address:
        return WHOLE
    while port >= 0 and low < shares.shape[0] and shares[low, P_ADDRESS] == address:
        rest, turn = port - shares[low, P_FIRST], np.int64(0)
        if shares[low, P_TIMES] > 1 and rest >= 0:
            turn = rest // shares[low, P_STEP]
            rest -= turn * shares[low, P_STEP]
        if 0 <= rest <= shares[low, P_LAST] - shares[low, P_FIRST] and turn < shares[low, P_TIMES]:
            row = shares[low, P_ROW]
            return row if row > 0 else UNKNOWN
        low += 1
    return UNKNOWN
