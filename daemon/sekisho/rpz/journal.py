"""What changed between the versions of a zone, for incremental transfers (RFC 1995), as long as it is worth keeping.

Changes of several versions are condensed into one (RFC 1995 section 5): a secondary gets what differs between
its version and the newest, however often it went back and forth between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sekisho.rpz.records import ADDRESS_OWNER

MAX_VERSIONS = 1000
"""Versions a journal goes back."""
LEAST = 10_000
"""Records a journal may hold however small its zone is."""


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
