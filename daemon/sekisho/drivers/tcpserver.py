"""DNS over TCP (RFC 7766): an asyncio server beside the compiled UDP workers, in the same process.

Owns the listening sockets' connections: how many there may be in all, for one customer and of
strangers, and their orderly end. What is answered is the compiled functions' (`tcpverdict`). It is slower
than UDP by an order of magnitude and has no cache: TCP is for what UDP sent here, and for those who insist.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter as Tally
from collections.abc import Hashable, Sequence

from sekisho.drivers.listeners import BACKLOG
from sekisho.drivers.tcpclient import CHUNK, Client, Source, report
from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.drivers.tcpforward import Forwarder
from sekisho.drivers.tcpverdict import Judge
from sekisho.model.counters import Counter
from sekisho.snapshot.layout import ALLOWED

_STRANGERS = "strangers"


class TcpServer:
    """Serves DNS over TCP on sockets that listen already.

    `upstreams`: the resolvers in the order they are tried, as address and port. All methods belong to one event loop.
    """

    def __init__(self, context: TcpContext, upstreams: Sequence[tuple[str, int]], settings: TcpSettings | None = None) -> None:
        self._settings = settings or TcpSettings()
        self._judge = Judge(context)
        self._forwarder = Forwarder(self._judge, upstreams, self._settings)
        self._servers: list[asyncio.Server] = []
        self._clients: dict[asyncio.Task[None], Client] = {}
        self._held: Tally[Hashable] = Tally()
        self._publisher: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """Clients' connections that are open."""
        return len(self._clients)

    def compile(self) -> None:
        """Compile what queries will need, or bring it from the cache; `start` does it too. Takes seconds without a cache."""
        self._judge.compile()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept on the sockets, which become the server's."""
        await asyncio.to_thread(self._judge.compile)
        self._publisher = asyncio.create_task(self._publish())
        for one in sockets:
            self._servers.append(await asyncio.start_server(self._accept, sock=one, limit=2 * CHUNK, backlog=BACKLOG))

    def leave(self) -> None:
        """Accept no more, for another process does, and close the connections on which nothing is asked; call it again and again."""
        for server in self._servers:
            server.close()
        for client in self._clients.values():
            if client.is_quiet(self._settings.quiet):
                client.stop()

    async def stop(self) -> None:
        """Accept no more, answer what is outstanding while the grace lasts, close everything, publish the counts."""
        for server in self._servers:
            server.close()
        for client in self._clients.values():
            client.stop()
        if self._clients:
            await asyncio.wait(self._clients, timeout=self._settings.grace)
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._forwarder.close()
        if self._publisher is not None:
            self._publisher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publisher
        self._judge.publish()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if peer is None:  # gone before it was taken
            writer.transport.abort()
            return
        source = Source(*peer[:2])
        holders = self._holders(source)
        if self._is_full(holders):
            self._judge.count(Counter.TCP_REJECTED)
            writer.transport.abort()
            return
        self._judge.count(Counter.TCP_CONNECTIONS)
        client = Client(self._judge, self._forwarder, self._settings, source, reader, writer)
        self._held.update(holders)
        task = asyncio.create_task(client.serve())
        self._clients[task] = client
        task.add_done_callback(lambda done: self._ended(done, holders))

    def _holders(self, source: Source) -> tuple[Hashable, ...]:
        """On whose account a connection goes: the customer's, or the address's; strangers have one together besides."""
        row = self._judge.owner(source.high, source.low)
        if row > ALLOWED:
            return (row,)
        address = (source.four, source.site)
        return (address,) if row == ALLOWED else (address, _STRANGERS)

    def _is_full(self, holders: tuple[Hashable, ...]) -> bool:
        settings = self._settings
        limits = (settings.per_customer, max(1, settings.connections // 4))
        return len(self._clients) >= settings.connections or any(
            self._held[holder] >= limit for holder, limit in zip(holders, limits, strict=False)
        )

    def _ended(self, task: asyncio.Task[None], holders: tuple[Hashable, ...]) -> None:
        del self._clients[task]
        self._held.subtract(holders)
        for holder in holders:
            if not self._held[holder]:
                del self._held[holder]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            report(error)

    async def _publish(self) -> None:
        while True:
            self._judge.publish()
            await asyncio.sleep(self._settings.publish)
