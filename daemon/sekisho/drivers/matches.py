"""The record of matches: what proves that a blocking measure was applied, and for how long.

A row is customer, clause, list, entry digest, action and minute, with how many queries it stands
for: what the clause's record needs and no more. No query name is handed to this module, so none
can be kept. Rows past their clause's retention are deleted, and overwritten on disk.

Matches are evidence and not acts: they are written behind, and what a crash of the machine loses
is the last second. Acts are in `drivers.ledger`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from sekisho.model.errors import LedgerError
from sekisho.model.events import Match

T = TypeVar("T")

SCHEMA_VERSION = 1
MINUTE = 60

_SCHEMA = """
CREATE TABLE matches (
    minute   INTEGER NOT NULL,
    customer TEXT    NOT NULL,
    clause   TEXT    NOT NULL,
    list     TEXT    NOT NULL,
    entry    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    last     REAL    NOT NULL,
    count    INTEGER NOT NULL,
    PRIMARY KEY (minute, customer, clause, list, entry, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX matches_customer ON matches (customer, minute);
CREATE INDEX matches_list ON matches (list, minute);
CREATE INDEX matches_clause ON matches (clause, minute);
"""
_UPSERT = """
INSERT INTO matches (minute, customer, clause, list, entry, action, last, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count, last = max(last, excluded.last)
"""
_SELECT = """
SELECT last, customer, clause, list, entry, action, count FROM matches
WHERE (:customer IS NULL OR customer = :customer) AND (:list IS NULL OR list = :list)
  AND (:since IS NULL OR (minute >= :minute AND last >= :since))
ORDER BY minute DESC, last DESC LIMIT :limit
"""


class MatchStore:
    """The open store. One thread of its own does all the work, in the order it is asked."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="matches")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the store. Raises LedgerError if it is damaged or of another version."""
        try:
            if not path.exists():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            # What was purged leaves nothing behind in free pages.
            connection.execute("PRAGMA secure_delete=ON")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
                version = SCHEMA_VERSION
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"the record of matches {path} is damaged or cannot be used ({error}); move it aside to start an empty one"
            ) from error
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"the record of matches {path} has schema version {version} and this program reads {SCHEMA_VERSION}; move it aside"
            )
        return cls(connection, path)

    async def record(self, matches: Iterable[Match]) -> None:
        """Add matches; those of one minute that differ in nothing else become one row."""
        rows = [(int(m.at) // MINUTE * MINUTE, m.customer, m.clause, m.list, m.entry, m.action, m.at, m.count) for m in matches]
        if rows:
            await self._run(self._record, rows)

    async def newest(
        self, *, customer: str | None = None, list_id: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[Match]:
        """The newest matches first. `since` is UNIX seconds."""
        minute = None if since is None else int(since) // MINUTE * MINUTE
        values = {"customer": customer, "list": list_id, "since": since, "minute": minute, "limit": limit}
        return await self._run(self._newest, values)

    async def purge(self, retention: Mapping[str, float], otherwise: float, now: float) -> int:
        """Delete what is older than its clause's retention (seconds); returns how many rows.

        `otherwise` is the retention of clauses no pack has any more.
        """
        return await self._run(self._purge, dict(retention), otherwise, now)

    async def close(self) -> None:
        await self._run(self._connection.close)
        self._thread.shutdown()

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except sqlite3.Error as error:
            raise LedgerError(
                f"the record of matches {self.path} could not be used ({error}); see that its disk has room and works"
            ) from error

    def _record(self, rows: list[tuple[object, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_UPSERT, rows)
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _newest(self, values: dict[str, object]) -> list[Match]:
        return [Match(*row) for row in self._connection.execute(_SELECT, values)]

    def _purge(self, retention: dict[str, float], otherwise: float, now: float) -> int:
        removed = 0
        clauses = [row[0] for row in self._connection.execute("SELECT DISTINCT clause FROM matches")]
        for clause in clauses:
            # A row goes when its whole minute is past the retention.
            before = now - retention.get(clause, otherwise) - MINUTE
            removed += self._connection.execute("DELETE FROM matches WHERE clause = ? AND minute <= ?", (clause, before)).rowcount
        if removed:
            # The write-ahead log still holds the pages as they were: empty it.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed
