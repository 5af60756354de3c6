"""The mutation engine: one input made worse in place, at a million a second.

Knows bytes, and of DNS only where lies are worth telling: counts, label lengths, compression
pointers, and the fields and options of OPT. Text is mutated by the general kinds alone, with the
words of its format as tokens.

Inputs lie in a `Pool`; the mutant in `work` (uint8) from `EDGE` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sekisho.plane.native import copy
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64

EDGE = 16
INPUT = 2048
"""Bytes an input may have: what a worker's row takes."""
POOL = 4096
TOKENS = 128
TOKEN = 64
GENERAL, EVERY = 14, 22
"""How many kinds of mutation: for any bytes, and with those for DNS messages."""
_BYTES = np.array([0, 1, 2, 4, 8, 11, 12, 16, 32, 41, 63, 64, 65, 127, 128, 191, 192, 193, 250, 251, 254, 255], np.uint8)
_WORDS = np.array([0, 1, 2, 3, 4, 8, 10, 11, 12, 15, 16, 24, 40, 41, 249, 250, 255, 256, 511, 512, 1232, 32767, 32768, 65535], np.int64)
_A, _B, _C, _K = U64(12), U64(25), U64(27), U64(2685821657736338717)
_HIGH = U64(33)


@dataclass(frozen=True, slots=True)
class Pool:
    """Inputs to begin with and found since: data uint8 (POOL, INPUT), lengths int64 (POOL), tokens likewise, random uint64 (1)."""

    data: Any
    lengths: Any
    tokens: Any
    token_lengths: Any
    random: Any

    @classmethod
    def of(cls, inputs: list[bytes], tokens: list[bytes], seed: int) -> tuple[Pool, int]:
        """The pool, and how many inputs it has."""
        data, lengths = np.zeros((POOL, INPUT), np.uint8), np.zeros(POOL, np.int64)
        for row, one in enumerate(inputs[:POOL]):
            data[row, : len(one[:INPUT])] = np.frombuffer(one[:INPUT], np.uint8)
            lengths[row] = len(one[:INPUT])
        words, sizes = np.zeros((TOKENS, TOKEN), np.uint8), np.zeros(TOKENS, np.int64)
        for row in range(TOKENS):
            token = tokens[row % len(tokens)][:TOKEN]
            words[row, : len(token)] = np.frombuffer(token, np.uint8)
            sizes[row] = len(token)
        return cls(data, lengths, words, sizes, np.array([seed | 1], np.uint64)), min(len(inputs), POOL)


@compiled
def below(random, limit):  # type: ignore[no-untyped-def]
    """A number from 0 to `limit` - 1 (xorshift64*, Vigna 2016)."""
    state = random[0]
    state ^= state >> _A
    state ^= state << _B
    state ^= state >> _C
    random[0] = state
    return np.int64((state * _K) >> _HIGH) % limit


@compiled
def open_gap(work, length, at, size):  # type: ignore[no-untyped-def]
    """Make room for `size` bytes at `at`; returns the new length, or 0 if there is none."""
    if length + size > INPUT:
        return 0
    copy(work, EDGE + at + size, work, EDGE + at, length - at)
    return length + size


@compiled
def put(work, length, at, value):  # type: ignore[no-untyped-def]
    """Write 16 bits, where they lie within the input."""
    if at >= 0 and at + 2 <= length:
        work[EDGE + at] = (value >> 8) & 0xFF
        work[EDGE + at + 1] = value & 0xFF


@compiled
def draw(work, data, lengths, count, random):  # type: ignore[no-untyped-def]
    """Take an input of the pool into `work`; returns its length. What was found last is drawn more often."""
    row = below(random, count)
    if below(random, 4) == 0:
        row = count - 1 - below(random, min(count, 16))
    copy(work, EDGE, data[row], 0, lengths[row])
    return lengths[row]


@compiled
def mutate(work, length, data, lengths, count, tokens, token_lengths, random, kinds):  # type: ignore[no-untyped-def]
    """Change the input one to eight times; `kinds`: GENERAL or EVERY. Returns its new length."""
    for _ in range(1 + below(random, 1 << below(random, 4))):
        kind = below(random, kinds)
        at = below(random, length + 1)
        if kind == 0 and length > 0:
            work[EDGE + at % length] ^= np.uint8(1 << below(random, 8))
        elif kind == 1 and length > 0:
            work[EDGE + at % length] = _BYTES[below(random, _BYTES.shape[0])]
        elif kind == 2 and length > 0:
            work[EDGE + at % length] = below(random, 256)
        elif kind == 3 and length > 0:
            work[EDGE + at % length] = (work[EDGE + at % length] + below(random, 33) - 16) & 0xFF
        elif kind == 4:
            put(work, length, at, _WORDS[below(random, _WORDS.shape[0])])
        elif kind == 5 and at < length:
            size = min(length - at, 1 + below(random, 16 if below(random, 4) else 256))
            copy(work, EDGE + at, work, EDGE + at + size, length - at - size)
            length -= size
        elif kind == 6:
            size = 1 + below(random, 12)
            wider = open_gap(work, length, at, size)
            if wider > 0:
                length = wider
                same, octet = below(random, 2), below(random, 256)
                for index in range(size):
                    work[EDGE + at + index] = octet if same else below(random, 256)
        elif kind == 7 and length > 0:
            start = below(random, length)
            size = min(length - start, 1 + below(random, 64))
            wider = open_gap(work, length, at, size)
            if wider > 0:
                # The run may have moved with the gap; what is copied then is as good a run.
                length = wider
                copy(work, EDGE + at, work, EDGE + start, size)
        elif kind == 8:
            length -= (length - at) * below(random, 2)
        elif kind == 9 or kind == 10:
            # A run of another input, over what stands here, or in place of all the rest.
            other = below(random, count)
            if lengths[other] > 0:
                start = below(random, lengths[other])
                size = lengths[other] - start
                if kind == 9:
                    size = min(1 + below(random, 48), size, length - at)
                size = min(size, INPUT - at)
                copy(work, EDGE + at, data[other], start, size)
                length = max(length, at + size) if kind == 9 else at + size
        elif kind < GENERAL:
            token = below(random, tokens.shape[0])
            size = token_lengths[token]
            if kind == 11:
                size = min(size, length - at)
            else:
                wider = open_gap(work, length, at, size)
                size = size if wider > 0 else 0
                length = max(length, wider)
            copy(work, EDGE + at, tokens[token], 0, size)
        elif kind >= GENERAL and length >= 12:
            length = _lie(work, length, kind - GENERAL, random)
    return length


@compiled
def _lie(work, length, kind, random):  # type: ignore[no-untyped-def]
    """A change that knows where the fields of a DNS message stand."""
    if kind == 0:
        count = below(random, 4)
        if below(random, 4) == 0:
            count = _WORDS[below(random, _WORDS.shape[0])]
        put(work, length, 4 + 2 * below(random, 4), count)
    elif kind == 1:
        work[EDGE + 2 + below(random, 2)] ^= np.uint8(1 << below(random, 8))
    elif kind == 2:
        at = _label(work, length, random)
        work[EDGE + at] = (work[EDGE + at] + below(random, 9) - 4) & 0xFF if below(random, 2) else _BYTES[below(random, _BYTES.shape[0])]
    elif kind == 3:
        put(work, length, _label(work, length, random), 0xC000 | below(random, length + 2))
    elif kind == 4:
        for index in range(12, min(length, 40)):
            octet = work[EDGE + index]
            if 65 <= (octet & 0xDF) <= 90 and below(random, 2):
                work[EDGE + index] = octet ^ np.uint8(32)
    else:
        at = _opt(work, length)
        if at < 0:
            return _add_record(work, length, random)
        if kind == 5:
            field = below(random, 4)
            if field == 0:
                put(work, length, at + 3, _WORDS[below(random, _WORDS.shape[0])])
            elif field == 1:
                put(work, length, at + 5, below(random, 2) << (8 * below(random, 2)))
            elif field == 2:
                put(work, length, at + 7, below(random, 2) << 15 | below(random, 2))
            else:
                put(work, length, at + 9, max(0, length - at - 11 + below(random, 5) - 2))
        elif kind == 6:
            return _add_option(work, length, at, random)
        else:
            return _add_record(work, length, random)
    return length


@compiled
def _label(work, length, random):  # type: ignore[no-untyped-def]
    """Where one of the labels of the question starts, as far as they can be followed."""
    at = 12
    for _ in range(below(random, 6)):
        step = np.int64(work[EDGE + at]) if at < length else 0
        if step == 0 or at + step + 1 >= length:
            break
        at += step + 1
    return min(at, length - 1)


@compiled
def _opt(work, length):  # type: ignore[no-untyped-def]
    """Where the last OPT record starts, or -1."""
    for at in range(length - 11, 11, -1):
        if work[EDGE + at] == 0 and work[EDGE + at + 1] == 0 and work[EDGE + at + 2] == 41:
            return at
    return -1


@compiled
def _add_option(work, length, at, random):  # type: ignore[no-untyped-def]
    """An option before the others of the OPT record at `at`, mostly with true lengths."""
    size = _WORDS[below(random, 14)] if below(random, 3) else 1 + below(random, 64)
    wider = open_gap(work, length, at + 11, 4 + size)
    if wider == 0:
        return length
    code = below(random, 17)
    put(work, wider, at + 11, 10 if code < 4 else code)
    put(work, wider, at + 13, size if below(random, 8) else below(random, 64))
    for index in range(size):
        work[EDGE + at + 15 + index] = below(random, 256)
    if below(random, 8):
        whole = np.int64(work[EDGE + at + 9]) << 8 | np.int64(work[EDGE + at + 10])
        put(work, wider, at + 9, whole + 4 + size)
    return wider


@compiled
def _add_record(work, length, random):  # type: ignore[no-untyped-def]
    """A record at the end, mostly counted: OPT, TSIG, or one of any type."""
    size = below(random, 8)
    pointer = below(random, 3) == 0
    width = (2 if pointer else 1) + 10 + size
    at = length
    if length + width > INPUT:
        return length
    length += width
    for index in range(width):
        work[EDGE + at + index] = 0
    if pointer:
        put(work, length, at, 0xC00C)
        at += 1
    kind = below(random, 6)
    put(work, length, at + 1, 41 if kind < 3 else 250 if kind == 3 else 1 + below(random, 64))
    put(work, length, at + 3, 1232)
    put(work, length, at + 9, size if below(random, 8) else _WORDS[below(random, _WORDS.shape[0])])
    if below(random, 8):
        section = 10 if below(random, 4) else 6 + 2 * below(random, 2)
        work[EDGE + section + 1] = (work[EDGE + section + 1] + 1) & 0xFF
    return length
