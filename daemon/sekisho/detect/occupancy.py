"""Who occupies lines and shared segments: usage to findings, and to ends of findings (`nbnet/22-2-4`, `vectant/16-3`, `gunma/19-2`).

Owns the whole decision; `occupied` judges the single line for it. A customer is *over* in a look when, in one direction, all of
this holds: the share of the capacity over the rule's window, or a volume of the rule; a segment the line is on is congested;
and the line uses several times what the median active line of that segment does. So a download on an idle line is nobody's
harm, and an event that lifts everybody nobody's doing: also for as long as it is part of the window that is looked back on.

A limited customer uses little because of the limit: for them the condition lasts while they press against it and the segment
would be congested without it. Else a measure would end by its own success. Segments are judged by the traffic of their lines; a line
of which accounting tells seldom goes on as in its last report (`recently`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sekisho.config.bandwidth import Bandwidth
from sekisho.detect.lines import Lines, fitted
from sekisho.detect.occupied import SegmentState, Under, evidence_of, judged
from sekisho.detect.recently import recently
from sekisho.detect.sustained import Watched, adopted, advance, carried, kept
from sekisho.detect.usage import Usage, Used
from sekisho.model.clauses import Capacity, MeasureRule
from sekisho.model.measures import Evidence

MOST = 8192
"""Customers looked at closely under one rule: those found, and the heaviest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A customer under a clause whose condition is there, or is no more."""

    customer: str
    clause: str
    window: float
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be said after a look at `at` (UNIX seconds)."""

    at: float
    found: tuple[Seen, ...]
    gone: tuple[Seen, ...]
    segments: tuple[SegmentState, ...]


class Looked:
    """The windows of usage one look is made of, each taken once."""

    def __init__(self, usage: Usage, now: float) -> None:
        self.now = now
        self.window: Callable[[float], Used] = cache(lambda seconds: usage.window(seconds, now))
        """What was used in so many seconds,"""
        self.rates: Callable[[float], Used] = cache(lambda seconds: recently(usage, seconds, now))
        """and how fast."""


Names = Callable[[NDArray[np.int64]], Sequence[str]]
"""The customers in some rows."""
IsLimited = Callable[[str, str], bool]
"""Whether a measure under a clause limits a customer now."""


@dataclass(slots=True)
class Occupancy:
    """The detector's memory from look to look. Handed time and usage; asks nobody."""

    watched: dict[str, Watched] = field(default_factory=dict)
    """By clause."""
    congested: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """By segment: whether it was, in each direction."""

    def adopt(self, clause: str, row: int, customer: str, since: float) -> None:
        """Take over a condition known to be there: of a measure that was opened before this memory began."""
        self.watched[clause] = adopted(self.watched.get(clause, Watched()), row, customer, since)

    def look(self, usage: Usage, lines: Lines, settings: Bandwidth, names: Names, is_limited: IsLimited, now: float) -> Look:
        """One look at all lines, and the memory one look on."""
        looked = Looked(usage, now)
        short = fitted(looked.rates(settings.congestion_window).rates(), lines.rows)
        limited = self._limited(lines, names, is_limited)
        segments = self._segments(lines, settings, short, limited)
        found: list[Seen] = []
        gone: list[Seen] = []
        rules = [rule for rule in lines.each_rule() if rule.share is not None or rule.volumes]
        for rule in rules:
            self._rule(rule, lines, settings, names, segments, short, limited.get(rule.clause, {}), looked, (found, gone))
        for clause in [one for one in self.watched if one not in {rule.clause for rule in rules}]:
            del self.watched[clause]
        return Look(now, tuple(found), tuple(gone), tuple(segments))

    def _limited(self, lines: Lines, names: Names, is_limited: IsLimited) -> Mapping[str, Mapping[int, float]]:
        """By clause, the rows whose line is limited, and the share of it that is left."""
        found: dict[str, dict[int, float]] = {}
        for rule in lines.each_rule():
            watched = self.watched.get(rule.clause)
            if watched is None or rule.keep is None:
                continue
            rows = watched.rows[watched.found & (watched.rows < lines.rows)]
            at = {row: name for row, name in zip(rows.tolist(), names(rows), strict=True) if is_limited(name, rule.clause)}
            found[rule.clause] = dict.fromkeys(at, rule.keep)
        return found

    def _segments(
        self, lines: Lines, settings: Bandwidth, short: NDArray[np.float32], limited: Mapping[str, Mapping[int, float]]
    ) -> list[SegmentState]:
        number = len(lines.segments)
        if not number:
            return []
        rows, of = lines.members
        load = np.vstack([np.bincount(of, weights=short[way][rows], minlength=number) for way in (0, 1)])
        more = np.zeros_like(load)
        left: dict[int, float] = {}
        for by_row in limited.values():
            for row, keep in by_row.items():
                left[row] = min(keep, left.get(row, 1.0))
        for row, keep in left.items():
            whole = lines.capacity[:, row]
            presses = short[:, row] >= settings.pressing * keep * whole
            for segment in lines.on(row):
                more[:, segment] += np.where(presses, np.maximum(whole - short[:, row], 0), 0)
        carries = lines.carried().astype(np.float64)
        now, without = load / carries, (load + more) / carries
        states = []
        for index, one in enumerate(lines.segments):
            value = settings.congested if one.congested is None else one.congested
            was = np.array(self.congested.get(one.id, (False, False)))
            held = np.where(was, value * settings.release, value)
            congested = now[:, index] >= held
            self.congested[one.id] = bool(congested[0]), bool(congested[1])
            would_be = without[:, index] >= value * settings.release
            states.append(SegmentState(now[:, index], without[:, index], congested, would_be))
        return states

    def _rule(
        self,
        rule: MeasureRule,
        lines: Lines,
        settings: Bandwidth,
        names: Names,
        segments: list[SegmentState],
        short: NDArray[np.float32],
        limited: Mapping[int, float],
        looked: Looked,
        said: tuple[list[Seen], list[Seen]],
    ) -> None:
        """One rule: who is over, who is calm, and what follows."""
        before = self.watched.get(rule.clause, Watched())
        under = self._candidates(rule, lines, settings, segments, looked, before)
        rows, told = under.rows, list(names(under.rows))
        on = [lines.on(int(row)) for row in rows]
        memory = carried(before, rows, told)
        over, calm = np.zeros(len(rows), np.bool_), np.ones(len(rows), np.bool_)
        for index, row in enumerate(rows.tolist()):
            is_limited = row in limited
            first, still = judged(under, index, on[index], settings, segments, lines, short, limited.get(row))
            over[index] = (still if is_limited else first) and bool(told[index])
            calm[index] = not still or not told[index]
        after, ended = advance(memory, over, calm, settings, looked.now)
        self.watched[rule.clause] = kept(after)
        seconds = rule.window if rule.share is not None and rule.window is not None else max(one.window for one in rule.volumes)
        for place, into in ((np.flatnonzero(after.found & (after.calm == 0)), said[0]), (np.flatnonzero(ended), said[1])):
            for index in place.tolist():
                evidence = evidence_of(under, index, on[index], settings, segments, lines, int(rows[index]) in limited, after)
                into.append(Seen(told[index], rule.clause, seconds, evidence))

    def _candidates(
        self,
        rule: MeasureRule,
        lines: Lines,
        settings: Bandwidth,
        segments: list[SegmentState],
        looked: Looked,
        before: Watched,
    ) -> Under:
        """The rows to look at closely: near the share or a volume in a direction that counts, and those watched."""
        shared = rule.share is not None and rule.window is not None
        used = looked.rates(rule.window or 0.0) if shared else looked.window(rule.volumes[0].window)
        capacity = self._capacity(rule, lines)
        near = np.zeros(lines.rows, np.bool_)
        counts = self._counting(rule, lines, segments)
        if rule.share is not None:
            bits = fitted(used.octets, lines.rows) * np.float32(8)
            time = fitted(used.seconds, lines.rows)
            for way in (0, 1):
                least = capacity[way] * np.float32(rule.share * settings.release) * time
                near |= (bits[way] >= least) & (capacity[way] > 0) & counts[way]
        for one in rule.volumes:
            way = int(one.up)
            octets = fitted(looked.window(one.window).octets[way], lines.rows)
            near |= (octets >= np.float32(one.octets * settings.release)) & counts[way]
        near &= lines.under(rule)
        rows = np.flatnonzero(near).astype(np.int64)
        if len(rows) > MOST:
            heavy = fitted(used.octets, lines.rows).sum(axis=0)[rows]
            rows = rows[np.argpartition(heavy, len(rows) - MOST)[-MOST:]]
        rows = np.union1d(rows, before.rows[before.rows < lines.rows])
        per_second = np.float32(8) / np.maximum(fitted(used.seconds, lines.rows)[rows], np.float32(1))
        rates = (fitted(used.octets, lines.rows)[:, rows] * per_second).astype(np.float32)
        volumes = [fitted(looked.window(one.window).octets[int(one.up)], lines.rows) for one in rule.volumes]
        medians, middles = self._medians(rule, lines, settings, segments, used, volumes, rows)
        return Under(rule, rows, rates, capacity[:, rows], [one[rows] for one in volumes], medians, middles)

    @staticmethod
    def _capacity(rule: MeasureRule, lines: Lines) -> NDArray[np.float32]:
        if rule.of is Capacity.LINE:
            return lines.capacity
        smallest = np.full((2, lines.rows), np.inf, np.float32)
        carries = lines.carried()
        rows, of = lines.members
        for way in (0, 1):
            np.minimum.at(smallest[way], rows, carries[way][of])
        smallest[~np.isfinite(smallest)] = 0
        return smallest

    @staticmethod
    def _counting(rule: MeasureRule, lines: Lines, segments: list[SegmentState]) -> NDArray[np.bool_]:
        """In which directions each line may be found, bool (2, rows)."""
        if not rule.congested:
            return np.ones((2, lines.rows), np.bool_)
        counts = np.zeros((2, lines.rows), np.bool_)
        rows, of = lines.members
        for way in (0, 1):
            congested = np.array([one.congested[way] for one in segments], np.bool_)
            if congested.any():
                counts[way][rows[congested[of]]] = True
        return counts

    @staticmethod
    def _medians(
        rule: MeasureRule,
        lines: Lines,
        settings: Bandwidth,
        segments: list[SegmentState],
        used: Used,
        volumes: list[NDArray[np.float32]],
        rows: NDArray[np.int64],
    ) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]:
        """What the median line that used anything did, of the congested segments the rows are on: bit/s, and octets of each volume."""
        medians: dict[tuple[int, int], float] = {}
        middles: dict[tuple[int, int], float] = {}
        if not len(rows) or settings.factor <= 1 or not rule.congested:
            return medians, middles
        everybody, of = lines.members
        first, end = np.searchsorted(everybody, rows), np.searchsorted(everybody, rows, side="right")
        on = np.unique(of[np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])])
        rates = used.rates() if len(on) else np.zeros((2, 0), np.float32)
        for segment in on.tolist():
            members = everybody[of == segment]
            for way in (0, 1):
                if not segments[segment].congested[way]:
                    continue
                medians[segment, way] = _median(fitted(rates[way], lines.rows)[members])
                for index, octets in enumerate(volumes):
                    if rule.volumes[index].up == bool(way):
                        middles[segment, index] = _median(octets[members])
        return medians, middles


def _median(values: NDArray[np.float32]) -> float:
    """The lower median of those above zero; 0 of none."""
    active = values[values > 0]
    middle = (len(active) - 1) // 2
    return float(np.partition(active, middle)[middle]) if len(active) else 0.0
