"""A feed of any format to a compiled list: guarded, merged, sorted, and sealed if it must be.

Owns the order of the work and the report of it. Where a name stands more than once the triggers
add up, and for each trigger the first row's action holds - except that an exception of the list
wins over every other row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sekisho.lists import adblock, domains, hosts, idn, jsonfeed, tabular, zonefile
from sekisho.lists.guard import REFUSALS, Guard, build_guard, digest_rows
from sekisho.lists.rows import EXCEPT, FIXED, Rows, Tally
from sekisho.lists.scan import octets, rows_for
from sekisho.model.errors import Fault, FeedError
from sekisho.model.lists import Action, ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList

_LONG_RUN = 32


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
    """The guard of a list: the operator's never-block names and the definition's own."""
    return build_guard(key, [*never_block, *(idn.to_wire(name) for name in definition.never_block)])


def finish(definition: ListDefinition, rows: Rows, key: Key, guard: Guard, tally: Tally, version: str = "") -> FeedResult:
    """Rows to a compiled list. The rows are wiped if the list is sealed.

    `version` empty: the digest of the compiled list stands for that of its content.
    """
    digests, depths, codes = digest_rows(rows, key, guard)
    _report_refused(rows, codes, tally)
    kept = np.flatnonzero(codes == 0)
    order = _order(digests, kept)
    count = len(order)
    merged = np.empty(count, np.int64)
    triggers, exact, below = np.empty(count, np.uint8), np.empty(count, np.uint32), np.empty(count, np.uint32)
    unique = _merge(order, digests, rows.triggers, rows.actions, merged, triggers, exact, below) if count else 0
    merged = merged[:unique]
    actions, numbers = _actions_in_use(rows, exact[:unique], below[:unique])
    names, offsets = np.empty(0, np.uint8), np.empty(0, np.int64)
    if not definition.sealed:
        names, offsets = _gather_names(rows, merged)
    compiled = CompiledList(
        digests=digests[merged],
        triggers=triggers[:unique].copy(),
        exact=numbers[exact[:unique]],
        below=numbers[below[:unique]],
        depths=depths[merged],
        actions=actions,
        names=names,
        offsets=offsets,
    )
    if definition.sealed:
        rows.wipe()
    report = FeedReport(
        entries=unique,
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
        case ListFormat.RPZ:
            zonefile.read(data, definition.zone, rows, tally)
        case ListFormat.AXFR:
            raise FeedError(f"list {definition.id}: format axfr is transferred from a primary, not read from a file; use format rpz for a zone file")
    return rows


def _report_refused(rows: Rows, codes: NDArray[np.uint8], tally: Tally) -> None:
    for row in np.flatnonzero(codes).tolist():
        text = "" if tally.sealed else idn.to_text(rows.name(row))
        tally.refuse(int(rows.lines[row]), REFUSALS[codes[row]], text)


def _order(digests: NDArray[np.uint64], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows sorted by digest; equal digests by row."""
    first = digests[kept, 0]
    order = kept[np.argsort(first)]
    if not _sort_runs(order, digests):
        order = kept[np.lexsort((kept, digests[kept, 1], first))]
    return order


@njit(cache=True, nogil=True)
def _sort_runs(order, digests):  # type: ignore[no-untyped-def]
    """Sort runs of equal first words by second word and row; False if a run is too long for that."""
    count = order.shape[0]
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and digests[order[end], 0] == digests[order[begin], 0]:
            end += 1
        if end - begin > _LONG_RUN:
            return False
        for index in range(begin + 1, end):
            row = order[index]
            at = index
            while at > begin and (
                digests[order[at - 1], 1] > digests[row, 1] or (digests[order[at - 1], 1] == digests[row, 1] and order[at - 1] > row)
            ):
                order[at] = order[at - 1]
                at -= 1
            order[at] = row
        begin = end
    return True


@njit(cache=True, nogil=True)
def _merge(order, digests, row_triggers, row_actions, merged, triggers, exact, below):  # type: ignore[no-untyped-def]
    """Bring rows of one name together; gives how many names there are."""
    unique = -1
    for index in range(order.shape[0]):
        row = order[index]
        if unique < 0 or digests[merged[unique], 0] != digests[row, 0] or digests[merged[unique], 1] != digests[row, 1]:
            unique += 1
            merged[unique] = row
            triggers[unique] = 0
            exact[unique] = 0
            below[unique] = 0
        new = row_triggers[row]
        if row_actions[row] != EXCEPT:
            new &= ~triggers[unique]
        if new & 1:
            exact[unique] = row_actions[row]
        if new & 2:
            below[unique] = row_actions[row]
        triggers[unique] |= new
    return unique + 1


def _actions_in_use(rows: Rows, exact: NDArray[np.uint32], below: NDArray[np.uint32]) -> tuple[tuple[Action, ...], NDArray[np.uint32]]:
    """The actions that rows refer to, and the new number of each old one."""
    known = (*FIXED, *rows.extra)
    used = np.zeros(len(known) + 1, np.bool_)
    used[exact] = used[below] = True
    used[0] = False
    numbers = np.cumsum(used).astype(np.uint32)
    numbers[~used] = 0
    return tuple(action for action, wanted in zip(known, used[1:], strict=True) if wanted), numbers


def _gather_names(rows: Rows, merged: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    offsets = np.empty(len(merged), np.int64)
    total = _measure(rows.blob, rows.offsets, merged, offsets) if len(merged) else 0
    names = np.empty(total, np.uint8)
    if len(merged):
        _copy_names(rows.blob, rows.offsets, merged, offsets, names)
    return names, offsets


@njit(cache=True, nogil=True)
def _measure(blob, starts, rows, offsets):  # type: ignore[no-untyped-def]
    total = 0
    for index in range(rows.shape[0]):
        offsets[index] = total
        position = starts[rows[index]]
        begin = position
        while blob[position] != 0:
            position += int(blob[position]) + 1
        total += position + 1 - begin
    return total


@njit(cache=True, nogil=True)
def _copy_names(blob, starts, rows, offsets, names):  # type: ignore[no-untyped-def]
    for index in range(rows.shape[0]):
        end = names.shape[0] if index + 1 == rows.shape[0] else offsets[index + 1]
        start = starts[rows[index]]
        for at in range(end - offsets[index]):
            names[offsets[index] + at] = blob[start + at]
