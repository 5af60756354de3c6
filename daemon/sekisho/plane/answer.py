"""Answers of our own making: errors, blocked answers, truncation, and the EDNS part of all.

Owns every byte Sekisho itself puts into an answer. A blocked answer carries an SOA for negative
caching (RFC 2308) whose owner is the query name itself, so it does not say which entry matched;
and an Extended DNS Error (RFC 8914) when the query had EDNS, whose text is the clause. Of a sealed list the
error has no text (`snapshot.build` leaves it empty).

Answers are built in `out` (uint8) from `base` on; functions return the length in bytes.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.lists import ActionKind
from sekisho.model.verdicts import GARDEN_TTL
from sekisho.plane.native import copy, get16, put16, put32, u8s, u16s, u32s
from sekisho.plane.verdict import R_ACTION, R_KIND, R_LIST, R_PROFILE, R_RULE
from sekisho.plane.wire import (
    AD,
    CD,
    HEADER,
    OPCODE,
    OPTION_EDE,
    Q_DO,
    Q_EDNS,
    Q_END,
    Q_FLAGS,
    Q_SIZE,
    Q_TYPE,
    QR,
    RA,
    RD,
    TC,
    TYPE_ANY,
    TYPE_OPT,
    TYPE_SOA,
)
from sekisho.snapshot.compiling import compiled

BLOCK_TTL = 60
"""Seconds a blocked answer may be cached: an opt-out is felt within a minute."""
UDP_SIZE = 1232
"""Largest UDP answer, and what our own OPT records advertise (RFC 9715)."""
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
EDE_STALE, EDE_BLOCKED, EDE_PROHIBITED, EDE_STALE_NXDOMAIN, EDE_NETWORK = 3, 15, 18, 19, 23
_OPT_SIZE = 11
_POINTER = 0xC00C
_SOA_RDATA = 22
_NXDOMAIN, _NODATA = int(ActionKind.NXDOMAIN), int(ActionKind.NODATA)
_REFUSED, _DROP = int(ActionKind.REFUSED), int(ActionKind.DROP)
_SINKHOLE, _LOCAL = int(ActionKind.SINKHOLE), int(ActionKind.LOCAL_DATA)
_TCP_ONLY, _CHASE = int(ActionKind.TCP_ONLY), int(ActionKind.CHASE)


@compiled
def write_head(packet, at, question, out, base, rcode, flags):  # type: ignore[no-untyped-def]
    """Header and question of an answer to the query at `at` of `packet`; returns the length."""
    end = question[Q_END]
    copy(out, base, packet, at, end)
    put16(out, base + 2, QR | flags | RA | (question[Q_FLAGS] & (OPCODE | RD | CD)) | (rcode & 15))
    put16(out, base + 4, 1 if end > HEADER else 0)
    put16(out, base + 6, 0)
    put16(out, base + 8, 0)
    put16(out, base + 10, 0)
    return end


@compiled
def write_opt(out, base, length, question, rcode):  # type: ignore[no-untyped-def]
    """Append an OPT record without options, if the query had EDNS; the DO bit is echoed (RFC 3225)."""
    if not question[Q_EDNS]:
        return length
    out[base + length] = 0
    put16(out, base + length + 1, TYPE_OPT)
    put16(out, base + length + 3, UDP_SIZE)
    put32(out, base + length + 5, ((rcode >> 4) << 24) | (question[Q_DO] << 15))
    put16(out, base + length + 9, 0)
    put16(out, base + 10, get16(out, base + 10) + 1)
    return length + _OPT_SIZE


@compiled
def add_option(out, base, length, question, code, text, start, size):  # type: ignore[no-untyped-def]
    """Append an Extended DNS Error with `size` bytes of `text` to the OPT record that ends the answer."""
    if not question[Q_EDNS] or code < 0:
        return length
    at = base + length
    put16(out, at, OPTION_EDE)
    put16(out, at + 2, 2 + size)
    put16(out, at + 4, code)
    copy(out, at + 6, text, start, size)
    opened = at - 2
    put16(out, opened, 6 + size)
    return length + 6 + size


@compiled
def write_error(packet, at, question, out, base, rcode, ede, text):  # type: ignore[no-untyped-def]
    """An answer that is only an RCODE, with an Extended DNS Error unless `ede` is negative."""
    length = write_head(packet, at, question, out, base, rcode, 0)
    length = write_opt(out, base, length, question, rcode)
    return add_option(out, base, length, question, ede, text, 0, 0)


@compiled
def write_truncated(packet, at, question, out, base):  # type: ignore[no-untyped-def]
    """An empty answer with TC=1: ask again over TCP."""
    length = write_head(packet, at, question, out, base, NOERROR, TC)
    return write_opt(out, base, length, question, NOERROR)


@compiled
def write_soa(out, base, length, ttl):  # type: ignore[no-untyped-def]
    """Append the SOA of a negative answer, which may be kept for `ttl` seconds, to the authority section."""
    at = base + length
    put16(out, at, _POINTER)
    put16(out, at + 2, TYPE_SOA)
    put16(out, at + 4, 1)
    put32(out, at + 6, ttl)
    put16(out, at + 10, _SOA_RDATA)
    out[at + 12] = 0
    out[at + 13] = 0
    put32(out, at + 14, 1)
    put32(out, at + 18, 3600)
    put32(out, at + 22, 600)
    put32(out, at + 26, 86400)
    put32(out, at + 30, ttl)
    put16(out, base + 8, 1)
    return length + 12 + _SOA_RDATA


@compiled
def write_records(snapshot, action, kind, out, base, length, limit):  # type: ignore[no-untyped-def]
    """Append the action's records of one type (or all, for ANY) as answers; -1 if they do not fit."""
    actions, records, rdata = u32s(snapshot.actions), u32s(snapshot.records), u8s(snapshot.rdata)
    first = np.int64(actions[4 * action + 1])
    count = 0
    for row in range(first, first + np.int64(actions[4 * action + 2])):
        rtype = np.int64(records[4 * row])
        if kind not in (TYPE_ANY, rtype):
            continue
        size = np.int64(records[4 * row + 3])
        if length + 12 + size > limit:
            return -1
        at = base + length
        put16(out, at, _POINTER)
        put16(out, at + 2, rtype)
        put16(out, at + 4, 1)
        put32(out, at + 6, np.int64(records[4 * row + 1]))
        put16(out, at + 10, size)
        copy(out, at + 12, rdata, np.int64(records[4 * row + 2]), size)
        length += 12 + size
        count += 1
    put16(out, base + 6, count)
    return length


@compiled
def write_blocked(snapshot, ruling, packet, at, question, out, base, limit):  # type: ignore[no-untyped-def]
    """The answer of a list, by its action. Returns 0 where the action is silence.

    `limit` is the room in bytes; records that do not fit become TC=1.
    """
    place = 64 * ruling[R_PROFILE] + ruling[R_LIST]
    ede, span = np.int64(u16s(snapshot.ede)[place]), np.int64(u32s(snapshot.notes)[place])
    return write_action(snapshot, ruling, packet, at, question, out, base, limit, BLOCK_TTL, ede, span)


@compiled
def write_gardened(snapshot, ruling, packet, at, question, out, base, limit):  # type: ignore[no-untyped-def]
    """The answer of the walled garden: the notice page's address, and the clause of the measure. Never 0."""
    grounds, rule = u32s(snapshot.grounds), ruling[R_RULE]
    span = np.int64(grounds[rule]) if rule < grounds.shape[0] else 0
    return write_action(snapshot, ruling, packet, at, question, out, base, limit, GARDEN_TTL, EDE_BLOCKED, span)


@compiled
def write_action(snapshot, ruling, packet, at, question, out, base, limit, ttl, ede, span):  # type: ignore[no-untyped-def]
    """The answer of the action in `ruling`: what says that there is nothing may be kept for `ttl` seconds.

    `ede`: code of the Extended DNS Error; `span`: row of `spans` with its text, left out where there is no room.
    """
    kind = ruling[R_KIND]
    if kind == _DROP:
        return 0
    if kind in (_TCP_ONLY, _CHASE):
        return write_truncated(packet, at, question, out, base)
    rcode = NXDOMAIN if kind == _NXDOMAIN else REFUSED if kind == _REFUSED else NOERROR
    length = write_head(packet, at, question, out, base, rcode, 0)
    if kind in (_SINKHOLE, _LOCAL):
        before = length
        length = write_records(snapshot, ruling[R_ACTION], question[Q_TYPE], out, base, length, limit - _OPT_SIZE)
        if length < 0:
            return write_truncated(packet, at, question, out, base)
        if length == before:
            length = write_soa(out, base, length, ttl)
    elif kind != _REFUSED:
        length = write_soa(out, base, length, ttl)
    length = write_opt(out, base, length, question, rcode)
    spans = u32s(snapshot.spans)
    start, size = np.int64(spans[2 * span]), np.int64(spans[2 * span + 1])
    if length + 6 + size > limit:
        size = 0
    if length + 6 > limit:
        return length
    return add_option(out, base, length, question, ede, u8s(snapshot.text), start, size)


@compiled
def dress(out, base, length, packet, at, question, notes, start, size, ede, limit):  # type: ignore[no-untyped-def]
    """Turn a resolver's answer (its OPT taken out) at `base` of `out` into this client's.

    Takes the client's id and question bytes (its own upper and lower case) from `packet`, sets
    RD, CD and AD as asked (AD only for queries with AD or DO, RFC 6840 section 5.8), appends OPT
    with the resolver's Extended DNS Errors (`size` bytes at `start` of `notes`) or our own
    `ede`, and truncates to `limit`.
    """
    flags = get16(out, base + 2) & ~(RD | CD)
    asked = question[Q_FLAGS]
    if not (asked & AD or question[Q_DO]):
        flags &= ~AD
    flags |= RA | (asked & (RD | CD))
    extra = 0
    if question[Q_EDNS]:
        extra = _OPT_SIZE + size + (6 if ede >= 0 else 0)
        if length + extra > limit:
            size = 0
            ede = -1
            extra = _OPT_SIZE
    if length + extra > limit:
        put16(out, base + 6, 0)
        put16(out, base + 8, 0)
        put16(out, base + 10, 0)
        length = question[Q_END]
        flags |= TC
    copy(out, base, packet, at, 2)
    put16(out, base + 2, flags)
    copy(out, base + HEADER, packet, at + HEADER, question[Q_END] - HEADER)
    if not question[Q_EDNS]:
        return length
    length = write_opt(out, base, length, question, 0)
    copy(out, base + length, notes, start, size)
    put16(out, base + length - 2, size)
    length += size
    if ede >= 0:
        put16(out, base + length, OPTION_EDE)
        put16(out, base + length + 2, 2)
        put16(out, base + length + 4, ede)
        put16(out, base + length - size - 2, size + 6)
        length += 6
    return length


@compiled
def stale_error(out, base):  # type: ignore[no-untyped-def]
    """The Extended DNS Error of an expired answer at `base` of `out`: NXDOMAIN has its own (RFC 8914 section 4.20)."""
    return EDE_STALE_NXDOMAIN if get16(out, base + 2) & 15 == NXDOMAIN else EDE_STALE


@compiled
def room_of(question):  # type: ignore[no-untyped-def]
    """Bytes a UDP answer to this query may have."""
    return min(question[Q_SIZE], UDP_SIZE)
