"""Parsing a client's query: hostile bytes in, a `question` array or a refusal out.

Owns which packets are well-formed queries (RFC 1035 section 4.1, RFC 6891 for EDNS, RFC 7873 for
the shape of cookies, RFC 9619 for the one question) and what is said to those that are not.
Never follows a compression pointer: a question cannot need one.

The `question` array is int64 with the `Q_` slots below; names are copied to `lower` (uint8, 264)
in canonical form, zero padded to eight bytes, and label offsets to `labels` (int64, 128).
"""

from __future__ import annotations

import numpy as np

from sekisho.plane.native import get16, get32, load64, store64
from sekisho.snapshot.compiling import compiled, inlined
from sekisho.snapshot.digest import U64

# Slots of a question.
Q_LENGTH = 0
"""Bytes of the packet."""
Q_FLAGS = 1
"""The header's second word."""
Q_NAME = 2
"""Bytes of the name in wire form, root included."""
Q_LABELS = 3
Q_TYPE = 4
Q_CLASS = 5
Q_EDNS = 6
"""1 if the query had an OPT record."""
Q_SIZE = 7
"""UDP payload size the client takes; 512 without EDNS."""
Q_DO = 8
Q_END = 9
"""Offset behind the question section, from the packet's start."""
Q_SLOTS = 16

# What `parse_query` returns: go on, be silent, or an RCODE to answer with.
PROCEED = 0
IGNORE = -1
FORMERR = 1
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
NOTAUTH = 9
BADVERS = 16

QR, TC, RD, RA, AD, CD, AA = 0x8000, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010, 0x0400
OPCODE = 0x7800
HEADER = 12
NAME_ROOM = 264

TYPE_A, TYPE_CNAME, TYPE_SOA, TYPE_AAAA, TYPE_OPT = 1, 5, 6, 28, 41
TYPE_TSIG, TYPE_IXFR, TYPE_AXFR, TYPE_MAILB, TYPE_MAILA, TYPE_ANY = 250, 251, 252, 253, 254, 255
CLASS_IN = 1
OPTION_EDE = 15
_OPTION_COOKIE = 10
_CLIENT_COOKIE, _COOKIE_MIN, _COOKIE_MAX = 8, 16, 40
_LABEL_MAX, _NAME_MAX = 63, 255
_LOW7, _HIGH = U64(0x7F7F7F7F7F7F7F7F), U64(0x8080808080808080)
_FROM_A, _AFTER_Z = U64(0x3F3F3F3F3F3F3F3F), U64(0x2525252525252525)
_TWO = U64(2)


@compiled
def parse_query(packet, base, length, question, lower, labels):  # type: ignore[no-untyped-def]
    """Parse the query of `length` bytes at `base` of `packet` (uint8, eight bytes of room behind the query).

    Returns PROCEED, IGNORE (no answer: RFC 1035 section 7.3, a response or less than a header),
    or the RCODE to answer with. After FORMERR `Q_END` says whether the question can be echoed.
    """
    question[Q_LENGTH] = length
    question[Q_END] = HEADER
    question[Q_EDNS] = 0
    question[Q_SIZE] = 512
    question[Q_DO] = 0
    question[Q_NAME] = 0
    question[Q_LABELS] = 0
    if length < HEADER:
        return IGNORE
    flags = get16(packet, base + 2)
    question[Q_FLAGS] = flags
    if flags & QR:
        return IGNORE
    if flags & OPCODE:
        return NOTIMP
    if get16(packet, base + 4) != 1 or get16(packet, base + 6) != 0 or get16(packet, base + 8) != 0:
        return FORMERR
    code = _parse_question(packet, base, length, question, lower, labels)
    if code != PROCEED:
        return code
    code = _parse_additional(packet, base, length, question, get16(packet, base + 10))
    if code != PROCEED:
        return code
    return _judge_type(question[Q_TYPE], question[Q_CLASS])


@compiled
def _parse_question(packet, base, length, question, lower, labels):  # type: ignore[no-untyped-def]
    position = HEADER
    count = 0
    size = 0
    while True:
        if position >= length:
            return FORMERR
        label = np.int64(packet[base + position])
        if label > _LABEL_MAX or size + label + 1 > _NAME_MAX or position + label + 1 > length:
            return FORMERR
        lower[size] = label
        if label == 0:
            break
        labels[count] = size
        count += 1
        for index in range(1, label + 1, 8):
            store64(lower, size + index, lower_case(load64(packet, base + position + index)))
        size += label + 1
        position += label + 1
    size += 1
    for index in range(size, size + 8):
        lower[index] = 0
    if position + 5 > length:
        return FORMERR
    question[Q_NAME] = size
    question[Q_LABELS] = count
    question[Q_TYPE] = get16(packet, base + position + 1)
    question[Q_CLASS] = get16(packet, base + position + 3)
    question[Q_END] = position + 5
    return PROCEED


@inlined
def lower_case(word):  # type: ignore[no-untyped-def]
    """Eight bytes with every ASCII capital made small, all at once; other bytes stay as they are."""
    low = word & _LOW7
    capital = ((low + _FROM_A) ^ (low + _AFTER_Z)) & ~word & _HIGH
    return word | (capital >> _TWO)


@compiled
def _parse_additional(packet, base, length, question, count):  # type: ignore[no-untyped-def]
    position = question[Q_END]
    version = 0
    for _ in range(count):
        start = position
        position = skip_name(packet, base, position, length)
        if position < 0 or position + 10 > length:
            return FORMERR
        kind = get16(packet, base + position)
        size = get16(packet, base + position + 8)
        end = position + 10 + size
        if end > length:
            return FORMERR
        if kind == TYPE_TSIG:
            return NOTAUTH
        if kind == TYPE_OPT:
            if question[Q_EDNS] or packet[base + start] != 0:
                return FORMERR
            question[Q_EDNS] = 1
            question[Q_SIZE] = max(512, get16(packet, base + position + 2))
            extended = get32(packet, base + position + 4)
            version = (extended >> 16) & 0xFF
            question[Q_DO] = (extended >> 15) & 1
            if version == 0 and not _options_fit(packet, base + position + 10, size):
                return FORMERR
        position = end
    if position != length:
        return FORMERR
    return BADVERS if version else PROCEED


@compiled
def _options_fit(packet, start, size):  # type: ignore[no-untyped-def]
    """Whether the options of an OPT record fill it exactly, and a cookie has a cookie's length."""
    position = 0
    while position < size:
        if position + 4 > size:
            return False
        code = get16(packet, start + position)
        length = get16(packet, start + position + 2)
        position += 4 + length
        if position > size:
            return False
        if code == _OPTION_COOKIE and length != _CLIENT_COOKIE and not _COOKIE_MIN <= length <= _COOKIE_MAX:
            return False
    return True


@compiled
def _judge_type(kind, klass):  # type: ignore[no-untyped-def]
    """Refuse what a resolver does not serve: transfers, meta types, classes other than IN."""
    if kind in (0, TYPE_OPT):
        return FORMERR
    if klass != CLASS_IN or TYPE_TSIG - 1 <= kind <= TYPE_MAILA:
        return REFUSED
    return PROCEED


@compiled
def skip_name(packet, base, position, length):  # type: ignore[no-untyped-def]
    """Offset behind the name at `position` of a message of `length` bytes at `base`, or -1.

    A compression pointer ends the name and must point backwards (RFC 1035 section 4.1.4).
    """
    start = position
    while position < length:
        label = np.int64(packet[base + position])
        if label == 0:
            return position + 1
        if label >= 0xC0:
            if position + 2 > length or (get16(packet, base + position) & 0x3FFF) >= start:
                return -1
            return position + 2
        if label > _LABEL_MAX or position + label + 1 - start >= _NAME_MAX:  # the root's octet is still to come
            return -1
        position += label + 1
    return -1
