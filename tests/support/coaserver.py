"""A NAS that takes CoA-Requests and Disconnect-Requests, on a real UDP socket: it acknowledges, refuses, is silent, or lies."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pyrad.dictionary import Dictionary
from pyrad.packet import CoANAK, CoAPacket, DisconnectNAK, DisconnectRequest

SECRET = b"a shared secret"
EMPTY = Dictionary()


@dataclass
class Asked:
    """One datagram as it came. `genuine`: both authenticators are right."""

    packet: CoAPacket
    source: tuple[str, int]
    raw: bytes
    genuine: bool

    @property
    def disconnects(self) -> bool:
        return self.packet.code == DisconnectRequest

    def text(self, key: int | tuple[int, int]) -> list[str]:
        return [value.decode() for value in self.packet.get(key, [])]


Reply = Callable[["CoaServer", Asked], list[bytes]]
"""What is sent back: any number of datagrams."""


def ack(_server: CoaServer, asked: Asked) -> list[bytes]:
    return [asked.packet.CreateReply().ReplyPacket()]


def signed_ack(_server: CoaServer, asked: Asked) -> list[bytes]:
    reply = asked.packet.CreateReply()
    reply.add_message_authenticator()
    return [reply.ReplyPacket()]


def nak(cause: int | None) -> Reply:
    def refuse(_server: CoaServer, asked: Asked) -> list[bytes]:
        reply = asked.packet.CreateReply()
        reply.code = DisconnectNAK if asked.disconnects else CoANAK
        if cause is not None:
            reply[101] = [cause.to_bytes(4, "big")]
        return [reply.ReplyPacket()]

    return refuse


def silence(_server: CoaServer, _asked: Asked) -> list[bytes]:
    return []


def forged(_server: CoaServer, asked: Asked) -> list[bytes]:
    """An answer by somebody who does not know the secret."""
    reply = asked.packet.CreateReply()
    reply.secret = b"a guess"
    return [reply.ReplyPacket()]


def wrongly_signed(server: CoaServer, asked: Asked) -> list[bytes]:
    """The Response Authenticator is right, and the Message-Authenticator is not."""
    reply = asked.packet.CreateReply()
    reply[80] = [bytes(16)]
    return [reply.ReplyPacket()]


@dataclass
class CoaServer:
    """`asked` is all that came, retransmissions too. `reply` may be changed at any time."""

    port: int
    reply: Reply
    asked: list[Asked] = field(default_factory=list)

    @property
    def requests(self) -> list[Asked]:
        """Without retransmissions."""
        return list({(one.source, one.raw): one for one in self.asked}.values())


@contextlib.contextmanager
def running(reply: Reply = ack, *, port: int = 0, secret: bytes = SECRET) -> Iterator[CoaServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        opened.bind(("127.0.0.1", port))
        opened.settimeout(0.05)
        server = CoaServer(opened.getsockname()[1], reply)
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, opened, stop, secret), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            stop.set()
            thread.join()


def _serve(server: CoaServer, opened: socket.socket, stop: threading.Event, secret: bytes) -> None:
    """Until it is told to stop and has taken what had come."""
    while True:
        try:
            raw, source = opened.recvfrom(4096)
        except TimeoutError:
            if stop.is_set():
                return
            continue
        packet = CoAPacket(packet=raw, secret=secret, dict=EMPTY)
        genuine = packet.VerifyCoARequest() and packet.message_authenticator is True and packet.verify_message_authenticator()
        asked = Asked(packet, source, raw, genuine)
        server.asked.append(asked)
        if genuine:
            for data in server.reply(server, asked):
                opened.sendto(data, source)
