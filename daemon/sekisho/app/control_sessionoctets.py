"""Octets that accounting tells of customers' sessions, collected and handed on as usage now and then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from sekisho.app.control_tables import Tables
from sekisho.model.usage import Source

if TYPE_CHECKING:
    # Octets are told later than the plane answers.
    from sekisho.app.control_traffic import Traffic


MOST = 1 << 56
"""Octets of a customer that are handed on at once; the sums of usage have 64 bits."""


class SessionOctets:
    """What is not handed on yet."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[int, int, float]] = {}
        """Octets both ways, and of how many seconds they are; sessions side by side are of the same time."""

    def add(self, usage: Iterable[tuple[str, int, int, float]]) -> None:
        """Customer, octets towards them, octets from them, and of how many seconds they are."""
        for customer, down, up, seconds in usage:
            before = self._used.get(customer, (0, 0, 0.0))
            self._used[customer] = min(before[0] + down, MOST), min(before[1] + up, MOST), max(before[2], seconds)

    def tell(self, usage: Traffic | None, tables: Tables | None, now: float) -> None:
        """Hand on what there is, of who has a row; where nobody takes it, it is forgotten."""
        used, self._used = self._used, {}
        if usage is None or not used or tables is None:
            return
        rows = [(row, *octets) for customer, octets in used.items() if (row := tables.row_of(customer)) is not None]
        if rows:
            numbers, downs, ups, times = zip(*rows, strict=True)
            octets = np.array(downs, np.uint64), np.array(ups, np.uint64)
            usage.add(Source.RADIUS, now, np.array(numbers, np.int64), *octets, seconds=np.array(times, np.float64))
