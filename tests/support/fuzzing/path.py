"""Target `path`: the whole path of a packet in one worker's desk.

A client's packet from any of the sources goes through parser, EDNS, verdict, cache and forwarding; the resolver answers honestly or
not at all (one that lies: `lies`). The desk is the product's, less its sockets: what goes to a resolver is dropped by the kernel.

Numba compiles a function again for each constant it is called with, and for each length of an array within a
record. So numbers go to functions as `_I(1)`, which has the type and not the value, and such an array as `array[:]`:
the path itself is then the plane's own code, compiled before, and all else is compiled once.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import TOTALS, Counter
from sekisho.model.verdicts import Step
from sekisho.plane.cache import KEY_ROOM
from sekisho.plane.forward import expire, take_answer
from sekisho.plane.loop import look_up
from sekisho.plane.native import copy, i64s, load64, u64s
from sekisho.plane.queries import serve_query
from sekisho.plane.wire import HEADER, NAME_ROOM, Q_DO, Q_EDNS, Q_END, Q_NAME, Q_SLOTS, parse_query
from sekisho.plane.worker import (
    BATCH,
    C_FREE,
    F_ID,
    F_SOCKET,
    F_STAMP,
    PACKET,
    PENDING_ROW,
    ROW,
    SOURCE,
    WORK,
)
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from support.fuzzing.features import (
    ANSWERED,
    AWAY,
    CELLS,
    CHOICE,
    COUNT,
    FRESH,
    LENGTH,
    PLACES,
    ROUNDS,
    TOUCHED,
    bucket,
    mark,
)
from support.fuzzing.mutator import EDGE, INPUT
from support.fuzzing.oracles import (
    ASKED,
    DECIDED,
    HELD,
    LIED,
    LOST,
    OK,
    OWED,
    RECORDED,
    S_DO,
    S_EDNS,
    S_END,
    S_NAME,
    S_SIZE,
    S_SLOTS,
    STEP,
    WRITTEN,
    answer_fault,
    cache_fault,
    frame_fault,
    read_query,
    word,
)

_I = np.int64
_STEPS = tuple(int(Counter[f"STEP_{one.name}"]) for one in Step)
_STEP_COUNT = len(Step)
_MALFORMED, _MANDATORY, _ENTITLED = int(Step.MALFORMED) - 1, int(Step.MANDATORY) - 1, int(Step.ENTITLED) - 1
_FORWARD = int(Step.FORWARD) - 1
STORED = int(Counter.CACHE_STORED)
WITHHELD = int(Counter.ANSWERS_BLOCKED)
SECOND = 1_000_000_000
ROOM = 1232
CANARIES = U64(0xA5A5A5A5A5A5A5A5)
NAMES = 64
"""Questions the target `answers` asks; their names have one length, so that any answer fits any."""
SOURCES = 13
UPSTREAM_ROW = 5


PATH = np.dtype(
    [
        ("work", np.uint8, (INPUT + 2 * EDGE,)),
        ("sources", np.uint8, (SOURCES, SOURCE)),
        ("source_lengths", np.int64, (SOURCES,)),
        ("asked", np.uint8, (NAMES, 64)),
        ("asked_lengths", np.int64, (NAMES,)),
        ("before", np.uint64, (TOTALS,)),
        ("said", np.int64, (S_SLOTS,)),
        ("question", np.int64, (Q_SLOTS,)),
        ("lower", np.uint8, (NAME_ROOM,)),
        ("labels", np.int64, (WORK,)),
        ("honest", np.uint8, (16,)),
        ("clock", np.int64, (2,)),
        ("seen", np.uint8, (PLACES,)),
        ("touched", np.int64, (TOUCHED,)),
        ("cells", np.int64, (CELLS,)),
    ],
    align=True,
)
"""Work space beside the desk. sources: where packets come from; asked: honest questions; honest: a record that answers any;
before: the totals before the input; clock: ns of the monotonic clock.
"""


@compiled
def begin(path, length, choice):  # type: ignore[no-untyped-def]
    """The cells, as they are before an input is judged."""
    cells = path.cells
    cells[FRESH] = 0
    cells[COUNT] = 0
    cells[LENGTH] = length
    cells[CHOICE] = choice
    return cells


@compiled
def judge_packet(snapshot, customers, buckets, key, cache, counts, hits, desk, path, length, choice):  # type: ignore[no-untyped-def]
    """A client's packet of `length` bytes in `work`, from the source and at the moment that `choice` says."""
    cells = begin(path, length, choice)
    source = choice % path.sources.shape[0]
    row = (choice >> 8) % BATCH
    whole = choice >> 16 & 31 != 31
    path.clock[0] += (choice >> 21 & 0xFF) * 4_000_000
    fault = ask_path(snapshot, customers, buckets, key, cache, counts, hits, desk, path, path.work[:], _I(EDGE), length, source, row, whole)
    if fault != OK:
        return fault
    if cells[AWAY] and choice >> 30 & 1:
        fault = _answer_honestly(snapshot, customers, key, cache, counts, hits, desk, path, desk.free[desk.cells[C_FREE]])
        if fault != OK:
            return fault
    return let_pass(snapshot, customers, key, cache, counts, hits, desk, path)


@compiled
def ask_path(snapshot, customers, buckets, key, cache, counts, hits, desk, path, packet, at, length, source, row, whole):  # type: ignore[no-untyped-def]
    """Put a packet into `row` of the desk, serve it, and judge what the desk holds then."""
    base, said = row * ROW, path.said
    path.cells[AWAY] = 0
    copy(desk.packets, base, packet, at, length)
    for index in range(16):
        desk.packets[base + length + index] = 0xFF
    copy(desk.sources, row * SOURCE, path.sources[source], 0, SOURCE)
    desk.messages[row, 1] = path.source_lengths[source]
    desk.messages[row, 5] = 0
    for slot in range(desk.totals.shape[0]):
        path.before[slot] = desk.totals[slot]
    recorded, free, head = u64s(hits.cursor)[0], desk.cells[C_FREE], i64s(cache.state)[0]
    now = path.clock[0]
    look_up(customers, buckets, counts, desk, row + 1)
    serve_query(snapshot, customers, buckets, key, _I(1), cache, counts, hits, desk, _I(-1), row, length, whole, now, now // SECOND)
    code = read_query(packet, at, length, said)
    if code == 0 and not whole:
        code = 1
    step = _I(-1)
    for index in range(_STEP_COUNT):
        moved = desk.totals[_STEPS[index]] - path.before[_STEPS[index]]
        if moved != U64(0):
            if step >= 0 or moved != U64(1):
                return STEP
            step = index
    if step < 0:
        return STEP
    if (step == _MALFORMED) != (code != 0):
        return DECIDED
    withheld = desk.totals[WITHHELD] != path.before[WITHHELD]
    if (u64s(hits.cursor)[0] != recorded) != (step == _MANDATORY or step == _ENTITLED or withheld):
        return RECORDED
    if i64s(cache.state)[0] != head:
        return LIED
    queued = desk.queued[0]
    if queued > 1 or (queued == 1 and code == -1):
        return OWED
    _mark_path(desk, path, code, step, queued)
    if queued == 1:
        path.cells[ANSWERED] += 1
        edns = said[S_EDNS] if code not in (1, 4) else 0
        room = 512 if edns == 0 else min(ROOM, said[S_SIZE])
        end = HEADER if code == 4 else said[S_END]
        size = desk.vectors[0, 1]
        fault = answer_fault(packet, at, end, edns, room, desk.answers, _I(0), size)
        if fault != OK:
            return fault
        if load64(desk.answers, PACKET) != CANARIES or load64(desk.answers, ROW - 8) != CANARIES:
            return WRITTEN
    if step == _FORWARD and free - desk.cells[C_FREE] == 1:
        if queued != 0:
            return HELD
        path.cells[AWAY] = 1
        return _question_fault(desk, path, packet, at)
    return OK if free == desk.cells[C_FREE] else HELD


@compiled
def _question_fault(desk, path, packet, at):  # type: ignore[no-untyped-def]
    """What went to the resolver is a query the product itself would take: the client's question, with OPT and the client's DO."""
    end = path.said[S_END]
    if parse_query(desk.packet[:], _I(0), end + 11, path.question[:], path.lower[:], path.labels[:]) != 0:
        return ASKED
    if path.question[Q_END] != end or path.question[Q_NAME] != path.said[S_NAME]:
        return ASKED
    if path.question[Q_EDNS] != 1 or path.question[Q_DO] != path.said[S_DO]:
        return ASKED
    for index in range(HEADER, end):
        if desk.packet[index] != packet[at + index]:
            return ASKED
    return OK


@compiled
def _mark_path(desk, path, code, step, queued):  # type: ignore[no-untyped-def]
    """Features: the verdict, the counters that moved, and the shape of the answer."""
    seen, touched, cells, said = path.seen, path.touched, path.cells, path.said
    moved = np.int64(0)
    for slot in range(desk.totals.shape[0]):
        if desk.totals[slot] != path.before[slot]:
            moved = (moved * 31 + slot + 1) & 0xFFFFFFFF
    mark(seen, touched, cells, _I(20), moved)
    mark(seen, touched, cells, _I(21), (code + 1) << 16 | step << 12 | said[S_EDNS] << 8 | said[S_DO] << 7 | bucket(said[S_SIZE]))
    if queued:
        size = desk.vectors[0, 1]
        shape = word(desk.answers, _I(6)) << 8 | word(desk.answers, _I(8)) << 4 | word(desk.answers, _I(10))
        mark(seen, touched, cells, _I(22), step << 40 | bucket(size) << 32 | (word(desk.answers, _I(2)) & 0x82BF) << 16 | (shape & 0xFFFF))


@compiled
def _answer_honestly(snapshot, customers, key, cache, counts, hits, desk, path, slot):  # type: ignore[no-untyped-def]
    """The question back, with one address record: it must reach the client."""
    base, end = UPSTREAM_ROW * ROW, path.said[S_END]
    copy(desk.packets, base, desk.held, slot * PENDING_ROW, end)
    patch_id(desk, base, slot)
    desk.packets[base + 2] = 0x81
    desk.packets[base + 3] = 0x80
    for index in range(4, HEADER):
        desk.packets[base + index] = 1 if index in (5, 7) else 0
    record = path.honest
    copy(desk.packets, base + end, record, 0, record.shape[0])
    now = path.clock[0]
    desk.queued[0] = 0
    take_answer(
        snapshot,
        customers,
        key,
        _I(1),
        cache,
        counts,
        hits,
        desk,
        desk.pending[slot, F_SOCKET],
        desk.packets,
        base,
        end + record.shape[0],
        now,
        now // SECOND,
    )
    if desk.queued[0] != 1 or desk.pending[slot, F_STAMP] != 0:
        return LOST
    edns = path.said[S_EDNS]
    room = 512 if edns == 0 else min(ROOM, path.said[S_SIZE])
    size = desk.vectors[0, 1]
    return answer_fault(desk.held[:], slot * PENDING_ROW, end, edns, room, desk.answers, _I(0), size)


@compiled
def patch_id(desk, base, slot):  # type: ignore[no-untyped-def]
    desk.packets[base] = desk.pending[slot, F_ID] >> 8
    desk.packets[base + 1] = desk.pending[slot, F_ID] & 0xFF


@compiled
def let_pass(snapshot, customers, key, cache, counts, hits, desk, path):  # type: ignore[no-untyped-def]
    """Time-outs that are due; every answer they make is whole. The rows are taken back."""
    desk.queued[0] = 0
    now = path.clock[0]
    expire(snapshot, customers, key, _I(1), cache, counts, hits, desk, now, now // SECOND)
    for row in range(desk.queued[0]):
        fault = frame_fault(desk.answers, row * ROW, desk.vectors[row, 1], _end_of(desk.answers, row * ROW), _I(-1))
        if fault != OK:
            return fault
    desk.queued[0] = 0
    if path.cells[ROUNDS] % 1024 == 0:
        return cache_fault(i64s(cache.positions), i64s(cache.words), i64s(cache.state)[0], KEY_ROOM)
    return OK


@compiled
def _end_of(out, base):  # type: ignore[no-untyped-def]
    """Behind the question of an answer of ours."""
    at = HEADER
    while out[base + at] != 0:
        at += np.int64(out[base + at]) + 1
    return at + 5
