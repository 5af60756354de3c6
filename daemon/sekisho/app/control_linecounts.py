"""What the kernel counted of customers' lines, as differences by the customers' rows.

Owns what was counted last of each address. A counter that is less than it was began anew: its table was made again. Of an
address that went from one customer to another since the last reading nobody knows who used it: it is nobody's usage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sekisho.app.control_traffic import Traffic
from sekisho.drivers.tableread import Counted
from sekisho.enforce.state import Table, prefix_of
from sekisho.model.customers import Prefix
from sekisho.model.usage import Source

Counts = Mapping[Table, Counted]
"""Packets and bytes by table."""
Grown = dict[Prefix, int]
"""What was counted since the last reading, by address."""


class Asked(NamedTuple):
    """Queries let through in the `seconds` since the reading before."""

    queries: Grown
    seconds: float


class Unanswered(Protocol):
    """Who counts queries (`drivers.kernelqueries.KernelQueries`)."""

    wanted: bool

    def dropped(self, rows: NDArray[np.int64], queries: NDArray[np.uint32]) -> None: ...

    def asked(self, rows: NDArray[np.int64], queries: NDArray[np.uint32], seconds: float) -> None: ...


class LineCounts:
    """From counters to differences, and on to whoever wants them."""

    def __init__(self, row_of: Callable[[str], int | None], queries: Unanswered | None = None, usage: Traffic | None = None) -> None:
        self._row_of = row_of
        self._queries = queries
        self.traffic = usage
        self._silenced: Counts | None = None
        self._asked: Counts | None = None
        self._seen: tuple[Counts, Counts, Counts] = {}, {}, {}
        self._moved: set[Prefix] = set()
        self._gone: set[Prefix] = set()
        """As `_moved`, since queries were read last."""
        self._wanted = self._began = False
        self._asked_at = 0.0
        self.apart = 0.0
        """Seconds between the last two readings of queries let through; 0: there are none."""
        self.dropped = 0
        """Queries of silenced customers dropped since the start."""

    def want(self, *, queries: bool) -> None:
        """Whether queries let through are to be read from now on, as the configuration says: else what was read of them is forgotten."""
        self._wanted = queries
        if self._queries is not None:
            self._queries.wanted = queries
        if not queries:
            self._asked, self._gone, self.apart = None, set(), 0.0

    def silenced_since(self, counts: Counts) -> Grown:
        """Queries dropped since the last reading, which is remembered. The first is where counting begins."""
        before, self._silenced = self._silenced, _after(counts, self._silenced)
        return _grown(self._silenced, before, "packets") if before is not None else {}

    def silenced(self, new: Grown, owners: Mapping[Prefix, str]) -> None:
        """Queries dropped count as asked and not answered."""
        found = _by_row(new, owners, self._row_of)
        self.dropped += sum(found.values())
        if found and self._queries is not None:
            self._queries.dropped(*_columns(found))

    def asked_since(self, counts: Counts, at: float) -> Asked | None:
        """Queries let through to name servers since the last reading, which is remembered; None: it is the first, or none is wanted.

        `at`: monotonic seconds of the reading.
        """
        moved, self._gone = self._gone, set()
        before, now = self._asked, _after(counts, self._asked)
        if not self._wanted:
            return None
        seconds, self._asked, self._asked_at = at - self._asked_at, now, at
        if before is None:
            return None
        self.apart = seconds
        return Asked(_grown(now, before, "packets", moved), seconds)

    def asked(self, new: Asked | None, owners: Mapping[Prefix, str]) -> None:
        """Such queries count as those that resolvers tell of; that there was a reading is told though there were none."""
        if new is not None and self._queries is not None:
            self._queries.asked(*_columns(_by_row(new.queries, owners, self._row_of)), new.seconds)

    def moved(self, prefixes: Iterable[Prefix]) -> None:
        """Addresses that were one customer's and are another's now."""
        given = frozenset(prefixes)
        # Of what is not read nobody would take them out again.
        if self._began:
            self._moved |= given
        if self._asked is not None:
            self._gone |= given

    def usage_since(self, down: Counts, up: Counts, mail: Counts) -> tuple[Grown, Grown, Grown] | None:
        """Octets in both directions and connections to ports of mail since the last reading, which is remembered; None: it is the first."""
        moved, self._moved = self._moved, set()
        before, began, self._began = self._seen, self._began, True
        self._seen = (_after(down, before[0]), _after(up, before[1]), _after(mail, before[2]))
        units = ("bytes_", "bytes_", "packets")
        found = [_grown(now, seen, which, moved) for now, seen, which in zip(self._seen, before, units, strict=True)]
        return (found[0], found[1], found[2]) if began else None

    def usage(self, at: float, new: tuple[Grown, Grown, Grown] | None, owners: Mapping[Prefix, str]) -> None:
        """Hand on what was used."""
        parts = [_by_row(one, owners, self._row_of) for one in new or ()]
        rows = sorted(set().union(*parts))
        if rows and self.traffic is not None:
            columns = [np.array([part.get(row, 0) for row in rows], np.uint64) for part in parts]
            self.traffic.add(Source.COUNTERS, at, np.array(rows, np.int64), columns[0], columns[1], columns[2].astype(np.uint32))


def _after(counts: Counts, before: Counts | None) -> Counts:
    return {table: now.after((before or {}).get(table)) for table, now in counts.items()}


def _grown(counts: Counts, before: Counts, which: str, moved: Collection[Prefix] = ()) -> Grown:
    """What was counted since; only where something was, and of `moved` only by a counter that began anew for whose it is now."""
    found: Grown = {}
    for table, now in counts.items():
        values: NDArray[np.uint64] = getattr(now, which)
        last = _aligned(now, before.get(table), which)
        for row in np.flatnonzero((values != last) & (values > 0)).tolist():
            prefix, many, was = prefix_of(table, now.keys[row].tobytes()), int(values[row]), int(last[row])
            if prefix not in moved or many < was:
                found[prefix] = many - was if many >= was else many
    return found


def _aligned(now: Counted, last: Counted | None, which: str) -> NDArray[np.uint64]:
    """What was counted last, in the order of what is counted now; 0: nothing was."""
    if last is None:
        return np.zeros(len(now.keys), np.uint64)
    values: NDArray[np.uint64] = getattr(last, which)
    if now.keys.tobytes() == last.keys.tobytes():
        return values
    known = dict(zip(last.keys.tolist(), values.tolist(), strict=True))
    return np.fromiter((known.get(key, 0) for key in now.keys.tolist()), np.uint64, len(now.keys))


def _columns(found: Mapping[int, int]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    return np.array(list(found), np.int64), np.array(list(found.values()), np.uint64).astype(np.uint32)


def _by_row(counts: Mapping[Prefix, int], owners: Mapping[Prefix, str], row_of: Callable[[str], int | None]) -> dict[int, int]:
    found: dict[int, int] = {}
    for prefix, many in counts.items():
        customer = owners.get(prefix)
        row = row_of(customer) if customer is not None else None
        if row is not None:
            found[row] = found.get(row, 0) + many
    return found
