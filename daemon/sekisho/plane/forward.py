"""Forwarding: what becomes of a query that went to a resolver - its answer back to the client, or what happens when none comes.

Owns the order of these. An answer must come to the socket, from the resolver, with the id and question its query had
(`outstanding`). Each try has a time-out and the next goes to the next resolver (`upstreams`). When every try
failed, an expired answer is served if one is held (RFC 8767), else SERVFAIL. A client with an expired
answer to hand does not wait for a second time-out; a closed port costs no time, so the next is asked.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.model.verdicts import Step
from sekisho.plane import cache as packets
from sekisho.plane.answer import EDE_NETWORK, SERVFAIL, dress, room_of, stale_error, write_error
from sekisho.plane.native import copy, u8s
from sekisho.plane.outstanding import is_current, recall, release
from sekisho.plane.recording import count_pattern
from sekisho.plane.reply import A_LENGTH, A_NOTED, A_RCODE, A_TTL, A_TTLS, read_answer, same_question
from sekisho.plane.sending import answer_room, enqueue, next_row
from sekisho.plane.upstreams import ask_upstream, choose_upstream, note_answer, note_closed, note_failure, note_latency
from sekisho.plane.wire import HEADER, NXDOMAIN, Q_END, QR
from sekisho.plane.withholding import judge_come, write_withheld
from sekisho.plane.worker import (
    C_QUEUE_HEAD,
    C_QUEUE_TAIL,
    F_CONTROL_LENGTH,
    F_CUSTOMER,
    F_FD,
    F_HASH,
    F_KEY_LENGTH,
    F_QUESTION,
    F_SENT,
    F_SOCKET,
    F_SOURCE_LENGTH,
    F_STAMP,
    F_TRIES,
    F_UPSTREAM,
    P_CONTROL,
    P_KEY,
    P_SOURCE,
    PENDING_ROW,
    S_MAX_STALE,
    S_SOCKETS,
    S_STALE_TTL,
    S_TIMEOUT,
    S_TRIES,
)
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import PATTERN_NXDOMAIN

_ANSWERED, _TIMEOUTS = int(Counter.UPSTREAM_ANSWERED), int(Counter.UPSTREAM_TIMEOUTS)
_MISMATCHED, _SERVFAIL, _STALE = int(Counter.UPSTREAM_MISMATCHED), int(Counter.UPSTREAM_SERVFAIL), int(Counter.CACHE_STALE)
_CACHE = int(Step.CACHE)


@compiled
def take_answer(snapshot, customers, key, epoch, cache, counts, hits, desk, socket, packet, base, length, now, seconds):  # type: ignore[no-untyped-def]
    """One datagram from a resolver: match it to its query, cache it, answer the client."""
    totals = desk.totals
    slot = -1
    if length >= HEADER:
        identity = np.int64(packet[base]) << 8 | np.int64(packet[base + 1])
        slot = np.int64(desk.ids[socket * 65536 + identity]) - 1
    if slot < 0 or desk.pending[slot, F_STAMP] == 0 or not packet[base + 2] & (QR >> 8):
        totals[_MISMATCHED] += U64(1)
        return
    state = desk.pending
    held = slot * PENDING_ROW
    end = state[slot, F_QUESTION + Q_END]
    if not same_question(packet, base, length, desk.held, held, end) or not read_answer(
        packet, base, length, end, desk.facts, desk.ttls, desk.notes
    ):
        totals[_MISMATCHED] += U64(1)
        return
    note_answer(desk, state[slot, F_UPSTREAM])
    totals[_ANSWERED] += U64(1)
    note_latency(desk, now - state[slot, F_SENT])
    if desk.facts[A_RCODE] == NXDOMAIN:
        count_pattern(counts, state[slot, F_CUSTOMER], PATTERN_NXDOMAIN)
    recall(desk, slot)
    key_length, mixed = state[slot, F_KEY_LENGTH], U64(state[slot, F_HASH])
    copy(desk.cache_key, 0, desk.held, held + P_KEY, key_length)
    for index in range(key_length, key_length + 8):
        desk.cache_key[index] = 0
    if desk.facts[A_RCODE] == SERVFAIL and answer_stale(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, seconds):
        return
    at = -1
    if desk.facts[A_TTL] > 0:
        at = packets.store(
            cache, desk.cache_key, key_length, mixed, seconds, desk.facts[A_TTL], packet, base, desk.facts[A_LENGTH],
            desk.ttls, desk.facts[A_TTLS], desk.notes, 0, desk.facts[A_NOTED], totals,
        )  # fmt: skip
    row = next_row(desk, state[slot, F_FD])
    out = answer_room(row)
    size = desk.facts[A_LENGTH]
    if judge_come(snapshot, customers, key, epoch, cache, at, desk, packet, base, size, held, held + P_SOURCE) != _CACHE:
        _finish(desk, slot, row, write_withheld(snapshot, epoch, counts, hits, desk, desk.held, held, out))
        return
    copy(desk.answers, out, packet, base, size)
    size = dress(desk.answers, out, size, desk.held, held, desk.question, desk.notes, 0, desk.facts[A_NOTED], -1, room_of(desk.question))
    _finish(desk, slot, row, size)


@compiled
def _finish(desk, slot, row, size):  # type: ignore[no-untyped-def]
    """Queue the answer in `row` for the client of `slot`, unless it is silence (0 bytes), and free the slot."""
    state = desk.pending
    held = slot * PENDING_ROW
    if size > 0:
        enqueue(
            desk, row, size, desk.held, held + P_SOURCE, state[slot, F_SOURCE_LENGTH],
            desk.held, held + P_CONTROL, state[slot, F_CONTROL_LENGTH],
        )  # fmt: skip
    release(desk, slot)


@compiled
def answer_stale(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, seconds):  # type: ignore[no-untyped-def]
    """Answer with an expired entry, if one is held (RFC 8767); the key and question are in the work space."""
    state = desk.pending
    held = slot * PENDING_ROW
    key_length, mixed = state[slot, F_KEY_LENGTH], U64(state[slot, F_HASH])
    at = packets.find(cache, desk.cache_key, key_length, mixed, seconds, desk.settings[S_MAX_STALE])
    if at < 0:
        return False
    row = next_row(desk, state[slot, F_FD])
    out = answer_room(row)
    size = packets.read(cache, at, desk.answers, out, seconds, desk.settings[S_STALE_TTL])
    desk.totals[_STALE] += U64(1)
    if judge_come(snapshot, customers, key, epoch, cache, at, desk, desk.answers, out, size, held, held + P_SOURCE) != _CACHE:
        _finish(desk, slot, row, write_withheld(snapshot, epoch, counts, hits, desk, desk.held, held, out))
        return True
    start, noted = packets.notes_of(cache, at)
    size = dress(
        desk.answers, out, size, desk.held, held, desk.question, u8s(cache.data), start, noted,
        stale_error(desk.answers, out), room_of(desk.question),
    )  # fmt: skip
    _finish(desk, slot, row, size)
    return True


@compiled
def give_up(desk, slot):  # type: ignore[no-untyped-def]
    """No resolver answered and nothing stale is held: SERVFAIL with EDE 23."""
    held = slot * PENDING_ROW
    row = next_row(desk, desk.pending[slot, F_FD])
    out = answer_room(row)
    size = write_error(desk.held, held, desk.question, desk.answers, out, SERVFAIL, EDE_NETWORK, desk.notes)
    desk.totals[_SERVFAIL] += U64(1)
    _finish(desk, slot, row, size)


@compiled
def retry_or_give_up(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, now, seconds):  # type: ignore[no-untyped-def]
    """A try failed: serve stale, else try again, else give up."""
    recall(desk, slot)
    length = desk.pending[slot, F_KEY_LENGTH]
    copy(desk.cache_key, 0, desk.held, slot * PENDING_ROW + P_KEY, length)
    if answer_stale(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, seconds):
        return
    if desk.pending[slot, F_TRIES] < desk.settings[S_TRIES]:
        ask_upstream(desk, slot, now)
    else:
        give_up(desk, slot)


@compiled
def expire(snapshot, customers, key, epoch, cache, counts, hits, desk, now, seconds):  # type: ignore[no-untyped-def]
    """Deal with every try whose time is over; returns how many queries are still outstanding."""
    while desk.cells[C_QUEUE_HEAD] < desk.cells[C_QUEUE_TAIL]:
        place = desk.cells[C_QUEUE_HEAD] % desk.queue.shape[0]
        slot = desk.queue[place, 0]
        if is_current(desk, slot, desk.queue[place, 1]):
            if now - desk.pending[slot, F_SENT] < desk.settings[S_TIMEOUT]:
                break
            desk.cells[C_QUEUE_HEAD] += 1
            desk.totals[_TIMEOUTS] += U64(1)
            note_failure(desk, desk.pending[slot, F_UPSTREAM], now)
            retry_or_give_up(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, now, seconds)
        else:
            desk.cells[C_QUEUE_HEAD] += 1
    return desk.cells[C_QUEUE_TAIL] - desk.cells[C_QUEUE_HEAD]


@compiled
def fail_socket(snapshot, customers, key, epoch, cache, counts, hits, desk, socket, now, seconds):  # type: ignore[no-untyped-def]
    """The kernel said a resolver's port is closed: what is outstanding there is tried elsewhere at once."""
    note_closed(desk, socket // desk.settings[S_SOCKETS], now)
    for slot in range(desk.pending.shape[0]):
        if desk.pending[slot, F_STAMP] != 0 and desk.pending[slot, F_SOCKET] == socket:
            _, up = choose_upstream(desk, now)
            if up and desk.pending[slot, F_TRIES] < desk.settings[S_TRIES]:  # no time is lost yet: nothing stale is needed
                ask_upstream(desk, slot, now)
            else:
                retry_or_give_up(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, now, seconds)
