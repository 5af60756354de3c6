"""What the kernel counted of customers' lines, as differences by the customers' rows.

Owns what was counted last of each address. A counter that is less than it was began anew: its table was made again. Of an
address that went from one customer to another since the last reading nobody knows who used it: it is nobody's usage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sekisho.app.control_traffic import Traffic
from sekisho.model.customers import Prefix
from sekisho.model.usage import Source

Counts = Mapping[Prefix, tuple[int, int]]
"""Packets and bytes by address."""


class Unanswered(Protocol):
    """Who counts queries (`drivers.customercounts.CustomerCounts`)."""

    def dropped(self, rows: NDArray[np.int64], queries: NDArray[np.uint32]) -> None: ...


class LineCounts:
    """From counters to differences, and on to whoever wants them."""

    def __init__(self, row_of: Callable[[str], int | None], queries: Unanswered | None = None, usage: Traffic | None = None) -> None:
        self._row_of = row_of
        self._queries = queries
        self.traffic = usage
        self._silenced: dict[Prefix, int] | None = None
        self._seen: tuple[dict[Prefix, int], dict[Prefix, int], dict[Prefix, int]] = {}, {}, {}
        self._moved: set[Prefix] = set()
        self._began = False
        self.dropped = 0
        """Queries of silenced customers dropped since the start."""

    def silenced(self, counts: Counts, owners: Mapping[Prefix, str]) -> None:
        """Queries dropped so far, by address: they count as asked and not answered. The first reading is where counting begins."""
        now, before = _column(counts, 0), self._silenced
        self._silenced = now
        if before is None:
            return
        found = _by_row(_new(now, before), owners, self._row_of)
        self.dropped += sum(found.values())
        if found and self._queries is not None:
            self._queries.dropped(np.array(list(found), np.int64), np.array(list(found.values()), np.uint64).astype(np.uint32))

    def moved(self, prefixes: Iterable[Prefix]) -> None:
        """Addresses that were one customer's and are another's now."""
        self._moved.update(prefixes)

    def usage(self, at: float, down: Counts, up: Counts, mail: Counts, owners: Mapping[Prefix, str]) -> None:
        """Octets in both directions and connections to ports of mail so far, by address. The first reading is where counting begins."""
        now = _column(down, 1), _column(up, 1), _column(mail, 0)
        parts = [_by_row(_new(one, seen, self._moved), owners, self._row_of) for one, seen in zip(now, self._seen, strict=True)]
        self._moved.clear()
        self._seen, began, self._began = now, self._began, True
        rows = sorted(set().union(*parts))
        if began and rows and self.traffic is not None:
            columns = [np.array([part.get(row, 0) for row in rows], np.uint64) for part in parts]
            self.traffic.add(Source.COUNTERS, at, np.array(rows, np.int64), columns[0], columns[1], columns[2].astype(np.uint32))


def _column(counts: Counts, which: int) -> dict[Prefix, int]:
    return {one: pair[which] for one, pair in counts.items()}


def _new(counts: Mapping[Prefix, int], before: Mapping[Prefix, int], moved: Collection[Prefix] = ()) -> dict[Prefix, int]:
    """What was counted since; only where something was, and of `moved` only by a counter that began anew for whose it is now."""
    grown = ((one, many - last if many >= last else many) for one, many in counts.items() if (last := before.get(one, 0)) != many)
    return {one: many for one, many in grown if many and (one not in moved or counts[one] < before.get(one, 0))}


def _by_row(counts: Mapping[Prefix, int], owners: Mapping[Prefix, str], row_of: Callable[[str], int | None]) -> dict[int, int]:
    found: dict[int, int] = {}
    for prefix, many in counts.items():
        customer = owners.get(prefix)
        row = row_of(customer) if customer is not None else None
        if row is not None:
            found[row] = found.get(row, 0) + many
    return found
