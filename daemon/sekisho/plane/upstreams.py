"""The resolvers: which of them is asked, how, and which is passed over for a while.

Owns a resolver's health, and the query that goes to it: through one of several sockets of random ports with a random id
(RFC 5452), behind a PROXY header where the resolver is to know the client. What is kept of the query is `outstanding`'s.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.plane.answer import UDP_SIZE
from sekisho.plane.native import copy, put16, put32, refill, send
from sekisho.plane.outstanding import forget_id, line_up
from sekisho.plane.wire import AD, CD, Q_DO, Q_END, Q_FLAGS, RD, TYPE_OPT
from sekisho.plane.worker import (
    C_RANDOM,
    F_FD,
    F_ID,
    F_QUESTION,
    F_SENT,
    F_SOCKET,
    F_STAMP,
    F_TRIES,
    F_UPSTREAM,
    H_DOWN_UNTIL,
    H_FAILS,
    P_SOURCE,
    PENDING_ROW,
    PROXY_ROW,
    S_PROXY,
    S_SOCKETS,
    S_UPSTREAMS,
)
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64

_SENT, _FAILOVERS, _LATENCY = int(Counter.UPSTREAM_SENT), int(Counter.UPSTREAM_FAILOVERS), int(Counter.LATENCY_SUM_US)
_BOUNDS = np.array(LATENCY_BOUNDS_US, np.int64)
_BILLION = 1_000_000_000
_FAILS_DOWN = 3
_DOWN_FOR = 2 * _BILLION
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
    forget_id(desk, slot)
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
def note_failure(desk, number, now):  # type: ignore[no-untyped-def]
    """A resolver did not answer: three times in a row and it is passed over, but for one query every two seconds."""
    health = desk.health
    health[number, H_FAILS] += 1
    if health[number, H_FAILS] >= _FAILS_DOWN:
        health[number, H_DOWN_UNTIL] = now + _DOWN_FOR


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
def note_closed(desk, number, now):  # type: ignore[no-untyped-def]
    """A resolver's port is closed: it is passed over at once."""
    desk.health[number, H_FAILS] = _FAILS_DOWN
    desk.health[number, H_DOWN_UNTIL] = now + _DOWN_FOR


@compiled
def note_answer(desk, number):  # type: ignore[no-untyped-def]
    """A resolver answered: it is up."""
    desk.health[number, H_FAILS] = 0
    desk.health[number, H_DOWN_UNTIL] = 0
