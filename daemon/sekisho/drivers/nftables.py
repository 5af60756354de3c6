"""Our tables of nftables, read and written through libnftables as JSON: every change is one transaction.

Owns the two tables named `sekisho` (`enforce.rules`) and never names another one. The library does what its program `nft`
does, without a process for each change. All calls from one thread: a handle of the library is not shared.
"""

from __future__ import annotations

import ctypes
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.setdump import SetDump
from sekisho.enforce.difference import Change
from sekisho.enforce.rules import FAMILIES, NAME, Chain, Json, Names, chains, family_of, set_body, table_named
from sekisho.enforce.state import Entry, Role, State, Table, limit_name, number_of
from sekisho.enforce.wanted import Where
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.errors import UnavailableError

_LIBRARY = "libnftables.so.1"
_JSON, _TERSE = 1 << 4, 1 << 11
"""NFT_CTX_OUTPUT_JSON, NFT_CTX_OUTPUT_TERSE (nftables/libnftables.h)."""
_SAME = 10
"""Connections at once that a limit lets through at most, before its rate counts."""


@dataclass(frozen=True, slots=True)
class FoundTables:
    """What was read. `broken`: families whose table is not as we make it, and is made anew; nothing of it is in `state`."""

    state: State
    broken: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Family:
    """One of our tables as it was read."""

    present: bool = False
    broken: bool = False
    chains: dict[str, Json] = field(default_factory=dict)
    rules: bytes = b""
    tables: set[Table] = field(default_factory=set)
    entries: dict[Entry, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def print_(self) -> str:
        return _print(self.chains, self.rules)


class Nftables:
    """The tables, through one handle of the library."""

    def __init__(self) -> None:
        """Raises UnavailableError if there is no library, or no handle to be had."""
        self._library = _load()
        self._handle = self._library.nft_ctx_new(0)
        if not self._handle or self._library.nft_ctx_buffer_output(self._handle) or self._library.nft_ctx_buffer_error(self._handle):
            raise UnavailableError("libnftables gives no handle; see that there is memory")
        self._dump = SetDump()
        self._present: dict[str, dict[str, Json]] = {}
        """Our families that are there, with the chains of each."""
        self._written: tuple[Chain, ...] | None = None
        """Chains and rules as they stand in the kernel; None: not known."""
        self._prints: dict[str, str] = {}

    def close(self) -> None:
        if self._handle:
            self._library.nft_ctx_free(self._handle)
            self._handle = None
            self._dump.close()

    def read(self) -> FoundTables:
        """All of ours. Raises UnavailableError, such as for want of CAP_NET_ADMIN."""
        found = self._families()
        for name, one in found.items():
            if not one.broken:
                for table in one.tables:
                    one.entries |= self._entries(name, table)
        if {name: one.print_ for name, one in found.items() if one.present} != self._prints:
            self._written = None
        self._present = {name: one.chains for name, one in found.items() if one.present}
        good = [one for one in found.values() if not one.broken]
        state = State(
            {entry: word for one in good for entry, word in one.entries.items()},
            {name: many for one in good for name, many in one.limits.items()},
            {},
            frozenset(table for one in good for table in one.tables),
        )
        return FoundTables(state, frozenset(name for name, one in found.items() if one.broken))

    def apply(self, change: Change, tables: frozenset[Table], where: Where, names: Names, broken: Iterable[str] = ()) -> bool:
        """Take the steps on tables; `tables` are those there are afterwards. Whether anything was written.

        All or nothing. Raises UnavailableError with what the kernel says.
        """
        wanted = chains(tables, where, names)
        rewrite = wanted != self._written or bool(set(broken) & self._present.keys())
        if not rewrite and not change.on_tables:
            return False
        used = {family_of(table.role) for table in tables}
        commands: list[Json] = [_of("delete", "table", name) for name in self._present if name not in used or name in broken]
        kept = {name for name in self._present if name in used and name not in broken}
        if rewrite:
            commands += [_of("flush", "chain", family, name) for family in kept for name in self._present[family]]
            commands += [_of("delete", "chain", family, name) for family in kept for name in self._present[family]]
            commands += [_of("add", "table", family) for family in sorted(used)]
            commands += [_of("add", "chain", one.family, one.name, **(one.hook or {})) for one in wanted]
        commands += _contents(change, used, kept)
        if rewrite:
            commands += [{"add": {"rule": _rule(one, rule)}} for one in wanted for rule in one.rules]
        self._run(commands)
        if rewrite:
            self._remember(wanted)
        return True

    def counts(self, role: Role, tables: Iterable[Table]) -> dict[Prefix, tuple[int, int]]:
        """Packets and bytes counted for each address of a role."""
        found: dict[Prefix, tuple[int, int]] = {}
        for table in tables:
            if table.role is role:
                read = self._dump.read(family_of(role), NAME, table.name, _width(table))
                found |= zip(_prefixes(read.keys, table), zip(read.packets.tolist(), read.bytes_.tolist(), strict=True), strict=True)
        return found

    def remove(self) -> None:
        """Take our tables away, whatever is in them."""
        there = [name for name, one in self._families().items() if one.present]
        if there:
            self._run([_of("delete", "table", name) for name in there])
        self._present, self._written, self._prints = {}, None, {}

    def _remember(self, wanted: tuple[Chain, ...]) -> None:
        """How the kernel tells what was written: what it tells later is compared with that."""
        self._present = {one.family: {} for one in wanted}
        for one in wanted:
            self._present[one.family][one.name] = {}
        self._prints = {name: _print(known, self._dump.rules(name, NAME)) for name, known in self._present.items()}
        self._written = wanted

    def _entries(self, family: str, table: Table) -> dict[Entry, str]:
        read = self._dump.read(family, NAME, table.name, _width(table))
        if table.role is Role.MAIL:
            words: Iterable[str] = read.names
        elif table.role in {Role.DOWN, Role.UP}:
            words = (f"{one >> 16:x}:{one & 0xFFFF:x}" for one in read.data.tolist())
        else:
            words = ("",) * len(read.keys)
        return {Entry(table.role, prefix): word for prefix, word in zip(_prefixes(read.keys, table), words, strict=True)}

    def _families(self) -> dict[str, _Family]:
        """Our tables but for their elements."""
        found = {name: _Family() for name in FAMILIES}
        for item in self._run([{"list": {"tables": None}}]):
            table = item.get("table", {})
            if table.get("name") == NAME and table.get("family") in found:
                found[table["family"]].present = True
        for name, one in found.items():
            if one.present:
                for item in self._run([{"list": {"table": {"family": name, "name": NAME}}}], _JSON | _TERSE):
                    _take(one, item)
                one.rules = self._dump.rules(name, NAME)
        return found

    def _run(self, commands: list[Json], flags: int = _JSON) -> list[Json]:
        """Raises UnavailableError with the library's first words."""
        self._library.nft_ctx_output_set_flags(self._handle, flags)
        failed = self._library.nft_run_cmd_from_buffer(self._handle, json.dumps({"nftables": commands}).encode())
        told = self._library.nft_ctx_get_output_buffer(self._handle)
        wrong = (self._library.nft_ctx_get_error_buffer(self._handle) or b"").decode(errors="replace")
        if failed:
            first = next((line.strip() for line in wrong.splitlines() if line.strip()), "no reason given")
            hint = "give the daemon CAP_NET_ADMIN" if "not permitted" in wrong else "see `nft list ruleset`"
            raise UnavailableError(f"nftables: {first[:200]}; {hint}")
        body: Json = json.loads(told) if told else {}
        items: list[Json] = body.get("nftables", [])
        return items


def _print(chains_: Iterable[str], rules: bytes) -> str:
    """Equal for chains and rules that are the same; a rule that is written anew has another number in the kernel."""
    return json.dumps([sorted(chains_), rules.hex()])


def _load() -> Any:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise UnavailableError(f"nftables: there is no {_LIBRARY}; install it (Debian: libnftables1)") from error
    handle, text = ctypes.c_void_p, ctypes.c_char_p
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = [ctypes.c_uint32], handle
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = [handle], None
    library.nft_ctx_output_set_flags.argtypes, library.nft_ctx_output_set_flags.restype = [handle, ctypes.c_uint], None
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes, getattr(library, name).restype = [handle], ctypes.c_int
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes, getattr(library, name).restype = [handle], text
    library.nft_run_cmd_from_buffer.argtypes, library.nft_run_cmd_from_buffer.restype = [handle, text], ctypes.c_int
    return library


def _of(verb: str, kind: str, family: str, name: str | None = None, **more: object) -> Json:
    """A command on one of our tables, or on something in it."""
    inside = {"table": NAME, "name": name} if name is not None else {"name": NAME}
    return {verb: {kind: {"family": family, **inside, **more}}}


def _rule(chain: Chain, rule: tuple[Json, ...]) -> Json:
    return {"family": chain.family, "table": NAME, "chain": chain.name, "expr": list(rule)}


def _contents(change: Change, used: set[str], kept: set[str]) -> list[Json]:
    """Tables, limits and entries, in the order the kernel takes them. What was in a table that goes as a whole is gone with it."""
    commands: list[Json] = []
    for table in sorted(change.put_tables):
        kind, body = set_body(table)
        commands.append({"add": {kind: body}})
    limits = {"family": "inet", "table": NAME, "per": "minute", "inv": True}
    commands += [
        {"add": {"limit": {**limits, "name": name, "rate": many, "burst": min(many, _SAME)}}} for name, many in change.put_limits.items()
    ]
    dropped: dict[Table, list[object]] = {}
    for entry in change.drop_entries:
        dropped.setdefault(entry.table, []).append(_address(entry.prefix))
    put: dict[Table, list[object]] = {}
    for entry, word in change.put_entries.items():
        address = _address(entry.prefix)
        put.setdefault(entry.table, []).append([address, word] if word else address)
    for verb, given in (("delete", dropped), ("add", put)):
        for table, elements in given.items():
            if family_of(table.role) in (kept if verb == "delete" else used):
                commands.append(_of(verb, "element", family_of(table.role), table.name, elem=elements))
    if "inet" in kept:
        commands += [_of("delete", "limit", "inet", name) for name in change.drop_limits]
    for table in sorted(change.drop_tables):
        if family_of(table.role) in kept:
            commands.append(_of("delete", set_body(table)[0], family_of(table.role), table.name))
    return commands


def _take(one: _Family, item: Json) -> None:
    """An object of our table, as the kernel tells it; what we never make there breaks it."""
    kind, body = next(iter(item.items()))
    if kind in {"metainfo", "table", "rule"}:
        return
    body = {key: value for key, value in body.items() if key != "handle"}
    if kind == "chain":
        one.chains[body["name"]] = body
    elif kind == "limit":
        one.broken |= not _take_limit(one, body)
    elif kind in {"set", "map"}:
        one.broken |= not _take_set(one, kind, body)
    else:
        one.broken = True


def _take_limit(one: _Family, body: Json) -> bool:
    number, rate = number_of(body["name"]), body.get("rate")
    if number is None or not isinstance(rate, int) or body["name"] != limit_name(number, rate):
        return False
    if body.get("per") != "minute" or not body.get("inv"):
        return False
    one.limits[body["name"]] = rate
    return True


def _take_set(one: _Family, kind: str, body: Json) -> bool:
    table = table_named(body["name"])
    if table is None or set_body(table) != (kind, body):
        return False
    one.tables.add(table)
    return True


def _width(table: Table) -> int:
    return 16 if table.six else 4


def _prefixes(keys: NDArray[np.uint8], table: Table) -> list[Prefix]:
    """Addresses of a table as the prefixes they stand for."""
    if table.six:
        halves = keys.view(">u8").astype(np.uint64).tolist()
        return [Prefix(high << 64 | low, table.bits) for high, low in halves]
    return [Prefix(V4_MAPPED | one, table.bits + 96) for one in keys.view(">u4")[:, 0].tolist()]


def _address(prefix: Prefix) -> str:
    if prefix.length >= 96 and prefix.value >> 32 == V4_MAPPED >> 32:
        return socket.inet_ntop(socket.AF_INET, (prefix.value & 0xFFFFFFFF).to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, prefix.value.to_bytes(16, "big"))
