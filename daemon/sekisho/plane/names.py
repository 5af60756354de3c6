"""The names index: which lists hold a query name, in one pass over its labels.

Reads what `snapshot.build` wrote. Of one list the most specific entry counts (the longest
suffix, the exact name before a wildcard at the same length), as RPZ implementations do.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.lists import ActionKind
from sekisho.plane.native import load64, prefetch, u32s, u64s
from sekisho.snapshot.compiling import compiled, inlined
from sekisho.snapshot.digest import U64, finish, finish_second, start, take_word

_R32, _ZERO, _ONE = U64(32), U64(0), U64(1)
PRINT_WORDS = 6
"""Words of a row of `prints`: a digest, and from where on its second word is computed."""
_EXCEPT = int(ActionKind.EXCEPT)


@inlined
def place_of(first, slots):  # type: ignore[no-untyped-def]
    """The slot at which the search for a digest starts."""
    return np.int64(((first >> _R32) * U64(slots)) >> _R32)


@compiled
def locate(keys, first, a, b, c, d):  # type: ignore[no-untyped-def]
    """Slot of the digest whose first word is `first`, or -1, and its second word (0 when not computed)."""
    slots = keys.shape[0] // 2
    slot = place_of(first, slots)
    second = _ZERO
    known = False
    for _ in range(slots):
        stored = keys[2 * slot]
        if stored == _ZERO:
            return -1, second
        if stored == first:
            if not known:
                second = finish_second(a, b, c, d)
                known = True
            if keys[2 * slot + 1] == second:
                return slot, second
        slot += 1
        if slot == slots:
            slot = 0
    return -1, second


@compiled
def match(snapshot, k0, k1, lower, labels, count, mask, masks, combos, prints):  # type: ignore[no-untyped-def]
    """Find every suffix of the name that a list of `mask` holds.

    `snapshot` is the view of one; `lower` uint8: the canonical name with eight bytes of room
    behind it; `labels` its label offsets; `count` labels. Fills, for each suffix found, from the
    shortest: `masks` uint64 (128) the lists of `mask` that hold it, `combos` int64 (128) twice the
    combination, plus one for the exact name, `prints` uint64 (128, `PRINT_WORDS`) the digest in its first
    two words. Returns how many were found.

    All digests are computed before the first is looked for: their places in the index lie anywhere
    in memory, and are waited for together.
    """
    keys, combo_of, holders, depths = u64s(snapshot.keys), u32s(snapshot.combo), u64s(snapshot.holders), u64s(snapshot.depths)
    slots = keys.shape[0] // 2
    candidates = 0
    a, b, c, d = start(k0, k1)
    for depth in range(1, count + 1):
        offset = labels[count - depth]
        rest = np.int64(lower[offset]) + 1
        while rest > 0:
            word = load64(lower, offset)
            if rest < 8:
                word &= (_ONE << U64(8 * rest)) - _ONE
            a, b, c, d = take_word(word, a, b, c, d)
            offset += 8
            rest -= 8
        if (depths[depth >> 6] >> U64(depth & 63)) & _ONE:
            first, e, f, g, h = finish(a, b, c, d)
            prefetch(keys, 2 * place_of(first, slots))
            prints[candidates, 0] = first
            prints[candidates, 1] = U64(depth)
            prints[candidates, 2] = e
            prints[candidates, 3] = f
            prints[candidates, 4] = g
            prints[candidates, 5] = h
            candidates += 1
    found = 0
    for row in range(candidates):
        first = prints[row, 0]
        slot, second = locate(keys, first, prints[row, 2], prints[row, 3], prints[row, 4], prints[row, 5])
        if slot < 0:
            continue
        combo = np.int64(combo_of[slot])
        exact = 1 if np.int64(prints[row, 1]) == count else 0
        held = holders[2 * combo + 1 - exact] & mask
        if held != _ZERO:
            masks[found] = held
            combos[found] = 2 * combo + exact
            prints[found, 0] = first
            prints[found, 1] = second
            found += 1
    return found


@compiled
def bits_below(mask, bit):  # type: ignore[no-untyped-def]
    """How many bits of `mask` are set below `bit`."""
    rest = mask if bit == 64 else mask & ((_ONE << U64(bit)) - _ONE)
    count = 0
    while rest != _ZERO:
        rest &= rest - _ONE
        count += 1
    return count


@compiled
def lowest_bit(mask):  # type: ignore[no-untyped-def]
    """Number of the lowest bit set; 64 if none is."""
    for bit in range(64):
        if (mask >> U64(bit)) & _ONE:
            return bit
    return 64


@compiled
def choose(snapshot, masks, combos, found, within):  # type: ignore[no-untyped-def]
    """The first list of `within` that holds the name: (order, row of the match, action), or (-1, -1, 0).

    A list whose most specific entry is an operator's exception does not hold the name.
    """
    holders, offsets, choices, actions = u64s(snapshot.holders), u32s(snapshot.offsets), u32s(snapshot.choices), u32s(snapshot.actions)
    union = _ZERO
    for row in range(found):
        union |= masks[row]
    union &= within
    while union != _ZERO:
        order = lowest_bit(union)
        bit = _ONE << U64(order)
        for row in range(found - 1, -1, -1):
            if masks[row] & bit:
                combo = combos[row] >> 1
                place = np.int64(offsets[combo])
                if combos[row] & 1:
                    place += bits_below(holders[2 * combo], order)
                else:
                    place += bits_below(holders[2 * combo], 64) + bits_below(holders[2 * combo + 1], order)
                action = np.int64(choices[place])
                if np.int64(actions[4 * action]) != _EXCEPT:
                    return order, row, action
                break
        union &= ~bit
    return -1, -1, 0


@compiled
def excepted(snapshot, masks, combos, found):  # type: ignore[no-untyped-def]
    """The lists, by bit, whose most specific entry for the name is an operator's exception."""
    union = left = _ZERO
    for row in range(found):
        union |= masks[row]
    while union != _ZERO:
        order = lowest_bit(union)
        bit = _ONE << U64(order)
        one, _, _ = choose(snapshot, masks, combos, found, bit)
        if one < 0:
            left |= bit
        union &= ~bit
    return left
