"""NOTIFY from primaries (RFC 1996): a zone changed, so it is transferred now and not at the next refresh.

Owns the sockets (UDP and TCP) and who may notify: only the primary of the list, and under its TSIG
key where it has one. A NOTIFY says that something changed and nothing else; what it carries is not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.tsig

from sekisho.drivers.transfer import load_tsig, split_endpoint
from sekisho.model.errors import FeedError, UnavailableError
from sekisho.model.lists import ListDefinition

_TCP_TIMEOUT = 10.0
_MAX_TCP = 4096
_TCP_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Notified:
    """A list that a primary may notify of, and whom to tell."""

    definition: ListDefinition
    tell: Callable[[str], None]


@dataclass(slots=True)
class _Zone:
    list_id: str
    primaries: frozenset[str]
    key: dns.tsig.Key | None
    tell: Callable[[str], None]


@dataclass(slots=True)
class Listener:
    """One address and the zones whose primaries may send NOTIFY there."""

    zones: Mapping[dns.name.Name, Sequence[_Zone]]
    keys: Mapping[dns.name.Name, dns.tsig.Key] = field(default_factory=dict)
    connections: int = 0

    def answer(self, wire: bytes, source: str) -> bytes | None:
        """The answer to a message from `source`, or None for what gets none; tells of the zones it names."""
        try:
            query = dns.message.from_wire(wire, keyring=dict(self.keys), ignore_trailing=True)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadTime, dns.tsig.BadAlgorithm):
            return _refusal(wire, dns.rcode.NOTAUTH)
        except (dns.exception.DNSException, ValueError):
            return _refusal(wire, dns.rcode.FORMERR)
        if query.flags & dns.flags.QR:
            return None
        if query.opcode() != dns.opcode.NOTIFY:
            return _refusal(wire, dns.rcode.REFUSED)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        response.set_rcode(self._decide(query, source))
        return response.to_wire()

    def _decide(self, query: dns.message.Message, source: str) -> dns.rcode.Rcode:
        if len(query.question) != 1 or query.question[0].rdtype != dns.rdatatype.SOA:
            return dns.rcode.FORMERR
        zones = self.zones.get(query.question[0].name.canonicalize(), ())
        if not zones:
            return dns.rcode.NOTAUTH
        allowed = [zone for zone in zones if source in zone.primaries and (zone.key is None or _signed_by(query, zone.key))]
        for zone in allowed:
            zone.tell(zone.list_id)
        return dns.rcode.NOERROR if allowed else dns.rcode.REFUSED

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: messages until it closes or is silent."""
        self.connections += 1
        try:
            while self.connections <= _TCP_CONNECTIONS:
                async with asyncio.timeout(_TCP_TIMEOUT):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    if not 12 <= length <= _MAX_TCP:
                        return
                    wire = await reader.readexactly(length)
                answer = self.answer(wire, _plain(writer.get_extra_info("peername")[0]))
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (TimeoutError, OSError, EOFError):
            return
        finally:
            self.connections -= 1
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        answer = self._listener.answer(data, _plain(addr[0])) if len(data) >= 12 else None
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def listen_for_notifies(address: str, notified: Sequence[Notified]) -> AsyncIterator[None]:
    """Listen at `host:port` for these lists. Raises UnavailableError if it cannot be had, FeedError for a bad key."""
    async with contextlib.AsyncExitStack() as stack:
        await _listen(stack, address, await _listener(notified))
        yield


async def _listen(stack: contextlib.AsyncExitStack, address: str, listener: Listener) -> None:
    host, port = split_endpoint(address)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(listener), local_addr=(host, port))
        stack.callback(transport.close)
        server = await asyncio.start_server(listener.serve_tcp, host, port)
        stack.callback(server.close)
    except OSError as error:
        reason = f"NOTIFY cannot be listened for at {address} ({error.strerror})"
        raise UnavailableError(f"{reason}; set `notify` of the list to a free address") from None


async def _listener(items: Sequence[Notified]) -> Listener:
    zones: dict[dns.name.Name, list[_Zone]] = {}
    keys: dict[dns.name.Name, dns.tsig.Key] = {}
    for item in items:
        definition = item.definition
        key = await asyncio.to_thread(load_tsig, definition.tsig) if definition.tsig else None
        if key is not None:
            keys[key.name] = key
        name = dns.name.from_text((definition.zone or "").lower())
        zones.setdefault(name, []).append(_Zone(definition.id, await _addresses(definition.source), key, item.tell))
    return Listener(zones, keys)


async def _addresses(source: str) -> frozenset[str]:
    host, _ = split_endpoint(source)
    with contextlib.suppress(ValueError):
        return frozenset({str(ipaddress.ip_address(host))})
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        raise FeedError(f"the primary {host} has no address; write its address in `source` of the list") from None
    return frozenset(_plain(str(item[4][0])) for item in found)


def _signed_by(query: dns.message.Message, key: dns.tsig.Key) -> bool:
    return query.had_tsig and query.keyname == key.name


def _plain(host: str) -> str:
    """An address without scope, IPv4 as IPv4 where it came through an IPv6 socket."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _refusal(wire: bytes, rcode: dns.rcode.Rcode) -> bytes | None:
    """An answer of the header alone; None to what is itself an answer."""
    if wire[2] & 0x80:
        return None
    return wire[:2] + bytes((0x80 | (wire[2] & 0x79), int(rcode) & 15)) + bytes(8)
