"""The desk of one worker: every buffer and cell of its own, in one structured array.

Owns the shapes and what each slot means; nothing here decides. Compiled code is handed a desk as
one pointer to a record, and reads a field as an array over the record's memory. The message
arrays hold addresses within the desk, so a desk must not be moved or copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sekisho.model.counters import TOTALS
from sekisho.plane.cache import KEY_ROOM
from sekisho.plane.memory import blank
from sekisho.plane.names import PRINT_WORDS
from sekisho.plane.reply import A_SLOTS, MAX_NOTES, MAX_TTLS
from sekisho.plane.sketch import K_CELLS, WORDS
from sekisho.plane.verdict import R_SLOTS
from sekisho.plane.wire import NAME_ROOM, Q_SLOTS
from sekisho.snapshot.layout import BUCKETS

BATCH = 64
"""Packets a system call takes."""
ROW = 2112
"""Bytes of a packet buffer's row: 2 KiB, off a power of two so that rows do not share cache sets."""
PACKET = 2048
SOURCE = 32
CONTROL = 64
PENDING = 8192
"""Queries a worker may have outstanding at its resolvers."""
PENDING_ROW = 832
P_KEY = 288
P_SOURCE = 640
P_CONTROL = 704
MESSAGE_WORDS = 8

# Columns of `pending`.
F_STAMP = 0
"""Number of the query that holds the slot; 0: free."""
F_FD = 1
F_SOCKET = 2
F_ID = 3
F_SENT = 4
F_TRIES = 5
F_KEY_LENGTH = 6
F_HASH = 7
F_SOURCE_LENGTH = 8
F_CONTROL_LENGTH = 9
F_UPSTREAM = 10
F_QUESTION = 11
"""First of the question's slots: Q_LENGTH to Q_END."""
F_CUSTOMER = 27
"""Row of who asked."""
F_SLOTS = 32

# Cells of `cells`.
C_FREE = 0
C_STAMP = 1
C_QUEUE_HEAD = 2
C_QUEUE_TAIL = 3
C_RANDOM = 4
C_CELLS = 8

# Columns of `health`.
H_FAILS = 0
H_DOWN_UNTIL = 1
H_COLUMNS = 4

# Slots of `settings`.
S_TIMEOUT = 0
"""ns an upstream has to answer one try."""
S_TRIES = 1
S_MAX_STALE = 2
"""Seconds an expired answer may still be used (RFC 8767)."""
S_STALE_TTL = 3
S_PROXY = 4
S_SCOPED = 5
"""1: answers are cached by customer, because the resolver is told who asks."""
S_SOCKETS = 6
"""Sockets for each upstream."""
S_UPSTREAMS = 7
S_EPOLL = 8
S_BUSY_POLL = 9
"""ns a worker goes on looking for packets before it sleeps."""
S_SLOTS = 16

# Cells of `signal`: written by Python, read by the loop.
SIGNAL_RETURN = 0
"""Not 0: leave the loop (to take a new snapshot, or to stop)."""
SIGNAL_CELLS = 8

PROXY_ROW = 64
MAX_SOCKETS = 64
"""Sockets to resolvers a worker has, all resolvers together."""
MAX_UPSTREAMS = 16
MAX_LISTENERS = 64
EVENTS = 64
RANDOM = 256
WORK = 130
"""Room for a name's labels, of which there are at most 127."""

DESK = np.dtype(
    [
        # One packet.
        ("question", np.int64, (Q_SLOTS,)),
        ("lower", np.uint8, (NAME_ROOM,)),
        ("labels", np.int64, (WORK,)),
        ("masks", np.uint64, (WORK,)),
        ("combos", np.int64, (WORK,)),
        ("prints", np.uint64, (WORK, PRINT_WORDS)),
        ("ruling", np.int64, (R_SLOTS,)),
        ("cache_key", np.uint8, (KEY_ROOM,)),
        ("facts", np.int64, (A_SLOTS,)),
        ("ttls", np.int64, (MAX_TTLS + 1,)),
        ("notes", np.uint8, (MAX_NOTES,)),
        ("clock", np.int64, (2,)),
        ("packet", np.uint8, (512,)),
        # Control.
        ("settings", np.int64, (S_SLOTS,)),
        ("signal", np.int64, (SIGNAL_CELLS,)),
        ("totals", np.uint64, (TOTALS,)),
        ("latency", np.uint64, (BUCKETS,)),
        ("listeners", np.int64, (MAX_LISTENERS,)),
        ("proxies", np.uint8, (MAX_LISTENERS * PROXY_ROW,)),
        # Batches: arrays of struct mmsghdr and struct iovec, and the memory they point to.
        ("messages", np.int64, (BATCH, MESSAGE_WORDS)),
        ("who", np.int64, (BATCH,)),
        ("outgoing", np.int64, (BATCH, MESSAGE_WORDS)),
        ("incoming", np.int64, (BATCH, 2)),
        ("vectors", np.int64, (BATCH, 2)),
        ("queued", np.int64, (4,)),
        ("events", np.uint8, (EVENTS * 12,)),
        ("sources", np.uint8, (BATCH * SOURCE,)),
        ("controls", np.uint8, (BATCH * CONTROL,)),
        ("targets", np.uint8, (BATCH * SOURCE,)),
        ("ancillary", np.uint8, (BATCH * CONTROL,)),
        ("packets", np.uint8, (BATCH * ROW,)),
        ("answers", np.uint8, (BATCH * ROW,)),
        # Outstanding queries.
        ("cells", np.int64, (C_CELLS,)),
        ("health", np.int64, (MAX_UPSTREAMS, H_COLUMNS)),
        ("sockets", np.int64, (MAX_SOCKETS,)),
        ("random", np.uint8, (RANDOM,)),
        ("sketch", np.uint64, (K_CELLS,)),
        ("seen", np.uint64, (2, WORDS)),
        ("free", np.int64, (PENDING,)),
        ("pending", np.int64, (PENDING, F_SLOTS)),
        ("queue", np.int64, (PENDING * 4, 2)),
        ("held", np.uint8, (PENDING * PENDING_ROW,)),
        ("ids", np.int16, (MAX_SOCKETS * 65536,)),
    ],
    align=True,
)
"""ids: slot + 1 by socket and id; proxies: by listener, a sockaddr: the destination a PROXY v2 header names."""


def make_desk() -> Any:
    """A desk ready for `loop.serve`, less its descriptors and settings. Untouched pages cost no memory."""
    desk = blank(1, DESK).view(np.recarray)[0]
    addresses = {name: desk[name].ctypes.data for name in DESK.names or ()}
    for row in range(BATCH):
        desk.incoming[row] = (addresses["packets"] + row * ROW, PACKET)
        desk.vectors[row] = (addresses["answers"] + row * ROW, 0)
        desk.messages[row, :5] = (
            addresses["sources"] + row * SOURCE, 0, addresses["incoming"] + row * 16, 1, addresses["controls"] + row * CONTROL,
        )  # fmt: skip
        desk.outgoing[row, :5] = (
            addresses["targets"] + row * SOURCE, 0, addresses["vectors"] + row * 16, 1, addresses["ancillary"] + row * CONTROL,
        )  # fmt: skip
    desk.free[:] = np.arange(PENDING - 1, -1, -1)
    desk.cells[C_FREE] = PENDING
    desk.cells[C_RANDOM] = RANDOM
    return desk
