"""Whose a port of a shared IPv4 address is (CGN, MAP-E): the parts customers have, as an array, and the search in it.

Owns the array, the search, and changing it in place while the collector reads it; who has which part is told by `sessions`. An address
that is shared is nobody's as a whole: what comes from a port that is no customer's part, or tells no port, is of nobody who is known,
whoever else may hold a prefix around it.

Parts hang in chains by their address. One is written before anything leads to it, and none is taken out: one that is given up is marked,
and taken up again with the same ports. So a reader needs no lock, and churn of the same blocks no room.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sekisho.model.sessions import Ports
from sekisho.snapshot.compiling import compiled

P_ADDRESS, P_FIRST, P_LAST, P_STEP, P_TIMES, P_ROW, P_NEXT, P_HEAD = range(8)
"""Columns: an IPv4 address, the first range of its ports, how far apart the ranges are, how many, and the customer's row (0: nobody's
whom we know; GIVEN_UP: nobody has it); the part after it in its chain, and the first of the chain that has this row's number. 0: none.
Row 0 is no part: it counts."""
COLUMNS = 8
LIVE, USED = P_ADDRESS, P_FIRST
"""Of row 0: parts somebody has, and rows that were ever parts."""
GIVEN_UP = -1
WHOLE, UNKNOWN = -1, -2
"""The address is shared by nobody; it is shared, and the port is no customer's."""
NO_PORT = -1
SPARE = 4096
"""Parts there is room for besides those there are, and besides a quarter as many again."""

Shares = NDArray[np.int64]
"""int64 (rows, COLUMNS)."""


def _at(address, rows):  # type: ignore[no-untyped-def]
    """The row whose P_HEAD leads to the parts of an address."""
    return (address ^ address >> 13) % rows


_chain = compiled(_at)


def no_shares() -> Shares:
    return np.zeros((0, COLUMNS), np.int64)


def make_shares(parts: Iterable[tuple[int, Ports, int]]) -> Shares:
    """Of IPv4 addresses with ports and the row of whose they are, with room for more."""
    rows = [(address, one.first, one.last, one.step, one.times, row) for address, one, row in parts]
    found = np.array(rows, np.int64).reshape(-1, P_ROW + 1)
    many = len(found)
    shares = np.zeros((1 + many + many // 4 + SPARE, COLUMNS), np.int64)
    shares[0, LIVE] = shares[0, USED] = many
    chains = _at(found[:, P_ADDRESS], len(shares))
    # Those of one address lie side by side, as they are looked through.
    order = np.lexsort((found[:, P_FIRST], found[:, P_ADDRESS], chains))
    chains = chains[order]
    shares[1 : many + 1, : P_ROW + 1] = found[order]
    numbers = np.arange(1, many + 1)
    begins = np.ones(many, np.bool_)
    begins[1:] = chains[1:] != chains[:-1]
    shares[chains[begins], P_HEAD] = numbers[begins]
    shares[numbers[:-1], P_NEXT] = np.where(begins[1:], 0, numbers[1:])
    return shares


def put_part(shares: Shares, address: int, ports: Ports, row: int) -> bool:
    """Have a part be a customer's; False: there is no room for it."""
    if not len(shares):
        return False
    place = _place(shares, address, ports)
    if not place:
        place = int(shares[0, USED]) + 1
        if place == len(shares):
            return False
        chain = _at(address, len(shares))
        shares[0, USED] = place
        shares[place, :P_HEAD] = (address, ports.first, ports.last, ports.step, ports.times, row, shares[chain, P_HEAD])
        # Only now a reader comes there.
        shares[chain, P_HEAD] = place
        shares[0, LIVE] += 1
        return True
    shares[0, LIVE] += shares[place, P_ROW] == GIVEN_UP
    shares[place, P_ROW] = row
    return True


def drop_part(shares: Shares, address: int, ports: Ports) -> None:
    """Have a part be nobody's any more, and the rest of the address what it is."""
    place = _place(shares, address, ports) if len(shares) else 0
    if place and shares[place, P_ROW] != GIVEN_UP:
        shares[place, P_ROW] = GIVEN_UP
        shares[0, LIVE] -= 1


def _place(shares: Shares, address: int, ports: Ports) -> int:
    return int(find_part(shares, address, ports.first, ports.last, ports.step, ports.times))


@compiled
def find_part(shares, address, first, last, step, times):  # type: ignore[no-untyped-def]
    """The place of a part, had by somebody or given up; 0: it is in no chain."""
    place = shares[_chain(address, shares.shape[0]), P_HEAD]
    while place > 0:
        if shares[place, P_ADDRESS] == address and shares[place, P_FIRST] == first and shares[place, P_LAST] == last:
            if shares[place, P_STEP] == step and shares[place, P_TIMES] == times:
                return place
        place = shares[place, P_NEXT]
    return place


@compiled
def find_sharer(shares, address, port):  # type: ignore[no-untyped-def]
    """The row of the customer who has a port of an IPv4 address; WHOLE, or UNKNOWN. `port` NO_PORT: it is not told."""
    if shares.shape[0] == 0 or shares[0, LIVE] == 0:
        return WHOLE
    found = WHOLE
    place = shares[_chain(address, shares.shape[0]), P_HEAD]
    while place > 0:
        row = shares[place, P_ROW]
        if row != GIVEN_UP and shares[place, P_ADDRESS] == address:
            found = UNKNOWN
            rest, turn = port - shares[place, P_FIRST], np.int64(0)
            if shares[place, P_TIMES] > 1 and rest >= 0:
                turn = rest // shares[place, P_STEP]
                rest -= turn * shares[place, P_STEP]
            if port >= 0 and 0 <= rest <= shares[place, P_LAST] - shares[place, P_FIRST] and turn < shares[place, P_TIMES]:
                return row if row > 0 else UNKNOWN
        place = shares[place, P_NEXT]
    return found
