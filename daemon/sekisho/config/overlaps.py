"""Prefixes that overlap: found by one sort, whatever their number.

Prefixes either nest or are apart. Sorted by first address and then length, one that holds another
holds the next one, so a single comparison of neighbours finds whether there is any overlap; only
the stretches where there is one are walked.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from sekisho.model.customers import Prefix

Words = NDArray[np.uint64]
Keys = NDArray[np.bytes_]


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


def sorted_keys(high: Words, low: Words, order: NDArray[np.intp]) -> Keys:
    """The first addresses in their order, as 16 octets each: what one is looked for in."""
    words = np.empty((len(order), 2), ">u8")
    words[:, 0], words[:, 1] = high[order], low[order]
    return words.view("S16").reshape(-1)


def overlapping_rows(
    prefixes: Iterable[Prefix], keys: Keys, lengths: NDArray[np.uint8], order: NDArray[np.intp], present: Collection[int]
) -> Iterator[tuple[Prefix, int]]:
    """Of many prefixes each with the rows whose prefixes overlap it, the widest first.

    `keys` and `order` are `sorted_keys`' and `sorted_order`'s, `present` the lengths there are. All are looked for in one step.
    """
    firsts: list[bytes] = []
    lasts: list[bytes] = []
    wanted: list[tuple[Prefix, int, int]] = []
    for prefix in prefixes:
        value, length = prefix
        for shorter in sorted(present):  # those that hold it, each at its own first address
            if shorter < length:
                first = (value >> (128 - shorter) << (128 - shorter)).to_bytes(16)
                firsts.append(first)
                lasts.append(first)
                wanted.append((prefix, shorter, shorter))
        firsts.append(value.to_bytes(16))  # those it holds
        lasts.append((value | (1 << (128 - length)) - 1).to_bytes(16))
        wanted.append((prefix, length, 128))
    begins, ends = keys.searchsorted(np.array(firsts, "S16")), keys.searchsorted(np.array(lasts, "S16"), side="right")
    for at in np.flatnonzero(begins < ends).tolist():
        prefix, widest, narrowest = wanted[at]
        for row in order[begins[at] : ends[at]].tolist():
            if widest <= lengths[row] <= narrowest:
                yield prefix, row
