"""The verdict on one message, and the bytes of its answer: for whoever has no batches.

The TCP server and the plugins in resolvers (`sekisho.plugin`) ask here; UDP's own loop is `loop`, which
decides by the same functions in the same order. What differs over a stream:

* answers have up to 65535 bytes and are never truncated to less;
* TC=1, which a budget may ask for, is no answer: it would send the client where it is;
* a query shorter than a header ends the connection, and so does the REFUSED of a stranger;
* CNAME local data (CHASE) is answered with what the target resolves to, and TCP-only lets through.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from sekisho.model.counters import Counter
from sekisho.model.lists import ActionKind
from sekisho.model.verdicts import Step
from sekisho.plane.addresses import find_customer
from sekisho.plane.answer import (
    EDE_PROHIBITED,
    REFUSED,
    room_of,
    write_blocked,
    write_error,
    write_gardened,
    write_truncated,
)
from sekisho.plane.answers import classify, examine, reconsider, watches
from sekisho.plane.recording import count_customer, count_pattern, count_rule, count_step, publish, record_match
from sekisho.plane.sketch import is_new
from sekisho.plane.verdict import R_HELD, R_KIND, R_ROW, R_RULE, decide, flags_of
from sekisho.plane.wire import BADVERS, FORMERR, HEADER, IGNORE, NOTIMP, PROCEED, Q_EDNS, Q_END, Q_LABELS, parse_query
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import (
    COUNT_BLOCKED,
    COUNT_LIMITED,
    COUNT_QUERIES,
    COUNT_SILENCED,
    PATTERN_FORWARDED,
    PATTERN_NEW,
    TRUNCATE,
)

LIMIT = 65535
"""Bytes of the longest message (RFC 1035 section 4.2.2)."""
ANSWER_AT = LIMIT + 1
"""Where in `packets` an answer that is to be judged stands, behind its query."""
_UDP4, _UDP6 = int(Counter.QUERIES_UDP4), int(Counter.QUERIES_UDP6)
_TCP4, _TCP6 = int(Counter.QUERIES_TCP4), int(Counter.QUERIES_TCP6)
_AT_MALFORMED, _AT_FORWARD = int(Counter.STEP_MALFORMED), int(Counter.STEP_FORWARD)
_DROPPED, _FORMERR = int(Counter.MALFORMED_DROPPED), int(Counter.MALFORMED_FORMERR)
_NOTIMP, _BADVERS, _REFUSED = int(Counter.MALFORMED_NOTIMP), int(Counter.MALFORMED_BADVERS), int(Counter.MALFORMED_REFUSED)
_PASSTHRU, _TRUNCATED, _ANSWERS = int(Counter.PASSTHRU), int(Counter.TRUNCATED), int(Counter.ANSWERS_BLOCKED)
_S_SOURCE, _S_SILENCED, _S_BUDGET = int(Step.SOURCE), int(Step.SILENCED), int(Step.BUDGET)
_S_GARDEN, _S_CACHE = int(Step.GARDEN), int(Step.CACHE)
_PASS, _CHASE_KIND = int(ActionKind.PASSTHRU), int(ActionKind.CHASE)


class Outcome(enum.IntEnum):
    """What is to be done with a query."""

    SILENCE = 0
    ANSWER = 1
    LAST = 2
    """Answer, then close the connection there is."""
    CLOSE = 3
    FORWARD = 4
    CHASE = 5
    """Answer with the CNAME of the list and what its target resolves to."""


_SILENCE, _ANSWER, _LAST = int(Outcome.SILENCE), int(Outcome.ANSWER), int(Outcome.LAST)
_CLOSE, _FORWARD, _CHASE = int(Outcome.CLOSE), int(Outcome.FORWARD), int(Outcome.CHASE)


@compiled
def rule_on(
    snapshot: Any, customers: Any, buckets: Any, key: Any, epoch: Any, counts: Any, hits: Any,
    desk: Any, length: Any, high: Any, low: Any, four: Any, stream: Any, now: Any, answered: Any, lists: Any,
) -> Any:  # fmt: skip
    """Take the query of `length` bytes in the desk's `packets` through the verdict, and publish that it was counted.

    `high`, `low`: the source's address; `four`: it is IPv4; `stream`: it came over TCP; `now`: monotonic ns. With `answered`, the
    verdict is on the resolver's answer of so many bytes at ANSWER_AT of `packets`, to a query that was let through before: FORWARD
    means that it stands. `lists` (uint64): those that hold something in this answer, as R_HELD said when these tables were asked about
    it before; 0: not known, and it is looked through. An answer that no list holds anything in need not be asked about again.
    Returns (outcome, bytes of answer in the desk's `answers`).
    """
    if answered > 0:
        ruled = _rule_on_answer(snapshot, customers, key, epoch, counts, hits, desk, length, high, low, stream, answered, lists)
    else:
        ruled = _rule_on(snapshot, customers, buckets, key, epoch, counts, hits, desk, length, high, low, four, stream, now)
    publish(counts, desk)
    return ruled


@compiled
def _rule_on_answer(
    snapshot: Any, customers: Any, key: Any, epoch: Any, counts: Any, hits: Any,
    desk: Any, length: Any, high: Any, low: Any, stream: Any, answered: Any, lists: Any,
) -> Any:  # fmt: skip
    question, packet = desk.question, desk.packets
    desk.ruling[R_HELD] = -1
    if watches(snapshot) == U64(0) or parse_query(packet, 0, length, question, desk.lower, desk.labels) != PROCEED:
        return _FORWARD, 0
    if lists == U64(0):
        lists = classify(snapshot, key, desk, packet, ANSWER_AT, answered, question[Q_END])
    desk.ruling[R_HELD] = np.int64(lists)
    if lists == U64(0):
        return _FORWARD, 0
    step = reconsider(snapshot, customers, key, desk, packet, 0, question[Q_END], high, low, stream)
    if step == _S_CACHE and desk.ruling[R_ROW] >= 0:
        step = examine(snapshot, customers, key, desk, packet, ANSWER_AT, answered, question[Q_END], stream)
    if step == _S_CACHE:
        return _FORWARD, 0
    desk.totals[_ANSWERS] += U64(1)
    return _answer_of_list(snapshot, epoch, counts, hits, desk, stream)


@compiled
def _answer_of_list(snapshot: Any, epoch: Any, counts: Any, hits: Any, desk: Any, stream: Any) -> Any:
    """Count and record what a list decided, and answer the query in `packets` as the list says."""
    count_customer(counts, desk.ruling[R_ROW], COUNT_BLOCKED)
    record_match(counts, hits, desk, epoch, 1 if stream else 0)
    if stream and desk.ruling[R_KIND] == _CHASE_KIND:
        return _CHASE, 0
    room = LIMIT if stream else room_of(desk.question)
    size = write_blocked(snapshot, desk.ruling, desk.packets, 0, desk.question, desk.answers, 0, room)
    return _ANSWER if size > 0 else _SILENCE, size


@compiled
def _rule_on(
    snapshot: Any, customers: Any, buckets: Any, key: Any, epoch: Any, counts: Any, hits: Any,
    desk: Any, length: Any, high: Any, low: Any, four: Any, stream: Any, now: Any,
) -> Any:  # fmt: skip
    question, packet, out = desk.question, desk.packets, desk.answers
    if stream:
        desk.totals[_TCP4 if four else _TCP6] += U64(1)
    else:
        desk.totals[_UDP4 if four else _UDP6] += U64(1)
    code = parse_query(packet, 0, length, question, desk.lower, desk.labels)
    if code != PROCEED:
        return refuse_malformed(desk, code)
    step = decide(
        snapshot, customers, buckets, key, find_customer(customers, high, low), high, low, desk.lower, desk.labels, question[Q_LABELS],
        now, True, stream, desk.masks, desk.combos, desk.prints, desk.ruling,
    )  # fmt: skip
    customer = desk.ruling[R_ROW]
    count_customer(counts, customer, COUNT_QUERIES)
    if step == _S_CACHE:
        desk.totals[_AT_FORWARD] += U64(1)
        if desk.ruling[R_KIND] == _PASS:
            desk.totals[_PASSTHRU] += U64(1)
        count_pattern(counts, customer, PATTERN_FORWARDED)
        if is_new(desk.sketch, desk.seen, desk.packet, desk.lower, desk.labels, question[Q_LABELS], now):
            count_pattern(counts, customer, PATTERN_NEW)
        return _FORWARD, 0
    count_step(desk, step)
    if step == _S_SOURCE:
        return _LAST, write_error(packet, 0, question, out, 0, REFUSED, EDE_PROHIBITED, desk.notes)
    room = LIMIT if stream else room_of(question)
    if step in (_S_SILENCED, _S_BUDGET, _S_GARDEN):
        count_customer(counts, customer, COUNT_LIMITED if step == _S_BUDGET else COUNT_SILENCED)
        count_rule(counts, desk.ruling[R_RULE], epoch)
        if step == _S_GARDEN:
            return _ANSWER, write_gardened(snapshot, desk.ruling, packet, 0, question, out, 0, room)
        if step == _S_BUDGET and not stream and flags_of(customers, customer) & TRUNCATE:
            desk.totals[_TRUNCATED] += U64(1)
            return _ANSWER, write_truncated(packet, 0, question, out, 0)
        return _SILENCE, 0
    return _answer_of_list(snapshot, epoch, counts, hits, desk, stream)


@compiled
def refuse_malformed(desk: Any, code: Any) -> Any:
    """Step 1: silence, or an error that says as little as the RFCs ask for."""
    totals, question = desk.totals, desk.question
    totals[_AT_MALFORMED] += U64(1)
    if code == IGNORE:
        totals[_DROPPED] += U64(1)
        return _CLOSE if question[0] < HEADER else _SILENCE, 0
    if code == NOTIMP:
        totals[_NOTIMP] += U64(1)
        question[Q_END] = HEADER
        question[Q_EDNS] = 0
    elif code == BADVERS:
        totals[_BADVERS] += U64(1)
    elif code == FORMERR:
        totals[_FORMERR] += U64(1)
        question[Q_EDNS] = 0
    else:
        totals[_REFUSED] += U64(1)
    return _ANSWER, write_error(desk.packets, 0, question, desk.answers, 0, code, -1, desk.notes)
