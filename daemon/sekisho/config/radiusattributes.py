"""RADIUS attributes that requests to a NAS may carry: their numbers, types and how a value is written.

The table holds those of the shipped templates and of sessions; an operator adds those of other vendors in the file. Values
are encoded as RFC 2865 section 5 says, prefixes as RFC 3162 section 2.3.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

MAX_VALUE = 253
"""Octets of a value; those of a vendor have fewer (RFC 2865 section 5.26)."""
MAX_VENDOR_VALUE = 247


class AttributeType(enum.StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    """32 bits."""
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    PREFIX = "ipv6-prefix"


@dataclass(frozen=True, slots=True)
class Attribute:
    """`vendor` 0: one of the RFCs."""

    name: str
    vendor: int
    number: int
    type: AttributeType = AttributeType.TEXT

    @property
    def key(self) -> int | tuple[int, int]:
        """As packets name it: the number, or vendor and number."""
        return (self.vendor, self.number) if self.vendor else self.number


_CISCO, _MIKROTIK, _ERX, _WISPR, _HUAWEI = 9, 14988, 4874, 14122, 2011
_INTEGER = AttributeType.INTEGER

ATTRIBUTES: dict[str, Attribute] = {
    one.name: one
    for one in (
        Attribute("User-Name", 0, 1),
        Attribute("NAS-IP-Address", 0, 4, AttributeType.IPV4),
        Attribute("NAS-Port", 0, 5, _INTEGER),
        Attribute("Framed-IP-Address", 0, 8, AttributeType.IPV4),
        Attribute("Filter-Id", 0, 11),
        Attribute("Reply-Message", 0, 18),
        Attribute("Class", 0, 25),
        Attribute("Session-Timeout", 0, 27, _INTEGER),
        Attribute("Called-Station-Id", 0, 30),
        Attribute("Calling-Station-Id", 0, 31),
        Attribute("NAS-Identifier", 0, 32),
        Attribute("Acct-Session-Id", 0, 44),
        Attribute("Framed-Pool", 0, 88),
        Attribute("NAS-IPv6-Address", 0, 95, AttributeType.IPV6),
        Attribute("Framed-IPv6-Prefix", 0, 97, AttributeType.PREFIX),
        Attribute("Delegated-IPv6-Prefix", 0, 123, AttributeType.PREFIX),
        Attribute("Framed-IPv6-Address", 0, 168, AttributeType.IPV6),
        Attribute("Cisco-AVPair", _CISCO, 1),
        Attribute("Cisco-Account-Info", _CISCO, 250),
        Attribute("Cisco-Command-Code", _CISCO, 252),
        Attribute("Mikrotik-Rate-Limit", _MIKROTIK, 8),
        Attribute("Mikrotik-Address-List", _MIKROTIK, 19),
        Attribute("ERX-Ingress-Policy-Name", _ERX, 10),
        Attribute("ERX-Egress-Policy-Name", _ERX, 11),
        Attribute("ERX-Qos-Profile-Name", _ERX, 26),
        Attribute("WISPr-Bandwidth-Max-Up", _WISPR, 7, _INTEGER),
        Attribute("WISPr-Bandwidth-Max-Down", _WISPR, 8, _INTEGER),
        Attribute("Huawei-Input-Average-Rate", _HUAWEI, 2, _INTEGER),
        Attribute("Huawei-Output-Average-Rate", _HUAWEI, 5, _INTEGER),
    )
}
"""Attributes known by name."""

RESERVED = {24: "State", 33: "Proxy-State", 55: "Event-Timestamp", 79: "EAP-Message", 80: "Message-Authenticator", 101: "Error-Cause"}
"""Attributes of the RFCs that the packets' own making decides."""


def encode(attribute: Attribute, value: str) -> bytes:
    """The octets of a value. Raises ValueError, with a sentence, for one the attribute cannot have."""
    try:
        match attribute.type:
            case AttributeType.INTEGER:
                coded = int(value).to_bytes(4, "big")
            case AttributeType.IPV4:
                coded = ipaddress.IPv4Address(value).packed
            case AttributeType.IPV6:
                coded = ipaddress.IPv6Address(value).packed
            case AttributeType.PREFIX:
                network = ipaddress.IPv6Network(value)
                coded = bytes((0, network.prefixlen)) + network.network_address.packed[: (network.prefixlen + 7) // 8]
            case AttributeType.TEXT:
                coded = value.encode()
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no value of {attribute.name}, which is of type {attribute.type}") from None
    most = MAX_VENDOR_VALUE if attribute.vendor else MAX_VALUE
    if not 1 <= len(coded) <= most:
        raise ValueError(f"a value of {attribute.name} has 1 to {most} octets, this one {len(coded)}; make it shorter")
    return coded
