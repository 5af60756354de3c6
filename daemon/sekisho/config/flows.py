"""The `flows:` section: which exporters send flow records, where they are received, and how they are counted.

Owns the keys and their defaults. What a record says is `sekisho.flows`'; what follows from the sums is the detectors'.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.validation import FileModel, shown
from sekisho.config.values import Endpoint, Flag, Network, SomeSeconds, as_items, as_some_seconds, as_text, read_endpoint

NETFLOW_PORT, IPFIX_PORT = 2055, 4739
MOST_EXPORTERS = 256
"""Entries, each of which may be a prefix with many exporters."""


class FlowDirection(enum.StrEnum):
    """Where an exporter saw a record's packets (field 61)."""

    INGRESS = "ingress"
    EGRESS = "egress"


def _as_udp(value: object) -> Endpoint:
    return read_endpoint(as_text(value), NETFLOW_PORT)


def _as_tcp(value: object) -> Endpoint:
    return read_endpoint(as_text(value), IPFIX_PORT)


def _as_sampling(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1_000_000:
        raise ValueError(f"expected one of how many packets is looked at, from 1 to 1000000; found {shown(value)}")
    return float(value)


def _as_interface(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 32:
        raise ValueError(f"expected the number of an interface (SNMP ifIndex), found {shown(value)}")
    return value


def _as_realm(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < (1 << 64) - 1:
        raise ValueError(f"expected the number of a network behind the CGN (ingressVRFID, internalAddressRealm), found {shown(value)}")
    return value


def _as_age(value: object) -> float | None:
    seconds = None if value is None else as_some_seconds(value)
    if seconds is not None and seconds < 60:
        raise ValueError("blocks of ports are held for a minute at least; write 7d, or null for as long as nobody takes them back")
    return seconds


def _as_exporter(value: object) -> object:
    """A bare address or prefix stands for an exporter with nothing else to say."""
    return value if isinstance(value, Mapping | FlowExporter) else {"address": value}


def _as_interval(value: object) -> float:
    seconds = as_some_seconds(value)
    if not 1 <= seconds <= 300:
        raise ValueError("usage is summed over 1s to 5m")
    return seconds


_ENDPOINTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
UdpEndpoint = Annotated[Endpoint, PlainValidator(_as_udp)]
TcpEndpoint = Annotated[Endpoint, PlainValidator(_as_tcp)]
Interface = Annotated[int, PlainValidator(_as_interface), WithJsonSchema({"type": "integer", "minimum": 1})]


Realm = Annotated[int, PlainValidator(_as_realm), WithJsonSchema({"type": "integer", "minimum": 1})]


class FlowExporter(FileModel):
    """One exporter, or all within a prefix."""

    address: Network
    """Where its packets come from: an address or a prefix. Of several that hold it the longest counts."""
    sampling: Annotated[float, BeforeValidator(_as_sampling)] = 1.0
    """One of so many packets is looked at, unless the exporter says otherwise."""
    direction: FlowDirection | None = None
    """Count records of this direction alone, for exporters that tell every packet twice; null: all."""
    customer_interfaces: Annotated[
        tuple[Interface, ...],
        BeforeValidator(as_items),
        Field(max_length=64),
        WithJsonSchema({"type": "array", "items": {"type": "integer"}}),
    ] = ()
    """Interfaces (SNMP ifIndex) that lead to customers: what comes in by one is upload, what goes out by one download, and
    nothing else counts. Empty: told by the addresses alone."""
    port_blocks: Flag = False
    """It is a CGN, or speaks for one, and reports blocks of ports as it allocates and takes them back (natEvent 16 and 17, RFC 8158): they
    are held by the customer whose the inside address is. Its clock is right (NTP)."""
    block_age: Annotated[SomeSeconds | None, BeforeValidator(_as_age)] = 604800.0
    """A block that it neither reports again nor takes back is held no longer than this: longer than a block is in use. null: for ever."""
    realms: Annotated[
        tuple[Realm, ...], BeforeValidator(as_items), Field(max_length=64), WithJsonSchema({"type": "array", "items": {"type": "integer"}})
    ] = ()
    """Numbers (ingressVRFID, or internalAddressRealm) of the networks whose inside addresses are customers' of this site. A block of
    another network is nobody's, and so is one of any that is told where none is given."""


class FlowSettings(FileModel):
    """Flow records: NetFlow v5, v9 and IPFIX."""

    listen: Annotated[tuple[UdpEndpoint, ...], BeforeValidator(as_items), Field(max_length=16), _ENDPOINTS] = ()
    """Where they come in over UDP; port 2055 where none is given."""
    listen_tcp: Annotated[tuple[TcpEndpoint, ...], BeforeValidator(as_items), Field(max_length=16), _ENDPOINTS] = ()
    """Where IPFIX comes in over TCP; port 4739 where none is given."""
    exporters: Annotated[
        tuple[Annotated[FlowExporter, BeforeValidator(_as_exporter)], ...],
        BeforeValidator(as_items),
        Field(min_length=1, max_length=MOST_EXPORTERS),
    ]
    """Who may send them. Packets of anybody else are counted and dropped."""
    interval: Annotated[SomeSeconds, BeforeValidator(_as_interval)] = 10.0
    """Time over which usage is summed before it goes to the detectors."""

    @model_validator(mode="after")
    def _somewhere(self) -> FlowSettings:
        if not self.listen and not self.listen_tcp:
            raise ValueError("needs an address to receive on under `listen` (UDP) or `listen_tcp` (IPFIX over TCP)")
        twice = [str(one.address) for one in self.exporters if sum(other.address == one.address for other in self.exporters) > 1]
        if twice:
            raise ValueError(f"{twice[0]} stands twice under `exporters`; keep one")
        return self

    def exporter(self, address: int) -> FlowExporter | None:
        """The entry of an exporter by its address in the 128-bit space: the longest that holds it; None: it is nobody's."""
        found = [one for one in self.exporters if one.address.value >> 128 - one.address.length == address >> 128 - one.address.length]
        return max(found, key=lambda one: one.address.length, default=None)
