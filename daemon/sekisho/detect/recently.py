"""What lines do now, where accounting tells of them more seldom than they are looked at.

Owns how the rate of a short window is carried on between reports. A window that holds no whole report of a customer says little of
a line whose next report is still to come: it goes on as in the shortest of twice, four times, ... the window in which
there is one, until the next is late (`usage.LATE`). Only rates are made of it; what was used in a window is `Usage.window`'s.
"""

from __future__ import annotations

import numpy as np

from sekisho.detect.usage import LATE, LONGEST, SOURCES, Usage, Used
from sekisho.model.usage import Source

_WHOLE = 0.5
"""Of the usual interval what has to be reported of at least: the last report of a session tells of less."""


def recently(usage: Usage, seconds: float, now: float) -> Used:
    """The last `seconds` (`usage.SHORTEST` to `usage.LONGEST`) up to `now`, for rates: octets and seconds of a row may be of longer.

    Raises ValueError for other windows.
    """
    used = usage.window(seconds, now)
    # Who is told of twice in the window, or by what counts all the time, is idle in between.
    waiting = np.flatnonzero((usage.source == SOURCES.index(Source.RADIUS)) & (usage.gathered > seconds / 2))
    since, usual = now - usage.seen[waiting], usage.gathered[waiting].astype(np.float32)
    kept = (since <= LATE * usual) & (used.counted[waiting] < _WHOLE * usual)
    length = seconds
    while kept.any() and length < LONGEST:
        waiting, since, usual = waiting[kept], since[kept], usual[kept]
        length = min(2 * length, LONGEST)
        longer = usage.window(length, now)
        counted = longer.counted[waiting]
        whole = counted >= _WHOLE * usual
        # Who has begun of late has no more than there is.
        ends = whole | (length >= 4 * np.maximum(since, usual))
        rows = waiting[ends]
        used.octets[:, rows] = longer.octets[:, rows]
        used.seconds[rows] = np.where(whole, counted, longer.seconds[waiting])[ends]
        kept = ~ends
    return used
