"""Resolvers' answers, honest and lying: what reaches the client, and what is dropped."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from sekisho.model.counters import Counter
from support.plane import CUSTOMER, UNCOMPILED, Plane, query, reply_to

pytestmark = UNCOMPILED

NAME = b"\3www\7example\0"
ADDRESS = "@ 300 IN A 198.51.100.7"


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane(upstreams=1, sockets=1) as one:
        yield one


def forwarded(plane: Plane, packet: bytes | None = None, source: str = CUSTOMER) -> bytes:
    """The question the resolver is asked."""
    assert plane.ask(packet or query("www.example", edns=0), source) is None
    ((_, question),) = plane.asked()
    return question


def is_dropped(plane: Plane, packet: bytes) -> bool:
    """Whether an answer is taken for none; the query goes on waiting for the true one."""
    before = plane.total(Counter.UPSTREAM_MISMATCHED)
    return plane.respond(0, packet) == [] and plane.total(Counter.UPSTREAM_MISMATCHED) == before + 1


def record(rdtype: int, ttl: int, rdata: bytes, owner: bytes = b"\xc0\x0c", size: int | None = None) -> bytes:
    return owner + struct.pack(">HHIH", rdtype, 1, ttl, len(rdata) if size is None else size) + rdata


def raw(question: bytes, *counts: int, body: bytes = b"", flags: int = 0x8180) -> bytes:
    """An answer of the counts and octets given."""
    end = 12 + len(NAME) + 4
    return question[:2] + struct.pack(">H", flags) + struct.pack(">4H", 1, *counts) + question[12:end] + body


def test_the_resolver_is_asked_with_edns_and_ad_and_with_the_clients_rd_cd_and_do(plane: Plane) -> None:
    question = dns.message.from_wire(forwarded(plane, query("WWW.Example", "AAAA", edns=0, want_dnssec=True, payload=4096)))
    assert question.flags == dns.flags.RD | dns.flags.AD
    assert (question.edns, question.payload, bool(question.ednsflags & dns.flags.DO)) == (0, 1232, True)
    assert question.question[0].to_text() == "WWW.Example. IN AAAA"
    asked = dns.message.from_wire(forwarded(plane, query("other.example", flags=dns.flags.CD)))
    assert (asked.flags, asked.ednsflags, asked.options) == (dns.flags.CD | dns.flags.AD, 0, ())


def test_the_clients_options_and_id_do_not_reach_the_resolver(plane: Plane) -> None:
    ids = set()
    for number in range(20):
        question = forwarded(plane, query(f"{number}.example", edns=0, identity=7, options=[dns.edns.GenericOption(10, b"12345678")]))
        ids.add(question[:2])
        assert b"12345678" not in question
    assert len(ids) > 15, "ids are random"


def test_the_true_answer_reaches_the_client_under_its_own_id_and_spelling(plane: Plane) -> None:
    packet = query("WwW.eXaMpLe", edns=0, identity=0xBEEF)
    question = forwarded(plane, packet)
    answer = bytearray(reply_to(question, ADDRESS).to_wire())
    answer[12 : 12 + len(NAME)] = answer[12 : 12 + len(NAME)].lower()
    (found,) = plane.respond(0, bytes(answer))
    assert found[12 : 12 + len(NAME)] == packet[12 : 12 + len(NAME)]
    message = dns.message.from_wire(found)
    assert message.id == 0xBEEF
    assert [section.to_text().lower() for section in message.answer] == ["www.example. 300 in a 198.51.100.7"]
    assert plane.total(Counter.UPSTREAM_ANSWERED) == 1


LIES: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "a header cut short": lambda question: question[:11],
    "another id": lambda question: bytes((question[0] ^ 1, question[1])) + reply_to(question, ADDRESS).to_wire()[2:],
    "the query itself": lambda question: question,
    "another opcode": lambda question: raw(question, 0, 0, 0, flags=0xA980),
    "no question": lambda question: question[:2] + struct.pack(">5H", 0x8180, 0, 0, 0, 0),
    "a question count that lies": lambda question: raw(question, 0, 0, 0)[:5] + b"\2" + raw(question, 0, 0, 0)[6:],
    "another name": lambda question: reply_to(question, ADDRESS).to_wire().replace(NAME, b"\3wwx\7example\0"),
    "another name that differs in a bit that is no case": lambda question: reply_to(question, ADDRESS).to_wire().replace(b"example", b"ex\x01mple"),
    "another type": lambda question: reply_to(question, ADDRESS).to_wire().replace(NAME + b"\0\1", NAME + b"\0\x1c"),
    "another class": lambda question: reply_to(question, ADDRESS).to_wire().replace(NAME + b"\0\1\0\1", NAME + b"\0\1\0\3"),
    "a question cut short": lambda question: raw(question, 0, 0, 0)[:-1],
    "an answer count that lies": lambda question: raw(question, 2, 0, 0, body=record(1, 60, bytes(4))),
    "65535 answers": lambda question: raw(question, 0xFFFF, 0xFFFF, 0xFFFF, body=record(1, 60, bytes(4)) * 20),
    "a record cut short": lambda question: raw(question, 1, 0, 0, body=record(1, 60, bytes(4))[:-1]),
    "a record longer than the message": lambda question: raw(question, 1, 0, 0, body=record(1, 60, bytes(4), size=5)),
    "a record without its fixed part": lambda question: raw(question, 1, 0, 0, body=b"\xc0\x0c\0\1\0\1"),
    "an owner that points at itself": lambda question: raw(question, 1, 0, 0, body=record(1, 60, bytes(4), owner=b"\xc0\x1d")),
    "an owner that points forward": lambda question: raw(question, 1, 0, 0, body=record(1, 60, bytes(4), owner=b"\xc0\x2d")),
    "an owner that never ends": lambda question: raw(question, 1, 0, 0, body=b"\x3f" + b"a" * 20),
    "an OPT among the answers": lambda question: raw(question, 1, 0, 0, body=b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)),
    "an OPT in the authority section": lambda question: raw(question, 0, 1, 0, body=b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)),
    "more records than are kept track of": lambda question: raw(question, 401, 0, 0, body=record(1, 60, b"", owner=b"\0") * 401)[:2048],
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lying_answer_is_dropped_and_the_true_one_still_taken(plane: Plane, lie: Callable[[bytes], bytes]) -> None:
    question = forwarded(plane)
    assert is_dropped(plane, lie(question))
    (found,) = plane.respond(0, reply_to(question, ADDRESS).to_wire())
    assert dns.message.from_wire(found).answer[0][0].to_text() == "198.51.100.7"
    assert is_dropped(plane, reply_to(question, ADDRESS).to_wire()), "an answer is taken once"


def test_the_type_of_the_question_has_no_case(plane: Plane) -> None:
    """HTTPS is 65 and 65 is also the letter A; 97, the letter a, is another type."""
    question = forwarded(plane, query("www.example", "HTTPS"))
    answer = reply_to(question).to_wire()
    assert is_dropped(plane, answer.replace(NAME + b"\0\x41", NAME + b"\0\x61"))
    assert plane.respond(0, answer)


def test_an_answer_to_another_socket_is_dropped() -> None:
    with Plane(upstreams=2, sockets=1) as plane:
        question = forwarded(plane)
        answer = reply_to(question, ADDRESS).to_wire()
        assert plane.respond(1, answer) == []
        assert plane.total(Counter.UPSTREAM_MISMATCHED) == 1
        assert plane.respond(0, answer)


def test_the_resolvers_opt_is_taken_out_and_its_extended_errors_are_kept(plane: Plane) -> None:
    question = forwarded(plane, query("www.example", edns=0))
    answer = reply_to(question, ADDRESS)
    options = [
        dns.edns.GenericOption(10, b"c" * 16),
        dns.edns.EDEOption(9, "no DNSKEY"),
        dns.edns.GenericOption(12, bytes(64)),
        dns.edns.EDEOption(22),
    ]
    answer.use_edns(0, payload=4096, options=options)
    (found,) = plane.respond(0, answer.to_wire())
    message = dns.message.from_wire(found)
    assert [(int(option.code), option.text) for option in message.options] == [(9, "no DNSKEY"), (22, None)]  # type: ignore[attr-defined]
    assert message.payload == 1232
    again = dns.message.from_wire(plane.ask(query("www.example", edns=0)) or b"")
    assert again.options == message.options, "they are kept in the cache too"
    assert dns.message.from_wire(plane.ask(query("www.example")) or b"").edns == -1


def test_extended_errors_beyond_the_room_for_them_are_left_out_whole(plane: Plane) -> None:
    answer = reply_to(forwarded(plane, query("www.example", edns=0)), ADDRESS)
    answer.use_edns(0, options=[dns.edns.EDEOption(1, "x" * 60), dns.edns.EDEOption(2, "y" * 80), dns.edns.EDEOption(3, "z" * 20)])
    (found,) = plane.respond(0, answer.to_wire())
    assert [int(option.code) for option in dns.message.from_wire(found).options] == [1, 3]  # type: ignore[attr-defined]


def test_an_opt_in_the_middle_is_cut_off_with_what_follows(plane: Plane) -> None:
    question = forwarded(plane)
    body = (
        record(1, 60, bytes((198, 51, 100, 7)))
        + record(1, 60, bytes(4), owner=b"\2ns\0")
        + b"\0"
        + struct.pack(">HHIH", 41, 1232, 0, 0)
        + record(28, 60, bytes(16))
    )
    (found,) = plane.respond(0, raw(question, 1, 0, 3, body=body))
    message = dns.message.from_wire(found)
    assert [section.to_text() for section in message.answer] == ["www.example. 60 IN A 198.51.100.7"]
    assert [section.to_text() for section in message.additional] == ["ns. 60 IN A 0.0.0.0"]
    assert message.edns == 0


def test_octets_behind_the_last_record_are_cut_off(plane: Plane) -> None:
    question = forwarded(plane, query("www.example"))
    (found,) = plane.respond(0, raw(question, 1, 0, 0, body=record(1, 60, bytes(4)) + b"junk"))
    assert not found.endswith(b"junk")
    dns.message.from_wire(found)


@pytest.mark.parametrize("code", [dns.rcode.BADVERS, dns.rcode.BADCOOKIE])
def test_an_extended_rcode_between_us_and_the_resolver_is_servfail_to_the_client(plane: Plane, code: dns.rcode.Rcode) -> None:
    answer = reply_to(forwarded(plane, query("www.example", edns=0)))
    answer.use_edns(0)
    answer.set_rcode(code)
    (found,) = plane.respond(0, answer.to_wire())
    assert dns.message.from_wire(found).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("rcode", [0, 2, 3, 5])
def test_the_resolvers_rcode_reaches_the_client(plane: Plane, rcode: int) -> None:
    (found,) = plane.respond(0, reply_to(forwarded(plane), rcode=rcode).to_wire())
    assert dns.message.from_wire(found).rcode() == rcode


@pytest.mark.parametrize(("flags", "want_dnssec", "expected"), [(0x0100, False, False), (0x0120, False, True), (0x0100, True, True)])
def test_ad_is_told_to_those_who_asked_for_it(plane: Plane, flags: int, want_dnssec: bool, expected: bool) -> None:
    """RFC 6840 section 5.8; the resolver is always asked, so the cache serves both."""
    packet = bytearray(query("www.example", edns=0, want_dnssec=want_dnssec))
    packet[2:4] = flags.to_bytes(2, "big")
    answer = reply_to(forwarded(plane, bytes(packet)), ADDRESS)
    answer.flags |= dns.flags.AD
    for found in (*plane.respond(0, answer.to_wire()), plane.ask(bytes(packet)) or b""):
        assert bool(dns.message.from_wire(found).flags & dns.flags.AD) is expected


def test_truncation_by_the_resolver_is_passed_on_and_not_cached(plane: Plane) -> None:
    answer = reply_to(forwarded(plane), ADDRESS)
    answer.flags |= dns.flags.TC
    (found,) = plane.respond(0, answer.to_wire())
    assert dns.message.from_wire(found).flags & dns.flags.TC
    assert plane.total(Counter.CACHE_STORED) == 0


@pytest.mark.parametrize(("edns", "payload", "room"), [(-1, 0, 512), (0, 512, 512), (0, 1000, 1000), (0, 4096, 1232)])
def test_an_answer_is_never_larger_than_the_client_takes(plane: Plane, edns: int, payload: int, room: int) -> None:
    packet = query("www.example", "TXT", edns=edns, payload=payload)
    question = forwarded(plane, packet)
    sizes = []
    for count in range(1, 120):
        body = record(16, 60, b"\x0d" + b"x" * 13) * count
        for found in plane.respond(0, raw(question, count, 0, 0, body=body)):
            message = dns.message.from_wire(found)
            assert len(found) <= room
            assert bool(message.flags & dns.flags.TC) is not bool(message.answer)
            sizes.append(len(found))
        plane.cache.positions[:] = -1
        question = forwarded(plane, packet)
        if len(body) > 1700:
            break
    assert max(sizes) > room - 40, "what fits is not truncated"


@pytest.mark.parametrize("ttl", [0x80000000, 0xFFFFFFFF, 0])
def test_a_ttl_with_its_high_bit_set_is_zero_and_is_not_cached(plane: Plane, ttl: int) -> None:
    """RFC 2181 section 8."""
    assert plane.respond(0, raw(forwarded(plane), 1, 0, 0, body=record(1, ttl, bytes(4))))
    assert plane.total(Counter.CACHE_STORED) == 0
    forwarded(plane)


def test_a_port_that_is_closed_is_tried_elsewhere(plane: Plane) -> None:
    with Plane(upstreams=2, sockets=1) as both:
        both.pairs[0][1].close()
        assert both.ask(query("www.example")) is None
        both.wait(2.1)
        ((number, question),) = both.asked()
        assert number == 1
        assert both.respond(1, reply_to(question, ADDRESS).to_wire())
        assert both.total(Counter.UPSTREAM_FAILOVERS) == 1
