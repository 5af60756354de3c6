"""A primary for policy zones: its sockets, its connections, and the thread all of it runs in.

Rendering and signing a large zone takes seconds of a core: it is done in a loop of its own, so that the control
plane's goes on. Zones belong to that loop: `PrimaryThread.call` is the one way to them. What is answered is
`policyanswers`', whom a change is told `policynotify`'s, from which address `policydatagrams`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import dns.name
import structlog

from sekisho.config.policyzones import PolicyZones, ResolverKind
from sekisho.drivers.listeners import bind_listeners
from sekisho.drivers.policyanswers import Allowed, Answers
from sekisho.drivers.policydatagrams import Datagrams, Place
from sekisho.drivers.policynotify import Notified, Notifier
from sekisho.drivers.transfer import load_tsig
from sekisho.model.errors import UnavailableError
from sekisho.model.lists import TsigKey
from sekisho.rpz.zone import Zone

log = structlog.get_logger("sekisho.control")

_LARGEST = 4096
"""Octets of a question at most."""
_HEADER = 12
_STRANGERS = 16
"""Connections at a time that are told they may not ask."""
_BRIEF = 5.0
"""Seconds a stranger has to ask."""
_STOP = 10.0
"""Seconds the thread has to end."""


class Primary:
    """The zones and who transfers them; belongs to its loop."""

    def __init__(self, settings: PolicyZones, clock: Callable[[], float] = time.time) -> None:
        """Raises FeedError for a secret that cannot be read."""
        keys = {one.name: load_tsig(TsigKey(one.name, one.algorithm, str(one.secret_file))) for one in settings.keys}
        self.settings = settings
        self.answers = Answers(
            [
                Allowed(
                    one.id,
                    one.address,
                    keys[one.key] if one.key is not None else None,
                    one.resolver is ResolverKind.UNBOUND,
                    one.gets_addresses,
                )
                for one in settings.secondaries
            ],
            clock=clock,
        )
        told = [
            Notified(one.id, one.notify.host, one.notify.port, keys[one.key] if one.key is not None else None)
            for one in settings.secondaries
            if one.notify is not None
        ]
        self.notifier = Notifier(tuple(told), self._send)
        self.connections = 0
        self.strangers = 0
        self._sources: Counter[str] = Counter()
        self.turned_away = 0
        self._datagrams: Datagrams | None = None

    def serve(self, zone: Zone) -> None:
        """Serve a zone from now on, and tell its secondaries."""
        self.answers.zones[dns.name.from_wire(zone.origin, 0)[0]] = zone
        self.notifier.changed(zone)

    def withdraw(self, zone: Zone) -> None:
        self.answers.zones.pop(dns.name.from_wire(zone.origin, 0)[0], None)

    def open(self, sockets: Iterable[socket.socket]) -> None:
        """Answer datagrams from now on, in the running loop."""
        self._datagrams = Datagrams(sockets, self._take)
        self._datagrams.open()

    def close(self) -> None:
        """Close the sockets datagrams come by."""
        if self._datagrams is not None:
            self._datagrams.close()

    def _send(self, wire: bytes, to: Notified) -> None:
        known = next((one.asked_at for one in self.answers.allowed if one.id == to.id), None)
        if self._datagrams is not None:
            self._datagrams.tell(wire, to.host, to.port, known)

    def _take(self, wire: bytes, source: Place, here: Place) -> Iterable[bytes]:
        if len(wire) < _HEADER:
            return ()
        if wire[2] & 0x80:
            self.notifier.answered(wire, *source)
            return ()
        answer = self.answers.answer(wire, source[0], tcp=False, here=here)
        return answer.messages if answer is not None else ()

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection (RFC 7766): questions one after another until it closes or stands still.

        Who is no secondary takes none of the connections there are for them.
        """
        peer = writer.get_extra_info("peername")
        if peer is None:  # it is gone again
            writer.close()
            return
        source = str(peer[0])
        here: Place = writer.get_extra_info("sockname")[:2]
        if not self.answers.is_near(source):
            await self._refuse(reader, writer, source)
            return
        if not self._has_room(source):
            self.turned_away += 1
            writer.close()
            return
        self.connections += 1
        self._sources[source] += 1
        try:
            while True:
                wire = await _question(reader, self.settings.timeout)
                if wire is None:
                    return
                answer = self.answers.answer(wire, source, tcp=True, here=here)
                if answer is None:
                    return
                for one in answer.messages:
                    writer.write(len(one).to_bytes(2, "big") + one)
                    self.answers.octets += len(one)
                    async with asyncio.timeout(self.settings.timeout):
                        await writer.drain()
                    # A drain that does not wait lets nobody else have a turn.
                    await asyncio.sleep(0)
                answer.done()
        except (TimeoutError, OSError, EOFError):
            return
        finally:
            self.connections -= 1
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]
            writer.close()

    def _has_room(self, source: str) -> bool:
        """Whether a source gets one more connection.

        Unbound and PowerDNS Recursor transfer all their zones at once, over a connection each: while half are free a source gets
        what it asks for. After that it gets no more than a quarter, so that one that holds many leaves the others theirs.
        """
        most = self.settings.connections
        return self.connections < most and (2 * self.connections < most or 4 * self._sources[source] < most)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        """A stranger that asks at once is told that it is refused, so that whoever set it up can read why. Nothing is kept for more."""
        if self.strangers >= _STRANGERS:
            self.answers.refused["address"] += 1
            writer.close()
            return
        self.strangers += 1
        answer = None
        try:
            wire = await _question(reader, min(_BRIEF, self.settings.timeout))
            answer = self.answers.answer(wire, source, tcp=True) if wire is not None else None
            for one in answer.messages if answer is not None else ():
                writer.write(len(one).to_bytes(2, "big") + one)
        except (TimeoutError, OSError, EOFError):
            return
        finally:
            self.strangers -= 1
            if answer is None:
                self.answers.refused["address"] += 1
            writer.close()


async def _question(reader: asyncio.StreamReader, patience: float) -> bytes | None:
    """The next message of a connection; None: it has an impossible length. Raises TimeoutError, OSError and EOFError."""
    async with asyncio.timeout(patience):
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length) if _HEADER <= length <= _LARGEST else None


@dataclass(slots=True)
class _Started:
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    ports: tuple[int, ...]


class PrimaryThread:
    """Runs a primary. `start` and `stop` are called from one thread, which is not its own."""

    def __init__(self, primary: Primary) -> None:
        self.primary = primary
        self._thread: threading.Thread | None = None
        self._started: _Started | None = None
        self._ready = threading.Event()
        self.ports: tuple[int, ...] = ()
        """Those that are listened on, in the order of `listen`."""

    def start(self) -> tuple[int, ...]:
        """Listen and serve; the ports, in the order of `listen`. Raises UnavailableError."""
        addresses = [(one.host, one.port) for one in self.primary.settings.listen]
        try:
            sockets = bind_listeners(addresses, 1)
        except UnavailableError as error:
            raise UnavailableError(f"policy zones: {error}") from None
        self.ports = ports = tuple(one.getsockname()[1] for name, one in sockets if name.startswith("tcp-"))
        for _, one in sockets:
            one.setblocking(False)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(sockets, ports)), name="policy-zones", daemon=True)
        self._thread.start()
        self._ready.wait()
        return ports

    def call(self, step: Callable[[], object]) -> None:
        """Have the primary's loop do something; in the order of the calls."""
        if self._started is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it ends
                self._started.loop.call_soon_threadsafe(step)

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        if self._started is not None:
            self.call(self._started.stop.set)
        if self._thread is not None:
            self._thread.join(_STOP)

    async def _run(self, sockets: Sequence[tuple[str, socket.socket]], ports: tuple[int, ...]) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        servers = []
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = loop.create_task(self.primary.serve_tcp(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        self.primary.open(one for name, one in sockets if name.startswith("udp-"))
        for name, one in sockets:
            if name.startswith("tcp-"):
                servers.append(await asyncio.start_server(accept, sock=one))
        self._started = _Started(loop, stop, ports)
        self._ready.set()
        try:
            await stop.wait()
        finally:
            for server in servers:
                server.close()
            self.primary.close()
            await self.primary.notifier.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def serving(primary: Primary) -> Iterator[tuple[PrimaryThread, tuple[int, ...]]]:
    """A primary that serves, and its ports."""
    thread = PrimaryThread(primary)
    ports = thread.start()
    try:
        yield thread, ports
    finally:
        thread.stop()
