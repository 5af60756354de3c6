"""The hard budget: an exact token bucket per customer, shared by every worker.

One 64-bit word a customer: the time (ns) at which the bucket will be full again, the virtual
scheduling form of the token bucket (GCRA, ITU-T I.371). A query costs 1/rate seconds; it is
over budget when the bucket would be more than `burst` queries in debt. The word is updated by
compare-and-exchange, so packets of one customer may arrive at any worker and the budget holds.
"""

from __future__ import annotations

import numpy as np

from sekisho.plane.native import exchange
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64

_BILLION = 1_000_000_000
_TRIES = 16
_SLACK = _BILLION
"""How much further ahead than a full debt a word may lie: workers read the clock once a batch, so theirs differ a little."""


@compiled
def spend(buckets, row, rate, burst, now, charge):  # type: ignore[no-untyped-def]
    """Whether one more query is within budget, taking it from the bucket if `charge`.

    `buckets` uint64 (rows), `rate` queries per second (> 0), `burst` queries, `now` ns.
    Under contention that outlasts every try, the query passes: a budget never invents an excess. So
    does one whose word lies further ahead than any debt can be: it was written by another boot's clock, and counts
    as a full bucket.
    """
    cost = _BILLION // rate
    depth = cost * max(1, burst)
    for _ in range(_TRIES):
        before = buckets[row]
        full = np.int64(before)
        if full - now > depth + _SLACK:
            full = now
        after = max(full, now) + cost
        if after - now > depth:
            return False
        if not charge or exchange(buckets, row, before, U64(after)) == before:
            return True
    return True
