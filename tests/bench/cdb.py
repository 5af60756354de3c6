"""A constant database (cr.yp.to/cdb/cdb.txt) with the wire form of names as keys: what dnsdist looks blocked names up in."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from bench.names import wire

TABLES = 256


def write(path: Path, names: Iterable[str]) -> None:
    """Write the names, each with a value of one byte."""
    body = bytearray(TABLES * 8)
    slots: list[list[tuple[int, int]]] = [[] for _ in range(TABLES)]
    for name in names:
        key = wire(name)
        mark = _hash(key)
        slots[mark % TABLES].append((mark, len(body)))
        body += struct.pack("<II", len(key), 1) + key + b"1"
    for number, entries in enumerate(slots):
        size = 2 * len(entries)
        table = [(0, 0)] * size
        for mark, position in entries:
            place = mark // TABLES % size
            while table[place][1]:
                place = (place + 1) % size
            table[place] = (mark, position)
        struct.pack_into("<II", body, number * 8, len(body), size)
        body += b"".join(struct.pack("<II", *entry) for entry in table)
    path.write_bytes(body)


def _hash(key: bytes) -> int:
    value = 5381
    for byte in key:
        value = ((value << 5) + value & 0xFFFFFFFF) ^ byte
    return value
