"""A feed of any format to a compiled list: guarded, merged, sorted, and sealed if it must be.

Owns the order of the work and the report of it. Where a name stands more than once the triggers
add up, and for each trigger the first row's action holds (see `merge`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import adblock, addresslist, domains, hosts, idn, jsonfeed, tabular
from sekisho.lists.guard import REFUSALS, Guard, build_guard, sift_rows
from sekisho.lists.merge import merge
from sekisho.lists.names import names_of
from sekisho.lists.rows import FAULTS, FIXED, Rows, Tally
from sekisho.lists.scan import octets, rows_for
from sekisho.model.errors import Fault, FeedError
from sekisho.model.lists import Action, ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What became of a feed. `faults` are the first of each kind, in the order of their lines."""

    entries: int
    skipped: int
    """Lines that are no entries."""
    refused: int
    """Entries that a guard refused."""
    unkept: int
    """Entries whose meaning cannot be kept."""
    faults: tuple[Fault, ...]
    version: str
    """Digest of the content, hexadecimal: equal content, equal version."""
    kinds: tuple[tuple[str, int], ...] = ()
    """What was not kept, by name, and how often."""


@dataclass(frozen=True, slots=True)
class FeedResult:
    compiled: CompiledList
    report: FeedReport


def compile_feed(
    definition: ListDefinition, data: bytes | bytearray, key: Key, *, file: str, never_block: Collection[bytes] = ()
) -> FeedResult:
    """Compile the bytes of a feed of any text format; `file` is what faults are reported under.

    `never_block` are canonical wire names, added to the definition's own. Raises FeedError if the
    feed as a whole cannot be understood; one bad line never does that.
    """
    tally = Tally(file, definition.sealed)
    array = octets(data)
    rows = _read(definition, array, tally)
    version = hashlib.blake2b(data, digest_size=16).hexdigest()
    return finish(definition, rows, key, guard_for(definition, key, never_block), tally, version)


def guard_for(definition: ListDefinition, key: Key, never_block: Collection[bytes] = ()) -> Guard:
    """The guard of a list: the operator's never-block names and the definition's own. Raises FeedError."""
    own = []
    for name in definition.never_block:
        try:
            own.append(idn.to_wire(name))
        except ValueError as error:
            raise FeedError(f"never_block of list {definition.id} has {name!r}, which is no name: {error}") from None
    return build_guard(key, [*never_block, *own])


def finish(definition: ListDefinition, rows: Rows, key: Key, guard: Guard, tally: Tally, version: str = "") -> FeedResult:
    """Rows to a compiled list. The rows are wiped if the list is sealed.

    `version` empty: the digest of the compiled list stands for that of its content.
    """
    digests, depths = sift_rows(rows, key, guard, lambda numbers, codes: _refuse(rows, numbers, codes, tally))
    merged = merge(digests, rows.triggers[: rows.count], rows.actions[: rows.count])
    del digests
    actions, numbers = _actions_in_use(rows, merged.exact, merged.below)
    names, offsets = np.empty(0, np.uint8), np.empty(0, np.int64)
    if not definition.sealed:
        names, offsets = names_of(rows, merged.rows)
    compiled = CompiledList(
        digests=merged.digests,
        triggers=merged.triggers,
        exact=numbers[merged.exact],
        below=numbers[merged.below],
        depths=depths[merged.rows],
        actions=actions,
        names=names,
        offsets=offsets,
    )
    if definition.sealed:
        rows.wipe()
    report = FeedReport(
        entries=len(compiled),
        skipped=tally.skipped,
        refused=tally.refused,
        unkept=tally.unkept.total(),
        faults=tally.faults,
        version=version or version_of(compiled),
        kinds=tuple(tally.unkept.most_common()),
    )
    return FeedResult(compiled, report)


def version_of(compiled: CompiledList) -> str:
    """The digest of a compiled list, for sources that are no bytes (zone transfers)."""
    state = hashlib.blake2b(repr(compiled.actions).encode(), digest_size=16)
    for array in (compiled.digests, compiled.triggers, compiled.exact, compiled.below):
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def _read(definition: ListDefinition, data: NDArray[np.uint8], tally: Tally) -> Rows:
    rows = rows_for(data)
    scope = definition.scope or Scope.EXACT
    match definition.format:
        case ListFormat.DOMAINS:
            domains.read(data, scope, rows, tally)
        case ListFormat.HOSTS:
            hosts.read(data, scope, rows, tally)
        case ListFormat.ADBLOCK:
            adblock.read(data, scope, rows, tally)
        case ListFormat.CSV:
            tabular.read(data, scope, definition.column, rows, tally)
        case ListFormat.JSON:
            jsonfeed.read(data, scope, definition.column, rows, tally)
        case ListFormat.ADDRESSES:
            addresslist.read(data, rows, tally)
        case ListFormat.RPZ:
            # dnspython takes long to import, and only zones need it.
            from sekisho.lists import zonefile  # noqa: PLC0415

            zonefile.read(data, definition.zone, rows, tally)
        case ListFormat.AXFR:
            raise FeedError(f"list {definition.id}: an axfr list is transferred from a primary; for a zone file use format rpz")
    return rows


def _refuse(rows: Rows, numbers: NDArray[np.int64], codes: NDArray[np.uint8], tally: Tally) -> None:
    for row, code in zip(numbers[:FAULTS].tolist(), codes[:FAULTS].tolist(), strict=True):
        text = "" if tally.sealed else idn.to_text(rows.name(row))
        tally.refuse(int(rows.lines[row]), REFUSALS[code], text)
    tally.refused += max(0, len(numbers) - FAULTS)


def _actions_in_use(rows: Rows, exact: NDArray[np.uint32], below: NDArray[np.uint32]) -> tuple[tuple[Action, ...], NDArray[np.uint32]]:
    """The actions that rows refer to, and the new number of each old one."""
    known = (*FIXED, *rows.extra)
    used = np.zeros(len(known) + 1, np.bool_)
    used[exact] = used[below] = True
    used[0] = False
    numbers = np.cumsum(used).astype(np.uint32)
    numbers[~used] = 0
    return tuple(action for action, wanted in zip(known, used[1:], strict=True) if wanted), numbers
