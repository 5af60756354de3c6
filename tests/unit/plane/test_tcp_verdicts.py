"""What each customer is answered over TCP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.model.counters import Counter
from sekisho.snapshot import layout
from sekisho.snapshot.people import fields_of
from support.tcp import (
    ALLOWED,
    BUDGET,
    CLAUSE,
    CUSTOMER,
    GARDENED,
    GROUNDS,
    SILENCED,
    STRANGER,
    TRUNCATING,
    Checkpoint,
    Resolver,
    asking,
    make_context,
    query,
    respond,
    serving,
)

# Uncompiled, NumPy tells of every sum of a hash that wraps round, as it should.
pytestmark = [pytest.mark.uncompiled, pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")]


@pytest.fixture
def context(tmp_path: Path) -> TcpContext:
    return make_context(tmp_path)


def checkpoint(context: TcpContext, story: Callable[[Checkpoint, Resolver], Awaitable[Any]], *, host: str = "127.0.0.1") -> None:
    """Run a story with an honest resolver behind the checkpoint."""

    async def run() -> None:
        async with Resolver().running() as resolver, serving(context, [resolver.address], TcpSettings(idle=60, timeout=60), host) as point:
            await story(point, resolver)

    asyncio.run(run())


def errors(message: dns.message.Message) -> list[tuple[int, str | None]]:
    return [(int(option.code), option.text) for option in message.options if isinstance(option, dns.edns.EDEOption)]


def test_a_name_no_list_holds_is_answered_by_the_resolver(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("www.example.com")
        assert answer.answer[0].to_text() == "www.example.com. 300 IN A 198.51.100.7"
        assert answer.flags & dns.flags.RA
        assert point.verdicts() == {"forward": 1}
        assert point.count(Counter.QUERIES_TCP4) == point.count(Counter.TCP_CONNECTIONS) == 1
        assert point.count(Counter.UPSTREAM_SENT) == point.count(Counter.UPSTREAM_ANSWERED) == 1
        assert context.desk["latency"].sum() == 1

    checkpoint(context, story)


def test_a_blocked_name_is_answered_with_the_clause_and_recorded_once(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("C2.bad.Example")
        assert answer.rcode() == dns.rcode.NXDOMAIN
        assert errors(answer) == [(15, CLAUSE)]
        assert answer.authority[0].ttl == 60
        assert str(answer.question[0].name) == "C2.bad.Example."
        assert not resolver.asked
        assert point.verdicts() == {"entitled": 1}
        record = context.hits.ring[0]
        assert record[0] == context.hits.cursor[0] == 1
        assert int(record[5]) >> 24 & 0xFF == 1, "the record says TCP"
        row = int(record[2]) & 0xFFFFFFFF
        assert context.counts.customers[row, layout.COUNT_BLOCKED] == 1

    checkpoint(context, story)


def test_each_action_of_a_policy_zone_keeps_its_meaning(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert (await asker.ask("refused.example")).rcode() == dns.rcode.REFUSED
            local = await asker.ask("local.example")
            assert local.answer[0].to_text() == "local.example. 60 IN A 192.0.2.1"
            for name in ("tcponly.example", "pass.example"):
                assert (await asker.ask(name)).answer[0].to_text() == f"{name}. 300 IN A 198.51.100.7"
            await asker.send(query("drop.example"), query("local.example", identity=7))
            assert dns.message.from_wire(await asker.take()).id == 7, "DROP is silence, and the connection goes on"
        assert point.count(Counter.PASSTHRU) == 1

    checkpoint(context, story)


def test_an_answer_far_larger_than_a_datagram_is_not_truncated(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("large.example", "TXT")
        assert not answer.flags & dns.flags.TC
        assert len(answer.answer[0]) == 20

    checkpoint(context, story)


def test_a_strangers_query_is_refused_and_the_connection_closed(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port, STRANGER) as asker:
            answer = await asker.ask("www.example.com")
            assert answer.rcode() == dns.rcode.REFUSED
            assert errors(answer)[0][0] == 18
            assert await asker.is_closed()
        assert not resolver.asked
        assert point.verdicts() == {"source": 1}

    checkpoint(context, story)


def test_an_allowed_network_is_served_unfiltered(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port, ALLOWED) as asker:
            assert (await asker.ask("bad.example")).answer

    checkpoint(context, story)


def test_queries_over_ipv6_are_served_and_counted_apart(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port, "::1") as asker:
            assert (await asker.ask("www.example.com")).answer
        assert (point.count(Counter.QUERIES_TCP4), point.count(Counter.QUERIES_TCP6)) == (0, 1)

    checkpoint(context, story, host="::1")


@pytest.mark.parametrize(("source", "step", "column"), [
    (SILENCED, "silenced", layout.COUNT_SILENCED),
    (BUDGET, "budget", layout.COUNT_LIMITED),
    (TRUNCATING, "budget", layout.COUNT_LIMITED),
])  # fmt: skip
def test_clause_nbnet_22_2_5_no_query_is_answered_and_the_connection_stays(
    context: TcpContext, source: str, step: str, column: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TCP a budget that asks for TC=1 is silence too: the client is where TC=1 would send it."""
    now = time.monotonic_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)  # a budget fills by the second

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port, source) as asker:
            await asker.send(*(query("local.example", identity=number) for number in range(10)))
            await point.settled(lambda: point.count(Counter.QUERIES_TCP4) == 10)
            answered = 0 if source == SILENCED else 2
            assert [dns.message.from_wire(await asker.take()).id for _ in range(answered)] == list(range(answered))
            assert point.verdicts()[step] == 10 - answered
            assert context.counts.customers[:, column].sum() == 10 - answered
            assert point.server.connections == 1
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asker.take()

    checkpoint(context, story)


def test_clause_nbnet_22_1_a_suspended_customer_is_led_to_the_notice_page_over_tcp_too(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port, GARDENED) as asker:
            for name in ("www.example.com", "bad.example"):
                answer = await asker.ask(name, edns=True)
                assert [str(one) for one in answer.answer] == [f"{name}. 10 IN A 203.0.113.80"]
                assert [(int(one.code), one.text) for one in answer.options] == [(15, GROUNDS[1])]  # type: ignore[attr-defined]
            assert not resolver.asked
            assert (await asker.ask("www.notice.test")).answer
            assert len(resolver.asked) == 1
        assert point.verdicts() == {"garden": 2, "forward": 1}
        assert context.counts.customers[:, layout.COUNT_SILENCED].sum() == 2
        assert context.counts.rules[1].tolist()[:2] == [0, 2]
        assert point.count(Counter.HITS) == 0

    checkpoint(context, story)


def test_any_is_asked_of_the_resolver(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("www.example.com", "ANY")
        assert not answer.flags & dns.flags.TC
        assert dns.message.from_wire(resolver.asked[0][1]).question[0].rdtype == 255

    checkpoint(context, story)


def test_the_resolver_is_told_do_and_cd_and_the_client_gets_back_its_own_spelling(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(query("wWw.eXaMpLe.CoM", want_dnssec=True, flags=dns.flags.CD, identity=99))
            answer = dns.message.from_wire(await asker.take())
        asked = dns.message.from_wire(resolver.asked[0][1])
        assert asked.flags & (dns.flags.CD | dns.flags.RD | dns.flags.AD) == dns.flags.CD | dns.flags.AD
        assert asked.ednsflags & dns.flags.DO
        assert (answer.id, str(answer.question[0].name)) == (99, "wWw.eXaMpLe.CoM.")
        assert answer.ednsflags & dns.flags.DO
        assert answer.flags & dns.flags.CD
        async with asking(point.port) as asker:
            assert (await asker.ask("www.example.com", edns=False)).edns == -1

    checkpoint(context, story)


HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
QUESTION = b"\x03www\x07example\x00\x00\x01\x00\x01"
MALFORMED = {
    "no question": (b"\x12\x34\x01\x00" + bytes(8), 1),
    "two questions": (b"\x12\x34\x01\x00\x00\x02" + bytes(6) + QUESTION * 2, 1),
    "a compression loop": (HEADER + b"\xc0\x0c\x00\x01\x00\x01", 1),
    "a name that ends nowhere": (HEADER + b"\x3fwww", 1),
    "counts that lie": (HEADER[:10] + b"\xff\xff" + QUESTION, 1),
    "bytes behind the end": (HEADER + QUESTION + b"\x00" * 60000, 1),
    "another opcode": (b"\x12\x34\x29\x00" + HEADER[4:] + QUESTION, 4),
    "a transfer": (HEADER + QUESTION[:-3] + b"\xfc\x00\x01", 5),
    "another class": (HEADER + QUESTION[:-1] + b"\x03", 5),
    "EDNS version 1": (HEADER[:11] + b"\x01" + QUESTION + b"\0\0\x29\x04\xd0\x00\x01\x00\x00\x00\x00", 16),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_query_gets_the_rcode_it_gets_over_udp(context: TcpContext, case: str) -> None:
    packet, rcode = MALFORMED[case]

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(packet)
            answer = await asker.take()
            assert answer[:2] == packet[:2]
            assert answer[3] & 15 == rcode & 15
            assert point.verdicts() == {"malformed": 1}
            assert (await asker.ask("local.example")).answer, "the connection goes on"

    checkpoint(context, story)


def test_a_response_is_met_with_silence_and_less_than_a_header_ends_the_connection(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(respond(query("local.example")), query("local.example", identity=5))
            assert dns.message.from_wire(await asker.take()).id == 5
            await asker.send(b"\x12\x34\x01")
            assert await asker.is_closed()
        async with asking(point.port) as asker:
            await asker.send(b"")
            assert await asker.is_closed()
        assert point.count(Counter.MALFORMED_DROPPED) == 3
        assert point.count(Counter.QUERIES_TCP4) == sum(point.verdicts().values()) == 4

    checkpoint(context, story)


def test_counts_are_published_and_tables_are_taken_when_they_change(context: TcpContext, tmp_path: Path) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert not (await asker.ask("bad.example")).answer
            snapshot, customers, *rest = context.tables
            context.tables = (snapshot, replace(customers, rows=opted_out(customers.rows)), *rest)  # type: ignore[assignment]
            assert (await asker.ask("bad.example")).answer, "opted out of everything"
        await point.settled(lambda: context.counts.totals[Counter.QUERIES_TCP4] == 2)
        assert context.counts.worker[layout.WORKER_HEARTBEAT] > 0

    checkpoint(context, story)


def opted_out(rows: Any) -> Any:
    """The customers with no list in force for any."""
    changed = rows.copy()
    fields_of(changed, layout.ROW)["mask"] = 0
    return read_only(changed)


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def test_sources_are_read_from_every_form_an_address_has() -> None:
    from sekisho.drivers.tcpclient import Source

    plain, mapped, scoped = Source("192.0.2.1", 1), Source("::ffff:192.0.2.1", 1), Source("fe80::1%lo", 1)
    assert (plain.four, plain.low) == (mapped.four, mapped.low)
    assert not scoped.four
    assert Source("2001:db8::1", 1).site == Source("2001:db8::2", 1).site
    assert Source(CUSTOMER, 1).site != Source(ALLOWED, 1).site
