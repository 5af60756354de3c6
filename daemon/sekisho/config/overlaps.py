"""Prefixes that overlap: found by one sort, whatever their number.

Prefixes either nest or are apart. Sorted by first address and then length, one that holds another
holds the next one, so a single comparison of neighbours finds whether there is any overlap; only
the stretches where there is one are walked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Generator, Iterator

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def _masks() -> tuple[Words, Words]:
    full = [(1 << 128) - (1 << (128 - length)) for length in range(129)]
    high = np.array([mask >> 64 for mask in full], np.uint64)
    low = np.array([mask & 0xFFFFFFFFFFFFFFFF for mask in full], np.uint64)
    return high, low


MASK_HIGH, MASK_LOW = _masks()


def sorted_order(high: Words, low: Words, lengths: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The rows by first address, then length, then as they stand."""
    return np.lexsort((lengths, low, high))


def find_overlaps(
    high: Words, low: Words, lengths: NDArray[np.uint8], owners: NDArray[np.uint32], order: NDArray[np.intp]
) -> Iterator[tuple[int, int]]:
    """Pairs (outer, inner) of rows whose prefixes overlap and whose owners differ.

    `high`, `low`: the address words (n); `lengths`: of the prefixes (n); `owners`: whose each is (n);
    `order`: `sorted_order`'s.
    Every inner prefix is told once, with the narrowest prefix of another owner that holds it. Of
    equal prefixes the earlier row is the outer.
    """
    if len(lengths) < 2:
        return
    high, low, lengths = high[order], low[order], lengths[order]
    mask_high, mask_low = MASK_HIGH[lengths[:-1]], MASK_LOW[lengths[:-1]]
    holds_next = ((high[1:] & mask_high) == high[:-1]) & ((low[1:] & mask_low) == low[:-1])
    done = 0
    for begin in np.flatnonzero(holds_next).tolist():
        if begin >= done:
            done = yield from _walk(begin, high, low, lengths, order, owners)


def _walk(
    begin: int, high: Words, low: Words, lengths: NDArray[np.uint8], order: NDArray[np.intp], owners: NDArray[np.uint32]
) -> Generator[tuple[int, int], None, int]:
    """Walk the rows under the prefix at `begin`; returns the first row beyond it."""
    enclosing: list[tuple[int, int, int]] = []  # first address, length, row
    row = begin
    while row < len(order):
        value, place = int(high[row]) << 64 | int(low[row]), int(order[row])
        while enclosing and (value ^ enclosing[-1][0]) >> (128 - enclosing[-1][1]):
            enclosing.pop()
        if row > begin and not enclosing:
            return row
        owner = owners[place]
        outer = next((other for _, _, other in reversed(enclosing) if owners[other] != owner), None)
        if outer is not None:
            yield outer, place
        enclosing.append((value, int(lengths[row]), place))
        row += 1
    return row


def overlapping_rows(
    value: int, length: int, high: Words, low: Words, lengths: NDArray[np.uint8], order: NDArray[np.intp], present: Collection[int]
) -> Iterator[int]:
    """The rows whose prefixes overlap one prefix; `order` is `sorted_order`'s, `present` the lengths there are."""

    def first_address(row: int) -> int:
        return int(high[row]) << 64 | int(low[row])

    for shorter in sorted(present):  # those that hold it, each at its own first address
        if shorter < length:
            start = value >> (128 - shorter) << (128 - shorter)
            place = bisect_left(order, start, key=first_address)
            while place < len(order) and first_address(order[place]) == start:
                if lengths[order[place]] == shorter:
                    yield int(order[place])
                place += 1
    place, last = bisect_left(order, value, key=first_address), value | (1 << (128 - length)) - 1
    while place < len(order) and first_address(order[place]) <= last:  # those it holds
        if lengths[order[place]] >= length:
            yield int(order[place])
        place += 1
