"""Clients' packets of every hostile kind: what a resolver answers to each, or its silence."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.tsigkeyring
import dns.update
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.model.counters import Counter
from sekisho.plane import wire as parsing
from sekisho.plane.wire import Q_DO, Q_EDNS, Q_END, Q_LABELS, Q_NAME, Q_SIZE, Q_SLOTS, Q_TYPE, parse_query, skip_name
from support.plane import ALLOWED, STRANGER, UNCOMPILED, Plane, query, wire

pytestmark = UNCOMPILED

QUESTION = b"\7example\0\0\1\0\1"


def header(
    flags: int = 0x0100, questions: int = 1, answers: int = 0, authority: int = 0, additional: int = 0, identity: int = 0x1234
) -> bytes:
    return struct.pack(">6H", identity, flags, questions, answers, authority, additional)


def opt(options: bytes = b"", *, size: int = 1232, version: int = 0, owner: bytes = b"\0", flags: int = 0) -> bytes:
    return owner + struct.pack(">HHBBHH", 41, size, 0, version, flags, len(options)) + options


def option(code: int, data: bytes) -> bytes:
    return struct.pack(">HH", code, len(data)) + data


def name_of(*labels: int) -> bytes:
    """A name of labels of these lengths."""
    return b"".join(bytes((length,)) + b"a" * length for length in labels) + b"\0"


def asking(name: bytes, rdtype: int = 1, rdclass: int = 1) -> bytes:
    return header() + name + struct.pack(">HH", rdtype, rdclass)


class Parsed:
    """A packet through `parse_query`, somewhere in a larger buffer."""

    def __init__(self, packet: bytes, base: int = 64) -> None:
        self.question, self.lower, self.labels = np.zeros(Q_SLOTS, np.int64), np.zeros(264, np.uint8), np.zeros(130, np.int64)
        buffer = np.full(base + 2048 + 64, 0xFF, np.uint8)
        buffer[base : base + len(packet)] = np.frombuffer(packet, np.uint8)
        self.code = int(parse_query(buffer, base, len(packet), self.question, self.lower, self.labels))

    @property
    def name(self) -> bytes:
        return self.lower[: self.question[Q_NAME]].tobytes()


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane() as one:
        yield one


LONGEST = name_of(63, 63, 63, 61)
SILENT = {
    "nothing at all": b"",
    "one octet": b"\0",
    "a header cut short": header()[:11],
    "a response": header(0x8180) + QUESTION,
    "a response of another opcode": header(0xA800) + QUESTION,
}
FORMERR = {
    "a header alone": header(),
    "no question": header(questions=0),
    "two questions": header(questions=2) + QUESTION * 2,
    "a count of two and one question": header(questions=2) + QUESTION,
    "65535 questions": header(questions=0xFFFF) + QUESTION,
    "an answer in a query": header(answers=1) + QUESTION + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + bytes(4),
    "an authority count that lies": header(authority=1) + QUESTION,
    "an additional count that lies": header(additional=1) + QUESTION,
    "65535 additional records": header(additional=0xFFFF) + QUESTION + opt(),
    "a name that never ends": header() + b"\7exam",
    "a label longer than the packet": header() + b"\x3fexample\0\0\1\0\1",
    "a name without type and class": header() + b"\7example\0",
    "a class cut short": header() + b"\7example\0\0\1\0",
    "a compression pointer to the header": header() + b"\xc0\x00\0\1\0\1",
    "a compression pointer to itself": header() + b"\xc0\x0c\0\1\0\1",
    "a label, then a pointer back to it": header() + b"\1a\xc0\x0c\0\1\0\1",
    "a pointer forward": header() + b"\xc0\x20\0\1\0\1" + QUESTION,
    "a label of the types nobody has (0x40)": header() + b"\x40example\0\0\1\0\1",
    "a label of 64 octets": header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
    "a name of 256 octets": asking(name_of(63, 63, 63, 62)),
    "a name of 128 labels": asking(name_of(*[1] * 128)),
    "trailing octets": header() + QUESTION + b"\0",
    "trailing octets after EDNS": header(additional=1) + QUESTION + opt() + b"junk",
    "two OPT records": header(additional=2) + QUESTION + opt() + opt(),
    "an OPT record with an owner name": header(additional=1) + QUESTION + opt(owner=b"\1a\0"),
    "an OPT record by a pointer": header(additional=1) + QUESTION + opt(owner=b"\xc0\x13"),
    "an OPT record cut short": header(additional=1) + QUESTION + opt()[:-1],
    "an OPT record longer than the packet": header(additional=1) + QUESTION + opt(bytes(4))[:-2],
    "an option longer than its record": header(additional=1) + QUESTION + opt(struct.pack(">HH", 65001, 9) + bytes(4)),
    "half an option": header(additional=1) + QUESTION + opt(b"\0\x0a"),
    "a cookie of 7 octets": header(additional=1) + QUESTION + opt(option(10, bytes(7))),
    "a cookie of 9 octets": header(additional=1) + QUESTION + opt(option(10, bytes(9))),
    "a cookie of 15 octets": header(additional=1) + QUESTION + opt(option(10, bytes(15))),
    "a cookie of 41 octets": header(additional=1) + QUESTION + opt(option(10, bytes(41))),
    "a question for OPT": header() + b"\7example\0\0\x29\0\1",
    "a question for type 0": header() + b"\7example\0\0\0\0\1",
    "an additional record whose owner points at itself": header(additional=1)
    + QUESTION
    + b"\xc0\x19"
    + struct.pack(">HHIH", 1, 1, 0, 4)
    + bytes(4),
}
REFUSED = {f"type {kind}": asking(b"\7example\0", kind) for kind in (249, 250, 251, 252, 253, 254)} | {
    "class CH": asking(b"\7version\4bind\0", 16, 3),
    "class HS": asking(b"\7example\0", 1, 4),
    "class ANY": asking(b"\7example\0", 1, 255),
    "class NONE": asking(b"\7example\0", 1, 254),
    "class 0": asking(b"\7example\0", 1, 0),
}
SERVED = {
    "a plain query": header() + QUESTION,
    "without RD": header(0) + QUESTION,
    "with AD and CD": header(0x0130) + QUESTION,
    "with TC set": header(0x0300) + QUESTION,
    "the root": asking(b"\0"),
    "a name of 255 octets": asking(LONGEST),
    "a label of 63 octets": asking(name_of(63)),
    "127 labels": asking(name_of(*[1] * 127)),
    "octets that are no text": asking(b"\4\0\xff.@\0"),
    "EDNS": header(additional=1) + QUESTION + opt(),
    "EDNS of size 0": header(additional=1) + QUESTION + opt(size=0),
    "a client's cookie": header(additional=1) + QUESTION + opt(option(10, bytes(8))),
    "a cookie of 16 octets": header(additional=1) + QUESTION + opt(option(10, bytes(16))),
    "a cookie of 40 octets": header(additional=1) + QUESTION + opt(option(10, bytes(40))),
    "padding": header(additional=1) + QUESTION + opt(option(12, bytes(200))),
    "an option nobody knows": header(additional=1) + QUESTION + opt(option(65001, b"x")),
    "an empty option": header(additional=1) + QUESTION + opt(option(3, b"")),
    "unknown EDNS flags": header(additional=1) + QUESTION + opt(flags=0x7FFF),
    "another additional record": header(additional=2) + QUESTION + opt() + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + bytes(4),
    "ANY": asking(b"\7example\0", 255),
    "a type nobody knows": asking(b"\7example\0", 65280),
}


@pytest.mark.parametrize("packet", SILENT.values(), ids=SILENT)
def test_what_is_no_query_gets_no_answer(plane: Plane, packet: bytes) -> None:
    assert plane.ask(packet) is None
    assert plane.total(Counter.MALFORMED_DROPPED) == plane.total(Counter.STEP_MALFORMED) == 1


@pytest.mark.parametrize("packet", FORMERR.values(), ids=FORMERR)
def test_a_malformed_query_is_told_formerr_and_no_more(plane: Plane, packet: bytes) -> None:
    found = plane.ask(packet)
    assert found is not None
    assert len(found) <= len(packet), "an error is no amplifier"
    answer = dns.message.from_wire(found)
    assert (answer.id, answer.rcode()) == (0x1234, dns.rcode.FORMERR)
    assert answer.flags & dns.flags.QR
    assert not answer.answer + answer.authority + answer.additional
    assert plane.total(Counter.MALFORMED_FORMERR) == plane.total(Counter.STEP_MALFORMED) == 1


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_what_a_resolver_does_not_serve_is_refused(plane: Plane, packet: bytes) -> None:
    answer = dns.message.from_wire(plane.ask(packet) or b"")
    assert answer.rcode() == dns.rcode.REFUSED
    assert answer.question[0].rdtype == dns.message.from_wire(packet).question[0].rdtype
    assert plane.total(Counter.MALFORMED_REFUSED) == 1


@pytest.mark.parametrize("packet", SERVED.values(), ids=SERVED)
def test_a_well_formed_query_goes_on(plane: Plane, packet: bytes) -> None:
    assert Parsed(packet).code == parsing.PROCEED
    plane.ask(packet)
    assert plane.total(Counter.STEP_MALFORMED) == 0
    assert plane.total(Counter.STEP_FORWARD) == 1


@pytest.mark.parametrize("opcode", [1, 2, 3, 4, 5, 6, 15])
def test_another_opcode_is_not_implemented_and_comes_back_as_it_was(plane: Plane, opcode: int) -> None:
    """RFC 1035 section 4.1.1: the opcode is copied, else the client takes the answer for another's."""
    found = plane.ask(header(opcode << 11) + QUESTION)
    assert found is not None
    flags = struct.unpack_from(">H", found, 2)[0]
    assert flags >> 15 == 1
    assert flags >> 11 & 15 == opcode
    assert flags & 15 == dns.rcode.NOTIMP
    assert len(found) == 12, "what another opcode's sections mean is not known, so none is repeated"
    assert plane.total(Counter.MALFORMED_NOTIMP) == 1


def test_a_dynamic_update_is_answered_so_that_its_sender_understands(plane: Plane) -> None:
    update = dns.update.UpdateMessage("example.")
    update.add("a", 60, "A", "192.0.2.1")
    answer = dns.message.from_wire(plane.ask(update.to_wire()) or b"")
    assert answer.opcode() == dns.opcode.UPDATE
    assert answer.rcode() == dns.rcode.NOTIMP


def test_edns_version_1_is_told_badvers_with_our_version(plane: Plane) -> None:
    """RFC 6891 section 6.1.3."""
    answer = dns.message.from_wire(plane.ask(header(additional=1) + QUESTION + opt(version=1, flags=0x8000)) or b"")
    assert answer.rcode() == dns.rcode.BADVERS
    assert answer.edns == 0
    assert answer.ednsflags & dns.flags.DO
    assert plane.total(Counter.MALFORMED_BADVERS) == 1


def test_options_of_an_unknown_edns_version_are_not_judged(plane: Plane) -> None:
    answer = dns.message.from_wire(plane.ask(header(additional=1) + QUESTION + opt(b"\1", version=200)) or b"")
    assert answer.rcode() == dns.rcode.BADVERS


def test_a_signed_query_is_told_that_its_key_is_not_known(plane: Plane) -> None:
    """RFC 8945: who cannot verify says NOTAUTH."""
    signed = dns.message.make_query("example.", "A")
    signed.use_tsig(dns.tsigkeyring.from_text({"key.example.": "c2VjcmV0"}))
    answer = dns.message.from_wire(plane.ask(signed.to_wire()) or b"")
    assert answer.rcode() == dns.rcode.NOTAUTH
    assert not answer.had_tsig


def test_a_query_longer_than_any_is_told_formerr(plane: Plane) -> None:
    """The kernel cut it: what is there parses, and is not what was sent."""
    answer = dns.message.from_wire(plane.ask(header() + QUESTION, whole=False) or b"")
    assert answer.rcode() == dns.rcode.FORMERR


def test_a_strangers_malformed_query_says_nothing_of_who_is_served(plane: Plane) -> None:
    packet = FORMERR["two questions"]
    assert plane.ask(packet, STRANGER) == plane.ask(packet, ALLOWED)


def test_the_name_is_read_in_canonical_form() -> None:
    parsed = Parsed(query("WwW.ExAmPlE.", "AAAA", edns=0, payload=4096, want_dnssec=True))
    assert parsed.name == wire("www.example")
    assert parsed.labels[:2].tolist() == [0, 4]
    slots = {Q_LABELS: 2, Q_TYPE: 28, Q_EDNS: 1, Q_SIZE: 4096, Q_DO: 1, Q_END: 12 + 13 + 4}
    assert {slot: int(parsed.question[slot]) for slot in slots} == slots


def test_only_ascii_letters_have_a_case() -> None:
    octets = bytes(range(1, 256))
    for start in range(0, 255, 60):
        label = octets[start : start + 60]
        assert Parsed(asking(bytes((len(label),)) + label + b"\0")).name[1:-1] == label.lower()


def test_without_edns_an_answer_has_512_octets_and_a_smaller_size_is_none() -> None:
    assert Parsed(header() + QUESTION).question[Q_SIZE] == 512
    assert Parsed(header(additional=1) + QUESTION + opt(size=100)).question[Q_SIZE] == 512


def test_what_lies_behind_the_packet_in_the_buffer_is_not_read() -> None:
    """The next packet's octets would complete this one."""
    whole = header(additional=1) + QUESTION + opt(option(10, bytes(8)))
    for length in range(12, len(whole)):
        question, lower, labels = np.zeros(Q_SLOTS, np.int64), np.zeros(264, np.uint8), np.zeros(130, np.int64)
        buffer = np.frombuffer(whole, np.uint8).copy()
        assert parse_query(buffer, 0, length, question, lower, labels) == parsing.FORMERR


@given(st.binary(max_size=600), st.booleans())
def test_whatever_comes_is_judged_without_an_exception(data: bytes, headed: bool) -> None:
    parsed = Parsed((header(additional=1) if headed else b"") + data)
    assert parsed.code in (parsing.PROCEED, parsing.IGNORE, 1, 4, 5, 9, 16)


@given(st.binary(max_size=80), st.integers(0, 80))
def test_skipping_a_name_ends_within_the_message(data: bytes, position: int) -> None:
    end = skip_name(np.frombuffer(data, np.uint8).copy(), 0, position, len(data))
    assert end == -1 or position < end <= len(data)


@pytest.mark.parametrize(
    ("data", "position", "end"),
    [
        (b"\0", 0, 1), (b"\1a\0", 0, 3), (b"\1a\0\xc0\0", 3, 5), (b"\1a\0\1b\xc0\0", 3, 7), (b"\xc0\0", 0, -1), (b"\1a\xc0\2", 0, -1),
        (b"\1a\xc0\0", 0, -1), (b"\xc0", 0, -1), (b"\x80a", 0, -1), (b"", 0, -1), (b"\0\xc0\5\0\0\0", 1, -1),
    ],
)  # fmt: skip
def test_a_compression_pointer_must_point_back(data: bytes, position: int, end: int) -> None:
    assert skip_name(np.frombuffer(data, np.uint8).copy(), 0, position, len(data)) == end


@pytest.mark.parametrize(("last", "whole"), [(61, True), (62, False)])
def test_the_owner_of_a_record_has_255_octets_at_most_its_root_included(last: int, whole: bool) -> None:
    name = b"".join(bytes((size,)) + b"a" * size for size in (63, 63, 63, last)) + b"\0"
    assert skip_name(np.frombuffer(name, np.uint8).copy(), 0, 0, len(name)) == (len(name) if whole else -1)
