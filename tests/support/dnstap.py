"""dnstap as a resolver sends it, made here by the book: protobuf fields, frames, and a sender on a socket."""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path

from sekisho.dnstap.control import CONTENT_TYPE, Control, ControlFrame, decode, encode

QUERY, RESPONSE, RESOLVER_QUERY = 5, 6, 3


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes) -> bytes:
    """A varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(address: str | None, kind: int = QUERY, wire: bytes = b"", family: int | None = None) -> bytes:
    """A `Dnstap` message of a client at an address, with the fields in the order of dnstap.proto."""
    body = field(1, kind)
    if address is not None:
        packed = ipaddress.ip_address(address).packed
        body += field(2, family or (1 if len(packed) == 4 else 2)) + field(3, 1) + field(4, packed) + field(6, 5353)
    body += field(8, 1_700_000_000) + varint(9 << 3 | 5) + struct.pack("<I", 7) + field(10, wire)
    return field(1, b"resolver") + field(2, b"unbound 1.17.1") + field(14, body) + field(15, 1)


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in messages)


class Sender:
    """A resolver's end of the socket."""

    def __init__(self, path: Path, *, ready: bool = True, content_type: bytes = CONTENT_TYPE) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self._content_type = content_type
        if ready:
            self.control(Control.READY)

    def control(self, kind: Control) -> None:
        types = (self._content_type,) if kind in {Control.READY, Control.START} else ()
        self.socket.sendall(encode(ControlFrame(kind, types)))

    def answer(self) -> ControlFrame | None:
        """What the reader says; None: it hung up."""
        data = b""
        while True:
            found = decode(data)
            if found is not None:
                return found[0]
            try:
                more = self.socket.recv(1)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            data += more

    def start(self) -> Sender:
        answer = self.answer()
        assert answer is not None
        assert answer.type is Control.ACCEPT
        self.control(Control.START)
        return self

    def send(self, *messages: bytes) -> None:
        self.socket.sendall(framed(*messages))

    def close(self) -> None:
        self.socket.close()
