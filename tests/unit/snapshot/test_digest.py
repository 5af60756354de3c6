"""The keyed digest of names against SipHash-2-4-128 written in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.snapshot.digest import digest_name, digest_names, entry_id, finish, key_of, start
from support.plane import UNCOMPILED, wire
from support.siphash import encoding, siphash

pytestmark = UNCOMPILED

LABEL = st.binary(min_size=1, max_size=63).map(bytes.lower)
NAME = st.lists(LABEL, max_size=8).filter(lambda labels: sum(map(len, labels)) + len(labels) < 255)
SECRET = bytes(range(16))


def to_wire(labels: list[bytes]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def test_the_plain_python_siphash_is_siphash() -> None:
    """The reference implementation's first vector: key 00..0f, no message; its length block is a word of zero."""
    expected = bytes.fromhex("a3817f04ba25a8e66df67214c7550293")
    assert siphash(bytes(8), SECRET) == (int.from_bytes(expected[:8], "little"), int.from_bytes(expected[8:], "little"))


@given(NAME, st.binary(min_size=16, max_size=16))
def test_a_name_has_the_digest_plain_python_computes(labels: list[bytes], secret: bytes) -> None:
    assert digest_name(to_wire(labels), key_of(secret)) == siphash(encoding(labels), secret)


@given(NAME, NAME)
def test_two_names_never_have_one_encoding(one: list[bytes], other: list[bytes]) -> None:
    assert (one == other) == (encoding(one) == encoding(other))


def test_where_labels_end_is_part_of_the_digest() -> None:
    """Names of the same octets but other labels, which a hash of the text alone would confuse."""
    names = [[b"ab", b"example"], [b"a", b"bexample"], [b"ab\0\0", b"example"], [b"ab", b"example\0"], [b"example", b"ab"], [b"ab.example"]]
    assert len({digest_name(to_wire(labels), key_of(SECRET)) for labels in names}) == len(names)


def test_a_first_word_of_zero_is_written_as_one() -> None:
    """Zero marks an empty place. The state is chosen so that the four rounds end in it: all zero stays all zero."""
    zero = np.uint64(0)
    assert int(finish(zero, zero, np.uint64(0xEE), zero)[0]) == 1


def test_names_are_digested_by_the_thousand_as_one_by_one() -> None:
    names = [wire(f"host-{number}.{'sub.' * (number % 5)}example") for number in range(1000)]
    offsets = np.cumsum([0, *map(len, names)])[:-1].astype(np.int64)
    digests, depths = np.empty((1000, 2), np.uint64), np.empty(1000, np.uint8)
    digest_names(np.frombuffer(b"".join(names), np.uint8), offsets, *key_of(SECRET), digests, depths)
    assert [tuple(map(int, row)) for row in digests] == [digest_name(name, key_of(SECRET)) for name in names]
    assert [int(depth) for depth in depths] == [2 + number % 5 for number in range(1000)]


def test_the_longest_names_are_digested() -> None:
    for labels in ([b"a"] * 127, [b"x" * 63] * 3 + [b"y" * 61]):
        assert len(to_wire(labels)) == 255
        assert digest_name(to_wire(labels), key_of(SECRET)) == siphash(encoding(labels), SECRET)


def test_another_key_gives_another_digest() -> None:
    assert digest_name(wire("example"), key_of(SECRET)) != digest_name(wire("example"), key_of(SECRET[::-1]))


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        key_of(bytes(length))


def test_an_entry_is_named_on_the_record_by_its_whole_digest() -> None:
    first, second = digest_name(wire("example"), key_of(SECRET))
    assert int(entry_id(first, second), 16) == first << 64 | second
    assert len(entry_id(1, 2)) == 32


def test_the_state_before_any_label_depends_on_both_words_of_the_key() -> None:
    one, two = np.uint64(1), np.uint64(2)
    assert {start(one, two), start(two, one), start(one, one)}.__len__() == 3
