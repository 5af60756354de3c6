"""What NASes may hold of limits, written down before they are asked: no limit outlives the memory of it.

One row for each session that may be limited; none for the others. On disk when `write` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from sekisho.config.prefixes import parse_prefix
from sekisho.drivers.databases import open_database
from sekisho.model.errors import LedgerError
from sekisho.model.nas import Limit, Remembered, Target

T = TypeVar("T")

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE held (
    nas       TEXT    NOT NULL,
    line      TEXT    NOT NULL,
    session   TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    customer  TEXT    NOT NULL,
    prefixes  TEXT    NOT NULL,
    down      INTEGER NOT NULL,
    up        INTEGER NOT NULL,
    full_down INTEGER NOT NULL,
    full_up   INTEGER NOT NULL,
    certain   INTEGER NOT NULL,
    PRIMARY KEY (nas, line)
) STRICT, WITHOUT ROWID;
"""
_PUT = "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_READ = "SELECT nas, session, user, customer, prefixes, down, up, full_down, full_up, certain FROM held"


def doubt_all(path: Path, also: Path | None) -> None:
    """Have nothing in the file be certain any more, and take over what another file remembers besides. Raises LedgerError.

    For what comes from a backup: what NASes hold now is asked of them.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if also is not None:
                connection.execute("ATTACH ? AS other", (str(also),))
                connection.execute("INSERT OR IGNORE INTO held SELECT * FROM other.held")
                connection.execute("DETACH other")
            connection.execute("UPDATE held SET certain = 0")
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.Error as error:
        raise LedgerError(f"what NASes may hold cannot be put together from {also or path} ({error}); move {also or path} aside") from error


class NasMemory:
    """The open file. One thread of its own does all the work, in the order it is asked."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nas")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file. Raises LedgerError if it is damaged or of another version."""
        try:
            connection, version = open_database(path, _SCHEMA, SCHEMA_VERSION, synchronous="FULL")
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"the memory of limits at NASes {path} is damaged or cannot be used ({error}); move it aside, and see by hand that no "
                "session is limited that should not be"
            ) from error
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"{path} has schema version {version} and this program reads {SCHEMA_VERSION}; start the version that wrote it"
            )
        return cls(connection, path)

    async def read(self) -> list[Remembered]:
        """All that is remembered. Raises LedgerError."""
        return await self._run(self._read)

    async def write(self, kept: Iterable[Remembered], gone: Iterable[tuple[str, str]]) -> None:
        """Put and remove rows, together; on disk on return. Raises LedgerError, and changes none."""
        await self._run(self._write, list(kept), list(gone))

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()

    async def _run(self, step: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)
        except (sqlite3.Error, ValueError) as error:
            raise LedgerError(f"the memory of limits at NASes {self.path} cannot be used ({error}); see to the disk it is on") from error

    def _read(self) -> list[Remembered]:
        return [
            Remembered(
                Target(nas, session, user, customer, tuple(parse_prefix(one) for one in prefixes.split())), Limit(*speeds), bool(certain)
            )
            for nas, session, user, customer, prefixes, *speeds, certain in self._connection.execute(_READ)
        ]

    def _write(self, kept: list[Remembered], gone: list[tuple[str, str]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("DELETE FROM held WHERE nas = ? AND line = ?", gone)
            self._connection.executemany(_PUT, [_row(one) for one in kept])
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _row(one: Remembered) -> tuple[str | int, ...]:
    target, limit = one.target, one.limit
    named = *target.key, target.session, target.user, target.customer, " ".join(map(str, target.prefixes))
    return *named, limit.down, limit.up, limit.full_down, limit.full_up, int(one.certain)
