"""A wall clock that is set while the daemon runs: noticed, and told.

Ends of opt-outs and measures, lead times and retention go by the wall clock, whoever set it; what is merely done again every
while goes by the monotonic one. So a step stops nothing, and what is due by the new time is done at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger("sekisho.control")

STEP = 2.0
"""Seconds the wall clock has to move against the monotonic one, between two looks, to count as set: less is NTP's slewing."""
TOLD_FOR = 3600.0
"""Seconds `status` warns of it."""


@dataclass(slots=True)
class ClockSteps:
    """How the wall clock was set while the daemon ran. Times in seconds."""

    began: float = field(default_factory=time.monotonic)
    count: int = 0
    moved: float = 0.0
    """By the last step; negative: back."""
    at: float = 0.0
    """The wall clock right after it."""
    _seen: float = 0.0
    _wall: float = field(default_factory=time.time)
    _monotonic: float = field(default_factory=time.monotonic)

    def look(self, wall: float, monotonic: float) -> None:
        moved = (wall - self._wall) - (monotonic - self._monotonic)
        self._wall, self._monotonic = wall, monotonic
        if abs(moved) < STEP:
            return
        self.count, self.moved, self.at, self._seen = self.count + 1, moved, wall, monotonic
        log.warning("clock-set", seconds=round(moved, 1))

    def uptime(self, monotonic: float) -> float:
        return monotonic - self.began

    def warnings(self, monotonic: float) -> list[str]:
        if not self.count or monotonic - self._seen > TOLD_FOR:
            return []
        by = f"{'back' if self.moved < 0 else 'forward'} by {abs(self.moved):,.0f} s"
        return [
            f"the clock was set {by}: opt-outs, measures, notices and retention go by it as it is now; see that it is right (`timedatectl`)"
        ]
