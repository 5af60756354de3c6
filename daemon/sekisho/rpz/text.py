"""Records of a policy zone as lines of a master file (RFC 1035 section 5), for resolvers that read files."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from sekisho.rpz.records import ZONE

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_A, _CNAME, _AAAA = 1, 5, 28


def master_lines(count: int, octets: bytes) -> Iterator[str]:
    """`count` records one after another (`records`), each a line; names stand relative to the zone, targets in full."""
    position = 0
    for _ in range(count):
        labels = []
        while octets[position] < 64:
            labels.append(_label(octets[position + 1 : position + 1 + octets[position]]))
            position += octets[position] + 1
        position += len(ZONE)
        rtype, _, ttl, length = struct.unpack_from("!HHIH", octets, position)
        position += 10
        rdata = octets[position : position + length]
        position += length
        yield f"{'.'.join(labels) or '@'} {ttl} {_data(rtype, rdata)}\n"


def _data(rtype: int, rdata: bytes) -> str:
    if rtype == _CNAME:
        return f"CNAME {_name(rdata)}"
    if rtype in {_A, _AAAA}:
        return f"{'A' if rtype == _A else 'AAAA'} {ipaddress.ip_address(rdata)}"
    # Any other type as RFC 3597 has it.
    return f"TYPE{rtype} \\# {len(rdata)} {rdata.hex()}"


def _name(wire: bytes) -> str:
    labels, position = [], 0
    while wire[position]:
        labels.append(_label(wire[position + 1 : position + 1 + wire[position]]))
        position += wire[position] + 1
    return ".".join(labels) + "."


def _label(label: bytes) -> str:
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in label)
