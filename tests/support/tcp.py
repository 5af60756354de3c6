"""DNS over TCP without the rest of the plane: tables, the server, a resolver that misbehaves on demand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rrset
import numpy as np

from sekisho.drivers.maps import Head, map_customers, map_snapshot
from sekisho.drivers.tables import CustomerRow, TableWriter
from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.drivers.tcpserver import TcpServer
from sekisho.model.clauses import BlockRule, Ede, NoticeTime, OptOut, Profile, Record
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, ListDefinition, ListFormat, LocalRecord
from sekisho.plane.worker import make_desk
from sekisho.snapshot import layout
from sekisho.snapshot.build import Garden, build
from sekisho.snapshot.digest import digest_name, key_of
from sekisho.snapshot.entries import CompiledList

KEY = key_of(bytes(range(16)))
ALLOWED, CUSTOMER, BUDGET, TRUNCATING, SILENCED, OTHER, GARDENED, STRANGER = (f"127.0.0.{last}" for last in (1, 2, 3, 4, 5, 6, 7, 9))
GROUNDS = ("nbnet/22-2-5", "nbnet/22-1")
GARDEN = Garden(Action(ActionKind.SINKHOLE, (LocalRecord(1, 10, bytes((203, 0, 113, 80))),)), (b"\6notice\4test\0",))
CLAUSE = "gunma/別記-1"
RULE = BlockRule(CLAUSE, ("c2",), None, OptOut.CUSTOMER, True, (), NoticeTime.NONE, Ede.BLOCKED, Record((), 1))


def wire(name: str) -> bytes:
    """A name in wire form."""
    return dns.name.from_text(name).to_wire() or b""


def alias(target: str) -> Action:
    return Action(ActionKind.CHASE, (LocalRecord(5, 30, wire(target)),))


LONG = ".".join(["x" * 60] * 3)
ENTRIES: dict[str, Action | None] = {
    "bad.example": None,
    "drop.example": Action(ActionKind.DROP),
    "refused.example": Action(ActionKind.REFUSED),
    "tcponly.example": Action(ActionKind.TCP_ONLY),
    "pass.example": Action(ActionKind.PASSTHRU),
    "chase.example": alias("target.test"),
    "wild.example": alias("*.garden.test"),
    "toolong.example": alias(f"*.{LONG}.test"),
    "local.example": Action(ActionKind.LOCAL_DATA, (LocalRecord(1, 60, bytes((192, 0, 2, 1))),)),
    "large.example": Action(
        ActionKind.LOCAL_DATA, tuple(LocalRecord(16, 60, bytes((200,)) + bytes((65 + row,)) * 200) for row in range(20))
    ),
}
"""What the one list, an RPZ of category c2, says; sub-trees are held too."""


def make_list(entries: dict[str, Action | None]) -> CompiledList:
    actions = [action for action in entries.values() if action is not None]
    numbers = [0 if action is None else actions.index(action) + 1 for action in entries.values()]
    digests = np.array([digest_name(wire(name), KEY) for name in entries], np.uint64)
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    column = np.array(numbers, np.uint32)[order]
    depths = np.array([name.count(".") + 1 for name in entries], np.uint8)[order]
    return CompiledList(digests[order], np.full(len(entries), 3, np.uint8), column, column.copy(), depths, tuple(actions))


def make_context(folder: Path) -> TcpContext:
    """Tables of a handful of customers under one clause, as the plane maps them."""
    writer = TableWriter(folder)
    people = [
        ("customer", CUSTOMER, {}),
        ("budget", BUDGET, {"budget_rate": 1, "budget_burst": 2}),
        ("truncating", TRUNCATING, {"budget_rate": 1, "budget_burst": 2, "over_truncate": True}),
        ("silenced", SILENCED, {"silenced": True, "measure": 1}),
        ("gardened", GARDENED, {"garden": True, "measure": 2}),
        ("other", OTHER, {}),
    ]
    rows = [CustomerRow(name, (Prefix.parse(address),), 1, 0, **extra) for name, address, extra in people]  # type: ignore[arg-type]
    writer.replace_customers(rows, [Prefix.parse(ALLOWED), Prefix.parse("::1/128")], 10)
    definition = ListDefinition("policy", 0, "c2", "policy.zone", ListFormat.RPZ)
    profile = Profile(("gunma",), (RULE, *(None,) * 63), None)
    writer.publish_snapshot(build(1, [(definition, make_list(ENTRIES))], [profile], [], KEY, grounds=GROUNDS, garden=GARDEN), 1)
    head = Head(folder)
    snapshot, customers = map_snapshot(folder, head.epoch, KEY), map_customers(folder, head.generation)
    counts: Any = layout.Counts(**layout.empty_counts(customers.rows))  # type: ignore[arg-type]
    hits = layout.Hits(**layout.empty_hits())
    tables = (snapshot.tables, customers.tables, np.zeros(customers.rows, np.uint64), KEY, snapshot.epoch)
    return TcpContext(tables, counts, hits, make_desk())


def listen(host: str = "127.0.0.1", send_buffer: int = 0) -> socket.socket:
    """A listening socket on a port of the kernel's choice. `send_buffer`: what the kernel holds of a connection's answers; 0: as it likes."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if send_buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    one.bind((host, 0))
    one.listen(100)
    return one


@dataclass
class Checkpoint:
    server: TcpServer
    context: TcpContext
    port: int

    def count(self, counter: Counter) -> int:
        return int(self.context.desk["totals"][counter])

    def verdicts(self) -> dict[str, int]:
        """The steps that decided, those that did."""
        steps = [counter for counter in Counter if counter.name.startswith("STEP_")]
        return {counter.name[5:].lower(): self.count(counter) for counter in steps if self.count(counter)}

    async def settled(self, condition: Callable[[], object]) -> None:
        """Wait until something that the server does by itself is done."""
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serving(
    context: TcpContext,
    upstreams: Sequence[tuple[str, int]],
    settings: TcpSettings | None = None,
    host: str = "127.0.0.1",
    send_buffer: int = 0,
) -> AsyncIterator[Checkpoint]:
    server = TcpServer(context, upstreams, settings)
    one = listen(host, send_buffer)
    port = one.getsockname()[1]
    await server.start([one])
    try:
        yield Checkpoint(server, context, port)
    finally:
        await server.stop()


class Asker:
    """A client's connection that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, source: str = CUSTOMER) -> Asker:
        host = "::1" if ":" in source else "127.0.0.1"
        return cls(*await asyncio.open_connection(host, port, local_addr=(source, 0)))

    async def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(len(message).to_bytes(2, "big") + message for message in messages))
        await self.writer.drain()

    async def take(self) -> bytes:
        async with asyncio.timeout(60):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def ask(self, name: str, rdtype: str = "A", **options: Any) -> dns.message.Message:
        await self.send(query(name, rdtype, **options))
        return dns.message.from_wire(await self.take())

    async def is_closed(self) -> bool:
        """Whether the server closes, without a further word."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def asking(port: int, source: str = CUSTOMER) -> AsyncIterator[Asker]:
    asker = await Asker.connect(port, source)
    try:
        yield asker
    finally:
        await asker.close()


def query(name: str, rdtype: str = "A", *, edns: bool = True, identity: int | None = None, **options: Any) -> bytes:
    return dns.message.make_query(name, rdtype, use_edns=0 if edns else -1, id=identity, **options).to_wire()


def respond(asked: bytes, *records: str, rcode: int = 0) -> bytes:
    """An answer with records in zone file form (`name ttl class type rdata`); the question's own name where it is `@`."""
    message = dns.message.from_wire(asked)
    answer = dns.message.make_response(message, recursion_available=True)
    answer.set_rcode(rcode)  # type: ignore[arg-type]
    for record in records:
        name, ttl, rdclass, rdtype, rdata = record.split(" ", 4)
        owner = message.question[0].name if name == "@" else dns.name.from_text(name)
        answer.answer.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    return answer.to_wire(max_size=65535)


Behaviour = Callable[["Resolver", int, bytes], Awaitable[Iterable[bytes] | None]]
"""From the number of the connection and the query to the messages to send; None closes the connection."""


async def honest(_resolver: Resolver, _number: int, asked: bytes) -> Iterable[bytes]:
    return (respond(asked, "@ 300 IN A 198.51.100.7"),)


@dataclass
class Resolver:
    """A resolver of the test's own. Each query is dealt with by a task, so answers overtake one another."""

    behave: Behaviour = honest
    header: int = 0
    """Bytes of the PROXY header each connection starts with."""
    asked: list[tuple[int, bytes]] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Resolver]:
        server = await asyncio.start_server(self._serve, sock=listen())
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._run(self._listen(self.connections, reader, writer))

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _listen(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.headers.append(await reader.readexactly(self.header))
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                asked = await reader.readexactly(size)
                self.asked.append((number, asked))
                self._run(self._answer(number, asked, writer))
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, number: int, asked: bytes, writer: asyncio.StreamWriter) -> None:
        messages = await self.behave(self, number, asked)
        if messages is None:
            writer.close()
            return
        for message in messages:
            writer.write(len(message).to_bytes(2, "big") + message)
