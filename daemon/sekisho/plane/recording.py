"""What a worker writes down: counters for all, a ring record for a match, nothing for anything else.

A query that matched nothing adds to counts and leaves no other trace (gunma/29, nbnet/42). The ring
overwrites its oldest record and never waits; the reader counts what it lost.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.model.verdicts import Step
from sekisho.plane.native import CLOCK_REALTIME, clock, u32s, u64s
from sekisho.plane.verdict import R_KIND, R_LIST, R_MATCH, R_ROW, R_RULE
from sekisho.plane.wire import Q_TYPE
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import COUNT_COLUMNS, MAX_RULES, PATTERN_COLUMNS, RING, RING_WORDS

_HITS = int(Counter.HITS)
_STEPS = tuple(int(Counter[f"STEP_{one.name}"]) for one in Step)


@compiled
def count_customer(counts, row, column):  # type: ignore[no-untyped-def]
    """Add one to a customer's column (`COUNT_` of `snapshot.layout`)."""
    columns = u32s(counts.customers)
    if 0 <= row < columns.shape[0] // COUNT_COLUMNS:
        columns[COUNT_COLUMNS * row + column] += np.uint32(1)


@compiled
def count_step(desk, step):  # type: ignore[no-untyped-def]
    """Count one query at the step that decided it."""
    desk.totals[_STEPS[step - 1]] += U64(1)


@compiled
def count_pattern(counts, row, column):  # type: ignore[no-untyped-def]
    """Add one to what tells a flood of made-up names from other use (`PATTERN_` of `snapshot.layout`)."""
    columns = u32s(counts.patterns)
    if 0 <= row < columns.shape[0] // PATTERN_COLUMNS:
        columns[PATTERN_COLUMNS * row + column] += np.uint32(1)


@compiled
def record_match(counts, hits, desk, epoch, transport):  # type: ignore[no-untyped-def]
    """Count a match and write it to the ring. `transport` 0 UDP, 1 TCP."""
    ruling, prints = desk.ruling, desk.prints
    half = epoch & 1
    order, rule = ruling[R_LIST], ruling[R_RULE]
    if 0 <= order < 64:
        u64s(counts.lists)[64 * half + order] += U64(1)
    if 0 <= rule < MAX_RULES:
        u64s(counts.rules)[MAX_RULES * half + rule] += U64(1)
    desk.totals[_HITS] += U64(1)
    ring, cursor = u64s(hits.ring), u64s(hits.cursor)
    number = cursor[0]
    at = np.int64(number % U64(RING)) * RING_WORDS
    ring[at] = U64(0)
    ring[at + 1] = U64(clock(CLOCK_REALTIME, desk.clock))
    ring[at + 2] = U64(ruling[R_ROW]) | (U64(rule) << U64(32)) | (U64(order) << U64(48))
    ring[at + 3] = prints[ruling[R_MATCH], 0]
    ring[at + 4] = prints[ruling[R_MATCH], 1]
    ring[at + 5] = (
        U64(desk.question[Q_TYPE]) | (U64(ruling[R_KIND]) << U64(16)) | (U64(transport) << U64(24)) | (U64(epoch & 0xFFFFFFFF) << U64(32))
    )
    ring[at] = number + U64(1)
    cursor[0] = number + U64(1)


@compiled
def count_rule(counts, rule, epoch):  # type: ignore[no-untyped-def]
    """Count one query that a measure or the hard budget decided under the clause that authorises it."""
    if 0 <= rule < MAX_RULES:
        u64s(counts.rules)[MAX_RULES * (epoch & 1) + rule] += U64(1)


@compiled
def publish(counts, desk):  # type: ignore[no-untyped-def]
    """Bring the worker's own totals to where others read them."""
    totals, latency = u64s(counts.totals), u64s(counts.latency)
    for slot in range(desk.totals.shape[0]):
        totals[slot] = desk.totals[slot]
    for bucket in range(desk.latency.shape[0]):
        latency[bucket] = desk.latency[bucket]
