"""Blocked answers as a client reads them: codes, records, sizes, and what they do not say."""

from __future__ import annotations

from collections.abc import Iterator

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from sekisho.model.counters import Counter
from sekisho.model.lists import Action, ActionKind, LocalRecord
from support.plane import (
    BUDGET,
    BUDGET_CLAUSE,
    CLAUSE,
    CUSTOMER,
    MANDATORY_CLAUSE,
    OPTED_OUT,
    SECOND,
    SILENCED,
    STRANGER,
    TRUNCATING,
    UNCOMPILED,
    Plane,
    compile_entries,
    definition,
    entry,
    make_snapshot,
    profile,
    query,
    rule,
    wire,
)

pytestmark = UNCOMPILED

SOA = ". . 1 3600 600 86400 60"


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane() as one:
        yield one


def blocked(plane: Plane, name: str, rdtype: str = "A", source: str = CUSTOMER, **options: object) -> dns.message.Message:
    packet = query(name, rdtype, **options)  # type: ignore[arg-type]
    found = plane.ask(packet, source)
    assert found is not None
    answer = dns.message.from_wire(found)
    assert answer.id == 1
    assert answer.flags & dns.flags.QR
    assert answer.flags & dns.flags.RA
    assert not answer.flags & (dns.flags.AA | dns.flags.AD)
    assert bool(answer.flags & dns.flags.RD) == bool(dns.message.from_wire(packet).flags & dns.flags.RD)
    assert answer.question == dns.message.from_wire(packet).question
    assert len(found) <= (1232 if answer.edns == 0 else 512)
    return answer


def errors(answer: dns.message.Message) -> list[tuple[int, str | None]]:
    return [(int(option.code), option.text) for option in answer.options if isinstance(option, dns.edns.EDEOption)]


def soa(answer: dns.message.Message) -> str:
    (section,) = answer.authority
    assert section.name == answer.question[0].name, "the owner does not say which entry matched"
    assert section.ttl == 60
    return section[0].to_text()


def test_gunma_beppyo_1_a_listed_name_does_not_exist_and_the_error_names_the_clause(plane: Plane) -> None:
    answer = blocked(plane, "www.bad.example", source=CUSTOMER, edns=0)
    # The sealed list holds it too, is mandatory, and so decides: its error has no text.
    assert (answer.rcode(), errors(answer), soa(answer)) == (dns.rcode.NXDOMAIN, [(16, None)], SOA)
    answer = blocked(plane, "second.example", edns=0)
    assert (answer.rcode(), errors(answer), soa(answer)) == (dns.rcode.NXDOMAIN, [(15, CLAUSE)], SOA)
    assert plane.steps() == {"mandatory": 1, "entitled": 1}


def test_nbnet_21_1_the_sealed_lists_answer_holds_no_text_at_all(plane: Plane) -> None:
    found = plane.ask(query("sealed.example", edns=0), OPTED_OUT)
    assert found is not None
    assert errors(dns.message.from_wire(found)) == [(16, None)]
    assert MANDATORY_CLAUSE.encode() not in found


def test_without_edns_there_is_neither_opt_nor_extended_error(plane: Plane) -> None:
    answer = blocked(plane, "second.example")
    assert answer.edns == -1
    assert soa(answer) == SOA


@pytest.mark.parametrize("want_dnssec", [True, False])
def test_the_do_bit_is_echoed_and_our_size_advertised(plane: Plane, want_dnssec: bool) -> None:
    answer = blocked(plane, "second.example", edns=0, payload=4096, want_dnssec=want_dnssec)
    assert bool(answer.ednsflags & dns.flags.DO) is want_dnssec
    assert answer.payload == 1232


def test_a_client_cookie_is_not_echoed_as_if_we_knew_cookies(plane: Plane) -> None:
    answer = blocked(plane, "second.example", edns=0, options=[dns.edns.GenericOption(10, b"12345678")])
    assert [int(option.otype) for option in answer.options] == [15]


def test_nodata_is_an_empty_answer_with_soa(plane: Plane) -> None:
    answer = blocked(plane, "nodata.example", edns=0)
    assert (answer.rcode(), answer.answer, soa(answer), errors(answer)) == (dns.rcode.NOERROR, [], SOA, [(15, CLAUSE)])


def test_refused_carries_the_error_and_no_soa(plane: Plane) -> None:
    answer = blocked(plane, "refused.example", edns=0)
    assert (answer.rcode(), answer.authority, errors(answer)) == (dns.rcode.REFUSED, [], [(15, CLAUSE)])


def test_drop_is_silence_and_is_recorded(plane: Plane) -> None:
    assert plane.ask(query("drop.example")) is None
    assert not plane.asked()
    assert (plane.total(Counter.HITS), plane.steps()) == (1, {"entitled": 1})


@pytest.mark.parametrize(("rdtype", "expected"), [("A", ["203.0.113.9"]), ("AAAA", ["2001:db8::9"]), ("MX", []), ("HTTPS", [])])
def test_a_sinkhole_answers_addresses_and_no_data_for_any_other_type(plane: Plane, rdtype: str, expected: list[str]) -> None:
    answer = blocked(plane, "sink.example", rdtype, edns=0)
    assert [record.to_text() for section in answer.answer for record in section] == expected
    assert (answer.rcode(), errors(answer)) == (dns.rcode.NOERROR, [(15, CLAUSE)])
    assert bool(answer.authority) is not bool(expected)


def test_any_of_a_sinkholed_name_gets_all_its_records(plane: Plane) -> None:
    answer = blocked(plane, "sink.example", "ANY")
    assert {section.rdtype for section in answer.answer} == {dns.rdatatype.A, dns.rdatatype.AAAA}


def test_local_data_keeps_its_types_and_ttls(plane: Plane) -> None:
    answer = blocked(plane, "local.example")
    assert [section.to_text() for section in answer.answer] == ["local.example. 300 IN A 192.0.2.99"]
    assert blocked(plane, "local.example", "TXT").answer[0].to_text() == 'local.example. 30 IN TXT "hello"'
    assert soa(blocked(plane, "local.example", "AAAA")) == SOA


@pytest.mark.parametrize("name", ["tcponly.example", "chase.example"])
def test_what_is_answered_over_tcp_only_is_truncated_over_udp(plane: Plane, name: str) -> None:
    answer = blocked(plane, name, edns=0)
    assert answer.flags & dns.flags.TC
    assert not answer.answer + answer.authority
    assert answer.rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(("edns", "payload"), [(-1, 0), (0, 512), (0, 1232), (0, 65535)])
def test_local_data_that_does_not_fit_is_truncated_whole(plane: Plane, edns: int, payload: int) -> None:
    answer = blocked(plane, "large.example", "TXT", edns=edns, payload=payload)
    assert answer.flags & dns.flags.TC
    assert not answer.answer


def test_an_answer_is_truncated_just_when_it_no_longer_fits() -> None:
    """Header, question, one record of the size tried, and the OPT that every answer leaves room for."""
    for size in range(420, 470):
        record = Action(ActionKind.LOCAL_DATA, (LocalRecord(16, 60, bytes(size)),))
        snapshot = make_snapshot([(definition(0), compile_entries([entry("a.example", record)]))], [profile(rule("c"))])
        with Plane(snapshot) as plane:
            found = plane.ask(query("a.example", "TXT", edns=0, payload=512)) or b""
        fits = 12 + len(wire("a.example")) + 4 + 12 + size + 11 <= 512
        assert (found[2] & 2 == 0) is fits
        assert len(found) <= 512


def test_the_text_of_the_error_gives_way_where_there_is_no_room() -> None:
    """The longest name, 512 octets, and a clause of any length: first the text goes, then nothing else."""
    name = ".".join(["x" * 63] * 3 + ["y" * 61])
    for length in (0, 1, 100, 200, 300):
        snapshot = make_snapshot([(definition(0), compile_entries([entry(name)]))], [profile(rule("c" * length))])
        with Plane(snapshot) as plane:
            answer = blocked(plane, name, edns=0, payload=512)
        assert soa(answer) == SOA
        assert errors(answer) == [(15, "c" * length or None if length < 200 else None)]


def test_the_clients_own_spelling_comes_back(plane: Plane) -> None:
    """0x20: a client may check every bit of the question it sent."""
    packet = query("SeCoNd.ExAmPlE")
    found = plane.ask(packet)
    assert found is not None
    assert found[12:28] == packet[12:28]


@pytest.mark.parametrize(("flags", "expected"), [(0x0100, 0x0100), (0x0000, 0), (0x0110, 0x0110), (0x0120, 0x0100), (0x0640, 0x0000)])
def test_rd_and_cd_are_copied_and_nothing_else_of_the_flags(plane: Plane, flags: int, expected: int) -> None:
    packet = bytearray(query("nodata.example"))
    packet[2:4] = flags.to_bytes(2, "big")
    found = plane.ask(bytes(packet))
    assert found is not None
    assert int.from_bytes(found[2:4], "big") == 0x8080 | expected


def test_a_stranger_is_refused_as_prohibited_and_learns_nothing_of_the_lists(plane: Plane) -> None:
    for name in ("bad.example", "good.example"):
        answer = blocked(plane, name, source=STRANGER, edns=0)
        assert (answer.rcode(), errors(answer), answer.authority) == (dns.rcode.REFUSED, [(18, None)], [])
    assert plane.steps() == {"source": 2}
    assert plane.total(Counter.HITS) == 0


def test_nbnet_22_2_5_a_silenced_customer_gets_no_answer_to_anything(plane: Plane) -> None:
    assert [plane.ask(query(name), SILENCED) for name in ("bad.example", "good.example")] == [None, None]
    assert not plane.asked()
    assert plane.steps() == {"silenced": 2}


def test_gunma_19_2_a_flooding_customer_is_dropped_until_tokens_come_back(plane: Plane) -> None:
    """Ten a second, two at once."""
    for _ in range(5):
        plane.ask(query("good.example"), BUDGET)
    assert plane.steps() == {"budget": 3, "forward": 2}
    assert int(plane.counts.rules[1].sum()) == 3, f"counted under {BUDGET_CLAUSE}"
    plane.now += SECOND // 10
    plane.ask(query("good.example"), BUDGET)
    plane.ask(query("good.example"), BUDGET)
    assert plane.steps() == {"budget": 4, "forward": 3}


def test_where_the_rule_says_so_a_flooding_customer_is_sent_to_tcp(plane: Plane) -> None:
    for _ in range(2):
        plane.ask(query("good.example"), TRUNCATING)
    answer = blocked(plane, "good.example", source=TRUNCATING, edns=0)
    assert answer.flags & dns.flags.TC
    assert plane.total(Counter.TRUNCATED) == 1


def test_one_customers_flood_takes_nothing_from_another(plane: Plane) -> None:
    for _ in range(50):
        plane.ask(query("good.example"), BUDGET)
    plane.ask(query("good.example"), TRUNCATING)
    assert plane.steps()["forward"] == 3
