"""IPFIX over TCP (RFC 7011, section 10.4): messages cut out of streams and handed to the collector.

Owns the connections. A stream whose next message cannot be found is closed: nothing in it can be trusted any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Protocol

from sekisho.model.customers import V4_MAPPED

CONNECTIONS = 256
"""Exporters' connections that are open at once."""
_HEADER = 16
_VERSION = b"\x00\x0a"
_PAUSE = 0.01
_IDLE = 3600.0
"""Seconds a connection may be silent."""


class Taker(Protocol):
    """`drivers.flows.FlowCollector`."""

    def put(self, address: int, port: int, message: bytes | None) -> bool: ...


class FlowStreams:
    """Accepts exporters on `sockets` (TCP, listening) until it is closed; `is_exporter` knows addresses of the 128-bit space."""

    def __init__(self, taker: Taker, is_exporter: Callable[[int], bool]) -> None:
        self._taker, self._is_exporter = taker, is_exporter
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, sockets: list[socket.socket]) -> None:
        for one in sockets:
            self._servers.append(await asyncio.start_server(self._accept, sock=one, limit=1 << 17))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # it ended, within a message or between two
        except asyncio.CancelledError:
            pass  # we do
        finally:
            if task is not None:
                self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        address = to_number(host)
        if not self._is_exporter(address) or len(self._tasks) > CONNECTIONS:
            await self._put(address, port, b"")
            return
        try:
            while True:
                start = await asyncio.wait_for(reader.readexactly(_HEADER), _IDLE)
                length = int.from_bytes(start[2:4], "big")
                if start[:2] != _VERSION or length < _HEADER:
                    await self._put(address, port, start)  # counted for what it is
                    return
                await self._put(address, port, start + await asyncio.wait_for(reader.readexactly(length - _HEADER), _IDLE))
        finally:
            self._taker.put(address, port, None)

    async def _put(self, address: int, port: int, message: bytes) -> None:
        # As fast as the collector takes them, and no faster: TCP holds the exporter back.
        while not self._taker.put(address, port, message):  # noqa: ASYNC110 - the taker is a thread of its own
            await asyncio.sleep(_PAUSE)


def to_number(host: str) -> int:
    """An address as text in the 128-bit space, IPv4 at ::ffff:0:0/96."""
    found = ipaddress.ip_address(host.partition("%")[0])
    return int(found) if found.version == 6 else V4_MAPPED | int(found)
