"""CoA-Requests and Disconnect-Requests to many NASes at once, over UDP (RFC 5176), on pyrad's packets.

Every request carries a Message-Authenticator and an Event-Timestamp. It is sent again unchanged, from the same port with the
same Identifier, so that a NAS knows it for the same (RFC 5080 section 2.2.2). An answer counts if its Response Authenticator
is right, and its Message-Authenticator if it has one; any other is counted and waited past, since anybody can send one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import CoAACK, CoANAK, CoAPacket, CoARequest, DisconnectACK, DisconnectNAK, DisconnectRequest, PacketError

from sekisho.config.coa import NasSettings
from sekisho.drivers.secrets import read_credential
from sekisho.enforce.templates import Message
from sekisho.model.errors import UnavailableError
from sekisho.model.nas import Answer, ErrorCause, Patience, RequestOutcome

_EVENT_TIMESTAMP, _ERROR_CAUSE, _MESSAGE_AUTHENTICATOR = 55, 101, 80
_ANSWERS = {CoARequest: (CoAACK, CoANAK), DisconnectRequest: (DisconnectACK, DisconnectNAK)}
_IDENTIFIERS = 256
MAX_PORTS = 16
"""Source ports a NAS is asked from: each has 256 Identifiers."""
ANSWERED_REST = 1.0
"""Seconds an Identifier rests after an answer: with another Event-Timestamp no request is the same as the last."""
UNANSWERED_REST = 30.0
"""Seconds it rests after none: a late answer meets nobody."""


class CoaClient:
    """Asks NASes. One of a daemon; its sockets are made as they are needed."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._links: dict[str, _Link] = {}
        self.dropped: Counter[str] = Counter()
        """Datagrams that were no answer to what is asked, by `stray` (late and repeated ones too), `malformed`, `forged`."""

    async def ask(self, nas: NasSettings, message: Message, patience: Patience) -> Answer:
        """Send a request until it is answered or given up."""
        try:
            secret = secret_of(nas)
            link = self._link(nas)
            port, identifier = await link.take()
        except UnavailableError as error:
            return Answer(RequestOutcome.UNSENT, error=str(error))
        try:
            packet, data = self._packet(identifier, secret, message)
        except (ValueError, PacketError) as error:
            port.rest(identifier, 0.0)
            return Answer(RequestOutcome.UNSENT, error=f"the request to {nas.id} cannot be made: {error}")
        answer = None
        try:
            answer = await port.exchange(packet, data, patience, signed=nas.signed_answers)
        finally:
            port.rest(identifier, ANSWERED_REST if answer is not None else UNANSWERED_REST)
        return answer or Answer(RequestOutcome.UNANSWERED)

    async def close(self) -> None:
        """The sockets are closed on return. Nothing may be asked meanwhile."""
        ports = [port for link in self._links.values() for port in link.close()]
        self._links.clear()
        await asyncio.gather(*(port.closed.wait() for port in ports))

    def _link(self, nas: NasSettings) -> _Link:
        link = self._links.get(nas.id)
        if link is None or link.address != tuple(nas.address):
            if link is not None:
                link.close()
            link = self._links[nas.id] = _Link((nas.address.host, nas.address.port), self.dropped)
        return link

    def _packet(self, identifier: int, secret: bytes, message: Message) -> tuple[CoAPacket, bytes]:
        code = DisconnectRequest if message.disconnect else CoARequest
        packet = CoAPacket(code, identifier, secret, dict=_EMPTY)
        packet.add_message_authenticator()
        for key, values in message.attributes:
            packet[key] = list(values)
        packet[_EVENT_TIMESTAMP] = [int(self._clock()).to_bytes(4, "big")]
        data = packet.RequestPacket()
        if len(data) > 4096:
            raise ValueError(f"it has {len(data)} octets and a packet 4096 at most")
        return packet, data


_EMPTY = Dictionary()
"""Attributes go by number here."""


def secret_of(nas: NasSettings) -> bytes:
    """The secret shared with a NAS. Raises UnavailableError with what to do."""
    name = f"coa-{nas.id}"
    if nas.secret_file is None and not os.environ.get("CREDENTIALS_DIRECTORY"):
        raise UnavailableError(f"there is no secret for NAS {nas.id}; name its file as `secret_file` or load the systemd credential {name}")
    return read_credential(name, nas.secret_file).encode()


class _Link:
    """The ports from which one NAS is asked."""

    def __init__(self, address: tuple[str, int], dropped: Counter[str]) -> None:
        self.address = address
        self._dropped = dropped
        self._ports: list[_Port] = []
        self._opening = asyncio.Lock()

    async def take(self) -> tuple[_Port, int]:
        """A free Identifier. Raises UnavailableError if no socket can be opened or all are in use."""
        async with self._opening:
            for port in self._ports:
                identifier = port.take()
                if identifier is not None:
                    return port, identifier
            if len(self._ports) >= MAX_PORTS:
                raise UnavailableError(f"{MAX_PORTS * _IDENTIFIERS} requests to {self.address[0]} are under way or were just now")
            loop = asyncio.get_running_loop()
            try:
                _, opened = await loop.create_datagram_endpoint(lambda: _Port(self._dropped), remote_addr=self.address)
            except OSError as error:
                raise UnavailableError(f"there is no way to {self.address[0]} ({error.strerror}); look at routes and `address`") from error
            self._ports.append(opened)
            identifier = opened.take()
            assert identifier is not None  # noqa: S101 - a new port has all of them
            return opened, identifier

    def close(self) -> list[_Port]:
        for port in self._ports:
            port.close()
        return self._ports


class _Port(asyncio.DatagramProtocol):
    """One connected socket and its Identifiers."""

    def __init__(self, dropped: Counter[str]) -> None:
        self._dropped = dropped
        self._transport: asyncio.DatagramTransport | None = None
        self.closed = asyncio.Event()
        self._free_at = [0.0] * _IDENTIFIERS
        self._next = int.from_bytes(os.urandom(1), "big")
        self._asked: dict[int, tuple[CoAPacket, bool, asyncio.Future[Answer]]] = {}

    def take(self) -> int | None:
        """An Identifier that rests no more, the one that was used longest ago first; None: there is none."""
        now = time.monotonic()
        for step in range(_IDENTIFIERS):
            identifier = (self._next + step) % _IDENTIFIERS
            if self._free_at[identifier] <= now:
                self._free_at[identifier] = float("inf")
                self._next = identifier + 1
                return identifier
        return None

    def rest(self, identifier: int, seconds: float) -> None:
        self._free_at[identifier] = time.monotonic() + seconds

    async def exchange(self, packet: CoAPacket, data: bytes, patience: Patience, *, signed: bool) -> Answer | None:
        """Send until answered; None: it was not."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[packet.id] = packet, signed, future
        wait = patience.timeout
        try:
            for _ in range(patience.retries + 1):
                if self._transport is None or self._transport.is_closing():
                    return None
                self._transport.sendto(data)
                done, _ = await asyncio.wait([future], timeout=wait)
                if done:
                    return future.result()
                wait *= 2
        finally:
            del self._asked[packet.id]
            future.cancel()
        return None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # What the loop calls

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        self.closed.set()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, or no route: it is asked again as if nothing had come."""

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 - the loop's signature; the socket is connected
        asked = self._asked.get(data[1]) if len(data) >= 20 else None
        if asked is None:
            self._dropped["malformed" if len(data) < 20 else "stray"] += 1
            return
        packet, signed, future = asked
        try:
            reply = CoAPacket(packet=data, secret=packet.secret, dict=_EMPTY)
        except PacketError:
            self._dropped["malformed"] += 1
            return
        good, bad = _ANSWERS[packet.code]
        genuine = reply.code in {good, bad} and packet.VerifyReply(reply)
        if not genuine or (signed and _MESSAGE_AUTHENTICATOR not in reply):
            self._dropped["forged"] += 1
            return
        if future.done():
            self._dropped["stray"] += 1
            return
        if reply.code == good:
            future.set_result(Answer(RequestOutcome.ACKNOWLEDGED, ErrorCause.of(_cause(reply))))
        else:
            future.set_result(Answer(RequestOutcome.REFUSED, ErrorCause.of(_cause(reply))))


def _cause(reply: CoAPacket) -> int | None:
    values = reply.get(_ERROR_CAUSE)
    return int.from_bytes(values[0], "big") if values and len(values[0]) == 4 else None
