"""Accounting packets as bytes, to what the NAS meant, and back to responses (RFC 2866, 2869, 3162, 4818, 6911, 8045).

Owns which NAS a packet is of, whether it is genuine, and which session it tells of, when. A packet is looked into only
when its Request Authenticator fits the secret of where it came from: nothing a stranger sends gets as far as
its attributes. What a session holds by it is `radiusheld`'s to read. Does not own sockets nor what the sessions become.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingRequest, PacketError, StatusServer

from sekisho.drivers.radiusframes import Peer
from sekisho.drivers.radiusheld import held
from sekisho.drivers.radiuspacket import Received
from sekisho.drivers.radiusvalues import MalformedError, nas_address, number_of, octets_of, text_of
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.sessions import Accounting, AccountingFault, AccountingKind, AccountingOutcome
from sekisho.sessions.mape import Rule

_HEADER = 20
_MAX = 4096
_KINDS = {
    1: AccountingKind.START,
    2: AccountingKind.STOP,
    3: AccountingKind.INTERIM,
    7: AccountingKind.NAS_ON,
    8: AccountingKind.NAS_OFF,
}
_USER, _NAS_NAME, _DELAY, _SESSION, _SECONDS = 1, 32, 41, 44, 46
_STATUS, _INPUT, _OUTPUT, _INPUT_HIGH, _OUTPUT_HIGH = 40, 42, 43, 52, 53
_EVENT = 55
_VENDOR = 26
_AUTHENTICATOR = 80
_LATEST = 1 << 20
"""Seconds of Acct-Delay-Time that can be true: what a NAS kept for longer is taken to have happened then."""
_HOSTS = 65536


@dataclass(frozen=True, slots=True)
class Read:
    """What a packet was. `packet` where it is to be answered; `told` where it says something of sessions."""

    outcome: AccountingOutcome
    packet: Received | None = None
    told: Accounting | None = None
    why: AccountingFault | None = None
    """Why it was refused, and of which `nas` it is by where it came from: the ids of all that may have sent it; empty: of none."""
    nas: str = ""


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
            return Read(AccountingOutcome.UNKNOWN_NAS, why=AccountingFault.NO_NAS)
        try:
            packet = _genuine(data, peers[0].secret, self._dictionary)
        except PacketError:
            return _refused(AccountingOutcome.MALFORMED, AccountingFault.MALFORMED, peers)
        if packet is None:
            return _refused(AccountingOutcome.BAD_SECRET, AccountingFault.SECRET, peers)
        signed = bool(packet.get(_AUTHENTICATOR))
        if packet.code == StatusServer:
            return Read(AccountingOutcome.IGNORED, packet)
        try:
            return self._told(packet, peers, host, now, signed=signed)
        except MalformedError:
            return _refused(AccountingOutcome.MALFORMED, AccountingFault.MALFORMED, peers)

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
        named, address = text_of(packet.get(_NAS_NAME)), nas_address(packet)
        peer = next((one for one in peers if one.identifier is not None and one.identifier in {named, address}), None)
        peer = peer or next((one for one in peers if one.identifier is None), None)
        if peer is None:
            return _refused(AccountingOutcome.UNKNOWN_NAS, AccountingFault.NO_NAME, peers)
        if peer.signed and not signed:
            return _refused(AccountingOutcome.BAD_SECRET, AccountingFault.UNSIGNED, [peer])
        status = number_of(packet.get(_STATUS))
        if status is None:
            raise MalformedError
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
                raise MalformedError
            nas = f"{peer.id}:{name}"
        at = _moment(packet, now, timed=peer.timed)
        if kind in {AccountingKind.NAS_ON, AccountingKind.NAS_OFF}:
            return Read(AccountingOutcome.TAKEN, packet, Accounting(kind, nas, at))
        session = text_of(packet.get(_SESSION))
        if not session:
            raise MalformedError
        up, down = octets_of(packet, _INPUT, _INPUT_HIGH), octets_of(packet, _OUTPUT, _OUTPUT_HIGH)
        if peer.swap:
            up, down = down, up
        wide = bool(packet.get(_INPUT_HIGH) or packet.get(_OUTPUT_HIGH))
        prefixes, shares, gone, adds = held(packet, peer, self._rules)
        seconds = number_of(packet.get(_SECONDS))
        user = text_of(packet.get(_USER))
        return Read(
            AccountingOutcome.TAKEN, packet, Accounting(kind, nas, at, session, user, prefixes, shares, down, up, wide, seconds, gone, adds)
        )


def _refused(outcome: AccountingOutcome, why: AccountingFault, peers: Sequence[Peer]) -> Read:
    return Read(outcome, why=why, nas=", ".join(dict.fromkeys(peer.id for peer in peers)))


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
    said = number_of(packet.get(_EVENT)) if timed else None
    if said is not None and now - _LATEST <= said <= now:
        return float(said)
    return now - min(number_of(packet.get(_DELAY)) or 0, _LATEST)


def _value(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return V4_MAPPED | int(address) if address.version == 4 else int(address)


def _is_host(peer: Peer, host: str) -> bool:
    value = _value(ipaddress.ip_address(host.partition("%")[0]))
    return any(prefix == (value, 128) for prefix in peer.prefixes)
