"""The shared tables mapped without NumPy: addresses and lengths, as compiled code takes them.

Owns the mappings and the checks of a file's header, as `snapshot.sections` has them and `FORMAT.md` says.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sekisho.model.errors import TableError

SNAPSHOT, CUSTOMERS, COUNTS, HITS, HEAD, BUDGETS = 1, 2, 3, 4, 5, 7
"""Kinds of files."""
KINDS = {SNAPSHOT: "snapshot", CUSTOMERS: "customers", COUNTS: "counts", HITS: "hits", HEAD: "head", BUDGETS: "budgets"}
_MAGIC, _ORDER, _CHECKED = b"SEKISHO\0", 0x01020304, 1
_HEADER = struct.Struct("<8sIHHQQII16s8x")
_SECTION = struct.Struct("<24s8sQQQQ")
_ALIGN = 64
_READ, _WRITE, _SHARED, _FAILED = 1, 2, 1, ctypes.c_void_p(-1).value

Shape = tuple[str, str, int, int]
"""A section to be made: name, element type in NumPy's notation, rows, columns (0: one axis)."""


class Memory:
    """A file mapped, until it is let go."""

    def __init__(self, descriptor: int, size: int, *, writable: bool) -> None:
        """Raises OSError."""
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        self._libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self.size = size
        self.address = self._libc.mmap(None, size, _READ | (_WRITE if writable else 0), _SHARED, descriptor, 0)
        if self.address == _FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __del__(self) -> None:
        if getattr(self, "address", _FAILED) != _FAILED:
            self._libc.munmap(self.address, self.size)

    def read(self, offset: int, size: int) -> bytes:
        return ctypes.string_at(self.address + offset, size)


@dataclass(frozen=True, slots=True)
class Section:
    """Where an array lies."""

    address: int
    items: int
    size: int
    """Bytes of all items."""

    def words(self) -> Any:
        """The section as 64-bit words."""
        return (ctypes.c_uint64 * (self.size // 8)).from_address(self.address)

    def cells(self) -> Any:
        """The section as 32-bit words."""
        return (ctypes.c_uint32 * (self.size // 4)).from_address(self.address)


@dataclass(frozen=True, slots=True)
class Table:
    """A table mapped."""

    memory: Memory
    sections: dict[str, Section]
    identity: tuple[int, int]
    """Device and inode: another identity under the same name means the writer made it anew."""

    def section(self, name: str) -> Section:
        """Raises TableError if it is not there."""
        if name not in self.sections:
            raise TableError(f"section {name} is missing; the file is damaged")
        return self.sections[name]

    def view(self, names: Sequence[str]) -> Any:
        """What compiled code is handed: (address, items) of each section, in order."""
        pairs = [word for name in names for word in (self.section(name).address, self.section(name).items)]
        return (ctypes.c_int64 * len(pairs))(*pairs)


def map_table(path: Path, kind: int, version: int, *, writable: bool = False) -> Table:
    """Map a table. Raises TableError if it is missing, damaged or of another version."""
    try:
        # Not waiting: a resolver's user, who may write into the folder, may have put a pipe there.
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TableError(f"{path} cannot be opened ({error.strerror}); see that sekishod runs, and the rights of this process") from error
    try:
        status = os.fstat(descriptor)
        if status.st_size < _HEADER.size:
            raise TableError(f"{path} is {status.st_size} bytes, shorter than its header; it is truncated")
        memory = Memory(descriptor, status.st_size, writable=writable)
    except OSError as error:
        raise TableError(f"{path} cannot be mapped ({error.strerror}); see that there is memory") from error
    finally:
        os.close(descriptor)
    return Table(memory, _read(memory, path, kind, version), (status.st_dev, status.st_ino))


def _read(memory: Memory, path: Path, kind: int, version: int) -> dict[str, Section]:
    magic, order, found, what, _, length, count, flags, digest = _HEADER.unpack(memory.read(0, _HEADER.size))
    if magic != _MAGIC or order != _ORDER or what != kind:
        raise TableError(f"{path} is no {KINDS[kind]} table of this byte order")
    if found != version:
        raise TableError(f"{path} has layout version {found}, this plugin reads {version}; give both the same release of Sekisho")
    if length > memory.size or _HEADER.size + count * _SECTION.size > length:
        raise TableError(f"{path} says {length} bytes and has {memory.size}; it is truncated")
    if kind == SNAPSHOT:
        content = (ctypes.c_char * (length - _HEADER.size)).from_address(memory.address + _HEADER.size)
        if not flags & _CHECKED or hashlib.blake2b(content, digest_size=16).digest() != digest:
            raise TableError(f"{path} fails its checksum; it is damaged")
    sections = {}
    for index in range(count):
        name, dtype, rows, columns, offset, size = _SECTION.unpack(memory.read(_HEADER.size + index * _SECTION.size, _SECTION.size))
        items = rows * (columns or 1)
        if offset + size > length or items * _width(dtype.rstrip(b"\0").decode("ascii", "replace")) != size:
            raise TableError(f"{path}: a section does not fit; it is damaged")
        sections[name.rstrip(b"\0").decode("ascii", "replace")] = Section(memory.address + offset, items, size)
    return sections


def _width(dtype: str) -> int:
    """Bytes of an item: the digit at the end of `<u8`, `|u1`."""
    return int(dtype[-1]) if dtype[-1:] in {"1", "2", "4", "8"} else 0


def create_table(path: Path, kind: int, version: int, number: int, shapes: Sequence[Shape]) -> None:
    """Make a table of zeros, whole or not at all. Raises OSError."""
    offset = _aligned(_HEADER.size + _SECTION.size * len(shapes))
    rows_of = []
    for name, dtype, rows, columns in shapes:
        size = rows * (columns or 1) * _width(dtype)
        rows_of.append(_SECTION.pack(name.encode(), dtype.encode(), rows, columns, offset, size))
        offset = _aligned(offset + size)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o660)
    try:
        os.posix_fallocate(descriptor, 0, offset)
        header = _HEADER.pack(_MAGIC, _ORDER, version, kind, number, offset, len(shapes), 0, bytes(16))
        os.pwrite(descriptor, header + b"".join(rows_of), 0)
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _aligned(offset: int) -> int:
    return (offset + _ALIGN - 1) // _ALIGN * _ALIGN
