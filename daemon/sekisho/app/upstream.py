"""The small built-in upstream of the demo: answers for reserved names, and for nothing else.

A stand-in for the resolver behind the checkpoint, so that the demo needs none. It holds names of
RFC 2606 and RFC 6761 only; anything else is refused. `nx.` names do not exist, the addresses are
made from the name, from the documentation ranges (RFC 5737, RFC 3849). Not a server for production.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import struct
from typing import Self, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

ZONES = tuple(dns.name.from_text(text) for text in ("example.com", "example.net", "example.org", "example", "test", "invalid"))
"""Where the upstream is authoritative; the first that holds the name is its zone."""

TTL = 60
NEGATIVE_TTL = 30
UDP_PAYLOAD = 1232
"""Octets of a UDP answer at most (DNS Flag Day 2020); without EDNS 512."""

_MISSING = b"nx"
_TEXT = "served by the built-in upstream of the demo"


def respond(packet: bytes, *, limit: int | None = None) -> bytes | None:
    """The answer to one query in wire format; None where none is due.

    `limit` is the transport's room in octets; None (TCP) is no limit. A longer answer is cut to its
    header and question with TC=1.
    """
    try:
        query = dns.message.from_wire(packet)
    except dns.exception.DNSException:
        return None
    if query.flags & dns.flags.QR:
        return None
    answer = dns.message.make_response(query, recursion_available=True, our_payload=UDP_PAYLOAD)
    if query.opcode() != dns.opcode.QUERY:
        answer.set_rcode(dns.rcode.NOTIMP)
    elif len(query.question) != 1 or query.question[0].rdclass != dns.rdataclass.IN:
        answer.set_rcode(dns.rcode.REFUSED)
    else:
        _resolve(answer, query.question[0].name, query.question[0].rdtype)
    if limit is None:
        return answer.to_wire()
    room = max(512, min(limit, query.payload if query.edns >= 0 else 512))
    with contextlib.suppress(dns.exception.TooBig):
        return answer.to_wire(max_size=room)
    short = dns.message.make_response(query, recursion_available=True, our_payload=UDP_PAYLOAD)
    short.flags |= dns.flags.TC
    return short.to_wire()


def _resolve(answer: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
    zone = next((zone for zone in ZONES if name.is_subdomain(zone)), None)
    if zone is None:
        answer.set_rcode(dns.rcode.REFUSED)
        return
    if _MISSING in (label.lower() for label in name.labels):
        answer.set_rcode(dns.rcode.NXDOMAIN)
    else:
        texts = _records(name, zone, rdtype)
        if texts:
            answer.answer.append(dns.rrset.from_text_list(name, TTL, "IN", dns.rdatatype.to_text(rdtype), texts))
            return
    answer.authority.append(dns.rrset.from_text(zone, NEGATIVE_TTL, "IN", "SOA", _soa(zone)))


def _records(name: dns.name.Name, zone: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> list[str]:
    number = int.from_bytes(hashlib.blake2b(name.canonicalize().to_text().encode(), digest_size=2).digest(), "big")
    apex = name == zone
    # A name under `big.` has more text than fits into a datagram.
    parts = 20 if name.labels[0].lower() == b"big" else 1
    made = {
        dns.rdatatype.A: [str(ipaddress.IPv4Address("198.51.100.0") + number % 254 + 1)],
        dns.rdatatype.AAAA: [str(ipaddress.IPv6Address("2001:db8::") + number + 1)],
        dns.rdatatype.TXT: [f'"{_TEXT}{" " + "." * 180 if part else ""}{part or ""}"' for part in range(parts)],
        dns.rdatatype.MX: [f"10 mail.{zone}"],
        dns.rdatatype.NS: [f"ns.{zone}"] if apex else [],
        dns.rdatatype.SOA: [_soa(zone)] if apex else [],
    }
    return made.get(rdtype, [])


def _soa(zone: dns.name.Name) -> str:
    return f"ns.{zone} hostmaster.{zone} 1 3600 900 604800 {NEGATIVE_TTL}"


class _Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = respond(data, limit=UDP_PAYLOAD)
        if answer is not None:
            self._transport.sendto(answer, addr)


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One TCP connection: queries one after another until the client closes or is idle (RFC 7766)."""
    try:
        while True:
            async with asyncio.timeout(10):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                packet = await reader.readexactly(length)
            answer = respond(packet)
            if answer is None:
                break
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()


class Upstream:
    """The server on one address, UDP and TCP, within an `async with`; `port` is the one it got."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(_stream, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            loop = asyncio.get_running_loop()
            self._datagrams, _ = await loop.create_datagram_endpoint(_Datagrams, local_addr=(self.host, self.port))
        except OSError:
            self._server.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._datagrams.close()
        self._server.close()
