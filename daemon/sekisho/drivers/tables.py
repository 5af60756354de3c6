"""The control plane's hand on the shared tables: publish a snapshot, keep the customers current.

Owns the files the control plane writes (`head`, `snapshot-<epoch>`, `customers-<generation>`).
One process, one writer. A customer keeps its row for as long as the runtime folder lives, over
restarts of the control plane too, so what the plane counted by row keeps its meaning.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sekisho.drivers.sharedfiles import HEAD, MappedTable, create_table, customers_file, map_table, snapshot_file, write_file
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError, TableError
from sekisho.snapshot import layout
from sekisho.snapshot.layout import Customers
from sekisho.snapshot.people import build_customers, fill, find_slot
from sekisho.snapshot.sections import Kind

_LOW = (1 << 64) - 1


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

    @property
    def flags(self) -> int:
        flags = layout.ACTIVE
        if self.over_truncate:
            flags |= layout.TRUNCATE
        if self.silenced:
            flags |= layout.SILENCED
        return flags


class TableWriter:
    """Writes the control plane's tables in one folder, which it makes if it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        head = folder / HEAD
        try:
            self._head = map_table(head, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
        except TableError:
            create_table(head, Kind.HEAD, layout.HEAD_VERSION, 0, {"values": np.zeros(layout.HEAD_WORDS, np.uint64)})
            self._head = map_table(head, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
        self._table: MappedTable | None = None
        self._rows: dict[str, int] = {}
        self._next_row = layout.ALLOWED + 1
        self._prefixes: dict[int, tuple[Prefix, ...]] = {}
        self._allow: tuple[Prefix, ...] = ()
        self._recall_rows()

    @property
    def epoch(self) -> int:
        """The epoch in force; 0 before the first."""
        return int(self._head[layout.HEAD_EPOCH])

    def publish_snapshot(self, data: bytes | bytearray, epoch: int) -> None:
        """Put a snapshot in force: written aside, then one store. The one before it is kept, older ones go."""
        self.stage_snapshot(data, epoch)
        self._enter_epoch(epoch)

    def stage_snapshot(self, data: bytes | bytearray, epoch: int) -> None:
        """Write a snapshot that is to come in force with its customers (`replace_customers`)."""
        write_file(self._folder / snapshot_file(epoch), data)

    def replace_customers(self, rows: Iterable[CustomerRow], allow: Sequence[Prefix], count: int, epoch: int | None = None) -> None:
        """Load all customers as a new generation, put in force by one store. `count` is how many to make room for.

        `epoch` names a staged snapshot that the rows' masks and profiles are of: both come in force
        together, so that no row is read by the other configuration's lists while a million are loaded.
        """
        generation = int(self._head[layout.HEAD_GENERATION]) + 1
        highs, lows, lengths, owners = array("Q"), array("Q"), array("B"), array("I")
        prefixes: dict[int, tuple[Prefix, ...]] = {}
        columns: list[tuple[int, CustomerRow]] = []
        for prefix in allow:
            _append(prefix, layout.ALLOWED, highs, lows, lengths, owners)
        for row in rows:
            number = self._row(row.id)
            columns.append((number, row))
            prefixes[number] = row.prefixes
            for prefix in row.prefixes:
                _append(prefix, number, highs, lows, lengths, owners)
        room = max(count, self._next_row) + max(1024, self._next_row // 4)
        names = sum(len(name.encode()) for name in self._rows)
        buffer = build_customers(generation, room, len(owners) + room // 4, names + 64 * 1024 + names // 4)
        path = self._folder / customers_file(generation)
        write_file(path, buffer)
        del buffer
        table = map_table(path, Kind.CUSTOMERS, layout.CUSTOMERS_VERSION, writable=True)
        self._load_columns(table, columns)
        self._load_identities(table)
        arrays = table.arrays
        used = fill(
            arrays["addresses"], arrays["lengths"], arrays["owners"], arrays["present"],
            np.frombuffer(highs, np.uint64) if highs else np.empty(0, np.uint64),
            np.frombuffer(lows, np.uint64) if lows else np.empty(0, np.uint64),
            np.frombuffer(lengths, np.uint8) if lengths else np.empty(0, np.uint8),
            np.frombuffer(owners, np.uint32) if owners else np.empty(0, np.uint32),
        )  # fmt: skip
        arrays["used"][1] = used
        self._table, self._prefixes, self._allow = table, prefixes, tuple(allow)
        if epoch is not None:
            self._enter_epoch(epoch)
        self._head[layout.HEAD_GENERATION] = generation
        self._remove_old("customers-", {generation, generation - 1})

    def put_customer(self, row: CustomerRow) -> None:
        """Add or replace one customer, in force at once. Prefixes it no longer has become nobody's."""
        number = self._row(row.id)
        table = self._loaded()
        if number >= len(table.arrays["masks"]) or self._is_full(table, len(row.prefixes), len(row.id.encode())):
            self._grow(row)
            return
        self._load_columns(table, [(number, row)])
        self._load_identity(table, number, row.id)
        for prefix in self._prefixes.get(number, ()):
            if prefix not in row.prefixes:
                self._own(table, prefix, layout.NOBODY)
        for prefix in row.prefixes:
            self._own(table, prefix, number)
        self._prefixes[number] = row.prefixes

    def remove_customer(self, id: str) -> None:  # noqa: A002 - the field's own name
        """Take a customer out, at once. Raises RefusedError if there is none of that id."""
        number = self._known(id)
        table = self._loaded()
        for prefix in self._prefixes.pop(number, ()):
            self._own(table, prefix, layout.ALLOWED if prefix in self._allow else layout.NOBODY)
        table.arrays["masks"][number] = 0
        table.arrays["flags"][number] = 0

    def set_mask(self, id: str, mask: int) -> None:  # noqa: A002
        """Set the lists in force for a customer: one store, in force at once. Raises RefusedError for an unknown id."""
        self._loaded().arrays["masks"][self._known(id)] = mask

    def set_silenced(self, id: str, silenced: bool) -> None:  # noqa: A002
        """Silence a customer or end its silence, at once. Raises RefusedError for an unknown id."""
        flags = self._loaded().arrays["flags"]
        number = self._known(id)
        flags[number] = (int(flags[number]) | layout.SILENCED) if silenced else (int(flags[number]) & ~layout.SILENCED)

    def heartbeat(self, now_ns: int) -> None:
        """Say that the control plane lives; nanoseconds since 1970."""
        self._head[layout.HEAD_HEARTBEAT] = now_ns

    def _enter_epoch(self, epoch: int) -> None:
        previous = self.epoch
        self._head[layout.HEAD_EPOCH] = epoch
        self._remove_old("snapshot-", {epoch, previous})

    def _row(self, name: str) -> int:
        if name not in self._rows:
            self._rows[name] = self._next_row
            self._next_row += 1
        return self._rows[name]

    def _known(self, name: str) -> int:
        if name not in self._rows or self._rows[name] not in self._prefixes:
            message = f"customer {name} is not in the tables; add it first"
            raise RefusedError(message)
        return self._rows[name]

    def _loaded(self) -> MappedTable:
        if self._table is None:
            message = "no customers are loaded yet; replace_customers comes first"
            raise TableError(message)
        return self._table

    def _is_full(self, table: MappedTable, prefixes: int, identity: int) -> bool:
        used = table.arrays["used"]
        slots = len(table.arrays["lengths"])
        return int(used[1]) + prefixes > slots * 7 // 10 or int(used[2]) + identity > len(table.arrays["identities"])

    def _grow(self, row: CustomerRow) -> None:
        old = Customers(*(self._loaded().arrays[name] for name in Customers._fields))
        names = {number: name for name, number in self._rows.items()}
        rows = [
            CustomerRow(
                names[number], held, int(old.masks[number]), int(old.profiles[number]), int(old.rates[number]), int(old.bursts[number]),
                bool(old.flags[number] & layout.TRUNCATE), bool(old.flags[number] & layout.SILENCED),
            )
            for number, held in self._prefixes.items()
            if names[number] != row.id
        ]  # fmt: skip
        self.replace_customers([*rows, row], self._allow, len(rows) * 2)

    def _load_columns(self, table: MappedTable, columns: Sequence[tuple[int, CustomerRow]]) -> None:
        arrays = table.arrays
        arrays["flags"][layout.ALLOWED] = layout.ACTIVE | layout.NETWORK
        where = np.fromiter((number for number, _ in columns), np.int64, len(columns))
        arrays["masks"][where] = np.array([row.mask for _, row in columns], np.uint64)
        arrays["profiles"][where] = np.array([row.profile for _, row in columns], np.uint16)
        arrays["rates"][where] = np.array([row.budget_rate for _, row in columns], np.uint32)
        arrays["bursts"][where] = np.array([row.budget_burst for _, row in columns], np.uint32)
        arrays["flags"][where] = np.array([row.flags for _, row in columns], np.uint32)
        arrays["used"][0] = self._next_row

    def _load_identities(self, table: MappedTable) -> None:
        names = [(number, name.encode()) for name, number in self._rows.items()]
        blob = b"".join(name for _, name in names)
        lengths = np.fromiter((len(name) for _, name in names), np.int64, len(names))
        where = np.fromiter((number for number, _ in names), np.int64, len(names))
        table.arrays["identities"][: len(blob)] = np.frombuffer(blob, np.uint8)
        table.arrays["spans"][where, 0] = np.cumsum(lengths) - lengths
        table.arrays["spans"][where, 1] = lengths
        table.arrays["used"][2] = len(blob)

    def _load_identity(self, table: MappedTable, number: int, name: str) -> None:
        if int(table.arrays["spans"][number, 1]):
            return
        encoded = name.encode()
        start = int(table.arrays["used"][2])
        table.arrays["identities"][start : start + len(encoded)] = np.frombuffer(encoded, np.uint8)
        table.arrays["spans"][number] = (start, len(encoded))
        table.arrays["used"][2] = start + len(encoded)

    def _own(self, table: MappedTable, prefix: Prefix, owner: int) -> None:
        arrays = table.arrays
        high, low = np.uint64(prefix.value >> 64), np.uint64(prefix.value & _LOW)
        slot = find_slot(arrays["addresses"], arrays["lengths"], high, low, prefix.length)
        if slot >= 0:
            arrays["owners"][slot] = owner
            return
        slot = -1 - slot
        arrays["addresses"][slot] = (high, low)
        arrays["owners"][slot] = owner
        arrays["present"][prefix.length >> 6] |= np.uint64(1 << (prefix.length & 63))
        arrays["lengths"][slot] = prefix.length + 1
        arrays["used"][1] += np.uint64(1)

    def _recall_rows(self) -> None:
        """Take over the rows an earlier control plane gave out."""
        generation = int(self._head[layout.HEAD_GENERATION])
        if not generation:
            return
        try:
            arrays = map_table(self._folder / customers_file(generation), Kind.CUSTOMERS, layout.CUSTOMERS_VERSION).arrays
        except TableError:
            return
        self._rows, self._next_row = identities(arrays["identities"].tobytes(), arrays["spans"]), int(arrays["used"][0])

    def _remove_old(self, start: str, keep: set[int]) -> None:
        for path in self._folder.glob(f"{start}*"):
            number = path.name.removeprefix(start)
            if number.isdigit() and int(number) not in keep:
                os.unlink(path)  # noqa: PTH108 - already a name from the folder


def identities(blob: bytes, spans: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]) -> dict[str, int]:
    """Customer id → row, from the sections of a customers file."""
    found = {}
    for number in np.flatnonzero(spans[:, 1]):
        start, length = int(spans[number, 0]), int(spans[number, 1])
        found[blob[start : start + length].decode()] = int(number)
    return found


def _append(prefix: Prefix, owner: int, highs: array[int], lows: array[int], lengths: array[int], owners: array[int]) -> None:
    highs.append(prefix.value >> 64)
    lows.append(prefix.value & _LOW)
    lengths.append(prefix.length)
    owners.append(owner)
