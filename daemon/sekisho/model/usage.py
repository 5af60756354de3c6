"""Usage of lines: totals of octets and connections by customer and time, never who talked to whom."""

from __future__ import annotations

import enum


class Source(enum.StrEnum):
    """Who counts a customer's traffic. Of several that count the same customer one is used: the first here that does."""

    COUNTERS = "counters"
    """The kernel's counters on the path of the packets."""
    RADIUS = "radius"
    """Octets of accounting."""
    FLOWS = "flows"
    """Sums of flow records, which may be sampled."""
