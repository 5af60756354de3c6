"""The prefixes of lists: which lists hold an address, longest first, by the same index as names.

A prefix lies in the index under the digest of its key (`model.addresses`), made here word by word without the key being written out.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.addresses import ANSWER_LABEL, CLIENT_LABEL
from sekisho.plane.names import locate
from sekisho.plane.native import u32s, u64s
from sekisho.snapshot.compiling import compiled, inlined
from sekisho.snapshot.digest import U64, finish, start, take_word
from sekisho.snapshot.layout import WATCH_ANSWERS

_ZERO, _ONE, _R32, _ALL = U64(0), U64(1), U64(32), U64(0xFFFFFFFFFFFFFFFF)
_R8, _R16, _R48 = U64(8), U64(16), U64(48)
_BYTES, _PAIRS = U64(0x00FF00FF00FF00FF), U64(0x0000FFFF0000FFFF)
_OCTETS = U64(17)
_ANSWER_WORD = U64(int.from_bytes(ANSWER_LABEL, "little"))
_CLIENT_WORD = U64(int.from_bytes(CLIENT_LABEL, "little"))
_SHORTEST_V4 = 96


@inlined
def _swapped(word):  # type: ignore[no-untyped-def]
    """The octets of a word in the other order."""
    word = ((word & _BYTES) << _R8) | ((word >> _R8) & _BYTES)
    word = ((word & _PAIRS) << _R16) | ((word >> _R16) & _PAIRS)
    return (word << _R32) | (word >> _R32)


@compiled
def match_prefix(snapshot, k0, k1, at, high, low, mask, masks, combos, prints):  # type: ignore[no-untyped-def]
    """Find every prefix of a list of `mask` that holds the address; `at` is WATCH_ANSWERS or WATCH_CLIENTS.

    Fills `masks`, `combos` and `prints` from the shortest on, as `names.match` does; the third word of a row of `prints` is the
    length. Returns how many were found.
    """
    watched, keys, combo_of, holders = u64s(snapshot.watched), u64s(snapshot.keys), u32s(snapshot.combo), u64s(snapshot.holders)
    four = high == _ZERO and (low >> _R32) == U64(0xFFFF)
    found = 0
    word = _ANSWER_WORD if at == WATCH_ANSWERS else _CLIENT_WORD
    for length in range(_SHORTEST_V4 if four else 0, 129):
        if (watched[at + (length >> 6)] >> U64(length & 63)) & _ONE == _ZERO:
            continue
        above, below = high, _ZERO
        if length > 64:
            below = low if length == 128 else low & (_ALL << U64(128 - length))
        elif length < 64:
            above = high & (_ALL << U64(64 - length)) if length > 0 else _ZERO
        above, below = _swapped(above), _swapped(below)
        a, b, c, d = start(k0, k1)
        a, b, c, d = take_word(word, a, b, c, d)
        a, b, c, d = take_word(_OCTETS | (U64(length) << _R8) | (above << _R16), a, b, c, d)
        a, b, c, d = take_word((above >> _R48) | (below << _R16), a, b, c, d)
        a, b, c, d = take_word(below >> _R48, a, b, c, d)
        first, a, b, c, d = finish(a, b, c, d)
        slot, second = locate(keys, first, a, b, c, d)
        if slot < 0:
            continue
        combo = np.int64(combo_of[slot])
        held = holders[2 * combo] & mask
        if held != _ZERO:
            masks[found] = held
            combos[found] = 2 * combo + 1
            prints[found, 0] = first
            prints[found, 1] = second
            prints[found, 2] = U64(length)
            found += 1
    return found
