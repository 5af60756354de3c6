"""Rows brought together: sorted by digest, and one row where a name stands more than once.

The triggers of a name's rows add up (RPZ's `name` and `*.name` are two rows of one name). For each
trigger the first row of the feed says the action, except that an exception of the list (EXCEPT)
wins over every other row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.lists.rows import EXCEPT
from sekisho.snapshot.compiling import compiled

_LONG_RUN = 32
"""Rows of one first word that are sorted by insertion; more is a feed that repeats itself."""


_PLACES = 1 << 16
"""Rows that are remembered to tell repeats by."""
REPEATED = 255
"""Beside the codes of refusals: a row that is as one before it."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Sorted by digest, none twice. `rows` int64 (n): the first row of each name; actions as in `Rows`."""

    rows: NDArray[np.int64]
    digests: NDArray[np.uint64]
    triggers: NDArray[np.uint8]
    exact: NDArray[np.uint32]
    below: NDArray[np.uint32]


def merge(digests: NDArray[np.uint64], triggers: NDArray[np.uint8], actions: NDArray[np.uint32]) -> Merged:
    """Merge the rows."""
    first = np.ascontiguousarray(digests[:, 0])
    order = np.argsort(first)
    words = first[order]
    if not (words[1:] == words[:-1]).any():
        own = triggers[order]
        action = actions[order]
        # `take` is four times as fast as `digests[order]`.
        return Merged(order, digests.take(order, axis=0), own, np.where(own & 1, action, 0), np.where(own & 2, action, 0))
    if not _sort_runs(order, words, digests):
        # Rows of one digest stay in their order: the sort is stable.
        order = np.lexsort((digests[:, 1], first))
    del first, words
    count = len(order)
    merged = Merged(
        np.empty(count, np.int64),
        np.empty((count, 2), np.uint64),
        np.empty(count, np.uint8),
        np.empty(count, np.uint32),
        np.empty(count, np.uint32),
    )
    unique = _merge(order, digests, triggers, actions, merged.rows, merged.digests, merged.triggers, merged.exact, merged.below)
    return Merged(
        merged.rows[:unique].copy(),
        merged.digests[:unique].copy(),
        merged.triggers[:unique].copy(),
        merged.exact[:unique].copy(),
        merged.below[:unique].copy(),
    )


@dataclass(frozen=True, slots=True)
class Repeats:
    """The rows seen of late: which of the next ones say nothing new. Each digest has one place; a feed of one name fills one.

    `digests` uint64 (places, 2), `actions` int64 (places): action and triggers of the row.
    """

    digests: NDArray[np.uint64]
    actions: NDArray[np.int64]

    @classmethod
    def none(cls) -> Repeats:
        return cls(np.zeros((_PLACES, 2), np.uint64), np.full(_PLACES, -1, np.int64))

    def mark(self, digests: NDArray[np.uint64], triggers: NDArray[np.uint8], actions: NDArray[np.uint32], codes: NDArray[np.uint8]) -> None:
        """Give REPEATED in `codes` to the rows of code 0 that are as one seen before."""
        _mark_repeats(digests, triggers, actions, codes, self.digests, self.actions)


@compiled
def _mark_repeats(digests, triggers, actions, codes, seen, said):  # type: ignore[no-untyped-def]
    places = seen.shape[0]
    for row in range(codes.shape[0]):
        if codes[row] != 0:
            continue
        place = np.int64(digests[row, 0] & np.uint64(places - 1))
        own = np.int64(actions[row]) << 8 | np.int64(triggers[row])
        if seen[place, 0] == digests[row, 0] and seen[place, 1] == digests[row, 1] and said[place] == own:
            codes[row] = REPEATED
        else:
            seen[place, 0] = digests[row, 0]
            seen[place, 1] = digests[row, 1]
            said[place] = own


@compiled
def _sort_runs(order, words, digests):  # type: ignore[no-untyped-def]
    """Sort runs of equal first words by second word and row; False if a run is too long for that."""
    count = order.shape[0]
    begin = 0
    while begin < count:
        end = begin + 1
        while end < count and words[end] == words[begin]:
            end += 1
        if end - begin > _LONG_RUN:
            return False
        for index in range(begin + 1, end):
            row = order[index]
            second = digests[row, 1]
            at = index
            while at > begin:
                before = order[at - 1]
                if digests[before, 1] < second or (digests[before, 1] == second and before < row):
                    break
                order[at] = before
                at -= 1
            order[at] = row
        begin = end
    return True


@compiled
def _merge(order, digests, row_triggers, row_actions, rows, merged, triggers, exact, below):  # type: ignore[no-untyped-def]
    """Bring rows of one name together; gives how many names there are."""
    unique = -1
    for index in range(order.shape[0]):
        row = order[index]
        first, second = digests[row, 0], digests[row, 1]
        if unique < 0 or merged[unique, 0] != first or merged[unique, 1] != second:
            unique += 1
            rows[unique] = row
            merged[unique, 0] = first
            merged[unique, 1] = second
            triggers[unique] = 0
            exact[unique] = 0
            below[unique] = 0
        new = row_triggers[row]
        action = row_actions[row]
        if action != EXCEPT:
            new &= ~triggers[unique]
        if new & 1:
            exact[unique] = action
        if new & 2:
            below[unique] = action
        triggers[unique] |= new
    return unique + 1
