"""What our tables of nftables hold, read from netlink: a hundred thousand elements with their counters in a moment.

libnftables makes an object of each element and writes it as text, which takes seconds for as many. Reads only. The layout is
that of linux/netfilter/nf_tables.h; elements of one length are laid out alike, so that it is worked out once for them.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.netlink import NETFILTER, Message, Netlink, Told, attribute, attributes, table_of, text, within
from sekisho.model.errors import UnavailableError

SUBSYSTEM = 10 << 8
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM, _GETOBJ, _GETFLOWTABLE = (SUBSYSTEM | one for one in (1, 4, 7, 10, 13, 19, 23))
_TABLE, _NAME = 1, 2
_LIST_ELEMENTS, _ELEMENT = 3, 1
_KEY, _DATA, _EXPR, _OBJECT = 1, 2, 7, 9
_VALUE, _EXPR_DATA, _BYTES, _PACKETS = 1, 2, 1, 2
_SET_COUNT = 20
_OBJECT_TYPE, _OBJECT_DATA = 3, 4
LIMIT = 4
"""NFT_OBJECT_LIMIT."""
_LIMIT_KIND = LIMIT.to_bytes(4, "big")
_BODY = 4
"""Octets of the header of a message of nfnetlink, in which there is a number of the last change to anything."""
FAMILIES = {"inet": 1, "netdev": 5}
_TRIES = 5
_TURN = 256
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Elements:
    """`keys` void of 4 or 16 octets (n): addresses. `data` uint32 (n) in the machine's order, of a map of values; `names` of a map of
    objects; `packets` and `bytes_` uint64 (n), zero without counters.
    """

    keys: NDArray[np.void]
    data: NDArray[np.uint32]
    names: tuple[str, ...]
    packets: NDArray[np.uint64]
    bytes_: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Dumped:
    """Elements of a set. `whole` is false where something changed meanwhile: some may be missing, and others be told twice.

    That is so too, and not told by the kernel, while it gives a set that grew more room: then there are as many as there should
    be, some of them twice and others not.
    """

    parts: list[Elements]
    whole: bool

    def __len__(self) -> int:
        return sum(len(one.keys) for one in self.parts)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as it is: so many in so many seconds, at once, and whether it holds beyond them (`inverse`)."""

    rate: int
    unit: int
    burst: int
    flags: int
    kind: int


class SetDump:
    """One netlink socket, of the network namespace of the thread it is made in."""

    def __init__(self) -> None:
        """Raises UnavailableError."""
        try:
            self._netlink = Netlink(NETFILTER)
        except OSError as error:
            raise UnavailableError(f"nftables: no netlink socket ({error.strerror}); see RestrictAddressFamilies= of the unit") from error
        self.torn = False
        """Whether something changed while anything was read, since whoever reads took this back."""

    def close(self) -> None:
        self._netlink.close()

    def tables(self) -> dict[str, dict[str, int]]:
        """Names of the tables that are there, by family, and the flags of each. Raises UnavailableError."""
        found: dict[str, dict[str, int]] = {}
        for family in FAMILIES:
            parts = [table_of(one, _BODY) for one in self._dump(family, _GETTABLE).parts]
            found[family] = {_word(one[_TABLE]): int.from_bytes(one.get(2, b""), "big") for one in parts}
        return found

    def chains(self, family: str, table: str) -> dict[str, bytes]:
        """The chains of a table, by name, and how the kernel tells each. Raises UnavailableError."""
        parts = [(one, table_of(one, _BODY)) for one in self._dump(family, _GETCHAIN).parts]
        return {_word(known[3]): one[_BODY:] for one, known in parts if _word(known[_TABLE]) == table}

    def rules(self, family: str, table: str) -> bytes:
        """The rules of a table as the kernel tells them: equal for as long as nobody writes them. Raises UnavailableError."""
        return b"".join(one[_BODY:] for one in self._dump(family, _GETRULE, text(_TABLE, table)).parts)

    def sets(self, family: str, table: str) -> dict[str, dict[int, bytes]]:
        """The sets of a table that have names, by name: attributes by kind. Raises UnavailableError."""
        parts = [table_of(one, _BODY) for one in self._dump(family, _GETSET, text(_TABLE, table)).parts]
        return {_word(one[_NAME]): one for one in parts if _word(one[_TABLE]) == table}

    def limits(self, family: str, table: str) -> tuple[dict[str, Limit], int]:
        """The limits of a table by name, and how many objects of other kinds it has. Raises UnavailableError."""
        found: dict[str, Limit] = {}
        others = len([one for one in self._dump(family, _GETFLOWTABLE).parts if _word(table_of(one, _BODY)[_TABLE]) == table])
        name = text(_TABLE, table)
        for number, one in enumerate(self._dump(family, _GETOBJ, name, torn=True).parts):
            if one[_BODY : _BODY + len(name)] != name:
                continue
            limit = _limit(one)
            if limit is None:
                others += 1
            else:
                found[limit[0]] = limit[1]
            if not number % _TURN:
                time.sleep(0)
        return found, others

    def read(self, family: str, table: str, name: str, width: int) -> Dumped:
        """The elements of a set, whose keys have `width` bytes. Raises UnavailableError."""
        told = self._dump(family, _GETSETELEM, text(_TABLE, table) + text(_NAME, name), torn=True)
        parts: list[Elements] = []
        try:
            for part in told.parts:
                # Whoever waits for the interpreter has it now, and not after its interval.
                time.sleep(0)
                for what, first, last in attributes(part, _BODY):
                    if what == _LIST_ELEMENTS:
                        parts += decode(part[first:last], width)
        except (struct.error, IndexError, ValueError) as error:
            raise UnavailableError(f"nftables: the set {name} is told in a form that is not known; see `nft list ruleset`") from error
        return Dumped(parts, told.whole)

    def some(self, family: str, table: str, name: str, width: int, keys: Sequence[bytes]) -> Iterator[Elements]:
        """Those of some elements that are there. Raises UnavailableError."""
        head = _header(family) + text(_TABLE, table) + text(_NAME, name)
        requests = [
            Message(_GETSETELEM, 0, head + attribute(_LIST_ELEMENTS, attribute(_ELEMENT, attribute(_KEY, attribute(_VALUE, key)))))
            for key in keys
        ]
        for told in self._ask(requests):
            for what, first, last in attributes(told, _BODY):
                if what == _LIST_ELEMENTS:
                    yield from decode(told[first:last], width)

    def some_limits(self, family: str, table: str, names: Iterable[str]) -> dict[str, Limit]:
        """Those of some limits that are there. Raises UnavailableError."""
        kind = attribute(_OBJECT_TYPE, LIMIT.to_bytes(4, "big"))
        requests = [Message(_GETOBJ, 0, _header(family) + text(_TABLE, table) + text(_NAME, name) + kind) for name in names]
        return dict(limit for told in self._ask(requests) if (limit := _limit(told)) is not None)

    def _ask(self, requests: Sequence[Message]) -> Iterator[bytes]:
        for first in range(0, len(requests), _AT_ONCE):
            try:
                answers = self._netlink.ask(requests[first : first + _AT_ONCE])
            except OSError as error:
                raise _unread(error) from error
            for code in answers.errors.values():
                if code != _NOTHING:
                    raise _unread(OSError(code, os.strerror(code)))
            yield from answers.told.values()

    def _dump(self, family: str, asked: int, given: bytes = b"", *, torn: bool = False) -> Told:
        """`torn`: it takes long, and is not tried again where something changed meanwhile."""
        try:
            for _ in range(1 if torn else _TRIES):
                told = self._netlink.dump(asked, _header(family) + given)
                if told.whole:
                    return told
        except OSError as error:
            if error.errno == _NOTHING:
                return Told([])
            raise _unread(error) from error
        self.torn = True
        return told


_NOTHING = 2
"""ENOENT: there is no such table, set or element."""


def _unread(error: OSError) -> UnavailableError:
    hint = "give the daemon CAP_NET_ADMIN" if error.errno in {1, 13} else "see `nft list ruleset`"
    return UnavailableError(f"nftables: the tables cannot be read ({error.strerror}); {hint}")


def _header(family: str) -> bytes:
    return struct.pack("=BBH", FAMILIES[family], 0, 0)


def _word(content: bytes) -> str:
    return content.partition(b"\0")[0].decode(errors="replace")


def _limit(told: bytes) -> tuple[str, Limit] | None:
    """Name and content of an object that is a limit."""
    known = table_of(told, _BODY)
    if known.get(_OBJECT_TYPE) != _LIMIT_KIND or _OBJECT_DATA not in known:
        return None
    return _word(known[_NAME]), _content(known[_OBJECT_DATA])


@lru_cache
def _content(told: bytes) -> Limit:
    """Most limits are the same."""
    known = table_of(told)
    rate, unit, burst, kind, flags = (int.from_bytes(known.get(one, b""), "big") for one in range(1, 6))
    return Limit(rate, unit, burst, flags, kind)


def decode(part: bytes, width: int) -> Iterator[Elements]:
    """The elements of one message: those of one length at once. Raises ValueError for a form that is not known."""
    if not part:
        return
    size = struct.unpack_from("=H", part)[0] + 3 & ~3
    rows = len(part) // size if size else 0
    cells = np.frombuffer(part, np.uint8)
    if rows * size == len(part):
        table = cells.reshape(rows, size)
        if bool((table[:, :4] == table[0, :4]).all()):
            yield _rows(part, table, (4, size), width)
            return
    by_size: dict[int, list[int]] = {}
    for _, first, last in attributes(part):
        by_size.setdefault(last - first + 7 & ~3, []).append(first - 4)
    for length, starts in by_size.items():
        table = cells[np.array(starts)[:, None] + np.arange(length)]
        yield _rows(table[0].tobytes(), table, (4, length), width)


def _rows(part: bytes, cells: NDArray[np.uint8], span: tuple[int, int], width: int) -> Elements:
    """Elements that are laid out as the first is, which lies in `span`."""
    key = within(part, span, _KEY, _VALUE)
    if key is None or key[1] - key[0] != width or not bool((cells[:, span[0] : key[0]] == cells[0, span[0] : key[0]]).all()):
        raise ValueError
    data, counter, name = within(part, span, _DATA, _VALUE), within(part, span, _EXPR, _EXPR_DATA), within(part, span, _OBJECT)
    count = len(cells)
    numbers = [np.zeros(count, np.uint64), np.zeros(count, np.uint64)]
    for place, kind in enumerate((_PACKETS, _BYTES)):
        at = within(part, counter, kind) if counter is not None else None
        if at is not None:
            numbers[place] = cells[:, at[0] : at[1]].copy().view(">u8")[:, 0].astype(np.uint64)
    values = cells[:, data[0] : data[0] + 4].copy().view(np.uint32)[:, 0] if data is not None else np.zeros(count, np.uint32)
    names: tuple[str, ...] = ()
    if name is not None:
        # Names end with a zero; the last may be one of filling up.
        words = cells[:, name[0] : name[1] + 3 & ~3].copy()
        names = tuple(one.partition(b"\0")[0].decode() for one in words.view(f"V{words.shape[1]}")[:, 0].tolist())
    keys = cells[:, key[0] : key[1]].copy().view(f"V{width}")[:, 0]
    return Elements(keys, values, names, numbers[0], numbers[1])
