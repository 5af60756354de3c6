"""Target `queries`: any bytes through the wire parser, and what it says through the writers of answers.

Each packet is parsed twice: alone in an array of its own size, and among other bytes. Both readings,
and the reference's, must be one. What is answered is judged, and read by the product's own parsers.

Numbers go to functions as `_I(1)` and arrays within a record as `array[:]`, so that each is compiled once (see `path`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sekisho.model.lists import ActionKind
from sekisho.plane.answer import write_blocked, write_error, write_truncated
from sekisho.plane.native import copy, load64, u32s
from sekisho.plane.reply import A_LENGTH, A_SLOTS, MAX_NOTES, MAX_TTLS, read_answer
from sekisho.plane.verdict import R_ACTION, R_KIND, R_LIST, R_PROFILE, R_SLOTS
from sekisho.plane.wire import (
    HEADER,
    NAME_ROOM,
    Q_CLASS,
    Q_DO,
    Q_EDNS,
    Q_END,
    Q_LABELS,
    Q_NAME,
    Q_SIZE,
    Q_SLOTS,
    Q_TYPE,
    parse_query,
)
from sekisho.plane.worker import ROW, WORK
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from support.fuzzing.features import ANSWERED, CELLS, COUNT, FAULT, FRESH, LENGTH, PLACES, POOLED, ROUNDS, SIZE, TOUCHED, bucket, mark
from support.fuzzing.mutator import EDGE, EVERY, INPUT, POOL, draw, mutate
from support.fuzzing.oracles import (
    NAME,
    OK,
    OWED,
    S_CLASS,
    S_DO,
    S_EDNS,
    S_END,
    S_LABELS,
    S_NAME,
    S_SIZE,
    S_SLOTS,
    S_TYPE,
    S_VERSION,
    SLOT,
    SURROUNDINGS,
    UNREAD,
    VERDICT,
    WRITTEN,
    answer_fault,
    read_query,
    word,
)

_I = np.int64
CANARY = 0xA5
_CANARIES = U64(0xA5A5A5A5A5A5A5A5)
_ROOM = 1232
SAMPLES = 64
_LABELS = 128
_ACTIONS = 13
_BESIDE = 40


BENCH = np.dtype(
    [
        ("work", np.uint8, (INPUT + 2 * EDGE,)),
        ("other", np.uint8, (INPUT + 128,)),
        # Canaries on both sides of what the product writes names and answers to.
        ("before_lower", np.uint8, (8,)),
        ("lower", np.uint8, (NAME_ROOM,)),
        ("behind_lower", np.uint8, (8,)),
        ("before_answer", np.uint8, (8,)),
        ("out", np.uint8, (ROW,)),
        ("behind_answer", np.uint8, (8,)),
        ("question", np.int64, (Q_SLOTS,)),
        ("question_again", np.int64, (Q_SLOTS,)),
        ("lower_again", np.uint8, (NAME_ROOM,)),
        ("labels", np.int64, (_LABELS,)),
        ("labels_again", np.int64, (WORK,)),
        ("said", np.int64, (S_SLOTS,)),
        ("ruling", np.int64, (R_SLOTS,)),
        ("facts", np.int64, (A_SLOTS,)),
        ("ttls", np.int64, (MAX_TTLS,)),
        ("notes", np.uint8, (MAX_NOTES,)),
        ("blocked", np.int64, (_ACTIONS,)),
        ("samples", np.uint8, (SAMPLES, ROW)),
        ("seen", np.uint8, (PLACES,)),
        ("touched", np.int64, (TOUCHED,)),
        ("cells", np.int64, (CELLS,)),
    ],
    align=True,
)
"""Work space of the target: one record, as the product's desk is, since arrays handed about one by one would cost more than the parsing."""


def make_bench(actions: Any) -> Any:
    """A bench; `actions` uint32 (n, 4): the snapshot's, of which each that answers is used in turn."""
    bench = np.zeros(1, BENCH).view(np.recarray)[0]
    for name in ("before_lower", "behind_lower", "before_answer", "behind_answer"):
        bench[name][:] = CANARY
    silent = {int(ActionKind.DEFAULT), int(ActionKind.PASSTHRU), int(ActionKind.EXCEPT)}
    rows = [row for row, action in enumerate(np.asarray(actions).reshape(-1, 4)) if int(action[0]) not in silent]
    bench.blocked[:] = np.resize(rows, _ACTIONS)
    return bench


@compiled
def judge_query(snapshot, bench, length):  # type: ignore[no-untyped-def]
    """Judge the packet of `length` bytes in `work`; returns the fault, its features marked."""
    cells, question, said = bench.cells, bench.question, bench.said
    cells[FRESH] = 0
    cells[COUNT] = 0
    cells[LENGTH] = length
    work = bench.work
    for index in range(8):
        work[EDGE + length + index] = 0
    # An array of the packet's own size: whatever is read behind it is out of bounds.
    packet = work[EDGE : EDGE + length + 8]
    code = parse_query(packet, _I(0), length, question[:], bench.lower[:], bench.labels[:])
    if code != read_query(packet, _I(0), length, said):
        return VERDICT
    fault = _reading_fault(bench, packet, length, code)
    if fault != OK:
        return fault
    _mark_query(bench, length, code)
    if code == -1:
        return OK
    end, edns = question[Q_END], question[Q_EDNS]
    if code == 4:
        end = question[Q_END] = HEADER
    if code == 4 or code == 1:
        edns = question[Q_EDNS] = 0
    size, edns = _write(snapshot, bench, packet, code, edns)
    if size == 0:
        return OK
    cells[ANSWERED] += 1
    cells[SIZE] = size
    room = _ROOM if edns == 0 else min(_ROOM, said[S_SIZE])
    fault = answer_fault(packet, _I(0), end, edns, 512 if edns == 0 else room, bench.out, _I(0), size)
    if fault != OK:
        return fault
    if load64(bench.before_answer, 0) != _CANARIES or load64(bench.behind_answer, 0) != _CANARIES:
        return WRITTEN
    shape = word(bench.out, _I(6)) << 3 | word(bench.out, _I(8)) << 1 | edns
    mark(bench.seen, bench.touched, cells, _I(7), bucket(size) | (word(bench.out, _I(2)) & 0x020F) << 4 | shape << 20)
    return _read_back(bench, packet, length, end, size)


@compiled
def _reading_fault(bench, packet, length, code):  # type: ignore[no-untyped-def]
    """Compare the product's reading with the reference's, and with its own of the packet among other bytes."""
    question, said, again = bench.question, bench.said, bench.question_again
    if load64(bench.before_lower, 0) != _CANARIES or load64(bench.behind_lower, 0) != _CANARIES:
        return WRITTEN
    if question[Q_END] != said[S_END] or question[Q_NAME] != said[S_NAME] or question[Q_LABELS] != said[S_LABELS]:
        return SLOT
    if said[S_NAME] > 0 and (question[Q_TYPE] != said[S_TYPE] or question[Q_CLASS] != said[S_CLASS]):
        return SLOT
    if code not in (-1, 1, 4) and (question[Q_EDNS] != said[S_EDNS] or question[Q_SIZE] != said[S_SIZE] or question[Q_DO] != said[S_DO]):
        return SLOT
    at = 0
    row = 0
    for index in range(said[S_NAME]):
        octet = np.int64(packet[HEADER + index])
        if index == at:
            if octet != 0:
                if bench.labels[row] != at:
                    return NAME
                row += 1
            at += octet + 1
        elif 65 <= octet <= 90:
            octet += 32
        if bench.lower[index] != octet:
            return NAME
    if said[S_NAME] > 0 and load64(bench.lower, said[S_NAME]) != U64(0):
        return NAME
    other = bench.other
    copy(other, _BESIDE, packet, 0, length)
    for index in range(16):
        other[_BESIDE + length + index] = 0xFF - index
        other[_BESIDE - 1 - index] = index
    if parse_query(other[:], _I(_BESIDE), length, again[:], bench.lower_again[:], bench.labels_again[:]) != code:
        return SURROUNDINGS
    for slot in range(Q_SLOTS):
        if question[slot] != again[slot] and (code == 0 or slot == Q_END):
            return SURROUNDINGS
    for index in range(said[S_NAME]):
        if bench.lower[index] != bench.lower_again[index]:
            return SURROUNDINGS
    return OK


@compiled
def _mark_query(bench, length, code):  # type: ignore[no-untyped-def]
    said, seen, touched, cells = bench.said, bench.seen, bench.touched, bench.cells
    kind = said[S_TYPE]
    group = kind if kind < 3 or 249 <= kind <= 256 or kind in (5, 6, 15, 16, 28, 33, 41, 65) else 4
    edns = said[S_EDNS] << 1 | said[S_DO]
    mark(seen, touched, cells, _I(1), code << 8 | bucket(said[S_LABELS]) << 4 | bucket(said[S_NAME]))
    mark(seen, touched, cells, _I(2), code << 8 | bucket(length))
    mark(seen, touched, cells, _I(3), code << 12 | group << 1 | min(said[S_CLASS], 1))
    mark(seen, touched, cells, _I(4), code << 12 | edns << 8 | bucket(said[S_VERSION]) // 4 << 5 | bucket(said[S_SIZE]))
    mark(seen, touched, cells, _I(5), code << 12 | bucket(length - said[S_END]) << 2 | edns)
    if length >= HEADER:
        work = bench.work
        flags = word(work, EDGE + 2)
        mark(seen, touched, cells, _I(6), code << 8 | (flags >> 11 if code == 4 else bucket(word(work, EDGE + 10))))
        mark(seen, touched, cells, _I(8), code << 4 | (flags & 0x30) >> 4 | (flags & 0x100) >> 6)
        # The option its EDNS verdict met first.
        if said[S_EDNS] and said[S_END] + 15 <= length:
            option, long = word(work, EDGE + said[S_END] + 11), word(work, EDGE + said[S_END] + 13)
            mark(seen, touched, cells, _I(9), code << 12 | (long if option == 10 and long < 48 else 64 + min(option, 16)))


@compiled
def _write(snapshot, bench, packet, code, edns):  # type: ignore[no-untyped-def]
    """Write an answer as the product would, or one of its kinds by the packet's own id: its size, and whether it is to have OPT."""
    question, out = bench.question, bench.out
    if code != 0:
        return write_error(packet, _I(0), question, out, _I(0), code, _I(-1), bench.notes), edns
    choice = np.int64(packet[1]) % (_ACTIONS + 3)
    if choice == 0:
        return write_truncated(packet, _I(0), question, out, _I(0)), edns
    if choice == 1:
        return write_error(packet, _I(0), question, out, _I(0), _I(2), _I(23), bench.notes), edns
    if choice == 2:
        return write_error(packet, _I(0), question, out, _I(0), _I(5), _I(18), bench.notes), edns
    ruling = bench.ruling
    ruling[R_ACTION] = bench.blocked[choice - 3]
    ruling[R_KIND] = np.int64(u32s(snapshot.actions)[4 * ruling[R_ACTION]])
    ruling[R_PROFILE] = 0
    ruling[R_LIST] = np.int64(packet[0]) % 3
    return write_blocked(snapshot, ruling, packet, _I(0), question, out, _I(0), min(question[Q_SIZE], _ROOM)), edns


@compiled
def _read_back(bench, packet, length, end, size):  # type: ignore[no-untyped-def]
    """The answer through the product's own parsers: it is no query, but a whole answer; made a query, it asks the same."""
    out, other, again = bench.out, bench.other, bench.question_again
    if parse_query(out[:], _I(0), size, again[:], bench.lower_again[:], bench.labels_again[:]) != -1:
        return OWED
    copy(other, 0, out, 0, size)
    if word(out, _I(2)) & 0x7800 == 0:
        if not read_answer(other, _I(0), size, end, bench.facts, bench.ttls, bench.notes) or bench.facts[A_LENGTH] > size:
            return UNREAD
    if end == HEADER or word(out, _I(6)) + word(out, _I(8)) != 0:
        return OK
    copy(other, 0, out, 0, size)
    other[2] = other[2] & 0x7F
    for index in range(8):
        other[size + index] = 0
    code = parse_query(other[:], _I(0), size, again[:], bench.lower_again[:], bench.labels_again[:])
    if code not in (0, 5, 1) or (code == 1 and bench.said[S_TYPE] not in (0, 41)) or again[Q_END] != end:
        return UNREAD
    return OK


@compiled
def burst_queries(snapshot, bench, pool_data, pool_lengths, tokens, token_lengths, random, rounds):  # type: ignore[no-untyped-def]
    """Judge `rounds` mutants, adding to the pool what is new. Stops at a fault, which is left in the cells."""
    cells = bench.cells
    for _ in range(rounds):
        count = cells[POOLED]
        length = draw(bench.work, pool_data, pool_lengths, count, random)
        length = mutate(bench.work, length, pool_data, pool_lengths, count, tokens, token_lengths, random, EVERY)
        before = cells[ANSWERED]
        cells[FAULT] = judge_query(snapshot, bench, length)
        cells[ROUNDS] += 1
        if cells[FAULT] != OK:
            return
        if cells[FRESH] > 0 and count < POOL:
            copy(pool_data[count], 0, bench.work, EDGE, length)
            pool_lengths[count] = length
            cells[POOLED] += 1
        if cells[ANSWERED] > before and cells[ROUNDS] % 512 == 0:
            _sample(bench, cells[ROUNDS] // 512 % SAMPLES)


@compiled
def _sample(bench, row):  # type: ignore[no-untyped-def]
    """Keep an answer for a parser of somebody else's."""
    size = bench.cells[SIZE]
    bench.samples[row, 0] = size >> 8
    bench.samples[row, 1] = size & 0xFF
    copy(bench.samples[row], 2, bench.out, 0, size)
