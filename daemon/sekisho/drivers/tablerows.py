"""Customers as rows and columns of the customers table, on their way in and out of it.

Owns the forms they come in: one row each, or a million in columns. Not the table's file nor when it is
in force (`drivers.tables`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.sharedfiles import MappedTable
from sekisho.model.customers import Prefix
from sekisho.sessions.columns import parted
from sekisho.snapshot import layout
from sekisho.snapshot.people import fields_of

LOW = (1 << 64) - 1
SHARED = "\0shared"
"""In the place of a customer's id: the address is shared by ports, so that whoever has a prefix around it does not have it.

Its row is never active, which is what readers refuse; no customer can have such an id.
"""
STANDING = ("mask", "profile", "rate", "burst", "measure", "limiter", "flags")
"""What is told of a customer; the flags last: an active row is whole."""


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer as the plane sees it. `budget_rate` in queries per second, 0: no budget."""

    id: str
    prefixes: tuple[Prefix, ...]
    mask: int
    profile: int
    budget_rate: int = 0
    budget_burst: int = 0
    over_truncate: bool = False
    silenced: bool = False
    garden: bool = False
    measure: int = 0
    """Number of the clause that silences or gardens the customer, counted from 1 in the snapshot's directory; 0: none."""
    limiter: int = 0
    """Number of the clause of the measure that sets the budget, likewise; 0: it is the contract's."""

    @property
    def flags(self) -> int:
        flags = layout.ACTIVE
        if self.over_truncate:
            flags |= layout.TRUNCATE
        if self.silenced:
            flags |= layout.SILENCED
        if self.garden:
            flags |= layout.GARDEN
        return flags


@dataclass(frozen=True, slots=True)
class BulkRows:
    """Many customers in columns. Row i is `ids[i]`, in everything but id and prefixes like `groups[group[i]]`.

    group uint32 or int64 (n); high, low uint64, lengths uint8 and owners uint32 (prefixes): the
    prefixes and the row each belongs to. `without`: ids that are left out.
    """

    ids: Sequence[str]
    group: NDArray[Any]
    groups: Sequence[CustomerRow]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    lengths: NDArray[np.uint8]
    owners: NDArray[np.uint32]
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lent:
    """Prefixes that are customers' for now, as codes (`sessions.columns`), and whose each is; None: nobody's who has a row."""

    codes: Sequence[int]
    names: Sequence[str | None]
    shared: Sequence[int] = ()
    """Codes of addresses that are `SHARED`."""


NONE_LENT = Lent((), ())
Prefixes = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint32]]


def standings(rows: Sequence[CustomerRow]) -> NDArray[np.void]:
    """The customers as the table has them (`layout.ROW`), the chains of their prefixes left out."""
    found = np.zeros(len(rows), layout.ROW)
    for name, values in (
        ("mask", [row.mask for row in rows]),
        ("profile", [row.profile for row in rows]),
        ("rate", [row.budget_rate for row in rows]),
        ("burst", [row.budget_burst for row in rows]),
        ("measure", [row.measure for row in rows]),
        ("limiter", [row.limiter for row in rows]),
        ("flags", [row.flags for row in rows]),
    ):
        found[name] = values
    return found


def enter(table: MappedTable, numbers: NDArray[np.int64], standing: NDArray[np.void]) -> None:
    """Write the standing of many customers to their rows, a field at a time."""
    rows = fields_of(table.arrays["rows"], layout.ROW)
    for name in STANDING:
        rows[name][numbers] = standing[name]


def load_bulk(table: MappedTable, bulk: BulkRows, numbers: NDArray[np.int64]) -> None:
    keep = _kept(bulk)
    enter(table, numbers[keep], standings(bulk.groups)[bulk.group[keep]])


def _kept(bulk: BulkRows) -> NDArray[np.bool_]:
    if not bulk.without:
        return np.ones(len(bulk.ids), np.bool_)
    return np.fromiter((name not in bulk.without for name in bulk.ids), np.bool_, len(bulk.ids))


def kept_prefixes(bulk: BulkRows, numbers: NDArray[np.int64]) -> Prefixes:
    if not bulk.without:
        return bulk.high, bulk.low, bulk.lengths, numbers[bulk.owners].astype(np.uint32)
    keep = _kept(bulk)[bulk.owners]
    return bulk.high[keep], bulk.low[keep], bulk.lengths[keep], numbers[bulk.owners[keep]].astype(np.uint32)


def prefixes_of(singles: Sequence[tuple[int, CustomerRow]]) -> Prefixes:
    held = [(prefix, number) for number, row in singles for prefix in row.prefixes]
    return (
        np.array([prefix.value >> 64 for prefix, _ in held], np.uint64),
        np.array([prefix.value & LOW for prefix, _ in held], np.uint64),
        np.array([prefix.length for prefix, _ in held], np.uint8),
        np.array([number for _, number in held], np.uint32),
    )


def lent_prefixes(lent: Lent, rows: Mapping[str, int]) -> Prefixes:
    """Of those lent, the ones whose customers have rows, and those that are shared."""
    owners = [*lent.names, *repeat(SHARED, len(lent.shared))]
    numbers = np.fromiter(map(rows.get, owners, repeat(-1)), np.int64, len(owners))  # type: ignore[arg-type]
    keep = numbers >= 0
    high, low, lengths = parted([*lent.codes, *lent.shared])
    return high[keep], low[keep], lengths[keep], numbers[keep].astype(np.uint32)


def allowed(allow: Sequence[Prefix]) -> Prefixes:
    """The operator's networks come first, so that a customer of the very same prefix has it."""
    return prefixes_of([(layout.ALLOWED, CustomerRow("", tuple(allow), 0, 0))])


def is_within(prefix: Prefix, networks: Sequence[Prefix]) -> bool:
    """Whether a prefix lies in one of some networks."""
    return any(one.length <= prefix.length and not (one.value ^ prefix.value) >> (128 - one.length) for one in networks)
