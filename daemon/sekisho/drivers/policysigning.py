"""TSIG for what a primary sends: one answer, or all messages of a transfer as one stream (RFC 8945 section 5.3.1).

The messages are octets already; dnspython's contexts digest them and give the MAC.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig

FUDGE = 300
"""Seconds that clocks may differ."""
_ADDITIONAL = 10
"""Where a header counts its additional records."""


class Signer:
    """Signs what answers one question. Every message of a stream is signed."""

    def __init__(self, query: dns.message.Message, key: dns.tsig.Key, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._mac = query.mac or b""
        self._id = query.id
        self._context: Any = None

    def sign(self, wire: bytes) -> bytes:
        """The message with its TSIG record."""
        return _signed(self, wire)

    def digest(self, wire: bytes) -> bytes:
        """The data of the record that signs a message."""
        now = int(self._clock())
        template = dns.rdtypes.ANY.TSIG.TSIG(dns.rdataclass.ANY, dns.rdatatype.TSIG, self._key.algorithm, now, FUDGE, b"", self._id, 0, b"")
        made, self._context = dns.tsig.sign(wire, self._key, template, now, self._mac, self._context, multi=True)
        data: bytes = made.to_wire()
        return data

    @property
    def owner(self) -> bytes:
        return self._key.name.to_wire() or b""


def refusal(wire: bytes, error: dns.rcode.Rcode, keys: Mapping[dns.name.Name, dns.tsig.Key], clock: Callable[[], float]) -> bytes | None:
    """The answer to a question whose signature is not taken: NOTAUTH, and `error` in a TSIG record (RFC 8945 section 5.2).

    Not signed where key or MAC are no good; where the time is not, signed, with the time here. None for what is no question.
    """
    try:
        query = dns.message.from_wire(wire, keyring=False, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if not query.had_tsig or query.tsig is None or len(query.question) != 1:
        return None
    theirs, owner = query.tsig[0], query.tsig.name
    question = query.question[0]
    flags = dns.flags.QR | dns.opcode.to_flags(query.opcode()) | (query.flags & dns.flags.RD) | int(dns.rcode.NOTAUTH)
    told = struct.pack("!HHHHHH", query.id, flags, 1, 0, 0, 0) + (question.name.to_wire() or b"")
    told += struct.pack("!HH", question.rdtype, question.rdclass)
    late, key = error == dns.rcode.BADTIME, keys.get(owner)
    other = int(clock()).to_bytes(6, "big") if late else b""
    made = dns.rdtypes.ANY.TSIG.TSIG(
        dns.rdataclass.ANY, dns.rdatatype.TSIG, theirs.algorithm, theirs.time_signed, theirs.fudge, b"", query.id, error, other
    )
    if late and key is not None:
        made, _ = dns.tsig.sign(told, key, made, theirs.time_signed, theirs.mac)
    return _with_tsig(told, owner.to_wire() or b"", made.to_wire() or b"")


def _signed(signer: Signer, wire: bytes) -> bytes:
    return _with_tsig(wire, signer.owner, signer.digest(wire))


def _with_tsig(wire: bytes, owner: bytes, data: bytes) -> bytes:
    count = int.from_bytes(wire[_ADDITIONAL : _ADDITIONAL + 2], "big") + 1
    record = owner + struct.pack("!HHIH", dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(data)) + data
    return wire[:_ADDITIONAL] + struct.pack("!H", count) + wire[_ADDITIONAL + 2 :] + record
