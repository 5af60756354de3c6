"""Our tables of nftables as they are: what is in them, and whether they are as we make them.

Reads only, and everything from netlink: what it compares with is what `enforce.rules` has libnftables make.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.setdump import Elements, Limit, SetDump
from sekisho.enforce.rules import FAMILIES, NAME, family_of, set_body, table_named
from sekisho.enforce.state import MAJOR, Role, State, Table, class_word, limit_name, number_of

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.0)
"""Seconds between readings of a set that was not told as a whole."""
_SAME = 10
"""Connections at once that a limit lets through at most, before its rate counts."""


_MINUTE, _INVERSE = 60, 1
"""Seconds, and NFT_LIMIT_F_INV (linux/netfilter/nf_tables.h)."""
_IPV4, _IPV6, _CLASSID = 7, 8, 23
"""Numbers of types in libnftables (datatype.h)."""
_MAP, _OBJECTS, _ANONYMOUS = 0x8, 0x40, 0x1
_LIMIT_OBJECT = 4
_SET_TOLD = frozenset({1, 2, 13, 14, 16, 19, 20})
"""Attributes of a set that say nothing of how it was made: names, numbers, notes of a library."""


@dataclass(frozen=True, slots=True)
class FoundTables:
    """What was read. `broken`: families whose table is not as we make it, and is made anew; nothing of it is in `state`.

    `whole`: nothing of it may be missing. `prints`: equal for tables whose chains and rules are the same; what is written anew has
    other numbers in the kernel.
    """

    state: State
    broken: frozenset[str] = frozenset()
    prints: Mapping[str, bytes] = field(default_factory=dict)
    chains: Mapping[str, frozenset[str]] = field(default_factory=dict)
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Counted:
    """Counters of a table: `keys` void of 4 or 16 octets (n), `packets` and `bytes_` uint64 (n). `whole`: of all addresses in it."""

    keys: NDArray[np.void]
    packets: NDArray[np.uint64]
    bytes_: NDArray[np.uint64]
    whole: bool = True

    def after(self, last: Counted | None) -> Counted:
        """With what was counted last of addresses that are missing here, and each address once."""
        if self.whole or last is None:
            return self
        known = dict(zip(last.keys.tolist(), zip(last.packets.tolist(), last.bytes_.tolist(), strict=True), strict=True))
        known |= zip(self.keys.tolist(), zip(self.packets.tolist(), self.bytes_.tolist(), strict=True), strict=True)
        numbers = np.array(list(known.values()), np.uint64).reshape(-1, 2)
        keys = np.frombuffer(b"".join(known), f"V{self.keys.itemsize}")
        return Counted(keys, numbers[:, 0].copy(), numbers[:, 1].copy())


class TableReader:
    """What is in the tables, through a socket of its own: beside it the tables may be written from another thread."""

    def __init__(self) -> None:
        """Raises UnavailableError."""
        self._dump = SetDump()

    def close(self) -> None:
        self._dump.close()

    def read(self) -> FoundTables:
        """All of ours. Raises UnavailableError, such as for want of CAP_NET_ADMIN."""
        there = self._dump.tables()
        entries: dict[Table, dict[bytes, str]] = {}
        limits: dict[str, int] = {}
        broken, prints, chains_, whole = set(), {}, {}, True
        for family in FAMILIES:
            if NAME not in there[family]:
                continue
            self._dump.torn = False
            prints[family], chains_[family] = self.print_(family)
            tables = self._sets(family)
            known, others = self._dump.limits(family, NAME)
            whole &= not self._dump.torn
            good = {name: one.rate for name, one in known.items() if _is_ours(name, one)}
            if there[family][NAME] or tables is None or others or len(good) != len(known):
                broken.add(family)
                continue
            limits |= good
            for table in tables:
                entries[table], all_ = self._entries(family, table)
                whole &= all_
        return FoundTables(State(entries, limits), frozenset(broken), prints, chains_, whole)

    def print_(self, family: str) -> tuple[bytes, frozenset[str]]:
        """Chains and rules of a table as the kernel tells them, and the names of the chains."""
        known = self._dump.chains(family, NAME)
        return b"".join(known[name] for name in sorted(known)) + self._dump.rules(family, NAME), frozenset(known)

    def families(self) -> list[str]:
        """Those in which there is a table of ours."""
        return [family for family, names in self._dump.tables().items() if NAME in names]

    def some(self, keys: Mapping[Table, Iterable[bytes]], limits: Iterable[str]) -> State:
        """What there is of some entries and limits."""
        entries = {}
        for table, given in keys.items():
            parts = self._dump.some(family_of(table.role), NAME, table.name, _width(table), list(given))
            entries[table] = _words(table, parts)
        found = self._dump.some_limits("inet", NAME, limits)
        return State(entries, {name: one.rate for name, one in found.items() if _is_ours(name, one)})

    def counts(self, role: Role, tables: Iterable[Table]) -> dict[Table, Counted]:
        """Packets and bytes counted for each address of a role."""
        found: dict[Table, Counted] = {}
        for table in tables:
            if table.role is role:
                told = self._dump.read(family_of(role), NAME, table.name, _width(table))
                if told.parts:
                    columns = zip(*((one.keys, one.packets, one.bytes_) for one in told.parts), strict=True)
                    keys, packets, bytes_ = map(np.concatenate, columns)
                    found[table] = Counted(keys, packets, bytes_, told.whole and len(set(keys.tolist())) == len(keys))
        return found

    def _sets(self, family: str) -> list[Table] | None:
        """Our sets; None: one is not as we make it."""
        found = []
        for name, told in self._dump.sets(family, NAME).items():
            if int.from_bytes(told.get(3, b""), "big") & _ANONYMOUS:
                continue
            table = table_named(name)
            if table is None or family_of(table.role) != family or _made(told) != _as_made(table):
                return None
            found.append(table)
        return found

    def _entries(self, family: str, table: Table) -> tuple[dict[bytes, str], bool]:
        """What each address of a table stands for, and whether none is missing.

        What is missing in one reading is in the next: they are put together, until there are as many as there should be.
        """
        found: dict[bytes, str] = {}
        for pause in _PAUSES:
            told = self._dump.read(family, NAME, table.name, _width(table))
            found |= _words(table, told.parts)
            if told.whole and len(found) == len(told):
                return found, True
            time.sleep(pause)
        return found, False


@lru_cache
def limit_of(per_minute: int) -> Limit:
    return Limit(per_minute, _MINUTE, min(per_minute, _SAME), _INVERSE, 0)


def _is_ours(name: str, limit: Limit) -> bool:
    """Whether a limit is as we make it, and has the name we give to such a one."""
    number = number_of(name)
    return number is not None and name == limit_name(number, limit.rate) and limit == limit_of(limit.rate)


def _made(told: Mapping[int, bytes]) -> dict[int, int | bytes]:
    """How a set was made, by attributes; those that are empty say nothing."""
    found: dict[int, int | bytes] = {}
    for kind, content in told.items():
        if kind in _SET_TOLD or not content:
            continue
        # Of what is done at each element the name is enough: it has a length and is text.
        found[kind] = content[4 : 4 + len(_COUNTER)] if kind == _SET_EXPR else int.from_bytes(content, "big")
    return found


_SET_EXPR = 17
_COUNTER = b"counter\0"


def _as_made(table: Table) -> dict[int, int | bytes]:
    kind, body = set_body(table)
    found: dict[int, int | bytes] = {4: _IPV6 if table.six else _IPV4, 5: _width(table)}
    if kind == "map":
        found |= {3: _OBJECTS, 15: _LIMIT_OBJECT} if body["map"] == "limit" else {3: _MAP, 6: _CLASSID, 7: 4}
    if "stmt" in body:
        found[_SET_EXPR] = _COUNTER
    return found


def _words(table: Table, parts: Iterable[Elements]) -> dict[bytes, str]:
    """What each address of a table stands for."""
    found: dict[bytes, str] = {}
    for one in parts:
        keys = one.keys.tolist()
        if table.role is Role.MAIL:
            found.update(zip(keys, one.names, strict=True))
        elif table.role in {Role.DOWN, Role.UP}:
            found.update(zip(keys, map(_class, one.data.tolist()), strict=True))
        else:
            found.update(dict.fromkeys(keys, ""))
    return found


def _class(value: int) -> str:
    return class_word(value & 0xFFFF) if value >> 16 == MAJOR else f"{value >> 16:x}:{value & 0xFFFF:x}"


def _width(table: Table) -> int:
    return 16 if table.six else 4
