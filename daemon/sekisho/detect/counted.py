"""Who begins too many connections: counts of a window to findings, and to ends of findings.

Owns the decision of the detectors that count connections: mass mail (`detect.mailvolume`) and connection storms
(`detect.storms`). A customer is over when the count reached the rule's number; who is found stays so until it is well below, or
while they press against a limit that is in force.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.config.bandwidth import Bandwidth
from sekisho.detect.lines import Lines
from sekisho.detect.occupancy import MOST, IsLimited, Names, Seen
from sekisho.detect.sustained import Watched, adopted, advance, carried, kept
from sekisho.detect.tally import Tally
from sekisho.model.clauses import MeasureRule


@dataclass(slots=True)
class Counted:
    """A detector's memory from look to look. Handed time and counts; asks nobody."""

    watched: dict[str, Watched] = field(default_factory=dict)
    """By clause."""

    def adopt(self, clause: str, row: int, customer: str, since: float) -> None:
        """Take over a condition known to be there: of a measure that was opened before this memory began."""
        self.watched[clause] = adopted(self.watched.get(clause, Watched()), row, customer, since)

    def look(
        self, tally: Tally, lines: Lines, rules: Sequence[MeasureRule], settings: Bandwidth, names: Names, is_limited: IsLimited, now: float
    ) -> tuple[list[Seen], list[Seen]]:
        """Who is found, newly or still, and whose condition is no more."""
        found: list[Seen] = []
        gone: list[Seen] = []
        for rule in rules:
            self._rule(rule, tally, lines, settings, names, is_limited, now, found, gone)
        for clause in [one for one in self.watched if one not in {rule.clause for rule in rules}]:
            del self.watched[clause]
        return found, gone

    def _rule(
        self,
        rule: MeasureRule,
        tally: Tally,
        lines: Lines,
        settings: Bandwidth,
        names: Names,
        is_limited: IsLimited,
        now: float,
        found: list[Seen],
        gone: list[Seen],
    ) -> None:
        before = self.watched.get(rule.clause, Watched())
        window, number = rule.window or 600.0, rule.count or 1
        rows, counts = tally.window(window, now)
        inside = rows < lines.rows
        rows, counts = rows[inside], counts[:, inside]
        near = (counts[0] >= number * settings.release) & lines.under(rule)[rows]
        close = rows[near]
        if len(close) > MOST:
            close = np.sort(close[np.argpartition(counts[0][near], len(close) - MOST)[-MOST:]])
        looked = np.union1d(close, before.rows[before.rows < lines.rows])
        told = list(names(looked))
        seen = _picked(rows, counts, looked)
        memory = carried(before, looked, told)
        focus = seen[-1] / np.maximum(seen[0], 1)
        few = np.ones(len(looked), np.bool_) if rule.focus is None else focus >= rule.focus
        there = np.fromiter((bool(name) for name in told), np.bool_, len(told))
        limited = np.fromiter((bool(name) and is_limited(name, rule.clause) for name in told), np.bool_, len(told))
        left = _left(rule, window)
        least = np.where(limited & memory.found, min(number * settings.release, settings.pressing * left), number * settings.release)
        over = (seen[0] >= np.where(limited & memory.found, least, number)) & few & there
        calm = (seen[0] < least) | ~few | ~there
        after, ended = advance(memory, over, calm, settings, now)
        self.watched[rule.clause] = kept(after)
        for places, into in ((np.flatnonzero(after.found & (after.calm == 0)), found), (np.flatnonzero(ended), gone)):
            for index in places.tolist():
                evidence: dict[str, float | int | str] = {
                    "connections": int(seen[0][index]),
                    "threshold": number,
                    "window_seconds": round(window),
                    "windows_over": int(after.history[index]).bit_count(),
                    "windows_needed": settings.sustained,
                    "windows": settings.windows,
                    "limited": int(limited[index]),
                }
                if rule.focus is not None:
                    evidence |= {"few_targets_share": round(float(focus[index]), 4), "few_targets_threshold": rule.focus}
                into.append(Seen(told[index], rule.clause, window, evidence))


def _picked(rows: NDArray[np.int64], counts: NDArray[np.uint64], looked: NDArray[np.int64]) -> NDArray[np.float64]:
    """The counts of some rows, float64 (columns, looked); none of those who did nothing."""
    made = np.zeros((len(counts), len(looked)))
    if len(rows):
        at = np.minimum(np.searchsorted(rows, looked), len(rows) - 1)
        same = rows[at] == looked
        made[:, same] = counts[:, at[same]]
    return made


def _left(rule: MeasureRule, window: float) -> float:
    """Connections a limit of mail leaves in a window; of any other effect the rule's own number."""
    return rule.connections * window / 60 if rule.connections is not None else float(rule.count or 1)
