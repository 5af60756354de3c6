"""Counts of events by customer over sliding windows up to a day: new connections of mail, and of any kind.

Owns the slots, and that events which several sources count are counted once. Few customers send mail in any minute, so a slot
holds those who did and nobody else. Pure: handed time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.detect.usage import NOBODY, SILENT, SOURCES
from sekisho.model.usage import Source

SLOT = 60
"""Seconds of a slot while it is young; of an older one"""
OLD = 900
COARSE = 3600
"""those from which on a slot is an old one."""
LONGEST = 86400.0
"""Seconds of the longest window."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Counts of a stretch of time, which begins at `begins` (UNIX seconds). rows int64, ascending; counts uint64 (columns, rows)."""

    begins: int
    length: int
    rows: NDArray[np.int64]
    counts: NDArray[np.uint64]


@dataclass(slots=True)
class Tally:
    """Counts in `columns` columns, by customer and time."""

    columns: int = 1
    slots: list[Slot] = field(default_factory=list)
    """In the order of time."""
    source: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """Who counts a customer's events, by the order of `Source`,"""
    seen: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0, np.float64))
    """and when it did last."""

    def add(self, source: Source, at: float, rows: NDArray[np.int64], *counts: NDArray[np.unsignedinteger]) -> None:
        """Count events of the time up to `at`; rows without any are left out, and those a source before this one counts."""
        self._forget(at)
        if not len(rows):
            return
        told = np.vstack([one.astype(np.uint64) for one in counts])
        busy = told.any(axis=0) & self._owned(SOURCES.index(source), at, rows)
        if not busy.any():
            return
        begins = int(at) // SLOT * SLOT
        parts = [(rows[busy], told[:, busy])]
        if self.slots and self.slots[-1].begins >= begins:
            last = self.slots.pop()
            parts.append((last.rows, last.counts))
            begins = last.begins
        self.slots.append(Slot(begins, SLOT, *_summed(parts)))

    def window(self, seconds: float, now: float) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Whoever did anything in the slots that lie in the last `seconds` up to `now`: rows, ascending, and counts (columns, rows)."""
        parts = [(one.rows, one.counts) for one in self.slots if one.begins >= now - seconds]
        return _summed(parts) if parts else (np.empty(0, np.int64), np.empty((self.columns, 0), np.uint64))

    def _owned(self, rank: int, at: float, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        more = int(rows.max()) + 1 - len(self.source)
        if more > 0:
            self.source = np.concatenate((self.source, np.full(more, NOBODY, np.uint8)))
            self.seen = np.concatenate((self.seen, np.zeros(more)))
        owned = (self.source[rows] >= rank) | (at - self.seen[rows] > SILENT)
        self.source[rows[owned]], self.seen[rows[owned]] = rank, at
        return owned

    def _forget(self, now: float) -> None:
        """Let go of what is too old, and make long slots of those no short window asks for any more."""
        self.slots = [one for one in self.slots if one.begins > now - LONGEST - OLD]
        old = [one for one in self.slots if one.length == SLOT and one.begins // OLD * OLD + OLD < now - COARSE]
        for begins in sorted({one.begins // OLD * OLD for one in old}):
            inside = [one.length == SLOT and one.begins // OLD * OLD == begins for one in self.slots]
            parts = [(one.rows, one.counts) for one, is_in in zip(self.slots, inside, strict=True) if is_in]
            others = [one for one, is_in in zip(self.slots, inside, strict=True) if not is_in]
            self.slots = sorted([Slot(begins, OLD, *_summed(parts)), *others], key=lambda one: one.begins)


def _summed(parts: list[tuple[NDArray[np.int64], NDArray[np.uint64]]]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    rows, at = np.unique(np.concatenate([rows for rows, _ in parts]), return_inverse=True)
    told = np.concatenate([counts for _, counts in parts], axis=1)
    counts = np.zeros((len(told), len(rows)), np.uint64)
    for column, values in zip(counts, told, strict=True):
        np.add.at(column, at, values)
    return rows, counts
