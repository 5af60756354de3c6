"""The ledger on disk at a start: its lock, and verifying and folding what is there, from the checkpoint on.

A torn end of the write-ahead log is cut off and told; anything else that does not verify is refused with the event.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import structlog

from sekisho.drivers import ledgerfile
from sekisho.drivers.checkpoint import put_aside, read_checkpoint
from sekisho.drivers.filelock import locked
from sekisho.ledger.acts import recorded
from sekisho.ledger.chain import Head, Verifier
from sekisho.ledger.state import State
from sekisho.model.errors import LedgerError

log = structlog.get_logger("sekisho.ledger")


def take_lock(path: Path) -> int:
    """Hold the ledger at `path` alone, for as long as the descriptor returned is open. Raises LedgerError."""
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = locked(path.with_name(path.name + ".lock"))
        if os.geteuid() == 0:
            # Root restores for the daemon's user, whose the folder is.
            owner = path.parent.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
    except BlockingIOError:
        raise LedgerError(f"another sekishod is using {path.parent}; stop it, or give this one a `state` folder of its own") from None
    except OSError as error:
        raise LedgerError(f"the state folder {path.parent} cannot be used ({error.strerror}); make it writable for the daemon") from error
    return lock


def read_ledger(path: Path) -> tuple[State, Head, int]:
    """Verify and fold what is on disk; creates the tables of a new file. Returns the event of the checkpoint too, 0 without one.

    Raises LedgerError if it is damaged, of another version, or cannot be used.
    """
    try:
        if not path.exists():
            put_aside(path)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
        left = ledgerfile.frames_in_log(path)
        with contextlib.closing(ledgerfile.connect(path)) as connection:
            found = ledgerfile.prepare(connection, path)
            good = ledgerfile.take_log(connection)
            ledgerfile.check_size(connection, path)
            state, head, covered = _fold(connection, path)
    except sqlite3.Error as error:
        raise ledgerfile.failed(path, error) from error
    except (TypeError, AttributeError) as error:
        raise ledgerfile.damaged(path, error) from error
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be used ({error.strerror}); see that its disk works and has room") from error
    if found not in {0, ledgerfile.SCHEMA_VERSION}:
        log.info("ledger-brought-up-to-date", ledger=str(path), schema=ledgerfile.SCHEMA_VERSION, before=found)
    elif left > good:
        log.warning(
            "ledger-tail-torn",
            ledger=str(path),
            last=head.number,
            pages=left - good,
            what="the end of the write-ahead log was torn, by a power cut or a kill while it was written; "
            "the ledger stands at its last whole event, and no act behind it was acknowledged unless the disk lost what it had confirmed",
        )
    return state, head, covered


def _fold(connection: sqlite3.Connection, path: Path) -> tuple[State, Head, int]:
    state = read_checkpoint(path, connection) or State()
    covered = state.number
    start = ledgerfile.event(connection, covered)
    if covered and start is None:
        raise ledgerfile.damaged(path, f"event {covered} cannot be read")
    verifier = Verifier(Head(start.number, start.chain) if start is not None else None)
    for event in ledgerfile.events(connection, covered):
        found = verifier.check(event)
        if found is not None:
            raise _unproved(path, str(found))
        act = recorded(event)
        if act is not None:
            state.apply(act)
    state.number = verifier.number
    written = ledgerfile.head(connection)
    if written is not None and written.number > verifier.number:
        raise _unproved(path, f"event {verifier.number + 1}: is missing; the ledger ends before it")
    if written is not None and written != verifier.head:
        raise _unproved(
            path, f"event {written.number + 1}: stands behind the last event the ledger wrote; it was put there by another program"
        )
    return state, verifier.head, covered


def _unproved(path: Path, what: str) -> LedgerError:
    return LedgerError(
        f"the ledger {path} does not verify: {what}; put back its last good copy (`sekisho restore`), "
        "nothing from that event on can be relied on"
    )
