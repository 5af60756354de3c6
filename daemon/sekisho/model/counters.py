"""Counters of the plane: slots of the `totals` array in `counts-<worker>`.

The numbers are part of the table format: append, never reorder. Counts only grow while a plane
runs. None carries a customer, an address or a name.
"""

from __future__ import annotations

import enum


class Counter(enum.IntEnum):
    QUERIES_UDP4 = 0
    QUERIES_UDP6 = 1
    QUERIES_TCP4 = 2
    QUERIES_TCP6 = 3
    """Packets received from clients, by transport; every one ends at exactly one STEP_ below."""
    STEP_MALFORMED = 4
    STEP_SOURCE = 5
    STEP_SILENCED = 6
    STEP_BUDGET = 7
    STEP_MANDATORY = 8
    STEP_ENTITLED = 9
    STEP_CACHE = 10
    STEP_FORWARD = 11
    MALFORMED_DROPPED = 12
    """Of STEP_MALFORMED: no answer (responses, shorter than a header)."""
    MALFORMED_FORMERR = 13
    MALFORMED_NOTIMP = 14
    MALFORMED_BADVERS = 15
    MALFORMED_REFUSED = 16
    """AXFR, IXFR and other questions a resolver refuses."""
    CACHE_MISSES = 17
    CACHE_STALE = 18
    """Answers served stale (RFC 8767)."""
    CACHE_STORED = 19
    CACHE_EVICTED = 20
    UPSTREAM_SENT = 21
    UPSTREAM_ANSWERED = 22
    UPSTREAM_TIMEOUTS = 23
    UPSTREAM_MISMATCHED = 24
    """Answers dropped: wrong id, question or form."""
    UPSTREAM_FAILOVERS = 25
    UPSTREAM_SERVFAIL = 26
    """SERVFAIL given to clients because no upstream answered."""
    PENDING_FULL = 27
    """Queries dropped because too many were outstanding."""
    TRUNCATED = 28
    SEND_FAILED = 29
    HITS = 30
    """Records written to the ring of matches."""
    PASSTHRU = 31
    CACHE_ENTRIES = 32
    """Gauge: entries in the packet cache."""
    CACHE_BYTES = 33
    """Gauge: bytes of the packet cache in use."""
    LATENCY_SUM_US = 34
    """Sum of upstream latencies, microseconds."""
    TCP_CONNECTIONS = 35
    TCP_REJECTED = 36
    """TCP connections closed because a limit was reached."""
    WORKER_RESTARTS = 37
    STEP_GARDEN = 38
    BUSY_NS = 39
    """Nanoseconds in which workers had packets to deal with; the rest of the time they waited for some."""
    ANSWERS_BLOCKED = 40
    """Of STEP_CACHE and STEP_FORWARD: a list held an address or alias in the answer, and the customer got the list's answer."""
    ANSWERS_JUDGED = 41
    """Answers looked through for what lists hold; what is served from a cache again is not looked through again."""


TOTALS = 64
"""Slots of the `totals` array: room for counters to come."""

LATENCY_BOUNDS_US = (250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000)
"""Upper bounds of the upstream latency histogram, microseconds; one more bucket is +Inf."""
