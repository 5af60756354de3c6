"""Mapping the shared tables' files: created aside and renamed, mapped for reading or writing.

Owns file names and modes in `<runtime>/plane/`. Not what the sections mean (`snapshot.layout`).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sekisho.drivers.durable import open_plain, write_file
from sekisho.model.errors import TableError
from sekisho.snapshot.sections import Array, Header, Kind, pack, unpack

HEAD = "head"
BUDGETS = "budgets"
WANTED = "wanted"
"""Left by a plane that cannot start by the tables the head names: the control plane writes them anew and takes it away."""

SOCKETS = "sockets"
"""Left by a plane at its start: where its listening sockets are otherwise than configured, a sentence a line."""

SETTINGS = "settings"
"""Left by a plane at its start: the keys of the configuration it was started with."""

_LEFT = 16384
"""Bytes that are read of what a plane left."""


def snapshot_file(epoch: int) -> str:
    return f"snapshot-{epoch}"


def customers_file(generation: int) -> str:
    return f"customers-{generation}"


def counts_file(worker: int) -> str:
    return f"counts-{worker}"


def hits_file(worker: int) -> str:
    return f"hits-{worker}"


def make_folder(folder: Path) -> None:
    """Make the folder of the tables, and the runtime folder it lies in, if they are not there. Raises OSError.

    Through the latter pass callers of the API whatever their group (0751); the tables are the daemon's own (0750).
    """
    runtime = folder.parent
    if not runtime.is_dir():
        runtime.mkdir(parents=True, exist_ok=True)
        runtime.chmod(0o751)
    folder.mkdir(mode=0o750, exist_ok=True)


@dataclass(frozen=True, slots=True)
class MappedTable:
    """A mapped file: its header, arrays that lie in it, and which file it was when it was mapped."""

    header: Header
    arrays: dict[str, Array]
    identity: tuple[int, int]
    """Device and inode: another identity under the same name means the writer made it anew."""


def numbered_files(folder: Path, start: str) -> list[tuple[int, Path]]:
    """The files of one kind, by their number: `counts-0`, `counts-1`, ..."""
    found = [(path.name.removeprefix(start), path) for path in folder.glob(f"{start}*")]
    return sorted((int(number), path) for number, path in found if number.isdigit())


def read_left(path: Path) -> bytes:
    """What a plane left in the folder, its beginning; empty if there is nothing.

    Nothing of another user's than the folder's, into which resolvers may write; nor what a link of theirs leads to, which may be the
    daemon's own, or a pipe, which would have no end.
    """
    try:
        with open_plain(path) as file:
            is_ours = os.fstat(file.fileno()).st_uid == path.parent.stat().st_uid
            return file.read(_LEFT) if is_ours else b""
    except OSError:
        return b""


def create_table(path: Path, kind: Kind, version: int, number: int, sections: Mapping[str, Array | bytes]) -> None:
    """Create a mutable table (no checksum). Raises TableError if the disk does not take it."""
    try:
        write_file(path, pack(kind, version, number, sections, checked=False))
    except OSError as error:
        raise TableError(f"{path} cannot be written ({error.strerror}); see that the runtime folder has room") from error


def map_table(path: Path, kind: Kind, version: int, *, writable: bool = False, verify: bool = True) -> MappedTable:
    """Map a table. Raises TableError if it is missing, damaged or of another version."""
    try:
        # A resolver's user, who may write into the folder, may have put a pipe there, or a link to a file of the daemon's.
        access = os.O_RDWR if writable else os.O_RDONLY
        descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        message = f"{path} is missing; the process that writes it has not started"
        raise TableError(message) from error
    except OSError as error:
        raise TableError(f"{path} cannot be opened ({error.strerror}); see the limits and rights of the process") from error
    try:
        status = os.fstat(descriptor)
        if status.st_size == 0:
            message = f"{path} is empty; it is truncated"
            raise TableError(message)
        mapped = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
    except OSError as error:
        raise TableError(f"{path} cannot be mapped ({error.strerror}); see that there is memory") from error
    finally:
        os.close(descriptor)
    header, arrays = unpack(mapped, kind, version, verify=verify)
    return MappedTable(header, arrays, (status.st_dev, status.st_ino))
