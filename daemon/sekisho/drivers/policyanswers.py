"""What a primary of policy zones answers: SOA, AXFR (RFC 5936), IXFR (RFC 1995), and refusals.

Owns who may ask (address and TSIG key, RFC 8945) and the form of messages. Zones and their content are `rpz`'s, sockets
`policyprimary`'s. Every answer but a refusal names nothing the asker may not transfer.

Questions, names, keys and their signatures are dnspython's. What is packed beside it are the records of answers, kept as the octets
they are in any message (`rpz.records`): a transfer of a million names, each with all below it, then takes a second of which nothing
is held, where dnspython's renderer packs some 15,000 records a second, which is two minutes and a pause for all other secondaries.
That the messages are well formed is held by dnspython as the secondary in the tests, and by BIND, Unbound, PowerDNS Recursor and Knot DNS.
"""

from __future__ import annotations

import ipaddress
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.tsig

from sekisho.drivers.policysigning import Signer, refusal
from sekisho.model.customers import Prefix
from sekisho.model.observation import ZONE_TRANSFERS
from sekisho.rpz.records import BLOCK
from sekisho.rpz.serials import newer
from sekisho.rpz.zone import Zone

AXFR, IXFR, CURRENT = ZONE_TRANSFERS
_SLACK = 4096
"""Octets a message of a transfer may have above BLOCK."""
_ROOM = 12
_SIGNATURE_ERRORS: Mapping[type[Exception], dns.rcode.Rcode] = {
    dns.message.UnknownTSIGKey: dns.rcode.BADKEY,
    dns.tsig.BadKey: dns.rcode.BADKEY,
    dns.tsig.BadAlgorithm: dns.rcode.BADKEY,
    dns.tsig.BadSignature: dns.rcode.BADSIG,
    dns.tsig.BadTime: dns.rcode.BADTIME,
    dns.tsig.PeerError: dns.rcode.BADSIG,
}
"""What is told of a signature that is not taken (RFC 8945 section 3)."""


@dataclass(slots=True)
class Transferred:
    """The last transfer of one zone to one secondary. `at`: UNIX seconds."""

    serial: int = 0
    at: float = 0.0
    kind: str = ""


@dataclass(slots=True)
class Allowed:
    """A secondary: who it is, and what was seen of it since the start."""

    id: str
    network: Prefix
    key: dns.tsig.Key | None
    clients_whole: bool = False
    """A zone that a trigger on clients went from is given whole: differences take none away there."""
    addresses: bool = True
    """Triggers on addresses in answers are given."""
    seen_at: float | None = None
    asked_at: tuple[str, int] | None = None
    """The address and port of ours it asked at last."""
    zones: dict[str, Transferred] = field(default_factory=dict)
    """By the zone's name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Messages to send in order, and what to do when the last is out."""

    messages: Iterator[bytes]
    done: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Answers:
    """Belongs to the loop that serves. Counts are since the start."""

    allowed: Sequence[Allowed]
    zones: dict[dns.name.Name, Zone] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    transfers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By (zone, one of ZONE_TRANSFERS)."""
    octets: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By one of ZONE_REFUSALS."""

    @property
    def keyring(self) -> Mapping[dns.name.Name, dns.tsig.Key]:
        return {one.key.name: one.key for one in self.allowed if one.key is not None}

    def answer(self, wire: bytes, source: str, *, tcp: bool, here: tuple[str, int] | None = None) -> Answer | None:
        """The answer to one message, which came from a `source` to an address and port `here`; None: it gets none."""
        if len(wire) < _ROOM or wire[2] & 0x80:
            return None
        try:
            query = dns.message.from_wire(wire, keyring=dict(self.keyring), ignore_trailing=True)
        except tuple(_SIGNATURE_ERRORS) as error:
            why = next(rcode for kind, rcode in _SIGNATURE_ERRORS.items() if isinstance(error, kind))
            told = refusal(wire, why, self.keyring, self.clock) if self._near(source) else None
            return self._refusal(wire, "key", dns.rcode.NOTAUTH, told)
        except (dns.exception.DNSException, ValueError):
            return self._refusal(wire, "malformed", dns.rcode.FORMERR)
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return self._refusal(wire, "malformed", dns.rcode.NOTIMP if query.opcode() != dns.opcode.QUERY else dns.rcode.FORMERR)
        asker = self._asker(query, source)
        if isinstance(asker, str):
            return self._refused(query, asker, dns.rcode.REFUSED)
        signer = Signer(query, asker.key, self.clock) if asker.key is not None else None
        zone = self.zones.get(query.question[0].name.canonicalize())
        if zone is None:
            return self._refused(query, "zone", dns.rcode.NOTAUTH, signer)
        asker.seen_at = self.clock()
        if here is not None:
            asker.asked_at = here
        return self._of_zone(query, zone, asker, signer, tcp=tcp)

    def is_near(self, source: str) -> bool:
        """Whether any secondary's questions may come from an address."""
        return bool(self._near(source))

    def _asker(self, query: dns.message.Message, source: str) -> Allowed | str:
        """The secondary that asks, or why it is none."""
        near = self._near(source)
        if not near:
            return "address"
        for one in near:
            if one.key is None and not query.had_tsig:
                return one
            if one.key is not None and query.had_tsig and query.keyname == one.key.name:
                return one
        return "key"

    def _near(self, source: str) -> list[Allowed]:
        """The secondaries whose questions come from an address."""
        here = _full(source)
        return [one for one in self.allowed if here.value >> (128 - one.network.length) == one.network.value >> (128 - one.network.length)]

    def _of_zone(self, query: dns.message.Message, zone: Zone, asker: Allowed, signer: Signer | None, *, tcp: bool) -> Answer | None:
        kind, apex = query.question[0].rdtype, zone.soa()
        if kind == dns.rdatatype.IXFR:
            theirs = _serial(query)
            if theirs is None:
                return Answer(iter([message(query, b"", 0, signer, dns.rcode.FORMERR)]))
            if not newer(zone.serial, theirs) or not tcp:
                # Over UDP the serial alone: whoever is behind asks again by TCP (RFC 1995 section 2).
                return self._told(query, zone, signer, apex)
            whole = asker.clients_whole and zone.loses_clients(theirs)
            runs = None if whole else zone.since(theirs, addresses=asker.addresses)
            if runs is not None:
                return self._transfer(query, zone, asker, signer, runs, IXFR)
            return self._transfer(query, zone, asker, signer, zone.whole(addresses=asker.addresses), AXFR)
        if kind == dns.rdatatype.AXFR:
            if not tcp:
                return Answer(iter([message(query, b"", 0, signer, dns.rcode.FORMERR)]))
            return self._transfer(query, zone, asker, signer, zone.whole(addresses=asker.addresses), AXFR)
        if kind == dns.rdatatype.SOA:
            return Answer(iter([message(query, apex, 1, signer)]))
        # A policy zone is transferred and not asked.
        return Answer(iter([message(query, b"", 0, signer, dns.rcode.REFUSED)]))

    def _told(self, query: dns.message.Message, zone: Zone, signer: Signer | None, apex: bytes) -> Answer:
        self.transfers[zone.label, CURRENT] += 1
        return Answer(iter([message(query, apex, 1, signer)]))

    def _transfer(
        self, query: dns.message.Message, zone: Zone, asker: Allowed, signer: Signer | None, runs: Iterator[tuple[int, bytes]], kind: str
    ) -> Answer:
        serial = zone.serial

        def done() -> None:
            self.transfers[zone.label, kind] += 1
            asker.zones[zone.label] = Transferred(serial, self.clock(), kind)

        return Answer((message(query, octets, count, signer) for count, octets in _gathered(runs)), done)

    def _refused(self, query: dns.message.Message, why: str, rcode: dns.rcode.Rcode, signer: Signer | None = None) -> Answer:
        self.refused[why] += 1
        return Answer(iter([message(query, b"", 0, signer, rcode)]))

    def _refusal(self, wire: bytes, why: str, rcode: dns.rcode.Rcode, told: bytes | None = None) -> Answer:
        self.refused[why] += 1
        if told is not None:
            return Answer(iter([told]))
        return Answer(iter([wire[:2] + bytes((0x80 | (wire[2] & 0x79), int(rcode) & 15)) + bytes(8)]))


def message(
    query: dns.message.Message, records: bytes, count: int, signer: Signer | None, rcode: dns.rcode.Rcode = dns.rcode.NOERROR
) -> bytes:
    """An answer of these records (`rpz.records`), which point at the question's name."""
    question = query.question[0]
    name = question.name.to_wire() or b""
    flags = dns.flags.QR | (query.flags & dns.flags.RD) | (dns.flags.AA if rcode == dns.rcode.NOERROR else 0) | int(rcode)
    head = struct.pack("!HHHHHH", query.id, flags, 1, count, 0, 0)
    wire = head + name + struct.pack("!HH", question.rdtype, question.rdclass) + records
    return wire if signer is None else signer.sign(wire)


def _gathered(runs: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Runs of records put together where a message has room for several."""
    held, octets = 0, bytearray()
    for count, run in runs:
        if octets and len(octets) + len(run) > BLOCK + _SLACK:
            yield held, bytes(octets)
            held = 0
            octets.clear()
        held += count
        octets += run
    yield held, bytes(octets)


def _serial(query: dns.message.Message) -> int | None:
    """The version an incremental transfer starts from."""
    for rrset in query.authority:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.name == query.question[0].name:
            serial: int = rrset[0].serial
            return serial
    return None


def _full(source: str) -> Prefix:
    address = ipaddress.ip_address(source.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return Prefix.parse(str(mapped or address))
