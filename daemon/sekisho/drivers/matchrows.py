"""Matches in columns: the form they have between the plane's ring and the record.

Owns one row's layout and the bringing together of equal ones. A match is never an object on this
way: with thousands a second, naming each would cost more than answering its query.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

MINUTE_NS = 60_000_000_000

ROW = np.dtype(
    [
        ("last", "<u8"),
        ("first", "<u8"),
        ("second", "<u8"),
        ("customer", "<u4"),
        ("count", "<u4"),
        ("clause", "<u2"),
        ("list", "<u2"),
        ("action", "u1"),
        ("spare", "u1", (3,)),
    ]
)
"""Time of the last query (ns since 1970), the entry's digest, places in the names beside the rows, queries, `ActionKind`."""

Rows = NDArray[np.void]
_K = np.uint64(0x9E3779B97F4A7C15)
_R29 = np.uint64(29)


@dataclass(frozen=True, slots=True)
class MatchRows:
    """Matches and the ids their numbers stand for. rows (n) of `ROW`."""

    rows: Rows
    customers: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    @property
    def queries(self) -> int:
        """How many queries the rows stand for."""
        return int(self.rows["count"].sum(dtype=np.int64))


NONE = MatchRows(np.empty(0, ROW))


def merged(rows: Rows) -> Rows:
    """Equal matches of a minute as one row: its count the sum, its time the last."""
    if len(rows) < 2:
        return rows
    parts = (
        rows["first"],
        rows["second"],
        rows["last"] // np.uint64(MINUTE_NS) << np.uint64(8) | rows["action"],
        rows["customer"].astype(np.uint64)
        | rows["clause"].astype(np.uint64) << np.uint64(32)
        | rows["list"].astype(np.uint64) << np.uint64(48),
    )
    mixed = np.zeros(len(rows), np.uint64)
    for part in parts:
        mixed = (mixed ^ part) * _K
        mixed ^= mixed >> _R29
    order = np.argsort(mixed, kind="stable")
    # Neighbours are compared whole: where two different ones mix to the same number, they only stay apart.
    differs = np.ones(len(rows), np.bool_)
    differs[1:] = False
    for part in parts:
        ordered = part[order]
        differs[1:] |= ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(differs)
    found = rows[order[starts]]
    found["count"] = np.add.reduceat(rows["count"][order], starts)
    found["last"] = np.maximum.reduceat(rows["last"][order], starts)
    return found


def joined(one: MatchRows, other: MatchRows) -> MatchRows:
    """Both, their numbers those of one set of names; equal ones as one."""
    if not len(one.rows) or not len(other.rows):
        whole = one if len(one.rows) else other
        return replace(whole, rows=merged(whole.rows))
    rows = np.concatenate([one.rows, other.rows])
    names: list[tuple[str, ...]] = []
    for column, mine, theirs in (
        ("customer", one.customers, other.customers),
        ("clause", one.clauses, other.clauses),
        ("list", one.lists, other.lists),
    ):
        places = {name: place for place, name in enumerate(mine)}
        moved = np.fromiter((places.setdefault(name, len(places)) for name in theirs), np.int64, len(theirs))
        if len(theirs):
            rows[column][len(one.rows) :] = moved[other.rows[column]]
        names.append(tuple(places))
    return MatchRows(merged(rows), *names)
