"""Values of RADIUS attributes as a NAS writes them: texts, numbers, addresses and prefixes (RFC 2865, 2869, 3162)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sekisho.drivers.radiuspacket import Received
from sekisho.model.customers import Prefix

_NAS_ADDRESS, _NAS_ADDRESS6 = 4, 95
_NOBODYS = frozenset({0, 0xFFFFFFFF, 0xFFFFFFFE})
"""Framed-IP-Address before there is one, and those that let the user or the NAS choose (RFC 2865 section 5.8)."""
_SHORTEST6 = 16
"""A prefix shorter than that is no customer's."""


class MalformedError(Exception):
    """A genuine packet with something in it that cannot be."""


def text_of(values: Sequence[bytes] | None) -> str:
    """The first value as text; empty if there is none."""
    return values[0].decode("utf-8", "backslashreplace").replace("\0", "") if values else ""


def number_of(values: Sequence[bytes] | None) -> int | None:
    """The first value as a number of 32 bits; None: there is none. Raises MalformedError."""
    if not values:
        return None
    if len(values[0]) != 4:
        raise MalformedError
    return int.from_bytes(values[0])


def octets_of(packet: Received, low: int, high: int) -> int | None:
    """A counter of octets with its Gigawords (RFC 2869 section 5.1); None: it is not there. Raises MalformedError."""
    octets = number_of(packet.get(low))
    return None if octets is None else (number_of(packet.get(high)) or 0) << 32 | octets


def v4_of(values: Sequence[bytes] | None) -> int | None:
    """The first value as an IPv4 address; None: there is none, or one that is nobody's. Raises MalformedError."""
    number = number_of(values)
    return None if number is None or number in _NOBODYS else number


def v6_prefix(value: bytes) -> Prefix | None:
    """RFC 3162 section 2.3: a reserved octet, the length, as many octets of the prefix as it needs or more; None: it is nobody's.

    Raises MalformedError.
    """
    if not 2 <= len(value) <= 18 or value[1] > 128:
        raise MalformedError
    length = value[1]
    number = int.from_bytes(value[2:].ljust(16, b"\0"))
    return checked_v6(number >> (128 - length) << (128 - length), length)


def checked_v6(value: int, length: int) -> Prefix | None:
    """A prefix that can be a customer's; None: unspecified, as before there is one. Raises MalformedError."""
    if value == 0:
        return None
    if length < _SHORTEST6 or value >> 96 == 0:
        # ::/32 holds no customer, and IPv4 addresses, which are no business of these attributes.
        raise MalformedError
    return Prefix(value, length)


def nas_address(packet: Received) -> str:
    """NAS-IP-Address or NAS-IPv6-Address; empty if it says neither."""
    for kind, size in ((_NAS_ADDRESS, 4), (_NAS_ADDRESS6, 16)):
        values = packet.get(kind)
        if values and len(values[0]) == size:
            return str(ipaddress.ip_address(values[0]))
    return ""
