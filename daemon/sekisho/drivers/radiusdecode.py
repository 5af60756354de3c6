"""Accounting packets as bytes, to what the NAS meant, and back to responses (RFC 2866, 2869, 3162, 4818, 6911, 8045).

Owns which NAS a packet is of, whether it is genuine, and where in it things stand. A packet is looked into only
when its Request Authenticator fits the secret of where it came from: nothing a stranger sends gets as far as
its attributes. Does not own sockets nor what the sessions become.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingRequest, PacketError, StatusServer

from sekisho.drivers.radiusframes import Peer
from sekisho.drivers.radiuspacket import Received
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.sessions import Accounting, AccountingKind, AccountingOutcome, Ports, Share
from sekisho.sessions.mape import Rule, share_of

_HEADER = 20
_MAX = 4096
_KINDS = {
    1: AccountingKind.START,
    2: AccountingKind.STOP,
    3: AccountingKind.INTERIM,
    7: AccountingKind.NAS_ON,
    8: AccountingKind.NAS_OFF,
}
_USER, _NAS_ADDRESS, _FRAMED, _NAS_NAME, _DELAY, _SESSION, _SECONDS = 1, 4, 8, 32, 41, 44, 46
_STATUS, _INPUT, _OUTPUT, _INPUT_HIGH, _OUTPUT_HIGH = 40, 42, 43, 52, 53
_EVENT = 55
_VENDOR = 26
_AUTHENTICATOR = 80
_NAS_ADDRESS6, _FRAMED_PREFIX6, _DELEGATED6, _FRAMED6 = 95, 97, 123, 168
_EXTENDED, _PORT_RANGE = 241, 6
_RANGE_ADDRESS, _RANGE_ALLOC, _RANGE_FIRST, _RANGE_LAST = 3, 8, 9, 10
_ALLOCATION, _DEALLOCATION = 1, 2
_NOBODYS = frozenset({0, 0xFFFFFFFF, 0xFFFFFFFE})
"""Framed-IP-Address before there is one, and those that let the user or the NAS choose (RFC 2865 section 5.8)."""
_SHORTEST6 = 16
"""A prefix shorter than that is no customer's."""
_NUMBERS = re.compile(r"[0-9]+")
_LATEST = 1 << 20
"""Seconds of Acct-Delay-Time that can be true: what a NAS kept for longer is taken to have happened then."""
_HOSTS = 65536
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Read:
    """What a packet was. `packet` where it is to be answered; `told` where it says something of sessions."""

    outcome: AccountingOutcome
    packet: Received | None = None
    told: Accounting | None = None


class _MalformedError(Exception):
    """A genuine packet with something in it that cannot be."""


class Decoder:
    """Reads packets of the NASes of one configuration."""

    def __init__(self, peers: Sequence[Peer], rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._dictionary = Dictionary()
        self._lengths = sorted({prefix.length for peer in peers for prefix in peer.prefixes}, reverse=True)
        self._peers: dict[Prefix, list[Peer]] = {}
        for peer in peers:
            for prefix in peer.prefixes:
                self._peers.setdefault(prefix, []).append(peer)
        self._hosts: dict[str, list[Peer]] = {}
        self._named: dict[tuple[str, str], bool] = {}
        """Whether an entry is of that host alone."""

    def read(self, data: bytes, host: str, now: float) -> Read:
        """`now` is UNIX seconds."""
        peers = self._from(host)
        if not peers:
            return Read(AccountingOutcome.UNKNOWN_NAS)
        try:
            packet = _genuine(data, peers[0].secret, self._dictionary)
        except PacketError:
            return Read(AccountingOutcome.MALFORMED)
        if packet is None:
            return Read(AccountingOutcome.BAD_SECRET)
        signed = bool(packet.get(_AUTHENTICATOR))
        if packet.code == StatusServer:
            return Read(AccountingOutcome.IGNORED, packet)
        try:
            return self._told(packet, peers, host, now, signed=signed)
        except _MalformedError:
            return Read(AccountingOutcome.MALFORMED)

    def _from(self, host: str) -> list[Peer]:
        peers = self._hosts.get(host)
        if peers is None:
            peers = self._at(host)
            if len(self._hosts) >= _HOSTS:
                self._hosts.clear()
                self._named.clear()
            self._hosts[host] = peers
        return peers

    def _at(self, host: str) -> list[Peer]:
        """The NASes whose packets come from an address, by its longest prefix."""
        value = _value(ipaddress.ip_address(host.partition("%")[0]))
        for length in self._lengths:
            found = self._peers.get(Prefix(value >> (128 - length) << (128 - length), length))
            if found:
                return found
        return []

    def _told(self, packet: Received, peers: list[Peer], host: str, now: float, *, signed: bool) -> Read:
        named, address = _text(packet.get(_NAS_NAME)), _nas_address(packet)
        peer = next((one for one in peers if one.identifier is not None and one.identifier in {named, address}), None)
        peer = peer or next((one for one in peers if one.identifier is None), None)
        if peer is None:
            return Read(AccountingOutcome.UNKNOWN_NAS)
        if peer.signed and not signed:
            return Read(AccountingOutcome.BAD_SECRET)
        status = _number(packet.get(_STATUS))
        if status is None:
            raise _MalformedError
        kind = _KINDS.get(status)
        if kind is None:
            return Read(AccountingOutcome.IGNORED, packet)
        nas = peer.id
        own = self._named.get((peer.id, host))
        if own is None:
            own = self._named[peer.id, host] = peer.identifier is not None or _is_host(peer, host)
        if peer.proxy or not own:
            # An entry for several: each is known by what it calls itself.
            name = named or address or ("" if peer.proxy else host)
            if not name:
                raise _MalformedError
            nas = f"{peer.id}:{name}"
        at = _moment(packet, now, timed=peer.timed)
        if kind in {AccountingKind.NAS_ON, AccountingKind.NAS_OFF}:
            return Read(AccountingOutcome.TAKEN, packet, Accounting(kind, nas, at))
        session = _text(packet.get(_SESSION))
        if not session:
            raise _MalformedError
        up, down = _octets(packet, _INPUT, _INPUT_HIGH), _octets(packet, _OUTPUT, _OUTPUT_HIGH)
        if peer.swap:
            up, down = down, up
        wide = bool(packet.get(_INPUT_HIGH) or packet.get(_OUTPUT_HIGH))
        prefixes, shares, gone, adds = self._held(packet, peer)
        seconds = _number(packet.get(_SECONDS))
        user = _text(packet.get(_USER))
        return Read(
            AccountingOutcome.TAKEN, packet, Accounting(kind, nas, at, session, user, prefixes, shares, down, up, wide, seconds, gone, adds)
        )

    def _held(self, packet: Received, peer: Peer) -> tuple[tuple[Prefix, ...], tuple[Share, ...], tuple[Share, ...], bool]:
        """Prefixes, parts of shared addresses, those given back, and whether the parts are besides those of before."""
        own: list[Prefix] = []
        shares: list[Share] = []
        gone: list[Share] = []
        framed = _v4(packet.get(_FRAMED))
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
        for kind in (_FRAMED_PREFIX6, _DELEGATED6):
            for value in packet.get(kind) or ():
                prefix = _v6_prefix(value)
                own.append(prefix)
                mapped = share_of(self._rules, prefix) if kind == _DELEGATED6 or self._rules else None
                if isinstance(mapped, Share):
                    shares.append(mapped)
                elif mapped is not None:
                    own.append(mapped)
        for value in packet.get(_FRAMED6) or ():
            if len(value) != 16:
                raise _MalformedError
            own.append(_checked6(int.from_bytes(value), 128))
        # An allocation that is told as one is an event; a range without the word is what there is (RFC 8045 section 3.1.2).
        adds = any(allocated == _ALLOCATION for _, _, allocated in ranges)
        return tuple(dict.fromkeys(own)), tuple(dict.fromkeys(shares)), tuple(gone), adds


def _genuine(data: bytes, secret: bytes, dictionary: Dictionary) -> Received | None:
    """The packet, if it was made by who knows the secret. Raises PacketError for what is no packet of accounting."""
    if len(data) < _HEADER or data[0] not in (AccountingRequest, StatusServer):
        raise PacketError
    length = data[2] << 8 | data[3]
    if not _HEADER <= length <= min(len(data), _MAX):
        raise PacketError
    raw = data[:length]
    if data[0] == AccountingRequest:
        fits = hashlib.md5(raw[:4] + bytes(16) + raw[_HEADER:] + secret).digest()  # noqa: S324 - RFC 2866 section 3
        if not hmac.compare_digest(fits, raw[4:_HEADER]):
            return None
    packet = Received(packet=raw, secret=secret, dict=dictionary)
    signed = packet.get(_AUTHENTICATOR) or ()
    if len(signed) > 1 or any(len(one) != 16 for one in signed) or (signed and not packet.is_signed_rightly()):
        return None
    # Nothing but its signature proves a Status-Server (RFC 5997 section 3).
    return None if data[0] == StatusServer and not signed else packet


def answer_to(packet: Received) -> bytes:
    """The Accounting-Response, with the request's Proxy-State, signed if that was (RFC 2866 section 4.2)."""
    return packet.response()


def _moment(packet: Received, now: float, *, timed: bool) -> float:
    """When what a packet tells happened (UNIX seconds), by the NAS's clock where that is right and not before us."""
    said = _number(packet.get(_EVENT)) if timed else None
    if said is not None and now - _LATEST <= said <= now:
        return float(said)
    return now - min(_number(packet.get(_DELAY)) or 0, _LATEST)


def _value(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return V4_MAPPED | int(address) if address.version == 4 else int(address)


def _is_host(peer: Peer, host: str) -> bool:
    value = _value(ipaddress.ip_address(host.partition("%")[0]))
    return any(prefix == (value, 128) for prefix in peer.prefixes)


def _text(values: Sequence[bytes] | None) -> str:
    return values[0].decode("utf-8", "backslashreplace").replace("\0", "") if values else ""


def _number(values: Sequence[bytes] | None) -> int | None:
    if not values:
        return None
    if len(values[0]) != 4:
        raise _MalformedError
    return int.from_bytes(values[0])


def _octets(packet: Received, low: int, high: int) -> int | None:
    octets = _number(packet.get(low))
    return None if octets is None else (_number(packet.get(high)) or 0) << 32 | octets


def _v4(values: Sequence[bytes] | None) -> int | None:
    number = _number(values)
    return None if number is None or number in _NOBODYS else number


def _v6_prefix(value: bytes) -> Prefix:
    """RFC 3162 section 2.3: a reserved octet, the length, as many octets of the prefix as it needs or more."""
    if not 2 <= len(value) <= 18 or value[1] > 128:
        raise _MalformedError
    length = value[1]
    number = int.from_bytes(value[2:].ljust(16, b"\0"))
    return _checked6(number >> (128 - length) << (128 - length), length)


def _checked6(value: int, length: int) -> Prefix:
    if length < _SHORTEST6 or value >> 96 == 0:
        # ::/32 holds no customer, and IPv4 addresses, which are no business of these attributes.
        raise _MalformedError
    return Prefix(value, length)


def _nas_address(packet: Received) -> str:
    for kind, size in ((_NAS_ADDRESS, 4), (_NAS_ADDRESS6, 16)):
        values = packet.get(kind)
        if values and len(values[0]) == size:
            return str(ipaddress.ip_address(values[0]))
    return ""


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
            raise _MalformedError
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
        raise _MalformedError from None


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
        raise _MalformedError
    return Ports(first, last)
