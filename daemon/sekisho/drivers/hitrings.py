"""The plane's rings of matches, read: each match once, its numbers resolved while they still mean something.

Owns the place up to which matches were taken (kept in `head`, so a restart of the control plane neither
repeats nor skips). Reads only; what the ring had no room for is counted as lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.maps import Directories, MappedCustomers, map_customers
from sekisho.drivers.matchrows import NONE, ROW, MatchRows, joined, merged
from sekisho.drivers.sharedfiles import HEAD, MappedTable, map_table, numbered_files
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind

_R16, _R32 = np.uint64(16), np.uint64(32)
_LOW8, _LOW32 = np.uint64(0xFF), np.uint64(0xFFFFFFFF)


class HitRings:
    """The rings of every worker in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Raises TableError if no control plane has made the tables there."""
        self._folder = folder
        self._rings: dict[int, MappedTable] = {}
        self._directories = Directories(folder)
        self._customers: MappedCustomers | None = None
        self._head = map_table(folder / HEAD, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]

    def drain(self, limit: int) -> tuple[MatchRows, int, int]:
        """Take up to `limit` matches of each worker: rows, how many records were taken, and how many are lost.

        Lost is what was overwritten unread, and what is of a customer or a snapshot that is not known any more: that of a
        plane of before an upgrade too, where the tables' form changed and its rows mean nothing now.
        """
        found, taken, lost = NONE, 0, 0
        # While it is there: two snapshots later its file is gone, and what was matched under it may still be unread.
        self._directories.of(int(self._head[layout.HEAD_EPOCH]))
        with contextlib.suppress(TableError):
            self._follow_customers(int(self._head[layout.HEAD_GENERATION]))
        for number, path in numbered_files(self._folder, "hits-"):
            table = self._ring(number, path)
            if table is None or number >= layout.HEAD_WORDS - layout.HEAD_TAKEN:
                continue
            records, missed = self._take(table.arrays["ring"], int(table.arrays["cursor"][0]), number, limit)
            lost += missed
            taken += len(records)
            if len(records):
                named = self._named(records)
                lost += len(records) - named.queries
                found = named if found is NONE else joined(found, named)
        return found, taken, lost

    def _follow_customers(self, generation: int) -> None:
        if self._customers is None or self._customers.generation != generation:
            self._customers = map_customers(self._folder, generation)

    def _ring(self, number: int, path: Path) -> MappedTable | None:
        known = self._rings.get(number)
        try:
            status = path.stat()
            if known is None or known.identity != (status.st_dev, status.st_ino):
                if known is not None:
                    self._head[layout.HEAD_TAKEN + number] = 0
                self._rings[number] = map_table(path, Kind.HITS, layout.HITS_VERSION)
        except (OSError, TableError):
            return known
        return self._rings[number]

    def _take(self, ring: Any, cursor: int, number: int, limit: int) -> tuple[Any, int]:
        """Records from the last one taken on; one overwritten while it was read is lost."""
        start = int(self._head[layout.HEAD_TAKEN + number])
        if start > cursor:
            start = 0
        lost = max(0, cursor - start - layout.RING)
        start += lost
        sequence = np.arange(start, min(cursor, start + limit), dtype=np.uint64)
        places = (sequence % np.uint64(layout.RING)).astype(np.int64)
        records = ring[places]
        whole = (records[:, 0] == sequence + np.uint64(1)) & (ring[places, 0] == records[:, 0])
        self._head[layout.HEAD_TAKEN + number] = start + len(sequence)
        return records[whole], lost + int(len(sequence) - np.count_nonzero(whole))

    def _named(self, records: NDArray[np.uint64]) -> MatchRows:
        """Records of the ring as rows. A query's type and transport are not asked for."""
        # Few combinations of snapshot, clause and list occur; customers are many.
        kinds, kind = np.unique(records[:, 5] >> _R32 << _R32 | records[:, 2] >> _R32, return_inverse=True)
        ids = [self._ids(one >> 32, one & 0xFFFF, one >> 16 & 0xFFFF) for one in kinds.tolist()]
        people, who = np.unique(records[:, 2] & _LOW32, return_inverse=True)
        names = self._customers.names(people.astype(np.int64)) if self._customers is not None else [None] * len(people)
        # Under tables of before, whose rows could not be taken over, a row was somebody else.
        numbered = records[:, 5] >> _R32 >= self._head[layout.HEAD_NUMBERED]
        keep = numbered & _known(ids)[kind] & _known(names)[who]
        if not keep.any():
            return NONE
        records = records[keep]
        clauses, lists = (tuple(dict.fromkeys(one[part] for one in ids if one)) for part in (0, 1))
        rows = np.zeros(len(records), ROW)
        rows["last"], rows["first"], rows["second"] = records[:, 1], records[:, 3], records[:, 4]
        rows["count"] = 1
        rows["action"] = records[:, 5] >> _R16 & _LOW8
        rows["clause"] = np.array([clauses.index(one[0]) if one else 0 for one in ids])[kind[keep]]
        rows["list"] = np.array([lists.index(one[1]) if one else 0 for one in ids])[kind[keep]]
        rows["customer"] = who[keep]
        return MatchRows(merged(rows), tuple(name or "" for name in names), clauses, lists)

    def _ids(self, epoch: int, rule: int, order: int) -> tuple[str, str] | None:
        """Clause and list of a record; None if its snapshot is gone."""
        directory = self._directories.of(epoch)
        if directory is None or rule >= len(directory.clauses) or order not in directory.lists:
            return None
        return directory.clauses[rule], directory.lists[order]


def _known(found: Sequence[object]) -> NDArray[np.bool_]:
    return np.fromiter((one is not None for one in found), np.bool_, len(found))
