"""What the kernel counted of customers' lines, as differences by the customers' rows.

Owns what was counted last of each address. A counter that is less than it was began anew: its table was made again. Of an
address that went from one customer to another since the last reading nobody knows who used it: it is nobody's usage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice, repeat
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sekisho.app.control_traffic import Traffic
from sekisho.drivers.tableread import Counted
from sekisho.enforce.state import Table, prefix_of
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.usage import Source

Counts = Mapping[Table, Counted]
"""Packets and bytes by table."""
Grown = dict[Prefix, int]
"""What was counted since the last reading, by address."""
_TURN = 500
"""Addresses whose customers are looked up without a pause: a millisecond or two."""


class Asked(NamedTuple):
    """Queries let through in the `seconds` since the reading before."""

    queries: Grown
    seconds: float
    moved: Collection[Prefix] = ()
    """Addresses that are another customer's since: there may come more."""


class Used(NamedTuple):
    """Octets towards customers and from them, and connections to ports of mail; `moved` as of `Asked`."""

    parts: tuple[Grown, Grown, Grown]
    moved: Collection[Prefix] = ()


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

    async def by_row(self, new: Grown, owners: Mapping[Prefix, str], moved: Collection[Prefix] = ()) -> dict[int, int]:
        """What was counted of addresses, by the row of whose they are; of `moved` it is nobody's.

        Others have their turn in between, and may move some: there may be very many.
        """
        found: dict[int, int] = {}
        left = iter(new.items())
        while some := list(islice(left, _TURN)):
            for prefix, many in some:
                customer = owners.get(prefix)
                row = self._row_of(customer) if customer is not None and prefix not in moved else None
                if row is not None:
                    found[row] = found.get(row, 0) + many
            await asyncio.sleep(0)
        return found

    def silenced(self, found: Mapping[int, int]) -> None:
        """Queries dropped, by row, count as asked and not answered."""
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
        return Asked(_grown(now, before, "packets", moved), seconds, self._gone)

    def asked(self, found: Mapping[int, int], seconds: float) -> None:
        """Such queries, by row, count as those that resolvers tell of; that there was a reading is told though there were none."""
        if self._queries is not None:
            self._queries.asked(*_columns(found), seconds)

    def moved(self, prefixes: Iterable[Prefix]) -> None:
        """Addresses that were one customer's and are another's now."""
        given = frozenset(prefixes)
        # Of what is not read nobody would take them out again.
        if self._began:
            self._moved |= given
        if self._asked is not None:
            self._gone |= given

    def usage_since(self, down: Counts, up: Counts, mail: Counts) -> Used | None:
        """What was used since the last reading, which is remembered; None: it is the first."""
        moved, self._moved = self._moved, set()
        before, began, self._began = self._seen, self._began, True
        self._seen = (_after(down, before[0]), _after(up, before[1]), _after(mail, before[2]))
        units = ("bytes_", "bytes_", "packets")
        found = [_grown(now, seen, which, moved) for now, seen, which in zip(self._seen, before, units, strict=True)]
        return Used((found[0], found[1], found[2]), self._moved) if began else None

    def usage(self, at: float, parts: Sequence[Mapping[int, int]]) -> None:
        """Hand on what was used, by row: the parts of `Used`."""
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
        places = np.flatnonzero((values != last) & (values > 0))
        many, was = values[places], last[places]
        anew = many < was
        fresh = dict(zip(_prefixes(table, now.keys[places]), np.where(anew, many, many - was).tolist(), strict=True))
        if moved:
            for prefix, began in zip(list(fresh), anew.tolist(), strict=True):
                if prefix in moved and not began:
                    del fresh[prefix]
        found |= fresh
    return found


def _prefixes(table: Table, keys: NDArray[np.void]) -> Iterable[Prefix]:
    """The addresses of some keys of a table."""
    if table.six:
        return [prefix_of(table, key) for key in keys.tolist()]
    values = keys.view(">u4").astype(np.int64) | V4_MAPPED
    # Equal to prefixes, and made in a fifth of the time.
    return cast("Iterable[Prefix]", zip(values.tolist(), repeat(table.bits + 96)))


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
