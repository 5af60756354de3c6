"""What a plugin writes down: its counts and its ring of matches, and the budgets it shares with the plane.

Owns the number the files go by, and the files. A plugin is a worker like those of the plane, with a number of
its own that the kernel keeps for it (`flock` of `.plugin-<n>`) until it ends, however it ends; what it wrote is read on.
A number stays with the user whose plugin first took it: in the tables' folder nobody replaces another user's files.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sekisho.model.errors import TableError
from sekisho.plugin.memory import BUDGETS, COUNTS, HITS, Shape, Table, create_table, map_table

_HELD = ("totals", "lists", "rules", "epochs", "latency", "worker", "customers", "patterns")
_PID, _STARTED, _HEARTBEAT, _EPOCH, _GENERATION, _REFUSED_EPOCH, _ROLE, _REFUSED_GENERATION = range(8)
_PLUGIN = 2
_NXDOMAIN = 2


class Ledgers:
    """One plugin's files in the tables' folder. `about` is what the machine code says of shapes."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        """Take a number. Raises TableError if none is free, or the folder cannot be written."""
        self._folder, self._about, self._versions = folder, about, about["versions"]
        self._counts: Table | None = None
        self._rows = 0
        self._lock, self.number = self._take_number(about["numbers"])

    def close(self) -> None:
        """Say that nothing more will be counted, and give the number back."""
        if self._counts is not None:
            self._counts.section("worker").words()[_HEARTBEAT] = 0
        os.close(self._lock)

    def _take_number(self, numbers: Sequence[int]) -> tuple[int, int]:
        if not os.access(self._folder, os.W_OK | os.X_OK, effective_ids=True):
            raise TableError(f"{self._folder} cannot be written; give this process the tables' group")
        for number in numbers:
            path = self._folder / f".plugin-{number}"
            try:
                descriptor = _open_own(path)
            except OSError as error:
                raise TableError(f"{path} cannot be written ({error.strerror}); see the folder's room and rights") from error
            if descriptor is None:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return descriptor, number
        raise TableError(
            f"{len(numbers)} plugins count in {self._folder} already, or did as other users; there is room for no more: stop one, or"
            " remove the files .plugin-*, counts-* and hits-* of users that are gone"
        )

    def fit(self, rows: int, epoch: int, generation: int) -> tuple[Table, Table, Table]:
        """Counts, hits and budgets with room for `rows` customers, told which tables follow. Raises TableError."""
        try:
            counts = self._fit_counts(rows)
            hits, budgets = self._hits(), self._budgets(rows)
        except OSError as error:
            raise TableError(f"{self._folder} cannot be written ({error.strerror}); see its room and the rights of this process") from error
        half, epochs = epoch & 1, counts.section("epochs").words()
        if epochs[half] != epoch:
            epochs[half] = 0
            for name in ("lists", "rules"):
                section = counts.section(name)
                ctypes.memset(section.address + half * (section.size // 2), 0, section.size // 2)
            epochs[half] = epoch
        worker = counts.section("worker").words()
        worker[_EPOCH], worker[_GENERATION] = epoch, generation
        worker[_REFUSED_EPOCH] = worker[_REFUSED_GENERATION] = 0
        self.beat()
        return counts, hits, budgets

    def beat(self) -> None:
        """A sign of life."""
        if self._counts is not None:
            self._counts.section("worker").words()[_HEARTBEAT] = time.time_ns()

    def refuse(self, epoch: int, generation: int) -> None:
        """Say which tables are not used."""
        if self._counts is not None:
            worker = self._counts.section("worker").words()
            worker[_REFUSED_EPOCH], worker[_REFUSED_GENERATION] = epoch, generation

    def count_missing(self, row: int) -> None:
        """One answer that there is no such name went to the customer in `row`."""
        if self._counts is not None and 0 <= row < self._rows:
            self._counts.section("patterns").cells()[4 * row + _NXDOMAIN] += 1

    def _fit_counts(self, rows: int) -> Table:
        before = self._counts
        if before is not None and rows <= self._rows:
            return before
        path, room = self._folder / f"counts-{self.number}", rows + rows // 4
        shapes: list[Shape] = [(name, dtype, room if many < 0 else many, wide) for name, dtype, many, wide in self._about["counts"]]
        create_table(path, COUNTS, self._versions["counts"], self.number, shapes)
        counts = map_table(path, COUNTS, self._versions["counts"], writable=True)
        if before is None:
            worker = counts.section("worker").words()
            worker[_PID], worker[_STARTED], worker[_ROLE] = os.getpid(), time.time_ns(), _PLUGIN
        else:
            for name in _HELD:
                held = before.section(name)
                ctypes.memmove(counts.section(name).address, held.address, held.size)
        self._counts, self._rows = counts, room
        return counts

    def _hits(self) -> Table:
        """One left by an earlier plugin goes on, so nothing unread is lost."""
        path, version = self._folder / f"hits-{self.number}", self._versions["hits"]
        with contextlib.suppress(TableError):
            return map_table(path, HITS, version, writable=True)
        create_table(path, HITS, version, self.number, [tuple(one) for one in self._about["hits"]])
        return map_table(path, HITS, version, writable=True)

    def _budgets(self, rows: int) -> Table:
        """The token buckets all share; buckets of its own where those are not to be written."""
        shared, own = self._folder / "budgets", self._folder / f".budgets-{self.number}"
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            found = self._map_budgets(shared)
            if found is not None or not shared.exists():
                with contextlib.suppress(PermissionError):  # it is too small, and another user's
                    return self._fit_budgets(shared, found, rows)
            return self._fit_budgets(own, self._map_budgets(own) or found, rows)
        finally:
            os.close(folder)

    def _fit_budgets(self, path: Path, found: Table | None, rows: int) -> Table:
        """What was found if it suffices, else more in its place. Raises OSError."""
        if found is not None and found.section("full").items >= rows:
            return found
        create_table(path, BUDGETS, self._versions["budgets"], 0, [("full", "<u8", rows + rows // 4, 0)])
        made = map_table(path, BUDGETS, self._versions["budgets"], writable=True)
        if found is not None:
            ctypes.memmove(made.section("full").address, found.section("full").address, found.section("full").size)
        return made

    def _map_budgets(self, path: Path) -> Table | None:
        with contextlib.suppress(TableError):
            return map_table(path, BUDGETS, self._versions["budgets"], writable=True)
        return None


def _open_own(path: Path) -> int | None:
    """Open a number's file, or make it; None if it is another user's. Raises OSError.

    Made only where it is not: where `fs.protected_regular` is on, the kernel refuses to open another's file with O_CREAT, even to root.
    """
    for _ in range(2):
        with contextlib.suppress(FileExistsError):  # another plugin was quicker
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
            except PermissionError:
                return None
            user = os.geteuid()
            if user in {0, os.fstat(descriptor).st_uid}:
                return descriptor
            os.close(descriptor)
            return None
    return None
