"""The loop of one worker: wait, receive a desk, have each packet served, send, time out.

Owns when packets are taken and sent; what becomes of one is `queries` and `forward`. `serve` returns only when it is told to
(to take a new snapshot or to stop); a worker's state lives in its arrays and outlasts the call.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.plane.addresses import find_customer, source_of
from sekisho.plane.forward import expire, fail_socket, take_answer
from sekisho.plane.native import CLOCK_MONOTONIC, CLOCK_REALTIME, EAGAIN, clock, prefetch, receive, u32s, u64s, wait
from sekisho.plane.queries import serve_query
from sekisho.plane.recording import publish
from sekisho.plane.sending import flush
from sekisho.plane.worker import BATCH, CONTROL, PACKET, ROW, S_BUSY_POLL, S_EPOLL, SIGNAL_RETURN, SOURCE
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import COUNT_COLUMNS, ROW_WORDS, WORKER_HEARTBEAT

_MISMATCHED, _BUSY = int(Counter.UPSTREAM_MISMATCHED), int(Counter.BUSY_NS)
_MSG_TRUNC = 0x20
_BILLION = 1_000_000_000
_ROUNDS = 4
_EVENTS = 64
KIND_LISTENER, KIND_UPSTREAM, KIND_WAKE = 0, 1, 2
_SHORT_WAIT, _LONG_WAIT = 10, 500


@compiled
def serve(snapshot, customers, buckets, key, epoch, cache, counts, hits, desk):  # type: ignore[no-untyped-def]
    """Serve until `signal[SIGNAL_RETURN]` is set, or the descriptor of KIND_WAKE can be read, which sets it."""
    outstanding = 0
    worked = np.int64(0)
    now = np.int64(0)
    prepare(desk, BATCH)
    while desk.signal[SIGNAL_RETURN] == 0:
        awake = now - worked < desk.settings[S_BUSY_POLL]
        ready = wait(desk.settings[S_EPOLL], desk.events, _EVENTS, 0 if awake else _SHORT_WAIT if outstanding > 0 else _LONG_WAIT)
        now = clock(CLOCK_MONOTONIC, desk.clock)
        if ready > 0:
            worked = now
        elif awake:
            continue
        seconds = now // _BILLION
        u64s(counts.worker)[WORKER_HEARTBEAT] = U64(clock(CLOCK_REALTIME, desk.clock))
        for event in range(ready):
            at = event * 12
            number = np.int64(desk.events[at + 4]) | np.int64(desk.events[at + 5]) << 8
            kind = np.int64(desk.events[at + 8])
            if kind == KIND_LISTENER:
                serve_listener(snapshot, customers, buckets, key, epoch, cache, counts, hits, desk, desk.listeners[number], now, seconds)
            elif kind == KIND_UPSTREAM:
                serve_upstream(snapshot, customers, key, epoch, cache, counts, hits, desk, number, now, seconds)
            elif kind == KIND_WAKE:
                desk.signal[SIGNAL_RETURN] = 1
        before = outstanding
        outstanding = expire(snapshot, customers, key, epoch, cache, counts, hits, desk, now, seconds)
        if before > 0 or outstanding > 0:
            # Listeners and resolvers' sockets have seen to theirs; what timed out is still to be told.
            publish(counts, desk)
            flush(desk)
        if ready > 0:
            desk.totals[_BUSY] += U64(clock(CLOCK_MONOTONIC, desk.clock) - now)
            u64s(counts.totals)[_BUSY] = desk.totals[_BUSY]


@compiled
def prepare(desk, count):  # type: ignore[no-untyped-def]
    """Reset what the kernel overwrote in the first `count` message headers."""
    for row in range(count):
        desk.messages[row, 1] = SOURCE
        desk.messages[row, 5] = CONTROL
        desk.messages[row, 6] = 0


@compiled
def serve_listener(snapshot, customers, buckets, key, epoch, cache, counts, hits, desk, fd, now, seconds):  # type: ignore[no-untyped-def]
    """Take what clients sent to one socket, a bounded number of batches at a time."""
    for _ in range(_ROUNDS):
        got = receive(fd, desk.messages, BATCH)
        look_up(customers, buckets, counts, desk, got)
        for row in range(got):
            length = desk.messages[row, 7] & 0xFFFFFFFF
            whole = (desk.messages[row, 6] & _MSG_TRUNC) == 0
            length = min(length, PACKET)
            serve_query(snapshot, customers, buckets, key, epoch, cache, counts, hits, desk, fd, row, length, whole, now, seconds)
        publish(counts, desk)  # first: whoever has an answer is counted
        flush(desk)
        prepare(desk, got)
        if got < BATCH:
            break


@compiled
def look_up(customers, buckets, counts, desk, got):  # type: ignore[no-untyped-def]
    """Find the customer of every packet of a batch, before the first is judged.

    With many customers each look-up waits for memory. Those of different packets wait together;
    done one packet after the other, they would be half of the time a query takes.
    """
    rows, columns = u64s(customers.rows), u32s(counts.customers)
    for row in range(got):
        high, low = source_of(desk.sources, row * SOURCE)
        desk.who[row] = find_customer(customers, high, low)
    for row in range(got):
        who = desk.who[row]
        if who >= 0:
            prefetch(rows, ROW_WORDS * who)
            prefetch(columns, COUNT_COLUMNS * who)
            prefetch(buckets, who)


@compiled
def serve_upstream(snapshot, customers, key, epoch, cache, counts, hits, desk, socket, now, seconds):  # type: ignore[no-untyped-def]
    """Take what a resolver sent to one socket."""
    for _ in range(_ROUNDS):
        got = receive(desk.sockets[socket], desk.messages, BATCH)
        if got < 0:
            if got != -EAGAIN:
                fail_socket(snapshot, customers, key, epoch, cache, counts, hits, desk, socket, now, seconds)
            break
        for row in range(got):
            length = desk.messages[row, 7] & 0xFFFFFFFF
            if (desk.messages[row, 6] & _MSG_TRUNC) != 0:
                desk.totals[_MISMATCHED] += U64(1)
                continue
            take_answer(snapshot, customers, key, epoch, cache, counts, hits, desk, socket, desk.packets, row * ROW, length, now, seconds)
        publish(counts, desk)
        flush(desk)
        prepare(desk, got)
        if got < BATCH:
            break
