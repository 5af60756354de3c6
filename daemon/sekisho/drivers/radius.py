"""The control plane's end of the listener for RADIUS: its sockets, its process, what it hears and is told.

Owns binding the sockets, which outlive the process that listens (`drivers.radiuschild`): while that is started again
packets wait in the kernel. Does not own what becomes of a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import structlog

from sekisho.config.radius import Nas, RadiusSettings
from sekisho.config.values import Endpoint
from sekisho.drivers.radiusframes import DONE, MAX_LINE, ORDER, Order, Peer, accounting_of, counts_from, frame_of
from sekisho.drivers.radiusrefused import Refusals, sentence
from sekisho.drivers.secrets import read_credential
from sekisho.model.errors import UnavailableError
from sekisho.model.sessions import Accounting, AccountingOutcome
from sekisho.sessions.mape import Rule

log = structlog.get_logger("sekisho.radius")

BUFFER = 16 << 20
"""Bytes of packets that may wait in the kernel: a storm of log-ins, or the time a start takes."""
_SO_RCVBUFFORCE = 33
AGAIN_AFTER = 1.0
"""Seconds after which a listener that died is started again."""
_TOGETHER = 1000
"""Tickets of one frame."""
_NOT_STARTED = "the listener for RADIUS ends as soon as it is started: nothing is heard; see the log"

Batch = list[tuple[int, Accounting]]


def bind(addresses: Sequence[Endpoint]) -> list[socket.socket]:
    """The sockets packets come in on. Raises UnavailableError, with what to do, and leaves nothing bound."""
    bound: list[socket.socket] = []
    for host, port in addresses:
        one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        bound.append(one)
        one.setblocking(False)
        if ":" in host:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            # Beyond what the machine allows to everyone, where that is allowed to us.
            one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
        except OSError:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        try:
            one.bind((host, port))
        except OSError as error:
            for other in bound:
                other.close()
            advice = "another program listens there; stop it" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
            raise UnavailableError(
                f"cannot listen for RADIUS on {Endpoint(host, port)}: {advice}, or name another address under `radius: listen:`"
            ) from error
    return bound


def order_of(settings: RadiusSettings) -> tuple[Order, list[str]]:
    """What the listener is to know, and a sentence for each NAS whose secret cannot be read: nothing of it is taken."""
    peers, faults = [], []
    for nas in settings.nas:
        try:
            peers.append(_peer(nas))
        except UnavailableError as error:
            faults.append(f"NAS {nas.id} is not listened to: {error}")
    rules = tuple(Rule(one.ipv6, one.ipv4, one.ea_bits, one.offset) for one in settings.map_e)
    return Order(tuple(peers), rules), faults


def _peer(nas: Nas) -> Peer:
    secret = read_credential(f"radius-{nas.id}", nas.secret_file, section="radius").encode()
    ports = nas.ports
    named = (ports.range, ports.first, ports.last, ports.address) if ports is not None else (None,) * 4
    return Peer(
        nas.id, nas.address, nas.identifier, nas.proxy, secret, nas.message_authenticator, nas.swap, *named, timed=nas.event_timestamp
    )


class Radius:
    """The listener. `take` is handed what it hears, and says `done` in time."""

    def __init__(self, take: Callable[[Batch], None]) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        """Packets by kind and outcome since the daemon's start, as of half a second ago."""
        self.faults: list[str] = []
        self.failure: str | None = None
        """Why nothing was taken since, though somebody is to listen."""
        self.refusals = Refusals()
        self.heard: dict[str, float] = {}
        """When a NAS last told of sessions (UNIX seconds), by its id, since the daemon's start."""
        self.listener = 0
        """Its process id, once there was one."""
        self._before: dict[tuple[str, str], int] = {}
        self._has_spoken = False
        self._first = self._last = 0
        """Tickets of this listener are above the first, those heard of so far not above the last: no two listeners have the same."""
        self._take = take
        self._order: Order | None = None
        self._listen: tuple[Endpoint, ...] = ()
        self._sockets: list[socket.socket] = []
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [one.getsockname()[:2] for one in self._sockets]

    async def adopt(self, settings: RadiusSettings | None) -> None:
        """Listen as the configuration says from now on. Raises UnavailableError: then all stays as it was."""
        listen = settings.listen if settings is not None else ()
        if listen != self._listen:
            sockets = bind(listen)
            await self.close()
            self._sockets, self._listen = sockets, listen
        if settings is None:
            self._order, self.faults = None, []
            self._keep_known(())
            return
        self._keep_known([nas.id for nas in settings.nas])
        self._order, self.faults = await asyncio.to_thread(order_of, settings)
        for fault in self.faults:
            log.error("nas-without-secret", fault=fault)
        if self._task is None:
            self._task = asyncio.create_task(self._keep())
        else:
            self._send(ORDER, pickle.dumps(self._order))

    def done(self, tickets: Sequence[int]) -> None:
        """What these told is on disk and in force: they may be answered."""
        # What a listener before had in work is told again by its NAS.
        ours = [ticket - self._first for ticket in tickets if ticket > self._first]
        for begin in range(0, len(ours), _TOGETHER):
            self._send(DONE, json.dumps(ours[begin : begin + _TOGETHER]).encode())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for one in self._sockets:
            one.close()
        self._sockets, self._listen, self.failure = [], (), None

    def _keep_known(self, nases: Sequence[str]) -> None:
        self.refusals.keep(nases)
        self.heard = {one: at for one, at in self.heard.items() if one in set(nases)}

    def _send(self, letter: bytes, body: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame_of(letter, body))

    async def _keep(self) -> None:
        """Have a listener run, whatever becomes of it."""
        while True:
            try:
                code = await self._run()
            except Exception as error:
                self.failure = (
                    f"what RADIUS told could not be taken ({type(error).__name__}), and nothing was since: the listener is started again, "
                    "and NASes tell again what was not answered; see the log"
                )
                log.exception("radius-listener-failed", again_in=AGAIN_AFTER)
            else:
                if not self._has_spoken:
                    self.failure = _NOT_STARTED
                log.error("radius-listener-died", code=code, again_in=AGAIN_AFTER)
            # What the kernel dropped is counted by the sockets, which live on.
            self._before = {key: count for key, count in self.counts.items() if key[1] != AccountingOutcome.DROPPED}
            await asyncio.sleep(AGAIN_AFTER)

    async def _run(self) -> int:
        self._first, self._has_spoken = self._last, False
        ours, theirs = socket.socketpair()
        child: subprocess.Popen[bytes] | None = None
        try:
            with theirs:
                descriptors = [theirs.fileno(), *(one.fileno() for one in self._sockets)]
                argv = [sys.executable, "-m", "sekisho.drivers.radiuschild", *map(str, descriptors)]
                # By this thread, whose life the child's is bound to.
                child = subprocess.Popen(argv, pass_fds=descriptors, stdin=subprocess.DEVNULL)  # noqa: ASYNC220
            self.listener = child.pid
            reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE)
            self._send(ORDER, pickle.dumps(self._order))
            while line := await _line(reader):
                self._hear(line)
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            ours.close()
            if child is not None:
                # What it had in work is told again by its NAS.
                child.kill()
                child.wait()
        return child.returncode

    def _hear(self, line: bytes) -> None:
        words, now = json.loads(line), time.time()
        self._has_spoken = True
        if "told" in words:
            self.heard |= {row[2].partition(":")[0]: now for row in words["told"]}
            batch = [(self._first + ticket, told) for ticket, told in map(accounting_of, words["told"])]
            self._last = max((self._last, *(ticket for ticket, _ in batch)))
            self._take(batch)
            self.failure = None
        else:
            if self.failure is _NOT_STARTED:
                self.failure = None
            seen = counts_from(words["seen"])
            self.counts = {key: self._before.get(key, 0) + seen.get(key, 0) for key in self._before | seen}
            for one in self.refusals.merge(words["refused"], now):
                log.warning("radius-refused", nas=one.nas or None, source=one.source, reason=one.why.value, fault=sentence(one.why))


async def _line(reader: asyncio.StreamReader) -> bytes:
    """What the listener says next; empty: it has ended."""
    try:
        return await reader.readline()
    except ConnectionError:
        return b""
