"""Captures of packets (pcap, pcapng): queries of names, octets and connections of customers, and packets of exporters.

Owns the way through the headers. The file itself is read by scapy, an extra: nothing else of Sekisho imports it. A name is
compared with the lists here, and its digest held against those asked before; no more of it is left.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sekisho.detect.mailvolume import PORTS as MAIL_PORTS
from sekisho.drivers.recordedflows import PORTS as FLOW_PORTS
from sekisho.drivers.recordedflows import Exports
from sekisho.drivers.recordings import Reading
from sekisho.model.customers import V4_MAPPED
from sekisho.model.errors import RefusedError, UnavailableError
from sekisho.model.usage import Source

ANSWER_WITHIN = 5.0
"""Seconds within which a query has its answer, or failed."""
_ETHERNET, _RAW, _SLL, _SLL2 = 1, (12, 14, 101, 228, 229), 113, 276
LINKS = frozenset({_ETHERNET, *_RAW, _SLL, _SLL2})
"""Link types of captures that are known: Ethernet, raw IP, and Linux's cooked ones."""
_MEND = "record anew, or write the packets that are whole with `editcap FILE WHOLE`"
_MOST = 0xFFFF
"""Octets of a packet that are read."""
_V4, _V6 = 0x0800, 0x86DD
_TAGS = (0x8100, 0x88A8, 0x9100)
_PPPOE = 0x8864
_PPP = {0x0021: _V4, 0x0057: _V6}
_UDP, _TCP = 17, 6
_OPTIONS = (0, 43, 60)
_FRAGMENT = 44
_SYN, _ACK = 2, 16
_NXDOMAIN = 3
_NAMES = 1 << 20
"""Digests of names asked before; then all are forgotten."""


def read(path: Path, reading: Reading) -> None:
    """Read a capture. Raises RefusedError for one that cannot be, UnavailableError without scapy."""
    packets = _Packets(reading)
    count = 0
    for at, link, data in _records(path):
        reading.saw(at, path)
        found = network_of(link, data)
        if found is not None:
            packets.take(at, *found)
        elif link not in LINKS:
            raise RefusedError(f"{path} is of link type {link}, which is not known here; record Ethernet, raw IP or `-i any`")
        count += 1
    if not count:
        raise RefusedError(f"{path} has no packets; record anew")
    packets.finish()


def _records(path: Path) -> Iterator[tuple[float, int, bytes]]:
    """Time, link type and octets of every packet. Raises RefusedError at the place where the file is cut off."""
    try:
        from scapy.error import Scapy_Exception  # noqa: PLC0415 - an extra
        from scapy.utils import RawPcapNgReader, RawPcapReader  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnavailableError("captures are read by scapy, which is not installed; run `pip install sekisho[replay]`") from None
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.open(file) if packed else contextlib.nullcontext(file) as stream:
            try:
                source: Any = stream
                reader: Any = RawPcapReader(source)
            except (Scapy_Exception, OSError, EOFError, struct.error) as error:
                raise RefusedError(f"{path} is no capture that can be read ({error}); name a pcap or pcapng file") from error
            yield from _each(path, reader, fine=isinstance(reader, RawPcapNgReader), wrong=Scapy_Exception)


def _each(path: Path, reader: Any, *, fine: bool, wrong: type[Exception]) -> Iterator[tuple[float, int, bytes]]:
    """`fine`: it is pcapng; `wrong`: what scapy raises."""
    # It tells the log of what it raises anyway.
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    while True:
        start = reader.f.tell()
        try:
            data, about = reader._read_packet()  # noqa: SLF001 - its iterator ends where the file is cut off as it does at the end
        except EOFError:
            if reader.f.tell() != start and not _whole(reader, start, fine):
                raise RefusedError(f"{path} is cut off within a packet; {_MEND}") from None
            break
        except (wrong, OSError, ValueError, struct.error) as error:
            raise RefusedError(f"{path} is damaged ({error}); {_MEND}") from error
        if fine:
            at = ((about.tshigh or 0) << 32 | (about.tslow or 0)) / (about.tsresol or 1_000_000)
            yield at, about.linktype, data
            continue
        if len(data) < min(about.caplen, _MOST):
            raise RefusedError(f"{path} is cut off within a packet; {_MEND}")
        yield about.sec + about.usec / (1e9 if reader.nano else 1e6), reader.linktype, data


def _whole(reader: Any, start: int, fine: bool) -> bool:
    """Whether what follows the last packet are whole blocks of pcapng, such as statistics. In pcap nothing may follow."""
    reader.f.seek(start)
    while fine and (head := reader.f.read(8)):
        length = struct.unpack(reader.endian + "I", head[4:])[0] if len(head) == 8 else 0
        if length < 12 or length % 4 or len(reader.f.read(length - 8)) < length - 8:
            return False
    return fine


def network_of(link: int, data: bytes) -> tuple[bool, bytes] | None:
    """Whether a frame has IPv4 (else IPv6), and the packet in it; None: it has neither, or is cut off."""
    if link in _RAW:
        kind = {4: _V4, 6: _V6}.get(data[0] >> 4 if data else 0, 0)
        return (kind == _V4, data) if kind else None
    at = {_ETHERNET: 12, _SLL: 14, _SLL2: 0}.get(link)
    if at is None or len(data) < at + 2:
        return None
    kind, at = _be16(data, at), {_ETHERNET: 14, _SLL: 16, _SLL2: 20}[link]
    while kind in _TAGS and len(data) >= at + 4:
        kind, at = _be16(data, at + 2), at + 4
    if kind == _PPPOE and len(data) >= at + 8:
        kind, at = _PPP.get(_be16(data, at + 6), 0), at + 8
    return (kind == _V4, data[at:]) if kind in {_V4, _V6} else None


class _Packets:
    """The packets of one capture, one after the other."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._exports: Exports | None = None
        self._waiting: dict[tuple[int, int, int, int], float] = {}
        """Queries without an answer yet: customer's address and port, server and id."""
        self._names: set[int] = set()
        self._last = 0.0

    def take(self, at: float, v4: bool, packet: bytes) -> None:
        """A packet of IP. What is no customer's is counted and forgotten."""
        self._last = max(self._last, at)
        parts = _header(packet) if v4 else _header_v6(packet)
        if parts is None:
            return
        source, target, length, protocol, first, begin = parts
        ports = protocol in {_UDP, _TCP} and first and len(packet) >= begin + 4
        from_port, to_port = (_be16(packet, begin), _be16(packet, begin + 2)) if ports else (0, 0)
        if protocol == _UDP and to_port in FLOW_PORTS:
            self._exports = self._exports or Exports(self._reading)
            self._exports.take(at, source, from_port, packet[begin + 8 : begin + max(8, _be16(packet, begin + 4))])
            return
        owners, recorded = self._reading.owners, self._reading.recorded
        from_row, to_row = owners.row(source, at, from_port), owners.row(target, at, to_port)
        if not from_row and not to_row:
            recorded.nobody += 1
            return
        flags = packet[begin + 13] if protocol == _TCP and ports and len(packet) >= begin + 14 else 0
        opened = int(flags & _SYN != 0 and flags & _ACK == 0)
        if from_row:
            bucket = owners.bucket(target) if opened else 0
            recorded.carry(Source.COUNTERS, at, from_row, 0, length, opened, mail=to_port in MAIL_PORTS, bucket=bucket)
        if to_row:
            recorded.carry(Source.COUNTERS, at, to_row, length, 0)
        if 53 in {from_port, to_port}:
            message = packet[begin + 8 :] if protocol == _UDP else _in_stream(packet, begin)
            if from_row and to_port == 53:
                self._query(at, from_row, (source, from_port, target), message)
            elif to_row and from_port == 53:
                self._answer(at, to_row, (target, to_port, source), message)

    def finish(self) -> None:
        """What is not answered at the end of the recording may have been afterwards."""
        for asked_at in self._waiting.values():
            if self._last - asked_at > ANSWER_WITHIN:
                self._reading.recorded.fail(asked_at)
        if self._exports is not None:
            self._reading.notes.extend(self._exports.notes())

    def _query(self, at: float, row: int, way: tuple[int, int, int], message: bytes) -> None:
        if len(message) < 12 or message[2] & 0x80 or (self._reading.resolvers and way[2] not in self._reading.resolvers):
            return
        name = _name(message)
        new = False
        if name is not None:
            digest = hash(name)
            new = digest not in self._names
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names.add(digest)
        recorded = self._reading.recorded
        recorded.ask(at, row, new=new)
        key = (*way, _be16(message, 0))
        before = self._waiting.pop(key, None)
        if before is not None:
            recorded.fail(before)
        self._waiting[key] = at
        # In the order of time: the first ones have waited the longest.
        while self._waiting:
            oldest = next(iter(self._waiting))
            if at - self._waiting[oldest] <= ANSWER_WITHIN:
                break
            recorded.fail(self._waiting.pop(oldest))
        if name is not None and self._reading.judge is not None:
            found = self._reading.judge(row, name)
            if found is not None:
                recorded.blocked[row, *found] += 1

    def _answer(self, at: float, row: int, way: tuple[int, int, int], message: bytes) -> None:
        if len(message) < 12 or not message[2] & 0x80:
            return
        asked_at = self._waiting.pop((*way, _be16(message, 0)), None)
        if asked_at is not None:
            self._reading.recorded.answer(asked_at, row, at - asked_at, nxdomain=message[3] & 0xF == _NXDOMAIN)


def _header(packet: bytes) -> tuple[int, int, int, int, bool, int] | None:
    """Source, target, length, protocol, whether it has the beginning of what it carries, and where that begins: of IPv4."""
    if len(packet) < 20 or packet[0] & 0xF < 5:
        return None
    source, target = int.from_bytes(packet[12:16], "big"), int.from_bytes(packet[16:20], "big")
    # With segmentation offload the length is left to the hardware: what was recorded is what there is.
    length = _be16(packet, 2) or len(packet)
    return V4_MAPPED | source, V4_MAPPED | target, length, packet[9], not _be16(packet, 6) & 0x1FFF, 4 * (packet[0] & 0xF)


def _header_v6(packet: bytes) -> tuple[int, int, int, int, bool, int] | None:
    """The same of IPv6."""
    if len(packet) < 40:
        return None
    source, target = int.from_bytes(packet[8:24], "big"), int.from_bytes(packet[24:40], "big")
    protocol, at, first = packet[6], 40, True
    while protocol in {*_OPTIONS, _FRAGMENT} and len(packet) >= at + 8:
        if protocol == _FRAGMENT:
            first &= not _be16(packet, at + 2) & 0xFFF8
        protocol, at = packet[at], at + (8 if protocol == _FRAGMENT else 8 * (packet[at + 1] + 1))
    payload = _be16(packet, 4)
    return source, target, 40 + payload if payload else len(packet), protocol, first, at


def _in_stream(packet: bytes, begin: int) -> bytes:
    """The message of DNS a segment of TCP begins with; empty if none does (RFC 7766, section 8)."""
    if len(packet) < begin + 14:
        return b""
    at = begin + 4 * (packet[begin + 12] >> 4)
    return packet[at + 2 :] if len(packet) >= at + 14 and _be16(packet, at) == len(packet) - at - 2 else b""


def _name(message: bytes) -> bytes | None:
    """The name of the one question, in canonical wire form; None: there is none, or it is cut off."""
    if _be16(message, 4) != 1:
        return None
    at = 12
    while at < len(message) and message[at]:
        if message[at] > 63:
            return None
        at += message[at] + 1
    if at >= len(message) or at - 12 > 254:
        return None
    return message[12 : at + 1].lower()


def _be16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
