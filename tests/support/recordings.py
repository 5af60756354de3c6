"""Recordings made for tests: captures by scapy, and the site whose customers are in them."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from scapy.packet import Raw
from scapy.utils import wrpcap

from sekisho.drivers.sessionhistory import SessionHistory
from sekisho.model.sessions import Accounting
from sekisho.sessions.changes import Changes
from sekisho.sessions.table import Table

START = 1_700_000_000.0
SERVER = "192.0.2.53"
SITE = """\
version: 1
listen: [127.0.0.1:5300]
upstream: {{address: "127.0.0.1:5353"}}
terms: [{terms}]
customers: customers.yaml
state: state
{more}
"""
CUSTOMERS = """\
version: 1
customers:
{customers}
"""


def make_site(folder: Path, terms: str = "nbnet", people: int = 12, more: str = "") -> Path:
    """A configuration with customers c-1 to c-N at 198.51.100.1 and on, lines of 100 Mbit/s."""
    pack = Path(terms).stem
    customers = [
        f"  - {{id: c-{number}, terms: [{pack}], prefixes: [198.51.100.{number}], plan: {{down_mbps: 100, up_mbps: 100}}}}"
        for number in range(1, people + 1)
    ]
    (folder / "customers.yaml").write_text(CUSTOMERS.format(customers="\n".join(customers)) if people else "version: 1\ncustomers: []\n")
    path = folder / "sekisho.yaml"
    path.write_text(SITE.format(terms=terms, more=more))
    return path


def home(number: int) -> str:
    return f"198.51.100.{number}"


Recorded = tuple[float, bytes]
"""A frame, and when it was recorded. Headers are made by hand: scapy takes milliseconds for each packet it builds."""


def query(at: float, number: int, name: str, identity: int) -> Recorded:
    return at, frame_of(home(number), SERVER, 17, _udp(40000, 53, _message(identity, 0x0100, name)))


def reply(at: float, number: int, name: str, identity: int, rcode: int = 0) -> Recorded:
    return at, frame_of(SERVER, home(number), 17, _udp(53, 40000, _message(identity, 0x8180 | rcode, name)))


def syn(at: float, number: int, target: str, port: int) -> Recorded:
    return at, frame_of(home(number), target, 6, opening(port))


def opening(port: int) -> bytes:
    """The header of a segment that opens a connection to a port."""
    return struct.pack("!HHIIBBHHH", 41000, port, 0, 0, 0x50, 2, 0, 0, 0)


def frame(at: float, source: str, target: str, protocol: int, data: bytes) -> Recorded:
    """Any packet of IPv4."""
    return at, frame_of(source, target, protocol, data)


def export(at: float, packet: bytes, exporter: str = "203.0.113.9") -> Recorded:
    """A packet of an exporter to a collector."""
    return at, frame_of(exporter, "203.0.113.10", 17, _udp(5000, 2055, packet))


def write(path: Path, packets: Iterable[Recorded]) -> Path:
    """A capture as scapy writes it."""
    frames = []
    for at, data in sorted(packets):
        frame = Raw(data)
        frame.time = at
        frames.append(frame)
    wrpcap(str(path), frames, linktype=1)
    return path


def _message(identity: int, flags: int, name: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!6H", identity, flags, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, 1, 1)


def _udp(source: int, target: int, data: bytes) -> bytes:
    return struct.pack("!4H", source, target, 8 + len(data), 0) + data


def frame_of(source: str, target: str, protocol: int, data: bytes) -> bytes:
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return bytes(12) + struct.pack("!HBBHHHBBH", 0x0800, 0x45, 0, 20 + len(data), 0, 0, 64, protocol, 0) + ends + data


def keep_sessions(state: Path, told: Iterable[Accounting], logins: Mapping[str, str]) -> None:
    """The record of sessions as the daemon keeps it in its state folder, of what NASes told; `logins`: customers by user name."""
    state.mkdir(exist_ok=True)
    history, table, changes = SessionHistory.open(state / "sessions.db"), Table(), Changes()
    history.restore(0.0)
    for one in told:
        table.apply(one, logins.get(one.user), changes)
    history.start()
    history.write(changes.facts, lambda: None)
    asyncio.run(history.close())
