"""DNS overload: the counts of a window to findings, and to ends of findings (`nbnet/22-2-5`).

Owns the whole decision, in two steps with the reading of a few rows between them: `survey` says which
customers a window is about, `conclude` what is to be said of them. A customer is *over* in a window when
the rate is above its limit and the load condition holds. A customer that a measure leaves unanswered loads
nobody any more, so for those already found the load is asked only while most of their queries are answered:
else a measure would end by its own success, and the flood begin anew.

The evidence says what the decision was made of. It holds no name and no address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sekisho.config.detection import Detection
from sekisho.detect.load import Load, LoadSample, judge
from sekisho.detect.population import ENOUGH, Population, learn, louder, measure
from sekisho.detect.sustained import Watched, adopted, advance, carried, kept
from sekisho.model.measures import Evidence

MOST = 8192
"""Customers looked at closely in a window: the loudest, and those found."""
MEMORY = 86400.0
"""Seconds over which a customer's usual rate is an average."""
MADE_UP = 0.5
"""Share of new names, and of NXDOMAIN, from which on queries are called a flood of made-up names."""
FEW_ANSWERED = 0.5
"""Share of a customer's queries a measure must leave unanswered for the load to be no question any more."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted in the `seconds` up to `at` (UNIX seconds). counts uint32 (rows): queries."""

    at: float
    counts: NDArray[np.uint32]
    load: LoadSample
    whole: bool = True
    """Whether all the plane's workers counted all the while: where one did not, too few queries are no sign of anything."""
    late: bool = False
    """Not whole for one reason alone: a part of its queries is told with a later window, which is to say whether it was calm."""

    @property
    def seconds(self) -> float:
        return self.load.seconds


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a customer's queries of a window became."""

    forwarded: int
    """Sent on to a resolver."""
    new: int
    """Of these, names nobody had asked for lately."""
    nxdomain: int
    """Answers that there is no such name."""
    unanswered: int
    """Queries silenced, or over a hard budget."""
    elsewhere: int = 0
    """Queries that resolvers told of, or the kernel: of these it is known at most whether they were answered."""


@dataclass(frozen=True, slots=True)
class Line:
    """A customer of `survey`'s rows, as it is read from the tables. `customer` None: the row is nobody's any more."""

    customer: str | None
    addresses: int = 1
    """IPv4 addresses, or 1."""
    pattern: Pattern | None = None
    """None: not known for this window."""
    unheard: bool = False
    """A measure leaves them unanswered, and of what they ask no more is told: that they are quiet is no sign."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A window as far as counts alone tell it. `rows`: whose lines are to be read, ascending."""

    window: Window
    population: Population
    load: Load
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a customer stands."""

    customer: str
    evidence: Evidence
    over: bool
    found: bool
    since: float | None
    """UNIX seconds at which the condition came; None: it is not there."""
    calm: int
    """Windows, one after the other, in which the condition would be gone."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is to be said after a window."""

    found: tuple[Standing, ...]
    """Customers for whom the condition is there, newly or still."""
    gone: tuple[Standing, ...]
    """Customers for whom it was, and is no more."""
    survey: Survey
    lines: dict[int, Line]
    """What was read, by row."""
    watched: Watched
    """What is known of those rows after the window, and"""
    over: NDArray[np.bool_]
    """whether they were over in it."""


@dataclass(slots=True)
class Overload:
    """The detector's memory from window to window. Handed time and counts; asks nobody."""

    watched: Watched = field(default_factory=Watched)
    load: Load = field(default_factory=Load)
    usual: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Queries per second each row usually asks, float32 (rows)."""
    median: float = 0.0
    """Median of the population in windows without load, an average over them."""
    learnt: float = 0.0
    """Seconds, up to MEMORY, of which it is the average."""

    def adopt(self, row: int, customer: str, since: float) -> None:
        """Take over a condition known to be there: of a measure that was opened before this memory began."""
        self.watched = adopted(self.watched, row, customer, since)

    def survey(self, window: Window, settings: Detection) -> Survey:
        """The population and the load of a window, and whose lines are to be read for it."""
        population = measure(window.counts, window.seconds, settings, self.median)
        load = judge(window.load, settings.load, self.load)
        self.load = load
        loud = louder(window.counts, window.seconds, population.threshold * settings.release, MOST)
        return Survey(window, population, load, np.union1d(loud, self.watched.rows))

    def conclude(self, survey: Survey, lines: Sequence[Line], settings: Detection) -> Conclusion:
        """What is to be said; `lines` as `survey.rows`. Moves the memory on by one window."""
        window = survey.window
        there = np.fromiter((line.customer is not None for line in lines), np.bool_, len(lines))
        rows, lines = survey.rows[there], [line for line in lines if line.customer is not None]
        if len(window.counts) > len(self.usual):
            self.usual = np.concatenate((self.usual, np.zeros(len(window.counts) - len(self.usual), np.float32)))
        before = carried(self.watched, rows, [line.customer or "" for line in lines])
        rates = _rates(window, rows)
        limits = self._limits(survey.population, rows, lines, settings)
        unanswered = np.fromiter(
            (_unanswered(line, rate * window.seconds) for line, rate in zip(lines, rates, strict=True)), np.bool_, len(rows)
        )
        loaded = survey.load.held | (before.found & unanswered)
        over = (rates > limits) & loaded
        # Whether a measure leaves them unanswered is not known in the first window after a restart: that ends nothing.
        unknown = before.found & np.fromiter((line.pattern is None for line in lines), np.bool_, len(rows))
        unheard = np.fromiter((line.unheard for line in lines), np.bool_, len(rows))
        quiet = ((rates < limits * settings.release) | ~(loaded | unknown)) & ~unheard
        after, ended = advance(before, over, quiet & window.whole, settings, window.at, quiet & window.late)
        if window.whole and not survey.load.held:
            self._learn(survey)
        self.watched = kept(after)
        made = Conclusion((), (), survey, dict(zip(rows.tolist(), lines, strict=True)), after, over)
        there_still = np.flatnonzero(after.found & (after.calm == 0))
        return replace(
            made,
            found=tuple(self.stand(made, int(rows[index]), lines[int(index)], settings) for index in there_still),
            gone=tuple(self.stand(made, int(rows[index]), lines[int(index)], settings) for index in np.flatnonzero(ended)),
        )

    def stand(self, conclusion: Conclusion, row: int, line: Line, settings: Detection) -> Standing:
        """Where a customer stands after a window; `line` for those of whom none was read: far below the threshold."""
        survey, watched = conclusion.survey, conclusion.watched
        line = conclusion.lines.get(row, line)
        rows = np.array([row], np.int64)
        rate = float(_rates(survey.window, rows)[0])
        limit = float(self._limits(survey.population, rows, [line], settings)[0])
        at = watched.place(row)
        history = int(watched.history[at]) if at is not None else 0
        evidence = _evidence(survey, settings, line, rate, limit, self._usual(row), history)
        if at is None:
            return Standing(line.customer or "", evidence, over=False, found=False, since=None, calm=0)
        found = bool(watched.found[at])
        since = float(watched.since[at]) if found else None
        return Standing(line.customer or "", evidence, bool(conclusion.over[at]), found, since, int(watched.calm[at]))

    def _learn(self, survey: Survey) -> None:
        """What is usual, from a window without load."""
        seconds = survey.window.seconds
        learn(self.usual, survey.window.counts, seconds, MEMORY)
        if survey.population.active >= ENOUGH:
            self.learnt = min(MEMORY, self.learnt + seconds)
            self.median += (survey.population.median - self.median) * min(1.0, seconds / self.learnt)

    def _limits(self, population: Population, rows: NDArray[np.int64], lines: Sequence[Line], settings: Detection) -> NDArray[np.float64]:
        """Queries per second above which each customer is over."""
        addresses = np.fromiter((line.addresses if settings.by_address else 1 for line in lines), np.float64, len(rows))
        usual = np.array([self._usual(row) for row in rows], np.float64)
        return np.maximum(population.threshold * addresses, settings.usual * usual)

    def _usual(self, row: int) -> float:
        return float(self.usual[row]) if row < len(self.usual) else 0.0


def forget(memory: Overload) -> Overload:
    """What remains when windows have another length or meaning: who is found, and what is usual."""
    watched = memory.watched
    return replace(memory, watched=kept(replace(watched, history=np.zeros_like(watched.history), calm=np.zeros_like(watched.calm))))


def _rates(window: Window, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = np.zeros(len(rows), np.float64)
    known = rows < len(window.counts)
    counts[known] = window.counts[rows[known]]
    return counts / window.seconds


def _unanswered(line: Line, queries: float) -> bool:
    return line.pattern is not None and line.pattern.unanswered > 0 and line.pattern.unanswered >= FEW_ANSWERED * queries


def _evidence(survey: Survey, settings: Detection, line: Line, rate: float, limit: float, usual: float, history: int) -> Evidence:
    population, load = survey.population, survey.load
    evidence: dict[str, float | int | str] = {
        "rate": round(rate, 3),
        "limit": round(limit, 3),
        "threshold": round(population.threshold, 3),
        "floor": settings.floor,
        "statistic": settings.statistic.value,
        "factor": settings.factor,
        "mean": round(population.mean, 4),
        "median": round(population.median, 4),
        "mad": round(population.mad, 4),
        "active": population.active,
        "lift": round(population.lift, 2),
        "addresses": line.addresses,
        "usual": round(usual, 3),
        "window_seconds": round(survey.window.seconds, 3),
        "windows_over": history.bit_count(),
        "windows_needed": settings.sustained,
        "windows": settings.windows,
        "load": " ".join(load.holding) or "none",
        **_told("utilisation", load.utilisation),
        **_told("timeout_share", load.timeouts),
        **_told("latency_seconds", load.latency),
        **_told("all_queries", load.queries),
    }
    pattern, queries = line.pattern, rate * survey.window.seconds
    if pattern is not None and queries >= 1:
        answered = queries - pattern.unanswered
        evidence["unanswered_share"] = _share(pattern.unanswered, queries)
        if pattern.elsewhere:
            evidence["elsewhere_share"] = _share(pattern.elsewhere, queries)
        elif answered >= 1:
            new, nxdomain = _share(pattern.new, answered), _share(pattern.nxdomain, answered)
            evidence |= {"forwarded_share": _share(pattern.forwarded, answered), "new_name_share": new, "nxdomain_share": nxdomain}
            evidence["pattern"] = "random-subdomain" if new >= MADE_UP and nxdomain >= MADE_UP else "none"
    return evidence


def _share(part: float, whole: float) -> float:
    return round(min(1.0, part / whole), 4)


def _told(name: str, figure: float | None) -> dict[str, float]:
    return {} if figure is None else {name: round(figure, 6)}
