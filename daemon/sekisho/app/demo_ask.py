"""Asking as a customer of the demo would: a real query from the customer's own address."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode

from sekisho.app.upstream import respond


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, beside what the upstream itself would have said."""

    message: dns.message.Message | None
    direct: dns.message.Message

    @property
    def answered(self) -> bool:
        """The upstream's answer reached the customer as it is."""
        return self.message is not None and self.message.rcode() == self.direct.rcode() and self.message.answer == self.direct.answer

    @property
    def refused(self) -> bool:
        return self.message is not None and self.message.rcode() == dns.rcode.REFUSED

    @property
    def blocked(self) -> bool:
        """Something else came than the upstream's answer, or nothing."""
        return not self.answered and not self.refused

    @property
    def text(self) -> str:
        """For people: the response code, the addresses, and the Extended DNS Error (RFC 8914)."""
        if self.message is None:
            return "no answer"
        words = [dns.rcode.to_text(self.message.rcode())]
        words += [record.to_text() for rrset in self.message.answer for record in rrset]
        words += [f"({option.code.name.lower()})" for option in self.message.options if isinstance(option, dns.edns.EDEOption)]
        return " ".join(words)


def ask(host: str, port: int, source: str, name: str, rdtype: str = "A") -> Answer:
    """Ask from the address `source`; a lost datagram is asked for once more."""
    query = dns.message.make_query(name, rdtype, use_edns=0)
    wire = respond(query.to_wire())
    if wire is None:
        raise ValueError(f"the upstream has no answer for {name}")
    direct = dns.message.from_wire(wire)
    for _ in range(2):
        with contextlib.suppress(dns.exception.Timeout):
            return Answer(dns.query.udp(query, host, port=port, source=source, timeout=3), direct)
    return Answer(None, direct)


def flood(host: str, port: int, source: str, name: str, count: int) -> tuple[int, float]:
    """Send `count` queries without waiting. Returns how many whole answers came, and the seconds it took."""
    packet = bytearray(dns.message.make_query(name, "A").to_wire())
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        client.bind((source, 0))
        client.connect((host, port))
        client.setblocking(False)
        began = time.monotonic()
        for number in range(count):
            packet[0:2] = (number & 0xFFFF).to_bytes(2, "big")
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                client.send(packet)
            answered += _received(client)
            if number % 50 == 49:
                time.sleep(0.001)  # a pace the kernel's buffers can take: what is held is held by the budget
        seconds = time.monotonic() - began
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                answered += _whole(client.recv(4096))
    return answered, seconds


def _received(client: socket.socket) -> int:
    answered = 0
    with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
        while True:
            answered += _whole(client.recv(4096))
    return answered


def _whole(packet: bytes) -> int:
    """1 for an answer in full; 0 for a truncated one, which is how some budgets hold back."""
    return 0 if packet[2] & 0x02 else 1
