"""Data frames: what is read of a `Dnstap` message, and that nothing in one is believed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sekisho.dnstap.frames import CONTROL, DAMAGED, MORE, MOST, OVERSIZED, frame_at, message_at, varint_at
from support.dnstap import QUERY, RESPONSE, field, framed, message, varint


def bytes_of(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8).copy()


def read(data: bytes) -> tuple[int, int, bytes]:
    kind, family, first, last = message_at(bytes_of(data), 0, len(data))
    return kind, family, data[first:last]


def test_a_query_of_a_client_is_read() -> None:
    assert read(message("192.0.2.7")) == (QUERY, 1, bytes([192, 0, 2, 7]))
    assert read(message("2001:db8::7", RESPONSE, b"x" * 300)) == (RESPONSE, 2, bytes.fromhex("20010db8000000000000000000000007"))


def test_fields_may_come_in_any_order_and_unknown_ones_are_stepped_over() -> None:
    body = field(4, b"\xc0\x00\x02\x07") + varint(77 << 3 | 1) + bytes(8) + field(2, 1) + field(1, QUERY)
    assert read(field(15, 1) + field(99, b"?") + field(14, body)) == (QUERY, 1, bytes([192, 0, 2, 7]))


def test_what_tells_of_no_message_is_told_apart_from_damage() -> None:
    assert read(field(14, field(1, QUERY)))[0] == 0
    assert read(b"")[0] == 0
    assert read(field(15, 1)) == (0, 0, b"")
    assert read(message(None)) == (QUERY, 0, b"")


@pytest.mark.parametrize(
    "data",
    [
        message("192.0.2.7")[:-1],
        field(14, b"\xff" * 4) + field(15, 1),
        varint(14 << 3 | 3),  # a group
        varint(14 << 3 | 7) + bytes(8),  # no wire type
        b"\x00\x01",  # field 0
        b"\x80" * 10 + b"\x01",  # a number of eleven bytes
        varint(14 << 3 | 2) + varint(1 << 63),  # a length beyond everything
        varint(14 << 3 | 2) + varint((1 << 64) - 1),  # and a negative one
    ],
)
def test_damage_is_damage(data: bytes) -> None:
    assert read(data)[0] == DAMAGED


@pytest.mark.parametrize(("number", "value"), [(0, 0), (127, 127), (128, 128), ((1 << 56) - 1, (1 << 56) - 1), (1 << 56, 1 << 60)])
def test_numbers_are_read_up_to_56_bits(number: int, value: int) -> None:
    data = varint(number)
    assert varint_at(bytes_of(data), 0, len(data)) == (value, len(data))


def test_frames_are_told_from_control_frames_from_too_long_ones_and_from_parts() -> None:
    data = bytes_of(framed(b"abc") + framed(b"d"))
    assert frame_at(data, 0, 12) == (4, 7)
    assert frame_at(data, 7, 12) == (11, 12)
    assert frame_at(data, 12, 12) == (12, -1 - MORE)
    assert {frame_at(data, 0, end)[1] for end in range(7)} == {-1 - MORE}
    assert frame_at(bytes_of(bytes(8)), 0, 8) == (0, -1 - CONTROL)
    assert frame_at(bytes_of(struct.pack(">I", MOST + 1)), 0, 4) == (0, -1 - OVERSIZED)


@settings(max_examples=400)
@given(st.binary(max_size=120), st.integers(0, 120), st.data())
@example(message("192.0.2.7"), 0, None)
def test_no_bytes_make_it_raise_or_look_beyond_the_end(data: bytes, end: int, more: st.DataObject | None) -> None:
    """What lies beyond the end is no part of the answer, whatever it is."""
    if more is not None and more.draw(st.booleans()):
        whole = bytearray(message("192.0.2.7", wire=data))
        for _ in range(more.draw(st.integers(0, 4))):
            whole[more.draw(st.integers(0, len(whole) - 1))] = more.draw(st.integers(0, 255))
        data = bytes(whole)
    end = min(end, len(data)) or len(data)
    found = message_at(bytes_of(data), 0, end)
    assert message_at(bytes_of(data[:end]), 0, end) == found
    assert message_at(bytes_of(data[:end] + b"\xff" * 40), 0, end) == found
    _, _, first, last = found
    assert 0 <= first <= last <= end
    first, last = frame_at(bytes_of(data), 0, end)
    assert last < 0 or 4 == first < last <= end
