"""A netlink socket, for what is too much for a library that makes an object of each message: dumps, and many requests at once.

Owns the framing of netlink(7): messages, their attributes, errors. The kernel carries out what is sent to it before `send`
returns, so that answers need no waiting. Not safe to be used by several threads at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

NETFILTER, ROUTE = 12, 0
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
CREATE, REPLACE, EXCLUSIVE, ECHO = 0x400, 0x100, 0x200, 0x8
NESTED = 0x8000
_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_CODE = struct.Struct("=i")
_SOL_NETLINK, _CAP_ACK = 270, 10
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33
"""linux/netlink.h, asm-generic/socket.h"""
_BUFFER = 1 << 20
_ROOM = 1 << 23
_SECONDS = 10

Span = tuple[int, int]


class Message(NamedTuple):
    """A request: its kind, flags, and what follows the header."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What came back: the bodies of messages; `whole` is false where something changed while it was told."""

    parts: list[bytes]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Answers:
    """To many requests: bodies told by the place of their request, and errors (errno) likewise."""

    told: dict[int, bytes]
    errors: dict[int, int]


class Netlink:
    """One socket, of the network namespace of the thread it is made in."""

    def __init__(self, protocol: int) -> None:
        """Raises OSError."""
        self._protocol = protocol
        self._number = 0
        self._socket = self._opened()

    def close(self) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> Told:
        """All that the kernel tells of one kind. Raises OSError."""
        self._number += 1
        first = self._number
        self._socket.send(_HEADER.pack(16 + len(body), kind, REQUEST | DUMP, first, 0) + body)
        parts: list[bytes] = []
        whole = True
        try:
            while True:
                data = self._socket.recv(_BUFFER)
                for number, what, flags, start, end in _messages(data):
                    if number != first:
                        continue
                    whole &= not flags & _INTERRUPTED
                    if what == _ERROR:
                        raise _refused(data, start)
                    if what == _DONE:
                        return Told(parts, whole)
                    parts.append(data[start:end])
        except OSError:
            self._anew()
            raise

    def ask(self, requests: Sequence[Message], *, to_last: int = 1) -> Answers:
        """Send requests at once, and take what is told of each; the acknowledgement asked for is of the one `to_last` from the end.

        Raises OSError if they could not be sent, or something of the answer was lost.
        """
        if not requests:
            return Answers({}, {})
        first, acknowledged = self._number + 1, len(requests) - to_last
        self._number += len(requests)
        told: dict[int, bytes] = {}
        errors: dict[int, int] = {}
        ended = False
        try:
            self._socket.send(_together(requests, first, acknowledged))
            for answer in self._waiting():
                for number, what, _, start, end in _messages(answer):
                    place = number - first
                    if what == _ERROR:
                        ended |= place == acknowledged
                        errors[place] = -_CODE.unpack_from(answer, start)[0]
                    elif place >= 0:
                        told[place] = answer[start:end]
        except OSError:
            self._anew()
            raise
        failed = {place: code for place, code in errors.items() if code and place >= 0}
        if not ended and not failed:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return Answers(told, failed)

    def _waiting(self) -> Iterator[bytes]:
        """What the kernel has answered."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)

    def _opened(self) -> socket.socket:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol)
        made.bind((0, 0))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _SECONDS, 0))
        # Many requests at once, and as many answers. Who may not ask for as much may write nothing either.
        with contextlib.suppress(OSError):
            made.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            made.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, _ROOM)
            made.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)
        return made

    def _anew(self) -> None:
        """Another socket: what is still to come on this one is of a request that was given up."""
        self._socket.close()
        self._socket = self._opened()


def attribute(kind: int, content: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(content), kind) + content + bytes(-len(content) % 4)


def text(kind: int, value: str) -> bytes:
    content = value.encode()
    before, after = _around(kind, len(content))
    return before + content + after


@lru_cache(256)
def _around(kind: int, length: int) -> tuple[bytes, bytes]:
    """What stands before and after a text of so many octets: of many names there are few lengths."""
    whole = attribute(kind, bytes(length + 1))
    return whole[:4], whole[4 + length :]


def attributes(data: bytes, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Kind, and where its content begins and ends, of each attribute. Raises ValueError for what is none."""
    last = len(data) if last is None else last
    while first + 4 <= last:
        length, kind = _ATTRIBUTE.unpack_from(data, first)
        if length < 4 or first + length > last:
            raise ValueError
        yield kind & 0x3FFF, first + 4, first + length
        first += length + 3 & ~3


def within(data: bytes, span: Span, *path: int) -> Span | None:
    """Where the content of an attribute within others lies."""
    for wanted in path:
        found = next(((first, last) for kind, first, last in attributes(data, *span) if kind == wanted), None)
        if found is None:
            return None
        span = found
    return span


def table_of(data: bytes, first: int = 0) -> dict[int, bytes]:
    """Content by kind."""
    return {kind: data[start:end] for kind, start, end in attributes(data, first)}


def _refused(data: bytes, at: int) -> OSError:
    code = -_CODE.unpack_from(data, at)[0]
    return OSError(code, os.strerror(code))


def _together(requests: Sequence[Message], first: int, acknowledged: int) -> bytes:
    parts: list[bytes] = []
    last = first + acknowledged
    for number, (kind, flags, body) in enumerate(requests, start=first):
        length = len(body)
        parts += (_HEADER.pack(16 + length, kind, flags | (REQUEST | ACK if number == last else REQUEST), number, 0), body)
        # Most end where the next message may begin.
        if length % 4:
            parts.append(bytes(-length % 4))
    return b"".join(parts)


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, kind, flags, and where the body begins and ends, of each message."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, number, _ = _HEADER.unpack_from(data, at)
        yield number, kind, flags, at + 16, at + length
        at += length + 3 & ~3
