"""The control plane's hand on the shared tables: publish a snapshot, keep the customers current.

Owns the files the control plane writes (`head`, `snapshot-<epoch>`, `customers-<generation>`).
One process, one writer. A customer keeps its row for as long as the runtime folder lives, over
restarts of the control plane too, so what the plane counted by row keeps its meaning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.durable import write_file
from sekisho.drivers.maps import names_in
from sekisho.drivers.sharedfiles import (
    HEAD,
    WANTED,
    MappedTable,
    create_table,
    customers_file,
    make_folder,
    map_table,
    numbered_files,
    snapshot_file,
)
from sekisho.drivers.tablerows import (
    LOW,
    SHARED,
    BulkRows,
    CustomerRow,
    Lent,
    allowed,
    enter,
    is_within,
    kept_prefixes,
    lent_prefixes,
    load_bulk,
    owned,
    prefixes_of,
    standings,
)
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError, TableError
from sekisho.snapshot import layout
from sekisho.snapshot.people import build_customers, fields_of, fill, find_slot, link, unlink
from sekisho.snapshot.sections import Kind

_PROFILE = np.uint64(0xFFFF)
"""The part of a row's standing that is the profile."""


class TableWriter:
    """Writes the control plane's tables in one folder, which it makes if it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            make_folder(folder)
        except OSError as error:
            raise TableError(f"the folder {folder} cannot be made ({error.strerror}); make it writable for the daemon") from error
        head = folder / HEAD
        try:
            self._head = map_table(head, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
        except TableError:
            values = np.zeros(layout.HEAD_WORDS, np.uint64)
            # A plane of before may go on under the numbers it knows: none of them is given out again.
            values[layout.HEAD_EPOCH] = max((number for number, _ in numbered_files(folder, "snapshot-")), default=0)
            values[layout.HEAD_GENERATION] = max((number for number, _ in numbered_files(folder, "customers-")), default=0)
            for number, path in numbered_files(folder, "hits-"):
                # What an earlier head said was taken is not known: no match is recorded twice.
                with contextlib.suppress(TableError, IndexError):
                    values[layout.HEAD_TAKEN + number] = map_table(path, Kind.HITS, layout.HITS_VERSION).arrays["cursor"][0]
            create_table(head, Kind.HEAD, layout.HEAD_VERSION, 0, {"values": values})
            self._head = map_table(head, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
        self._table: MappedTable | None = None
        self._rows: dict[str, int] = {}
        self._next_row = layout.ALLOWED + 1
        self._allow: tuple[Prefix, ...] = ()
        self._is_renumbered = not self._recall_rows()

    @property
    def epoch(self) -> int:
        """The epoch in force; 0 before the first."""
        return int(self._head[layout.HEAD_EPOCH])

    def publish_snapshot(self, data: bytes | bytearray, epoch: int) -> None:
        """Put a snapshot in force: written aside, then one store. The one before it is kept, older ones go."""
        self.stage_snapshot(data, epoch)
        self._enter_epoch(epoch)

    def stage_snapshot(self, data: bytes | bytearray, epoch: int) -> None:
        """Write a snapshot that is to come in force with its customers (`load_customers`)."""
        write_file(self._folder / snapshot_file(epoch), data)

    def replace_customers(self, rows: Iterable[CustomerRow], allow: Sequence[Prefix], count: int, epoch: int | None = None) -> None:
        """Load all customers as `load_customers` does, each by a row of its own."""
        self.load_customers(None, list(rows), allow, count, epoch)

    def load_customers(
        self,
        bulk: BulkRows | None,
        rows: Sequence[CustomerRow],
        allow: Sequence[Prefix],
        count: int = 0,
        epoch: int | None = None,
        lent: Lent | None = None,
        spare: int = 0,
    ) -> None:
        """Load all customers as a new generation, put in force by one store: `bulk`, and `rows` besides.

        `count` is how many to make room for, `spare` how many more prefixes. `lent` are prefixes customers have for now,
        and have rather than who has them for good. `epoch` names a staged snapshot that the masks and
        profiles are of: both come in force together, so that no row is read by the other
        configuration's lists while a million are loaded.
        """
        shared = [prefix for prefix, name in lent or () if name == SHARED]
        if shared:
            self._row(SHARED)
        numbers = self._numbers(bulk.ids) if bulk is not None else np.empty(0, np.int64)
        singles = [(self._row(row.id), row) for row in rows]
        parts = [allowed(allow), prefixes_of(singles)]
        if bulk is not None:
            parts.append(kept_prefixes(bulk, numbers))
        if lent is not None:
            parts.append(lent_prefixes(lent, self._rows))
            parts.append(allowed([prefix for prefix in shared if is_within(prefix, allow)]))
        highs, lows, lengths, owners = (np.concatenate(column) for column in zip(*parts, strict=True))
        room = max(count, self._next_row) + max(1024, self._next_row // 4)
        table, path = self._create(room, len(owners) + spare)
        if bulk is not None:
            load_bulk(table, bulk, numbers)
        self._load_columns(table, singles)
        arrays = table.arrays
        used = fill(arrays["slots"].reshape(-1), arrays["rows"].reshape(-1), arrays["present"], highs, lows, lengths, owners)
        arrays["used"][1] = used
        self._allow = tuple(allow)
        previous = self.epoch
        if self._is_renumbered:
            # Before anybody reads the tables: what a plane of before goes on to count and match is by other rows.
            self._head[layout.HEAD_NUMBERED] = previous + 1 if epoch is None else epoch
            self._is_renumbered = False
        if epoch is not None:
            self._head[layout.HEAD_EPOCH] = epoch
        # Nothing may come between the two stores: a reader that sees one without the other looks again.
        self._put_in_force(table, path)
        if epoch is not None:
            self._remove_old("snapshot-", {epoch, previous})

    def put_customer(self, row: CustomerRow) -> None:
        """Add or replace one customer, in force at once. Prefixes it no longer has become nobody's."""
        number = self._row(row.id)
        table = self._loaded()
        if number >= len(table.arrays["rows"]) or self._is_full(table, len(row.prefixes), len(row.id.encode())):
            table = self._grow(len(row.prefixes))
        self._load_columns(table, [(number, row)])
        self._load_identity(table, number, row.id)
        for prefix in owned(table, number):
            if prefix not in row.prefixes:
                self._own(table, prefix, layout.ALLOWED if prefix in self._allow else layout.NOBODY)
        for prefix in row.prefixes:
            self._own(table, prefix, number)

    def give(self, moves: Iterable[tuple[Prefix, str | None]], *, may_grow: bool = True) -> bool:
        """Have prefixes be customers' from now on, in force at once; None, or who is not in the tables: nobody's.

        An address that is `SHARED` is nobody's although somebody has a prefix around it, but in a network that is allowed. False
        if the table has no room for one and may not grow now: those before it are in force.
        """
        rows = self._fields()
        for prefix, name in moves:
            number = None if name is None else self._rows.get(name)
            if number is None or number >= len(rows) or not int(rows["flags"][number]) & layout.ACTIVE:
                number = layout.ALLOWED if prefix in self._allow else layout.NOBODY
            if name == SHARED:
                number = layout.ALLOWED if is_within(prefix, self._allow) else self._row(SHARED)
            table = self._loaded()
            if (name == SHARED and number >= len(rows)) or self._is_full(table, 1, len(SHARED)):
                if not may_grow:
                    return False
                table = self._grow(1)
                rows = self._fields()
            if name == SHARED and number != layout.ALLOWED:
                table.arrays["used"][0] = self._next_row
                self._load_identity(table, number, SHARED)
            self._own(table, prefix, number)
        return True

    def remove_customer(self, id: str) -> None:  # noqa: A002 - the field's own name
        """Take a customer out, at once. Raises RefusedError if there is none of that id."""
        number = self._known(id)
        table = self._loaded()
        for prefix in owned(table, number):
            self._own(table, prefix, layout.ALLOWED if prefix in self._allow else layout.NOBODY)
        rows = self._fields()
        rows["mask"][number] = 0
        rows["flags"][number] = 0

    def set_mask(self, id: str, mask: int) -> None:  # noqa: A002
        """Set the lists in force for a customer: one store, in force at once. Raises RefusedError for an unknown id."""
        self._fields()["mask"][self._known(id)] = mask

    def set_standing(self, row: CustomerRow) -> None:
        """Budget, flags and measures of a customer as `row` has them: two stores, in force at once.

        Lists, profile and prefixes stay as they are. Raises RefusedError for an unknown id.
        """
        number = self._known(row.id)
        words = self._loaded().arrays["rows"][number]
        told = standings([row]).view(np.uint64)
        words[layout.ROW_BUDGET] = told[layout.ROW_BUDGET]
        words[layout.ROW_STANDING] = told[layout.ROW_STANDING] & ~_PROFILE | words[layout.ROW_STANDING] & _PROFILE

    def is_wanted(self) -> bool:
        """Whether a plane could not start by these tables, since this was asked last."""
        try:
            (self._folder / WANTED).unlink()
        except FileNotFoundError:
            return False
        return True

    def row_of(self, id: str) -> int | None:  # noqa: A002
        """The row of a customer, under which the plane counts; None for an id that never had one."""
        return self._rows.get(id)

    @property
    def rows(self) -> Mapping[str, int]:
        """Every id that ever had a row, and its row. A row never becomes another customer's."""
        return self._rows

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

    def _numbers(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The rows of many ids, in their order."""
        if not self._rows:
            self._rows = dict(zip(names, range(self._next_row, self._next_row + len(names)), strict=True))
            self._next_row += len(names)
        return np.fromiter(map(self._row, names), np.int64, len(names))

    def _known(self, name: str) -> int:
        number, flags = self._rows.get(name), self._fields()["flags"]
        # A row given out for tables that are being loaded may lie behind the end of those in force.
        if number is None or number >= len(flags) or not int(flags[number]) & layout.ACTIVE:
            message = f"customer {name} is not in the tables; add it first"
            raise RefusedError(message)
        return number

    def _loaded(self) -> MappedTable:
        if self._table is None:
            message = "no customers are loaded yet; replace_customers comes first"
            raise TableError(message)
        return self._table

    def _fields(self) -> NDArray[np.void]:
        return fields_of(self._loaded().arrays["rows"], layout.ROW)

    def _is_full(self, table: MappedTable, prefixes: int, identity: int) -> bool:
        used = table.arrays["used"]
        slots = len(table.arrays["slots"])
        return int(used[1]) + prefixes > slots * 7 // 10 or int(used[2]) + identity > len(table.arrays["identities"])

    def _create(self, room: int, prefixes: int) -> tuple[MappedTable, Path]:
        """A new generation with the ids in it, not yet in force."""
        generation = int(self._head[layout.HEAD_GENERATION]) + 1
        names = "".join(self._rows).encode()
        path = self._folder / customers_file(generation)
        try:
            write_file(path, build_customers(generation, room, prefixes + room // 4, len(names) + 64 * 1024 + len(names) // 4))
        except OSError as error:
            raise TableError(f"{path} cannot be written ({error.strerror}); see that the runtime folder has room") from error
        table = map_table(path, Kind.CUSTOMERS, layout.CUSTOMERS_VERSION, writable=True)
        arrays = table.arrays
        lengths = np.fromiter((len(name) if name.isascii() else len(name.encode()) for name in self._rows), np.int64, len(self._rows))
        where = np.fromiter(self._rows.values(), np.int64, len(self._rows))
        arrays["identities"][: len(names)] = np.frombuffer(names, np.uint8)
        arrays["spans"][where, 0] = np.cumsum(lengths) - lengths
        arrays["spans"][where, 1] = lengths
        fields_of(arrays["rows"], layout.ROW)["flags"][layout.ALLOWED] = layout.ACTIVE | layout.NETWORK
        arrays["used"][0] = self._next_row
        arrays["used"][2] = len(names)
        return table, path

    def _put_in_force(self, table: MappedTable, path: Path) -> None:
        generation = int(path.name.removeprefix("customers-"))
        self._table = table
        self._head[layout.HEAD_GENERATION] = generation
        self._remove_old("customers-", {generation, generation - 1})

    def _grow(self, prefixes: int) -> MappedTable:
        """The same customers in a roomier generation."""
        old = self._loaded().arrays
        slots = fields_of(old["slots"], layout.SLOT)
        live = slots[(slots["length"] > 0) & (slots["owner"] != layout.NOBODY)]
        # Prefixes may have run out long before rows do: room once made is kept.
        room = max(len(old["rows"]), self._next_row + max(1024, self._next_row // 4))
        table, path = self._create(room, len(live) + prefixes)
        arrays = table.arrays
        enter(table, np.arange(len(old["rows"])), fields_of(old["rows"], layout.ROW))
        # The columns in types of their own: a field of a record is not aligned as compiled code has it.
        columns = (live["high"].copy(), live["low"].copy(), (live["length"] - 1).astype(np.uint8), live["owner"].copy())
        arrays["used"][1] = fill(arrays["slots"].reshape(-1), arrays["rows"].reshape(-1), arrays["present"], *columns)
        self._put_in_force(table, path)
        return table

    def _load_columns(self, table: MappedTable, columns: Sequence[tuple[int, CustomerRow]]) -> None:
        where = np.fromiter((number for number, _ in columns), np.int64, len(columns))
        enter(table, where, standings([row for _, row in columns]))
        table.arrays["used"][0] = self._next_row

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
        slots, rows = arrays["slots"].reshape(-1), arrays["rows"].reshape(-1)
        high, low = np.uint64(prefix.value >> 64), np.uint64(prefix.value & LOW)
        at = find_slot(slots, high, low, prefix.length)
        entries = fields_of(arrays["slots"], layout.SLOT)
        if at >= 0 and int(entries["owner"][at]) == owner:
            return
        if at >= 0:
            unlink(slots, rows, at)
            entries["owner"][at] = owner
        elif owner == layout.NOBODY:
            return
        else:
            # The length makes the entry visible: it comes last, each in a store of its own.
            at = -1 - at
            entries["high"][at], entries["low"][at] = high, low
            entries["owner"][at] = owner
            arrays["present"][prefix.length >> 6] |= np.uint64(1 << (prefix.length & 63))
            entries["length"][at] = prefix.length + 1
            arrays["used"][1] += np.uint64(1)
        if owner != layout.NOBODY:
            link(slots, rows, at, owner)

    def _recall_rows(self) -> bool:
        """Take over the rows an earlier control plane gave out. False: it gave out some that cannot be read."""
        generation = int(self._head[layout.HEAD_GENERATION])
        if not generation:
            return True
        try:
            arrays = map_table(self._folder / customers_file(generation), Kind.CUSTOMERS, layout.CUSTOMERS_VERSION).arrays
        except TableError:
            return False
        spans = arrays["spans"]
        rows = np.flatnonzero(spans[:, 1])
        self._rows = dict(zip(names_in(arrays["identities"], spans[rows]), rows.tolist(), strict=True))
        self._next_row = int(arrays["used"][0])
        return True

    def _remove_old(self, start: str, keep: set[int]) -> None:
        for number, path in numbered_files(self._folder, start):
            if number not in keep:
                path.unlink()
