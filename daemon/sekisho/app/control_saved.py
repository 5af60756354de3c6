"""The last snapshot published, kept in the state folder for a fast start.

Owns the file: the snapshot and, after it, what it was built of in one digest. It is written when the plane answers
by the snapshot already, for what is in force must not wait for a disk; a file that says something else than what is
in force now, is damaged, or is missing only makes the next start slower.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from sekisho.drivers.durable import write_file
from sekisho.drivers.kepttables import PRINT_BYTES, cut_print
from sekisho.model.errors import TableError
from sekisho.snapshot.layout import SNAPSHOT_VERSION
from sekisho.snapshot.sections import Kind, unpack

log = structlog.get_logger("sekisho.control")


class SavedSnapshot:
    """The file at `path`. One thread at a time writes it, and of several snapshots that wait the last alone."""

    def __init__(self, path: Path, in_force: str | None = None) -> None:
        """`in_force` is the fingerprint of a snapshot that is in force already, taken from the file (`drivers.kepttables`)."""
        self.in_force = in_force
        self._path = path
        self._waiting: tuple[bytes | bytearray, Callable[[], str]] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[tuple[bytearray, str] | None] | None = None

    def ahead(self) -> None:
        """Begin to read, for `read` that comes later: disk and checksum take their time beside other work."""
        if self.in_force is None:
            self._reading = self._begun()

    async def read(self, fingerprint: Callable[[], str]) -> bytearray | None:
        """The snapshot, if it says what is in force; None otherwise.

        The digest is asked for in a thread, and only where there is a file.
        """
        reading, self._reading = self._reading or self._begun(), None
        if not self._path.exists():
            await reading
            return None
        loaded, wanted = await asyncio.gather(reading, asyncio.to_thread(fingerprint))
        return loaded[0] if loaded is not None and loaded[1] == wanted else None

    def _begun(self) -> asyncio.Task[tuple[bytearray, str] | None]:
        return asyncio.create_task(asyncio.to_thread(self._load), name="read snapshot")

    def _load(self) -> tuple[bytearray, str] | None:
        """What is in the file: the snapshot, whole and of this version, and the fingerprint after it."""
        try:
            with self._path.open("rb") as file:
                data = bytearray(os.fstat(file.fileno()).st_size)
                del data[file.readinto(data) :]
            said = cut_print(data)
            unpack(data, Kind.SNAPSHOT, SNAPSHOT_VERSION)
        except FileNotFoundError:
            return None
        except (OSError, TableError) as error:
            log.warning("saved-snapshot-unusable", file=str(self._path), error=type(error).__name__)
            return None
        return data, said

    def fingerprint(self) -> str | None:
        """Of the snapshot on disk, as it is said there; None if there is none."""
        try:
            with self._path.open("rb") as file:
                file.seek(-PRINT_BYTES, os.SEEK_END)
                return file.read().decode(errors="replace")
        except OSError:
            return None

    def keep(self, data: bytes | bytearray, fingerprint: Callable[[], str]) -> None:
        """Have a snapshot written soon. `fingerprint` is asked in a thread."""
        self._waiting = data, fingerprint
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save(), name="save snapshot")

    async def finish(self) -> None:
        """Wait until what is to be kept is on disk."""
        if self._saving is not None:
            await self._saving

    async def _save(self) -> None:
        while self._waiting is not None:
            (data, fingerprint), self._waiting = self._waiting, None
            await asyncio.to_thread(self._write, data, fingerprint)

    def _write(self, data: bytes | bytearray, fingerprint: Callable[[], str]) -> None:
        try:
            write_file(self._path, [data, fingerprint().encode()], durable=True)
        except OSError as error:
            log.warning("snapshot-not-saved", file=str(self._path), error=error.strerror)
