"""TSIG for what a primary sends: one answer, or all messages of a transfer as one stream (RFC 8945 section 5.3.1).

The messages are octets already; dnspython's contexts digest them and give the MAC.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import dns.message
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


def _signed(signer: Signer, wire: bytes) -> bytes:
    data = signer.digest(wire)
    count = int.from_bytes(wire[_ADDITIONAL : _ADDITIONAL + 2], "big") + 1
    record = signer.owner + struct.pack("!HHIH", dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(data)) + data
    return wire[:_ADDITIONAL] + struct.pack("!H", count) + wire[_ADDITIONAL + 2 :] + record
