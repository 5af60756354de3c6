"""How long an answer to a NAS is held, how many of them, and in how much memory."""

from __future__ import annotations

import socket
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.drivers import radiusanswers
from sekisho.drivers.radiusanswers import ANSWERED_FOR, HELD, ROOM, Answers, key_of, source_of

SOURCE = ("192.0.2.7", 40000)
KINDS = ("start", "stop", "interim")


def key(number: int) -> bytes:
    return key_of(0, number.to_bytes(20, "big"), SOURCE)


def answer(number: int) -> bytes:
    return b"answer %d" % number


def answered(answers: Answers, number: int, now: float, kind: str = "start") -> None:
    answers.give(answers.expect(key(number), kind, answer(number)), now)


def test_a_request_in_work_is_known_and_has_no_answer_yet():
    answers = Answers(100, 1000)
    assert answers.find(key(7), 0.0) is None
    number = answers.expect(key(7), "stop", b"done")
    assert answers.find(key(7), 1e9) == ("stop", None)
    assert answers.in_work == 1
    assert answers.give(number, 5.0) == (key(7), "stop", b"done")
    assert answers.find(key(7), 5.0) == ("stop", b"done")
    assert answers.give(number, 6.0) is None, "it is answered once"
    assert answers.in_work == 0


def test_an_answer_is_held_30_seconds_from_when_it_was_given_in_whatever_order():
    answers = Answers()
    numbers = [answers.expect(key(number), "start", answer(number)) for number in range(400)]
    for number, one in reversed(list(enumerate(numbers))):
        answers.give(one, number / 4)
    for now in range(100, 140):
        held = {number for number in range(400) if answers.find(key(number), float(now)) is not None}
        assert held == {number for number in range(400) if now - number / 4 <= ANSWERED_FOR}


def test_beyond_what_may_be_held_the_oldest_are_forgotten():
    answers = Answers(100, 100_000)
    for number in range(1000):
        answered(answers, number, 0.0)
    assert len(answers) == 100
    assert [answers.find(key(number), 0.0) for number in (0, 899)] == [None, None]
    assert [answers.find(key(number), 0.0) for number in (900, 999)] == [("start", answer(900)), ("start", answer(999))]


def test_one_in_work_for_longer_than_all_the_others_is_forgotten_and_leaves_room_for_another():
    answers = Answers(10, 10_000)
    stuck = answers.expect(key(0), "start", answer(0))
    for number in range(1, 11):
        answered(answers, number, 0.0)
    assert answers.find(key(0), 0.0) is None
    assert answers.in_work == 0
    assert answers.give(stuck, 0.0) is None


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 300), st.sampled_from(KINDS), st.booleans()), max_size=120), st.integers(1, 40)
)
def test_what_is_held_is_the_latest_there_is_room_for_and_nothing_else(requests, held):
    """Against a plain list: whatever sizes answers have, each is found as it was given or not at all, the latest for certain."""
    answers, kept, room = Answers(held, 1000), [], 1000
    for which, size, kind, is_done in requests:
        if answers.find(key(which), 0.0) is not None:
            continue
        told = bytes((which,)) * size
        number = answers.expect(key(which), kind, told)
        assert number == len(kept) + 1
        kept.append((which, kind, told if is_done else None))
        if is_done:
            assert answers.give(number, 0.0) == (key(which), kind, told)
        found = kept[len(kept) - len(answers) :]
        for one, its_kind, its_answer in found:
            assert answers.find(key(one), 0.0) == (its_kind, its_answer)
        assert {one for one in range(31) if answers.find(key(one), 0.0) is not None} == {one for one, _, _ in found}
        assert answers.in_work == sum(one[2] is None for one in found)
        # No more was let go than had to be: what is left of the memory is less than the oldest that went, and what one leaves at the end.
        assert len(answers) == min(held, len(kept)) or sum(len(key(0)) + 300 for _ in found) + 2 * 327 > room


def traced() -> int:
    """Octets of what the answers' own lines made; other threads of the test's process make things too."""
    ours = tracemalloc.Filter(inclusive=True, filename_pattern=radiusanswers.__file__)
    return sum(one.size for one in tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename"))


def test_no_object_outlives_its_request_nor_is_made_for_a_request_in_work():
    answers = Answers(1000, 60_000)
    tracemalloc.start()
    for number in range(4000):
        if number == 1000:
            before = traced()
        if number % 3:
            answered(answers, number, 0.0)
        else:
            answers.expect(key(number), "stop", answer(number))
    grown = traced() - before
    tracemalloc.stop()
    assert answers.in_work > 300
    assert grown < 4096


def test_at_five_thousand_a_second_every_answer_is_held_for_its_time():
    per_answer = len(key(0)) + 20 + 18 + 40
    assert min(HELD, ROOM // per_answer) >= ANSWERED_FOR * 5000, "signed, and with a Proxy-State"


def test_the_same_octets_from_elsewhere_or_on_another_socket_are_another_request():
    data = bytes(range(44))
    keys = {key_of(3, data, SOURCE), key_of(4, data, SOURCE), key_of(3, data, ("192.0.2.7", 40001)), key_of(3, data, ("192.0.2.8", 40000))}
    assert len(keys) == 4
    assert key_of(3, data[:20] + b"more", SOURCE) in keys


@pytest.mark.parametrize("source", [SOURCE, ("2001:db8::7", 40000, 0, 0), ("fe80::1", 65535, 0xFFFFF, 3)])
def test_an_answer_goes_where_its_request_came_from(source):
    assert source_of(key_of(15, bytes(44), source)) == (15, source)


def test_a_packet_too_short_to_be_one_is_no_other():
    answers = Answers(1, 1000)
    origin = key_of(0, b"", SOURCE)
    answers.expect(key_of(0, origin * 3, SOURCE), "start", b"")
    assert answers.find(key_of(0, b"", SOURCE), 0.0) is None


def test_an_access_server_is_answered_over_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::1", 0))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as nas:
            nas.bind(("::1", 0))
            nas.settimeout(10)
            nas.sendto(bytes(20), one.getsockname())
            one.settimeout(10)
            _, source = one.recvfrom(100)
            one.sendto(b"answer", source_of(key_of(0, bytes(20), source))[1])
            assert nas.recv(100) == b"answer"
