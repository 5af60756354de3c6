"""Our tables of nftables, read and written through libnftables as JSON: every change is one transaction.

Owns the two tables named `sekisho` (`enforce.rules`) and never names another one. The library does what its program `nft`
does, without a process for each change. All calls from one thread: a handle of the library is not shared.
"""

from __future__ import annotations

import ctypes
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
    rules: list[Json] = field(default_factory=list)
    tables: set[Table] = field(default_factory=set)
    entries: dict[Entry, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def print_(self) -> str:
        """Equal for chains and rules that are the same."""
        return json.dumps([sorted(self.chains.items()), self.rules], sort_keys=True)


class Nftables:
    """The tables, through one handle of the library."""

    def __init__(self) -> None:
        """Raises UnavailableError if there is no library, or no handle to be had."""
        self._library = _load()
        self._handle = self._library.nft_ctx_new(0)
        if not self._handle or self._library.nft_ctx_buffer_output(self._handle) or self._library.nft_ctx_buffer_error(self._handle):
            raise UnavailableError("libnftables gives no handle; see that there is memory")
        self._present: dict[str, dict[str, Json]] = {}
        """Our families that are there, with the chains of each."""
        self._written: tuple[Chain, ...] | None = None
        """Chains and rules as they stand in the kernel; None: not known."""
        self._prints: dict[str, str] = {}

    def close(self) -> None:
        if self._handle:
            self._library.nft_ctx_free(self._handle)
            self._handle = None

    def read(self) -> FoundTables:
        """All of ours. Raises UnavailableError, such as for want of CAP_NET_ADMIN."""
        found = self._families(_JSON)
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
                family, name = family_of(role), table.name
                for item in self._run([{"list": {"set": {"family": family, "table": NAME, "name": name}}}]):
                    found |= _counted(item.get("set", {}).get("elem", ()), table)
        return found

    def remove(self) -> None:
        """Take our tables away, whatever is in them."""
        there = [name for name, one in self._families(_JSON | _TERSE).items() if one.present]
        if there:
            self._run([_of("delete", "table", name) for name in there])
        self._present, self._written, self._prints = {}, None, {}

    def _remember(self, wanted: tuple[Chain, ...]) -> None:
        """How the kernel tells what was written: what it tells later is compared with that."""
        found = self._families(_JSON | _TERSE)
        self._present = {name: one.chains for name, one in found.items() if one.present}
        self._prints = {name: one.print_ for name, one in found.items() if one.present}
        self._written = wanted

    def _families(self, flags: int) -> dict[str, _Family]:
        found = {name: _Family() for name in FAMILIES}
        for item in self._run([{"list": {"tables": None}}]):
            table = item.get("table", {})
            if table.get("name") == NAME and table.get("family") in found:
                found[table["family"]].present = True
        for name, one in found.items():
            if one.present:
                for item in self._run([{"list": {"table": {"family": name, "name": NAME}}}], flags):
                    _take(one, name, item)
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


def _take(one: _Family, family: str, item: Json) -> None:
    """An object of our table, as the kernel tells it; what we never make there breaks it."""
    kind, body = next(iter(item.items()))
    if kind in {"metainfo", "table"}:
        return
    body = {key: value for key, value in body.items() if key != "handle"}
    if kind == "chain":
        one.chains[body["name"]] = body
    elif kind == "rule":
        one.rules.append(body)
    elif kind == "limit":
        one.broken |= not _take_limit(one, body)
    elif kind in {"set", "map"}:
        one.broken |= not _take_set(one, family, kind, body)
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


def _take_set(one: _Family, family: str, kind: str, body: Json) -> bool:
    table = table_named(body["name"])
    elements = body.pop("elem", [])
    if table is None or family_of(table.role) != family or set_body(table) != (kind, body):
        return False
    try:
        for element in elements:
            key, word = element if kind == "map" else (element, "")
            one.entries[Entry(table.role, _prefix(_text(key), table))] = word
    except (OSError, TypeError, ValueError):
        return False
    one.tables.add(table)
    return True


def _counted(elements: Iterable[object], table: Table) -> dict[Prefix, tuple[int, int]]:
    found = {}
    for element in elements:
        body: Mapping[str, Any] = element["elem"] if isinstance(element, dict) else {"val": element}
        counter = body.get("counter") or {}
        found[_prefix(body["val"], table)] = int(counter.get("packets", 0)), int(counter.get("bytes", 0))
    return found


def _text(element: object) -> str:
    value = element["elem"]["val"] if isinstance(element, dict) else element
    if not isinstance(value, str):
        raise TypeError
    return value


def _prefix(text: str, table: Table) -> Prefix:
    if table.six:
        return Prefix(int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big"), table.bits)
    return Prefix(V4_MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"), table.bits + 96)


def _address(prefix: Prefix) -> str:
    if prefix.length >= 96 and prefix.value >> 32 == V4_MAPPED >> 32:
        return socket.inet_ntop(socket.AF_INET, (prefix.value & 0xFFFFFFFF).to_bytes(4, "big"))
    return socket.inet_ntop(socket.AF_INET6, prefix.value.to_bytes(16, "big"))
