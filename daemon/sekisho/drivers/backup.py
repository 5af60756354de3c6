"""Backups of what the daemon keeps, each file whole and of one moment, taken while the daemon writes.

`ledger.db` is the ledger as SQLite's backup gives it: a single file, no log beside it. The other databases are likewise, and
small files beside them; `backupcontent` says which, and which not. `backup.json` says what they are and their digests; it is
written last, so that half a backup is none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sekisho.drivers import ledgerfile
from sekisho.drivers.audit import LEDGER, LedgerSource, verify
from sekisho.drivers.backupcontent import DATABASES, MATCHES, NAS, NOT_COPIED, files_in, ours
from sekisho.drivers.checkpoint import checkpoint_of
from sekisho.drivers.durable import sync_folder, write_file
from sekisho.drivers.ledgerstart import take_lock
from sekisho.drivers.nasmemory import doubt_all
from sekisho.ledger.chain import Head
from sekisho.model.errors import LedgerError, RefusedError

FORMAT = 1
_FORMAT = "sekisho-backup"
MANIFEST = "backup.json"
KEY = "list.key"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made or read. `bytes` is the size of its files."""

    folder: Path
    at: float
    head: Head
    bytes: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, where what stood there was moved to, and whether a list key is there."""

    backup: Backup
    aside: Path | None
    key: Path | None


def make_backup(state: Path, folder: Path, now: float, program: str) -> Backup:
    """Copy what lies in the state folder into `folder`, which is made. Raises RefusedError, LedgerError."""
    if not folder.is_absolute():
        raise RefusedError(f"the folder {folder} does not start at the root; name it by its whole path")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is there and not empty; name a folder that is new, since no backup is overwritten")
    aside = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        try:
            files = {name: _copy(state / name, aside / name) for name in DATABASES if (state / name).exists()}
            files |= _copy_files(state, aside)
            head = _head(aside / LEDGER)
            manifest = {
                _FORMAT: FORMAT,
                "at": now,
                "program": program,
                "ledger": {"number": head.number, "chain": head.chain.hex()},
                "files": files,
                "not_copied": NOT_COPIED,
            }
            write_file(aside / MANIFEST, json.dumps(manifest, indent=2).encode(), durable=True, mode=0o600)
            aside.rename(folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise LedgerError(
            f"the backup {folder} cannot be written ({why}); name a folder the daemon may write to, such as one below {state}, with room"
        ) from error
    return Backup(folder, now, head, sum(one["bytes"] for one in files.values()), ours(files))


def read_backup(folder: Path) -> Backup:
    """What a backup says it is, its files compared with their digests. Raises RefusedError, LedgerError."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        if manifest[_FORMAT] != FORMAT:
            raise RefusedError(f"the backup {folder} is of another version; use the version of the program that made it")
        files, head = manifest["files"], manifest["ledger"]
        backup = Backup(
            folder,
            float(manifest["at"]),
            Head(int(head["number"]), bytes.fromhex(head["chain"])),
            sum(one["bytes"] for one in files.values()),
            ours(files),
        )
        for name in backup.files:
            if _digest(folder / name) != files[name]["digest"]:
                raise LedgerError(f"the backup's {folder / name} is not what was written; take another backup")
    except FileNotFoundError as error:
        raise RefusedError(f"{folder} is no whole backup ({error.filename} is not there); name the folder `sekisho backup` made") from error
    except OSError as error:
        raise RefusedError(f"the backup {folder} cannot be read ({error.strerror}); ask as root, or have its mode changed") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"{folder / MANIFEST} is damaged; take another backup") from error
    if LEDGER not in backup.files:
        raise RefusedError(f"the backup {folder} has no ledger; take another one")
    return backup


def verify_backup(backup: Backup) -> None:
    """Read its ledger from the first event to the one that was noted. Raises LedgerError, which names the first bad event."""
    with LedgerSource(backup.folder) as source:
        found = verify(source, [backup.head]).breaks
    if found:
        raise LedgerError(f"the backup's ledger does not verify: {found[0]}; take another backup")


def restore_backup(state: Path, folder: Path, now: float, *, force: bool, credentials: str | None = None) -> Restored:
    """Verify a backup and put it in the state folder; what stands there is moved aside if `force` says so.

    Raises RefusedError, LedgerError; nothing has changed then. The daemon must not run.
    """
    backup = read_backup(folder)
    verify_backup(backup)
    lock = take_lock(state / LEDGER)
    try:
        # What is not in the backup stays as it is; but matches belong to the ledger.
        replaced = tuple(dict.fromkeys((LEDGER, MATCHES, *backup.files)))
        there = [state / name for name in replaced if (state / name).exists()]
        if there and not force:
            raise RefusedError(
                f"{there[0]} is there and would be replaced; look whether it is good (`sekisho audit verify`), and if it is not, "
                "ask again with --force: it is moved aside, not deleted"
            )
        aside = _put_aside(state, replaced, now) if there else None
        try:
            for name in backup.files:
                _install(folder / name, state / name)
            if NAS in backup.files:
                # What NASes were told since is not in the backup: all of it is asked again.
                doubt_all(state / NAS, aside / NAS if aside is not None and (aside / NAS).exists() else None)
            sync_folder(state)
        except BaseException:
            for name in backup.files:
                (state / name).unlink(missing_ok=True)
            if aside is not None:
                _put_back(state, aside)
            raise
    except OSError as error:
        raise LedgerError(
            f"{state} cannot be written ({error.strerror}), what stood there stands there still; see that its disk has room"
        ) from error
    finally:
        os.close(lock)
    key = [state / KEY, *([Path(credentials) / "list-key"] if credentials else [])]
    return Restored(backup, aside, next((one for one in key if one.exists()), None))


def _copy_files(state: Path, aside: Path) -> dict[str, Any]:
    """Small files as they are; one that goes meanwhile is not in the backup."""
    copied: dict[str, Any] = {}
    for name in files_in(state):
        target = aside / name
        with contextlib.suppress(FileNotFoundError):
            content = (state / name).read_bytes()
            target.parent.mkdir(mode=0o700, exist_ok=True)
            write_file(target, content, durable=True, mode=0o600)
            copied[name] = {"bytes": len(content), "digest": _digest(target)}
    return copied


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """One database as of one moment, into a file of its own; writers do not wait for it."""
    try:
        with contextlib.closing(ledgerfile.connect_reading(source)) as old, contextlib.closing(sqlite3.connect(target)) as new:
            old.backup(new)
            # No log beside it: one file is the whole, on a disk that cannot be written too.
            new.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{source} is damaged ({error}), no backup was made; put back its last good copy, or move it aside") from error
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return {"bytes": target.stat().st_size, "digest": _digest(target)}


def _digest(path: Path) -> str:
    """BLAKE2b-256 of a file, in hexadecimal."""
    state = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def _head(ledger: Path) -> Head:
    with LedgerSource(ledger) as source:
        if source.head is None:
            raise LedgerError(
                f"the ledger {ledger} does not say which event is its last; start the daemon once, which brings it up to date"
            )
        return source.head


def _with_logs(names: Iterable[str]) -> list[str]:
    """Names of the files, and of those that belong to them."""
    found: list[str] = []
    for name in names:
        found += [name, f"{name}-wal", f"{name}-shm"] if name in DATABASES else [name]
    return [*found, checkpoint_of(Path(LEDGER)).name]


def _put_aside(state: Path, names: Iterable[str], now: float) -> Path:
    """Move the files in force, with the logs that belong to them, into a folder of their own."""
    name = f"replaced-{dt.datetime.fromtimestamp(now, dt.UTC):%Y%m%dT%H%M%SZ}"
    aside = next(path for path in (state / f"{name}{end}" for end in ("", *(f"-{count}" for count in range(1, 100)))) if not path.exists())
    aside.mkdir(mode=0o700)
    _own(aside, state)
    for name in _with_logs(names):
        if (state / name).exists():
            _make_parent(aside / name, state)
            (state / name).rename(aside / name)
    return aside


def _put_back(state: Path, aside: Path) -> None:
    for path in [one for one in aside.rglob("*") if not one.is_dir()]:
        path.rename(state / path.relative_to(aside))
    shutil.rmtree(aside)


def _make_parent(path: Path, state: Path) -> None:
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700)
        _own(path.parent, state)


def _install(source: Path, target: Path) -> None:
    _make_parent(target, target.parent.parent)
    new = target.with_name(target.name + ".new")
    try:
        shutil.copyfile(source, new)
        new.chmod(0o640 if target.name in DATABASES else 0o600)
        _own(new, target.parent)
        descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    new.rename(target)


def _own(path: Path, like: Path) -> None:
    """Root restores for the daemon's user, whose the state folder is."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
