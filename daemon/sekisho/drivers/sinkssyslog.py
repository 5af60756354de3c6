"""Events to a syslog: RFC 5424 over TCP (octet counting, RFC 6587), UDP (RFC 5426) or a Unix socket.

Syslog has no answer to a message, so each way takes the best proof there is. TCP: the other system has acknowledged
every octet and the connection still stands. UDP, Unix: the kernel took the message and knows of no error. Neither says
that it was read: a syslog that ends leaves unread what lay in its buffers. So what was taken settles only after
`SETTLES` seconds with the connection standing, and is told again if that breaks before.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import enum
import errno
import fcntl
import platform
import socket
import termios

from sekisho.config.events import SyslogTarget
from sekisho.drivers.sinks import Run, Transport
from sekisho.model.errors import SinkError
from sekisho_exporters.cloudevents import Envelope
from sekisho_exporters.syslog import Facility, message, octet_counted

BATCH = 128
SETTLES = 30.0
"""Seconds after which a syslog whose connection stands is taken to have read what it was sent; it takes milliseconds."""
_PATIENCE = 10.0
"""Seconds a connection, a name or an acknowledgement may take."""
_LOOK_EVERY = 0.002


class SyslogTransport(Transport):
    """One socket to `target`, opened with the first event and anew after a fault."""

    batch = BATCH
    settles = SETTLES

    def __init__(self, target: SyslogTarget, facility: str) -> None:
        self._target, self._facility = target, Facility[facility.upper()]
        self._hostname = platform.node()
        self._socket: socket.socket | None = None

    async def send(self, events: list[Envelope], run: Run) -> None:
        """Raises SinkError."""
        messages = await run(lambda: [message(event, self._hostname, self._facility) for event in events])
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._send(messages)
        except TimeoutError:
            self._drop()
            raise SinkError(f"{self._target} took nothing for {_PATIENCE:g} s; see that a syslog reads there") from None
        except OSError as error:
            self._drop()
            raise SinkError(f"{self._target} cannot be told ({error.strerror or error}); see that a syslog listens there") from None

    def stands(self) -> bool:
        line = _Line.STANDS if self._socket is None else _state_of(self._socket)
        if line is not _Line.STANDS:
            self._drop()
        return line is not _Line.BROKEN

    async def close(self) -> None:
        self._drop()

    async def _send(self, messages: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket = await self._connect(loop)
        opened = self._socket
        if opened.type == socket.SOCK_DGRAM:
            for one in messages:
                await loop.sock_sendall(opened, one)
        else:
            # A stream of a Unix socket has no frames of RFC 6587: its readers end messages at line ends.
            framed = [one + b"\n" if opened.family == socket.AF_UNIX else octet_counted(one) for one in messages]
            await loop.sock_sendall(opened, b"".join(framed))
            await _acknowledged(opened)
        if not _stands(opened):
            raise ConnectionResetError(errno.ECONNRESET, "the other side closed the connection")

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        if self._target.endpoint is None:
            return await _connect_unix(loop, self._target.path)
        kind = socket.SOCK_DGRAM if self._target.transport == "udp" else socket.SOCK_STREAM
        host, port = self._target.endpoint
        failure: OSError = OSError(errno.EHOSTUNREACH, "the name has no address")
        for family, kind_found, protocol, _, address in await loop.getaddrinfo(host, port, type=kind):
            opened = socket.socket(family, kind_found, protocol)
            try:
                return await _connected(loop, opened, address)
            except OSError as error:
                failure = error
        raise failure

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


async def _connect_unix(loop: asyncio.AbstractEventLoop, path: str) -> socket.socket:
    """Datagrams, as /dev/log has them; a stream where that is what listens."""
    try:
        return await _connected(loop, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), path)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
    return await _connected(loop, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


async def _connected(loop: asyncio.AbstractEventLoop, opened: socket.socket, address: object) -> socket.socket:
    try:
        opened.setblocking(False)
        await loop.sock_connect(opened, address)  # type: ignore[arg-type]  # a path, or what getaddrinfo gave
    except BaseException:
        opened.close()
        raise
    return opened


class _Line(enum.Enum):
    STANDS = enum.auto()
    CLOSED = enum.auto()
    """In order: all it had taken was read, or its kernel would have reset the connection (RFC 2525 section 2.17)."""
    BROKEN = enum.auto()


def _state_of(opened: socket.socket) -> _Line:
    if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return _Line.BROKEN
    if opened.type == socket.SOCK_DGRAM:
        return _Line.STANDS
    try:
        while opened.recv(4096, socket.MSG_DONTWAIT):
            pass  # a syslog has nothing to say
    except BlockingIOError:
        return _Line.STANDS
    except OSError:
        return _Line.BROKEN
    return _Line.CLOSED


def _stands(opened: socket.socket) -> bool:
    """Whether the socket has no error and the other side has not closed it."""
    return _state_of(opened) is _Line.STANDS


async def _acknowledged(opened: socket.socket) -> None:
    """Wait until the other system has acknowledged all that was sent (SIOCOUTQ)."""
    waiting = array.array("i", [0])
    while True:
        with contextlib.suppress(OSError):
            fcntl.ioctl(opened, termios.TIOCOUTQ, waiting)
        if not waiting[0] or not _stands(opened):
            return
        await asyncio.sleep(_LOOK_EVERY)
