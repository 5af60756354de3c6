"""Mapping the shared tables for reading: what the plane, `explain` and any other reader start with.

Owns turning files into the bundles compiled code is handed. Every array is read-only, so one
compiled function serves them all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.sharedfiles import HEAD, customers_file, map_table, snapshot_file
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.digest import Key, digest_name
from sekisho.snapshot.layout import Customers, Snapshot
from sekisho.snapshot.sections import Array, Kind

_DIRECTORIES = 16
"""Directories remembered: counts and matches speak of the last few epochs."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The ids behind a snapshot's numbers."""

    lists: dict[int, str]
    clauses: tuple[str, ...]


_LINE = ord("\n")


@dataclass(frozen=True, slots=True)
class MappedSnapshot:
    epoch: int
    tables: Snapshot
    directory: Directory


@dataclass(frozen=True, slots=True)
class MappedCustomers:
    generation: int
    tables: Customers
    identities: Array
    spans: Array

    @property
    def rows(self) -> int:
        return len(self.tables.rows)

    def name(self, row: int) -> str | None:
        """The id of the customer in a row."""
        if not 0 <= row < len(self.spans) or not int(self.spans[row, 1]):
            return None
        start, length = int(self.spans[row, 0]), int(self.spans[row, 1])
        return self.identities[start : start + length].tobytes().decode(errors="replace")

    def names(self, rows: NDArray[np.int64]) -> list[str | None]:
        """The ids of the customers in many rows."""
        known = rows < len(self.spans)
        spans = self.spans[np.where(known, rows, 0)]
        spans[~known] = 0
        return [name or None for name in names_in(self.identities, spans)]


def names_in(identities: Array, spans: Array) -> list[str]:
    """The ids at some spans of a customers file; empty where a span is."""
    if not len(spans):
        return []
    # All of them are read as one text with a line each: no id has a line break in it.
    starts, lengths = spans.astype(np.int64).T
    ends = np.cumsum(lengths + 1)
    at = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths - 1), lengths + 1)
    at[ends - 1] = 0
    text = identities[at] if len(identities) else np.empty(len(at), np.uint8)
    text[ends - 1] = _LINE
    return text.tobytes().decode(errors="replace").split("\n")[:-1]


class Head:
    """The head file: which epoch and generation are in force."""

    def __init__(self, folder: Path) -> None:
        """Raises TableError if no control plane has ever started here."""
        self._values = map_table(folder / HEAD, Kind.HEAD, layout.HEAD_VERSION).arrays["values"]

    @property
    def epoch(self) -> int:
        return int(self._values[layout.HEAD_EPOCH])

    @property
    def generation(self) -> int:
        return int(self._values[layout.HEAD_GENERATION])

    @property
    def heartbeat(self) -> int:
        """When the control plane last said it lives, ns since 1970."""
        return int(self._values[layout.HEAD_HEARTBEAT])

    @property
    def numbered(self) -> int:
        """The first epoch under which customers have the rows they have now."""
        return int(self._values[layout.HEAD_NUMBERED])


def map_snapshot(folder: Path, epoch: int, key: Key | None = None, *, verify: bool = True, resident: bool = False) -> MappedSnapshot:
    """Map a snapshot. Raises TableError if it is damaged, or if `key` is not the one it was built with.

    `verify` False leaves its checksum alone: for one that is in force, and was verified when it was taken.
    `resident` copies it into memory of this process's own, which the kernel gives in huge pages where it
    may: a look at a random place among a million names then costs no walk through page tables.
    """
    arrays = map_table(folder / snapshot_file(epoch), Kind.SNAPSHOT, layout.SNAPSHOT_VERSION, verify=verify).arrays
    if key is not None and digest_name(layout.CHECK_NAME, key) != (int(arrays["check"][0]), int(arrays["check"][1])):
        message = f"snapshot {epoch} was built with another list key; give both processes the same `list-key` credential"
        raise TableError(message)
    try:
        document = json.loads(arrays["directory"].tobytes())
        directory = Directory({item["order"]: item["id"] for item in document["lists"]}, tuple(document["clauses"]))
    except (ValueError, KeyError, TypeError) as error:
        message = f"the directory of snapshot {epoch} cannot be read; the file is damaged"
        raise TableError(message) from error
    return MappedSnapshot(
        epoch, Snapshot(*(_read_only(arrays[name].copy() if resident else arrays[name]) for name in Snapshot.names())), directory
    )


def map_customers(folder: Path, generation: int) -> MappedCustomers:
    """Map a generation of customers. Raises TableError."""
    arrays = map_table(folder / customers_file(generation), Kind.CUSTOMERS, layout.CUSTOMERS_VERSION).arrays
    tables = Customers(*(_read_only(arrays[name]) for name in Customers.names()))
    return MappedCustomers(generation, tables, arrays["identities"], arrays["spans"])


class Directories:
    """The directories of snapshots, each read once: what was counted under an epoch is named by that epoch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[int, Directory] = {}

    def of(self, epoch: int) -> Directory | None:
        """The directory of an epoch; None if its snapshot is gone, or cannot be read now."""
        if epoch not in self._known:
            try:
                found = map_snapshot(self._folder, epoch, verify=False).directory
            except TableError:
                return None
            while len(self._known) >= _DIRECTORIES:
                del self._known[min(self._known)]
            self._known[epoch] = found
        return self._known[epoch]


def _read_only(array: Array) -> Array:
    view: Array = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
