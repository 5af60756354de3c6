"""A RADIUS client for accounting (RFC 2866), written out: it shares no code with what it tests."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass, field

SECRET = b"shared-secret"
START, STOP, INTERIM, ON, OFF = 1, 2, 3, 7, 8


def attribute(kind: int, value: bytes) -> bytes:
    return bytes([kind, len(value) + 2]) + value


def integer(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode())


def address(value: str) -> bytes:
    return attribute(8, ipaddress.IPv4Address(value).packed)


def prefix6(value: str, kind: int = 123) -> bytes:
    network = ipaddress.IPv6Network(value)
    return attribute(kind, bytes([0, network.prefixlen]) + network.network_address.packed[: (network.prefixlen + 7) // 8])


def octets(up: int, down: int, *, wide: bool = True) -> bytes:
    low = integer(42, up & 0xFFFFFFFF) + integer(43, down & 0xFFFFFFFF)
    return low + (integer(52, up >> 32) + integer(53, down >> 32) if wide else b"")


def vendor(number: int, kind: int, value: bytes) -> bytes:
    return attribute(26, struct.pack("!I", number) + attribute(kind, value))


def told(status: int, session: str = "", user: str = "", more: bytes = b"") -> bytes:
    """The attributes of a request."""
    named = text(44, session) if session else b""
    return integer(40, status) + named + (text(1, user) if user else b"") + more


def packet(attributes: bytes, identifier: int, secret: bytes = SECRET, *, signed: bool = False, code: int = 4) -> bytes:
    """An Accounting-Request; `signed`: with a Message-Authenticator (RFC 3579 section 3.2)."""
    if signed:
        body = attributes + attribute(80, bytes(16))
        head = struct.pack("!BBH", code, identifier, 20 + len(body))
        attributes += attribute(80, hmac.digest(secret, head + bytes(16) + body, "md5"))
    head = struct.pack("!BBH", code, identifier, 20 + len(attributes))
    return head + hashlib.md5(head + bytes(16) + attributes + secret).digest() + attributes  # noqa: S324 - RFC 2866 section 3


def is_answer(response: bytes, request: bytes, secret: bytes = SECRET) -> bool:
    """Whether it is the Accounting-Response to a request, made by who knows the secret (RFC 2866 section 4.2)."""
    fits = hashlib.md5(response[:4] + request[4:20] + response[20:] + secret).digest()  # noqa: S324
    return response[0] == 5 and response[1] == request[1] and response[4:20] == fits


@dataclass
class Nas:
    """An access server on a loopback address."""

    port: int
    host: str = "127.0.0.1"
    secret: bytes = SECRET
    to: str = "127.0.0.1"
    _next: int = field(default_factory=lambda: os.urandom(1)[0])

    def __post_init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.host, 0))
        self.socket.connect((self.to, self.port))

    def close(self) -> None:
        self.socket.close()

    def request(self, attributes: bytes, *, signed: bool = False) -> bytes:
        self._next = (self._next + 1) % 256
        return packet(attributes, self._next, self.secret, signed=signed)

    def answer(self, request: bytes, timeout: float = 60.0) -> bytes | None:
        """The response to a request that is sent now; None if there is none in time."""
        self.socket.send(request)
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(4096)
        except TimeoutError:
            return None

    def tell(self, status: int, session: str = "", user: str = "", more: bytes = b"") -> None:
        """Tell something, and have it answered."""
        request = self.request(told(status, session, user, more))
        response = self.answer(request)
        assert response is not None, "no response"
        assert is_answer(response, request, self.secret)
