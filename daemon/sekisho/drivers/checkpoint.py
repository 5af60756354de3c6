"""The checkpoint file beside a ledger: written whole or not at all, overwritten before it is removed."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import structlog

from sekisho.drivers.durable import sync_folder
from sekisho.drivers.ledgerfile import event
from sekisho.ledger.chain import Head
from sekisho.ledger.checkpoint import UnusableError, dump, load
from sekisho.ledger.state import State
from sekisho.model.errors import LedgerError
from sekisho.model.events import PayloadsErased

log = structlog.get_logger("sekisho.ledger")

_BLOCK = 1 << 20


def checkpoint_of(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".checkpoint")


def write_checkpoint(ledger: Path, state: State, chain: bytes) -> None:
    """Write the state after the event with that chain digest. Raises LedgerError; the old one stays then."""
    path = checkpoint_of(ledger)
    aside = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            with os.fdopen(descriptor, "wb", buffering=_BLOCK) as file:
                file.writelines(dump(state, chain))
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        erase_file(path, aside)
        sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(
            f"the checkpoint {path} cannot be written ({error.strerror}), the next start takes longer; see that its disk has room and works"
        ) from error


def read_checkpoint(ledger: Path, connection: sqlite3.Connection) -> State | None:
    """The state of the checkpoint, or None: there is none, or it is not of this ledger, and the log says why."""
    path = checkpoint_of(ledger)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _pass_over(path, f"it cannot be read ({error.strerror})")
        return None
    try:
        state, head = load(data)
    except UnusableError as error:
        _pass_over(path, str(error))
        return None
    found = event(connection, head.number)
    if found is None:
        last = connection.execute("SELECT max(number) FROM events").fetchone()[0] or 0
        why = f"it was written after event {head.number}, and the ledger ends with event {last}"
        _pass_over(path, f"{why}: what came between is lost, or it is of another ledger; `sekisho restore` puts back a backup")
        return None
    if found.chain != head.chain:
        _pass_over(path, "it is of another ledger")
        return None
    erased = connection.execute("SELECT 1 FROM events WHERE number > ? AND kind = ? LIMIT 1", (head.number, PayloadsErased.kind))
    if erased.fetchone() is not None:
        _pass_over(path, "it holds content that was erased since")
        return None
    return state


def noted_head(ledger: Path) -> Head | None:
    """The event a checkpoint stands behind, whatever the ledger says: what an audit holds against it."""
    try:
        return load(checkpoint_of(ledger).read_bytes())[1]
    except (OSError, UnusableError):
        return None


def remove_checkpoint(ledger: Path) -> None:
    """What is erased from the ledger is not to be read here either. Raises OSError."""
    erase_file(checkpoint_of(ledger), None)


def put_aside(ledger: Path) -> None:
    """A ledger begins anew: the checkpoint of the one before is none of its. Raises OSError."""
    path = checkpoint_of(ledger)
    if path.exists():
        path.rename(path.with_name(path.name + ".before"))
        log.warning("checkpoint-put-aside", checkpoint=str(path), why="it is of a ledger that is not there any more; an empty one begins")


def erase_file(path: Path, successor: Path | None) -> None:
    """Put `successor` in the place of a file, or nothing, and overwrite the old one's content. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if successor is not None:
            successor.rename(path)
        return
    try:
        if successor is not None:
            successor.rename(path)
        else:
            path.unlink()
        rest = os.fstat(descriptor).st_size
        while rest > 0:
            rest -= os.write(descriptor, bytes(min(rest, _BLOCK)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pass_over(path: Path, why: str) -> None:
    log.warning("checkpoint-passed-over", checkpoint=str(path), why=why, then="the whole ledger is read, which takes longer")
