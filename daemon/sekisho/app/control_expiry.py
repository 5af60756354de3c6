"""Opt-outs that end by themselves: whose, in the order of time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable

from sekisho.model.customers import OptOutRecord

REMEMBERED = 65536
"""Ends past that are known yet, should the clock be set back behind them."""


class Expiry:
    """A queue of ends. An end that was moved or taken back does no harm: whoever is due is looked at anew."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, str]] = []
        self._past: deque[tuple[float, str]] = deque(maxlen=REMEMBERED)

    def add(self, customer: str, until: float | None) -> None:
        if until is not None:
            heapq.heappush(self._ends, (until, customer))

    def add_all(self, records: Iterable[OptOutRecord]) -> None:
        for record in records:
            self.add(record.customer, record.until)

    def due(self, now: float) -> list[str]:
        """Customers with an opt-out that has ended by `now`; each end is told once.

        Told too is whose opt-out is in force again because the clock was set back; its end is told anew when it comes.
        """
        customers: dict[str, None] = {}
        while self._past and self._past[-1][0] > now:
            heapq.heappush(self._ends, self._past[-1])
            customers[self._past.pop()[1]] = None
        while self._ends and self._ends[0][0] <= now:
            self._past.append(heapq.heappop(self._ends))
            customers[self._past[-1][1]] = None
        return list(customers)

    @property
    def next(self) -> float | None:
        """The next end, UNIX seconds."""
        return self._ends[0][0] if self._ends else None
