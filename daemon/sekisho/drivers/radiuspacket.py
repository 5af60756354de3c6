"""A packet of accounting as it came in.

Owns reading attributes, proving the Message-Authenticator and making the response, each in one pass: it is done for each of thousands
of packets a second. pyrad, which speaks CoA (`drivers.coa`), is the same in effect and takes several times as long, most of it
for dictionaries, tags and encryption, which accounting has not; tests hold the two against each other.
"""

from __future__ import annotations

import hmac
import struct
from hashlib import md5

REQUEST, RESPONSE, STATUS_SERVER = 4, 5, 12
"""Accounting-Request, Accounting-Response (RFC 2866 section 3), Status-Server (RFC 5997 section 3)."""
HEADER = 20
_HEAD = struct.Struct("!BBH16s")
_CODES = struct.Struct("!BBH")
_PROXY_STATE, _VENDOR, _AUTHENTICATOR = 33, 26, 80
_SIGNATURE = bytes((_AUTHENTICATOR, 18))
_NONE = bytes(16)
_BLOCK = 64
_INNER, _OUTER = (bytes(number ^ mask for number in range(256)) for mask in (0x36, 0x5C))


class PacketError(Exception):
    """Octets that are no packet of RADIUS."""


class Secret:
    """What a NAS and we share, made ready for HMAC-MD5 (RFC 2104): the one of `hmac` takes three times as long for texts as short."""

    __slots__ = ("_inner", "_outer", "value")

    def __init__(self, value: bytes) -> None:
        self.value = value
        block = (value if len(value) <= _BLOCK else md5(value).digest()).ljust(_BLOCK, b"\0")  # noqa: S324
        self._inner, self._outer = block.translate(_INNER), block.translate(_OUTER)

    def sign(self, data: bytes) -> bytes:
        """The Message-Authenticator of what is signed (RFC 3579 section 3.2)."""
        return md5(self._outer + md5(self._inner + data).digest()).digest()  # noqa: S324


class Received(dict[int | tuple[int, int], list[bytes]]):
    """Its attributes by type, or by (vendor, type): lists of values. Raises PacketError for what is no packet of RFC 2865 section 3."""

    __slots__ = ("authenticator", "code", "id", "raw", "secret", "signature_at")

    def __init__(self, data: bytes, secret: Secret) -> None:
        if len(data) < HEADER:
            raise PacketError("a packet without a header")
        self.secret = secret
        self.code, self.id, length, self.authenticator = _HEAD.unpack_from(data)
        if not HEADER <= length <= len(data):
            raise PacketError("a packet of another length than it says")
        self.raw = data[:length]
        self.signature_at = 0
        """Where in the packet the value of the Message-Authenticator stands; 0: there is none."""
        at = HEADER
        while at < length:
            if at + 2 > length:
                raise PacketError("an attribute without a length")
            kind, end = data[at], at + data[at + 1]
            if end < at + 2 or end > length:
                raise PacketError("an attribute of an impossible length")
            if kind == _VENDOR:
                self._put_vendor(data[at + 2 : end])
            elif kind in self:
                self[kind].append(data[at + 2 : end])
            else:
                self[kind] = [data[at + 2 : end]]
            if kind == _AUTHENTICATOR:
                self.signature_at = at + 2
            at = end

    def _put_vendor(self, value: bytes) -> None:
        """Attributes of a vendor (RFC 2865 section 5.26); one that is not written so stays as it is."""
        vendor, at = int.from_bytes(value[:4]), 4
        found: list[tuple[tuple[int, int], bytes]] = []
        while at < len(value):
            end = at + value[at + 1] if at + 1 < len(value) else 0
            if end < at + 2 or end > len(value):
                found = []
                break
            found.append(((vendor, value[at]), value[at + 2 : end]))
            at = end
        if not found:
            self.setdefault(_VENDOR, []).append(value)
        for key, one in found:
            self.setdefault(key, []).append(one)

    def is_signed_rightly(self) -> bool:
        """Whether its Message-Authenticator fits the secret (RFC 3579 section 3.2; RFC 5997 section 3 for Status-Server)."""
        at, raw = self.signature_at, self.raw
        authenticator = self.authenticator if self.code == STATUS_SERVER else _NONE
        signed = raw[:4] + authenticator + raw[HEADER:at] + _NONE + raw[at + 16 :]
        return hmac.compare_digest(self.secret.sign(signed), raw[at : at + 16])

    def response(self) -> bytes:
        """The Accounting-Response, with the request's Proxy-State, signed if that was (RFC 2866 section 4.2, RFC 5997 section 3)."""
        attributes = b"".join(bytes((_PROXY_STATE, len(one) + 2)) + one for one in self[_PROXY_STATE]) if _PROXY_STATE in self else b""
        if self.signature_at:
            head = _CODES.pack(RESPONSE, self.id, HEADER + len(_SIGNATURE) + 16 + len(attributes))
            authenticator = _NONE if self.code == REQUEST else self.authenticator
            attributes = _SIGNATURE + self.secret.sign(head + authenticator + _SIGNATURE + _NONE + attributes) + attributes
        else:
            head = _CODES.pack(RESPONSE, self.id, HEADER + len(attributes))
        return head + md5(head + self.authenticator + attributes + self.secret.value).digest() + attributes  # noqa: S324
