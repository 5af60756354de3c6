"""The compiled loop of the collector of flows: packets in, sums by customer out.

Owns the inbox and what is summed of a decoded record. An address becomes a customer's row by the plane's own tables,
and goes no further; of the targets of connections a sketch under a key of the window remains, from which none can be
told: which of BUCKETS a target falls in. Of an IPv4 address that customers share by ports the port says whose it is, and goes no further.
Packets and records are wiped once they are added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.flows.decode import decode
from sekisho.flows.layout import (
    BLOCKS,
    C_BLOCKS,
    C_RECORDS,
    FACT_MAIL,
    FACT_NOT_DOWN,
    FACT_NOT_UP,
    FACT_PORTS,
    R_FACTS,
    R_OCTETS,
    R_OPENED,
    R_REVERSE,
    R_SOURCE_HIGH,
    R_SOURCE_LOW,
    R_TARGET_HIGH,
    R_TARGET_LOW,
    RECORDS,
    SOURCE_PORT,
    TARGET_PORT,
    Total,
)
from sekisho.flows.records import wipe_records
from sekisho.flows.sessions import mix
from sekisho.flows.shares import LIVE, NO_PORT, UNKNOWN, WHOLE, find_sharer
from sekisho.plane.addresses import find_customer, source_of
from sekisho.plane.memory import blank
from sekisho.plane.native import CLOCK_MONOTONIC, CLOCK_REALTIME, clock, get16, receive, wait
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.layout import ALLOWED

BATCH = 64
ROOM = 65536
"""Octets of a packet's place: no datagram is longer."""
SOURCE = 32
EVENTS = 64
KIND_LISTENER, KIND_WAKE = 0, 2
BUCKETS = 32
TOP = 4
"""Buckets whose share tells how few targets there are."""
SIGNAL_RETURN = 0
I_EPOLL = 0
_ROUNDS = 8
_LONG_WAIT = 250
_BILLION = 1_000_000_000
_NOBODY, _SHARED = int(Total.NOBODY), int(Total.SHARED)
_FULL_BUCKET = 65535
_MOST = np.uint64(1 << 62)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_FACT_MAIL, _NOT_UP, _NOT_DOWN = np.uint64(FACT_MAIL), np.uint64(FACT_NOT_UP), np.uint64(FACT_NOT_DOWN)
_FACT_PORTS = np.uint64(FACT_PORTS)
_PREFIX_V4, _R32 = np.uint64(0xFFFF), np.uint64(32)
_CEILING = 0xFFFFFFFF

INBOX = np.dtype(
    [
        ("signal", np.int64, (8,)),
        ("settings", np.int64, (8,)),
        ("clock", np.int64, (2,)),
        ("listeners", np.int64, (EVENTS,)),
        ("messages", np.int64, (BATCH, 8)),
        ("incoming", np.int64, (BATCH, 2)),
        ("events", np.uint8, (EVENTS * 12,)),
        ("sources", np.uint8, (BATCH * SOURCE,)),
        ("packets", np.uint8, (BATCH * ROOM,)),
    ],
    align=True,
)
"""messages, incoming: arrays of struct mmsghdr and struct iovec over `packets`."""

Sums = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint16]]
"""By customers' row: octets down and up, connections opened to mail, connections opened, and these by bucket of their target."""


def make_inbox() -> Any:
    """An inbox, which must not be moved. Untouched pages cost no memory."""
    inbox = blank(1, INBOX).view(np.recarray)[0]
    addresses = {name: inbox[name].ctypes.data for name in INBOX.names or ()}
    for row in range(BATCH):
        inbox.incoming[row] = (addresses["packets"] + row * ROOM, ROOM)
        inbox.messages[row, :4] = (addresses["sources"] + row * SOURCE, SOURCE, addresses["incoming"] + row * 16, 1)
    return inbox


def make_sums(rows: int, before: Sums | None = None) -> Sums:
    """Sums with room for `rows` customers; `before` is carried over."""
    fresh: Sums = (
        blank(rows, np.uint64),
        blank(rows, np.uint64),
        blank(rows, np.uint32),
        blank(rows, np.uint32),
        blank(rows * BUCKETS, np.uint16).reshape(rows, BUCKETS),
    )
    columns: tuple[NDArray[Any], ...] = fresh
    olds: tuple[NDArray[Any], ...] = before or ()
    for column, old in zip(columns, olds, strict=False):
        column[: len(old)] = old
    return fresh


@compiled
def collect(desk, inbox, customers, down, up, mail, opened, targets, shares, key, until):  # type: ignore[no-untyped-def]
    """Take packets until `signal[SIGNAL_RETURN]` is set, the descriptor of KIND_WAKE can be read, or `until` has come (monotonic ns)."""
    prepare(inbox, BATCH)
    while inbox.signal[SIGNAL_RETURN] == 0 and clock(CLOCK_MONOTONIC, inbox.clock) < until:
        ready = wait(inbox.settings[I_EPOLL], inbox.events, EVENTS, _LONG_WAIT)
        now = clock(CLOCK_REALTIME, inbox.clock) // _BILLION
        for event in range(ready):
            at = event * 12
            if inbox.events[at + 8] == KIND_LISTENER:
                number = np.int64(inbox.events[at + 4]) | np.int64(inbox.events[at + 5]) << 8
                take(desk, inbox, customers, down, up, mail, opened, targets, shares, key, inbox.listeners[number], now)
            elif inbox.events[at + 8] == KIND_WAKE:
                inbox.signal[SIGNAL_RETURN] = 1


@compiled
def prepare(inbox, count):  # type: ignore[no-untyped-def]
    """Reset what the kernel overwrote in the first `count` message headers."""
    for row in range(count):
        inbox.messages[row, 1] = SOURCE
        inbox.messages[row, 6] = 0


@compiled
def take(desk, inbox, customers, down, up, mail, opened, targets, shares, key, fd, now):  # type: ignore[no-untyped-def]
    """Take what came to one socket, a bounded number of batches at a time."""
    for _ in range(_ROUNDS):
        got = receive(fd, inbox.messages, BATCH)
        for row in range(got):
            length = inbox.messages[row, 7] & 0xFFFFFFFF
            if desk.cells[C_RECORDS] > RECORDS // 2:
                add_up(desk, customers, down, up, mail, opened, targets, shares, key)
            high, low = source_of(inbox.sources, row * SOURCE)
            port = get16(inbox.sources, row * SOURCE + 2)
            decode(desk, inbox.packets, row * ROOM, length, high, low, port, 0, now)
        add_up(desk, customers, down, up, mail, opened, targets, shares, key)
        for row in range(got):
            wipe(inbox.packets, row * ROOM, inbox.messages[row, 7] & 0xFFFFFFFF)
        prepare(inbox, max(got, 0))
        if desk.cells[C_BLOCKS] > BLOCKS // 4:
            # They are handed over outside of the loop.
            inbox.signal[SIGNAL_RETURN] = 1
            break
        if got < BATCH:
            break


@compiled
def wipe(octets, start, many):  # type: ignore[no-untyped-def]
    """Overwrite `many` octets from `start` on with zeros."""
    octets[start : start + many] = 0


@compiled
def find_holder(customers, shares, high, low, facts, place):  # type: ignore[no-untyped-def]
    """The row of the customer whose an address is; of a shared one, by the port at `place` of the facts."""
    if high == _ZERO and low >> _R32 == _PREFIX_V4 and shares.shape[0] > 0 and shares[0, LIVE] > 0:
        port = np.int64(facts >> np.uint64(place)) & 0xFFFF if facts & _FACT_PORTS else np.int64(NO_PORT)
        owner = find_sharer(shares, np.int64(low) & 0xFFFFFFFF, port)
        if owner != WHOLE:
            return owner
    return find_customer(customers, high, low)


@compiled
def add_up(desk, customers, down, up, mail, opened, targets, shares, key):  # type: ignore[no-untyped-def]
    """Add the records of the desk to the sums of the customers they are of, and forget them."""
    rows = down.shape[0]
    for index in range(desk.cells[C_RECORDS]):
        record = desk.records[index]
        facts = record[R_FACTS]
        source = find_holder(customers, shares, record[R_SOURCE_HIGH], record[R_SOURCE_LOW], facts, SOURCE_PORT)
        target = find_holder(customers, shares, record[R_TARGET_HIGH], record[R_TARGET_LOW], facts, TARGET_PORT)
        if (source <= ALLOWED or source >= rows) and (target <= ALLOWED or target >= rows):
            desk.totals[_NOBODY] += _ONE
            if source == UNKNOWN or target == UNKNOWN:
                desk.totals[_SHARED] += _ONE
            continue
        octets, reverse = record[R_OCTETS], record[R_REVERSE]
        if ALLOWED < source < rows and not facts & _NOT_UP:
            # More than there can be stays as it is, and does not begin anew at nothing.
            if up[source] < _MOST and down[source] < _MOST:
                up[source] += octets
                down[source] += reverse
            many = np.int64(record[R_OPENED])
            if many > 0:
                opened[source] = min(np.int64(opened[source]) + many, _CEILING)
                if facts & _FACT_MAIL:
                    mail[source] = min(np.int64(mail[source]) + many, _CEILING)
                bucket = np.int64(mix(record[R_TARGET_HIGH] ^ mix(record[R_TARGET_LOW] ^ key)) & np.uint64(BUCKETS - 1))
                if targets[source, bucket] < _FULL_BUCKET:
                    targets[source, bucket] += 1
        if ALLOWED < target < rows and not facts & _NOT_DOWN and up[target] < _MOST and down[target] < _MOST:
            down[target] += octets
            up[target] += reverse
    wipe_records(desk, 0)


@compiled
def count_used(down, up, opened):  # type: ignore[no-untyped-def]
    """Customers of whom there is something in the sums."""
    many = 0
    for row in range(down.shape[0]):
        if down[row] | up[row] | np.uint64(opened[row]):
            many += 1
    return many


@compiled
def harvest(down, up, mail, opened, targets, rows, got_down, got_up, got_mail, got_opened, focused, best):  # type: ignore[no-untyped-def]
    """Move the sums into the arrays of a batch, each as long as `count_used` said; `best` int64 (TOP): scratch room.

    `focused`: how many of the connections went to the TOP most frequent of the BUCKETS targets fall in.
    """
    at = 0
    for row in range(down.shape[0]):
        if not down[row] | up[row] | np.uint64(opened[row]) or at == rows.shape[0]:
            continue
        rows[at], got_down[at], got_up[at], got_mail[at], got_opened[at] = row, down[row], up[row], mail[row], opened[row]
        focused[at] = 0
        if opened[row] > 0:
            focused[at] = np.int64(np.float64(opened[row]) * top_share(targets[row], best) + 0.5)
            targets[row, :] = 0
        down[row] = up[row] = 0
        mail[row] = opened[row] = 0
        at += 1


@compiled
def top_share(buckets, best):  # type: ignore[no-untyped-def]
    """The share of the TOP largest in their sum; 0.0 of nothing."""
    best[:] = 0
    total = np.int64(0)
    for bucket in range(BUCKETS):
        count = np.int64(buckets[bucket])
        total += count
        for place in range(TOP):
            kept = best[place]
            if count > kept:
                best[place] = count
                count = kept
    return best.sum() / total if total > 0 else 0.0
