"""The population of one window: its average, and the threshold that is far above it.

Owns the statistic (統計的平均, `nbnet/22-2-5`). The population is the customers who asked anything in the
window, less the loudest of them: nobody is measured against an average of their own making, which in a
small population would hide any flood. A flood of many is what the median is for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.config.detection import Detection, Statistic

ENOUGH = 100
"""Active customers from which on the population as a whole can be said to ask more than it usually does."""
_SMALL = 65536
NORMAL = 1.4826
"""MAD of a normal distribution to its standard deviation."""


@dataclass(frozen=True, slots=True)
class Population:
    """Rates in queries per second. `active` customers asked something; the figures are of all of them but the loudest."""

    active: int = 0
    mean: float = 0.0
    median: float = 0.0
    mad: float = 0.0
    """Median of the absolute deviations from the median."""
    statistic: float = 0.0
    """What is far above the average, before the floor."""
    lift: float = 1.0
    """How many times as much as usual the median customer asks, at least 1: an event lifts everybody, and the floor with them."""
    threshold: float = 0.0
    """max(floor x lift, statistic)."""


def measure(counts: NDArray[np.uint32], seconds: float, settings: Detection, usual: float = 0.0) -> Population:
    """The population of a window. `counts` uint32 (rows): queries of each customer in `seconds` (> 0).

    `usual` is the median a window usually has, in queries per second; 0: not known.
    """
    values, weights = _spectrum(counts)
    number = int(weights.sum())
    if number < 2:
        return Population(number, threshold=settings.floor)
    # Less the loudest, who is one of those of the highest value.
    weights[-1] -= 1
    mean = float(values @ weights) / (number - 1) / seconds
    middle = _median(values, weights)
    deviations = np.abs(values - middle)
    order = np.argsort(deviations)
    median, mad = middle / seconds, _median(deviations[order], weights[order]) / seconds
    far = {Statistic.MEAN: settings.factor * mean, Statistic.MEDIAN: median + settings.factor * max(NORMAL * mad, median)}
    statistic = far[settings.statistic]
    lift = max(1.0, median / usual) if usual > 0 and number >= ENOUGH else 1.0
    return Population(number, mean, median, mad, statistic, lift, max(settings.floor * lift, statistic))


def louder(counts: NDArray[np.uint32], seconds: float, rate: float, most: int) -> NDArray[np.int64]:
    """Rows with more than `rate` queries per second, ascending; of more than `most` the loudest."""
    rows = np.flatnonzero(counts > np.uint32(min(2**32 - 1, int(rate * seconds))))
    if len(rows) > most:
        rows = np.sort(rows[np.argpartition(counts[rows], len(rows) - most)[-most:]])
    return rows.astype(np.int64)


def learn(usual: NDArray[np.float32], counts: NDArray[np.uint32], seconds: float, memory: float) -> None:
    """Bring each customer's usual rate up to date, in place: an exponential average over `memory` seconds that starts at zero.

    `usual` float32 (rows), queries per second; `counts` may be shorter than it.
    """
    share = np.float32(min(1.0, seconds / memory))
    part = usual[: len(counts)]
    rates = counts.astype(np.float32)
    rates *= np.float32(1 / seconds)
    rates -= part
    rates *= share
    part += rates


def _spectrum(counts: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The counts above zero, each value once in ascending order, and how many customers have it.

    Nearly all customers have small counts, so counting them takes a third of the time of sorting them.
    """
    small = np.bincount(np.minimum(counts, np.uint32(_SMALL)).astype(np.intp), minlength=_SMALL + 1)
    small[0] = small[_SMALL] = 0
    low = np.flatnonzero(small)
    high, many = np.unique(counts[counts >= _SMALL], return_counts=True)
    return np.concatenate((low, high)).astype(np.float64), np.concatenate((small[low], many)).astype(np.int64)


def _median(values: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    """The median of `values`, ascending, each there as often as its weight says."""
    reached = np.cumsum(weights)
    total = int(reached[-1])
    low, high = np.searchsorted(reached, [(total - 1) // 2, total // 2], side="right")
    return (float(values[low]) + float(values[high])) / 2
