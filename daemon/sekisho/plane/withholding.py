"""Answers that a list keeps from a customer, on UDP: from the cache, from a resolver, or stale.

Owns when an answer is classified (once, and again under another epoch) and what is counted and recorded of one that is kept back.
The verdict is `answers`', the bytes are `answer`'s. Where nothing in answers is looked up for anybody, each of these is one look at a
word of the snapshot.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.model.verdicts import Step
from sekisho.plane import cache as packets
from sekisho.plane.addresses import source_of
from sekisho.plane.answer import room_of, write_blocked
from sekisho.plane.answers import classify, examine, reconsider, watches, watching
from sekisho.plane.native import u8s
from sekisho.plane.recording import count_customer, record_match
from sekisho.plane.verdict import R_ROW, R_SPARED
from sekisho.plane.wire import Q_END
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import COUNT_BLOCKED

_BLOCKED = int(Counter.ANSWERS_BLOCKED)
_CACHE = int(Step.CACHE)
_ZERO = U64(0)
STANDS = -1
"""The answer goes out as it is."""


@compiled
def lists_in_kept(snapshot, key, epoch, cache, at, desk):  # type: ignore[no-untyped-def]
    """The lists that hold something in the answer kept at `at` of the cache, to the question in the desk."""
    known, lists = packets.lists_of(cache, at, epoch)
    if not known:
        start, size = packets.answer_of(cache, at)
        lists = classify(snapshot, key, desk, u8s(cache.data), start, size, desk.question[Q_END])
        packets.keep_lists(cache, at, epoch, lists)
    return lists


@compiled
def judge_kept(snapshot, customers, key, epoch, cache, at, desk):  # type: ignore[no-untyped-def]
    """The step of the verdict on an answer kept in the cache, for the customer whose query was just decided."""
    if watches(snapshot) == _ZERO:
        return _CACHE
    within = watching(snapshot, customers, desk.ruling[R_ROW], desk.ruling[R_SPARED])
    if within == _ZERO or lists_in_kept(snapshot, key, epoch, cache, at, desk) & within == _ZERO:
        return _CACHE
    start, size = packets.answer_of(cache, at)
    return examine(snapshot, customers, key, desk, u8s(cache.data), start, size, desk.question[Q_END], False)


@compiled
def judge_come(snapshot, customers, key, epoch, cache, at, desk, packet, base, length, held, source):  # type: ignore[no-untyped-def]
    """The same for an answer of `length` bytes that came for the query held at `held`, whose source is at `source` of `held`.

    `at`: where the answer lies in the cache, -1: nowhere.
    """
    if watches(snapshot) == _ZERO:
        return _CACHE
    end = desk.question[Q_END]
    if at >= 0:
        lists = lists_in_kept(snapshot, key, epoch, cache, at, desk)
    else:
        lists = classify(snapshot, key, desk, packet, base, length, end)
    if lists == _ZERO:
        return _CACHE
    high, low = source_of(desk.held, source)
    step = reconsider(snapshot, customers, key, desk, desk.held, held, end, high, low, False)
    if step != _CACHE or desk.ruling[R_ROW] < 0:
        return step
    return examine(snapshot, customers, key, desk, packet, base, length, end, False)


@compiled
def write_withheld(snapshot, epoch, counts, hits, desk, packet, at, out):  # type: ignore[no-untyped-def]
    """Count and record what a list decided on an answer, and write the list's answer to the query at `at` of `packet` to `out`.

    Returns its bytes; 0: silence.
    """
    desk.totals[_BLOCKED] += U64(1)
    count_customer(counts, desk.ruling[R_ROW], COUNT_BLOCKED)
    record_match(counts, hits, desk, epoch, 0)
    return np.int64(write_blocked(snapshot, desk.ruling, packet, at, desk.question, desk.answers, out, room_of(desk.question)))
