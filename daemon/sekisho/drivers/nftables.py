"""Our tables of nftables: chains, rules and sets through libnftables as JSON, what is in the sets through netlink.

Owns the two tables named `sekisho` (`enforce.rules`) and never names another one. The library does what its program `nft`
does, without a process for each change; it is asked only when sets or rules change, since it reads all there is each time.
A handle is used by one thread.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sekisho.drivers.netlink import Message
from sekisho.drivers.setwrite import SetWrite, elements_in, elements_out, limit_out, limits_in
from sekisho.drivers.tableread import FoundTables, TableReader, limit_of
from sekisho.enforce.difference import Change
from sekisho.enforce.rules import NAME, Chain, Json, Names, chains, family_of, set_body
from sekisho.enforce.state import Role, State, Table, parts_of
from sekisho.enforce.wanted import Where
from sekisho.model.errors import UnavailableError

_LIBRARY = "libnftables.so.1"
_JSON = 1 << 4
"""NFT_CTX_OUTPUT_JSON (nftables/libnftables.h)."""
_AT_ONCE = 16_384
"""Elements of a transaction: what else is to be written waits no longer than for one."""


class Nftables:
    """The tables, written through one handle of the library and one socket."""

    def __init__(self) -> None:
        """Raises UnavailableError if there is no library, or no handle to be had."""
        self._library = _load()
        self._handle = self._library.nft_ctx_new(0)
        if not self._handle or self._library.nft_ctx_buffer_output(self._handle) or self._library.nft_ctx_buffer_error(self._handle):
            raise UnavailableError("libnftables gives no handle; see that there is memory")
        self._reader, self._writer = TableReader(), SetWrite()
        self._present: dict[str, frozenset[str]] = {}
        """Our families that are there, with the chains of each."""
        self._written: tuple[Chain, ...] | None = None
        """Chains and rules as they stand in the kernel; None: not known."""
        self._prints: Mapping[str, bytes] = {}
        self._written_for: tuple[frozenset[Table], Where, Names] | None = None
        """What `_written` was made of."""

    def close(self) -> None:
        if self._handle:
            self._library.nft_ctx_free(self._handle)
            self._handle = None
            self._reader.close()
            self._writer.close()

    def read(self) -> FoundTables:
        """All of ours. Raises UnavailableError, such as for want of CAP_NET_ADMIN."""
        found = self._reader.read()
        if not self.is_as_written(found):
            self._written = None
        self._present = dict(found.chains)
        return found

    def is_as_written(self, found: FoundTables) -> bool:
        """Whether chains and rules that were read are those that were written last."""
        return self._written is not None and not found.broken and found.prints == self._prints

    def some(self, keys: Mapping[Table, Iterable[bytes]], limits: Iterable[str]) -> State:
        """What there is of some entries and limits. Raises UnavailableError."""
        return self._reader.some(keys, limits)

    def is_light(self, change: Change, tables: frozenset[Table], where: Where, names: Names) -> bool:
        """Whether a change is of entries and limits alone: chains, rules and sets are there, and the library is not asked."""
        if change.put_tables or change.drop_tables or self._written is None:
            return False
        return self._written_for == (tables, where, names)

    def apply(self, change: Change, tables: frozenset[Table], where: Where, names: Names, broken: Iterable[str] = ()) -> bool:
        """Take the steps on tables; `tables` are those there are afterwards. Whether anything was written.

        Sets and rules all or nothing, and so are entries, `_AT_ONCE` at a time. Raises UnavailableError with what the kernel says.
        """
        same = self._written is not None and self._written_for == (tables, where, names)
        wanted = self._written if same and self._written is not None else chains(tables, where, names)
        rewrite = wanted != self._written or bool(set(broken) & self._present.keys())
        if not rewrite and not change.on_tables:
            self._written_for = (tables, where, names)
            return False
        used = {family_of(table.role) for table in tables}
        kept = {name for name in self._present if name in used and name not in broken}
        commands: list[Json] = []
        if rewrite:
            commands += [_of("delete", "table", name) for name in self._present if name not in used or name in broken]
            commands += [_of("flush", "chain", family, name) for family in kept for name in self._present[family]]
            commands += [_of("delete", "chain", family, name) for family in kept for name in self._present[family]]
            commands += [_of("add", "table", family) for family in sorted(used)]
            commands += [_of("add", "chain", one.family, one.name, **(one.hook or {})) for one in wanted]
        made = sorted(tables if broken else change.put_tables)
        commands += [{"add": {kind: body}} for kind, body in map(set_body, made)]
        if rewrite:
            commands += [{"add": {"rule": _rule(one, rule)}} for one in wanted for rule in one.rules]
        if commands:
            self._run(commands)
        if rewrite:
            self._remember(wanted)
        self._written_for = (tables, where, names)
        for transaction in _contents(change, used, kept):
            self._writer.commit(transaction)
        dropped = sorted(table for table in change.drop_tables if family_of(table.role) in kept)
        if dropped:
            self._run([_of("delete", set_body(table)[0], family_of(table.role), table.name) for table in dropped])
        return True

    def prepare(self, where: Where, names: Names) -> None:
        """Go once through all that the first change asks of the library, and write nothing. Raises UnavailableError."""
        widths = ((False, 32), (True, 56))
        tables = [Table(role, six, bits, part) for role in where.roles for six, bits in widths for part in parts_of(role)]
        made = chains(tables, where, names)
        commands = [_of("add", "table", family) for family in sorted({one.family for one in made})]
        commands += [_of("add", "chain", one.family, one.name, **(one.hook or {})) for one in made]
        commands += [{"add": {kind: body}} for kind, body in map(set_body, sorted(tables))]
        commands += [{"add": {"rule": _rule(one, rule)}} for one in made for rule in one.rules]
        self._library.nft_ctx_set_dry_run(self._handle, True)
        try:
            self._run(commands)
        finally:
            self._library.nft_ctx_set_dry_run(self._handle, False)

    def forget(self) -> None:
        """Write chains and rules anew with the next step."""
        self._written = None

    def remove(self) -> None:
        """Take our tables away, whatever is in them."""
        there = self._reader.families()
        if there:
            self._run([_of("delete", "table", name) for name in there])
        self._present, self._written, self._prints = {}, None, {}

    def _remember(self, wanted: tuple[Chain, ...]) -> None:
        """How the kernel tells what was written: what it tells later is compared with that."""
        told = {family: self._reader.print_(family) for family in sorted({one.family for one in wanted})}
        self._present = {family: names for family, (_, names) in told.items()}
        self._prints = {family: print_ for family, (print_, _) in told.items()}
        self._written = wanted

    def _run(self, commands: list[Json]) -> None:
        """Raises UnavailableError with the library's first words."""
        self._library.nft_ctx_output_set_flags(self._handle, _JSON)
        failed = self._library.nft_run_cmd_from_buffer(self._handle, json.dumps({"nftables": commands}).encode())
        self._library.nft_ctx_get_output_buffer(self._handle)
        wrong = (self._library.nft_ctx_get_error_buffer(self._handle) or b"").decode(errors="replace")
        if failed:
            first = next((line.strip() for line in wrong.splitlines() if line.strip()), "no reason given")
            hint = "give the daemon CAP_NET_ADMIN" if "not permitted" in wrong else "see `nft list ruleset`"
            raise UnavailableError(f"nftables: {first[:200]}; {hint}")


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
    library.nft_ctx_set_dry_run.argtypes, library.nft_ctx_set_dry_run.restype = [handle, ctypes.c_bool], None
    library.nft_run_cmd_from_buffer.argtypes, library.nft_run_cmd_from_buffer.restype = [handle, text], ctypes.c_int
    return library


def _of(verb: str, kind: str, family: str, name: str | None = None, **more: object) -> Json:
    """A command on one of our tables, or on something in it."""
    inside = {"table": NAME, "name": name} if name is not None else {"name": NAME}
    return {verb: {kind: {"family": family, **inside, **more}}}


def _rule(chain: Chain, rule: tuple[Json, ...]) -> Json:
    return {"family": chain.family, "table": NAME, "chain": chain.name, "expr": list(rule)}


def _contents(change: Change, used: set[str], kept: set[str]) -> Iterator[list[Message]]:
    """Limits and entries, a transaction at a time, in the order the kernel takes them.

    What was in a table that went as a whole is gone with it. An entry that comes to stand for something else does so in one
    transaction.
    """
    limits = iter(change.put_limits.items())
    while some := dict(islice(limits, _AT_ONCE)):
        yield list(limits_in("inet", NAME, some, limit_of))
    for table in {**change.drop_entries, **change.put_entries}:
        family = family_of(table.role)
        put = change.put_entries.get(table, {})
        drop = list(change.drop_entries.get(table, ())) if family in kept else []
        gone = iter([key for key in drop if key not in put])
        while keys := list(islice(gone, _AT_ONCE)):
            yield list(elements_out(family, NAME, table.name, keys))
        changed = set(drop) & put.keys()
        due = iter(put.items() if family in used else ())
        while given := dict(islice(due, _AT_ONCE)):
            words = {word: _value(word) for word in set(given.values())} if table.role in {Role.DOWN, Role.UP} else None
            first = elements_out(family, NAME, table.name, [key for key in given if key in changed])
            yield [*first, *elements_in(family, NAME, table.name, given, words)]
    over = iter(change.drop_limits if "inet" in kept else ())
    while names := list(islice(over, _AT_ONCE)):
        yield [limit_out("inet", NAME, name) for name in names]


def _value(word: str) -> bytes:
    """A class as the kernel has it in a map: in the machine's order."""
    major, _, minor = word.partition(":")
    return (int(major, 16) << 16 | int(minor, 16)).to_bytes(4, sys.byteorder)
