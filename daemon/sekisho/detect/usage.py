"""Usage of lines: octets by customer over sliding windows of five minutes to thirty days, never who talked to whom.

Owns the totals, the slots by which windows slide, and which source counts a customer. Each customer has two totals that only
grow, towards the customer and from them; at the end of each slot they are kept as they are, rounded, and a window is one
difference. Longer windows slide in longer slots, so a customer takes as much memory however long the windows are.

A window begins with the first slot that lies in it whole: what is said to have been used in a window was, and more may have
been. A customer whom several sources count is counted by one, the first of `Source` that does; another takes its place when it
falls silent, and what both counted is counted once. Pure: handed time, asks nobody.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.model.usage import Source

SHORTEST, LONGEST = 300.0, 30 * 86400.0
"""Windows that can be asked for, in seconds."""
JAPAN = 9 * 3600
"""Days begin at midnight in Japan."""
SILENT = 900.0
"""Seconds without a word, at least, after which a source counts a customer no more."""
LATE = 1.5
"""How many times its usual interval a source may take for its next report."""
SOURCES = tuple(Source)
"""In the order of who counts."""
NOBODY = len(SOURCES)
"""In place of a source: nobody counts the customer."""
COLUMNS = ("octets", "seconds", "seen", "gathered", "source", "today")
"""What is known of each row, besides what the rings keep."""
_MOST_SECONDS = 65535


@dataclass(frozen=True, slots=True)
class Kept:
    """The totals as they were when a slot ended.

    octets uint32 (2, rows): towards the customers and from them, in units of the ring, modulo 2^32; seconds uint16 (rows):
    seconds that were reported of, in units of the ring, modulo 2^16. A row beyond the end had nothing.
    """

    number: int
    octets: NDArray[np.uint32]
    seconds: NDArray[np.uint16]
    sources: NDArray[np.uint8] | None = None
    """Of a day: bit 0 is the first of `Source`: who counted on the day that ended."""


@dataclass(slots=True)
class Ring:
    """What is kept for windows up to `reach` seconds, in slots of `slot` seconds."""

    slot: int
    reach: int
    shift: int
    """Octets are kept in units of 2^shift."""
    tick: int
    """Seconds that were reported of are kept in units of so many."""
    kept: dict[int, Kept] = field(default_factory=dict)
    """By number, ascending; without a gap."""

    @property
    def most(self) -> int:
        return self.reach // self.slot + 1

    def number(self, at: float) -> int:
        """The slot a time lies in; slots are numbered from 1970 on, in Japan."""
        return int(at + JAPAN) // self.slot

    def begins(self, number: int) -> int:
        """UNIX seconds at which a slot begins."""
        return number * self.slot - JAPAN


def rings() -> tuple[Ring, ...]:
    """Ten minutes by the minute, an hour by five, a day by the hour, eight days by six hours, and a month by the day.

    Differences hold up to 16 TiB, 16 TiB, 1 PiB, 4 PiB and 4 PiB.
    """
    return (
        Ring(60, 600, 12, 1),
        Ring(300, 3600, 12, 1),
        Ring(3600, 86400, 18, 60),
        Ring(21600, 8 * 86400, 20, 600),
        Ring(86400, 31 * 86400, 20, 600),
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """All that is to be saved of a usage, of one moment. `columns` by name, rows last; `kept` by slot and number."""

    at: float
    columns: dict[str, NDArray[Any]]
    kept: dict[tuple[int, int], Kept]


@dataclass(frozen=True, slots=True)
class Used:
    """A window. octets float32 (2, rows): towards the customers and from them; seconds float32 (rows): over which they were counted,
    never less than the window short of one slot.
    """

    window: float
    octets: NDArray[np.float32]
    seconds: NDArray[np.float32]
    counted: NDArray[np.float32]
    """Seconds (rows) that were reported of in it, however many or few."""

    def rates(self) -> NDArray[np.float32]:
        """bit/s, float32 (2, rows)."""
        return self.octets * (np.float32(8) / self.seconds)


@dataclass(frozen=True, slots=True)
class Day:
    """What a customer used on one day. `begins`: UNIX seconds.

    A day that is over is in whole units of 1 MiB. The last is told to the octet, with what came in the day before since its last
    whole 256 KiB.
    """

    begins: int
    down: int
    up: int
    sources: tuple[Source, ...]


class Usage:
    """The totals of all customers, by row, and what is kept of them."""

    def __init__(self, at: float, room: int = 0) -> None:
        """Counting begins at `at` (UNIX seconds); `room`: rows to begin with."""
        self.at = at
        """As of when."""
        self.began = at
        """When sources began to hand in: their first batch is of the time since."""
        self.rings = rings()
        self.octets = np.zeros((2, room), np.uint64)
        self.seconds = np.zeros(room, np.float64)
        """Of which somebody reported."""
        self.source = np.full(room, NOBODY, np.uint8)
        """Who counts a customer, by the order of `Source`."""
        self.seen = np.zeros(room, np.float64)
        """UNIX seconds of the last report,"""
        self.gathered = np.zeros(room, np.uint16)
        """and of how many seconds such reports are, the usual interval; 0: no other is to come."""
        self.today = np.zeros(room, np.uint8)
        """Bit by source: who counted on this day."""
        self._last: dict[Source, float] = {}
        for ring in self.rings:
            self._keep(ring, ring.number(at))

    @property
    def rows(self) -> int:
        return len(self.seconds)

    def add(
        self,
        source: Source,
        at: float,
        rows: NDArray[np.int64],
        down: NDArray[np.uint64],
        up: NDArray[np.uint64],
        seconds: NDArray[np.float64] | None = None,
        early: NDArray[np.bool_] | None = None,
    ) -> None:
        """Octets since the last batch of the source; a row that stands several times has all of it, over the longest of its times.

        seconds float64 (as rows): of how many seconds up to `at` the octets are; None: since the last batch of the source or, of
        accounting, which tells of each customer now and then, since its last report of them.
        early bool (as rows): reports that came before their time, as the last of a session, and say nothing of the usual interval.
        """
        self.advance(at)
        since = self._last.get(source, min(self.began, at))
        self._last[source] = max(at, since)
        if not len(rows):
            return
        self._grow(int(rows.max()) + 1)
        if seconds is not None:
            of = np.maximum(seconds, 0.0)
        elif source is Source.RADIUS:
            ours = self.source[rows] == SOURCES.index(source)
            of = np.maximum(at - np.where(ours, np.maximum(self.seen[rows], self.began), self.began), 0.0)
        else:
            of = np.full(len(rows), max(0.0, at - since))
        if not (rows[1:] > rows[:-1]).all():
            early = None if early is None else np.isin(np.unique(rows), rows[early])
            rows, down, up, of = _once(rows, down, up, of)
        rank = SOURCES.index(source)
        held, seen = self.source[rows], self.seen[rows]
        silent = at - seen > np.maximum(SILENT, 2 * LATE * self.gathered[rows])
        counted = (held >= rank) | silent
        # Of a time in which another source counted, what it did not see is counted only.
        taken = counted & (held != rank) & (held != NOBODY)
        fresh = np.clip((at - np.maximum(at - of, seen)) / np.maximum(of, 1.0), 0.0, 1.0)
        part = np.where(taken, fresh, 1.0)
        if not counted.all():
            rows, down, up, of = rows[counted], down[counted], up[counted], of[counted]
            taken, fresh, part, seen = taken[counted], fresh[counted], part[counted], seen[counted]
            early = None if early is None else early[counted]
        if taken.any():
            down, up = (np.where(taken, octets * part, octets).astype(np.uint64) for octets in (down, up))
        self.octets[0, rows] += down
        self.octets[1, rows] += up
        # Two sessions of one customer are of one time.
        self.seconds[rows] += of * fresh
        self.source[rows] = rank
        self.seen[rows] = np.maximum(seen, at)
        usual = of if early is None else np.where(early & ~taken, np.maximum(of, self.gathered[rows]), of)
        self.gathered[rows] = np.minimum(usual, _MOST_SECONDS).astype(np.uint16)
        self.today[rows] |= np.uint8(1 << rank)

    def expect_none(self, source: Source, rows: NDArray[np.int64]) -> None:
        """No further report of these customers is to come from the source: nobody waits for one."""
        rows = rows[rows < self.rows]
        self.gathered[rows[self.source[rows] == SOURCES.index(source)]] = 0

    def ring(self, slot: int) -> Ring:
        return next(one for one in self.rings if one.slot == slot)

    def advance(self, at: float) -> None:
        """Have the slots end that are over at `at`. A clock set back changes nothing."""
        for ring in self.rings if at > self.at else ():
            number, newest = ring.number(at), max(ring.kept)
            if number > newest:
                # Nothing was counted in between: the slots that were missed began with the same totals.
                kept = self._keep(ring, max(newest + 1, number - ring.most))
                for missed in range(kept.number + 1, number + 1):
                    nobody = None if kept.sources is None else np.zeros(0, np.uint8)
                    ring.kept[missed] = Kept(missed, kept.octets, kept.seconds, nobody)
                for old in [one for one in ring.kept if one <= number - ring.most]:
                    del ring.kept[old]
        self.at = max(self.at, at)

    def totals(self) -> Totals:
        """A copy to be saved."""
        columns = {name: getattr(self, name).copy() for name in COLUMNS}
        return Totals(self.at, columns, {(ring.slot, number): kept for ring in self.rings for number, kept in ring.kept.items()})

    def window(self, seconds: float, now: float) -> Used:
        """What was used in the last `seconds` (SHORTEST to LONGEST), up to `now`. Raises ValueError for others."""
        if not SHORTEST <= seconds <= LONGEST:
            raise ValueError(f"a window has from {SHORTEST:g} s to {LONGEST:g} s, not {seconds:g}")
        ring = next(one for one in self.rings if seconds <= one.reach)
        first = min(ring.kept)
        begin = ring.kept[min(max(ring.number(now - seconds - 1e-6) + 1, first), max(ring.kept))]
        number = len(begin.seconds)
        octets = (self.octets >> np.uint64(ring.shift)).astype(np.uint32)
        octets[:, :number] -= begin.octets
        reported = (self.seconds * (1 / ring.tick)).astype(np.int64).astype(np.uint16)
        reported[:number] -= begin.seconds
        span = max(0.0, now - ring.begins(begin.number))
        # What was not counted long enough is held against the whole window.
        least = max(span, seconds - ring.slot)
        late = np.where(now - self.seen <= LATE * self.gathered + ring.tick, LATE * self.gathered, 0).astype(np.float32)
        covered = reported * np.float32(ring.tick)
        found = octets.astype(np.float32)
        found *= np.float32(1 << ring.shift)
        whole = np.float32(least if span >= seconds - ring.slot else seconds)
        # Who reports seldom has told of less than the span; but then of what it told, and no more.
        told = np.maximum(whole - late, whole * np.float32(0.5)) if late.any() else np.full(self.rows, whole, np.float32)
        return Used(seconds, found, np.maximum(covered, told), covered)

    def days(self, row: int) -> Iterator[Day]:
        """What a customer used, day by day, today last."""
        ring = self.rings[-1]
        kept = [ring.kept[number] for number in sorted(ring.kept)]
        for begin, end in itertools.pairwise(kept):
            down, up = ((_at(end.octets[way], row) - _at(begin.octets[way], row)) % 2**32 << ring.shift for way in (0, 1))
            bits = _at(end.sources, row) if end.sources is not None else 0
            yield Day(ring.begins(begin.number), down, up, _named(bits))
        begin = kept[-1]
        # Where an hour that began with the day is known, what was before is known more finely.
        hours = self.ring(3600)
        finer, shift = hours.kept.get(hours.number(ring.begins(begin.number))), hours.shift
        if finer is None:
            finer, shift = begin, ring.shift
        whole = [int(_at(self.octets[way], row)) for way in (0, 1)]
        down, up = ((octets - (_at(finer.octets[way], row) << shift)) % (1 << 32 + shift) for way, octets in enumerate(whole))
        yield Day(ring.begins(begin.number), down, up, _named(_at(self.today, row)))

    def counted_by(self, row: int) -> Source | None:
        """Who counts a customer."""
        rank = int(self.source[row]) if row < self.rows else NOBODY
        return SOURCES[rank] if rank < NOBODY else None

    def _keep(self, ring: Ring, number: int) -> Kept:
        octets = (self.octets >> np.uint64(ring.shift)).astype(np.uint32)
        seconds = (self.seconds * (1 / ring.tick)).astype(np.int64).astype(np.uint16)
        sources = None
        if ring is self.rings[-1]:
            sources, self.today = self.today, np.zeros_like(self.today)
        kept = ring.kept[number] = Kept(number, octets, seconds, sources)
        return kept

    def _grow(self, rows: int) -> None:
        if rows <= self.rows:
            return
        more = max(rows, self.rows + self.rows // 4 + 1024) - self.rows
        self.octets = np.concatenate((self.octets, np.zeros((2, more), np.uint64)), axis=1)
        self.seconds = np.concatenate((self.seconds, np.zeros(more)))
        self.source = np.concatenate((self.source, np.full(more, NOBODY, np.uint8)))
        self.seen = np.concatenate((self.seen, np.zeros(more)))
        self.gathered = np.concatenate((self.gathered, np.zeros(more, np.uint16)))
        self.today = np.concatenate((self.today, np.zeros(more, np.uint8)))


def _at(column: NDArray[np.unsignedinteger], row: int) -> int:
    return int(column[row]) if row < len(column) else 0


def _named(bits: int) -> tuple[Source, ...]:
    return tuple(source for rank, source in enumerate(SOURCES) if bits >> rank & 1)


def _once(
    rows: NDArray[np.int64], down: NDArray[np.uint64], up: NDArray[np.uint64], of: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.float64]]:
    """The same with each row once, ascending: octets added up, and the longest time."""
    each, at = np.unique(rows, return_inverse=True)
    summed = np.zeros((2, len(each)), np.uint64)
    longest = np.zeros(len(each))
    np.add.at(summed[0], at, down)
    np.add.at(summed[1], at, up)
    np.maximum.at(longest, at, of)
    return each, summed[0], summed[1], longest
