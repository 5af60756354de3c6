"""Whether a name was asked for lately: a sketch that can be asked, and from which no name comes back.

A Bloom filter of keyed digests (SipHash, under a key drawn from the kernel when the desk is first used,
which is written nowhere). A flood of made-up names under one domain shows as names nobody asked for
before; how many of a customer's were so is counted, which ones is not. Two halves take turns: names go
into the younger, both are asked, and the older is wiped when the younger is full or has grown old. So a
name is remembered for one to two times `KEPT`, or less in a flood.

A name in the sketch is never taken for a new one. A new one is taken for known at most once in about
thirty times, when a half is full. Looked at only where a query goes on to a resolver: what the cache holds was asked for.
"""

from __future__ import annotations

import numpy as np

from sekisho.plane.native import load64, refill
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64, absorb, finish, start

WORDS = 65536
"""Words of a half: 4 Mbit."""
CAPACITY = 8 * WORDS
"""Names a half takes: three bits each leave two thirds of it empty."""
KEPT = 600_000_000_000
"""Nanoseconds a half takes names before the other's turn comes."""

# Cells of `sketch`.
K_FIRST, K_SECOND = 0, 1
"""The key; both 0: none drawn yet."""
K_HALF = 2
K_NAMES = 3
"""Names put into the younger half."""
K_SINCE = 4
"""When it became the younger, monotonic ns."""
K_CELLS = 8

_ONE, _SIX, _TWELVE, _R48, _LOW6 = U64(1), U64(6), U64(12), U64(48), U64(63)


@compiled
def is_new(sketch, halves, pool, lower, labels, count, now):  # type: ignore[no-untyped-def]
    """Whether the name was not asked for lately; from now on it was.

    `sketch` uint64 (K_CELLS), `halves` uint64 (2, WORDS); `pool` uint8 (16 or more): scratch room, overwritten when the key
    is drawn; `lower`, `labels`, `count`: the name; `now`: monotonic ns.
    """
    if sketch[K_FIRST] == U64(0) and sketch[K_SECOND] == U64(0):
        refill(pool)
        sketch[K_FIRST], sketch[K_SECOND] = load64(pool, 0) | _ONE, load64(pool, 8)
        sketch[K_SINCE] = U64(now)
        pool[:16] = 0
    if np.int64(sketch[K_NAMES]) >= CAPACITY or now - np.int64(sketch[K_SINCE]) >= KEPT:
        turn(sketch, halves, now)
    a, b, c, d = start(sketch[K_FIRST], sketch[K_SECOND])
    for index in range(count - 1, -1, -1):
        a, b, c, d = absorb(lower, labels[index], a, b, c, d)
    digest, _, _, _, _ = finish(a, b, c, d)
    bits = _ONE << (digest & _LOW6) | _ONE << (digest >> _SIX & _LOW6) | _ONE << (digest >> _TWELVE & _LOW6)
    half, word = np.int64(sketch[K_HALF]), np.int64(digest >> _R48)
    if halves[half, word] & bits == bits:
        return False
    halves[half, word] |= bits
    sketch[K_NAMES] += _ONE
    return halves[1 - half, word] & bits != bits


@compiled
def turn(sketch, halves, now):  # type: ignore[no-untyped-def]
    """Wipe the older half and go on in it."""
    half = 1 - np.int64(sketch[K_HALF])
    halves[half, :] = U64(0)
    sketch[K_HALF] = U64(half)
    sketch[K_NAMES] = U64(0)
    sketch[K_SINCE] = U64(now)
