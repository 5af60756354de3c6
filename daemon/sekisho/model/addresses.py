"""Addresses among the entries of a list: prefixes that answers lead to, and prefixes clients ask from.

Both are triggers of RPZ (rpz-ip and rpz-client-ip, draft-vixie-dnsop-dns-rpz-00 sections 4.1 and 4.3). An entry is a *key* in the form
of a wire name, so that whatever keeps, digests, seals and compares names does so with prefixes: a label of 17 octets (the length in the
128-bit space, the masked address) under a top label in upper case. Names that are asked are made lower case
before they are looked up, so none of them is ever a key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.lists import Trigger

ANSWER_LABEL, CLIENT_LABEL = b"\x02IP\0", b"\x02CL\0"
KEY_SIZE = 22
"""Octets of a key."""
_LABELS = {Trigger.ADDRESS: ANSWER_LABEL, Trigger.CLIENT: CLIENT_LABEL}
_OCTETS = 17
_RPZ = {"rpz-ip": Trigger.ADDRESS, "rpz-client-ip": Trigger.CLIENT}


def key_of(prefix: Prefix, trigger: Trigger = Trigger.ADDRESS) -> bytes:
    """The key of a prefix; `trigger` is ADDRESS or CLIENT."""
    return bytes((_OCTETS, prefix.length)) + prefix.value.to_bytes(16, "big") + _LABELS[trigger]


def prefix_of(wire: bytes) -> tuple[Prefix, Trigger] | None:
    """The prefix a key stands for and its trigger; None for a name."""
    if len(wire) != KEY_SIZE or wire[0] != _OCTETS:
        return None
    trigger = next((trigger for trigger, label in _LABELS.items() if wire.endswith(label)), None)
    return None if trigger is None else (Prefix(int.from_bytes(wire[2:18], "big"), wire[1]), trigger)


def text_of(wire: bytes) -> str | None:
    """A key as people read it, `192.0.2.0/24` or `client 192.0.2.7/32`; None for a name."""
    found = prefix_of(wire)
    if found is None:
        return None
    prefix, trigger = found
    return f"client {prefix}" if trigger is Trigger.CLIENT else str(prefix)


def key_of_text(text: str) -> bytes | None:
    """The key that was written as `text_of` has it, or as an RPZ trigger (`32.7.2.0.192.rpz-client-ip`); None for a name.

    Raises ValueError, without the text, where it is a trigger and its labels are no prefix.
    """
    labels = text.strip().rstrip(".").lower().split(".")
    if labels[-1] in _RPZ:
        return key_of(read_trigger([label.encode() for label in labels[:-1]]), _RPZ[labels[-1]])
    client, word, rest = text.strip().partition(" ")
    try:
        return key_of(Prefix.parse(rest.strip()), Trigger.CLIENT) if word and client == "client" else key_of(Prefix.parse(text.strip()))
    except ValueError:
        if word and client == "client":
            raise ValueError("after `client` comes an address or a prefix") from None
        return None


def wider(prefix: Prefix) -> Iterator[Prefix]:
    """The prefixes that hold a prefix, the longest first, itself not among them."""
    for length in range(prefix.length - 1, -1, -1):
        yield Prefix(prefix.value >> (128 - length) << (128 - length), length)


def is_v4(prefix: Prefix) -> bool:
    return prefix.length >= 96 and prefix.value >> 32 == V4_MAPPED >> 32


def read_trigger(labels: list[bytes]) -> Prefix:
    """The prefix of an RPZ trigger's labels, without its last: `24.0.2.0.192`, `48.zz.db8.2001` (section 4.1.1).

    Raises ValueError, without the labels, if they are none.
    """
    words = [label.decode("ascii", "replace") for label in labels]
    parts = words[:0:-1]
    if words and len(words[0]) <= 3 and words[0].isascii() and words[0].isdigit():
        text = ".".join(parts) if len(parts) == 4 and "zz" not in parts else ":".join(parts)
        if parts.count("zz") == 1:
            at = parts.index("zz")
            text = f"{':'.join(parts[:at])}::{':'.join(parts[at + 1 :])}"
        try:
            return Prefix.parse(f"{text}/{words[0]}")
        except ValueError:
            pass
    raise ValueError("its labels are no prefix such as 24.0.2.0.192 or 48.zz.db8.2001, with no bits set beyond its length")


def labels_of(prefix: Prefix) -> list[str]:
    """The labels of a prefix in an RPZ trigger, without its last: the reverse of `read_trigger`, in the form servers insist on."""
    if is_v4(prefix):
        parts = str(ipaddress.IPv4Address(prefix.value & 0xFFFFFFFF)).split(".")
        return [str(prefix.length - 96), *reversed(parts)]
    # Canonical (RFC 5952): the first longest run of zero words is `zz`.
    parts = str(ipaddress.IPv6Address(prefix.value)).replace("::", ":zz:").strip(":").split(":")
    return [str(prefix.length), *reversed(parts)]
