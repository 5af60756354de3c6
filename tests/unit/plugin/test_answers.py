"""What was found in answers is kept: as long as they are the same, within bounds, and nothing of whom or what."""

from __future__ import annotations

import pytest

from sekisho.plugin.answers import Judged, digest_of, records_of

A, ALIAS = b"\0\1\0\2\0\4\xc0\0\2\1\0\4\xc0\0\2\2", b"\0\5\0\1\0\x0d\3bad\7example\0"


def test_a_content_is_written_as_the_records_it_holds() -> None:
    count, wire = records_of(ALIAS + A, 65000)
    head = bytes.fromhex("0001 00000000")
    alias = b"\0\0\5" + head + b"\0\x0d\3bad\7example\0"
    assert (count, wire) == (3, alias + b"".join(b"\0\0\1" + head + b"\0\4\xc0\0\2" + bytes((last,)) for last in (1, 2)))


def test_of_a_content_that_no_message_holds_only_so_much_is_written() -> None:
    assert records_of(A, 20)[0] == 1
    assert records_of(A, 14) == (0, b"")
    assert records_of(b"", 65000) == (0, b"")


@pytest.mark.parametrize(
    "other",
    [
        A.replace(b"\2\2", b"\2\3"),
        A[:2] + b"\0\1" + A[4:10],
        A + ALIAS,
        b"\0\x1c" + A[2:],
        # The same octets, told apart by how many records there are.
        b"\0\1\0\1" + A[4:10] + b"\0\1\0\1" + A[10:],
    ],
)
def test_an_answer_that_holds_something_else_is_another(other: bytes) -> None:
    judged = Judged()
    judged.keep(digest_of(A), 6)
    assert judged.find(digest_of(A)) == 6
    assert judged.find(digest_of(other)) is None


def test_no_more_than_so_many_are_kept_and_those_asked_about_stay() -> None:
    judged, often = Judged(1000), digest_of(A)
    judged.keep(often, 0)
    for number in range(5000):
        judged.keep(digest_of(number.to_bytes(4, "big")), 1)
        assert judged.find(often) == 0
        assert len(judged) <= 1000
    assert len(judged) >= 500
    assert judged.find(digest_of((0).to_bytes(4, "big"))) is None


def test_neither_address_nor_name_is_kept() -> None:
    judged = Judged()
    judged.keep(digest_of(ALIAS), 1)
    assert b"bad" not in b"".join(judged._late)
    assert [len(one) for one in judged._late] == [32]
