"""The data frames of a stream, and in each the four fields counting needs; compiled.

Owns the walk over frames and over protobuf fields (protobuf.dev, "Encoding"; dnstap.proto). Of a `Dnstap` message it reads
`type` and `message`, of that `type`, `socket_family` and `query_address`. All other fields, the query's and
the answer's wire format among them, are stepped over by their length.

Places are offsets in bytes into `data` (uint8), which anybody may have filled: nothing here raises or looks beyond `end`.
"""

from __future__ import annotations

import numpy as np

from sekisho.snapshot.compiling import compiled

MOST = 1 << 17
"""Bytes of a data frame: two DNS messages of 64 KiB less a little, which no resolver sends in one."""
CLIENT_QUERY, CLIENT_RESPONSE = 5, 6
INET, INET6 = 1, 2
DAMAGED = -1

MORE, CONTROL, OVERSIZED = 0, 1, 2
"""What stands at the place a walk ended: a frame that is not all there yet, a control frame, one that is too long."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DNSTAP_MESSAGE, _DNSTAP_TYPE, _IS_MESSAGE = 14, 15, 1
_MESSAGE_TYPE, _SOCKET_FAMILY, _QUERY_ADDRESS = 1, 2, 4
_HUGE = np.int64(1 << 60)
"""Stands for every number of more than 56 bits: none that is read here."""


@compiled
def frame_at(data, at, end):  # type: ignore[no-untyped-def]
    """Where the frame at a place has its content: (first, last).

    `last` is -1 - MORE, -1 - CONTROL or -1 - OVERSIZED where there is no whole data frame.
    """
    if at < 0 or end > data.shape[0] or end - at < 4:
        return at, -1 - MORE
    length = np.int64(0)
    for index in range(4):
        length = length << 8 | np.int64(data[at + index])
    if length == 0:
        return at, -1 - CONTROL
    if length > MOST:
        return at, -1 - OVERSIZED
    if end - at - 4 < length:
        return at, -1 - MORE
    return at + 4, at + 4 + length


@compiled
def varint_at(data, at, end):  # type: ignore[no-untyped-def]
    """The number at a place, and the place after it; that is DAMAGED if the number does not end before `end` or is too long."""
    value = np.int64(0)
    for index in range(10):
        if at + index >= end:
            return value, DAMAGED
        byte = np.int64(data[at + index])
        if index < 8:
            value |= (byte & 127) << (7 * index)
        elif byte & 127:
            value = _HUGE
        if byte < 128:
            return value, at + index + 1
    return value, DAMAGED


@compiled
def field_at(data, at, end):  # type: ignore[no-untyped-def]
    """The field at a place: (number, value, first, last).

    `value` is of a varint, else -1; `first` and `last` are of its bytes, and the next field begins at `last`.
    Number DAMAGED: it is no field.
    """
    key, at = varint_at(data, at, end)
    if at < 0 or key >= 1 << 32 or key >> 3 == 0:
        return DAMAGED, -1, at, at
    wire = key & 7
    value, length = np.int64(-1), np.int64(0)
    if wire == _VARINT:
        value, after = varint_at(data, at, end)
        length = after - at
    elif wire == _FIXED64:
        length = np.int64(8)
    elif wire == _FIXED32:
        length = np.int64(4)
    elif wire == _BYTES:
        length, at = varint_at(data, at, end)
    else:
        length = np.int64(-1)
    if at < 0 or length < 0 or length > end - at:
        return DAMAGED, -1, at, at
    return key >> 3, value, at, at + length


@compiled
def message_at(data, at, end):  # type: ignore[no-untyped-def]
    """What a `Dnstap` message tells: (type of the message, socket family, first and last place of the query's address).

    The type is DAMAGED if it cannot be read, and 0 if it tells of no message. An address that is not there is empty.
    """
    kind, first, last = np.int64(0), np.int64(0), np.int64(0)
    if at < 0 or end > data.shape[0]:
        return DAMAGED, 0, 0, 0
    while at < end:
        number, value, begin, at = field_at(data, at, end)
        if number == DAMAGED:
            return DAMAGED, 0, 0, 0
        if number == _DNSTAP_TYPE:
            kind = value
        elif number == _DNSTAP_MESSAGE and value < 0:
            first, last = begin, at
    if kind != _IS_MESSAGE:
        return 0, 0, 0, 0
    kind, family, begin_address, end_address = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while first < last:
        number, value, begin, first = field_at(data, first, last)
        if number == DAMAGED:
            return DAMAGED, 0, 0, 0
        if number == _MESSAGE_TYPE:
            kind = value
        elif number == _SOCKET_FAMILY:
            family = value
        elif number == _QUERY_ADDRESS and value < 0:
            begin_address, end_address = begin, first
    return max(kind, np.int64(0)), family, begin_address, end_address
