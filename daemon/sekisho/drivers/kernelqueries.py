"""What the kernel counted of customers' queries, window by window: those it dropped, and those on their way to a resolver.

Owns what becomes of a reading that is longer or shorter than a window. Where a window's end fell within it nobody knows what belongs
to which: its queries are taken as a rate, over the time since the reading before. A window in which no reading came is *late* while
the readings come as they did: what was asked in it is told with a later one. Counters are 32 bits wide and wrap.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LATE = 2.0
"""Of the time between the last two readings, what may pass until the next."""
_ENOUGH = 0.5
"""Share of a window that readings must be about, for their rate to be the window's."""
_NOTHING = np.zeros(0, np.uint32)


class Told(enum.Enum):
    """What is known of a window."""

    YES = enum.auto()
    LATE = enum.auto()
    NO = enum.auto()


class _Sums(NamedTuple):
    """Everything counted until a moment, by row, over so many seconds; `apart`: those of the last reading."""

    dropped: NDArray[np.uint32] = _NOTHING
    asked: NDArray[np.uint32] = _NOTHING
    seconds: float = 0.0
    apart: float = 0.0


class KernelQueries:
    """Readings in, windows out. A window may be asked for by another thread than the one that reads."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether queries on their way are to be read, by the configuration."""
        self._sums = self._last = _Sums()
        """Up to now, and up to the last window."""
        self._at = 0.0
        """Monotonic seconds of the last window, and"""
        self._heard_at: float | None = None
        """of the last that was told."""
        self._factor = 1.0
        """Of what was read in the last window, what is the window's."""

    def dropped(self, rows: NDArray[np.int64], queries: NDArray[np.uint32]) -> None:
        """Queries of customers that the kernel dropped, since the last call: asked, and not answered. Rows are each there once."""
        # One store: a window may be read meanwhile.
        self._sums = self._sums._replace(dropped=_added(self._sums.dropped, rows, queries))

    def asked(self, rows: NDArray[np.int64], queries: NDArray[np.uint32], seconds: float) -> None:
        """Queries of customers that the kernel saw on their way to a resolver in the `seconds` since the last call, whatever became of it.

        To be called at each reading, if there were none too: a window without one is not whole.
        """
        sums = self._sums
        self._sums = _Sums(sums.dropped, _added(sums.asked, rows, queries), sums.seconds + seconds, seconds)

    def window(self, now: float) -> tuple[NDArray[np.uint32], Told]:
        """Queries of the time since the last call, by row, and whether they are all (`now`: monotonic seconds)."""
        before, self._last = self._last, self._sums
        length, self._at = now - self._at, now
        covered, told = self._last.seconds - before.seconds, Told.YES
        self._factor = 1.0
        if self.wanted and covered >= length * _ENOUGH:
            self._heard_at, self._factor = now, length / covered
        elif self.wanted:
            late = self._heard_at is not None and not covered and now - self._heard_at <= _LATE * self._last.apart
            told = Told.LATE if late else Told.NO
        queries = _added(_since(self._last.dropped, before.dropped), slice(len(self._last.asked)), _since(self._last.asked, before.asked))
        return self.share(queries), told

    def share(self, queries: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Of queries read in the last window, what is the window's."""
        if self._factor == 1.0:
            return queries
        shared: NDArray[np.float64] = np.minimum(np.rint(queries * self._factor), 2**32 - 1)
        return shared.astype(np.uint32)

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Dropped and on their way, up to the last window; uint32 (rows, 2)."""
        found = np.zeros((len(rows), 2), np.uint32)
        for column, sums in enumerate((self._last.dropped, self._last.asked)):
            here = rows < len(sums)
            found[here, column] = sums[rows[here]]
        return found

    def is_dropped(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whose queries the kernel drops, and counts: these are heard of."""
        dropped = self._sums.dropped
        found = np.zeros(len(rows), np.bool_)
        here = rows < len(dropped)
        found[here] = dropped[rows[here]] != 0
        return found


def _since(now: NDArray[np.uint32], before: NDArray[np.uint32]) -> NDArray[np.uint32]:
    grown = now.copy()
    grown[: len(before)] -= before
    return grown


def _added(sums: NDArray[np.uint32], rows: NDArray[np.int64] | slice, queries: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Sums by row, with more; they wrap."""
    most = rows.stop if isinstance(rows, slice) else int(rows.max(initial=-1)) + 1
    grown = np.zeros(max(len(sums), most), np.uint32)
    grown[: len(sums)] = sums
    grown[rows] += queries
    return grown
