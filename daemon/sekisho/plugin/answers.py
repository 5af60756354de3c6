"""What a resolver's answer holds that lists may hold, and what was found about it: kept, so the same answer is looked through once.

A *content* is the addresses and aliases of an answer section: for each set of records its type (2 octets), how many there are (2), and of
each the length of its data (2) and the data. Who owns a record is of no account. What lists hold of a content depends on nothing but it
and the lists: not on the question, nor on who asked, whose lists, opt-outs and measures are looked at for every query as ever.

Kept are digests of contents, and a word of lists: no name, address or customer. An answer that changes is another content, and
under other lists all is forgotten. Of those not asked about for long the oldest half is forgotten at a time.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

MOST = 1 << 15
"""Answers that are kept, of about 200 octets each: 6 MiB at most."""
TYPES = {1: b"\0\1", 28: b"\0\x1c", 5: b"\0\5"}
"""Of the records that may lead somewhere (A, AAAA, CNAME), in wire form."""
_SET, _LENGTH, _RECORD = struct.Struct(">HH"), struct.Struct(">H"), struct.Struct(">HHIH")
_DIGEST = 32


def digest_of(content: bytes) -> bytes:
    """Under which a content is kept. Whoever makes answers cannot make one that passes for another."""
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def records_of(content: bytes, most: int) -> tuple[int, bytes]:
    """How many records, and these in wire form, of at most `most` octets; the root owns them, and their TTL is 0."""
    parts, size = [], 0
    for rtype, data in _each(content):
        record = b"\0" + _RECORD.pack(rtype, 1, 0, len(data)) + data
        if size + len(record) <= most:
            parts.append(record)
            size += len(record)
    return len(parts), b"".join(parts)


def _each(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        rtype, count = _SET.unpack_from(content, at)
        at += _SET.size
        for _ in range(count):
            end = at + _LENGTH.size + _LENGTH.unpack_from(content, at)[0]
            yield rtype, content[at + _LENGTH.size : end]
            at = end


class Judged:
    """Which lists hold something, by answers' digests, under one snapshot. `most`: answers that are kept."""

    def __init__(self, most: int = MOST) -> None:
        self._half = most // 2
        self._late: dict[bytes, int] = {}
        self._early: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._late) + len(self._early)

    def find(self, digest: bytes) -> int | None:
        """The lists, by bit, that hold something in the answer; None if it was not looked through."""
        lists = self._late.get(digest)
        if lists is None:
            lists = self._early.pop(digest, None)
            if lists is not None:
                self.keep(digest, lists)
        return lists

    def keep(self, digest: bytes, lists: int) -> None:
        """Keep what was found. Threads may do this at once: the worst is that something is looked through again."""
        if len(self._late) >= self._half:
            self._early, self._late = self._late, {}
        self._late[digest] = lists
