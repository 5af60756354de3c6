"""The load condition: whether name service suffers (ネームサービスの円滑な提供に支障, `nbnet/22-2-5`).

Owns how the plane's counters of a window become figures, and when a figure is load. A condition that
came holds until its figure is well below the value it came at, so that a figure about that value does
not make it come and go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sekisho.config.detection import LoadConditions
from sekisho.model.counters import LATENCY_BOUNDS_US

FEWEST = 20
"""Questions to resolvers in a window from which on shares and percentiles of them mean something."""


@dataclass(frozen=True, slots=True)
class LoadSample:
    """What the plane counted in a window of `seconds`."""

    seconds: float
    busy: Sequence[float]
    """Seconds each living worker was busy."""
    answered: int
    """Questions the resolvers answered,"""
    failed: int
    """and those they did not in time, or that found no room to wait."""
    latency: Sequence[int]
    """Answers by latency: one count per bound of LATENCY_BOUNDS_US, and one above them all."""
    queries: int | None = None
    """Queries of all customers, those included that resolvers told of; None: not known."""


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of a window, and which conditions hold. A figure that cannot be told is None."""

    utilisation: float | None = None
    """Share of its time the busiest worker was busy."""
    timeouts: float | None = None
    """Share of the questions to the resolvers that failed."""
    latency: float | None = None
    """Seconds, at the percentile of the settings."""
    holding: tuple[str, ...] = ()
    """`utilisation`, `timeouts`, `latency`, `queries`."""
    queries: float | None = None
    """Queries per second of all customers."""

    @property
    def held(self) -> bool:
        return bool(self.holding)


def judge(sample: LoadSample, conditions: LoadConditions, before: Load) -> Load:
    """The load of a window, after the one `before`."""
    asked = sample.answered + sample.failed
    utilisation = min(1.0, max(sample.busy) / sample.seconds) if sample.busy else None
    timeouts = sample.failed / asked if asked >= FEWEST else None
    latency = percentile(sample.latency, conditions.percentile)
    queries = sample.queries / sample.seconds if sample.queries is not None else None
    figures = {
        "utilisation": (utilisation, conditions.utilisation),
        "timeouts": (timeouts, conditions.timeouts),
        "latency": (latency, conditions.latency),
        "queries": (queries, conditions.queries),
    }
    holding = tuple(
        name
        for name, (figure, value) in figures.items()
        if figure is not None and value is not None and figure >= (value * conditions.release if name in before.holding else value)
    )
    return Load(utilisation, timeouts, latency, holding, queries)


def percentile(latency: Sequence[int], share: float) -> float | None:
    """The latency (seconds) that `share` of the answers stayed below, straight within a bucket; None of too few answers.

    Of answers above all bounds no more is known than the highest bound.
    """
    total = sum(latency)
    if total < FEWEST:
        return None
    wanted, below, lower = share * total, 0, 0
    for count, upper in zip(latency, LATENCY_BOUNDS_US, strict=False):
        if count and below + count >= wanted:
            return (lower + (upper - lower) * max(0.0, wanted - below) / count) / 1e6
        below, lower = below + count, upper
    return LATENCY_BOUNDS_US[-1] / 1e6
