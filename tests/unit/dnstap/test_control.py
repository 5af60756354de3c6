"""Control frames of Frame Streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.dnstap.control import CONTENT_TYPE, Control, ControlError, ControlFrame, decode, encode

READY = bytes.fromhex("00000000 00000022 00000004 00000001 00000016") + b"protobuf:dnstap.Dnstap"


def test_the_frame_of_the_specification_is_read_and_written() -> None:
    frame = ControlFrame(Control.READY, (CONTENT_TYPE,))
    assert encode(frame) == READY
    assert decode(READY + b"more") == (frame, len(READY))
    assert encode(ControlFrame(Control.FINISH)) == bytes.fromhex("00000000 00000004 00000005")


def test_a_frame_that_is_not_all_there_is_waited_for() -> None:
    assert {decode(READY[:length]) for length in range(len(READY))} == {None}


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("00000001 00000004 00000004"),  # no escape
        bytes.fromhex("00000000 00000003 000000"),  # too short for a type
        bytes.fromhex("00000000 00000201") + bytes(513),  # too long
        bytes.fromhex("00000000 00000004 00000006"),  # no such type
        bytes.fromhex("00000000 0000000c 00000004 00000002 00000000"),  # no such field
        bytes.fromhex("00000000 0000000c 00000004 00000001 00000001"),  # a field beyond the end
        bytes.fromhex("00000000 00000008 00000004 00000001"),  # half a field
    ],
)
def test_what_is_no_control_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ControlError):
        decode(data)


def test_dnstap_is_one_of_the_content_types_or_left_open() -> None:
    assert ControlFrame(Control.READY, (b"other", CONTENT_TYPE)).fits
    assert ControlFrame(Control.START).fits
    assert not ControlFrame(Control.START, (b"protobuf:other",)).fits


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_a_frame_not_enough_or_refused(data: bytes, escaped: bool) -> None:
    data = bytes(4) + data if escaped else data
    try:
        found = decode(data)
    except ControlError:
        return
    if found is not None:
        frame, length = found
        assert encode(frame) == data[:length]
