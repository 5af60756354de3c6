"""Target `answers`: honest questions, and what a resolver says that lies; and bursts of either target's mutants.

A mutant comes to the right socket with the right id and question, or with one of them wrong. How compiled code is to call is told in
`path`.
"""

from __future__ import annotations

import numpy as np

from sekisho.plane.forward import take_answer
from sekisho.plane.native import copy, i64s, load64
from sekisho.plane.wire import HEADER
from sekisho.plane.worker import (
    C_FREE,
    F_ID,
    F_SOCKET,
    F_STAMP,
    PACKET,
    PENDING_ROW,
    ROW,
)
from sekisho.snapshot.compiling import compiled
from support.fuzzing.features import (
    ANSWERED,
    AWAY,
    FAULT,
    FRESH,
    POOLED,
    ROUNDS,
    bucket,
    mark,
)
from support.fuzzing.mutator import EDGE, EVERY, POOL, below, draw, mutate
from support.fuzzing.oracles import (
    HELD,
    LIED,
    OK,
    S_EDNS,
    S_END,
    S_SIZE,
    WRITTEN,
    answer_fault,
    is_answer_to,
    word,
)
from support.fuzzing.path import CANARIES, ROOM, SECOND, STORED, UPSTREAM_ROW, WITHHELD, ask_path, begin, judge_packet, let_pass, patch_id

_I = np.int64
_HONEST, _WRONG_ID, _WRONG_NAME, _WRONG_SOCKET, _UNPATCHED = 0, 1, 2, 3, 4


@compiled
def judge_answer(snapshot, customers, buckets, key, cache, counts, hits, desk, path, length, choice):  # type: ignore[no-untyped-def]
    """A resolver's packet of `length` bytes in `work`, for one of the honest questions and with the lie that `choice` says."""
    cells = begin(path, length, choice)
    number = choice % path.asked.shape[0]
    lie = max(0, (choice >> 12 & 15) - 11)
    path.clock[0] += (choice >> 16 & 0xFF) * 20_000_000
    long, nought, whole = path.asked_lengths[number], _I(0), np.bool_(1)
    fault = ask_path(
        snapshot, customers, buckets, key, cache, counts, hits, desk, path, path.asked[number], nought, long, nought, nought, whole
    )
    if fault != OK or not cells[AWAY]:
        # From the cache, where a liar's answer may lie: it was judged like any other.
        return fault if fault != OK else let_pass(snapshot, customers, key, cache, counts, hits, desk, path)
    slot = desk.free[desk.cells[C_FREE]]
    held = slot * PENDING_ROW
    end, edns = path.said[S_END], path.said[S_EDNS]
    base = UPSTREAM_ROW * ROW
    copy(desk.packets, base, path.work, EDGE, length)
    for index in range(16):
        desk.packets[base + length + index] = 0xFF
    socket = _tell(desk, path, base, slot, end, length, lie)
    if length >= HEADER:
        holder = np.int64(desk.ids[socket * 65536 + word(desk.packets, base)]) - 1
        if holder >= 0 and holder != slot:
            # By chance the lie is the truth of another query that is out.
            return let_pass(snapshot, customers, key, cache, counts, hits, desk, path)
    true = socket == desk.pending[slot, F_SOCKET] and _is_true(desk, base, length, slot, held, end)
    for index in range(desk.totals.shape[0]):
        path.before[index] = desk.totals[index]
    desk.queued[0] = 0
    head, now = i64s(cache.state)[0], path.clock[0]
    take_answer(snapshot, customers, key, _I(1), cache, counts, hits, desk, socket, desk.packets, base, length, now, now // SECOND)
    queued, moved = desk.queued[0], i64s(cache.state)[0] != head
    if (queued != 0 or moved) and not true:
        return LIED
    if moved != (desk.totals[STORED] != path.before[STORED]) or queued > 1:
        return HELD
    withheld = desk.totals[WITHHELD] != path.before[WITHHELD]
    if (queued == 1 or withheld) != (desk.pending[slot, F_STAMP] == 0) or (withheld and not true):
        return HELD
    _mark_answer(desk, path, base, length, lie, queued, moved)
    if queued == 1:
        cells[ANSWERED] += 1
        room = 512 if edns == 0 else min(ROOM, path.said[S_SIZE])
        size = desk.vectors[0, 1]
        fault = answer_fault(desk.held[:], held, end, edns, room, desk.answers, _I(0), size)
        if fault != OK:
            return fault
        if load64(desk.answers, PACKET) != CANARIES or load64(desk.answers, ROW - 8) != CANARIES:
            return WRITTEN
    return let_pass(snapshot, customers, key, cache, counts, hits, desk, path)


@compiled
def _tell(desk, path, base, slot, end, length, lie):  # type: ignore[no-untyped-def]
    """Make the packet one for this question, but for the lie; returns the socket it comes to."""
    socket = desk.pending[slot, F_SOCKET]
    if lie == _UNPATCHED:
        return socket
    if length >= 2:
        patch_id(desk, base, slot)
        if lie == _WRONG_ID:
            desk.packets[base + 1] ^= 1
    for index in range(HEADER, min(length, end)):
        desk.packets[base + index] = desk.held[slot * PENDING_ROW + index]
    if lie == _WRONG_NAME and length > HEADER + 1:
        desk.packets[base + HEADER + 1] ^= 1
    return socket ^ 1 if lie == _WRONG_SOCKET else socket


@compiled
def _is_true(desk, base, length, slot, held, end):  # type: ignore[no-untyped-def]
    """Whether the packet has the id that went out and the client's question (the held query has the client's id)."""
    first, second = desk.held[held], desk.held[held + 1]
    desk.held[held] = desk.pending[slot, F_ID] >> 8
    desk.held[held + 1] = desk.pending[slot, F_ID] & 0xFF
    true = is_answer_to(desk.packets, base, length, desk.held, held, end)
    desk.held[held] = first
    desk.held[held + 1] = second
    return true


@compiled
def _mark_answer(desk, path, base, length, lie, queued, moved):  # type: ignore[no-untyped-def]
    seen, touched, cells = path.seen, path.touched, path.cells
    told = np.int64(0)
    for slot in range(desk.totals.shape[0]):
        if desk.totals[slot] != path.before[slot]:
            told = (told * 31 + slot + 1) & 0xFFFFFFFF
    mark(seen, touched, cells, _I(30), told << 4 | lie)
    if length < HEADER:
        return
    facts = desk.facts
    mark(seen, touched, cells, _I(31), queued << 20 | np.int64(moved) << 19 | (word(desk.packets, base + 2) & 0x820F))
    if queued:
        mark(seen, touched, cells, _I(32), bucket(facts[2]) << 4 | facts[1])
        mark(seen, touched, cells, _I(33), bucket(facts[3]) << 8 | bucket(facts[4]) << 1 | facts[5])
        size = desk.vectors[0, 1]
        mark(seen, touched, cells, _I(34), bucket(size) << 12 | (word(desk.answers, _I(2)) & 0x022F))
        shape = min(word(desk.answers, _I(6)), 2) << 4 | min(word(desk.answers, _I(8)), 2) << 2 | min(word(desk.answers, _I(10)), 2)
        mark(seen, touched, cells, _I(35), shape)
    elif lie == _HONEST:
        # How far the reading went before it gave up.
        mark(seen, touched, cells, _I(36), min(facts[3], 7))


@compiled
def burst_path(
    snapshot,
    customers,
    buckets,
    key,
    cache,
    counts,
    hits,
    desk,
    path,
    pool_data,
    pool_lengths,
    tokens,
    token_lengths,
    random,
    answers,
    rounds,
):  # type: ignore[no-untyped-def]
    """Judge `rounds` mutants as a client's packets or, with `answers`, as a resolver's; stops at a fault."""
    cells = path.cells
    for _ in range(rounds):
        count = cells[POOLED]
        length = draw(path.work, pool_data, pool_lengths, count, random)
        length = mutate(path.work, length, pool_data, pool_lengths, count, tokens, token_lengths, random, EVERY)
        choice = below(random, 0x7FFFFFFF)
        if answers:
            cells[FAULT] = judge_answer(snapshot, customers, buckets, key, cache, counts, hits, desk, path, length, choice)
        else:
            cells[FAULT] = judge_packet(snapshot, customers, buckets, key, cache, counts, hits, desk, path, length, choice)
        cells[ROUNDS] += 1
        if cells[FAULT] != OK:
            return
        if cells[FRESH] > 0 and count < POOL:
            copy(pool_data[count], 0, path.work, EDGE, length)
            pool_lengths[count] = length
            cells[POOLED] += 1
