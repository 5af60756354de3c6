"""Reading a resolver's answer: as hostile as a query until proved otherwise.

Owns which answers are accepted (well-formed, the question that was asked), where their TTLs stand,
how long they may be cached (RFC 2308, RFC 2181 section 8), and the removal of their OPT record,
which is hop-by-hop (RFC 6891 section 6.1.1).

What was read is left in `facts` (int64, `A_` slots) and `ttls` (int64: offsets of TTL fields).
"""

from __future__ import annotations

import numpy as np

from sekisho.plane.native import copy, get16, get32, put16
from sekisho.plane.wire import HEADER, OPCODE, OPTION_EDE, QR, TC, TYPE_OPT, TYPE_SOA, skip_name
from sekisho.snapshot.compiling import compiled

A_LENGTH = 0
"""Bytes of the answer without OPT."""
A_RCODE = 1
A_TTL = 2
"""Seconds the answer may be cached; 0: not at all."""
A_TTLS = 3
"""How many TTL offsets were found."""
A_NOTED = 4
"""Bytes of Extended DNS Error options copied to `notes`."""
A_TRUNCATED = 5
A_SLOTS = 8

MAX_TTLS = 400
"""Records of an answer whose TTLs a worker keeps room for: a UDP answer of our size cannot have more."""
MAX_NOTES = 128
_MAX_TTL = 86400
_NXDOMAIN, _NOERROR, _SERVFAIL = 3, 0, 2
_UPPER_A, _UPPER_Z, _CASE = 65, 90, 32


@compiled
def same_question(packet, base, length, asked, at, end):  # type: ignore[no-untyped-def]
    """Whether the answer repeats the question (bytes 12 to `end` of the query at `at` of `asked`), its name in any case."""
    if length < end or get16(packet, base + 4) != 1:
        return False
    if get32(packet, base + end - 4) != get32(asked, at + end - 4):
        return False
    for index in range(HEADER, end - 4):
        left, right = packet[base + index], asked[at + index]
        if left != right and (left | _CASE) != (right | _CASE):
            return False
        if left != right and not (_UPPER_A <= (left & ~np.uint8(_CASE)) <= _UPPER_Z):
            return False
    return True


@compiled
def read_answer(packet, base, length, end, facts, ttls, notes):  # type: ignore[no-untyped-def]
    """Read the answer of `length` bytes whose question ends at `end`; False if it is malformed.

    The OPT record is cut off, with what follows it (additional data may always be left out), and
    the header's count corrected. It may stand in the additional section only. An extended RCODE is between the resolver
    and us (BADVERS, BADCOOKIE), so the answer becomes SERVFAIL.
    """
    flags = get16(packet, base + 2)
    if not flags & QR or flags & OPCODE:
        return False
    answers, authority, additional = get16(packet, base + 6), get16(packet, base + 8), get16(packet, base + 10)
    facts[A_RCODE] = flags & 15
    facts[A_TTLS] = 0
    facts[A_NOTED] = 0
    facts[A_TRUNCATED] = 1 if flags & TC else 0
    lowest = _MAX_TTL
    negative = -1
    position = end
    kept = 0
    for row in range(answers + authority + additional):
        start = position
        position = skip_name(packet, base, position, length)
        if position < 0 or position + 10 > length:
            return False
        kind = get16(packet, base + position)
        size = get16(packet, base + position + 8)
        after = position + 10 + size
        if after > length:
            return False
        if row < answers + authority:
            if kind == TYPE_OPT:
                return False
        else:
            if kind == TYPE_OPT:
                if get32(packet, base + position + 4) >> 24:
                    facts[A_RCODE] = _SERVFAIL
                    put16(packet, base + 2, (flags & ~15) | _SERVFAIL)
                _take_notes(packet, base + position + 10, size, facts, notes)
                put16(packet, base + 10, kept)
                position = start
                break
            kept += 1
        if facts[A_TTLS] >= ttls.shape[0]:
            return False
        ttls[facts[A_TTLS]] = position + 4
        facts[A_TTLS] += 1
        ttl = get32(packet, base + position + 4)
        if ttl > 0x7FFFFFFF:
            ttl = 0
        lowest = min(lowest, ttl)
        if kind == TYPE_SOA and answers <= row < answers + authority and size >= 22:
            negative = min(ttl, get32(packet, base + after - 4))
        position = after
    facts[A_LENGTH] = position
    facts[A_TTL] = 0
    if facts[A_TRUNCATED] == 0:
        if facts[A_RCODE] == _NOERROR and answers > 0:
            facts[A_TTL] = lowest
        elif facts[A_RCODE] in (_NOERROR, _NXDOMAIN) and negative >= 0:
            facts[A_TTL] = min(lowest, negative)
    return True


@compiled
def _take_notes(packet, start, size, facts, notes):  # type: ignore[no-untyped-def]
    """Copy the resolver's Extended DNS Errors, as whole options, to `notes`."""
    position = 0
    while position + 4 <= size:
        length = get16(packet, start + position + 2)
        whole = 4 + length
        if position + whole > size:
            return
        if get16(packet, start + position) == OPTION_EDE and length >= 2 and facts[A_NOTED] + whole <= MAX_NOTES:
            copy(notes, facts[A_NOTED], packet, start + position, whole)
            facts[A_NOTED] += whole
        position += whole
