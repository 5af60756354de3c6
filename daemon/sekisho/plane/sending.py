"""Answers on their way out: rows filled, then sent in one system call.

Owns the outgoing half of a worker's desk. `queued[0]` rows wait for the descriptor `queued[1]`.
"""

from __future__ import annotations

from sekisho.model.counters import Counter
from sekisho.plane.native import EAGAIN, copy, transmit
from sekisho.plane.worker import BATCH, CONTROL, ROW, SOURCE
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64

_SEND_FAILED = int(Counter.SEND_FAILED)
_AGAIN_TRIES = 3


@compiled
def next_row(desk, fd):  # type: ignore[no-untyped-def]
    """A free row for an answer that leaves through `fd`; sends what waits if it must."""
    if desk.queued[0] == BATCH or (desk.queued[0] > 0 and desk.queued[1] != fd):
        flush(desk)
    desk.queued[1] = fd
    return desk.queued[0]


@compiled
def enqueue(desk, row, length, sources, source, source_length, controls, control, control_length):  # type: ignore[no-untyped-def]
    """Complete the row: `length` bytes of answer, to the address and with the ancillary data given.

    The ancillary data is what the query came with (IP_PKTINFO, IPV6_PKTINFO), so the answer leaves
    from the address that was asked.
    """
    copy(desk.targets, row * SOURCE, sources, source, source_length)
    desk.vectors[row, 1] = length
    desk.outgoing[row, 1] = source_length
    if control_length > 0:
        copy(desk.ancillary, row * CONTROL, controls, control, control_length)
        if desk.ancillary[row * CONTROL + 8] == 0:
            for index in range(16, 20):
                desk.ancillary[row * CONTROL + index] = 0
    desk.outgoing[row, 5] = control_length
    desk.outgoing[row, 6] = 0
    desk.queued[0] = row + 1


@compiled
def answer_room(row):  # type: ignore[no-untyped-def]
    """Offset of the row's answer in `answers`."""
    return row * ROW


@compiled
def flush(desk):  # type: ignore[no-untyped-def]
    """Send every row that waits. A row the kernel refuses is counted and passed over."""
    first = 0
    tries = 0
    while first < desk.queued[0]:
        sent = transmit(desk.queued[1], desk.outgoing, first, desk.queued[0] - first)
        if sent > 0:
            first += sent
            tries = 0
        elif sent == -EAGAIN and tries < _AGAIN_TRIES:
            tries += 1
        else:
            desk.totals[_SEND_FAILED] += U64(1)
            first += 1
    desk.queued[0] = 0
