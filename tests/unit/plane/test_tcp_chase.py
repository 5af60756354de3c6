"""CNAME local data of a policy zone over TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from sekisho.drivers.tcpchase import expand
from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.model.counters import Counter
from support.tcp import CLAUSE, Checkpoint, Resolver, asking, honest, make_context, respond, serving

# Uncompiled, NumPy tells of every sum of a hash that wraps round, as it should.
pytestmark = [pytest.mark.uncompiled, pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")]


@pytest.fixture
def context(tmp_path: Path) -> TcpContext:
    return make_context(tmp_path)


def checkpoint(
    context: TcpContext, story: Callable[[Checkpoint, Resolver], Awaitable[Any]], behave: Any = honest, timeout: float = 60.0
) -> None:
    async def run() -> None:
        settings = TcpSettings(timeout=timeout, tries=1)
        async with Resolver(behave).running() as resolver, serving(context, [resolver.address], settings) as point:
            await story(point, resolver)

    asyncio.run(run())


def records(answer: dns.message.Message) -> list[str]:
    return [rrset.to_text() for rrset in answer.answer]


def test_the_alias_is_answered_with_what_it_leads_to_and_counted_as_a_match(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("Sub.Chase.example", want_dnssec=True, flags=dns.flags.RD | dns.flags.CD)
        assert records(answer) == ["Sub.Chase.example. 30 IN CNAME target.test.", "target.test. 300 IN A 198.51.100.7"]
        assert str(answer.question[0].name) == "Sub.Chase.example."
        assert answer.flags & (dns.flags.RD | dns.flags.RA | dns.flags.CD | dns.flags.AD) == dns.flags.RD | dns.flags.RA | dns.flags.CD
        assert answer.ednsflags & dns.flags.DO
        assert [option.text for option in answer.options if isinstance(option, dns.edns.EDEOption)] == [CLAUSE]
        assert str(dns.message.from_wire(resolver.asked[0][1]).question[0].name) == "target.test."
        assert point.verdicts() == {"entitled": 1}
        assert point.count(Counter.HITS) == 1

    checkpoint(context, story)


@pytest.mark.parametrize("rdtype", ["CNAME", "ANY"])
def test_who_asks_for_the_alias_itself_gets_it_alone(context: TcpContext, rdtype: str) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert records(await asker.ask("chase.example", rdtype)) == ["chase.example. 30 IN CNAME target.test."]
        assert not resolver.asked

    checkpoint(context, story)


def test_a_target_with_an_asterisk_has_the_query_name_put_in(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("www.wild.example", edns=False)
        assert records(answer)[0] == "www.wild.example. 30 IN CNAME www.wild.example.garden.test."
        assert answer.edns == -1

    checkpoint(context, story)


def test_a_target_that_becomes_too_long_is_yxdomain(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("y" * 60 + ".toolong.example")
        assert answer.rcode() == dns.rcode.YXDOMAIN
        assert not answer.answer

    checkpoint(context, story)


def test_a_target_that_does_not_exist_is_nxdomain_behind_the_alias(context: TcpContext) -> None:
    async def nothing(_resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
        return (respond(asked, rcode=dns.rcode.NXDOMAIN),)

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("chase.example", "AAAA")
        assert answer.rcode() == dns.rcode.NXDOMAIN
        assert records(answer) == ["chase.example. 30 IN CNAME target.test."]

    checkpoint(context, story, nothing)


@pytest.mark.parametrize("rdata", [None, b"\x03abc"])
def test_a_target_that_cannot_be_resolved_is_servfail(context: TcpContext, rdata: bytes | None) -> None:
    async def broken(_resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
        if rdata is None:
            return ()
        answer = bytearray(respond(asked, "@ 60 IN A 198.51.100.1"))
        end = answer.index(bytes((198, 51, 100, 1)))
        return (bytes(answer[: end - 2]) + len(rdata).to_bytes(2, "big") + rdata[:4] + bytes(answer[end + 4 :]),)

    async def garbled(_resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
        answer = respond(asked, "@ 60 IN TXT abc")
        return (answer.replace(b"\x03abc", b"\x09abc"),)

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("chase.example", "TXT")
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert point.count(Counter.UPSTREAM_SERVFAIL) == 1

    checkpoint(context, story, broken if rdata is None else garbled, 0.3)


def test_only_a_leading_asterisk_is_replaced() -> None:
    name = dns.name.from_text("www.example.com")
    assert expand(dns.name.from_text("garden.test"), name) == dns.name.from_text("garden.test")
    assert expand(dns.name.from_text("*.garden.test"), name) == dns.name.from_text("www.example.com.garden.test")
    assert expand(dns.name.from_text("*."), name) == name
    assert expand(dns.name.from_text("a.*.test"), name) == dns.name.from_text("a.*.test")
