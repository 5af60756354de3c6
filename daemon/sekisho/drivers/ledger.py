"""The ledger on disk: one SQLite file, one writer thread, group commit.

An act is acknowledged when the transaction that holds it is on disk (WAL, `synchronous=FULL`), and
not before. Acts that arrive while a transaction is being written share the next one, so a burst
of opt-outs costs one sync and not one each. The state is folded in the order of the record, on
the event loop, before anyone waiting for an act is told.

Owns the file's life, its thread and its checkpoint. Does not own what an act means (`ledger.state`), the tables of
the file (`drivers.ledgerfile`), reading it at a start (`drivers.ledgerstart`) or when content is erased.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from sekisho.drivers import ledgerfile
from sekisho.drivers.checkpoint import remove_checkpoint, write_checkpoint
from sekisho.drivers.latencies import Latencies
from sekisho.drivers.ledgerstart import read_ledger, take_lock
from sekisho.ledger.acts import MICROSECONDS, decode, encode, version_of
from sekisho.ledger.chain import Event, Head, link
from sekisho.ledger.retention import Due, runs
from sekisho.ledger.state import State
from sekisho.model.errors import LedgerError
from sekisho.model.events import Act, PayloadsErased, RecordedAct
from sekisho.model.observation import APPEND_BOUNDS

log = structlog.get_logger("sekisho.ledger")

BATCH = 512
"""Acts of one transaction at most."""
CHECKPOINT_EVERY = 50_000
"""Acts between two checkpoints while the daemon runs: what a start after a crash has to fold, in half a second."""
CHECKPOINT_AT_CLOSE = 1_000
"""Acts behind the last checkpoint that are worth another one at the end. A ledger shorter than this is verified whole at every start."""
ERASED_AT_ONCE = 1_000
"""Payloads erased in one transaction, or those of one subject if they are more."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An act on its way to disk, and the payloads to be erased with it."""

    at_us: int
    actor: str
    act: Act
    payload: bytes
    done: asyncio.Future[RecordedAct]
    due: Sequence[Due] = ()


class Ledger:
    """The open ledger of one daemon. `state` is the fold of everything on disk.

    Open with `Ledger.open`, append with `await append(...)`, close with `await close()`.
    """

    def __init__(self, path: Path, lock: int, state: State, head: Head, covered: int) -> None:
        self.path = path
        self.state = state
        self.head = head
        """The last event that is folded."""
        self.latencies = Latencies(APPEND_BOUNDS)
        """From being asked for an act to its acknowledgement; those that failed are not in it."""
        self._lock = lock
        self._written = head
        self.verified_from = covered + 1
        """The first event that was verified at this start; those before stood in the checkpoint."""
        self._covered = covered
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._checkpointing: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the ledger; verify its chain and fold its acts, from the checkpoint on if there is one.

        Raises LedgerError if another daemon holds it, if it is damaged or of another version, or
        if its chain does not verify.
        """
        lock = take_lock(path)
        try:
            state, head, covered = read_ledger(path)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, state, head, covered)

    async def append(self, act: Act, actor: str, now: float) -> RecordedAct:
        """Record an act by `actor` at `now` (UNIX seconds); returns when it is on disk and folded.

        Raises LedgerError if it could not be written; nothing has changed then.
        """
        return await self._put(act, actor, now, ())

    async def erase(self, due: Sequence[Due], actor: str, now: float) -> int:
        """Erase what is due, and record it; returns how many payloads that were. The state lets go of what is gone.

        Raises LedgerError if it could not be written; what was erased before then stays so.
        """
        erased = 0
        for batch in _batches(due):
            numbers = sorted(number for one in batch for number in one.numbers)
            await self._put(PayloadsErased(numbers[-1], len(numbers), runs(numbers)), actor, now, batch)
            erased += len(numbers)
        if erased:
            await self.checkpoint()
        return erased

    async def checkpoint(self) -> None:
        """Write the state as it is now beside the ledger, in another thread. Raises LedgerError if the disk does not take it."""
        state, head = self.state.copy(), self.head
        await asyncio.to_thread(write_checkpoint, self.path, state, head.chain)
        self._covered = head.number

    async def close(self) -> None:
        """Write what is queued, stop the writer, write a checkpoint and give the lock back."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        if self._checkpointing is not None:
            await asyncio.wait([self._checkpointing])
        try:
            if self.head.number - self._covered >= CHECKPOINT_AT_CLOSE:
                await self._checkpoint_or_say()
        finally:
            os.close(self._lock)

    def events(self, after: int = 0) -> Iterator[Event]:
        """Every event on disk behind number `after`, first one first, read through a connection of its own."""
        with contextlib.closing(ledgerfile.connect(self.path)) as connection:
            yield from ledgerfile.events(connection, after)

    def since(self, number: int, limit: int) -> list[Event]:
        """Events behind `number`, in order and at most `limit`, read through a connection of their own. Raises LedgerError."""
        try:
            with contextlib.closing(ledgerfile.connect(self.path)) as connection:
                return list(itertools.islice(ledgerfile.events(connection, number), limit))
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.path} cannot be read ({error}); see that its disk works") from error

    async def _put(self, act: Act, actor: str, now: float, due: Sequence[Due]) -> RecordedAct:
        if self._closed:
            raise LedgerError("the ledger is closed, the daemon is stopping; ask again once it is back")
        payload = encode(act)
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._loop = loop
            self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
            self._thread.start()
        pending = _Pending(round(now * MICROSECONDS), actor, act, payload, loop.create_future(), due)
        began = time.perf_counter()
        self._queue.put(pending)
        done = await pending.done
        self.latencies.add(time.perf_counter() - began)
        return done

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
                    connection = ledgerfile.connect(self.path)
                events = self._commit(connection, batch)
            except (sqlite3.Error, OSError, LedgerError) as error:
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
        head = self._written
        events = []
        for pending in batch:
            kind = pending.act.kind
            event = link(head.chain, head.number + 1, pending.at_us, pending.actor, kind, pending.payload, version_of(kind))
            head = Head(event.number, event.chain)
            events.append(event)
        erased = [number for pending in batch for one in pending.due for number in one.numbers]
        if erased:
            # It says what is to be erased. Without it the next start folds everything, and that is right.
            remove_checkpoint(self.path)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                f"INSERT INTO events ({ledgerfile.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant of ours
                [(e.number, e.at_us, e.actor, e.kind, e.payload, e.payload_digest, e.chain, e.version) for e in events],
            )
            connection.executemany("UPDATE events SET payload = NULL WHERE number = ?", [(number,) for number in erased])
            connection.execute("UPDATE head SET number = ?, chain = ?", (head.number, head.chain))
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._written = head
        if erased:
            with contextlib.suppress(sqlite3.Error):
                # The write-ahead log still holds the pages as they were: empty it.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
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
            # Read back as the next start will read it, and not as the caller made it.
            act = RecordedAct(event.number, event.at_us / MICROSECONDS, event.actor, decode(event.kind, pending.payload, event.version))
            self.state.apply(act)
            self.state.forget(one.subject for one in pending.due if one.gone)
            self.head = Head(event.number, event.chain)
            if not pending.done.done():
                pending.done.set_result(act)
        self._checkpoint_if_due()

    def _checkpoint_if_due(self) -> None:
        is_under_way = self._checkpointing is not None and not self._checkpointing.done()
        if self.head.number - self._covered >= CHECKPOINT_EVERY and not is_under_way and not self._closed and self._loop is not None:
            self._checkpointing = self._loop.create_task(self._checkpoint_or_say())

    async def _checkpoint_or_say(self) -> None:
        """A checkpoint saves time and nothing else: without one, all goes on."""
        try:
            await self.checkpoint()
        except LedgerError as error:
            self._covered = self.head.number
            log.warning("checkpoint-failed", error=str(error))


def _batches(due: Sequence[Due]) -> Iterator[list[Due]]:
    """What is erased in one transaction: subjects whole, since half of one would be read as something else."""
    batch: list[Due] = []
    size = 0
    for one in due:
        if batch and size + len(one.numbers) > ERASED_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.numbers)
    if batch:
        yield batch
