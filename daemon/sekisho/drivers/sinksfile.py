"""Events into a file of JSON Lines, rotated by size and count; and onto standard output.

A batch is synced (`fsync`, the folder too when a file is new) before it counts as taken. A line torn by a power
cut is cut off at the next write, and events that stand in the file already are not written a second time: what a
crash left in doubt is compared with the last whole line.
"""

from __future__ import annotations

import os
import select
import stat
from dataclasses import dataclass
from pathlib import Path

from sekisho.drivers.durable import sync_folder
from sekisho.drivers.sinks import Run, Transport
from sekisho.model.errors import SinkError
from sekisho_exporters.cloudevents import Envelope, encode

BATCH = 4096
"""One sync for so many: a file keeps up with a ledger that commits in groups."""
_BLOCK = 65536
_STDOUT = 1
_PATIENCE = 10.0
"""Seconds standard output may take nothing."""


class FileTransport(Transport):
    """Appends to `path`; with `rotate` octets or `rotate_count` events it becomes `path.1`, and `keep` of those stay."""

    batch = BATCH

    def __init__(self, path: Path, rotate: int, rotate_count: int | None, keep: int) -> None:
        self._path, self._rotate, self._rotate_count, self._keep = path, rotate, rotate_count, keep
        self._known: _File | None = None

    async def send(self, events: list[Envelope], run: Run) -> None:
        """Raises SinkError."""
        await run(lambda: self._write([encode(event) + b"\n" for event in events]))

    async def close(self) -> None:
        return

    def _write(self, lines: list[bytes]) -> None:
        # Until it is done, what is in the file is in doubt.
        known, self._known = self._known, None
        try:
            self._known = self._append(lines, known)
        except OSError as error:
            raise SinkError(
                f"{self._path} cannot be written ({error.strerror}); see that its folder is there, has room and is the daemon's to write"
            ) from error

    def _append(self, lines: list[bytes], known: _File | None) -> _File:
        descriptor = self._open()
        try:
            file = _look(descriptor)
            if known is not None and (file.identity, file.size) == (known.identity, known.size):
                file = known
            else:
                _cut_torn_line(descriptor, file)
                lines = lines[_written(lines, self._last_line(descriptor, file)) :]
                if self._rotate_count is not None:
                    file.count = _count_lines(descriptor)
            chunk: list[bytes] = []
            for line in lines:
                full = self._rotate_count is not None and file.count >= self._rotate_count
                if file.size and (full or file.size + len(line) > self._rotate):
                    _write_all(descriptor, chunk, file)
                    chunk = []
                    os.close(descriptor)
                    descriptor = -1
                    self._turn()
                    descriptor = self._open()
                    file = _look(descriptor)
                chunk.append(line)
                file.size += len(line)
                file.count += 1
            _write_all(descriptor, chunk, file)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return file

    def _open(self) -> int:
        new = not self._path.exists()
        # Not blocking: opening a pipe nobody reads would wait for ever, and is refused below.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o640)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SinkError(f"{self._path} is no regular file; name one, or a path where there is none yet")
        if new:
            sync_folder(self._path.parent)
        return descriptor

    def _turn(self) -> None:
        """The file becomes `.1`, each older one the next, and the oldest goes."""
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.rename(older)
        sync_folder(self._path.parent)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _last_line(self, descriptor: int, file: _File) -> bytes:
        """The last line written, in the file or, where that has just been rotated, in the one before."""
        if file.size:
            return _last_line(descriptor, file.size)
        try:
            before = os.open(self._numbered(1), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return b""
        try:
            return _last_line(before, os.fstat(before).st_size)
        finally:
            os.close(before)


class StdoutTransport(Transport):
    """Lines on the daemon's standard output. A reader that takes nothing holds this sink up and nothing else."""

    batch = BATCH

    async def send(self, events: list[Envelope], run: Run) -> None:
        """Raises SinkError."""
        await run(lambda: _print([encode(event) + b"\n" for event in events]))

    async def close(self) -> None:
        return


@dataclass(slots=True)
class _File:
    """The file as it was when it was last written."""

    identity: tuple[int, int]
    size: int
    count: int = 0


def _look(descriptor: int) -> _File:
    found = os.fstat(descriptor)
    return _File((found.st_dev, found.st_ino), found.st_size)


def _write_all(descriptor: int, lines: list[bytes], file: _File) -> None:
    """Write and sync; what could be written only in part is taken back. `file.size` counts the lines already."""
    if not lines:
        return
    view = memoryview(b"".join(lines))
    before = file.size - len(view)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _cut_torn_line(descriptor: int, file: _File) -> None:
    end = _line_start(descriptor, file.size)
    if end != file.size:
        os.ftruncate(descriptor, end)
        file.size = end


def _last_line(descriptor: int, size: int) -> bytes:
    """The last whole line with its end; empty for an empty file."""
    end = _line_start(descriptor, size)
    start = _line_start(descriptor, end - 1) if end else 0
    return os.pread(descriptor, end - start, start)


def _line_start(descriptor: int, end: int) -> int:
    """Behind the last line's end before `end`, or 0."""
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _count_lines(descriptor: int) -> int:
    count = offset = 0
    while block := os.pread(descriptor, _BLOCK, offset):
        count += block.count(b"\n")
        offset += len(block)
    return count


def _written(lines: list[bytes], last: bytes) -> int:
    """How many of the lines stand in the file already, if its last line is one of them."""
    return lines.index(last) + 1 if last in lines else 0


def _print(lines: list[bytes]) -> None:
    poll = select.poll()
    poll.register(_STDOUT, select.POLLOUT)
    view = memoryview(b"".join(lines))
    try:
        while view:
            if not poll.poll(_PATIENCE * 1000):
                raise SinkError(f"nobody has read standard output for {_PATIENCE:g} s; see what it is connected to")
            # A pipe that can be written takes this much and never waits.
            view = view[os.write(_STDOUT, view[: select.PIPE_BUF]) :]
    except OSError as error:
        raise SinkError(f"standard output cannot be written ({error.strerror}); see what it is connected to") from error
