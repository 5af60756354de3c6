"""Records of a policy zone as octets that stand in any message whose question is the zone.

A message of a transfer is header, question, records. The question's name stands at octet 12, so an owner is its labels
below the zone and a pointer there (RFC 1035 section 4.1.4), and a record is the same octets wherever it
stands: a zone is a set of them, a difference two sets, and a message their concatenation.

Actions are said as draft-vixie-dnsop-dns-rpz-00 section 3 has them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from sekisho.model.addresses import labels_of, prefix_of
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, Trigger

ZONE = b"\xc0\x0c"
"""The pointer to the question's name."""
BLOCK = 48 * 1024
"""Octets of records in one message at most; with header, question, SOA and TSIG it stays under 64 KiB."""
MAX_NAME = 255
_IN = 1
_NS, _CNAME, _SOA = 2, 5, 6
_IP, _CLIENT_IP = "rpz-ip", "rpz-client-ip"

CLIENT_OWNER = bytes((len(_CLIENT_IP),)) + _CLIENT_IP.encode() + ZONE
"""How the owner of a trigger on clients ends."""

ADDRESS_OWNER = bytes((len(_IP),)) + _IP.encode() + ZONE
"""How the owner of a trigger on addresses in answers ends."""

NXDOMAIN = b"\0"
NODATA = b"\1*\0"
PASSTHRU = b"\x0crpz-passthru\0"
DROP = b"\x08rpz-drop\0"
TCP_ONLY = b"\x0crpz-tcp-only\0"

_TARGETS = {
    ActionKind.NXDOMAIN: NXDOMAIN,
    ActionKind.NODATA: NODATA,
    # A policy zone cannot say REFUSED: the name has no data instead.
    ActionKind.REFUSED: NODATA,
    ActionKind.DROP: DROP,
    ActionKind.PASSTHRU: PASSTHRU,
    ActionKind.EXCEPT: PASSTHRU,
    ActionKind.TCP_ONLY: TCP_ONLY,
}


def tail(rtype: int, ttl: int, rdata: bytes) -> bytes:
    """A record from behind its owner's labels on: the pointer to the zone, type, class, TTL and data (uncompressed wire form)."""
    return ZONE + struct.pack("!HHIH", rtype, _IN, ttl, len(rdata)) + rdata


def cname(target: bytes, ttl: int) -> bytes:
    return tail(_CNAME, ttl, target)


def tails(action: Action, ttl: int) -> tuple[bytes, ...]:
    """What an action is in a policy zone: one CNAME, or local data. `ttl` in seconds, where the action has none of its own."""
    target = _TARGETS.get(action.kind)
    if target is not None:
        return (cname(target, ttl),)
    return tuple(tail(record.rtype, record.ttl, record.rdata) for record in action.records) or (cname(NODATA, ttl),)


def split(name: bytes) -> list[bytes]:
    """The labels of a wire name, without the root's."""
    labels, position = [], 0
    while name[position]:
        labels.append(name[position + 1 : position + 1 + name[position]])
        position += name[position] + 1
    return labels


def join(labels: Iterable[bytes]) -> bytes:
    """Labels in wire form, without the root's."""
    return b"".join(bytes((len(label),)) + label for label in labels)


def client_ip(prefix: Prefix) -> bytes:
    """The labels of an rpz-client-ip trigger (draft section 4.1.1): `24.0.2.0.192.rpz-client-ip`, `48.zz.db8.2001.rpz-client-ip`."""
    return join(label.encode() for label in (*labels_of(prefix), _CLIENT_IP))


def trigger_name(key: bytes) -> bytes | None:
    """The name in a policy zone, with the root's octet, of the key of a prefix (`model.addresses`); None for a name."""
    found = prefix_of(key)
    if found is None:
        return None
    prefix, trigger = found
    return join(label.encode() for label in (*labels_of(prefix), _CLIENT_IP if trigger is Trigger.CLIENT else _IP)) + b"\0"


def soa(origin: bytes, serial: int, *, refresh: int, retry: int, expire: int, minimum: int) -> bytes:
    """The zone's SOA as a record. Times in seconds."""
    names = b"\x09localhost\0" + b"\x0ahostmaster" + origin
    return tail(_SOA, minimum, names + struct.pack("!IIIII", serial, refresh, retry, expire, minimum))


def name_server(ttl: int) -> bytes:
    """The zone's NS record: nobody is delegated to."""
    return tail(_NS, ttl, b"\x09localhost\0")


def blocks(records: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Records in runs of BLOCK octets at most: how many, and the octets."""
    run: list[bytes] = []
    size = 0
    for record in records:
        if run and size + len(record) > BLOCK:
            yield len(run), b"".join(run)
            run, size = [], 0
        run.append(record)
        size += len(record)
    if run:
        yield len(run), b"".join(run)
