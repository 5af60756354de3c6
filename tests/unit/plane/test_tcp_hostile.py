"""Any bytes of a client's or a resolver's: an answer or silence, never a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.drivers.tcpclient import Source
from sekisho.drivers.tcpcontext import TcpContext
from sekisho.drivers.tcpverdict import Judge, Query
from sekisho.plane.asking import LIMIT, Outcome
from support.tcp import CUSTOMER, make_context, query, respond

pytestmark = [pytest.mark.uncompiled, pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")]
QUERIES = [query("bad.example"), query("www.example.com", "TXT", want_dnssec=True), query("chase.example", edns=False)]
ANSWERS = [respond(one, "@ 60 IN A 198.51.100.1", "@ 60 IN TXT abc", "other.test 1 IN NS ns.other.test.") for one in QUERIES]


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from((0, 1, 0x0C, 0x3F, 0x40, 0x80, 0xC0, 0xFF)) | st.integers(0, 255))
    end = draw(st.integers(1, len(data)) | st.just(len(data)))
    return bytes(data[:end]) + draw(st.binary(max_size=40) | st.just(b"") | st.just(bytes(60000)))


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(make_context(Path(tmp_path_factory.mktemp("tables"))))


@given(message=mutated(QUERIES) | st.binary(max_size=600))
def test_any_message_of_a_client_has_an_outcome(judge: Judge, message: bytes) -> None:
    source = Source(CUSTOMER, 1)
    outcome, answer, _ = judge.rule(message, source.high, source.low, four=True)
    assert bool(answer) == (outcome in (Outcome.ANSWER, Outcome.LAST))
    if outcome is Outcome.CLOSE:
        assert len(message) < 12
    if answer:
        assert answer[:2] == message[:2]
        assert answer[2] & 0x80
    if outcome in (Outcome.FORWARD, Outcome.CHASE):
        held = judge.query()
        assert message.startswith(held.head)


@given(message=mutated(ANSWERS) | st.binary(max_size=600))
def test_any_message_of_a_resolver_is_an_answer_to_the_question_or_nothing(judge: Judge, message: bytes) -> None:
    head = QUERIES[1][:33]
    asked = Query(head, 0x0100, 16, 1, 1)
    reply = judge.check(head, message, 1000)
    if reply is not None:
        assert message[12:33].lower() == head[12:].lower()
        answer = judge.dress(asked, reply)
        assert answer[:2] + answer[12:33] == head[:2] + head[12:33]
        assert len(answer) <= LIMIT


def test_a_longest_answer_still_fits(judge: Judge) -> None:
    head = QUERIES[1][:33]
    record = b"\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c"
    for size in (LIMIT, LIMIT - 11, LIMIT - 5):
        rdata = size - len(head) - len(record) - 2
        message = head[:2] + b"\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + head[12:] + record + rdata.to_bytes(2, "big") + bytes(rdata)
        reply = judge.check(head, message, 1000)
        assert reply is not None
        assert len(reply.message) == size
        answer = judge.dress(Query(head, 0x0100, 16, 1, 1), reply)
        assert len(answer) in (LIMIT, len(head) + 11), "whole, or cut to its question where our OPT does not fit"


def test_a_desk_without_room_for_a_message_is_refused(judge: Judge) -> None:
    desk = dict.fromkeys(("packets", "answers", "held"), np.zeros(10, np.uint8))
    with pytest.raises(ValueError, match="65535"):
        Judge(TcpContext(None, None, None, desk))  # type: ignore[arg-type]
