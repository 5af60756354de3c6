"""How much of the server one client can hold: connections, queries, time, memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message
import pytest

from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.model.counters import Counter
from support.tcp import ALLOWED, CUSTOMER, OTHER, STRANGER, Asker, Checkpoint, Resolver, asking, make_context, query, respond, serving


@pytest.fixture
def context(tmp_path: Path) -> TcpContext:
    return make_context(tmp_path)


def checkpoint(
    context: TcpContext,
    settings: TcpSettings,
    story: Callable[[Checkpoint, Resolver], Awaitable[Any]],
    resolver: Resolver | None = None,
    send_buffer: int = 0,
) -> None:
    async def run() -> None:
        patient = replace(settings, timeout=60.0)  # resolvers here answer when they are told to
        async with (
            (resolver or Resolver()).running() as behind,
            serving(context, [behind.address], patient, send_buffer=send_buffer) as point,
        ):
            await story(point, behind)

    asyncio.run(run())


class Gate:
    """A resolver's behaviour: it answers a name when it is told to."""

    def __init__(self, *records: str) -> None:
        self.records = records or ("@ 60 IN A 198.51.100.1",)
        self.open: dict[str, asyncio.Event] = {}

    async def __call__(self, _resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
        name = str(dns.message.from_wire(asked).question[0].name)
        await self.open.setdefault(name, asyncio.Event()).wait()
        return (respond(asked, *self.records),)

    def let(self, name: str) -> None:
        self.open.setdefault(name, asyncio.Event()).set()


async def full(point: Checkpoint, source: str) -> bool:
    """Whether one more connection is closed at once."""
    before = point.count(Counter.TCP_REJECTED)
    async with asking(point.port, source) as asker:
        with contextlib.suppress(ConnectionError):
            await asker.send(query("local.example"))
        try:
            await asker.take()
        except (EOFError, ConnectionError):
            assert point.count(Counter.TCP_REJECTED) == before + 1
            return True
    return False


def test_answers_overtake_one_another_on_one_connection(context: TcpContext) -> None:
    gate = Gate()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(
                query("slow.example.com", identity=1), query("quick.example.com", identity=2), query("local.example", identity=3)
            )
            assert dns.message.from_wire(await asker.take()).id == 3
            gate.let("quick.example.com.")
            assert dns.message.from_wire(await asker.take()).id == 2
            gate.let("slow.example.com.")
            assert dns.message.from_wire(await asker.take()).id == 1
        assert resolver.connections == 1, "one connection to the resolver carried both"

    checkpoint(context, TcpSettings(), story, Resolver(gate))


def test_a_connection_with_too_many_outstanding_queries_is_not_read_until_one_is_answered(context: TcpContext) -> None:
    gate = Gate()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(*(query(f"n{number}.example.com", identity=number) for number in range(10)))
            await point.settled(lambda: len(resolver.asked) == 4)
            assert point.count(Counter.QUERIES_TCP4) == 4
            gate.let("n2.example.com.")
            assert dns.message.from_wire(await asker.take()).id == 2
            await point.settled(lambda: len(resolver.asked) == 5)
            for number in range(10):
                gate.let(f"n{number}.example.com.")
            assert {dns.message.from_wire(await asker.take()).id for _ in range(9)} == set(range(10)) - {2}

    checkpoint(context, TcpSettings(outstanding=4), story, Resolver(gate))


def test_an_idle_connection_is_closed_and_one_that_waits_for_an_answer_is_not(context: TcpContext) -> None:
    gate = Gate()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(query("slow.example.com"))
            async with asking(point.port) as idle:
                assert await idle.is_closed()
            await point.settled(lambda: point.server.connections == 1)
            assert (await asker.ask("local.example")).answer, "it is still read"
            gate.let("slow.example.com.")
            assert dns.message.from_wire(await asker.take()).answer
            assert await asker.is_closed()
        await point.settled(lambda: point.server.connections == 0)

    checkpoint(context, TcpSettings(idle=0.3), story, Resolver(gate))


def test_a_client_that_sends_a_byte_now_and_then_is_dropped(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            message = query("local.example")
            dribbled = asyncio.create_task(dribble(asker, len(message).to_bytes(2, "big") + message))
            assert await asker.is_closed()
            dribbled.cancel()
            await asyncio.gather(dribbled, return_exceptions=True)
        assert point.count(Counter.QUERIES_TCP4) == 0

    async def dribble(asker: Asker, data: bytes) -> None:
        for byte in data:
            asker.writer.write(bytes((byte,)))
            await asyncio.sleep(0.05)

    checkpoint(context, TcpSettings(idle=30, message=0.3), story)


def test_a_query_cut_into_pieces_is_put_together(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            message = query("local.example")
            asker.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in len(message).to_bytes(2, "big") + message:
                asker.writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            assert dns.message.from_wire(await asker.take()).answer

    checkpoint(context, TcpSettings(), story)


def test_a_client_that_does_not_read_its_answers_is_dropped(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.bind((CUSTOMER, 0))
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, ("127.0.0.1", point.port))
        message = query("large.example", "TXT")
        flood = (len(message).to_bytes(2, "big") + message) * 5000
        with one, contextlib.suppress(ConnectionError):
            await loop.sock_sendall(one, flood)
            await point.settled(lambda: point.count(Counter.SEND_FAILED) == 1)
            await point.settled(lambda: point.server.connections == 0)

    checkpoint(context, TcpSettings(write=0.2), story)


def texts(count: int) -> list[str]:
    """Records of 262 to 265 bytes of an answer, each another."""
    return [f'@ 60 IN TXT "{number:03}{"x" * 247}"' for number in range(count)]


@pytest.mark.parametrize(("records", "given_up"), [(15, False), (240, True)], ids=["ordinary answers", "answers of 64 KiB"])
def test_what_waits_for_a_client_that_does_not_read_is_bounded_however_many_answers_come_at_once(
    context: TcpContext, records: int, *, given_up: bool
) -> None:
    """64 outstanding queries are answered when the resolver does, and 64 answers of 64 KiB would be 4 MiB of each connection."""
    gate = Gate(*texts(records))
    names = [f"n{number}.example.com" for number in range(TcpSettings().outstanding)]

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.bind((CUSTOMER, 0))
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", point.port))
        asker = Asker(*await asyncio.open_connection(sock=one, limit=2048))
        await asker.send(*(query(name, "TXT", identity=number) for number, name in enumerate(names)))
        await point.settled(lambda: len(resolver.asked) == len(names))
        for name in names:
            gate.let(f"{name}.")
        if given_up:
            await point.settled(lambda: point.count(Counter.SEND_FAILED))
            await point.settled(lambda: point.server.connections == 0)
        else:
            await point.settled(lambda: point.count(Counter.UPSTREAM_ANSWERED) == len(names))
            assert {dns.message.from_wire(await asker.take()).id for _ in names} == set(range(len(names)))
            assert point.count(Counter.SEND_FAILED) == 0
        await asker.close()

    # Nobody is given up for the time it takes.
    checkpoint(context, TcpSettings(write=600.0), story, Resolver(gate), send_buffer=4096)


def test_one_customer_cannot_take_the_connections_of_another(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as first, asking(point.port):
            await first.ask("local.example")
            await point.settled(lambda: point.server.connections == 2)
            assert await full(point, CUSTOMER)
            assert not await full(point, OTHER)
            assert not await full(point, ALLOWED)
        await point.settled(lambda: point.server.connections == 0)
        assert not await full(point, CUSTOMER), "what was closed may be opened again"

    checkpoint(context, TcpSettings(per_customer=2), story)


def test_strangers_together_hold_a_quarter_of_the_connections_at_most(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port, STRANGER), asking(point.port, "127.0.0.10"):
            await point.settled(lambda: point.server.connections == 2)
            assert await full(point, "127.0.0.11")
            assert not await full(point, CUSTOMER)

    checkpoint(context, TcpSettings(connections=8), story)


def test_the_connections_of_all_clients_are_limited(context: TcpContext) -> None:
    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port), asking(point.port, OTHER):
            await point.settled(lambda: point.server.connections == 2)
            assert await full(point, ALLOWED)
        assert point.count(Counter.TCP_CONNECTIONS) == 2

    checkpoint(context, TcpSettings(connections=2), story)


def test_a_client_that_has_nothing_more_to_ask_still_gets_its_answers(context: TcpContext) -> None:
    gate = Gate()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker:
            await asker.send(query("slow.example.com"))
            asker.writer.write_eof()
            await point.settled(lambda: resolver.asked)
            gate.let("slow.example.com.")
            assert dns.message.from_wire(await asker.take()).answer
            assert await asker.is_closed()

    checkpoint(context, TcpSettings(), story, Resolver(gate))


def test_a_client_that_goes_away_leaves_nothing_behind(context: TcpContext) -> None:
    gate = Gate()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        asker = await Asker.connect(point.port)
        await asker.send(*(query(f"n{number}.example.com") for number in range(5)))
        await point.settled(lambda: len(resolver.asked) == 5)
        asker.writer.transport.abort()
        await asker.close()
        for number in range(5):
            gate.let(f"n{number}.example.com.")
        await point.settled(lambda: point.server.connections == 0)
        async with asking(point.port) as other:
            assert (await other.ask("n1.example.com")).answer

    checkpoint(context, TcpSettings(), story, Resolver(gate))


def test_a_server_that_stops_answers_what_is_outstanding(context: TcpContext) -> None:
    gate = Gate()

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker, asking(point.port) as stuck:
            await asker.send(query("slow.example.com"))
            await stuck.send(query("never.example.com"))
            await point.settled(lambda: len(resolver.asked) == 2)
            stopping = asyncio.create_task(point.server.stop())
            gate.let("slow.example.com.")
            assert dns.message.from_wire(await asker.take()).answer
            await stopping
            assert await stuck.is_closed()
            assert point.server.connections == 0
            with pytest.raises(ConnectionRefusedError):
                await Asker.connect(point.port)
        assert context.counts.totals[Counter.TCP_CONNECTIONS] == 2, "published at the end"

    checkpoint(context, TcpSettings(grace=1.0), story, Resolver(gate))


def test_a_fault_in_the_program_ends_one_connection_and_is_told_without_what_was_asked(
    context: TcpContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sekisho.drivers.tcpverdict import Judge

    rule = Judge.rule

    def broken(self: Judge, message: bytes, *rest: Any, **named: Any) -> Any:
        if b"marked" in message:
            raise IndexError(message)
        return rule(self, message, *rest, **named)

    monkeypatch.setattr(Judge, "rule", broken)

    async def story(point: Checkpoint, resolver: Resolver) -> None:
        async with asking(point.port) as asker, asking(point.port) as other:
            await asker.send(query("marked.example.com"))
            assert await asker.is_closed()
            assert (await other.ask("local.example")).answer

    checkpoint(context, TcpSettings(), story)
    told = "".join(capsys.readouterr())
    assert "IndexError" in told
    assert "marked" not in told
