"""The record of matches: what proves that a blocking measure was applied, and for how long.

A match is customer, clause, list, entry digest, action and minute, with how many queries it stands
for: what the clause's record needs and no more. No query name is handed to this module, so none
can be kept. Matches past their clause's retention are deleted, and overwritten on disk.

They lie in *segments*: one row of the database holds the matches of one minute and clause in
columns, equal ones as one. A segment is written anew with each small batch until it has `FULL`
matches or its minute is over; a large batch is a segment of its own. A match so costs two or three
microseconds, where a row and its indexes would cost forty: the record is kept up while a customer
floods. Looking for one customer goes over segments, newest first; those that do not name the
customer are passed over without being read.

Matches are evidence and not acts: they are written behind, and what a crash of the machine loses
is the last second. Acts are in `drivers.ledger`.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.databases import open_database
from sekisho.drivers.matchrows import MINUTE_NS, NONE, ROW, MatchRows, joined
from sekisho.model.errors import LedgerError
from sekisho.model.events import Match
from sekisho.model.lists import ActionKind
from sekisho.snapshot.digest import entry_id

T = TypeVar("T")

SCHEMA_VERSION = 2
MINUTE = 60
FULL = 4096
"""Matches after which a segment is left alone and the next one begun."""
ALONE = 512
"""Matches of one batch that are a segment of their own: in a flood nothing is gained by writing the one before anew."""
_SECOND_NS = 1_000_000_000

_SCHEMA = """
CREATE TABLE segments (
    id        INTEGER PRIMARY KEY,
    minute    INTEGER NOT NULL,
    clause    TEXT    NOT NULL,
    lists     TEXT    NOT NULL,
    customers TEXT    NOT NULL,
    matches   BLOB    NOT NULL
) STRICT;
CREATE INDEX segments_minute ON segments (minute);
CREATE INDEX segments_clause ON segments (clause, minute);
"""
# Names stand one to a line, so that one is found whole: no id has a line break in it.
_SELECT = """
SELECT minute, clause, lists, customers, matches FROM segments
WHERE (:minute IS NULL OR minute >= :minute)
  AND (:list IS NULL OR instr(lists, char(10) || :list || char(10)))
  AND (:customer IS NULL OR instr(customers, char(10) || :customer || char(10)))
ORDER BY minute DESC, id DESC
"""


@dataclass(frozen=True, slots=True)
class _Open:
    """A segment that may still grow."""

    id: int
    held: MatchRows


class MatchStore:
    """The open store. One thread of its own does all the work, in the order it is asked."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._open: dict[tuple[int, str], _Open] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="matches")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the store. Raises LedgerError if it is damaged or of another version."""
        try:
            connection, version = open_database(path, _SCHEMA, SCHEMA_VERSION, synchronous="NORMAL")
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"the record of matches {path} is damaged or cannot be used ({error}); move it aside to start an empty one"
            ) from error
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"the record of matches {path} has schema version {version} and this program reads {SCHEMA_VERSION}; move it aside"
            )
        return cls(connection, path)

    async def record(self, matches: MatchRows) -> None:
        """Add matches; those of one minute that differ in nothing else become one."""
        if len(matches.rows):
            await self._run(self._record, matches)

    async def newest(
        self, *, customer: str | None = None, list_id: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[Match]:
        """The newest matches first. `since` is UNIX seconds."""
        return await self._run(self._newest, customer, list_id, since, limit)

    async def purge(self, retention: Mapping[str, float], otherwise: float, now: float) -> int:
        """Delete what is older than its clause's retention (seconds); returns how many matches.

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

    def _record(self, matches: MatchRows) -> None:
        minutes = matches.rows["last"] // np.uint64(MINUTE_NS)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            grown = {
                (minute, clause): self._grow(minute, clause, _of_clause(matches, minutes == minute, place))
                for minute in np.unique(minutes).tolist()
                for place, clause in enumerate(matches.clauses)
            }
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        newest = max(minute for minute, _ in grown)
        # Of minutes that are over, whatever still comes begins another segment.
        known = {key: one for key, one in (self._open | grown).items() if key[0] >= newest - 1}
        self._open = {key: one for key, one in known.items() if one is not None and len(one.held.rows) < FULL}

    def _grow(self, minute: int, clause: str, fresh: MatchRows) -> _Open | None:
        """Add matches of a minute and clause to their segment."""
        known = self._open.get((minute, clause))
        if not len(fresh.rows):
            return known
        held = joined(known.held, fresh) if known is not None and len(fresh.rows) < ALONE else joined(NONE, fresh)
        content = (_lines(held.lists), _lines(held.customers), held.rows.tobytes())
        if known is not None and len(fresh.rows) < ALONE:
            self._connection.execute("UPDATE segments SET lists = ?, customers = ?, matches = ? WHERE id = ?", (*content, known.id))
            return _Open(known.id, held)
        cursor = self._connection.execute(
            "INSERT INTO segments (minute, clause, lists, customers, matches) VALUES (?, ?, ?, ?, ?)", (minute * MINUTE, clause, *content)
        )
        return known or _Open(int(cursor.lastrowid or 0), held)

    def _newest(self, customer: str | None, list_id: str | None, since: float | None, limit: int) -> list[Match]:
        values = {"customer": customer, "list": list_id, "minute": None if since is None else int(since) // MINUTE * MINUTE}
        found: list[Match] = []
        for _, segments in itertools.groupby(self._connection.execute(_SELECT, values), key=lambda row: row[0]):
            of_minute = [match for row in segments for match in _select(row, customer, list_id, since, limit)]
            found += sorted(of_minute, key=lambda match: match.at, reverse=True)
            if len(found) >= limit:
                break
        return found[:limit]

    def _purge(self, retention: dict[str, float], otherwise: float, now: float) -> int:
        removed = 0
        clauses = [row[0] for row in self._connection.execute("SELECT DISTINCT clause FROM segments")]
        for clause in clauses:
            # A segment goes when its whole minute is past the retention.
            past = (clause, now - retention.get(clause, otherwise) - MINUTE)
            size = self._connection.execute("SELECT sum(length(matches)) FROM segments WHERE clause = ? AND minute <= ?", past).fetchone()[
                0
            ]
            if size:
                self._connection.execute("DELETE FROM segments WHERE clause = ? AND minute <= ?", past)
                removed += size // ROW.itemsize
        if removed:
            # A purged segment must not be written to, and the write-ahead log still holds the pages as they were: empty it.
            self._open = {}
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed


def _of_clause(matches: MatchRows, chosen: NDArray[np.bool_], clause: int) -> MatchRows:
    """The chosen rows of one clause, with the names they need and no others: none may outlast its own retention."""
    rows = matches.rows[chosen & (matches.rows["clause"] == clause)]
    rows["clause"] = 0
    people, rows["customer"] = np.unique(rows["customer"], return_inverse=True)
    lists, rows["list"] = np.unique(rows["list"], return_inverse=True)
    return MatchRows(
        rows,
        tuple(matches.customers[place] for place in people.tolist()),
        (matches.clauses[clause],),
        tuple(matches.lists[place] for place in lists.tolist()),
    )


def _select(
    segment: tuple[int, str, str, str, bytes], customer: str | None, list_id: str | None, since: float | None, limit: int
) -> list[Match]:
    """The newest matches of a segment that fit, at most `limit`."""
    _, clause, lists, customers, matches = segment
    rows = np.frombuffer(matches, ROW)
    people, of = customers.split("\n")[1:-1], lists.split("\n")[1:-1]
    if customer is not None:
        rows = rows[rows["customer"] == people.index(customer)]
    if list_id is not None:
        rows = rows[rows["list"] == of.index(list_id)]
    if since is not None:
        rows = rows[rows["last"] >= np.uint64(since * _SECOND_NS)]
    rows = rows[np.argsort(rows["last"], kind="stable")[::-1][:limit]]
    return [
        Match(last / _SECOND_NS, people[who], clause, of[which], entry_id(first, second), ActionKind(action).name.lower(), count)
        for last, first, second, who, count, _, which, action, _ in rows.tolist()
    ]


def _lines(names: tuple[str, ...]) -> str:
    return "".join(f"\n{name}" for name in names) + "\n"
