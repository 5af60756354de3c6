"""What resolvers told of queries over dnstap, as it stands: counts alone.

Apart from who counts (`drivers.dnstap`), so that whoever reads it needs nothing of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sekisho.model.dnstap import Ended, Tally


@dataclass(slots=True)
class Seen:
    """What was counted since the start, over all listeners there were. Written by one thread, read by others."""

    queries: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    """By customers' rows; it wraps."""
    balance: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Queries less responses, of resolvers that tell of both; it wraps."""
    tallies: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Tally), np.int64))
    """By `model.dnstap.Tally`."""
    ended: dict[Ended, int] = field(default_factory=lambda: dict.fromkeys(Ended, 0))
    """Connections that ended, by why."""
    wanted: bool = False
    """Whether resolvers are to tell of queries."""
    answers_only: bool = False
    """Whether they tell of answers alone: who is given none is not heard of."""
    streams: int = 0
    """Connections over which a resolver tells of queries."""
    changes: int = 0
    """How often one was added or ended."""
