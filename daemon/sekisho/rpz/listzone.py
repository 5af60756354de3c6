"""A list as a policy zone: its entries as QNAME triggers, rendered in runs, and what differs between two versions.

A trigger EXACT is the name, BELOW `*.` and the name. In a zone a name that exists hides the wildcards above it from
itself and from all below (RFC 4592 section 2.2.1), in a list it does not: between a trigger BELOW and what the list
holds further down, the records that make up for it are added (`Fillers`).

An operator's exception takes the trigger out of the zone. Below a wildcard of the same list, or within a wider prefix, it has to be
PASSTHRU, which later zones obey too: a policy zone has no word for "not by this list". So has every name of a list that holds
addresses of answers, which would stop the name for what it leads to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.model.addresses import key_of, prefix_of, wider
from sekisho.model.lists import PREFIXES, Action, ActionKind, Trigger
from sekisho.rpz.fillers import fillers
from sekisho.rpz.journal import Change
from sekisho.rpz.records import ADDRESS_OWNER, BLOCK, MAX_NAME, PASSTHRU, ZONE, blocks, cname, split, tails, trigger_name
from sekisho.snapshot.build import Exemption
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import Key, digest_name
from sekisho.snapshot.entries import CompiledList

_STAR = b"\1*"
ROW, STEP, USED, COUNT = range(4)
"""The cursor of `_render`: where it is, and what it has written."""
_WORST = 0.5
"""Share of a list that may change for it to be told as a difference."""
_EXCEPT = Action(ActionKind.EXCEPT)


@dataclass(frozen=True, slots=True)
class Tails:
    """What follows the owner, for each action number of a list: `first[n]` to `first[n + 1]` in `starts`, which point into `pool`."""

    pool: NDArray[np.uint8]
    starts: NDArray[np.int64]
    first: NDArray[np.int64]
    texts: tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True)
class ListContent:
    """Immutable. `triggers` uint8 (n): `Trigger` bits less those that are excepted or do not fit under the zone."""

    entries: CompiledList
    triggers: NDArray[np.uint8]
    tails: Tails
    extra: tuple[bytes, ...]
    """Records besides the entries' own."""
    own: int
    left_out: int
    """Triggers that make a name longer than 255 octets under the zone."""
    answers: NDArray[np.int64]
    """Rows that are triggers on addresses in answers."""

    def __len__(self) -> int:
        return self.own + len(self.extra)

    @property
    def addresses(self) -> int:
        """How many addresses in answers it holds."""
        return int(np.count_nonzero(self.triggers[self.answers]))

    def blocks(self, *, addresses: bool = True) -> Iterator[tuple[int, bytes]]:
        cursor, out = np.zeros(4, np.int64), np.empty(BLOCK, np.uint8)
        triggers, extra = self.triggers, self.extra
        if not addresses:
            triggers, extra = triggers.copy(), tuple(record for record in extra if ADDRESS_OWNER not in record)
            triggers[self.answers] = 0
        while cursor[ROW] < triggers.shape[0]:
            cursor[USED] = cursor[COUNT] = 0
            self._render(triggers, cursor, out)
            if not cursor[COUNT]:
                break
            yield int(cursor[COUNT]), out[: cursor[USED]].tobytes()
        yield from blocks(extra)

    def _render(self, triggers: NDArray[np.uint8], cursor: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        one, tail = self.entries, self.tails
        _render(one.names, one.offsets, triggers, one.exact, one.below, tail.pool, tail.starts, tail.first, cursor, out)

    def of_rows(self, rows: NDArray[np.int64], masks: NDArray[np.uint8]) -> Iterator[bytes]:
        """The records of some triggers of some rows, one by one."""
        one = self.entries
        for row, mask in zip(rows.tolist(), masks.tolist(), strict=True):
            labels = one.name(row)[:-1]
            if mask & Trigger.EXACT:
                yield from (labels + text for text in self.tails.texts[int(one.exact[row])])
            if mask & Trigger.BELOW:
                yield from (_STAR + labels + text for text in self.tails.texts[int(one.below[row])])


def list_content(
    entries: CompiledList,
    default: Action,
    key: Key,
    origin: bytes,
    ttl: int,
    exceptions: Sequence[Exemption] = (),
    excepted_names: Sequence[bytes] = (),
) -> ListContent:
    """A compiled list with its names, as the zone `origin`; `default` is the answer of entries without one of their own.

    `excepted_names` are names (canonical wire form) of exceptions: one that is no entry and stands below one is
    known by its digest alone otherwise, and the zone has no record for it.
    """
    lifted = _lifted(entries, exceptions, excepted_names, key, ttl)
    entries = _with(entries, [name for name in excepted_names if trigger_name(name) is None], key)
    answers = np.flatnonzero(entries.triggers & Trigger.ADDRESS)
    excepted = np.zeros(len(entries), np.uint8)
    for item in exceptions:
        row = entries.find(item.first, item.second)
        if row is not None:
            excepted[row] |= item.triggers
    choices = (default, *entries.actions)
    if len(answers):
        choices = (*choices, Action(ActionKind.PASSTHRU))
        entries = _freed(entries, excepted, len(choices) - 1)
    entries = _spelt(entries)
    numbers = [tails(action, ttl) for action in choices]
    made = _tails(numbers)
    triggers = entries.triggers & ~excepted
    for bit, column in ((Trigger.EXACT, entries.exact), (Trigger.BELOW, entries.below)):
        own = [number for number, action in enumerate(choices) if action.kind is ActionKind.EXCEPT]
        if own:
            gone = np.isin(column, np.array(own, np.uint32)) & ((triggers & bit) != 0)
            excepted[gone] |= np.uint8(bit)
            triggers[gone] &= np.uint8(0xFF ^ int(bit))
    extra = fillers(entries, triggers, excepted, numbers, key, ttl) + lifted
    left_out = 0
    room = MAX_NAME - len(origin)
    if len(entries):
        lengths = _lengths(entries.names, entries.offsets)
        for bit, octets in ((Trigger.EXACT, 0), (Trigger.BELOW, len(_STAR))):
            long = (lengths + octets > room) & ((triggers & bit) != 0)
            left_out += int(long.sum())
            triggers[long] &= np.uint8(0xFF ^ int(bit))
    fitting = tuple(record for record in extra if record.index(ZONE) <= room)
    sizes = made.first[1:] - made.first[:-1]
    own_records = int(
        sizes[entries.exact][(triggers & Trigger.EXACT) != 0].sum() + sizes[entries.below][(triggers & Trigger.BELOW) != 0].sum()
    )
    return ListContent(entries, triggers, made, fitting, own_records, left_out, answers)


def _freed(entries: CompiledList, excepted: NDArray[np.uint8], number: int) -> CompiledList:
    """The same list with names let through, by the action `number`, whose triggers are excepted; `excepted` is then without them.

    A list that holds addresses would stop them for what they lead to.
    """
    triggers, exact, below = entries.triggers.copy(), entries.exact.copy(), entries.below.copy()
    for bit, column in ((Trigger.EXACT, exact), (Trigger.BELOW, below)):
        rows = ((entries.triggers & PREFIXES) == 0) & ((excepted & bit) != 0)
        column[rows] = number
        triggers[rows] |= np.uint8(bit)
        excepted[rows] &= np.uint8(0xFF ^ int(bit))
    return replace(entries, triggers=triggers, exact=exact, below=below)


def _lifted(entries: CompiledList, exceptions: Sequence[Exemption], names: Sequence[bytes], key: Key, ttl: int) -> tuple[bytes, ...]:
    """Triggers of prefixes that are excepted within a wider one which the list still holds: they are let through."""
    gone = {(item.first, item.second) for item in exceptions}
    found = []
    for name in names:
        there = prefix_of(name)
        if there is None:
            continue
        above = (digest_name(key_of(prefix, there[1]), key) for prefix in wider(there[0]))
        if any(digest not in gone and entries.find(*digest) is not None for digest in above):
            found.append((trigger_name(name) or b"\0")[:-1] + cname(PASSTHRU, ttl))
    return tuple(found)


def _spelt(entries: CompiledList) -> CompiledList:
    """The same list with the names that a policy zone has for prefixes."""
    rows = np.flatnonzero(entries.triggers & PREFIXES)
    if not len(rows) or not len(entries.offsets):
        return entries
    owners = [trigger_name(entries.name(row)) or b"\0" for row in rows.tolist()]
    offsets = entries.offsets.copy()
    offsets[rows] = len(entries.names) + np.cumsum([0, *(len(owner) for owner in owners[:-1])])
    return replace(
        entries,
        triggers=entries.triggers & np.uint8(~PREFIXES & 0xFF),
        names=np.concatenate([entries.names, np.frombuffer(b"".join(owners), np.uint8)]),
        offsets=offsets,
    )


def _with(entries: CompiledList, names: Sequence[bytes], key: Key) -> CompiledList:
    """A list with rows for names it has none for, which trigger nothing."""
    new = {digest: name for name in names if entries.find(*(digest := digest_name(name, key))) is None}
    if not new or not len(entries):
        return entries
    zeros = np.zeros(len(new), np.uint32)
    lengths = [len(name) for name in new.values()]
    digests = np.concatenate([entries.digests, np.array(list(new), np.uint64)])
    order = np.lexsort((digests[:, 1], digests[:, 0]))

    def merged(column: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([column, more.astype(column.dtype)])[order]

    return replace(
        entries,
        digests=digests[order],
        triggers=merged(entries.triggers, zeros),
        exact=merged(entries.exact, zeros),
        below=merged(entries.below, zeros),
        depths=merged(entries.depths, np.array([len(split(name)) for name in new.values()])),
        names=np.concatenate([entries.names, np.frombuffer(b"".join(new.values()), np.uint8)]),
        offsets=merged(entries.offsets, len(entries.names) + np.cumsum([0, *lengths[:-1]])),
    )


def difference(before: ListContent, after: ListContent) -> Change | None:
    """What differs between two versions, or None if that is so much that the whole zone says it better."""
    numbers: dict[tuple[bytes, ...], int] = {}
    signs = [_signs(one, numbers) for one in (before, after)]
    gone, new = _changed(before, after, *signs), _changed(after, before, *reversed(signs))
    if len(gone[0]) + len(new[0]) > _WORST * max(len(before.triggers), len(after.triggers), 1000):
        return None
    old_extra, new_extra = set(before.extra), set(after.extra)
    removed = dict.fromkeys([*before.of_rows(*gone), *(record for record in before.extra if record not in new_extra)])
    added = dict.fromkeys([*after.of_rows(*new), *(record for record in after.extra if record not in old_extra)])
    return Change(tuple(record for record in removed if record not in added), tuple(record for record in added if record not in removed))


Signs = tuple[NDArray[np.int64], NDArray[np.int64]]


def _signs(content: ListContent, numbers: dict[tuple[bytes, ...], int]) -> Signs:
    """For each row what its triggers say, as numbers that are alike for alike records; -1: nothing."""
    lut = np.array([numbers.setdefault(texts, len(numbers)) for texts in content.tails.texts], np.int64)
    one, triggers = content.entries, content.triggers
    exact = np.where(triggers & Trigger.EXACT, lut[one.exact], -1)
    below = np.where(triggers & Trigger.BELOW, lut[one.below], -1)
    return exact, below


def _changed(one: ListContent, other: ListContent, mine: Signs, theirs: Signs) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Rows of `one` with triggers that `other` does not have alike, and those triggers."""
    a, b = one.entries.digests, other.entries.digests
    if not len(a):
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    if not len(b):
        rows = np.flatnonzero(one.triggers)
        return rows, one.triggers[rows]
    # Two names with one first word are taken for changed: both are deleted and added alike, which changes nothing.
    at = np.minimum(np.searchsorted(b[:, 0], a[:, 0]), len(b) - 1)
    there = (b[at, 0] == a[:, 0]) & (b[at, 1] == a[:, 1])
    masks = np.zeros(len(a), np.uint8)
    for bit, own, far in ((Trigger.EXACT, mine[0], theirs[0]), (Trigger.BELOW, mine[1], theirs[1])):
        masks[(own >= 0) & ~(there & (far[at] == own))] |= np.uint8(bit)
    rows = np.flatnonzero(masks)
    return rows, masks[rows]


def _tails(numbers: Sequence[tuple[bytes, ...]]) -> Tails:
    flat = [text for texts in numbers for text in texts]
    starts = np.cumsum([0, *(len(text) for text in flat)], dtype=np.int64)
    first = np.cumsum([0, *(len(texts) for texts in numbers)], dtype=np.int64)
    return Tails(np.frombuffer(b"".join(flat), np.uint8), starts, first, tuple(numbers))


@compiled
def _lengths(names, offsets):  # type: ignore[no-untyped-def]
    """Octets of each name without the root's."""
    lengths = np.empty(offsets.shape[0], np.int64)
    for row in range(offsets.shape[0]):
        end = offsets[row]
        while names[end] != 0:
            end += int(names[end]) + 1
        lengths[row] = end - offsets[row]
    return lengths


@compiled
def _render(names, offsets, triggers, exact, below, pool, starts, first, cursor, out):  # type: ignore[no-untyped-def]
    """Write records to `out` until all are there or no more of a trigger fit; `cursor` says how far it came."""
    row, step, used, count = cursor[ROW], cursor[STEP], cursor[USED], cursor[COUNT]
    while row < triggers.shape[0]:
        if triggers[row] & (step + 1):
            number = np.int64(exact[row]) if step == 0 else np.int64(below[row])
            begin = offsets[row]
            end = begin
            while names[end] != 0:
                end += int(names[end]) + 1
            owner = end - begin + 2 * step
            size = np.int64(0)
            for index in range(first[number], first[number + 1]):
                size += owner + starts[index + 1] - starts[index]
            if used + size > out.shape[0]:
                break
            for index in range(first[number], first[number + 1]):
                if step:
                    out[used] = 1
                    out[used + 1] = 42
                    used += 2
                for position in range(begin, end):
                    out[used] = names[position]
                    used += 1
                for position in range(starts[index], starts[index + 1]):
                    out[used] = pool[position]
                    used += 1
                count += 1
        step += 1
        if step == 2:
            step = 0
            row += 1
    cursor[ROW], cursor[STEP], cursor[USED], cursor[COUNT] = row, step, used, count
