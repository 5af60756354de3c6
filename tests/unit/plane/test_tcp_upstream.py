"""Resolvers that are slow, closed, broken or lying, behind TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.rcode
import pytest

from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.drivers.tcpforward import make_question, proxy_header
from sekisho.drivers.tcpupstream import Health
from sekisho.model.counters import Counter
from support import free_port
from support.tcp import (
    CUSTOMER,
    OTHER,
    Checkpoint,
    Resolver,
    asking,
    honest,
    listen,
    make_context,
    query,
    respond,
    serving,
)

QUICK = TcpSettings(timeout=0.3, tries=2)
"""For resolvers that say nothing."""
PATIENT = TcpSettings(timeout=60.0, tries=2)


@pytest.fixture
def context(tmp_path: Path) -> TcpContext:
    return make_context(tmp_path)


def checkpoint(context: TcpContext, story: Callable[..., Awaitable[Any]], *resolvers: Resolver, settings: TcpSettings = PATIENT) -> None:
    async def run(started: tuple[Resolver, ...], rest: tuple[Resolver, ...]) -> None:
        if rest:
            async with rest[0].running() as one:
                await run((*started, one), rest[1:])
            return
        async with serving(context, [one.address for one in started], settings) as point:
            await story(point, *started)

    asyncio.run(run((), resolvers))


async def silent(_resolver: Resolver, _number: int, _asked: bytes) -> Iterable[bytes]:
    return ()


async def closing(_resolver: Resolver, _number: int, _asked: bytes) -> None:
    return None


class Once:
    """Answers one query of each connection and closes it at the next."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    async def __call__(self, resolver: Resolver, number: int, asked: bytes) -> Iterable[bytes] | None:
        if number in self._seen:
            return None
        self._seen.add(number)
        return await honest(resolver, number, asked)


def is_network_error(answer: dns.message.Message) -> bool:
    codes = [option.code for option in answer.options if isinstance(option, dns.edns.EDEOption)]
    return answer.rcode() == dns.rcode.SERVFAIL and codes == [23]


def test_servfail_says_why_when_no_resolver_answers(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert is_network_error(await asker.ask("www.example.com"))
            assert (await asker.ask("bad.example")).rcode() == dns.rcode.NXDOMAIN, "policy needs no resolver"
        assert point.count(Counter.UPSTREAM_TIMEOUTS) == 2
        assert point.count(Counter.UPSTREAM_SERVFAIL) == 1

    checkpoint(context, story, Resolver(silent), settings=QUICK)


def test_the_next_resolver_is_asked_when_one_is_silent_and_soon_it_is_passed_over(context: TcpContext) -> None:
    async def story(point: Checkpoint, first: Resolver, second: Resolver) -> None:
        async with asking(point.port) as asker:
            for _ in range(4):
                assert (await asker.ask("www.example.com")).answer
        assert point.count(Counter.UPSTREAM_FAILOVERS) == 3
        assert (len(first.asked), len(second.asked)) == (3, 4)

    checkpoint(context, story, Resolver(silent), Resolver(), settings=TcpSettings(timeout=0.5))


def test_a_closed_port_fails_over_at_once(context: TcpContext) -> None:
    async def run() -> None:
        async with Resolver().running() as second, serving(context, [("127.0.0.1", free_port()), second.address], PATIENT) as point:
            async with asyncio.timeout(30), asking(point.port) as asker:
                assert (await asker.ask("www.example.com")).answer
            assert point.count(Counter.UPSTREAM_TIMEOUTS) == 0

    asyncio.run(run())


def test_a_resolver_that_closed_an_idle_connection_is_asked_again_on_a_new_one(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            for _ in range(3):
                assert (await asker.ask("www.example.com")).answer
        assert point.count(Counter.UPSTREAM_SERVFAIL) == point.count(Counter.UPSTREAM_FAILOVERS) == 0

    checkpoint(context, story, Resolver(Once()))


def test_a_resolver_that_answers_one_query_a_connection_serves_pipelined_clients(context: TcpContext) -> None:
    """What was outstanding when it closed is asked again, each on a connection of its own."""

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(*(query(f"n{number}.example.com", identity=number) for number in range(20)))
            answers = [dns.message.from_wire(await asker.take()) for _ in range(20)]
        assert {answer.id for answer in answers} == set(range(20))
        assert all(answer.answer for answer in answers)

    checkpoint(context, story, Resolver(Once()))


def test_a_resolver_that_closes_whenever_it_is_asked_costs_a_servfail_and_no_more(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert is_network_error(await asker.ask("www.example.com"))
        assert len(resolver.asked) == 4, "two tries, each once more on a new connection"

    checkpoint(context, story, Resolver(closing))


LIES = {
    "another question": lambda asked: respond(query("other.example.com", identity=int.from_bytes(asked[:2], "big"))),
    "a query": lambda asked: asked,
    "no question": lambda asked: asked[:2] + b"\x80\x00" + bytes(8),
    "records cut short": lambda asked: respond(asked, "@ 60 IN A 198.51.100.1")[:-20],
    "less than a header": lambda asked: asked[:4],
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_to_something_else_is_not_believed(context: TcpContext, lie: str) -> None:
    async def lying(_resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
        return (LIES[lie](asked),)

    async def story(point: Checkpoint, first: Resolver, second: Resolver) -> None:
        async with asking(point.port) as asker:
            answer = await asker.ask("www.example.com")
        assert answer.answer[0][0].to_text() == "198.51.100.7"
        assert point.count(Counter.UPSTREAM_MISMATCHED) == 1
        assert len(second.asked) == 1

    checkpoint(context, story, Resolver(lying), Resolver())


def test_an_answer_with_an_id_nobody_waits_for_is_counted_and_passed_over(context: TcpContext) -> None:
    async def chatty(_resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
        stray = (int.from_bytes(asked[:2], "big") ^ 1).to_bytes(2, "big")
        return stray + respond(asked, "@ 1 IN A 203.0.113.1")[2:], b"", b"x", respond(asked, "@ 60 IN A 198.51.100.1")

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert (await asker.ask("www.example.com")).answer[0][0].to_text() == "198.51.100.1"
        assert point.count(Counter.UPSTREAM_MISMATCHED) == 3

    checkpoint(context, story, Resolver(chatty))


def test_a_connection_on_which_nothing_comes_is_left_for_a_new_one(context: TcpContext) -> None:
    async def deaf(resolver: Resolver, number: int, asked: bytes) -> Iterable[bytes]:
        return () if number == 1 else await honest(resolver, number, asked)

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert (await asker.ask("www.example.com")).answer
        assert resolver.connections == 2

    checkpoint(context, story, Resolver(deaf), settings=TcpSettings(timeout=1.0, tries=2))


def test_many_clients_share_a_few_connections(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async def client(number: int) -> None:
            async with asking(point.port, CUSTOMER if number % 2 else OTHER) as asker:
                await asker.send(*(query(f"n{number}.example.com", identity=one) for one in range(20)))
                for _ in range(20):
                    assert dns.message.from_wire(await asker.take()).answer

        await asyncio.gather(*(client(number) for number in range(10)))
        assert resolver.connections <= 4

    checkpoint(context, story, Resolver())


def test_an_idle_connection_to_a_resolver_is_closed(context: TcpContext) -> None:
    closed = asyncio.Event()

    class Watching(Resolver):
        async def _listen(self, *args: Any) -> None:
            await super()._listen(*args)
            closed.set()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            assert (await asker.ask("www.example.com")).answer
            async with asyncio.timeout(60):
                await closed.wait()
            assert (await asker.ask("www.example.com")).answer
        assert resolver.connections == 2

    checkpoint(context, story, Watching(), settings=TcpSettings(timeout=60.0, upstream_idle=0.1))


def test_too_many_queries_outstanding_in_all_are_not_kept_waiting(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(*(query("www.example.com", identity=number) for number in range(3)))
            assert is_network_error(dns.message.from_wire(await asker.take()))
        assert point.count(Counter.PENDING_FULL) == 1

    checkpoint(context, story, Resolver(silent), settings=TcpSettings(pending=2))


def test_a_resolver_that_is_told_who_asks_has_a_connection_for_each_client(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        for source in (CUSTOMER, OTHER):
            async with asking(point.port, source) as asker:
                assert (await asker.ask("www.example.com")).answer
                assert (await asker.ask("mail.example.com")).answer
                port = asker.writer.get_extra_info("sockname")[1]
                assert resolver.headers[-1] == proxy_header((source, port), ("127.0.0.1", point.port))
        assert resolver.connections == 2
        await point.settled(lambda: not resolver.tasks)

    checkpoint(context, story, Resolver(header=28), settings=TcpSettings(timeout=60.0, proxy_protocol=True))


def test_the_proxy_header_is_the_protocols() -> None:
    signature = bytes.fromhex("0d0a0d0a000d0a515549540a")
    assert proxy_header(("192.0.2.1", 256), ("198.51.100.1", 53)) == signature + bytes.fromhex("2111000cc0000201c633640101000035")
    six = proxy_header(("2001:db8::1%eth0", 1), ("2001:db8::2", 53))
    assert six[12:16] == bytes.fromhex("21210024")
    assert len(six) == 52
    assert proxy_header(("::ffff:192.0.2.1", 256), ("::ffff:198.51.100.1", 53)) == proxy_header(("192.0.2.1", 256), ("198.51.100.1", 53))
    assert proxy_header(("192.0.2.1", 1), ("2001:db8::2", 53))[16:32] == bytes(10) + b"\xff\xff\xc0\x00\x02\x01"


def test_the_question_for_a_resolver_carries_our_own_opt() -> None:
    message = dns.message.from_wire(make_question(query("ExAmple.com")[:29], 0x0110, 1))
    assert str(message.question[0].name) == "ExAmple.com."
    assert (message.payload, message.ednsflags) == (1232, 0x8000)
    assert message.flags == 0x0130


def test_the_first_resolver_that_is_up_is_asked() -> None:
    health = Health(2)
    for now in range(3):
        assert health.choose(float(now)) == 0
        health.failed(0, float(now))
    assert health.choose(3.0) == 1
    assert health.choose(4.5) == 0, "after two seconds it is tried again"
    health.refused(0, 5.0)
    health.refused(1, 5.5)
    assert health.choose(6.0) == 0, "all down: the one whose turn comes first"
    assert health.choose(6.0, 0) == 1
    health.answered(1)
    assert health.choose(6.0) == 1
    assert Health(1).choose(0.0, 0) == 0


def test_a_resolver_that_accepts_and_says_nothing_is_a_time_out(context: TcpContext) -> None:
    async def run() -> None:
        with listen() as mute:
            async with serving(context, [mute.getsockname()], TcpSettings(timeout=0.1, tries=1)) as point, asking(point.port) as asker:
                assert is_network_error(await asker.ask("www.example.com"))

    asyncio.run(run())
