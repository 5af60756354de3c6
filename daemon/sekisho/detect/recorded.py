"""Recorded traffic by stretches of time: what a reader of recordings counts, as the detectors are handed it.

Owns the cutting of a recording into windows of queries and slots of octets, in whatever order it was read. Only counts by
customers' row are kept: no name, no address. Pure: time is that of the recording.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.detect.load import LoadSample
from sekisho.detect.overload import Pattern, Window
from sekisho.model.counters import LATENCY_BOUNDS_US
from sekisho.model.usage import Source

SLOT = 60
"""Seconds of a slot of octets."""
TOP, BUCKETS = 4, 32
"""Of the sketch that tells few targets of connections from many, as the collector of flows has it."""
_BEHIND = 5
"""Slots after which one is taken to be over; what comes later still is a part of its own."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a source counted in the slot that ends at `at` (UNIX seconds): arrays as those of `Traffic.add`, ascending rows."""

    source: Source
    at: float
    rows: NDArray[np.int64]
    down: NDArray[np.uint64]
    up: NDArray[np.uint64]
    mail: NDArray[np.uint32]
    connections: NDArray[np.uint32]
    focused: NDArray[np.uint32]


@dataclass(slots=True)
class _Asked:
    """The queries of one window, by row."""

    counts: Counter[int] = field(default_factory=Counter)
    new: Counter[int] = field(default_factory=Counter)
    nxdomain: Counter[int] = field(default_factory=Counter)
    answered: int = 0
    failed: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_US) + 1))


@dataclass(slots=True)
class _Slot:
    """Octets down and up, connections to mail and all of them by row; and the latter by bucket of their target."""

    counts: dict[int, list[int]] = field(default_factory=dict)
    targets: dict[int, Counter[int]] = field(default_factory=dict)


class Recorded:
    """The counts of one recording, in windows of `window` seconds for queries."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.begin: float | None = None
        """UNIX seconds of the first thing that was counted or seen,"""
        self.end: float = 0.0
        """and of the last."""
        self.queries = 0
        self.answers = 0
        self.octets = 0
        self.nobody = 0
        """Packets or records of no customer."""
        self.blocked: Counter[tuple[int, str, str, str]] = Counter()
        """Queries a list would have answered: by row, list, clause and what is answered."""
        self._asked: dict[int, _Asked] = {}
        self._slots: dict[tuple[Source, int], _Slot] = {}
        self._batches: list[Batch] = []
        self._newest = 0

    def saw(self, at: float) -> None:
        """Something was recorded at a time, of whomever it was."""
        self.begin = at if self.begin is None else min(at, self.begin)
        self.end = max(at, self.end)

    def carry(
        self, source: Source, at: float, row: int, down: int, up: int, opened: int = 0, *, mail: bool = False, bucket: int = 0
    ) -> None:
        """Octets of a customer, and the connections they opened: `mail`, to a port of mail; `bucket` 0 to BUCKETS - 1, of the target."""
        number = int(at // SLOT)
        if number > self._newest:
            self._newest = number
            for key in [key for key in self._slots if key[1] < number - _BEHIND]:
                self._batches.append(_batch(key[0], key[1], self._slots.pop(key)))
        slot = self._slots.setdefault((source, number), _Slot())
        counts = slot.counts.setdefault(row, [0, 0, 0, 0])
        counts[0] += down
        counts[1] += up
        self.octets += down + up
        if opened:
            counts[2] += opened if mail else 0
            counts[3] += opened
            slot.targets.setdefault(row, Counter())[bucket] += opened

    def ask(self, at: float, row: int, *, new: bool) -> None:
        """A query; `new`: of a name nobody had asked for before."""
        self.queries += 1
        asked = self._at(at)
        asked.counts[row] += 1
        if new:
            asked.new[row] += 1

    def answer(self, asked_at: float, row: int, seconds: float, *, nxdomain: bool) -> None:
        """The answer to a query, so many seconds after it."""
        self.answers += 1
        asked = self._at(asked_at)
        asked.answered += 1
        asked.latency[bisect.bisect_left(LATENCY_BOUNDS_US, max(0.0, seconds) * 1e6)] += 1
        if nxdomain:
            asked.nxdomain[row] += 1

    def fail(self, asked_at: float) -> None:
        """A query got no answer in time."""
        self._at(asked_at).failed += 1

    def windows(self, rows: int, *, loaded: bool = False) -> Iterator[tuple[Window, dict[int, Pattern]]]:
        """Every window from the first query to the end, with what the queries of each row became; empty ones too.

        `loaded`: name servers are taken to be busy all the time. Else load follows from answers; a recording without any has none.
        """
        if not self._asked or self.begin is None:
            return
        last = int(self.end // self.window)
        for number in range(min(self._asked), last + 1):
            asked = self._asked.get(number, _NOTHING)
            counts = np.zeros(rows, np.uint32)
            for row, count in asked.counts.items():
                counts[row] = count
            at = (number + 1) * self.window
            failed = asked.failed if self.answers else 0
            sample = LoadSample(self.window, [self.window] if loaded else [], asked.answered, failed, asked.latency)
            patterns = {row: Pattern(forwarded=0, new=asked.new[row], nxdomain=asked.nxdomain[row], unanswered=0) for row in asked.counts}
            # A window the recording does not fill is no sign of few queries.
            yield Window(at, counts, sample, whole=self.begin <= at - self.window and at <= self.end + 1), patterns

    def batches(self) -> list[Batch]:
        """All slots, in the order of time."""
        self._batches += [_batch(source, number, slot) for (source, number), slot in self._slots.items()]
        self._slots.clear()
        self._batches.sort(key=lambda one: one.at)
        return self._batches

    def _at(self, at: float) -> _Asked:
        return self._asked.setdefault(int(at // self.window), _Asked())


_NOTHING = _Asked()


def _batch(source: Source, number: int, slot: _Slot) -> Batch:
    rows = np.array(sorted(slot.counts), np.int64)
    columns = np.array([slot.counts[row] for row in rows.tolist()], np.uint64).reshape(-1, 4)
    focused = np.array([sum(count for _, count in slot.targets.get(row, Counter()).most_common(TOP)) for row in rows.tolist()], np.uint32)
    down, up, mail, connections = (columns[:, column] for column in range(4))
    return Batch(source, (number + 1.0) * SLOT, rows, down, up, mail.astype(np.uint32), connections.astype(np.uint32), focused)
