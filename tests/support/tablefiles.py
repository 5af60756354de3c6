"""The files and names of the shared tables, read in plain Python and written from FORMAT.md alone.

It owns the container and the digests of names and prefixes, not what the sections mean. Docstrings name FORMAT.md's sections.
"""

import contextlib
import mmap
import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

WORD = 2**64 - 1
CLIENT = b"CL"
KINDS: Final = {"snapshot": (1, 3), "customers": (2, 3), "head": (5, 1), "budgets": (7, 1)}  # kind, layout version
CODES: Final[dict[bytes, Literal["B", "H", "I", "Q"]]] = {b"|u1": "B", b"<u2": "H", b"<u4": "I", b"<u8": "Q"}


class TablesError(Exception):
    """The root of what this reader raises; its leaves follow."""


class TablesMissingError(TablesError):
    """No such file, or nothing published yet: answer nothing."""


class TablesVersionError(TablesError):
    """Another layout version, kind, byte order or list key."""


class TablesDamagedError(TablesError):
    """The bytes contradict their header, checksum or bounds."""


def require(holds: bool, error: type[TablesError], *message: object) -> None:
    """Raise `error` unless it holds."""
    if not holds:
        raise error(": ".join(map(str, message)))


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Call it damage when a number points outside its table, or at a section or kind that is not there."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise TablesDamagedError(*error.args) from error


@damage()
def open_container(path: Path) -> dict[str, memoryview]:
    """Map a file read-only, check its header, checksum and sections, and return them by name (The container)."""
    table, _, number = path.name.partition("-")
    try:
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise TablesMissingError(path) from error
    require(len(data) >= 64 and bytes(data[:8]) == b"SEKISHO\0", TablesDamagedError, path, "not a table")
    order, version, found, epoch, size, count, flags, checksum = struct.unpack_from("<IHHQQII16s", data, 8)
    require(order == data[8:12].cast("I")[0] == 0x01020304, TablesVersionError, path, "another byte order")
    require((found, version) == KINDS[table], TablesVersionError, path, f"kind {found}, version {version}")
    fits = size == len(data) >= 64 + 64 * count and number in ("", str(epoch))
    require(fits, TablesDamagedError, path, f"{len(data)} bytes, said to have {size} and be number {epoch}")
    good = not flags & 1 or blake2b(data[64:], digest_size=16).digest() == checksum
    require(good, TablesDamagedError, path, "checksum")
    sections = {}
    for entry in range(count):
        raw, dtype, rows, columns, offset, length = struct.unpack_from("<24s8sQQQQ", data, 64 + 64 * entry)
        name, code = raw.rstrip(b"\0").decode("latin-1"), CODES[dtype.rstrip(b"\0")]
        fits = offset % 64 == 0 and offset + length <= size and length == rows * (columns or 1) * struct.calcsize(code)
        require(fits, TablesDamagedError, path, name, "does not fit")
        flat = data[offset : offset + length]
        sections[name] = flat.cast(code, [rows, columns]) if rows and columns else flat.cast(code)
    return sections


def split_name(wire: bytes) -> list[bytes]:
    """Return the labels of an uncompressed name, lower case, leftmost first; the root has none."""
    return [wire[1 : 1 + wire[0]].lower(), *split_name(wire[1 + wire[0] :])] if wire and wire[0] else []


def _rounds(v0: int, v1: int, v2: int, v3: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        v0, v2 = (v0 + v1) & WORD, (v2 + v3) & WORD
        v1, v3 = (v1 << 13 | v1 >> 51) & WORD ^ v0, (v3 << 16 | v3 >> 48) & WORD ^ v2
        v0, v2 = ((v0 << 32 | v0 >> 32) + v3) & WORD, (v2 + v1) & WORD
        v3, v1 = (v3 << 21 | v3 >> 43) & WORD ^ v0, (v1 << 17 | v1 >> 47) & WORD ^ v2
        v2 = (v2 << 32 | v2 >> 32) & WORD
    return v0, v1, v2, v3


def digests(labels: list[bytes], key: bytes) -> Iterator[tuple[int, int]]:
    """Yield the digest of each suffix, from the top label down (Names: the digest)."""
    k0, k1 = struct.unpack("<QQ", key)
    v0, v1, v2, v3 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F83, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    for label in reversed(labels):
        block = bytes([len(label)]) + label
        for (word,) in struct.iter_unpack("<Q", block + bytes(-len(block) % 8)):
            v0, v1, v2, v3 = _rounds(v0, v1, v2, v3 ^ word, 2)
            v0 ^= word
        f0, f1, f2, f3 = _rounds(v0, v1, v2 ^ 0xEE, v3, 4)
        g0, g1, g2, g3 = _rounds(f0, f1 ^ 0xDD, f2, f3, 4)
        yield f0 ^ f1 ^ f2 ^ f3 or 1, g0 ^ g1 ^ g2 ^ g3


def prefix_labels(address: int, length: int, top: bytes) -> list[bytes]:
    """Return the labels a prefix of the 128-bit space is digested as (Prefixes)."""
    shift = 128 - length
    return [bytes([length]) + (address >> shift << shift).to_bytes(16, "big"), top]
