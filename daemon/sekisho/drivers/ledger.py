"""The ledger on disk: one SQLite file, one writer thread, group commit.

An act is acknowledged when the transaction that holds it is on disk (WAL, `synchronous=FULL`), and
not before. Acts that arrive while a transaction is being written share the next one, so a burst
of opt-outs costs one sync and not one each. The state is folded in the order of the record, on
the event loop, before anyone waiting for an act is told.

Owns the file, its lock and its thread. Does not own what an act means (`ledger.state`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sekisho.drivers.latencies import Latencies
from sekisho.ledger.acts import MICROSECONDS, decode, encode, recorded
from sekisho.ledger.chain import Event, Verifier, link
from sekisho.ledger.state import State
from sekisho.model.errors import LedgerError
from sekisho.model.events import Act, RecordedAct
from sekisho.model.observation import APPEND_BOUNDS

SCHEMA_VERSION = 1
BATCH = 512
"""Acts of one transaction at most."""

_SCHEMA = """
CREATE TABLE events (
    number         INTEGER PRIMARY KEY,
    at_us          INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    payload        BLOB,
    payload_digest BLOB    NOT NULL,
    chain          BLOB    NOT NULL
) STRICT;
CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER events_stand BEFORE UPDATE OF number, at_us, actor, kind, payload_digest, chain ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER payloads_stand BEFORE UPDATE OF payload ON events WHEN NEW.payload IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
_COLUMNS = "number, at_us, actor, kind, payload, payload_digest, chain"


@dataclass(frozen=True, slots=True)
class _Pending:
    """An act on its way to disk."""

    at_us: int
    actor: str
    kind: str
    payload: bytes
    done: asyncio.Future[RecordedAct]


class Ledger:
    """The open ledger of one daemon. `state` is the fold of everything on disk.

    Open with `Ledger.open`, append with `await append(...)`, close with `await close()`.
    """

    def __init__(self, path: Path, lock: int, state: State, verifier: Verifier) -> None:
        self.path = path
        self.state = state
        self.latencies = Latencies(APPEND_BOUNDS)
        """From being asked for an act to its acknowledgement; those that failed are not in it."""
        self._lock = lock
        self._number = verifier.number
        self._chain = verifier.chain
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the ledger, verify its chain and fold its acts.

        Raises LedgerError if another daemon holds it, if it is damaged or of another version, or
        if its chain does not verify.
        """
        lock = _take_lock(path)
        try:
            state, verifier = _read(path)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, state, verifier)

    async def append(self, act: Act, actor: str, now: float) -> RecordedAct:
        """Record an act by `actor` at `now` (UNIX seconds); returns when it is on disk and folded.

        Raises LedgerError if it could not be written; nothing has changed then.
        """
        if self._closed:
            raise LedgerError("the ledger is closed, the daemon is stopping; ask again once it is back")
        payload = encode(act)
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._loop = loop
            self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
            self._thread.start()
        pending = _Pending(round(now * MICROSECONDS), actor, act.kind, payload, loop.create_future())
        began = time.perf_counter()
        self._queue.put(pending)
        done = await pending.done
        self.latencies.add(time.perf_counter() - began)
        return done

    async def close(self) -> None:
        """Write what is queued, stop the writer and give the lock back."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        os.close(self._lock)

    def events(self) -> Iterator[Event]:
        """Every event on disk, first one first, read through a connection of its own."""
        connection = _connect(self.path)
        try:
            yield from _rows(connection)
        finally:
            connection.close()

    def since(self, number: int, limit: int) -> list[Event]:
        """Events behind `number`, in order and at most `limit`, read through a connection of their own. Raises LedgerError."""
        query = f"SELECT {_COLUMNS} FROM events WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608 - a constant of ours
        try:
            connection = _connect(self.path)
            try:
                return [Event(*row) for row in connection.execute(query, (number, limit))]
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.path} cannot be read ({error}); see that its disk works") from error

    def _write(self) -> None:
        """Body of the writer thread."""
        connection: sqlite3.Connection | None = None
        going = True
        while going:
            batch, going = self._take_batch()
            if not batch:
                continue
            try:
                if connection is None:
                    connection = _connect(self.path)
                events = self._commit(connection, batch)
            except (sqlite3.Error, LedgerError) as error:
                failure = f"the ledger {self.path} could not be written ({error}), nothing changed; see that its disk has room and works"
                self._tell(batch, [], LedgerError(failure))
            else:
                self._tell(batch, events, None)
        if connection is not None:
            connection.close()

    def _take_batch(self) -> tuple[list[_Pending], bool]:
        """What is waiting, in order, and whether more may come."""
        first = self._queue.get()
        if first is None:
            return [], False
        batch = [first]
        while len(batch) < BATCH:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return batch, False
            batch.append(more)
        return batch, True

    def _commit(self, connection: sqlite3.Connection, batch: list[_Pending]) -> list[Event]:
        number, chain = self._number, self._chain
        events = []
        for pending in batch:
            event = link(chain, number + 1, pending.at_us, pending.actor, pending.kind, pending.payload)
            number, chain = event.number, event.chain
            events.append(event)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant of ours
                [(e.number, e.at_us, e.actor, e.kind, e.payload, e.payload_digest, e.chain) for e in events],
            )
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._number, self._chain = number, chain
        return events

    def _tell(self, batch: list[_Pending], events: list[Event], error: LedgerError | None) -> None:
        """Hand the outcome to the event loop. A loop that is gone needs no telling: the record stands."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._settle, batch, events, error)
        except RuntimeError:
            self._closed = True

    def _settle(self, batch: list[_Pending], events: list[Event], error: LedgerError | None) -> None:
        """On the event loop: fold, then tell. An act whose caller has gone away is folded all the same."""
        if error is not None:
            for pending in batch:
                if not pending.done.done():
                    pending.done.set_exception(error)
            return
        for pending, event in zip(batch, events, strict=True):
            act = RecordedAct(event.number, event.at_us / MICROSECONDS, event.actor, decode(event.kind, pending.payload))
            self.state.apply(act)
            if not pending.done.done():
                pending.done.set_result(act)


def _take_lock(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise LedgerError(f"the state folder {path.parent} cannot be used ({error.strerror}); make it writable for the daemon") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise LedgerError(f"another sekishod is using {path.parent}; stop it, or give this one a `state` folder of its own") from None
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    # An erased payload leaves nothing behind in free pages.
    connection.execute("PRAGMA secure_delete=ON")
    return connection


def _rows(connection: sqlite3.Connection) -> Iterator[Event]:
    for row in connection.execute(f"SELECT {_COLUMNS} FROM events ORDER BY number"):  # noqa: S608 - a constant of ours
        yield Event(*row)


def _read(path: Path) -> tuple[State, Verifier]:
    """Verify and fold what is on disk; creates the tables of a new file."""
    new = not path.exists()
    if new:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    try:
        connection = _connect(path)
        try:
            _check_version(connection, path)
            return _fold(connection, path)
        finally:
            connection.close()
    except (sqlite3.Error, TypeError, AttributeError) as error:
        raise LedgerError(
            f"the ledger {path} is damaged ({error}); put back its last good copy, or move it aside to start an empty one"
        ) from error


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    elif version != SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} has schema version {version} and this program reads {SCHEMA_VERSION}; run the version that wrote it"
        )


def _fold(connection: sqlite3.Connection, path: Path) -> tuple[State, Verifier]:
    state, verifier = State(), Verifier()
    for event in _rows(connection):
        found = verifier.check(event)
        if found is not None:
            raise LedgerError(
                f"the ledger {path} does not verify: {found}; put back its last good copy, nothing from that event on can be relied on"
            )
        act = recorded(event)
        if act is not None:
            state.apply(act)
    return state, verifier
