"""What a packet says a session holds: addresses and prefixes of its own, and parts of shared addresses by ports.

Framed-IP-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix, Framed-IPv6-Address (RFC 2865, 3162, 4818, 6911); ports by IP-Port-Range
(RFC 8045), by attributes of a vendor, and by the rules of MAP-E.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from sekisho.drivers.radiusframes import Peer
from sekisho.drivers.radiuspacket import Received
from sekisho.drivers.radiusvalues import MalformedError, checked_v6, v4_of, v6_prefix
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.sessions import Ports, Share
from sekisho.sessions.mape import Rule, share_of

_FRAMED, _FRAMED_PREFIX6, _DELEGATED6, _FRAMED6 = 8, 97, 123, 168
_EXTENDED, _PORT_RANGE = 241, 6
_RANGE_ADDRESS, _RANGE_ALLOC, _RANGE_FIRST, _RANGE_LAST = 3, 8, 9, 10
_ALLOCATION, _DEALLOCATION = 1, 2
_NUMBERS = re.compile(r"[0-9]+")
_LAST_PORT = 65535


def held(packet: Received, peer: Peer, rules: Sequence[Rule]) -> tuple[tuple[Prefix, ...], tuple[Share, ...], tuple[Share, ...], bool]:
    """Prefixes, parts of shared addresses, those given back, and whether the parts are besides those of before.

    Raises MalformedError.
    """
    own: list[Prefix] = []
    shares: list[Share] = []
    gone: list[Share] = []
    framed = v4_of(packet.get(_FRAMED))
    ranges = _ranges(packet)
    said = _said(packet, peer)
    if said is not None:
        ports, outside = said
        ranges.append((outside, ports, None))
    shared_framed = False
    for outside, ports, allocated in ranges:
        address = framed if outside is None else outside
        if allocated == _DEALLOCATION:
            if address is not None:
                gone.append(Share(Prefix(V4_MAPPED | address, 128), ports))
                shared_framed |= address == framed
        elif address is not None and (ports.first, ports.last) == (0, _LAST_PORT):
            # All ports: it is shared with nobody.
            own.append(Prefix(V4_MAPPED | address, 128))
        elif address is not None:
            shares.append(Share(Prefix(V4_MAPPED | address, 128), ports))
            shared_framed |= address == framed
    if framed is not None and not shared_framed:
        own.append(Prefix(V4_MAPPED | framed, 128))
    own6, mapped = _held6(packet, rules)
    own += own6
    shares += mapped
    # An allocation that is told as one is an event; a range without the word is what there is (RFC 8045 section 3.1.2).
    adds = any(allocated == _ALLOCATION for _, _, allocated in ranges)
    return tuple(dict.fromkeys(own)), tuple(dict.fromkeys(shares)), tuple(gone), adds


def _held6(packet: Received, rules: Sequence[Rule]) -> tuple[list[Prefix], list[Share]]:
    """What is held by IPv6, and by IPv4 where a prefix says so (MAP-E)."""
    own: list[Prefix] = []
    shares: list[Share] = []
    for kind in (_FRAMED_PREFIX6, _DELEGATED6):
        for prefix in filter(None, map(v6_prefix, packet.get(kind) or ())):
            own.append(prefix)
            mapped = share_of(rules, prefix) if kind == _DELEGATED6 or rules else None
            if isinstance(mapped, Share):
                shares.append(mapped)
            elif mapped is not None:
                own.append(mapped)
    for value in packet.get(_FRAMED6) or ():
        if len(value) != 16:
            raise MalformedError
        address = checked_v6(int.from_bytes(value), 128)
        own += [address] if address is not None else []
    return own, shares


def _ranges(packet: Received) -> list[tuple[int | None, Ports, int | None]]:
    """IP-Port-Range (RFC 8045 section 3.1.2): shared address, or None; ports; whether they are allocated or given back, or None."""
    found: list[tuple[int | None, Ports, int | None]] = []
    for value in packet.get(_EXTENDED) or ():
        if not value or value[0] != _PORT_RANGE:
            continue
        parts = _parts(value[1:])
        first, last = parts.get(_RANGE_FIRST), parts.get(_RANGE_LAST)
        if first is not None and last is not None:
            found.append((parts.get(_RANGE_ADDRESS), _ports(first, last), parts.get(_RANGE_ALLOC)))
    return found


def _parts(value: bytes) -> Mapping[int, int]:
    found: dict[int, int] = {}
    while value:
        if len(value) < 2 or not 2 <= value[1] <= len(value):
            raise MalformedError
        found[value[0]] = int.from_bytes(value[2 : value[1]])
        value = value[value[1] :]
    return found


def _said(packet: Received, peer: Peer) -> tuple[Ports, int | None] | None:
    """Ports as the vendor of a NAS says them, and the shared address if it says that too."""
    if peer.range is not None:
        numbers = _NUMBERS.findall(next((text for text in _texts(packet, peer.range) if len(_NUMBERS.findall(text)) > 1), ""))
    elif peer.first is not None and peer.last is not None:
        numbers = [number for name in (peer.first, peer.last) for number in _integers(packet, name)[:1]]
    else:
        return None
    if len(numbers) < 2:
        return None
    return _ports(int(numbers[-2]), int(numbers[-1])), _outside(packet, peer)


def _outside(packet: Received, peer: Peer) -> int | None:
    values = _values(packet, peer.address) if peer.address is not None else ()
    if not values:
        return None
    if len(values[0]) == 4:
        return int.from_bytes(values[0])
    try:
        return int(ipaddress.IPv4Address(values[0].decode("ascii").rpartition("=")[2]))
    except ValueError:
        raise MalformedError from None


def _values(packet: Received, name: tuple[int, int]) -> Sequence[bytes]:
    return packet.get(name if name[0] else name[1]) or ()


def _texts(packet: Received, name: tuple[int, int]) -> list[str]:
    return [value.decode("ascii", "replace") for value in _values(packet, name)]


def _integers(packet: Received, name: tuple[int, int]) -> list[str]:
    """Numbers written in digits, or as integers of two or four octets."""
    found = []
    for value in _values(packet, name):
        number = int.from_bytes(value)
        if len(value) in {2, 4} and number <= _LAST_PORT:
            found.append(str(number))
        elif value.isdigit():
            found.append(value.decode("ascii"))
    return found


def _ports(first: int, last: int) -> Ports:
    if not 0 <= first <= last <= _LAST_PORT:
        raise MalformedError
    return Ports(first, last)
