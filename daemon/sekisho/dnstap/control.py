"""Control frames of Frame Streams: what a sender and a reader say to each other before and after the data.

A control frame is an escape (four zero bytes where a data frame has its length), its own length, its type and
fields; all numbers are 32 bits, big-endian. Source: the specification of fstrm (farsightsec/fstrm, `fstrm/control.h`).
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

CONTENT_TYPE = b"protobuf:dnstap.Dnstap"
ESCAPE = b"\0\0\0\0"
MOST = 512
"""Bytes of a control frame, escape and length left out."""
_FIELD_CONTENT_TYPE = 1
_LONGEST_TYPE = 256
_HEAD, _WORD, _PAIR = 8, 4, 8


class Control(enum.IntEnum):
    """Types of control frames. A sender says READY (where it wants an answer), START and STOP, a reader ACCEPT and FINISH."""

    ACCEPT = 1
    START = 2
    STOP = 3
    READY = 4
    FINISH = 5


class ControlError(Exception):
    """The bytes are no control frame."""


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A control frame."""

    type: Control
    content_types: tuple[bytes, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether its sender can send dnstap; one that names no content type leaves it to the reader."""
        return not self.content_types or CONTENT_TYPE in self.content_types


def encode(frame: ControlFrame) -> bytes:
    """The frame with its escape and its length."""
    fields = b"".join(struct.pack(">II", _FIELD_CONTENT_TYPE, len(one)) + one for one in frame.content_types)
    return ESCAPE + struct.pack(">II", _WORD + len(fields), frame.type) + fields


def decode(data: bytes) -> tuple[ControlFrame, int] | None:
    """The control frame at the start of `data`, and its bytes with escape and length; None: it is not all there yet.

    Raises ControlError.
    """
    if len(data) < _HEAD:
        return None
    escape, length = struct.unpack_from(">II", data)
    if escape or not _WORD <= length <= MOST:
        raise ControlError
    end = _HEAD + length
    if len(data) < end:
        return None
    (kind,) = struct.unpack_from(">I", data, _HEAD)
    if kind not in set(Control):
        raise ControlError
    types, at = [], _HEAD + _WORD
    while at < end:
        if at + _PAIR > end:
            raise ControlError
        field, size = struct.unpack_from(">II", data, at)
        at += _PAIR
        if field != _FIELD_CONTENT_TYPE or size > _LONGEST_TYPE or at + size > end:
            raise ControlError
        types.append(data[at : at + size])
        at += size
    return ControlFrame(Control(kind), tuple(types)), end
