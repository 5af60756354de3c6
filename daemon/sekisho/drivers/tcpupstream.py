"""Connections to the resolvers: kept, shared, with many queries outstanding on each (RFC 7766 section 6.2).

Owns the framing, the random ids and the life of these connections, and which resolver is held to be
down. Which answers are believed, and what is done when none comes, is `tcpforward`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence

_FAILS_DOWN = 3
_DOWN_FOR = 2.0
_SHARE = 16
"""Queries outstanding on a connection before another one is opened."""
_FULL = 1024
"""Queries outstanding on a connection before it takes no more."""


class ClosedError(ConnectionError):
    """The resolver closed a connection while a query was outstanding on it."""


class Health:
    """Which resolver to ask: the first that is up. Three failures in a row and one is passed over for two seconds."""

    def __init__(self, count: int) -> None:
        self._fails = [0] * count
        self._down_until = [0.0] * count

    def choose(self, now: float, previous: int = -1) -> int:
        """Number of the resolver to ask; after `previous` failed, another one if there is one."""
        count = len(self._fails)
        best = min(range(count), key=lambda number: (max(now, self._down_until[number]), number))
        return (best + 1) % count if best == previous else best

    def failed(self, number: int, now: float) -> None:
        """It did not answer."""
        self._fails[number] += 1
        if self._fails[number] >= _FAILS_DOWN:
            self._down_until[number] = now + _DOWN_FOR

    def refused(self, number: int, now: float) -> None:
        """It takes no connections."""
        self._fails[number] = _FAILS_DOWN
        self._down_until[number] = now + _DOWN_FOR

    def answered(self, number: int) -> None:
        self._fails[number] = 0
        self._down_until[number] = 0.0


class Channel:
    """One connection to a resolver. Closed after `idle` seconds without a query."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float, patience: float) -> None:
        self._reader, self._writer, self._idle, self._patience = reader, writer, idle, patience
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._heard = time.monotonic()
        self.unexpected = 0
        """Messages that no query waited for."""
        self._task = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, address: tuple[str, int], header: bytes, idle: float, patience: float) -> Channel:
        """Connect and send `header` first. Raises OSError."""
        reader, writer = await asyncio.open_connection(*address)
        if header:
            writer.write(header)
        return cls(reader, writer, idle, patience)

    @property
    def usable(self) -> bool:
        return not self._task.done() and not self._writer.is_closing() and len(self._waiting) < _FULL

    @property
    def outstanding(self) -> int:
        return len(self._waiting)

    async def ask(self, message: bytes) -> bytes:
        """Send a query under an id of this connection's and wait for the answer with that id.

        The caller bounds the time. Raises ClosedError if the connection ends first.
        """
        if not self.usable:
            raise ClosedError
        identity = secrets.randbelow(65536)
        while identity in self._waiting:
            identity = (identity + 1) & 0xFFFF
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = future
        sent = time.monotonic()
        try:
            self._writer.write(len(message).to_bytes(2, "big") + identity.to_bytes(2, "big") + message[2:])
            await self._writer.drain()
            return await future
        except ClosedError:
            raise
        except ConnectionError as error:
            raise ClosedError from error
        except asyncio.CancelledError:
            # Nothing at all came for `patience` seconds since the query left: a dead connection, not a slow name.
            if self._heard < sent and time.monotonic() - sent > self._patience:
                self._writer.transport.abort()
            raise
        finally:
            del self._waiting[identity]

    async def close(self) -> None:
        self._writer.transport.abort()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _listen(self) -> None:
        try:
            while await self._take():
                pass
        except (OSError, EOFError):
            pass
        finally:
            self._writer.transport.abort()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ClosedError())
                    future.exception()  # its query may have been given up: then nobody else takes note

    async def _take(self) -> bool:
        """Take one message; False when the connection was idle for its time."""
        try:
            async with asyncio.timeout(self._idle):
                size = int.from_bytes(await self._reader.readexactly(2), "big")
        except TimeoutError:
            return bool(self._waiting)
        message = await self._reader.readexactly(size)
        self._heard = time.monotonic()
        future = self._waiting.get(int.from_bytes(message[:2], "big")) if size >= 2 else None
        if future is None or future.done():
            self.unexpected += 1
        else:
            future.set_result(message)
        return True


class Pool:
    """Connections to every resolver, for all clients, or for one where the resolver is told who asks."""

    def __init__(self, addresses: Sequence[tuple[str, int]], size: int, idle: float, patience: float, header: bytes = b"") -> None:
        self._addresses, self._size, self._header = tuple(addresses), size, header
        self._idle, self._patience = idle, patience
        self._channels: list[list[Channel]] = [[] for _ in self._addresses]
        self._opening = [asyncio.Lock() for _ in self._addresses]
        self._unexpected = 0

    async def ask(self, number: int, message: bytes) -> bytes:
        """Ask one resolver. A connection that ends without an answer is replaced once by one of the query's own.

        Raises OSError.
        """
        channel = await self._channel(number)
        try:
            return await channel.ask(message)
        except ClosedError:
            fresh = await self._open(number)
        try:
            return await fresh.ask(message)
        finally:
            await self._leave(fresh)

    def take_unexpected(self) -> int:
        """How many messages came that no query waited for, since last asked."""
        found = self._unexpected
        self._unexpected = 0
        for channels in self._channels:
            for channel in channels:
                found += channel.unexpected
                channel.unexpected = 0
        return found

    async def close(self) -> None:
        for channels in self._channels:
            while channels:
                await channels.pop().close()

    async def _channel(self, number: int) -> Channel:
        best = self._best(number)
        if best is None or (best.outstanding >= _SHARE and len(self._channels[number]) < self._size and not self._opening[number].locked()):
            async with self._opening[number]:
                best = self._best(number)
                if best is None or (best.outstanding >= _SHARE and len(self._channels[number]) < self._size):
                    best = await self._open(number)
                    self._channels[number].append(best)
        return best

    def _best(self, number: int) -> Channel | None:
        """The connection with the fewest outstanding. What ended is forgotten."""
        channels = self._channels[number]
        for channel in [one for one in channels if not one.usable and not one.outstanding]:
            channels.remove(channel)
            self._unexpected += channel.unexpected
        return min((one for one in channels if one.usable), key=lambda one: one.outstanding, default=None)

    async def _open(self, number: int) -> Channel:
        return await Channel.open(self._addresses[number], self._header, self._idle, self._patience)

    async def _leave(self, channel: Channel) -> None:
        self._unexpected += channel.unexpected
        await channel.close()
