"""The container of the shared tables: what is damaged is refused with a sentence, never misread."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.model.errors import TableError
from sekisho.snapshot.sections import Array, Kind, pack, read_header, unpack

SECTIONS: dict[str, Array | bytes] = {
    "names": b"not a multiple of anything",
    "pairs": np.arange(20, dtype=np.uint64).reshape(10, 2),
    "none": np.empty((0, 2), np.uint64),
    "flags": np.arange(7, dtype=np.uint32),
}


def packed(kind: Kind = Kind.SNAPSHOT, *, checked: bool = True) -> bytearray:
    return pack(kind, 1, 77, SECTIONS, checked=checked)


def test_what_is_packed_is_read_back_without_copying() -> None:
    buffer = packed(Kind.CUSTOMERS, checked=False)
    header, arrays = unpack(buffer, Kind.CUSTOMERS, 1)
    assert (header.number, header.length, header.checked) == (77, len(buffer), False)
    assert arrays["names"].tobytes() == SECTIONS["names"]
    for name in ("pairs", "none", "flags"):
        np.testing.assert_array_equal(arrays[name], SECTIONS[name])
        assert arrays[name].dtype == SECTIONS[name].dtype  # type: ignore[union-attr]
        assert arrays[name].shape == SECTIONS[name].shape  # type: ignore[union-attr]
    arrays["flags"][3] = 99
    assert unpack(buffer, Kind.CUSTOMERS, 1)[1]["flags"][3] == 99


def test_every_section_starts_on_a_cache_line() -> None:
    buffer = packed()
    for index in range(len(SECTIONS)):
        offset = struct.unpack_from("<24s8sQQQQ", buffer, 64 + 64 * index)[4]
        assert offset % 64 == 0


@pytest.mark.parametrize("checked", [True, False])
def test_a_truncated_table_is_refused_wherever_it_ends(checked: bool) -> None:
    buffer = packed(Kind.SNAPSHOT if checked else Kind.CUSTOMERS, checked=checked)
    for length in range(0, len(buffer), 5):
        with pytest.raises(TableError, match="truncated"):
            unpack(buffer[:length], Kind.SNAPSHOT if checked else Kind.CUSTOMERS, 1)


def test_a_flipped_bit_in_the_content_of_an_immutable_table_fails_its_checksum() -> None:
    buffer = packed()
    for position in range(64, len(buffer), 3):
        damaged = bytearray(buffer)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(TableError, match="checksum"):
            unpack(damaged, Kind.SNAPSHOT, 1)


def test_a_flipped_bit_in_the_header_never_gives_a_reader_other_content() -> None:
    buffer = packed()
    for bit in range(64 * 8):
        damaged = bytearray(buffer)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            _, arrays = unpack(damaged, Kind.SNAPSHOT, 1)
            found = {name: arrays[name] for name in SECTIONS}
        except TableError:
            continue
        # The number, unused flags and the spare bytes are all that may differ unseen.
        assert 16 <= bit // 8 < 24 or 36 <= bit // 8 < 40 or bit // 8 >= 56
        np.testing.assert_array_equal(found["pairs"], SECTIONS["pairs"])


def test_an_immutable_table_that_says_it_has_no_checksum_is_refused() -> None:
    with pytest.raises(TableError, match="no checksum"):
        unpack(packed(checked=False), Kind.SNAPSHOT, 1)


@given(st.data())
def test_no_damage_to_a_table_without_checksum_escapes_as_another_error(data: st.DataObject) -> None:
    buffer = packed(Kind.CUSTOMERS, checked=False)
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly in the table of sections, where every field is believed.
        buffer[data.draw(st.integers(24, 64 + 64 * len(SECTIONS) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, arrays = unpack(buffer, Kind.CUSTOMERS, 1)
        for name in SECTIONS:
            arrays[name].tobytes()
    except TableError:
        pass


@pytest.mark.parametrize(
    ("offset", "value", "sentence"),
    [
        (0, b"OTHER", "does not start"),
        (8, b"\1\2\3\4", "byte order"),
        (12, b"\2", "layout version 2"),
        (14, b"\2", "expected a snapshot file"),
    ],
)
def test_a_table_of_another_kind_version_or_byte_order_is_refused(offset: int, value: bytes, sentence: str) -> None:
    buffer = packed()
    buffer[offset : offset + len(value)] = value
    with pytest.raises(TableError, match=sentence):
        read_header(buffer, Kind.SNAPSHOT, 1)


def test_a_missing_section_is_a_fault_of_the_file() -> None:
    _, arrays = unpack(packed(), Kind.SNAPSHOT, 1)
    with pytest.raises(TableError, match="section keys is missing"):
        arrays["keys"]
