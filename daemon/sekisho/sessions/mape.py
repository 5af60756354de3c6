"""MAP-E: which ports of which IPv4 address belong to a customer's IPv6 prefix (RFC 7597 sections 5.1 and 5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Ports, Share


@dataclass(frozen=True, slots=True)
class Rule:
    """A basic mapping rule. `offset`: bits of a port before the PSID."""

    ipv6: Prefix
    ipv4: Prefix
    ea_bits: int
    offset: int


def share_of(rules: Iterable[Rule], prefix: Prefix) -> Share | Prefix | None:
    """The part of an IPv4 address that goes with a delegated IPv6 prefix; a prefix of its own where none is shared.

    None for a prefix of no rule, or too short to hold the embedded bits.
    """
    for rule in rules:
        end = rule.ipv6.length + rule.ea_bits
        if prefix.length < end or prefix.value >> (128 - rule.ipv6.length) != rule.ipv6.value >> (128 - rule.ipv6.length):
            continue
        embedded = prefix.value >> (128 - end) & ((1 << rule.ea_bits) - 1)
        suffix = 128 - rule.ipv4.length
        width = rule.ea_bits - suffix
        if width <= 0:
            # The embedded bits are the beginning of the suffix: an address, or a prefix, that is the customer's alone.
            return Prefix(rule.ipv4.value | embedded << -width, rule.ipv4.length + rule.ea_bits)
        address = rule.ipv4.value | embedded >> width
        return Share(Prefix(address, 128), _ports(embedded & ((1 << width) - 1), width, rule.offset))
    return None


def _ports(psid: int, width: int, offset: int) -> Ports:
    """The port set of a PSID of `width` bits: ports whose first bits are 0 belong to nobody where there is an offset."""
    size = 1 << (16 - offset - width)
    if not offset:
        return Ports(psid * size, psid * size + size - 1)
    step = 1 << (16 - offset)
    first = step + psid * size
    return Ports(first, first + size - 1, step, (1 << offset) - 1)
