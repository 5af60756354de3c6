"""One client's connection: queries in, answers out in the order they are ready (RFC 7766 sections 6.2.1.1 and 7).

Owns the framing and the patience with one client: how long it may be idle, how long one message may
take to come and an answer to go, and how many queries may be outstanding before it is not read.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

import numpy as np
import structlog

from sekisho.drivers.tcpcontext import TcpSettings
from sekisho.drivers.tcpforward import Forwarder
from sekisho.drivers.tcpupstream import Pool
from sekisho.drivers.tcpverdict import Judge, Match, Query
from sekisho.model.counters import Counter
from sekisho.model.customers import V4_MAPPED
from sekisho.plane.asking import Outcome
from sekisho.snapshot.layout import Snapshot

CHUNK = 4096
"""Bytes read at a time; between two chunks other connections have their turn."""
BUFFERED = 16384
"""Bytes of answers that may wait in this process before the client is waited for."""
UNREAD = 262144
"""Bytes of answers that may wait for one client. What is outstanding is answered when it comes, though the client does not read: 4 KiB for
each of these queries, or a few answers of 64 KiB.
"""
_WORD = (1 << 64) - 1


def report(error: BaseException) -> None:
    """Log what should not happen, by its kind alone: its text might carry what was asked. Broken connections are no news."""
    if not isinstance(error, OSError):
        structlog.get_logger().error("a TCP connection was closed by a fault in the program", error=type(error).__name__)


class Source:
    """Where a client's connection comes from."""

    def __init__(self, host: str, port: int) -> None:
        address = ipaddress.ip_address(host.partition("%")[0])
        value = V4_MAPPED | int(address) if address.version == 4 else int(address)
        self.host, self.port = host, port
        self.four = value >> 32 == V4_MAPPED >> 32
        self.high, self.low = np.uint64(value >> 64), np.uint64(value & _WORD)
        self.site = value if self.four else value >> 64
        """What counts as one stranger: an IPv4 address, an IPv6 /64."""


class Framer:
    """Cuts a stream into messages, with a time for each to come whole."""

    def __init__(self, reader: asyncio.StreamReader, settings: TcpSettings) -> None:
        self._reader, self._settings = reader, settings
        self._held = bytearray()
        self.moved = asyncio.get_running_loop().time()
        """When something last came, on the loop's clock."""

    @property
    def empty(self) -> bool:
        """Whether nothing of a message has come that is not dealt with."""
        return not self._held

    async def next(self, busy: Callable[[], bool]) -> bytes | None:
        """The next message; None at the end of the stream, or when the client was idle and not `busy`.

        Raises TimeoutError when a message did not come whole in time, OSError when the connection broke.
        """
        deadline: float | None = None
        while True:
            held = self._held
            if len(held) >= 2:
                end = 2 + int.from_bytes(held[:2], "big")
                if len(held) >= end:
                    message = bytes(held[2:end])
                    del held[:end]
                    return message
            if held and deadline is None:
                deadline = asyncio.get_running_loop().time() + self._settings.message
            data = await self._read(deadline, busy)
            if not data:
                return None
            self.moved = asyncio.get_running_loop().time()
            held += data

    async def _read(self, deadline: float | None, busy: Callable[[], bool]) -> bytes:
        await asyncio.sleep(0)
        if deadline is not None:
            async with asyncio.timeout_at(deadline):
                return await self._reader.read(CHUNK)
        while True:
            try:
                async with asyncio.timeout(self._settings.idle):
                    return await self._reader.read(CHUNK)
            except TimeoutError:
                if not busy():
                    return b""


class Client:
    """Serves one connection until it ends."""

    def __init__(
        self, judge: Judge, forwarder: Forwarder, settings: TcpSettings, source: Source,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self._judge, self._forwarder, self._settings, self._source = judge, forwarder, settings, source
        self._framer, self._writer = Framer(reader, settings), writer
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(settings.outstanding)
        self._pool: Pool | None = None
        self._reading: asyncio.Task[None] | None = None
        writer.transport.set_write_buffer_limits(high=BUFFERED)

    async def serve(self) -> None:
        """Answer what is asked, then what is outstanding, then close."""
        try:
            self._reading = asyncio.create_task(self._read_all())
            await asyncio.wait((self._reading,))
            if not self._reading.cancelled():
                self._reading.result()
            while self._tasks:
                await asyncio.wait(self._tasks)
            self._writer.close()
            async with asyncio.timeout(self._settings.write):
                await self._writer.wait_closed()
        except OSError:
            pass  # the connection broke, or a time was over
        finally:
            await self._abandon()

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing was asked for so long, and nothing is outstanding."""
        return not self._tasks and self._framer.empty and asyncio.get_running_loop().time() - self._framer.moved >= seconds

    def stop(self) -> None:
        """Take no more queries; `serve` returns when the outstanding ones are answered."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read_all(self) -> None:
        while True:
            await self._room.acquire()
            message = await self._framer.next(lambda: bool(self._tasks))
            if message is None:
                return
            outcome, answer, tables = self._judge.rule(message, self._source.high, self._source.low, four=self._source.four)
            if outcome in (Outcome.FORWARD, Outcome.CHASE):
                self._start(outcome, tables[0])
                continue
            self._room.release()
            await self._send(answer)
            if outcome in (Outcome.CLOSE, Outcome.LAST):
                return

    def _start(self, outcome: Outcome, snapshot: Snapshot) -> None:
        """Look the last query up while the next ones are read."""
        query, match = self._judge.query(), self._judge.match()
        task = asyncio.create_task(self._look_up(query, match if outcome is Outcome.CHASE else None, snapshot))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._writer.transport.abort()
            report(error)

    async def _look_up(self, query: Query, match: Match | None, snapshot: Snapshot) -> None:
        # In one: nothing here is to hold an answer that waits for the client in the connection's buffer.
        await self._send(await self._answer(query, match, snapshot))

    async def _answer(self, query: Query, match: Match | None, snapshot: Snapshot) -> bytes:
        """What the client is told; empty: nothing."""
        if self._pool is None:
            target = self._writer.get_extra_info("sockname")
            self._pool = self._forwarder.pool_for((self._source.host, self._source.port), target[:2])
        answer, told = b"", snapshot
        if match is None:
            outcome, answer, told_by = await self._forwarder.answer(self._pool, query, self._source.high, self._source.low)
            if outcome is Outcome.CHASE and told_by is not None:
                match, told = self._judge.match(), told_by
        if match is not None:
            # dnspython takes long to import, and only an alias that a list answers with needs it.
            from sekisho.drivers.tcpchase import chase  # noqa: PLC0415

            answer = await chase(self._forwarder, self._pool, told, query, match)
        return answer

    async def _send(self, answer: bytes) -> None:
        """Hand an answer to the connection. A client that does not read, and whose answers take too much room or time, is given up.

        Raises TimeoutError for the time.
        """
        if self._writer.is_closing() or not answer:
            return
        if self._writer.transport.get_write_buffer_size() + 2 + len(answer) > UNREAD:
            self._give_up()
            return
        self._writer.write(len(answer).to_bytes(2, "big") + answer)
        del answer
        if self._writer.transport.get_write_buffer_size() == 0:
            return
        try:
            async with asyncio.timeout(self._settings.write):
                await self._writer.drain()
        except OSError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._judge.count(Counter.SEND_FAILED)
        self._writer.transport.abort()

    async def _abandon(self) -> None:
        """Leave nothing behind: no task, no connection."""
        self._writer.transport.abort()
        tasks = [*self._tasks, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._pool is not None:
            await self._forwarder.leave(self._pool)
