"""A resolver of the test's own, UDP and TCP: honest, slow, lying or silent, as `behave` says at the time.

Answers every name: `nx` labels do not exist, `ttl7` labels have a TTL of 7 seconds, `big` labels
have more text than a datagram holds. Counts what it was asked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from support import free_port

TTL = 300
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
"""A PROXY v2 header starts with it."""

Behaviour = Callable[[bytes], Sequence[tuple[bytes, bool]]]
"""From a query to the packets to send; True sends one from another port than was asked."""


def honest(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = respond(packet)
    return [(answer, False)] if answer else []


def silent(_packet: bytes) -> list[tuple[bytes, bool]]:
    return []


def servfail(packet: bytes) -> list[tuple[bytes, bool]]:
    query = dns.message.from_wire(packet)
    answer = dns.message.make_response(query, recursion_available=True)
    answer.set_rcode(dns.rcode.SERVFAIL)
    return [(answer.to_wire(), False)]


@dataclass
class Resolver:
    address: str = "198.51.100.7"
    """What every name has."""
    behave: Behaviour = honest
    proxied: bool = False
    """Whether a PROXY v2 header comes first."""
    host: str = "127.0.0.1"
    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    """Questions by name, lower case."""
    spellings: list[str] = field(default_factory=list)
    """Names as they were spelt on the wire."""
    clients: list[tuple[str, int]] = field(default_factory=list)
    """Sources the PROXY headers told."""
    ports: set[int] = field(default_factory=set)
    identities: set[int] = field(default_factory=set)

    @contextlib.contextmanager
    def running(self) -> Iterator[Resolver]:
        with contextlib.ExitStack() as stack:
            port = self.port or free_port(self.host)
            stream = stack.enter_context(socket.create_server((self.host, port)))
            datagram = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            datagram.bind((self.host, port))
            self.port = port
            other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            other.bind((self.host, 0))
            stop = threading.Event()
            datagram.settimeout(0.05)
            stream.settimeout(0.05)
            threads = [
                threading.Thread(target=self._datagrams, args=(datagram, other, stop)),
                threading.Thread(target=self._streams, args=(stream, stop)),
            ]
            for thread in threads:
                thread.start()
            try:
                yield self
            finally:
                stop.set()
                for thread in threads:
                    thread.join()

    def _datagrams(self, asked: socket.socket, other: socket.socket, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                packet, source = asked.recvfrom(65535)
            except OSError:
                continue
            self.ports.add(source[1])
            if self.proxied:
                packet = packet[self._header(packet) :]
            for answer, from_elsewhere in self._answers(packet, 1232):
                (other if from_elsewhere else asked).sendto(answer, source)

    def _streams(self, server: socket.socket, stop: threading.Event) -> None:
        running = []
        while not stop.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                thread = threading.Thread(target=self._stream, args=(connection, stop))
                thread.start()
                running.append(thread)
        for thread in running:
            thread.join()

    def _stream(self, connection: socket.socket, stop: threading.Event) -> None:
        data = b""
        headed = not self.proxied
        connection.settimeout(0.05)
        with connection:
            while not stop.is_set():
                try:
                    more = connection.recv(65535)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not more:
                    return
                data += more
                if not headed and len(data) >= 16:
                    data, headed = data[self._header(data) :], True
                while headed and len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
                    size = int.from_bytes(data[:2], "big")
                    for answer, _ in self._answers(data[2 : 2 + size], None):
                        with contextlib.suppress(OSError):  # whoever asked may have died
                            connection.sendall(len(answer).to_bytes(2, "big") + answer)
                    data = data[2 + size :]

    def _header(self, data: bytes) -> int:
        """Read a PROXY v2 header; returns its length. A packet without one fails the test that counts clients."""
        if data[:12] != SIGNATURE or data[12] != 0x21:
            self.clients.append(("no PROXY v2 header", 0))
            return 0
        size = int.from_bytes(data[14:16], "big")
        body = data[16 : 16 + size]
        width = 4 if data[13] >> 4 == 1 else 16
        self.clients.append((str(ipaddress.ip_address(body[:width])), int.from_bytes(body[2 * width : 2 * width + 2], "big")))
        return 16 + size

    def _answers(self, packet: bytes, limit: int | None) -> Sequence[tuple[bytes, bool]]:
        try:
            question = dns.message.from_wire(packet).question[0]
        except (dns.exception.DNSException, IndexError):
            return []
        self.asked[question.name.to_text().lower()] += 1
        self.spellings.append(question.name.to_text())
        self.identities.add(int.from_bytes(packet[:2], "big"))
        if self.behave is honest:
            answer = respond(packet, self.address, limit)
            return [(answer, False)] if answer else []
        return self.behave(packet)


def respond(packet: bytes, address: str = "198.51.100.7", limit: int | None = None) -> bytes:
    """The honest answer to a query; cut to its question with TC=1 where it is longer than `limit` and the client allow."""
    query = dns.message.from_wire(packet)
    answer = dns.message.make_response(query, recursion_available=True, our_payload=1232)
    _fill(answer, query.question[0].name, query.question[0].rdtype, address)
    wire = answer.to_wire(max_size=65535)
    if limit is not None and len(wire) > min(limit, max(512, query.payload)):
        cut = dns.message.make_response(query, recursion_available=True, our_payload=1232)
        cut.flags |= dns.flags.TC
        return cut.to_wire()
    return wire


def _fill(answer: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, address: str) -> None:
    labels = [label.decode("latin-1").lower() for label in name.labels]
    ttl = next((int(label[3:]) for label in labels if label.startswith("ttl") and label[3:].isdigit()), TTL)
    data = {
        dns.rdatatype.A: [address],
        dns.rdatatype.AAAA: ["2001:db8::7"],
        dns.rdatatype.TXT: [f'"{"x" * 200} {part}"' for part in range(20 if "big" in labels else 1)],
    }.get(rdtype, [])
    if "nx" in labels:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif data:
        answer.answer.append(dns.rrset.from_text_list(name, ttl, "IN", dns.rdatatype.to_text(rdtype), data))
        return
    zone = dns.name.Name(name.labels[-2:]) if len(name.labels) > 1 else name
    answer.authority.append(
        dns.rrset.from_text(zone, ttl, "IN", "SOA", f"{_under('ns', zone)} {_under('hostmaster', zone)} 1 3600 900 604800 30")
    )


def _under(label: str, zone: dns.name.Name) -> dns.name.Name:
    return dns.name.Name([label.encode(), *zone.labels])
