"""The live sessions in columns: a million of them are some arrays and lists, and nothing for the collector to walk."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.sessions import CGN, Session, Share
from sekisho.sessions.counters import Reading

_STEP = 1024


def code_of(prefix: Prefix) -> int:
    """A prefix as one number."""
    return prefix.value << 8 | prefix.length


def prefix_of(code: int) -> Prefix:
    return Prefix(code >> 8, code & 0xFF)


def parted(codes: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint8]]:
    """Codes as columns: the high and the low half of each value, and its length."""
    octets = np.frombuffer(b"".join(map(int.to_bytes, codes, repeat(17))), np.uint8).reshape(-1, 17)
    high, low = (np.ascontiguousarray(octets[:, start : start + 8]).view(">u8").ravel().astype(np.uint64) for start in (0, 8))
    return high, low, octets[:, 16].copy()


def without(prefix: Prefix, addresses: Sequence[Prefix]) -> list[Prefix]:
    """What is left of a prefix without some of its addresses (of full length, in their order), as few prefixes."""
    if not addresses:
        return [prefix]
    if prefix.length == 128:
        return []
    half = prefix.length + 1
    middle = prefix.value | 1 << (128 - half)
    lower = [one for one in addresses if one.value < middle]
    return [*without(Prefix(prefix.value, half), lower), *without(Prefix(middle, half), addresses[len(lower) :])]


def is_v4(code: int) -> bool:
    return code >> 40 == V4_MAPPED >> 32


class Columns:
    """Rows of sessions; a row that is free has the number 0."""

    def __init__(self) -> None:
        self.number = array("Q")
        """Of the session, for ever its own."""
        self.nas = array("I")
        self.ids: list[str] = []
        self.users: list[str] = []
        self.customers: list[str | None] = []
        self.since = array("d")
        self.seen = array("d")
        self.down = array("Q")
        self.up = array("Q")
        self.seconds = array("q")
        self.wide = bytearray()
        self.untold = bytearray()
        """1: it began before it was heard of, and has told of no octets yet: those it tells first are of before. A restart forgets it."""
        self.ending = bytearray()
        """1: its NAS restarted since, and its end is still to be carried out."""
        self.prefixes: list[tuple[int, ...]] = []
        self.shares: list[tuple[Share, ...]] = []
        self.nases: list[str] = []
        self.doubted: dict[int, Reading] = {}
        """By row: the report that came last, where it could not follow the one that is known."""
        self.cgn: list[bool] = []
        """By the number of the NAS: its sessions are blocks of ports that a CGN reported."""
        self._nas_numbers: dict[str, int] = {}
        self._free: list[int] = []

    def nas_number(self, nas: str) -> int:
        number = self._nas_numbers.get(nas)
        if number is None:
            number = self._nas_numbers[nas] = len(self.nases)
            self.nases.append(nas)
            self.cgn.append(nas.startswith(CGN))
        return number

    def is_block(self, row: int) -> bool:
        """Whether a session is a block of ports that a CGN reported, and no log-in."""
        return self.cgn[self.nas[row]]

    def take(self) -> int:
        """A free row."""
        if not self._free:
            begin = len(self.ids)
            zeros = bytes(8 * _STEP)
            for column in (self.number, self.since, self.seen, self.down, self.up, self.seconds):
                column.frombytes(zeros)
            self.nas.frombytes(bytes(4 * _STEP))
            self.wide.extend(bytes(_STEP))
            self.untold.extend(bytes(_STEP))
            self.ending.extend(bytes(_STEP))
            for names in (self.ids, self.users):
                names.extend(repeat("", _STEP))
            self.customers.extend(repeat(None, _STEP))
            self.prefixes.extend(repeat((), _STEP))
            self.shares.extend(repeat((), _STEP))
            self._free = list(range(begin + _STEP - 1, begin - 1, -1))
        return self._free.pop()

    def give(self, row: int) -> None:
        """Make a row free."""
        self.number[row] = self.ending[row] = self.untold[row] = 0
        self.ids[row] = self.users[row] = ""
        self.customers[row] = None
        self.prefixes[row] = ()
        self.shares[row] = ()
        self.doubted.pop(row, None)
        self._free.append(row)

    def numbers(self) -> NDArray[np.uint64]:
        """A copy, like the next two: while a view is about no row can be added."""
        return np.array(self.number, np.uint64)

    def last_seen(self) -> NDArray[np.float64]:
        return np.array(self.seen, np.float64)

    def nas_numbers(self) -> NDArray[np.uint32]:
        return np.array(self.nas, np.uint32)

    def reading(self, row: int) -> Reading:
        """The counters as they were told last."""
        return Reading(self.down[row], self.up[row], self.seconds[row], bool(self.wide[row]), self.seen[row])

    def session(self, row: int) -> Session:
        return Session(
            self.nases[self.nas[row]],
            self.ids[row],
            self.users[row],
            self.customers[row],
            self.since[row],
            self.seen[row],
            tuple(map(prefix_of, self.prefixes[row])),
            self.shares[row],
            self.down[row],
            self.up[row],
        )
