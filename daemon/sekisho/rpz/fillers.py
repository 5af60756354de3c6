"""Records that make a zone say below a wildcard what the list says.

A list's trigger BELOW reaches every name below, unless a trigger of the list further down is nearer. A wildcard of a zone does
not reach a name that exists there, nor one below such a name (RFC 4592 section 2.2.1): `*.example` and `a.b.example` in
one zone leave `b.example`, `c.b.example` and `c.a.b.example` alone. So from each entry that has a wildcard above
it, every name up to that wildcard gets the records it needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sekisho.model.lists import Trigger
from sekisho.rpz.records import PASSTHRU, cname, join, split
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import Key, absorb, digest_names, finish, finish_second, start
from sekisho.snapshot.entries import CompiledList


def fillers(
    entries: CompiledList,
    triggers: NDArray[np.uint8],
    excepted: NDArray[np.uint8],
    numbers: Sequence[tuple[bytes, ...]],
    key: Key,
    ttl: int,
) -> tuple[bytes, ...]:
    """The records of a list's zone besides its entries' own.

    `triggers` uint8 (n) are those in the zone, `excepted` uint8 (n) those taken out of it; `numbers` the octets behind
    the owner for each action number; `ttl` that of an exception, in seconds.
    """
    if not len(entries):
        return ()
    above = np.empty(len(entries), np.int64)
    blocked = np.where(triggers & Trigger.BELOW, np.uint8(1), np.uint8(0))
    blocked |= np.where(excepted & Trigger.BELOW, np.uint8(2), np.uint8(0))
    if not blocked.any():
        return ()
    _above(entries.names, entries.offsets, entries.digests, blocked, key[0], key[1], above, np.empty(128, np.int64))
    found: dict[bytes, None] = {}
    passed = (cname(PASSTHRU, ttl),)
    for row in np.flatnonzero((above >= 0) & ((triggers | excepted) != 0)).tolist():
        higher = int(above[row])
        texts = numbers[int(entries.below[higher])]
        labels, depth = split(entries.name(row)), int(entries.depths[higher])
        for step in range(len(labels) - depth):
            name = join(labels[step:])
            at = row if not step else _find(entries, name + b"\0", key)
            has = int(triggers[at]) if at is not None else 0
            lifted = int(excepted[at]) if at is not None else 0
            for bit, star in ((Trigger.EXACT, b""), (Trigger.BELOW, b"\1*")):
                if has & bit:
                    continue
                for text in passed if lifted & bit else texts:
                    found[star + name + text] = None
            if step and (has | lifted) & Trigger.BELOW:
                break
    return tuple(found)


def _find(entries: CompiledList, name: bytes, key: Key) -> int | None:
    digests = np.empty((1, 2), np.uint64)
    digest_names(np.frombuffer(name, np.uint8), np.zeros(1, np.int64), key[0], key[1], digests, np.empty(1, np.uint8))
    return entries.find(int(digests[0, 0]), int(digests[0, 1]))


@compiled
def _above(names, offsets, digests, blocked, k0, k1, above, labels):  # type: ignore[no-untyped-def]
    """For each row the row of the nearest entry above it that reaches below (1 in `blocked`; -1: none, or it is excepted, 2)."""
    for row in range(offsets.shape[0]):
        above[row] = -1
        position = offsets[row]
        count = 0
        while names[position] != 0:
            labels[count] = position
            count += 1
            position += int(names[position]) + 1
        a, b, c, d = start(k0, k1)
        for index in range(count - 1, 0, -1):
            a, b, c, d = absorb(names, labels[index], a, b, c, d)
            first, e, f, g, h = finish(a, b, c, d)
            low, high = 0, digests.shape[0]
            while low < high:
                middle = (low + high) // 2
                if digests[middle, 0] < first:
                    low = middle + 1
                else:
                    high = middle
            second = finish_second(e, f, g, h)
            while low < digests.shape[0] and digests[low, 0] == first:
                if digests[low, 1] == second:
                    if blocked[low] & 2:
                        above[row] = -1
                    elif blocked[low] & 1:
                        above[row] = low
                    break
                low += 1
