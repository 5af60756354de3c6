"""The tables as they were when the daemon ended, kept in the state folder: a machine that starts answers by them at once.

Owns that file - the customers' table, and what it and the saved snapshot were made of - and what has to be as it was for
them to be put in force again. They are put in force once, after an end that was in order, and only where there are no
tables yet: everything is then loaded as ever and takes their place, a second or a minute later. In every other case they are
left alone, and the plane waits for what is loaded. Does not own when an end was in order (`app.control_base`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sekisho
from sekisho.drivers.durable import open_plain, write_file
from sekisho.drivers.filedigest import DIGITS, digest_of, file_digest
from sekisho.drivers.sharedfiles import HEAD, create_table, customers_file, make_folder, map_table, snapshot_file
from sekisho.model.errors import TableError
from sekisho.snapshot import layout
from sekisho.snapshot.sections import HEADER, Kind, renumber, told_checksum, unpack

PRINT_BYTES = 32
"""Hexadecimal digits of a fingerprint, at the end of a saved snapshot."""
_FIRST = 1
"""The epoch and the generation they are put in force as."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What tables were made of, besides the saved snapshot."""

    files: Mapping[str, str]
    """The digest (`drivers.filedigest`) of each file of the configuration as it was read, by path."""
    stores: tuple[Path, ...]
    """Databases that are closed."""
    sources: tuple[Path, ...]
    """Files of lists: each is the one that was, or is gone, when what was read of it stays in force."""
    at: float
    """UNIX seconds as of which the tables hold."""
    until: float | None
    """UNIX seconds at which time alone changes them; None: never."""


class KeptTables:
    """The file `tables` of the state folder `state`; `folder` is where tables are in force."""

    def __init__(self, state: Path, folder: Path) -> None:
        self._path, self._snapshot, self._folder = state / "tables", state / "snapshot", folder

    def keep(self, ground: Ground, *, but: Iterable[int] = ()) -> bool:
        """Keep the tables in force, durably. False, and nothing is kept, if the saved snapshot is not the one in force.

        Ids of rows that are nobody's any more are left out, but for those of the rows `but`. Raises OSError, TableError.
        """
        head = map_table(self._folder / HEAD, Kind.HEAD, layout.HEAD_VERSION).arrays["values"]
        checksum = _checksum(self._folder / snapshot_file(int(head[layout.HEAD_EPOCH])))
        if checksum != _checksum(self._snapshot):
            return False
        customers = _content(self._folder / customers_file(int(head[layout.HEAD_GENERATION])))
        _forget(customers, but)
        told = {
            "program": sekisho.__version__,
            "files": dict(ground.files),
            "stores": {str(path): _standing(path) for path in ground.stores},
            "sources": {str(path): _written(path) for path in ground.sources},
            "at": ground.at,
            "until": ground.until,
            "snapshot": checksum.hex(),
        }
        rest: list[bytes | bytearray] = [json.dumps(told).encode() + b"\n", customers]
        write_file(self._path, [digest_of(*rest).encode() + b"\n", *rest], durable=True)
        return True

    def restore(self, config: Path, now: float) -> str | None:
        """Put what was kept in force, if everything is as it was; the fingerprint of the snapshot then, else None.

        `config` is the main file. Whatever comes of it, it is not kept any longer. Raises OSError, TableError if what is sound
        cannot be put in force.
        """
        for half in self._path.parent.glob(f".{self._path.name}.*"):
            half.unlink()  # of an end that was killed while it kept them
        try:
            data = _content(self._path)
        except FileNotFoundError:
            return None
        self._path.unlink()
        if self._has_tables():
            return None
        told, customers = _read(data)
        if not _is_as_it_was(told, config, now):
            return None
        snapshot = _content(self._snapshot)
        fingerprint = cut_print(snapshot)
        if told_checksum(snapshot).hex() != told["snapshot"]:
            return None
        unpack(snapshot, Kind.SNAPSHOT, layout.SNAPSHOT_VERSION)
        unpack(customers, Kind.CUSTOMERS, layout.CUSTOMERS_VERSION)
        self._put_in_force(snapshot, customers)
        return fingerprint

    def _put_in_force(self, snapshot: bytearray, customers: bytearray) -> None:
        """All of it or none: what is left over would take the room of what is loaded."""
        make_folder(self._folder)
        tables = {snapshot_file(_FIRST): snapshot, customers_file(_FIRST): customers}
        try:
            for name, table in tables.items():
                renumber(table, _FIRST)
                write_file(self._folder / name, table)
            values = np.zeros(layout.HEAD_WORDS, np.uint64)
            values[layout.HEAD_EPOCH] = values[layout.HEAD_GENERATION] = _FIRST
            values[layout.HEAD_HEARTBEAT] = time.time_ns()
            create_table(self._folder / HEAD, Kind.HEAD, layout.HEAD_VERSION, 0, {"values": values})
        except (OSError, TableError):
            for name in tables:
                (self._folder / name).unlink(missing_ok=True)
            raise

    def _has_tables(self) -> bool:
        """Whether there are tables, or counts and matches by their rows: they speak of later than what was kept."""
        kinds = (HEAD, "snapshot-*", "customers-*", "counts-*", "hits-*")
        return self._folder.is_dir() and any(True for kind in kinds for _ in self._folder.glob(kind))


def cut_print(data: bytearray) -> str:
    """Take off a saved snapshot the fingerprint behind it, which is given."""
    fingerprint = bytes(data[-PRINT_BYTES:])
    del data[-PRINT_BYTES:]
    return fingerprint.decode(errors="replace")


def _read(data: bytearray) -> tuple[dict[str, object], bytearray]:
    """What the file says, and the table after it. Raises TableError if it is damaged."""
    digest, _, rest = bytes(data[:DIGITS]), data[DIGITS : DIGITS + 1], memoryview(data)[DIGITS + 1 :]
    if digest_of(rest).encode() != digest:
        raise TableError("the tables kept for a start fail their checksum; they are damaged")
    end = data.index(b"\n", DIGITS + 1)
    return json.loads(data[DIGITS + 1 : end]), data[end + 1 :]


def _is_as_it_was(told: Mapping[str, object], config: Path, now: float) -> bool:
    if told.get("program") != sekisho.__version__:
        return False  # of what else it says nothing is known
    files, stores, sources, at, until = told["files"], told["stores"], told["sources"], told["at"], told["until"]
    return (
        isinstance(files, dict)
        and isinstance(stores, dict)
        and isinstance(sources, dict)
        and str(config.absolute()) in files
        and isinstance(at, float)
        and at <= now
        and (until is None or (isinstance(until, float) and now < until))
        and all(then is not None and _standing(Path(path)) == then for path, then in stores.items())
        and all(_written(Path(path)) in (then, None) for path, then in sources.items())
        and all(file_digest(Path(path)) == digest for path, digest in files.items())
    )


def _standing(path: Path) -> list[int] | None:
    """`_written` of a database; None if it is open, or not there."""
    log = _written(path.with_name(f"{path.name}-wal"))
    return None if log is not None and log[0] else _written(path)


def _written(path: Path) -> list[int] | None:
    """What tells that a file was written to: size and time; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _forget(customers: bytearray, but: Iterable[int]) -> None:
    """Take the ids of rows that are nobody's out of a customers' table."""
    _, arrays = unpack(customers, Kind.CUSTOMERS, layout.CUSTOMERS_VERSION)
    gone = arrays["rows"].view(layout.ROW)[:, 0]["flags"] & layout.ACTIVE == 0
    gone[list(but)] = False
    spans, identities = arrays["spans"], arrays["identities"]
    for row in np.flatnonzero(gone & (spans[:, 1] > 0)).tolist():
        start, length = spans[row].tolist()
        identities[start : start + length] = 0
        spans[row] = 0


def _content(path: Path) -> bytearray:
    """Raises OSError, also for what is no plain file: resolvers' users may write into the folder of the tables."""
    with open_plain(path) as file:
        return bytearray(file.read())


def _checksum(path: Path) -> bytes:
    """Raises OSError as `_content`."""
    with open_plain(path) as file:
        return told_checksum(file.read(HEADER))
