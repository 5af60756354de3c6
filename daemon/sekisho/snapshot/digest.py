"""The keyed digest of a name: how lists are held and how queries are compared with them.

A digest is SipHash-2-4 with 128-bit output (Aumasson and Bernstein, 2012) over the labels of the
canonical wire name **from the root inwards**: each label as its length byte and lower-case text,
zero padded to whole 8-byte words. The encoding is injective, and one pass over a query name gives
the digest of every suffix of it: the state after each label is finished apart. The root itself
has no digest. The final length word of SipHash is left out, since labels carry their lengths.

The first 64 bits place an entry in the table; the second are computed only when the first match.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.snapshot.compiling import compiled, inlined

U64 = np.uint64
_C0, _C1 = U64(0x736F6D6570736575), U64(0x646F72616E646F6D)
_C2, _C3 = U64(0x6C7967656E657261), U64(0x7465646279746573)
_EE, _DD, _FF = U64(0xEE), U64(0xDD), U64(0xFF)
_R13, _R16, _R17, _R21, _R32 = U64(13), U64(16), U64(17), U64(21), U64(32)
_L13, _L16, _L17, _L21 = U64(51), U64(48), U64(47), U64(43)
_EIGHT, _ZERO, _ONE = U64(8), U64(0), U64(1)

Key = tuple[Any, Any]


def key_of(secret: bytes) -> Key:
    """The two words of a 16-byte secret. Raises ValueError for any other length."""
    if len(secret) != 16:
        message = f"a list key has 16 bytes, this one {len(secret)}"
        raise ValueError(message)
    return U64(int.from_bytes(secret[:8], "little")), U64(int.from_bytes(secret[8:], "little"))


@inlined
def _round(a, b, c, d):  # type: ignore[no-untyped-def]
    a = a + b
    b = ((b << _R13) | (b >> _L13)) ^ a
    a = (a << _R32) | (a >> _R32)
    c = c + d
    d = ((d << _R16) | (d >> _L16)) ^ c
    a = a + d
    d = ((d << _R21) | (d >> _L21)) ^ a
    c = c + b
    b = ((b << _R17) | (b >> _L17)) ^ c
    c = (c << _R32) | (c >> _R32)
    return a, b, c, d


@inlined
def take_word(word, a, b, c, d):  # type: ignore[no-untyped-def]
    """Take in one word of a label: two rounds."""
    d = d ^ word
    a, b, c, d = _round(a, b, c, d)
    a, b, c, d = _round(a, b, c, d)
    return a ^ word, b, c, d


@compiled
def start(k0, k1):  # type: ignore[no-untyped-def]
    """The state before any label."""
    return k0 ^ _C0, k1 ^ _C1 ^ _EE, k0 ^ _C2, k1 ^ _C3


@compiled
def absorb(buffer, offset, a, b, c, d):  # type: ignore[no-untyped-def]
    """Take in the label whose length byte stands at `offset` of `buffer` (uint8, lower case)."""
    end = offset + int(buffer[offset]) + 1
    while offset < end:
        word = U64(0)
        shift = U64(0)
        stop = min(end, offset + 8)
        for index in range(offset, stop):
            word |= U64(buffer[index]) << shift
            shift += _EIGHT
        offset = stop
        a, b, c, d = take_word(word, a, b, c, d)
    return a, b, c, d


@compiled
def finish(a, b, c, d):  # type: ignore[no-untyped-def]
    """The first 64 bits of the digest, and the state from which `finish_second` goes on.

    Zero marks an empty place in the table, so a first word of zero is written as one.
    """
    c = c ^ _EE
    for _ in range(4):
        a, b, c, d = _round(a, b, c, d)
    first = a ^ b ^ c ^ d
    if first == _ZERO:
        first = _ONE
    return first, a, b, c, d


@compiled
def finish_second(a, b, c, d):  # type: ignore[no-untyped-def]
    """The second 64 bits of the digest."""
    b = b ^ _DD
    for _ in range(4):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


def digest_names(
    blob: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    k0: Any,
    k1: Any,
    digests: NDArray[np.uint64],
    depths: NDArray[np.uint8],
) -> None:
    """Digest many wire names.

    `blob` uint8: canonical wire names one after another; `offsets` int64 (n): where each starts;
    `digests` uint64 (n, 2) and `depths` uint8 (n) are filled: the digest and the count of labels.
    """
    _digest_names(blob, offsets, k0, k1, digests, depths, np.empty(128, np.int64))


@compiled
def _digest_names(blob, offsets, k0, k1, digests, depths, labels):  # type: ignore[no-untyped-def]
    for row in range(offsets.shape[0]):
        position = offsets[row]
        count = 0
        while blob[position] != 0:
            labels[count] = position
            count += 1
            position += int(blob[position]) + 1
        a, b, c, d = start(k0, k1)
        for index in range(count - 1, -1, -1):
            a, b, c, d = absorb(blob, labels[index], a, b, c, d)
        first, a, b, c, d = finish(a, b, c, d)
        digests[row, 0] = first
        digests[row, 1] = finish_second(a, b, c, d)
        depths[row] = count


def digest_name(wire: bytes, key: Key) -> tuple[int, int]:
    """Digest one canonical wire name, as two integers."""
    digests = np.empty((1, 2), np.uint64)
    digest_names(np.frombuffer(wire, np.uint8), np.zeros(1, np.int64), key[0], key[1], digests, np.empty(1, np.uint8))
    return int(digests[0, 0]), int(digests[0, 1])


def entry_id(first: int, second: int) -> str:
    """The identity of an entry on the record: its digest, hexadecimal."""
    return f"{first:016x}{second:016x}"
