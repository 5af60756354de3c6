"""Populations to look at: lines of households and others, the load of a window, and a detector that looks window by window."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from sekisho.config.detection import Detection
from sekisho.detect.load import LoadSample
from sekisho.detect.overload import Conclusion, Line, Overload, Pattern, Window
from sekisho.model.counters import LATENCY_BOUNDS_US

QUIET, LOADED = 0.2, 0.95
"""Share of its time the busiest worker is busy."""
BUCKETS = len(LATENCY_BOUNDS_US) + 1


def sample(utilisation: float = QUIET, *, failed: int = 0, answered: int = 1000, seconds: float = 10.0, bucket: int = 4) -> LoadSample:
    latency = [0] * BUCKETS
    latency[bucket] = answered
    return LoadSample(seconds, [utilisation * seconds / 2, utilisation * seconds], answered, failed, latency)


def households(number: int, seed: int = 1, rate: float = 0.3) -> np.ndarray:
    """Queries per second of ordinary lines: log-normal, as they are, a third of them asking nothing just now."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(np.log(rate), 1.0, number) * (rng.random(number) > 1 / 3)


@dataclass
class Site:
    """A population in rows from 1 on; `loud` are named customers in the last rows, with their queries per second."""

    lines: np.ndarray
    loud: Mapping[str, float] = field(default_factory=dict)
    settings: Detection = field(default_factory=Detection)
    addresses: Mapping[str, int] = field(default_factory=dict)
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    unheard: Collection[str] = ()
    memory: Overload = field(default_factory=Overload)
    now: float = 1_000_000.0
    seed: int = 0

    def row(self, customer: str) -> int:
        return 1 + len(self.lines) + list(self.loud).index(customer)

    def name(self, row: int) -> str:
        here = row - 1 - len(self.lines)
        return list(self.loud)[here] if here >= 0 else f"h-{row}"

    def look(self, utilisation: float = QUIET, *, times: float = 1.0, whole: bool = True, late: bool = False, **load: float) -> Conclusion:
        """One window; every rate is `times` what it is."""
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        seconds = self.settings.window
        self.now += seconds
        rates = np.concatenate(([0.0], self.lines, list(self.loud.values()))) * times
        counts = rng.poisson(rates * seconds).astype(np.uint32)
        window = Window(self.now, counts, sample(utilisation, seconds=seconds, **load), whole, late)  # type: ignore[arg-type]
        survey = self.memory.survey(window, self.settings)
        names = [self.name(int(row)) for row in survey.rows]
        lines = [Line(name, self.addresses.get(name, 1), self.patterns.get(name), name in self.unheard) for name in names]
        return self.memory.conclude(survey, lines, self.settings)

    def found(self, windows: int, utilisation: float = QUIET, **more: float) -> set[str]:
        """Everybody found in some of so many windows."""
        return {one.customer for _ in range(windows) for one in self.look(utilisation, **more).found}
