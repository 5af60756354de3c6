"""Files that are whole or not there, and on disk when that matters.

Some lie in a folder into which resolvers' users may write: whatever is put in their place there, nothing is written through a link, and
where a file is to be read, none is followed and no pipe is waited for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

Bytes = bytes | bytearray | memoryview
_PIECE = 128 * 1024
"""Octets of one write(2). A kernel that is not preempted (PREEMPT_NONE) copies all of one before anybody else gets its
processor: 5 ms were seen of a write of many MiB (Linux 6.18, ext4), and a query waits that long."""


def write_file(path: Path, data: Bytes | Sequence[Bytes], *, durable: bool = False, mode: int = 0o640) -> None:
    """Write aside and rename, so that no reader sees half a file; several pieces one after the other. Raises OSError."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    # Of a process of this number that was killed; or a link that somebody laid, by which another file would be written over.
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        for piece in [data] if isinstance(data, Bytes) else data:
            view = memoryview(piece)
            while view:
                view = view[os.write(descriptor, view[:_PIECE]) :]
        if durable:
            os.fsync(descriptor)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    aside.rename(path)
    if durable:
        sync_folder(path.parent)


def open_plain(path: Path) -> BufferedReader:
    """Open a file to read it. Raises OSError, also where a link, a pipe or anything else is in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def sync_folder(folder: Path) -> None:
    """Have the names of a folder on disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
