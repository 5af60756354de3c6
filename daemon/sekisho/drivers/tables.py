"""The control plane's hand on the shared tables: publish a snapshot, keep the customers current.

Owns the files the control plane writes (`head`, `snapshot-<epoch>`, `customers-<generation>`), and which of them are
in force. One process, one writer. How a customer is written is `drivers.customerstable`, under which row `drivers.rownumbers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.customerstable import CustomersTable
from sekisho.drivers.durable import write_file
from sekisho.drivers.rownumbers import RowNumbers
from sekisho.drivers.sharedfiles import (
    HEAD,
    WANTED,
    create_table,
    customers_file,
    make_folder,
    map_table,
    numbered_files,
    snapshot_file,
)
from sekisho.drivers.tablerows import (
    NONE_LENT,
    SHARED,
    BulkRows,
    CustomerRow,
    Lent,
    allowed,
    is_within,
    kept_prefixes,
    lent_prefixes,
    load_bulk,
    prefixes_of,
    standings,
)
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError, TableError
from sekisho.sessions.columns import prefix_of
from sekisho.snapshot import layout
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
        self._head = _opened_head(folder)
        self._table: CustomersTable | None = None
        self._numbers = RowNumbers()
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
        lent: Lent = NONE_LENT,
        spare: int = 0,
    ) -> None:
        """Load all customers as a new generation, put in force by one store: `bulk`, and `rows` besides.

        `count` is how many to make room for, `spare` how many more prefixes. `lent` are prefixes customers have for now,
        and have rather than who has them for good. `epoch` names a staged snapshot that the masks and
        profiles are of: both come in force together, so that no row is read by the other
        configuration's lists while a million are loaded.
        """
        shared = [prefix_of(code) for code in lent.shared]
        if shared:
            self._numbers.of(SHARED)
        numbers = self._numbers.of_all(bulk.ids) if bulk is not None else np.empty(0, np.int64)
        singles = [(self._numbers.of(row.id), row) for row in rows]
        parts = [allowed(allow), prefixes_of(singles)]
        if bulk is not None:
            parts.append(kept_prefixes(bulk, numbers))
        parts.append(lent_prefixes(lent, self._numbers.rows))
        parts.append(allowed([prefix for prefix in shared if is_within(prefix, allow)]))
        highs, lows, lengths, owners = (np.concatenate(column) for column in zip(*parts, strict=True))
        used = self._numbers.next
        table = self._create(max(count, used) + max(1024, used // 4), len(owners) + spare)
        if bulk is not None:
            load_bulk(table.table, bulk, numbers)
        table.enter(singles)
        table.fill((highs, lows, lengths, owners))
        self._allow = tuple(allow)
        previous = self.epoch
        if self._is_renumbered:
            # Before anybody reads the tables: what a plane of before goes on to count and match is by other rows.
            self._head[layout.HEAD_NUMBERED] = previous + 1 if epoch is None else epoch
            self._is_renumbered = False
        if epoch is not None:
            self._head[layout.HEAD_EPOCH] = epoch
        # Nothing may come between the two stores: a reader that sees one without the other looks again.
        self._put_in_force(table)
        if epoch is not None:
            self._remove_old("snapshot-", {epoch, previous})

    def put_customer(self, row: CustomerRow) -> None:
        """Add or replace one customer, in force at once. Prefixes it no longer has become nobody's."""
        number = self._numbers.of(row.id)
        table = self._loaded()
        if number >= table.room or table.is_full(len(row.prefixes), len(row.id.encode())):
            table = self._grow(len(row.prefixes))
        table.enter([(number, row)])
        table.enter_identity(number, row.id)
        for prefix in table.owned(number):
            if prefix not in row.prefixes:
                table.own(prefix, self._without_owner(prefix))
        for prefix in row.prefixes:
            table.own(prefix, number)

    def give(self, moves: Iterable[tuple[Prefix, str | None]], *, may_grow: bool = True) -> bool:
        """Have prefixes be customers' from now on, in force at once; None, or who is not in the tables: nobody's.

        An address that is `SHARED` is nobody's although somebody has a prefix around it, but in a network that is allowed. False
        if the table has no room for one and may not grow now: those before it are in force.
        """
        rows = self._loaded().rows
        for prefix, name in moves:
            number = None if name is None else self._numbers.rows.get(name)
            if number is None or number >= len(rows) or not int(rows["flags"][number]) & layout.ACTIVE:
                number = self._without_owner(prefix)
            if name == SHARED:
                number = layout.ALLOWED if is_within(prefix, self._allow) else self._numbers.of(SHARED)
            table = self._loaded()
            if (name == SHARED and number >= len(rows)) or table.is_full(1, len(SHARED)):
                if not may_grow:
                    return False
                table = self._grow(1)
                rows = table.rows
            if name == SHARED and number != layout.ALLOWED:
                table.enter_identity(number, SHARED)
            table.own(prefix, number)
        return True

    def remove_customer(self, id: str) -> None:  # noqa: A002 - the field's own name
        """Take a customer out, at once. Raises RefusedError if there is none of that id."""
        number = self._known(id)
        table = self._loaded()
        for prefix in table.owned(number):
            table.own(prefix, self._without_owner(prefix))
        table.rows["mask"][number] = 0
        table.rows["flags"][number] = 0

    def set_mask(self, id: str, mask: int) -> None:  # noqa: A002
        """Set the lists in force for a customer: one store, in force at once. Raises RefusedError for an unknown id."""
        self._loaded().rows["mask"][self._known(id)] = mask

    def set_standing(self, row: CustomerRow) -> None:
        """Budget, flags and measures of a customer as `row` has them: two stores, in force at once.

        Lists, profile and prefixes stay as they are. Raises RefusedError for an unknown id.
        """
        number = self._known(row.id)
        words = self._loaded().words(number)
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
        return self._numbers.rows.get(id)

    @property
    def rows(self) -> Mapping[str, int]:
        """Every id that ever had a row, and its row. A row never becomes another customer's."""
        return self._numbers.rows

    def heartbeat(self, now_ns: int) -> None:
        """Say that the control plane lives; nanoseconds since 1970."""
        self._head[layout.HEAD_HEARTBEAT] = now_ns

    def _enter_epoch(self, epoch: int) -> None:
        previous = self.epoch
        self._head[layout.HEAD_EPOCH] = epoch
        self._remove_old("snapshot-", {epoch, previous})

    def _known(self, name: str) -> int:
        number, flags = self._numbers.rows.get(name), self._loaded().rows["flags"]
        # A row given out for tables that are being loaded may lie behind the end of those in force.
        if number is None or number >= len(flags) or not int(flags[number]) & layout.ACTIVE:
            message = f"customer {name} is not in the tables; add it first"
            raise RefusedError(message)
        return number

    def _without_owner(self, prefix: Prefix) -> int:
        """Whose a prefix is that no customer has."""
        return layout.ALLOWED if prefix in self._allow else layout.NOBODY

    def _loaded(self) -> CustomersTable:
        if self._table is None:
            message = "no customers are loaded yet; replace_customers comes first"
            raise TableError(message)
        return self._table

    def _create(self, room: int, prefixes: int) -> CustomersTable:
        """A new generation with the ids in it, not yet in force."""
        return CustomersTable.create(self._folder, int(self._head[layout.HEAD_GENERATION]) + 1, self._numbers, room, prefixes)

    def _grow(self, prefixes: int) -> CustomersTable:
        """The same customers in a roomier generation."""
        old, used = self._loaded(), self._numbers.next
        live = old.prefixes()
        # Prefixes may have run out long before rows do: room once made is kept.
        table = self._create(max(old.room, used + max(1024, used // 4)), len(live[0]) + prefixes)
        table.take_over(old, live)
        self._put_in_force(table)
        return table

    def _put_in_force(self, table: CustomersTable) -> None:
        self._table = table
        self._head[layout.HEAD_GENERATION] = table.number
        self._remove_old("customers-", {table.number, table.number - 1})

    def _recall_rows(self) -> bool:
        """Take over the rows an earlier control plane gave out. False: it gave out some that cannot be read."""
        generation = int(self._head[layout.HEAD_GENERATION])
        if not generation:
            return True
        try:
            left = map_table(self._folder / customers_file(generation), Kind.CUSTOMERS, layout.CUSTOMERS_VERSION)
        except TableError:
            return False
        self._numbers.recall(left.arrays)
        return True

    def _remove_old(self, start: str, keep: set[int]) -> None:
        for number, path in numbered_files(self._folder, start):
            if number not in keep:
                path.unlink()


def _opened_head(folder: Path) -> NDArray[np.uint64]:
    """The words of the head, which is made if there is none that can be read."""
    head = folder / HEAD
    try:
        return _mapped_head(head)
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
        return _mapped_head(head)


def _mapped_head(head: Path) -> NDArray[np.uint64]:
    values: NDArray[np.uint64] = map_table(head, Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"]
    return values
