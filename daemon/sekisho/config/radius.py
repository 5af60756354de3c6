"""The `radius:` section: which access servers (NAS) tell sessions, and how each of them speaks.

Owns the keys and their defaults. Secrets are not in it: each is in a file of its own, or the systemd
credential `radius-<id of the NAS>`. What is made of a packet is `drivers.radiusdecode`'s, what of a session
`sessions`'.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.validation import FileModel, shown
from sekisho.config.values import (
    Endpoint,
    FilePath,
    Flag,
    Identifier,
    Kept,
    Network,
    Seconds,
    SomeSeconds,
    Text,
    Whole,
    as_items,
    as_text,
    read_endpoint,
)
from sekisho.model.customers import Prefix

PORT = 1813
"""RFC 2866 section 3."""
_ATTRIBUTE = re.compile(r"26\.([0-9]{1,10})\.([0-9]{1,3})|([0-9]{1,3})")


def _as_listen(value: object) -> Endpoint:
    return read_endpoint(as_text(value), PORT)


def _as_attribute(value: object) -> tuple[int, int]:
    """Vendor and type; vendor 0: a standard attribute."""
    match = _ATTRIBUTE.fullmatch(as_text(value))
    if not match:
        raise ValueError(f"{shown(value)} is no attribute; write 26.VENDOR.TYPE such as 26.9.1, or the type of a standard one such as 11")
    vendor, kind = (int(match[1]), int(match[2])) if match[1] else (0, int(match[3]))
    if not 1 <= kind <= 255 or not 0 <= vendor < 1 << 32:
        raise ValueError(f"{shown(value)} is no attribute; types go from 1 to 255")
    return vendor, kind


def _many(item: dict[str, object]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


_STRING: dict[str, object] = {"type": "string"}
Listen = Annotated[Endpoint, PlainValidator(_as_listen)]
AttributeName = Annotated[
    tuple[int, int], PlainValidator(_as_attribute), WithJsonSchema({"type": "string", "pattern": f"^(?:{_ATTRIBUTE.pattern})$"})
]


class PortAttributes(FileModel):
    """Where a NAS that shares IPv4 addresses says a customer's ports, besides IP-Port-Range (RFC 8045), which is always read."""

    range: AttributeName | None = None
    """Text whose last two numbers are the first and the last port: `1024-2047`, `port-range=1024-2047`."""
    first: AttributeName | None = None
    """The first port, as an integer or in digits; `last` is the last."""
    last: AttributeName | None = None
    address: AttributeName | None = None
    """The shared address, as an address or as text; null: Framed-IP-Address is the one that is shared."""

    @model_validator(mode="after")
    def _whole(self) -> PortAttributes:
        if (self.first is None) != (self.last is None):
            raise ValueError("first and last belong together; name both attributes, or `range` for one that holds both")
        if (self.range is None) == (self.first is None):
            raise ValueError("says ports in one way; name either `range`, or `first` and `last`")
        return self


class MapRule(FileModel):
    """A MAP-E rule (RFC 7597 section 5): the customer's IPv6 prefix says which ports of which IPv4 address are theirs."""

    ipv6: Network
    """The rule's IPv6 prefix."""
    ipv4: Network
    """The rule's IPv4 prefix."""
    ea_bits: Annotated[Whole, Field(ge=0, le=48)]
    """Length of the embedded address bits."""
    offset: Annotated[Whole, Field(ge=0, le=15)] = 4
    """PSID offset: bits before the PSID in a port number."""

    @model_validator(mode="after")
    def _fits(self) -> MapRule:
        if self.ipv6.length < 1 or self.ipv4.length < 96 or self.ipv4.value >> 32 != 0xFFFF:
            raise ValueError("maps an IPv6 prefix to an IPv4 prefix; write `ipv6: 2001:db8::/32` and `ipv4: 192.0.2.0/24`")
        suffix = 128 - self.ipv4.length
        if self.ea_bits - suffix > 16 - self.offset or self.ipv6.length + self.ea_bits > 64:
            raise ValueError(f"ea_bits {self.ea_bits} do not fit: the IPv4 suffix takes {suffix}, a PSID at most {16 - self.offset}")
        return self


class Nas(FileModel):
    """One access server, or several that share a secret and their ways."""

    id: Identifier
    """Names it in `sekisho sessions`, and its secret's credential."""
    address: Annotated[tuple[Network, ...], BeforeValidator(as_items), Field(min_length=1), _many(_STRING)]
    """Addresses or prefixes its packets come from: of the NAS itself, or of the proxy in front."""
    identifier: Text | None = None
    """Its NAS-Identifier, or NAS-IP-Address: tells it from others whose packets come from the same address."""
    proxy: Flag = False
    """Several NASes come from this address, behind a proxy: each is told from the others by NAS-Identifier, else NAS-IP-Address."""
    secret_file: FilePath | None = None
    """File of the shared secret; null: the systemd credential radius-<id>."""
    message_authenticator: Flag = False
    """Whether a packet must have a Message-Authenticator (RFC 3579). One that is there must be right in any case."""
    event_timestamp: Flag = False
    """Its clock is right (NTP): what it tells happened when its Event-Timestamp says (RFC 2869 section 5.3), however late it comes. Else
    by arrival less Acct-Delay-Time."""
    swap: Flag = False
    """Input octets are those towards the customer: some vendors count from the line's side."""
    timeout: SomeSeconds | None = 3600.0
    """A session nothing is heard of for so long is lost: longer than two interim updates. null: the NAS sends none."""
    grace: Seconds = 600.0
    """Time after that in which it is not over yet, should it be heard of again."""
    ports: PortAttributes | None = None
    """How it says the ports of shared addresses."""
    block_age: SomeSeconds | None = 604800.0
    """Ports of a shared address that it allocates by an event (RFC 8045) and neither tells of again nor takes back are held no longer than
    this, should the session go on: longer than a block is in use at a stretch. null: as long as the session."""


class RadiusSettings(FileModel):
    """Who is on which line, told by RADIUS accounting."""

    listen: Annotated[tuple[Listen, ...], BeforeValidator(as_items), Field(min_length=1, max_length=16), _many(_STRING)] = (
        Endpoint("127.0.0.1", PORT),
    )
    """Where Accounting-Requests come in, over UDP."""
    nas: Annotated[tuple[Nas, ...], BeforeValidator(as_items), Field(min_length=1)]
    """The access servers that are listened to; whoever else sends is not answered."""
    realms: Annotated[tuple[Text, ...], BeforeValidator(as_items), _many(_STRING)] = ()
    """Realms that are no part of a customer's log-in name: `example.net` takes `@example.net` off user names."""
    retention: Kept = 180 * 86400.0
    """How long it is kept who held which address, after a session's end. Then it is gone for good."""
    map_e: Annotated[tuple[MapRule, ...], BeforeValidator(as_items)] = ()
    """MAP-E rules: ports of shared IPv4 addresses by the customer's delegated IPv6 prefix."""

    @model_validator(mode="after")
    def _distinct(self) -> RadiusSettings:
        seen: dict[str, None] = {}
        places: dict[tuple[Prefix, str | None], str] = {}
        secrets: dict[Prefix, tuple[str, Path | None]] = {}
        for one in self.nas:
            if one.id in seen:
                raise ValueError(f"two NASes have the id {one.id}; give each its own")
            seen[one.id] = None
            for prefix in one.address:
                other = places.setdefault((prefix, one.identifier), one.id)
                if other != one.id:
                    raise ValueError(f"NAS {other} and NAS {one.id} come from {prefix}; tell them apart by `identifier`")
                name, file = secrets.setdefault(prefix, (one.id, one.secret_file))
                if name != one.id and (file != one.secret_file or file is None):
                    raise ValueError(f"NAS {name} and NAS {one.id} come from {prefix}; one address has one secret: give both the same file")
        return self
