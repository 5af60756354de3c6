"""The demo's built-in upstream answers for reserved names alone."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from sekisho.app.upstream import UDP_PAYLOAD, Upstream, respond


def ask(name: str, rdtype: str = "A", **options) -> dns.message.Message:
    limit = options.pop("limit", None)
    packet = respond(dns.message.make_query(name, rdtype, **options).to_wire(), limit=limit)
    assert packet is not None
    return dns.message.from_wire(packet)


@pytest.mark.parametrize("name", ["www.example.com", "shop.example", "a.b.test", "x.invalid", "EXAMPLE.com"])
@pytest.mark.parametrize("rdtype", ["A", "AAAA", "TXT", "MX"])
def test_reserved_names_have_addresses_text_and_mail(name: str, rdtype: str) -> None:
    answer = ask(name, rdtype)
    assert answer.rcode() == dns.rcode.NOERROR
    assert len(answer.answer[0]) == 1
    assert answer.answer[0].name.to_text().rstrip(".") == name


def test_one_name_always_has_the_same_address_whatever_its_case() -> None:
    assert ask("www.example.com").answer[0][0] == ask("WWW.example.COM").answer[0][0]
    assert ask("www.example.com").answer[0][0] != ask("www2.example.com").answer[0][0]


def test_a_name_below_nx_does_not_exist_and_says_for_how_long() -> None:
    answer = ask("nx.example.com")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


def test_a_type_a_name_does_not_have_is_nodata() -> None:
    answer = ask("www.example.com", "SRV")
    assert answer.rcode() == dns.rcode.NOERROR
    assert not answer.answer
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


def test_anything_else_is_refused() -> None:
    assert ask("www.iana.org").rcode() == dns.rcode.REFUSED
    assert ask("version.bind", "TXT", rdclass="CH").rcode() == dns.rcode.REFUSED


def test_edns_is_answered_with_edns_and_only_then() -> None:
    assert ask("www.example.com", use_edns=0).payload == UDP_PAYLOAD
    assert ask("www.example.com", use_edns=False).edns == -1


def test_an_answer_too_long_for_the_datagram_is_truncated_and_whole_over_tcp() -> None:
    short = ask("big.example.com", "TXT", limit=1232)
    assert short.flags & dns.flags.TC
    assert not short.answer
    whole = ask("big.example.com", "TXT")
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 20


def test_what_is_no_query_gets_no_answer_or_notimp() -> None:
    assert respond(b"") is None
    assert respond(b"\0" * 11) is None
    response = dns.message.make_response(dns.message.make_query("example.com", "A"))
    assert respond(response.to_wire()) is None
    notify = dns.message.make_query("example.com", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    answer = respond(notify.to_wire())
    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == dns.rcode.NOTIMP


def test_it_answers_over_udp_and_tcp_on_one_port() -> None:
    async def talk() -> list[dns.message.Message]:
        async with Upstream() as upstream:
            query = dns.message.make_query("www.example.com", "A")
            return [
                await ask_over(query, upstream.host, port=upstream.port, timeout=60)
                for ask_over in (dns.asyncquery.udp, dns.asyncquery.tcp)
            ]

    udp, tcp = asyncio.run(talk())
    assert udp.answer == tcp.answer
