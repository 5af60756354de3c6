"""Packets of exporters, written by hand from the documents, and a desk that reads them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sekisho.config.flows import FlowExporter
from sekisho.drivers.flowsetup import exporter_rows
from sekisho.flows import layout
from sekisho.flows.decode import decode
from sekisho.flows.templates import keep_v5
from sekisho.model.customers import V4_MAPPED
from sekisho.model.flows import FlowFault

EXPORTER = "192.0.2.254"
CUSTOMER, SERVER = "192.0.2.7", "198.51.100.25"
V4_FIELDS = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (1, 4))
"""Source, target, ports, protocol, flags, octets."""


def number(address: str) -> int:
    found = ipaddress.ip_address(address)
    return int(found) | (V4_MAPPED if found.version == 4 else 0)


def record(
    source: str = CUSTOMER,
    target: str = SERVER,
    octets: int = 1000,
    ports: tuple[int, int] = (40000, 443),
    flags: int = 0x1B,
    protocol: int = 6,
) -> bytes:
    """A record of V4_FIELDS."""
    return struct.pack(
        "!4s4sHHBBI", ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed, *ports, protocol, flags, octets
    )


def v5_record(
    source: str, target: str, octets: int, ports: tuple[int, int] = (40000, 443), flags: int = 0x1B, interfaces: tuple[int, int] = (1, 2)
) -> bytes:
    packed = ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed, bytes(4)
    return struct.pack("!4s4s4sHHIIIIHHBBBBHHBBH", *packed, *interfaces, 3, octets, 0, 9, *ports, 0, flags, 6, 0, 64500, 64501, 24, 24, 0)


def v5(records: Sequence[bytes], sequence: int = 0, sampling: int = 0, engine: int = 0, count: int | None = None) -> bytes:
    head = struct.pack("!HHIIIIBBH", 5, len(records) if count is None else count, 1000, 1700000000, 0, sequence, 0, engine, sampling)
    return head + b"".join(records)


def v9(sets: Iterable[bytes], sequence: int = 0, domain: int = 0) -> bytes:
    sets = list(sets)
    return struct.pack("!HHIIII", 9, len(sets), 1000, 1700000000, sequence, domain) + b"".join(sets)


def ipfix(sets: Iterable[bytes], sequence: int = 0, domain: int = 0) -> bytes:
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), 1700000000, sequence, domain) + body


def a_set(identity: int, content: bytes, padding: int = 0) -> bytes:
    return struct.pack("!HH", identity, 4 + len(content) + padding) + content + bytes(padding)


def fields(specifiers: Iterable[tuple[int, ...]]) -> bytes:
    """(element, length), or (element, length, enterprise)."""
    return b"".join(
        struct.pack("!HHI", one[0] | 0x8000, one[1], one[2]) if len(one) == 3 else struct.pack("!HH", *one) for one in specifiers
    )


def template(identity: int, specifiers: Sequence[tuple[int, ...]]) -> bytes:
    return struct.pack("!HH", identity, len(specifiers)) + fields(specifiers)


def v9_options(identity: int, scope: Sequence[tuple[int, int]], options: Sequence[tuple[int, int]]) -> bytes:
    return struct.pack("!HHH", identity, 4 * len(scope), 4 * len(options)) + fields(scope) + fields(options)


def ipfix_options(identity: int, scope: Sequence[tuple[int, ...]], options: Sequence[tuple[int, ...]]) -> bytes:
    return struct.pack("!HHH", identity, len(scope) + len(options), len(scope)) + fields(scope) + fields(options)


class Desk:
    """A desk, and packets put on it."""

    def __init__(self, *exporters: FlowExporter) -> None:
        self.desk: Any = layout.make_desk()
        known = exporters or (FlowExporter.model_validate({"address": "192.0.2.0/24"}),)
        self.desk.exporters[:], self.desk.defaults[:], self.desk.interfaces[:] = exporter_rows(known)
        self.desk.cells[layout.C_EXPORTERS] = len(known)
        keep_v5(self.desk)
        self.desk.cells[layout.C_DIRTY] = 0

    def take(
        self, packet: bytes, address: str = EXPORTER, port: int = 2055, *, tcp: bool = False, now: int = 1_700_000_000
    ) -> list[tuple[int, ...]]:
        """The records of a packet: source, target, octets, octets back, facts, connections opened."""
        self.desk.cells[layout.C_RECORDS] = 0
        data = np.frombuffer(bytearray(packet) + bytes(8), np.uint8)[: len(packet)] if packet else np.zeros(1, np.uint8)
        high, low = number(address) >> 64, number(address) & (1 << 64) - 1
        decode(self.desk, data, 0, len(packet), np.uint64(high), np.uint64(low), port, int(tcp), now)
        rows = self.desk.records[: self.desk.cells[layout.C_RECORDS]].tolist()
        return [(row[0] << 64 | row[1], row[2] << 64 | row[3], row[4], row[5], row[6], row[7]) for row in rows]

    def octets(self, packet: bytes, **given: Any) -> list[tuple[str, str, int]]:
        """The same as (source, target, octets)."""
        return [(shown(row[0]), shown(row[1]), row[2]) for row in self.take(packet, **given)]

    @property
    def faults(self) -> dict[str, int]:
        counted = self.desk.totals[layout.FAULTS :].tolist()
        return {fault.value: counted[place] for place, fault in enumerate(FlowFault) if counted[place]}

    def total(self, which: layout.Total) -> int:
        return int(self.desk.totals[which])

    @property
    def sequence(self) -> tuple[int, int, int, int]:
        """Gaps, lost, late, restarts."""
        named = (layout.Total.GAPS, layout.Total.LOST, layout.Total.LATE, layout.Total.RESTARTS)
        return tuple(self.total(one) for one in named)  # type: ignore[return-value]


def shown(address: int) -> str:
    mapped = address >> 32 == V4_MAPPED >> 32
    return str(ipaddress.IPv4Address(address & 0xFFFFFFFF)) if mapped else str(ipaddress.IPv6Address(address))
