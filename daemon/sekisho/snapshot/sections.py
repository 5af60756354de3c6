"""The container every shared table and state file uses: named arrays behind one header.

Layout (little-endian; every offset from the start of the file):

    0   8s   magic            b"SEKISHO\\0"
    8   u32  byte-order mark  0x01020304
    12  u16  version          of the kind's layout
    14  u16  kind             `Kind`
    16  u64  number           epoch or generation
    24  u64  length           of the whole file
    32  u32  sections
    36  u32  flags            bit 0: the checksum holds (immutable files)
    40  16s  checksum         BLAKE2b-128 of everything from byte 64 on
    64       section table: 64 bytes each
             24s name, 8s dtype (NumPy, zero padded), u64 rows, u64 columns (0: one axis),
             u64 offset (multiple of 64), u64 length in bytes

A file is built aside and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.model.errors import TableError

MAGIC = b"SEKISHO\0"
BYTE_ORDER = 0x01020304
CHECKED = 1
_HEADER = struct.Struct("<8sIHHQQII16s8x")
_NUMBER, _NUMBER_AT = struct.Struct("<Q"), 16
_CHECKSUM = slice(40, 56)
_SECTION = struct.Struct("<24s8sQQQQ")
_ALIGN = 64

HEADER = _HEADER.size
"""Bytes of the header."""

Array = NDArray[Any]


class Kind(enum.IntEnum):
    SNAPSHOT = 1
    CUSTOMERS = 2
    COUNTS = 3
    HITS = 4
    HEAD = 5
    LIST = 6
    BUDGETS = 7
    FLOWS = 8


_IMMUTABLE = (Kind.SNAPSHOT, Kind.LIST, Kind.FLOWS)


@dataclass(frozen=True, slots=True)
class Header:
    kind: Kind
    version: int
    number: int
    length: int
    checked: bool


class Sections(dict[str, Array]):
    """Arrays by section name. One that is not there is a fault of the file: TableError."""

    def __missing__(self, name: str) -> Array:
        message = f"section {name} is missing; the file is damaged"
        raise TableError(message)


def pack(kind: Kind, version: int, number: int, sections: Mapping[str, Array | bytes], *, checked: bool = True) -> bytearray:
    """Lay the sections out in one buffer. Arrays have one or two axes; bytes become uint8."""
    arrays = {name: _as_array(value) for name, value in sections.items()}
    offset = _aligned(_HEADER.size + _SECTION.size * len(arrays))
    table = []
    for name, array in arrays.items():
        columns = array.shape[1] if array.ndim == 2 else 0
        dtype = array.dtype.str.encode()
        table.append(_SECTION.pack(name.encode(), dtype, array.shape[0], columns, offset, array.nbytes))
        offset = _aligned(offset + array.nbytes)
    buffer = bytearray(offset)
    buffer[_HEADER.size : _HEADER.size + _SECTION.size * len(table)] = b"".join(table)
    view = np.frombuffer(buffer, dtype=np.uint8)
    for entry, array in zip(table, arrays.values(), strict=True):
        start = _SECTION.unpack(entry)[4]
        view[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    digest = _checksum(memoryview(buffer)) if checked else bytes(16)
    flags = CHECKED if checked else 0
    _HEADER.pack_into(buffer, 0, MAGIC, BYTE_ORDER, version, int(kind), number, offset, len(table), flags, digest)
    return buffer


def read_header(buffer: memoryview | bytes | bytearray, kind: Kind, version: int) -> Header:
    """Check the header. Raises TableError, saying what is wrong, unless it is of this kind and version."""
    if len(buffer) < _HEADER.size:
        message = f"{kind.name.lower()} file is {len(buffer)} bytes, shorter than its header; it is truncated"
        raise TableError(message)
    magic, order, found_version, found_kind, number, length, _, flags, _ = _HEADER.unpack_from(buffer)
    if magic != MAGIC or order != BYTE_ORDER:
        message = f"{kind.name.lower()} file does not start as a Sekisho table of this byte order"
        raise TableError(message)
    if found_kind != kind:
        message = f"expected a {kind.name.lower()} file, found kind {found_kind}"
        raise TableError(message)
    if found_version != version:
        message = f"{kind.name.lower()} file has layout version {found_version}, this program reads {version}"
        raise TableError(message)
    if length > len(buffer):
        message = f"{kind.name.lower()} file says {length} bytes and has {len(buffer)}; it is truncated"
        raise TableError(message)
    return Header(kind, found_version, number, length, bool(flags & CHECKED))


def unpack(buffer: Any, kind: Kind, version: int, *, verify: bool = True) -> tuple[Header, Sections]:
    """Map the sections of `buffer` (bytes, bytearray or mmap) without copying.

    Raises TableError if the file is not whole or, with `verify`, if its checksum does not hold.
    """
    view = memoryview(buffer)
    header = read_header(view, kind, version)
    if verify and not header.checked and kind in _IMMUTABLE:
        message = f"{kind.name.lower()} file carries no checksum; it is damaged"
        raise TableError(message)
    if verify and header.checked and _checksum(view[: header.length]) != _HEADER.unpack_from(view)[8]:
        message = f"{kind.name.lower()} file fails its checksum; it is damaged"
        raise TableError(message)
    count = _HEADER.unpack_from(view)[6]
    if _HEADER.size + count * _SECTION.size > header.length:
        message = f"{kind.name.lower()} file says {count} sections and has no room for them"
        raise TableError(message)
    arrays = Sections()
    for index in range(count):
        raw, dtype, rows, columns, offset, length = _SECTION.unpack_from(view, _HEADER.size + index * _SECTION.size)
        name = raw.rstrip(b"\0").decode(errors="replace")
        try:
            array = np.frombuffer(view[offset : offset + length], dtype=np.dtype(dtype.rstrip(b"\0").decode()))
            arrays[name] = array.reshape(rows, columns) if columns else array.reshape(rows)
        except (ValueError, TypeError, OverflowError, SyntaxError) as error:
            message = f"{kind.name.lower()} file: section {name} does not fit: {error}"
            raise TableError(message) from error
    return header, arrays


def renumber(buffer: bytearray, number: int) -> None:
    """Give a file another epoch or generation. Its checksum covers what follows the header, and holds."""
    _NUMBER.pack_into(buffer, _NUMBER_AT, number)


def told_checksum(start: bytes | bytearray) -> bytes:
    """The checksum an immutable file says it has; `start` is the file, or its first `HEADER` bytes."""
    return bytes(start[_CHECKSUM])


def _checksum(view: memoryview) -> bytes:
    return hashlib.blake2b(view[_HEADER.size :], digest_size=16).digest()


def _aligned(offset: int) -> int:
    return (offset + _ALIGN - 1) // _ALIGN * _ALIGN


def _as_array(value: Array | bytes) -> Array:
    if isinstance(value, bytes | bytearray):
        return np.frombuffer(value, dtype=np.uint8)
    return np.ascontiguousarray(value)
