"""What changed between the versions of a zone, for incremental transfers (RFC 1995), as long as it is worth keeping.

Changes of several versions are condensed into one (RFC 1995 section 5): a secondary gets what differs between
its version and the newest, however often it went back and forth between.

A journal can be packed, to be kept with the newest version's serial and what tells its content: it leads to that one and to no other.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sekisho.rpz.records import ADDRESS_OWNER

MAX_VERSIONS = 1000
"""Versions a journal goes back."""
LEAST = 10_000
"""Records a journal may hold however small its zone is."""
PACKED = 50_000
"""Records of a packed journal at most: a change of one in a hundred of a million names, each with all below it, is 40,000."""
_CHANGE, _RECORD = struct.Struct("<III"), struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Change:
    """Records (`records`) that one version has no more, and those it has instead."""

    removed: tuple[bytes, ...] = ()
    added: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.removed) + len(self.added)

    def without_addresses(self) -> Change:
        """The change to who does not get triggers on addresses in answers."""
        return Change(*(tuple(record for record in some if ADDRESS_OWNER not in record) for some in (self.removed, self.added)))


class Journal:
    """The changes up to the newest version; the oldest go when there are more than the zone is worth."""

    def __init__(self) -> None:
        self._changes: deque[tuple[int, Change]] = deque()
        self._records = 0

    def __len__(self) -> int:
        """Records held."""
        return self._records

    def add(self, before: int, change: Change, zone_records: int) -> None:
        """The change from serial `before` to the newest. `zone_records` is the size of the zone: who would get more gets the zone."""
        self._changes.append((before, change))
        self._records += len(change)
        limit = max(LEAST, zone_records)
        while self._changes and (self._records > limit or len(self._changes) > MAX_VERSIONS):
            self._records -= len(self._changes.popleft()[1])

    def pack(self, most: int = PACKED) -> bytes:
        """The newest changes, of `most` records in all, compressed."""
        held = 0
        newest: deque[tuple[int, Change]] = deque()
        for before, change in reversed(self._changes):
            held += len(change)
            if held > most:
                break
            newest.appendleft((before, change))
        return zlib.compress(b"".join(_packed(newest)), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> Journal:
        """What was packed. Raises ValueError if it is damaged."""
        journal = cls()
        try:
            octets = zlib.decompress(packed)
            at = 0
            while at < len(octets):
                before, removed, added = _CHANGE.unpack_from(octets, at)
                at += _CHANGE.size
                records = []
                for _ in range(removed + added):
                    end = at + _RECORD.size + _RECORD.unpack_from(octets, at)[0]
                    records.append(octets[at + _RECORD.size : end])
                    at = end
                change = Change(tuple(records[:removed]), tuple(records[removed:]))
                journal._changes.append((before, change))
                journal._records += len(change)
        except (struct.error, zlib.error) as error:
            raise ValueError("a packed journal is damaged") from error
        if at != len(octets):
            raise ValueError("a packed journal is damaged")
        return journal

    def clear(self) -> None:
        self._changes.clear()
        self._records = 0

    def since(self, serial: int) -> Change | None:
        """What changed since a version, or None if that is not known any more."""
        wanted = [number for number, (before, _) in enumerate(self._changes) if before == serial]
        if not wanted:
            return None
        changes = [change for _, change in list(self._changes)[wanted[-1] :]]
        return changes[0] if len(changes) == 1 else condense(changes)


def _packed(changes: Iterable[tuple[int, Change]]) -> Iterator[bytes]:
    for before, change in changes:
        yield _CHANGE.pack(before, len(change.removed), len(change.added))
        for record in (*change.removed, *change.added):
            yield _RECORD.pack(len(record)) + record


def condense(changes: Sequence[Change]) -> Change:
    """Several changes, one after the other, as one."""
    removed: dict[bytes, None] = {}
    added: dict[bytes, None] = {}
    for change in changes:
        for record in change.removed:
            if record in added:
                del added[record]
            else:
                removed[record] = None
        for record in change.added:
            if record in removed:
                del removed[record]
            else:
                added[record] = None
    return Change(tuple(removed), tuple(added))
