"""The packet cache of one worker: bounded memory, TTLs that count down, stale answers kept.

Owns what is stored, for how long and under which key. The key is the canonical name, the type,
the DO, CD and RD bits, and a scope (0, or the customer's row where the resolver is told who asks
and may answer each differently). Answers are stored without OPT, so EDNS does not split the cache.
Only NOERROR and NXDOMAIN are stored; negative answers by their SOA (RFC 2308 section 5).

Entries lie in a ring of bytes, oldest overwritten first; an index of four-way buckets points into
it. A position is a count of bytes ever written: one more than the ring's size behind the head is
gone. Entry layout, 8-byte aligned: words 0 hash, 1 stored (s), 2 expires (s),
3 key length | answer length << 16 | notes length << 32 | TTL count << 48, 4 epoch, 5 lists that hold something in the answer, as
`answers.classify` found under that epoch; then key, notes (Extended DNS Errors of the resolver), TTL offsets (u16), answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.model.counters import Counter
from sekisho.plane.memory import blank
from sekisho.plane.native import copy, get16, get32, i64s, load64, put16, put32, u8s, u64s
from sekisho.plane.wire import CD, Q_DO, Q_FLAGS, Q_NAME, Q_TYPE, RD
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import Bundle

WAYS = 4
KEY_ROOM = 288
_EPOCH, _LISTS = 4, 5
_HEAD_BYTES = 48
_R32, _K = U64(32), U64(0x9E3779B97F4A7C15)
_STORED, _EVICTED = int(Counter.CACHE_STORED), int(Counter.CACHE_EVICTED)
MASK16 = 0xFFFF
_PIECE = 16384
"""Places of the index that are counted at a time."""


@dataclass(frozen=True, slots=True)
class Cache(Bundle):
    """data uint8 (size) and words int64 (size / 8) over the same bytes; hashes uint64 and positions
    int64 (buckets * 4), position -1: empty; state int64 (4): head position, seed.
    """

    data: NDArray[np.uint8]
    words: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    positions: NDArray[np.int64]
    state: NDArray[np.int64]


def make_cache(size: int, seed: int) -> Cache:
    """A cache of `size` bytes of answers (rounded up to 64 KiB; 0 keeps nothing) and about 6 % more of index."""
    size = (size + 65535) // 65536 * 65536
    words = blank(size // 8, np.int64)
    slots = max(64, size // 256) // WAYS * WAYS
    state = np.array([0, seed & (2**62 - 1), 0, 0], np.int64)
    positions = blank(slots, np.int64)
    positions[:] = -1
    return Cache(words.view(np.uint8), words, blank(slots, np.uint64), positions, state)


@compiled
def make_key(question, lower, scope, key):  # type: ignore[no-untyped-def]
    """Write the cache key of a question to `key` (uint8, KEY_ROOM), zero padded to whole words; returns its length."""
    size = question[Q_NAME]
    copy(key, 0, lower, 0, size)
    put16(key, size, question[Q_TYPE])
    flags = question[Q_FLAGS]
    key[size + 2] = question[Q_DO] | (2 if flags & CD else 0) | (4 if flags & RD else 0)
    put32(key, size + 3, scope)
    for index in range(size + 7, size + 15):
        key[index] = 0
    return (size + 14) // 8 * 8


@compiled
def hash_key(cache, key, length):  # type: ignore[no-untyped-def]
    """A seeded hash of the key. Collisions cost a place in the cache, never a wrong answer."""
    mixed = U64(i64s(cache.state)[1]) ^ U64(length)
    for start in range(0, length, 8):
        mixed = (mixed ^ load64(key, start)) * _K
        mixed ^= mixed >> _R32
    return mixed


@compiled
def _same(cache, at, key, length):  # type: ignore[no-untyped-def]
    data = u8s(cache.data)
    if (i64s(cache.words)[at // 8 + 3] & MASK16) != length:
        return False
    start = at + _HEAD_BYTES
    for index in range(0, length, 8):  # noqa: SIM110 - compiled: a loop, not a generator
        if load64(data, start + index) != load64(key, index):
            return False
    return True


@compiled
def find(cache, key, length, mixed, now, stale):  # type: ignore[no-untyped-def]
    """Where the entry lies in the ring, or -1. `now` in seconds; up to `stale` seconds past its end."""
    words, hashes, positions, state = i64s(cache.words), u64s(cache.hashes), i64s(cache.positions), i64s(cache.state)
    size = words.shape[0] * 8
    bucket = np.int64((mixed >> _R32) % U64(positions.shape[0] // WAYS)) * WAYS
    for slot in range(bucket, bucket + WAYS):
        position = positions[slot]
        if position < 0 or hashes[slot] != mixed or state[0] - position > size:
            continue
        at = position % size
        if _same(cache, at, key, length):
            return at if now < words[at // 8 + 2] + stale else -1
    return -1


@compiled
def notes_of(cache, at):  # type: ignore[no-untyped-def]
    """Start in `cache.data` and length of the Extended DNS Errors kept with an entry."""
    lengths = i64s(cache.words)[at // 8 + 3]
    return at + _HEAD_BYTES + (lengths & MASK16), (lengths >> 32) & MASK16


@compiled
def answer_of(cache, at):  # type: ignore[no-untyped-def]
    """Start in `cache.data` and length of the answer kept in an entry."""
    lengths = i64s(cache.words)[at // 8 + 3]
    start = at + _HEAD_BYTES + (lengths & MASK16) + ((lengths >> 32) & MASK16) + 2 * ((lengths >> 48) & MASK16)
    return start, (lengths >> 16) & MASK16


@compiled
def lists_of(cache, at, epoch):  # type: ignore[no-untyped-def]
    """Whether the answer was classified under this epoch, and the lists that hold something in it."""
    words = i64s(cache.words)
    return words[at // 8 + _EPOCH] == epoch, U64(words[at // 8 + _LISTS])


@compiled
def keep_lists(cache, at, epoch, lists):  # type: ignore[no-untyped-def]
    """Keep what an answer was classified as."""
    words = i64s(cache.words)
    words[at // 8 + _EPOCH] = epoch
    words[at // 8 + _LISTS] = np.int64(lists)


@compiled
def read(cache, at, out, base, now, stale_ttl):  # type: ignore[no-untyped-def]
    """Copy the answer at `at` to `out`, its TTLs counted down, or set to `stale_ttl` if it expired.

    Returns its length in bytes.
    """
    data, words = u8s(cache.data), i64s(cache.words)
    word = at // 8
    lengths = words[word + 3]
    size = (lengths >> 16) & MASK16
    offsets = at + _HEAD_BYTES + (lengths & MASK16) + ((lengths >> 32) & MASK16)
    count = (lengths >> 48) & MASK16
    copy(out, base, data, offsets + 2 * count, size)
    age = max(0, now - words[word + 1])
    expired = now >= words[word + 2]
    for index in range(count):
        where = base + get16(data, offsets + 2 * index)
        put32(out, where, stale_ttl if expired else max(0, get32(out, where) - age))
    return size


@compiled
def store(cache, key, length, mixed, now, ttl, packet, base, size, ttls, count, notes, start, noted, totals):  # type: ignore[no-untyped-def]
    """Keep an answer of `size` bytes for `ttl` seconds from `now`; returns where it lies in the ring, -1: it is not kept.

    `ttls` int64 (count): offsets of its TTL fields; `noted` bytes at `start` of `notes`: errors to
    repeat. An answer larger than a quarter of the ring is not kept.
    """
    data, words, hashes = u8s(cache.data), i64s(cache.words), u64s(cache.hashes)
    positions, state = i64s(cache.positions), i64s(cache.state)
    ring = data.shape[0]
    need = (_HEAD_BYTES + length + noted + 2 * count + size + 7) // 8 * 8
    if need > ring // 4 or ttl <= 0 or count > MASK16 >> 1:
        return -1
    head = state[0]
    if head % ring + need > ring:
        head += ring - head % ring
    at = head % ring
    bucket = np.int64((mixed >> _R32) % U64(positions.shape[0] // WAYS)) * WAYS
    chosen = bucket
    for slot in range(bucket, bucket + WAYS):
        position = positions[slot]
        gone = position < 0 or head + need - position > ring
        if gone or (hashes[slot] == mixed and _same(cache, position % ring, key, length)):
            chosen = slot
            break
        if position < positions[chosen]:
            chosen = slot
    if positions[chosen] >= 0:
        totals[_EVICTED] += U64(1)
    word = at // 8
    words[word] = np.int64(mixed >> U64(1))
    words[word + 1] = now
    words[word + 2] = now + ttl
    words[word + 3] = length | (size << 16) | (noted << 32) | (count << 48)
    words[word + _EPOCH] = 0
    words[word + _LISTS] = 0
    position = at + _HEAD_BYTES
    copy(data, position, key, 0, length)
    copy(data, position + length, notes, start, noted)
    position += length + noted
    for index in range(count):
        put16(data, position + 2 * index, ttls[index])
    copy(data, position + 2 * count, packet, base, size)
    hashes[chosen] = mixed
    positions[chosen] = head
    state[0] = head + need
    totals[_STORED] += U64(1)
    return at


def usage(cache: Cache) -> tuple[int, int]:
    """Entries that can still be found, and bytes of the ring in use.

    In pieces: a comparison of all at once makes memory of its own, and what makes it holds up a worker on the same processor.
    """
    head, size = int(cache.state[0]), cache.data.shape[0]
    oldest = max(0, head - size)
    pieces = (cache.positions[start : start + _PIECE] for start in range(0, len(cache.positions), _PIECE))
    return sum(int(np.count_nonzero(piece >= oldest)) for piece in pieces), min(head, size)
