"""How long something took, as a histogram: counts by bound, and the sum."""

from __future__ import annotations

import bisect
from collections.abc import Sequence


class Latencies:
    """`counts[i]` are those of at most `bounds[i]` seconds and longer than the bound before; the last, all above."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        """Seconds, all together."""

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.total += seconds
