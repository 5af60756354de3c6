"""Which counts and matches are whose while two planes run: each plane has a bank of files to itself.

Owns the two banks and the locks on them. A plane takes the first bank that no living plane holds;
the kernel gives a lock back however its holder ends. So at an upgrade the successor counts beside
the one before it, no file has two writers, and what a plane that is gone left in its bank is read on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from sekisho.drivers.filelock import locked
from sekisho.drivers.sharedfiles import map_table, numbered_files
from sekisho.model.errors import TableError, UnavailableError
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind

BANKS = 2


class Bank:
    """A bank of files, held for the life of the process. Workers' numbers start at `first` in it."""

    def __init__(self, folder: Path) -> None:
        """Take a bank in `folder`. Raises UnavailableError if two planes run already."""
        for number in range(BANKS):
            try:
                self._descriptor = locked(folder / f".plane-{number}")
            except BlockingIOError:
                continue
            self.first = number * layout.BANK
            for other in range(BANKS):
                if other != number:
                    _bury(folder, other)
            return
        raise UnavailableError(f"two planes run on {folder} already; wait until one has left, or name another `runtime:`")

    def release(self) -> None:
        os.close(self._descriptor)


def _bury(folder: Path, bank: int) -> None:
    """Say of workers whose plane was killed that they live no more, unless somebody holds their bank."""
    try:
        descriptor = locked(folder / f".plane-{bank}")
    except BlockingIOError:
        return
    try:
        for number, path in numbered_files(folder, "counts-"):
            if number // layout.BANK == bank and number not in layout.PLUGINS:
                with contextlib.suppress(TableError):
                    table = map_table(path, Kind.COUNTS, layout.COUNTS_VERSION, writable=True)
                    table.arrays["worker"][layout.WORKER_HEARTBEAT] = 0
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """For what both planes may make anew, one after the other."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
