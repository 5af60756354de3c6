"""One query of a client's over UDP: every step of the verdict, and the answer or the silence it ends in.

Owns the order in which a packet meets the other modules; decides nothing itself (`verdict`), and is not where packets are
waited for (`loop`).
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.model.lists import ActionKind
from sekisho.model.verdicts import Step
from sekisho.plane import cache as packets
from sekisho.plane.addresses import AF_INET, source_of
from sekisho.plane.answer import (
    EDE_PROHIBITED,
    REFUSED,
    dress,
    room_of,
    stale_error,
    write_blocked,
    write_error,
    write_gardened,
    write_truncated,
)
from sekisho.plane.native import u8s
from sekisho.plane.outstanding import hold
from sekisho.plane.recording import count_customer, count_pattern, count_rule, count_step, record_match
from sekisho.plane.sending import answer_room, enqueue, next_row
from sekisho.plane.sketch import is_new
from sekisho.plane.upstreams import ask_upstream, choose_upstream
from sekisho.plane.verdict import R_KIND, R_ROW, R_RULE, decide, flags_of
from sekisho.plane.wire import (
    BADVERS,
    HEADER,
    IGNORE,
    NOTIMP,
    NXDOMAIN,
    PROCEED,
    Q_EDNS,
    Q_END,
    Q_LABELS,
    Q_TYPE,
    TYPE_ANY,
    parse_query,
)
from sekisho.plane.withholding import judge_kept, write_withheld
from sekisho.plane.worker import CONTROL, ROW, S_MAX_STALE, S_SCOPED, S_STALE_TTL, SOURCE
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import (
    COUNT_BLOCKED,
    COUNT_LIMITED,
    COUNT_QUERIES,
    COUNT_SILENCED,
    PATTERN_FORWARDED,
    PATTERN_NEW,
    PATTERN_NXDOMAIN,
    TRUNCATE,
)

_UDP4, _UDP6 = int(Counter.QUERIES_UDP4), int(Counter.QUERIES_UDP6)
_AT_MALFORMED, _AT_CACHE, _AT_FORWARD = int(Counter.STEP_MALFORMED), int(Counter.STEP_CACHE), int(Counter.STEP_FORWARD)
_DROPPED, _FORMERR = int(Counter.MALFORMED_DROPPED), int(Counter.MALFORMED_FORMERR)
_NOTIMP, _BADVERS = int(Counter.MALFORMED_NOTIMP), int(Counter.MALFORMED_BADVERS)
_REFUSED, _MISSES, _PASSTHRU = int(Counter.MALFORMED_REFUSED), int(Counter.CACHE_MISSES), int(Counter.PASSTHRU)
_TRUNCATED, _STALE = int(Counter.TRUNCATED), int(Counter.CACHE_STALE)
_S_SOURCE, _S_SILENCED, _S_BUDGET = int(Step.SOURCE), int(Step.SILENCED), int(Step.BUDGET)
_S_GARDEN, _S_CACHE = int(Step.GARDEN), int(Step.CACHE)
_PASS = int(ActionKind.PASSTHRU)


@compiled
def serve_query(snapshot, customers, buckets, key, epoch, cache, counts, hits, desk, fd, row, length, whole, now, seconds):  # type: ignore[no-untyped-def]
    """One packet of a client's, through every step of the verdict."""
    base, source = row * ROW, row * SOURCE
    question = desk.question
    desk.totals[_UDP4 if desk.sources[source] == AF_INET else _UDP6] += U64(1)
    code = parse_query(desk.packets, base, length, question, desk.lower, desk.labels)
    if code == PROCEED and not whole:
        code = 1
    if code != PROCEED:
        refuse_malformed(desk, fd, row, code)
        return
    high, low = source_of(desk.sources, source)
    step = decide(
        snapshot, customers, buckets, key, desk.who[row], high, low, desk.lower, desk.labels, question[Q_LABELS],
        now, True, False, desk.masks, desk.combos, desk.prints, desk.ruling,
    )  # fmt: skip
    customer = desk.ruling[R_ROW]
    count_customer(counts, customer, COUNT_QUERIES)
    if step != _S_CACHE:
        count_step(desk, step)
        answer_verdict(snapshot, customers, epoch, counts, hits, desk, fd, row, step)
        return
    if desk.ruling[R_KIND] == _PASS:
        desk.totals[_PASSTHRU] += U64(1)
    serve_allowed(snapshot, customers, key, epoch, cache, counts, hits, desk, fd, row, customer, now, seconds)


@compiled
def refuse_malformed(desk, fd, row, code):  # type: ignore[no-untyped-def]
    """Step 1: silence, or an error that says as little as the RFCs ask for."""
    totals = desk.totals
    totals[_AT_MALFORMED] += U64(1)
    if code == IGNORE:
        totals[_DROPPED] += U64(1)
        return
    if code == NOTIMP:
        totals[_NOTIMP] += U64(1)
        desk.question[Q_END] = HEADER
        desk.question[Q_EDNS] = 0
    elif code == BADVERS:
        totals[_BADVERS] += U64(1)
    elif code == 1:
        totals[_FORMERR] += U64(1)
        desk.question[Q_EDNS] = 0
    else:
        totals[_REFUSED] += U64(1)
    out_row = next_row(desk, fd)
    size = write_error(desk.packets, row * ROW, desk.question, desk.answers, answer_room(out_row), code, -1, desk.notes)
    reply(desk, row, out_row, size)


@compiled
def answer_verdict(snapshot, customers, epoch, counts, hits, desk, fd, row, step):  # type: ignore[no-untyped-def]
    """Steps 2 to 7: the answer, or the silence, of the step that decided."""
    customer = desk.ruling[R_ROW]
    if step in (_S_SILENCED, _S_GARDEN):
        count_customer(counts, customer, COUNT_SILENCED)
        count_rule(counts, desk.ruling[R_RULE], epoch)
        if step == _S_SILENCED:
            return
    truncate = False
    if step == _S_BUDGET:
        count_customer(counts, customer, COUNT_LIMITED)
        count_rule(counts, desk.ruling[R_RULE], epoch)
        if not flags_of(customers, customer) & TRUNCATE:
            return
        truncate = True
    out_row = next_row(desk, fd)
    out = answer_room(out_row)
    if truncate:
        desk.totals[_TRUNCATED] += U64(1)
        size = write_truncated(desk.packets, row * ROW, desk.question, desk.answers, out)
    elif step == _S_SOURCE:
        size = write_error(desk.packets, row * ROW, desk.question, desk.answers, out, REFUSED, EDE_PROHIBITED, desk.notes)
    elif step == _S_GARDEN:
        size = write_gardened(snapshot, desk.ruling, desk.packets, row * ROW, desk.question, desk.answers, out, room_of(desk.question))
    else:
        count_customer(counts, customer, COUNT_BLOCKED)
        record_match(counts, hits, desk, epoch, 0)
        size = write_blocked(snapshot, desk.ruling, desk.packets, row * ROW, desk.question, desk.answers, out, room_of(desk.question))
    if size > 0:
        reply(desk, row, out_row, size)


@compiled
def serve_allowed(snapshot, customers, key, epoch, cache, counts, hits, desk, fd, row, customer, now, seconds):  # type: ignore[no-untyped-def]
    """Steps 8 and 9: from the cache, else from a resolver. ANY is sent to TCP (RFC 8482 section 4.4)."""
    settings = desk.settings
    question = desk.question
    base = row * ROW
    if question[Q_TYPE] == TYPE_ANY:
        desk.totals[_AT_FORWARD] += U64(1)
        desk.totals[_TRUNCATED] += U64(1)
        out_row = next_row(desk, fd)
        reply(desk, row, out_row, write_truncated(desk.packets, base, question, desk.answers, answer_room(out_row)))
        return
    key_length = packets.make_key(question, desk.lower, customer if settings[S_SCOPED] else 0, desk.cache_key)
    mixed = packets.hash_key(cache, desk.cache_key, key_length)
    stale = np.int64(0)
    at = packets.find(cache, desk.cache_key, key_length, mixed, seconds, stale)
    expired = False
    if at < 0:
        _, up = choose_upstream(desk, now)
        if not up:
            at = packets.find(cache, desk.cache_key, key_length, mixed, seconds, settings[S_MAX_STALE])
            if at >= 0:
                expired = True
                desk.totals[_STALE] += U64(1)
    if at >= 0:
        desk.totals[_AT_CACHE] += U64(1)
        out_row = next_row(desk, fd)
        out = answer_room(out_row)
        size = packets.read(cache, at, desk.answers, out, seconds, settings[S_STALE_TTL])
        if desk.answers[out + 3] & 0xF == NXDOMAIN:
            count_pattern(counts, customer, PATTERN_NXDOMAIN)
        if judge_kept(snapshot, customers, key, epoch, cache, at, desk) != _S_CACHE:
            size = write_withheld(snapshot, epoch, counts, hits, desk, desk.packets, base, out)
            if size > 0:
                reply(desk, row, out_row, size)
            return
        start, noted = packets.notes_of(cache, at)
        ede = stale_error(desk.answers, out) if expired else -1
        size = dress(desk.answers, out, size, desk.packets, base, question, u8s(cache.data), start, noted, ede, room_of(question))
        reply(desk, row, out_row, size)
        return
    desk.totals[_AT_FORWARD] += U64(1)
    desk.totals[_MISSES] += U64(1)
    note_forwarded(counts, desk, customer, now)
    slot = hold(
        desk, question, customer, desk.packets, base, key_length, mixed, fd, desk.sources, row * SOURCE, desk.messages[row, 1] & 0xFF,
        desk.controls, row * CONTROL, control_length(desk, row),
    )  # fmt: skip
    if slot >= 0:
        ask_upstream(desk, slot, now)


@compiled
def note_forwarded(counts, desk, customer, now):  # type: ignore[no-untyped-def]
    """Count a query that goes on to a resolver, and whether its name is one nobody asked for lately."""
    count_pattern(counts, customer, PATTERN_FORWARDED)
    if is_new(desk.sketch, desk.seen, desk.packet, desk.lower, desk.labels, desk.question[Q_LABELS], now):
        count_pattern(counts, customer, PATTERN_NEW)


@compiled
def control_length(desk, row):  # type: ignore[no-untyped-def]
    """Bytes of ancillary data the row came with; none if it was cut short."""
    length = desk.messages[row, 5]
    return length if 0 < length <= CONTROL else 0


@compiled
def reply(desk, row, out_row, size):  # type: ignore[no-untyped-def]
    """Queue an answer to where the packet of `row` came from."""
    enqueue(
        desk, out_row, size, desk.sources, row * SOURCE, desk.messages[row, 1] & 0xFF,
        desk.controls, row * CONTROL, control_length(desk, row),
    )  # fmt: skip
