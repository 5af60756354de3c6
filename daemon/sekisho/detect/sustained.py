"""Over the threshold for how long: the memory of the customers who are, or were lately.

Owns when a condition has come (K of N windows, the last one among them) and when it is gone (so many calm
windows one after the other). A customer of whom there is nothing to remember is not kept. A row that
is another customer's now starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Sustaining(Protocol):
    """How long is long enough (`config.detection`, `config.bandwidth`)."""

    @property
    def windows(self) -> int: ...

    @property
    def sustained(self) -> int: ...

    @property
    def clear(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Watched:
    """Customers with a history, by ascending row.

    rows int64, history uint64 (bit 0: over in the last window, bit 1: in the one before), found bool,
    since float64 (UNIX seconds the condition came), calm int64 (calm windows, one after the other); customers: their ids.
    """

    customers: tuple[str, ...] = ()
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    history: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    found: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    since: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    calm: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def place(self, row: int) -> int | None:
        """Where a row stands in the arrays."""
        at = int(np.searchsorted(self.rows, row))
        return at if at < len(self.rows) and self.rows[at] == row else None


def carried(before: Watched, rows: NDArray[np.int64], customers: Sequence[str]) -> Watched:
    """What is remembered of the customers in `rows` (ascending): nothing of those who were not there, or were another."""
    number = len(rows)
    after = Watched(
        tuple(customers),
        rows,
        np.zeros(number, np.uint64),
        np.zeros(number, np.bool_),
        np.zeros(number, np.float64),
        np.zeros(number, np.int64),
    )
    if not len(before.rows):
        return after
    at = np.minimum(np.searchsorted(before.rows, rows), len(before.rows) - 1)
    same = before.rows[at] == rows
    for index in np.flatnonzero(same):
        same[index] = before.customers[int(at[index])] == customers[int(index)]
    for name in ("history", "found", "since", "calm"):
        getattr(after, name)[same] = getattr(before, name)[at[same]]
    return after


def advance(
    carried_on: Watched,
    over: NDArray[np.bool_],
    calm: NDArray[np.bool_],
    settings: Sustaining,
    now: float,
    open_: NDArray[np.bool_] | None = None,
) -> tuple[Watched, NDArray[np.bool_]]:
    """One window on, and whose condition ended with it.

    `over` bool: rate and load are there; `calm` bool: the condition would be gone; neither: it would stay as it is. `open_` bool:
    a later window tells what this one was. It is no calm one, and those there were stay counted.
    """
    mask = np.uint64((1 << settings.windows) - 1)
    history = ((carried_on.history << np.uint64(1)) | over.astype(np.uint64)) & mask
    came = ~carried_on.found & over & (np.bitwise_count(history) >= settings.sustained)
    calm_for = np.where(calm, carried_on.calm + 1, 0 if open_ is None else np.where(open_, carried_on.calm, 0))
    ended = carried_on.found & calm & (calm_for >= settings.clear)
    found = (carried_on.found | came) & ~ended
    since = np.where(came, now, carried_on.since)
    history = np.where(ended, np.uint64(0), history)
    return Watched(carried_on.customers, carried_on.rows, history, found, since, calm_for), ended


def kept(watched: Watched) -> Watched:
    """Less those of whom there is nothing to remember."""
    keep = watched.found | (watched.history != 0)
    customers = tuple(watched.customers[index] for index in np.flatnonzero(keep))
    return Watched(customers, *(getattr(watched, name)[keep] for name in ("rows", "history", "found", "since", "calm")))


def adopted(watched: Watched, row: int, customer: str, since: float) -> Watched:
    """With a customer whose condition is known to be there: found before this memory began."""
    at = watched.place(row)
    if at is not None and watched.customers[at] == customer and watched.found[at]:
        return watched
    if at is None:
        at = int(np.searchsorted(watched.rows, row))
        columns = [np.insert(getattr(watched, name), at, value) for name, value in _FRESH]
        customers = (*watched.customers[:at], customer, *watched.customers[at:])
    else:
        columns = [getattr(watched, name).copy() for name, _ in _FRESH]
        customers = (*watched.customers[:at], customer, *watched.customers[at + 1 :])
    made = Watched(customers, *columns)
    made.rows[at], made.found[at], made.since[at], made.calm[at] = row, True, since, 0
    return made


_FRESH = (("rows", 0), ("history", 0), ("found", False), ("since", 0.0), ("calm", 0))
