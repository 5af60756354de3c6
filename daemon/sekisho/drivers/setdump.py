"""The elements of a set of nftables, read from netlink as arrays: a hundred thousand with their counters in a moment.

libnftables writes each element as text, which takes seconds for as many. Reads only. The layout is that of
linux/netfilter/nf_tables.h; all elements of one set have the same, so that it is worked out once a message.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.model.errors import UnavailableError

_NETFILTER, _GETRULE, _GETSETELEM = 12, 10 << 8 | 7, 10 << 8 | 13
_RULE_TABLE = 1
_REQUEST_DUMP, _INTERRUPTED = 0x301, 0x10
_ERROR, _DONE = 2, 3
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_KEY, _DATA, _EXPR, _OBJECT = 1, 2, 7, 9
_VALUE, _EXPR_DATA, _BYTES, _PACKETS = 1, 2, 1, 2
_HEADERS = 20
_FAMILIES = {"inet": 1, "netdev": 5}
_TRIES = 5
_BUFFER = 1 << 20

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Elements:
    """`keys` uint8 (n, 4 or 16): addresses. `data` uint32 (n) in the machine's order, of a map of values; `names` of a map of objects;
    `packets` and `bytes_` uint64 (n), zero without counters.
    """

    keys: NDArray[np.uint8]
    data: NDArray[np.uint32]
    names: tuple[str, ...]
    packets: NDArray[np.uint64]
    bytes_: NDArray[np.uint64]


class SetDump:
    """One netlink socket, of the network namespace of the thread it is made in."""

    def __init__(self) -> None:
        """Raises UnavailableError."""
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
            self._socket.bind((0, 0))
            self._socket.settimeout(10)
        except OSError as error:
            raise UnavailableError(f"nftables: no netlink socket ({error.strerror}); see RestrictAddressFamilies= of the unit") from error

    def close(self) -> None:
        self._socket.close()

    def read(self, family: str, table: str, name: str, width: int) -> Elements:
        """The elements of a set, whose keys have `width` bytes. Raises UnavailableError."""
        try:
            for _ in range(_TRIES):
                parts = self._read(family, table, name)
                if parts is not None:
                    return _together([_decode(part, width) for part in parts], width)
        except OSError as error:
            raise UnavailableError(f"nftables: the set {name} cannot be read ({error.strerror}); see `nft list ruleset`") from error
        except (struct.error, IndexError, ValueError) as error:
            raise UnavailableError(f"nftables: the set {name} is told in a form that is not known; see `nft list ruleset`") from error
        raise UnavailableError(f"nftables: the set {name} changes faster than it can be read; it is tried again")

    def rules(self, family: str, table: str) -> bytes:
        """The rules of a table as the kernel tells them: equal for as long as nobody writes them. Raises UnavailableError."""
        try:
            told = self._messages(family, _GETRULE, _text(_RULE_TABLE, table))
        except OSError as error:
            raise UnavailableError(f"nftables: the rules cannot be read ({error.strerror}); see `nft list ruleset`") from error
        return b"".join(told or [])

    def _read(self, family: str, table: str, name: str) -> list[bytes] | None:
        """The nested attributes of elements, a message each; None: something changed meanwhile."""
        told = self._messages(family, _GETSETELEM, _text(_LIST_TABLE, table) + _text(_LIST_SET, name))
        if told is None:
            return None
        return [one[first:last] for one in told for what, first, last in _attributes(one, 0, len(one)) if what == _LIST_ELEMENTS]

    def _messages(self, family: str, asked: int, attributes: bytes) -> list[bytes] | None:
        """The attributes of every message of a dump; None: something changed meanwhile."""
        body = struct.pack("=BBH", _FAMILIES[family], 0, 0) + attributes
        self._socket.send(struct.pack("=IHHII", 16 + len(body), asked, _REQUEST_DUMP, 1, 0) + body)
        parts: list[bytes] = []
        whole = True
        while True:
            data = self._socket.recv(_BUFFER)
            at = 0
            while at < len(data):
                length, kind, flags, _, _ = struct.unpack_from("=IHHII", data, at)
                whole &= not flags & _INTERRUPTED
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", data, at + 16)[0]
                    raise OSError(code, f"error {code}")
                if kind == _DONE:
                    return parts if whole else None
                parts.append(data[at + _HEADERS : at + length])
                at += length + 3 & ~3


def _text(kind: int, value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _attributes(data: bytes, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Kind, and where its content begins and ends, of each attribute."""
    while first + 4 <= last:
        length, kind = struct.unpack_from("=HH", data, first)
        if length < 4 or first + length > last:
            raise ValueError
        yield kind & 0x3FFF, first + 4, first + length
        first += length + 3 & ~3


def _within(data: bytes, span: Span, *path: int) -> Span | None:
    """Where the content of an attribute within others lies."""
    for wanted in path:
        found = next(((first, last) for kind, first, last in _attributes(data, *span) if kind == wanted), None)
        if found is None:
            return None
        span = found
    return span


def _decode(part: bytes, width: int) -> Elements:
    """The elements of one message: at once where all are of one length, else one after the other."""
    if not part:
        return _together([], width)
    size = struct.unpack_from("=H", part)[0] + 3 & ~3
    rows = len(part) // size
    cells = np.frombuffer(part, np.uint8, rows * size).reshape(rows, size)
    head = struct.unpack_from("=I", part)[0]
    if rows * size == len(part) and bool((cells[:, :4].copy().view(np.uint32) == head).all()) and not _within(part, (4, size), _OBJECT):
        return _rows(part, cells, (4, size), width)
    each = [part[first:last] for _, first, last in _attributes(part, 0, len(part))]
    return _together([_rows(one, np.frombuffer(one, np.uint8).reshape(1, -1), (0, len(one)), width) for one in each], width)


def _rows(part: bytes, cells: NDArray[np.uint8], span: Span, width: int) -> Elements:
    """Elements that are laid out as the first is, which lies in `span`."""
    key = _within(part, span, _KEY, _VALUE)
    if key is None or key[1] - key[0] != width:
        raise ValueError
    data, counter, name = _within(part, span, _DATA, _VALUE), _within(part, span, _EXPR, _EXPR_DATA), _within(part, span, _OBJECT)
    count = len(cells)
    numbers = [np.zeros(count, np.uint64), np.zeros(count, np.uint64)]
    for place, kind in enumerate((_PACKETS, _BYTES)):
        at = _within(part, counter, kind) if counter is not None else None
        if at is not None:
            numbers[place] = cells[:, at[0] : at[1]].copy().view(">u8")[:, 0].astype(np.uint64)
    values = cells[:, data[0] : data[0] + 4].copy().view(np.uint32)[:, 0] if data is not None else np.zeros(count, np.uint32)
    names = (part[name[0] : name[1]].rstrip(b"\0").decode(),) * count if name is not None else ("",) * count
    return Elements(cells[:, key[0] : key[1]].copy(), values, names, numbers[0], numbers[1])


def _together(parts: list[Elements], width: int) -> Elements:
    if not parts:
        return Elements(np.zeros((0, width), np.uint8), np.zeros(0, np.uint32), (), np.zeros(0, np.uint64), np.zeros(0, np.uint64))
    return Elements(
        np.concatenate([one.keys for one in parts]),
        np.concatenate([one.data for one in parts]),
        tuple(name for one in parts for name in one.names),
        np.concatenate([one.packets for one in parts]),
        np.concatenate([one.bytes_ for one in parts]),
    )
