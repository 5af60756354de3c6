"""The outstanding queries of one worker: what is kept of each until it is answered, and the queue of their time-outs.

Owns the slots, and the ids the resolvers' answers come back with (RFC 5452). Does not ask a resolver (`upstreams`) nor answer
a client (`forward`).
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.plane.native import copy
from sekisho.plane.wire import Q_END
from sekisho.plane.worker import (
    C_FREE,
    C_QUEUE_HEAD,
    C_QUEUE_TAIL,
    C_STAMP,
    CONTROL,
    F_CONTROL_LENGTH,
    F_CUSTOMER,
    F_FD,
    F_HASH,
    F_ID,
    F_KEY_LENGTH,
    F_QUESTION,
    F_SOCKET,
    F_SOURCE_LENGTH,
    F_STAMP,
    F_TRIES,
    P_CONTROL,
    P_KEY,
    P_SOURCE,
    PENDING_ROW,
    SOURCE,
)
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64

_FULL = int(Counter.PENDING_FULL)
_QUESTION_SLOTS = Q_END + 1


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
    forget_id(desk, slot)
    desk.pending[slot, F_STAMP] = 0
    desk.free[desk.cells[C_FREE]] = slot
    desk.cells[C_FREE] += 1


@compiled
def forget_id(desk, slot):  # type: ignore[no-untyped-def]
    """An answer to the slot's last try is of no use any more."""
    socket = desk.pending[slot, F_SOCKET]
    if socket >= 0:
        desk.ids[socket * 65536 + desk.pending[slot, F_ID]] = 0
        desk.pending[slot, F_SOCKET] = -1


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
