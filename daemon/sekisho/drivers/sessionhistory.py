"""The record of sessions on disk: who held which address when, and what was live when the daemon ended.

Facts (`sessions.changes`) are written in their order by one thread, those that wait as one transaction: what is
acknowledged is on disk. A fact that a session goes on is a line at the end of a small table, which is folded into
the sessions later, some at a time: thousands of them a second cost no random writes.

What is past the retention is deleted and overwritten. A disk that does not take facts is tried again and nothing is
acknowledged meanwhile, so the order of the facts is kept and the NAS tells again what it has no answer to.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from sekisho.drivers.databases import open_database
from sekisho.drivers.sessionrows import COLUMNS, SCHEMA, SCHEMA_VERSION, complete, enter, opened
from sekisho.model.customers import Prefix
from sekisho.model.errors import LedgerError
from sekisho.model.sessions import Ports, Session, SessionEnd, Share
from sekisho.sessions.changes import WHOLE, Fact, Held, Opened
from sekisho.sessions.holding import Claim

log = structlog.get_logger("sekisho.radius")

FOLD = 2000
"""Lines of `heard` folded at a time: a few milliseconds."""
KEPT = 20_000
"""Lines of it that are left for the next time."""
AGAIN_AFTER = 1.0
"""Seconds after which a disk that did not take facts is tried again."""
_PURGED = 5000


@dataclass(frozen=True, slots=True)
class Restored:
    """What was live when the facts were written, and what had been over for a short time."""

    live: list[tuple[Opened, list[Held]]]
    past: list[tuple[Opened, float, SessionEnd]]
    number: int
    """The last one given to a session."""


class SessionHistory:
    """The open record. One thread writes; questions are asked on a connection of their own."""

    def __init__(self, path: Path, connection: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._reader = reader
        self._lengths = {row[0] for row in connection.execute("SELECT length FROM lengths")}
        self._waiting: queue.SimpleQueue[tuple[Sequence[Fact], Callable[[], None]] | None] = queue.SimpleQueue()
        self._told = self._written = 0
        """Facts since the start; each is counted by one thread."""
        self.unfolded = 0
        """Lines that say a session goes on and are not in their sessions yet, when last looked at."""
        self._purge_before: float | None = None
        self.failing: str | None = None
        """Why facts cannot be written now."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sessions", daemon=True)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the record. Raises LedgerError if it is damaged or of another version."""
        try:
            connection, version = open_database(path, SCHEMA, SCHEMA_VERSION, synchronous="FULL")
            connection.execute("PRAGMA cache_size=-65536")
            if version == SCHEMA_VERSION:
                complete(connection)
            reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
            reader.execute("PRAGMA query_only=ON")
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"the record of sessions {path} is damaged or cannot be used ({error}); move it aside to start an empty one"
            ) from error
        if version != SCHEMA_VERSION:
            raise LedgerError(
                f"the record of sessions {path} is of version {version} and this program reads {SCHEMA_VERSION}; move it aside"
            )
        return cls(path, connection, reader)

    # Writing.

    def restore(self, ended_after: float) -> Restored:
        """What the facts amount to; before `start`. Takes seconds with a million sessions."""
        while self._fold():
            pass
        execute = self._connection.execute
        held: dict[int, list[Held]] = {}
        for address, length, since, number, told, *ports in execute(
            "SELECT h.address, h.length, h.since, h.number, h.told, h.first, h.last, h.step, h.times FROM sessions s"
            " JOIN held h ON h.number = s.number WHERE s.until IS NULL AND h.until IS NULL"
        ):
            one = Ports(*ports)
            code = int.from_bytes(address) << 8 | length
            held.setdefault(number, []).append(Held(number, code, WHOLE if one == WHOLE else one, since, told))
        live = [
            (opened(row), held.get(row[0], []))
            for row in execute(f"SELECT {COLUMNS} FROM sessions WHERE until IS NULL")  # noqa: S608
        ]
        past = [
            (opened(row[:-2]), row[-2], SessionEnd(row[-1]))
            for row in execute(f"SELECT {COLUMNS}, until, end FROM sessions WHERE until > ?", (ended_after,))  # noqa: S608
        ]
        last = execute("SELECT max(number) FROM sessions").fetchone()[0]
        return Restored(live, past, last or 0)

    def start(self) -> None:
        self._thread.start()

    def write(self, facts: Sequence[Fact], done: Callable[[], None]) -> None:
        """Have facts written; `done` is called, on the writing thread, when they and all before them are on disk."""
        self._told += len(facts)
        self._waiting.put((facts, done))

    @property
    def waiting(self) -> int:
        """Facts that are not on disk yet: their requests are not answered."""
        return self._told - self._written

    def purge(self, before: float) -> None:
        """Delete, soon, what was over before that time (UNIX seconds)."""
        self._purge_before = before
        self.write((), lambda: None)

    async def close(self) -> None:
        """Write what waits; what a disk does not take then is lost, and was not acknowledged."""
        self._closing.set()
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reader.close()
        self._connection.close()

    def _work(self) -> None:
        idle = True
        while True:
            try:
                first = self._waiting.get(timeout=None if idle else 0.0)
            except queue.Empty:
                idle = not self._tidy()
                continue
            batch = [first]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            orders = [one for one in batch if one is not None]
            if orders and not self._put([fact for facts, _ in orders for fact in facts]):
                return
            for facts, done in orders:
                self._written += len(facts)
                done()
            self._catch_up()
            if len(orders) < len(batch):
                return
            idle = False

    def _put(self, facts: list[Fact]) -> bool:
        """Write facts, as often as it takes; False if the daemon ends before the disk takes them."""
        while facts:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    for fact in facts:
                        enter(self._connection, fact, self._lengths)
                    self._connection.execute("COMMIT")
                except sqlite3.Error:
                    self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                if self.failing is None:
                    log.error("sessions-not-written", file=str(self.path), error=str(error))  # noqa: TRY400 - the sentence says it all
                self.failing = str(error)
                if self._closing.wait(AGAIN_AFTER):
                    return False
                continue
            break
        if self.failing is not None:
            log.info("sessions-written-again", file=str(self.path))
            self.failing = None
        return True

    def _catch_up(self) -> None:
        """Fold some lines beside facts that never end: the table stays small."""
        try:
            self._fold(2 * KEPT)
        except sqlite3.Error as error:
            log.warning("sessions-not-tidied", file=str(self.path), error=str(error))

    def _tidy(self) -> bool:
        """Some work that waits for nobody; whether there is more of it."""
        try:
            return self._fold(KEPT) or self._purge()
        except sqlite3.Error as error:
            log.warning("sessions-not-tidied", file=str(self.path), error=str(error))
            return False

    def _fold(self, keep: int = 0) -> bool:
        """Have some lines of `heard` in their sessions, the oldest first."""
        first, last = self._connection.execute("SELECT min(line), max(line) FROM heard").fetchone()
        self.unfolded = 0 if first is None else last - first + 1
        if first is None or last - first < keep:
            return False
        end = first + FOLD - 1
        lines = self._connection.execute("SELECT seen, down, up, seconds, wide, number FROM heard WHERE line <= ? ORDER BY line", (end,))
        # Of a session's lines the last says all.
        newest = {line[5]: line for line in lines}
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(
                "UPDATE sessions SET seen = ?, down = ?, up = ?, seconds = ?, wide = ? WHERE number = ?", newest.values()
            )
            self._connection.execute("DELETE FROM heard WHERE line <= ?", (end,))
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise
        self.unfolded = max(0, last - end)
        return True

    def _purge(self) -> bool:
        before = self._purge_before
        if before is None:
            return False
        if self._fold():
            return True  # first, so that no line outlives its session
        numbers = self._connection.execute("SELECT number FROM sessions WHERE until < ? LIMIT ?", (before, _PURGED)).fetchall()
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for table in ("held", "sessions"):
                self._connection.executemany(f"DELETE FROM {table} WHERE number = ?", numbers)  # noqa: S608
            if len(numbers) < _PURGED:
                # Of sessions that go on, the addresses they had once.
                execute("DELETE FROM held WHERE until < ?", (before,))
            execute("COMMIT")
        except sqlite3.Error:
            execute("ROLLBACK")
            raise
        if len(numbers) < _PURGED:
            self._purge_before = None
            # The write-ahead log still has the pages as they were.
            execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return False
        return True

    # Questions.

    def claims(self, address: Prefix, at: float) -> list[Claim]:
        """Every session that had an address (a prefix of full length) at a time, whatever the port. Raises LedgerError.

        One whose ports had ended by their age is among them while it went on: it may have had them still.
        """
        found: list[Claim] = []
        for length in sorted(self._lengths, reverse=True):
            masked = address.value >> (128 - length) << (128 - length)
            rows = self._ask(
                "SELECT h.first, h.last, h.step, h.times, h.since, h.until, h.told, h.aged, coalesce(n.seen, s.seen), s.* FROM held h"
                " JOIN sessions s ON s.number = h.number"
                " LEFT JOIN heard n ON n.line = (SELECT max(line) FROM heard WHERE number = h.number)"
                " WHERE h.address = ? AND h.length = ? AND h.since <= ? AND (h.until IS NULL OR h.until > ?"
                " OR (h.aged AND (s.until IS NULL OR s.until > ?)))",
                (masked.to_bytes(16), length, at, at, at),
            )
            for *ports, since, until, told, aged, seen, number, nas, id_, user, customer, began, _, down, up, _, _, over, end in rows:
                held = Ports(*ports)
                session = Session(
                    nas, id_, user, customer, began, seen, (), (), down, up, over, SessionEnd(end) if end is not None else None
                )
                share = None if held == WHOLE else held
                found.append(Claim(session, Prefix(masked, length), share, since, until, number, told, bool(aged)))
        return found

    def sessions_of(self, customer: str, limit: int) -> list[Session]:
        """Sessions of a customer, the latest first, those that are over too. Raises LedgerError."""
        rows = self._ask(
            "SELECT s.*, n.seen, n.down, n.up FROM sessions s"
            " LEFT JOIN heard n ON n.line = (SELECT max(line) FROM heard WHERE number = s.number)"
            " WHERE s.customer = ? ORDER BY s.since DESC LIMIT ?",
            (customer, limit),
        )
        return [self._session(row) for row in rows]

    def _session(self, row: tuple[Any, ...]) -> Session:
        number, nas, id_, user, customer, since, seen, down, up, _, _, until, end, late, more_down, more_up = row
        held = self._ask("SELECT address, length, first, last, step, times FROM held WHERE number = ?", (number,))
        prefixes, shares = [], []
        for address, length, *ports in held:
            prefix, one = Prefix(int.from_bytes(address), length), Ports(*ports)
            if one == WHOLE:
                prefixes.append(prefix)
            else:
                shares.append(Share(prefix, one))
        if late is not None:
            seen, down, up = late, more_down, more_up
        return Session(
            nas, id_, user, customer, since, seen, tuple(prefixes), tuple(shares), down, up, until, SessionEnd(end) if end else None
        )

    def _ask(self, question: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._reader.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the record of sessions {self.path} cannot be read ({error}); see that its disk works") from error
