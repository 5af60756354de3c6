"""Lines and the segments they share, as detectors see them: arrays by the customers' row.

Owns what a line is to a detector: its capacity, the segments it is on, and the rules of its terms. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.config.bandwidth import Segment
from sekisho.model.clauses import MeasureRule


@dataclass(frozen=True, slots=True)
class Lines:
    """All lines. A row beyond the end, or of terms 0, is nobody's.

    capacity float32 (2, rows): bit/s towards the customer and from them, 0: not known. terms uint16 (rows): which of `rules` is
    the line's. members int64 (2, n): row and segment, of every line on a segment, by ascending row.
    """

    capacity: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 0), np.float32))
    terms: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(0, np.uint16))
    rules: tuple[tuple[MeasureRule, ...], ...] = ((),)
    members: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 0), np.int64))
    segments: tuple[Segment, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.terms)

    def under(self, rule: MeasureRule) -> NDArray[np.bool_]:
        """Which lines' terms have a rule, bool (rows)."""
        having = np.array([any(one is rule or one == rule for one in rules) for rules in self.rules], np.bool_)
        return having[self.terms]

    def carried(self) -> NDArray[np.float32]:
        """What each segment carries, bit/s, float32 (2, segments)."""
        return np.array([[one.down for one in self.segments], [one.up for one in self.segments]], np.float32).reshape(2, -1)

    def each_rule(self) -> tuple[MeasureRule, ...]:
        """Every rule of any line, once, in the order of the packs."""
        return tuple(dict.fromkeys(rule for rules in self.rules for rule in rules))

    def on(self, row: int) -> list[int]:
        """The segments a line is on."""
        first, end = np.searchsorted(self.members[0], [row, row + 1])
        return [int(one) for one in self.members[1, first:end]]


def fitted(column: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """A column or two of so many rows: cut off, or with nothing added."""
    if column.shape[-1] >= rows:
        return column[..., :rows]
    return np.concatenate((column, np.zeros((*column.shape[:-1], rows - column.shape[-1]), column.dtype)), axis=-1)
