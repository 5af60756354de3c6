"""One generation of the customers' table, open for writing: rows, ids and prefixes in a mapped file.

Owns how each is written so that a reader sees it whole. Not which generation is in force (`drivers.tables`), nor
which row is whose (`drivers.rownumbers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.durable import write_file
from sekisho.drivers.rownumbers import RowNumbers
from sekisho.drivers.sharedfiles import MappedTable, customers_file, map_table
from sekisho.drivers.tablerows import LOW, CustomerRow, Prefixes, enter, standings
from sekisho.model.customers import Prefix
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.people import build_customers, fields_of, fill, find_slot, link, unlink
from sekisho.snapshot.sections import Kind


class CustomersTable:
    """A generation. `number` is its own, `numbers` says which row is whose."""

    def __init__(self, table: MappedTable, number: int, numbers: RowNumbers) -> None:
        self.table = table
        self.number = number
        self._numbers = numbers

    @classmethod
    def create(cls, folder: Path, number: int, numbers: RowNumbers, room: int, prefixes: int) -> Self:
        """A new generation with the ids in it and room for as many rows and prefixes, which nobody reads yet.

        Raises TableError if the disk does not take it.
        """
        names = "".join(numbers.rows).encode()
        path = folder / customers_file(number)
        try:
            write_file(path, build_customers(number, room, prefixes + room // 4, len(names) + 64 * 1024 + len(names) // 4))
        except OSError as error:
            raise TableError(f"{path} cannot be written ({error.strerror}); see that the runtime folder has room") from error
        made = cls(map_table(path, Kind.CUSTOMERS, layout.CUSTOMERS_VERSION, writable=True), number, numbers)
        arrays = made.table.arrays
        lengths = np.fromiter((len(name) if name.isascii() else len(name.encode()) for name in numbers.rows), np.int64, len(numbers.rows))
        where = np.fromiter(numbers.rows.values(), np.int64, len(numbers.rows))
        arrays["identities"][: len(names)] = np.frombuffer(names, np.uint8)
        arrays["spans"][where, 0] = np.cumsum(lengths) - lengths
        arrays["spans"][where, 1] = lengths
        made.rows["flags"][layout.ALLOWED] = layout.ACTIVE | layout.NETWORK
        arrays["used"][0] = numbers.next
        arrays["used"][2] = len(names)
        return made

    @property
    def rows(self) -> NDArray[np.void]:
        """The rows by their fields (`layout.ROW`)."""
        return fields_of(self.table.arrays["rows"], layout.ROW)

    @property
    def _slots(self) -> NDArray[np.void]:
        return fields_of(self.table.arrays["slots"], layout.SLOT)

    @property
    def room(self) -> int:
        """Rows it has room for."""
        return len(self.table.arrays["rows"])

    def words(self, number: int) -> NDArray[np.uint64]:
        """The words of one row."""
        words: NDArray[np.uint64] = self.table.arrays["rows"][number]
        return words

    def is_full(self, prefixes: int, identity: int) -> bool:
        """Whether so many prefixes more, or an id of so many bytes, have no room."""
        used = self.table.arrays["used"]
        slots = len(self.table.arrays["slots"])
        return int(used[1]) + prefixes > slots * 7 // 10 or int(used[2]) + identity > len(self.table.arrays["identities"])

    def fill(self, columns: Prefixes) -> None:
        """Enter many prefixes and whose they are, where none is yet."""
        arrays = self.table.arrays
        arrays["used"][1] = fill(arrays["slots"].reshape(-1), arrays["rows"].reshape(-1), arrays["present"], *columns)

    def take_over(self, older: CustomersTable, prefixes: Prefixes) -> None:
        """Have the rows of an earlier generation, and its `prefixes`."""
        enter(self.table, np.arange(older.room), older.rows)
        self.fill(prefixes)

    def prefixes(self) -> Prefixes:
        """All prefixes that are somebody's, and whose."""
        slots = self._slots
        live = slots[(slots["length"] > 0) & (slots["owner"] != layout.NOBODY)]
        # The columns in types of their own: a field of a record is not aligned as compiled code has it.
        return live["high"].copy(), live["low"].copy(), (live["length"] - 1).astype(np.uint8), live["owner"].copy()

    def enter(self, columns: Sequence[tuple[int, CustomerRow]]) -> None:
        """Write the standing of some customers to their rows."""
        where = np.fromiter((number for number, _ in columns), np.int64, len(columns))
        enter(self.table, where, standings([row for _, row in columns]))
        self.table.arrays["used"][0] = self._numbers.next

    def enter_identity(self, number: int, name: str) -> None:
        """Write whose a row is, once."""
        arrays = self.table.arrays
        arrays["used"][0] = self._numbers.next
        if int(arrays["spans"][number, 1]):
            return
        encoded = name.encode()
        start = int(arrays["used"][2])
        arrays["identities"][start : start + len(encoded)] = np.frombuffer(encoded, np.uint8)
        arrays["spans"][number] = (start, len(encoded))
        arrays["used"][2] = start + len(encoded)

    def own(self, prefix: Prefix, owner: int) -> None:
        """Have a prefix be a row's from now on."""
        arrays = self.table.arrays
        slots, rows = arrays["slots"].reshape(-1), arrays["rows"].reshape(-1)
        high, low = np.uint64(prefix.value >> 64), np.uint64(prefix.value & LOW)
        at = find_slot(slots, high, low, prefix.length)
        entries = self._slots
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

    def owned(self, number: int) -> list[Prefix]:
        """The prefixes of a row."""
        slots = self._slots
        found: list[Prefix] = []
        at = int(self.rows["first"][number])
        while at and len(found) < len(slots):
            slot = slots[at - 1]
            found.append(Prefix(int(slot["high"]) << 64 | int(slot["low"]), int(slot["length"]) - 1))
            at = int(slot["next"])
        return found
