"""Names between text and canonical wire form, internationalised ones by IDNA 2008 (RFC 5891).

Text is mapped by UTS #46 first, non-transitional (case, width, ideographic full stops), as
browsers do; then each label with characters outside ASCII becomes its A-label. ASCII labels are
taken as DNS takes them: letters, digits, hyphens and underscores anywhere, and `xn--` labels as
they stand, since what resolvers are asked need not be valid IDNA.
"""

from __future__ import annotations

import idna

from sekisho.model.addresses import text_of

MAX_NAME = 255
MAX_LABEL = 63
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


def to_wire(text: str) -> bytes:
    """The canonical wire form of a name. A trailing dot is allowed.

    Raises ValueError, saying what is wrong without repeating the name.
    """
    if not text.isascii():
        text = _mapped(text)
    labels = text.lower().removesuffix(".").split(".")
    wire = bytearray()
    for label in labels:
        octets = label.encode("ascii") if label.isascii() else _a_label(label)
        if not octets:
            raise ValueError("it has an empty label")
        if len(octets) > MAX_LABEL:
            raise ValueError("a label is longer than 63 octets")
        if not _PLAIN.issuperset(octets):
            raise ValueError("it has a character that no name has")
        wire.append(len(octets))
        wire += octets
    wire.append(0)
    if len(wire) > MAX_NAME:
        raise ValueError("it is longer than 255 octets")
    if octets.isdigit():
        raise ValueError("it is an address or ends in a number, not a name")
    return bytes(wire)


def to_text(wire: bytes, *, unicode: bool = False) -> str:
    """A wire name as text without the trailing dot, octets outside names as `\\DDD` (RFC 1035); the key of a prefix as the prefix.

    With `unicode`, valid A-labels are shown as what they stand for.
    """
    address = text_of(wire)
    if address is not None:
        return address
    labels = [_label_text(label, unicode=unicode) for label in split(wire)]
    return ".".join(labels) or "."


def split(wire: bytes) -> list[bytes]:
    """The labels of a wire name, without the root's."""
    labels = []
    position = 0
    while wire[position]:
        labels.append(wire[position + 1 : position + 1 + wire[position]])
        position += wire[position] + 1
    return labels


def join(labels: list[bytes]) -> bytes:
    """The wire name of labels. The reverse of `split`."""
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _mapped(text: str) -> str:
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except (idna.IDNAError, UnicodeError):
        # Raised anew without its cause, whose text carries the name.
        raise ValueError("it has a character that IDNA does not allow") from None


def _a_label(label: str) -> bytes:
    try:
        return idna.alabel(label)
    except (idna.IDNAError, UnicodeError):
        raise ValueError("a label is not valid by IDNA 2008") from None


def _label_text(label: bytes, *, unicode: bool) -> str:
    if unicode and label.startswith(b"xn--"):
        try:
            return idna.ulabel(label)
        except (idna.IDNAError, UnicodeError):
            pass
    return "".join(chr(octet) if octet in _PLAIN or octet in b"*ABCDEFGHIJKLMNOPQRSTUVWXYZ" else f"\\{octet:03d}" for octet in label)
