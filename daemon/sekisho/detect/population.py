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
    active = counts[counts > 0]
    number = len(active)
    if number < 2:
        return Population(number, threshold=settings.floor)
    # In place of the loudest stands the last, which is cut off.
    active[int(active.argmax())] = active[-1]
    others = active[:-1]
    mean = float(others.sum(dtype=np.uint64)) / len(others) / seconds
    middle = _median(others)
    deviation = _median(np.abs(others.astype(np.float32) - np.float32(middle)))
    median, mad = middle / seconds, deviation / seconds
    far = {Statistic.MEAN: settings.factor * mean, Statistic.MEDIAN: median + settings.factor * max(NORMAL * mad, median)}
    statistic = far[settings.statistic]
    lift = max(1.0, median / usual) if usual > 0 and number >= ENOUGH else 1.0
    return Population(number, mean, median, mad, statistic, lift, max(settings.floor * lift, statistic))


def louder(counts: NDArray[np.uint32], seconds: float, rate: float, most: int) -> NDArray[np.int64]:
    """Rows with more than `rate` queries per second, ascending; of more than `most` the loudest."""
    rows = np.flatnonzero(counts > rate * seconds)
    if len(rows) > most:
        rows = np.sort(rows[np.argpartition(counts[rows], len(rows) - most)[-most:]])
    return rows.astype(np.int64)


def learn(usual: NDArray[np.float32], counts: NDArray[np.uint32], seconds: float, memory: float) -> None:
    """Bring each customer's usual rate up to date, in place: an exponential average over `memory` seconds that starts at zero.

    `usual` float32 (rows), queries per second; `counts` may be shorter than it.
    """
    share = np.float32(min(1.0, seconds / memory))
    part = usual[: len(counts)]
    rates = counts * np.float32(1 / seconds)
    rates -= part
    rates *= share
    part += rates


def _median(values: NDArray[np.uint32] | NDArray[np.float32]) -> float:
    """The median; the array's order is not kept."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    values.partition((low, high))
    return (float(values[low]) + float(values[high])) / 2
