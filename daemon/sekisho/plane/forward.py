"""Forwarding: a query to a resolver, its answer back to the client, and what happens when none comes.

Owns the outstanding queries of one worker. A query leaves through one of several sockets of random
ports with a random id (RFC 5452), and its answer must come to that socket, from that resolver, with
that id and question. Each try has a time-out and the next goes to the next resolver. When every try
failed, an expired answer is served if one is held (RFC 8767), else SERVFAIL. A client with an expired
answer to hand does not wait for a second time-out; a closed port costs no time, so the next is asked.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.model.verdicts import Step
from sekisho.plane import cache as packets
from sekisho.plane.answer import EDE_NETWORK, SERVFAIL, UDP_SIZE, dress, room_of, stale_error, write_error
from sekisho.plane.native import copy, put16, put32, refill, send, u8s
from sekisho.plane.recording import count_pattern
from sekisho.plane.reply import A_LENGTH, A_NOTED, A_RCODE, A_TTL, A_TTLS, read_answer, same_question
from sekisho.plane.sending import answer_room, enqueue, next_row
from sekisho.plane.wire import AD, CD, HEADER, NXDOMAIN, Q_DO, Q_END, Q_FLAGS, QR, RD, TYPE_OPT
from sekisho.plane.withholding import judge_come, write_withheld
from sekisho.plane.worker import (
    C_FREE,
    C_QUEUE_HEAD,
    C_QUEUE_TAIL,
    C_RANDOM,
    C_STAMP,
    CONTROL,
    F_CONTROL_LENGTH,
    F_CUSTOMER,
    F_FD,
    F_HASH,
    F_ID,
    F_KEY_LENGTH,
    F_QUESTION,
    F_SENT,
    F_SOCKET,
    F_SOURCE_LENGTH,
    F_STAMP,
    F_TRIES,
    F_UPSTREAM,
    H_DOWN_UNTIL,
    H_FAILS,
    P_CONTROL,
    P_KEY,
    P_SOURCE,
    PENDING_ROW,
    PROXY_ROW,
    S_MAX_STALE,
    S_PROXY,
    S_SOCKETS,
    S_STALE_TTL,
    S_TIMEOUT,
    S_TRIES,
    S_UPSTREAMS,
    SOURCE,
)
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import PATTERN_NXDOMAIN

_SENT, _ANSWERED, _TIMEOUTS = int(Counter.UPSTREAM_SENT), int(Counter.UPSTREAM_ANSWERED), int(Counter.UPSTREAM_TIMEOUTS)
_MISMATCHED, _FAILOVERS = int(Counter.UPSTREAM_MISMATCHED), int(Counter.UPSTREAM_FAILOVERS)
_SERVFAIL, _FULL, _STALE = int(Counter.UPSTREAM_SERVFAIL), int(Counter.PENDING_FULL), int(Counter.CACHE_STALE)
_LATENCY = int(Counter.LATENCY_SUM_US)
_BOUNDS = np.array(LATENCY_BOUNDS_US, np.int64)
_BILLION = 1_000_000_000
_CACHE = int(Step.CACHE)
_FAILS_DOWN = 3
_DOWN_FOR = 2 * _BILLION
_QUESTION_SLOTS = Q_END + 1
_AF_INET = 2
_SIGNATURE = np.frombuffer(b"\r\n\r\n\0\r\nQUIT\n", np.uint8).copy()


@compiled
def random16(desk):  # type: ignore[no-untyped-def]
    """Sixteen random bits from the kernel's generator."""
    at = desk.cells[C_RANDOM]
    if at + 2 > desk.random.shape[0]:
        refill(desk.random)
        at = 0
    desk.cells[C_RANDOM] = at + 2
    return np.int64(desk.random[at]) << 8 | np.int64(desk.random[at + 1])


@compiled
def choose_upstream(desk, now):  # type: ignore[no-untyped-def]
    """The first resolver that is not held to be down, or the one whose turn to be tried comes first.

    Returns (number, up): `up` False when all are down.
    """
    health = desk.health
    best = 0
    for number in range(desk.settings[S_UPSTREAMS]):
        if health[number, H_DOWN_UNTIL] <= now:
            return number, True
        if health[number, H_DOWN_UNTIL] < health[best, H_DOWN_UNTIL]:
            best = number
    return best, False


@compiled
def hold(desk, question, customer, packet, at, key_length, mixed, fd, sources, source, source_length, controls, control, control_length):  # type: ignore[no-untyped-def]
    """Keep what is needed to answer the client later; returns the slot, or -1 if too many are outstanding."""
    if desk.cells[C_FREE] == 0:
        desk.totals[_FULL] += U64(1)
        return -1
    desk.cells[C_FREE] -= 1
    slot = desk.free[desk.cells[C_FREE]]
    desk.cells[C_STAMP] += 1
    state = desk.pending
    state[slot, F_STAMP] = desk.cells[C_STAMP]
    state[slot, F_FD] = fd
    state[slot, F_CUSTOMER] = customer
    state[slot, F_TRIES] = 0
    state[slot, F_KEY_LENGTH] = key_length
    state[slot, F_HASH] = np.int64(mixed)
    state[slot, F_SOURCE_LENGTH] = source_length
    state[slot, F_CONTROL_LENGTH] = control_length
    state[slot, F_SOCKET] = -1
    for index in range(_QUESTION_SLOTS):
        state[slot, F_QUESTION + index] = question[index]
    base = slot * PENDING_ROW
    copy(desk.held, base, packet, at, question[Q_END])
    copy(desk.held, base + P_KEY, desk.cache_key, 0, key_length)
    copy(desk.held, base + P_SOURCE, sources, source, min(source_length, SOURCE))
    copy(desk.held, base + P_CONTROL, controls, control, min(control_length, CONTROL))
    return slot


@compiled
def recall(desk, slot):  # type: ignore[no-untyped-def]
    """Bring the held question back into the work space."""
    for index in range(_QUESTION_SLOTS):
        desk.question[index] = desk.pending[slot, F_QUESTION + index]


@compiled
def release(desk, slot):  # type: ignore[no-untyped-def]
    """Give the slot back."""
    _forget_id(desk, slot)
    desk.pending[slot, F_STAMP] = 0
    desk.free[desk.cells[C_FREE]] = slot
    desk.cells[C_FREE] += 1


@compiled
def _forget_id(desk, slot):  # type: ignore[no-untyped-def]
    socket = desk.pending[slot, F_SOCKET]
    if socket >= 0:
        desk.ids[socket * 65536 + desk.pending[slot, F_ID]] = 0
        desk.pending[slot, F_SOCKET] = -1


@compiled
def write_proxy(desk, slot, out):  # type: ignore[no-untyped-def]
    """The PROXY protocol v2 header that tells the resolver the client's address; returns its length."""
    copy(out, 0, _SIGNATURE, 0, 12)
    out[12] = 0x21
    source = slot * PENDING_ROW + P_SOURCE
    target = 0
    for number in range(desk.listeners.shape[0]):
        if desk.listeners[number] == desk.pending[slot, F_FD]:
            target = number * PROXY_ROW
    if desk.held[source] == _AF_INET:
        out[13] = 0x12
        put16(out, 14, 12)
        copy(out, 16, desk.held, source + 4, 4)
        copy(out, 20, desk.proxies, target + 4, 4)
        copy(out, 24, desk.held, source + 2, 2)
        copy(out, 26, desk.proxies, target + 2, 2)
        return 28
    out[13] = 0x22
    put16(out, 14, 36)
    copy(out, 16, desk.held, source + 8, 16)
    copy(out, 32, desk.proxies, target + 8, 16)
    copy(out, 48, desk.held, source + 2, 2)
    copy(out, 50, desk.proxies, target + 2, 2)
    return 52


@compiled
def ask_upstream(desk, slot, now):  # type: ignore[no-untyped-def]
    """Send the held query to a resolver and start its time-out. A failed send fails over at the time-out."""
    settings, out = desk.settings, desk.packet
    state = desk.pending
    _forget_id(desk, slot)
    number, _ = choose_upstream(desk, now)
    if state[slot, F_TRIES] > 0 and settings[S_UPSTREAMS] > 1 and number == state[slot, F_UPSTREAM]:
        number = (number + 1) % settings[S_UPSTREAMS]
        desk.totals[_FAILOVERS] += U64(1)
    if desk.health[number, H_FAILS] >= _FAILS_DOWN:
        # One query finds out whether a resolver that was down is back; the others do not wait for it.
        desk.health[number, H_DOWN_UNTIL] = now + _DOWN_FOR
    per = settings[S_SOCKETS]
    socket = number * per + random16(desk) % per
    identity = random16(desk)
    while desk.ids[socket * 65536 + identity] != 0:
        identity = (identity + 1) & 0xFFFF
    desk.ids[socket * 65536 + identity] = np.int16(slot + 1)
    state[slot, F_SOCKET] = socket
    state[slot, F_UPSTREAM] = number
    state[slot, F_ID] = identity
    state[slot, F_SENT] = now
    state[slot, F_TRIES] += 1
    base = write_proxy(desk, slot, out) if settings[S_PROXY] else 0
    end = state[slot, F_QUESTION + Q_END]
    copy(out, base, desk.held, slot * PENDING_ROW, end)
    put16(out, base, identity)
    put16(out, base + 2, (state[slot, F_QUESTION + Q_FLAGS] & (RD | CD)) | AD)
    put16(out, base + 10, 1)
    at = base + end
    out[at] = 0
    put16(out, at + 1, TYPE_OPT)
    put16(out, at + 3, UDP_SIZE)
    put32(out, at + 5, state[slot, F_QUESTION + Q_DO] << 15)
    put16(out, at + 9, 0)
    desk.totals[_SENT] += U64(1)
    line_up(desk, slot, state[slot, F_STAMP] * 16 + state[slot, F_TRIES])
    # The first send may only report the last one's ICMP error, so it is made twice.
    if send(desk.sockets[socket], out, 0, at + 11) < 0 and send(desk.sockets[socket], out, 0, at + 11) < 0:
        note_failure(desk, number, now)


@compiled
def line_up(desk, slot, mark):  # type: ignore[no-untyped-def]
    """Put a try at the end of the time-out queue. In a full queue what is answered goes, what is not moves back."""
    room = desk.queue.shape[0]
    while desk.cells[C_QUEUE_TAIL] - desk.cells[C_QUEUE_HEAD] >= room:
        first = desk.cells[C_QUEUE_HEAD] % room
        desk.cells[C_QUEUE_HEAD] += 1
        if is_current(desk, desk.queue[first, 0], desk.queue[first, 1]):
            desk.cells[C_QUEUE_TAIL] += 1
    place = desk.cells[C_QUEUE_TAIL] % room
    desk.queue[place, 0] = slot
    desk.queue[place, 1] = mark
    desk.cells[C_QUEUE_TAIL] += 1


@compiled
def is_current(desk, slot, mark):  # type: ignore[no-untyped-def]
    """Whether a try in the time-out queue is still waited for."""
    stamp = desk.pending[slot, F_STAMP]
    return stamp != 0 and stamp * 16 + desk.pending[slot, F_TRIES] == mark


@compiled
def note_failure(desk, number, now):  # type: ignore[no-untyped-def]
    """A resolver did not answer: three times in a row and it is passed over, but for one query every two seconds."""
    health = desk.health
    health[number, H_FAILS] += 1
    if health[number, H_FAILS] >= _FAILS_DOWN:
        health[number, H_DOWN_UNTIL] = now + _DOWN_FOR


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
    number = state[slot, F_UPSTREAM]
    desk.health[number, H_FAILS] = 0
    desk.health[number, H_DOWN_UNTIL] = 0
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
def note_latency(desk, elapsed):  # type: ignore[no-untyped-def]
    """Put one upstream latency (ns) into the histogram."""
    micros = max(0, elapsed // 1000)
    bucket = 0
    while bucket < _BOUNDS.shape[0] and micros > _BOUNDS[bucket]:
        bucket += 1
    desk.latency[bucket] += U64(1)
    desk.totals[_LATENCY] += U64(micros)


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
    number = socket // desk.settings[S_SOCKETS]
    desk.health[number, H_FAILS] = _FAILS_DOWN
    desk.health[number, H_DOWN_UNTIL] = now + _DOWN_FOR
    for slot in range(desk.pending.shape[0]):
        if desk.pending[slot, F_STAMP] != 0 and desk.pending[slot, F_SOCKET] == socket:
            _, up = choose_upstream(desk, now)
            if up and desk.pending[slot, F_TRIES] < desk.settings[S_TRIES]:  # no time is lost yet: nothing stale is needed
                ask_upstream(desk, slot, now)
            else:
                retry_or_give_up(snapshot, customers, key, epoch, cache, counts, hits, desk, slot, now, seconds)
