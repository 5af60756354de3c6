"""Whose the ports of shared addresses are, as NASes say it: IP-Port-Range (RFC 8045), attributes of vendors, MAP-E (RFC 7597)."""

from __future__ import annotations

import ipaddress
import json
import struct

import pytest

from sekisho.drivers.radiusdecode import Decoder
from sekisho.drivers.radiusframes import Peer, accounting_of, row_of
from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingOutcome, Ports, Share
from sekisho.sessions.mape import Rule
from support import radius
from support.radius import START, address, attribute, prefix6

OUTSIDE = "203.0.113.1"
INSIDE = Prefix.parse("100.64.0.1")
NOW = 1_775_000_000.0
PEER = Peer("bras", (Prefix.parse("127.0.0.1"),), None, proxy=False, secret=radius.SECRET, signed=False, swap=False)


def read(attributes: bytes, peer: Peer = PEER, rules: tuple[Rule, ...] = ()) -> Accounting | AccountingOutcome:
    packet = radius.packet(radius.told(START, "s1", "c-1", attributes), 7)
    found = Decoder([peer], rules).read(packet, "127.0.0.1", NOW)
    return found.outcome if found.told is None else found.told


def told(attributes: bytes, peer: Peer = PEER, rules: tuple[Rule, ...] = ()) -> Accounting:
    found = read(attributes, peer, rules)
    assert isinstance(found, Accounting)
    return found


def port_range(first: int, last: int, *, outside: str | None = OUTSIDE, allocation: int = 1) -> bytes:
    """IP-Port-Range: an attribute of extended type 241.6 with TLVs (RFC 8045 section 3.1.2, RFC 6929 section 2.1)."""
    parts = [(8, struct.pack("!I", allocation)), (9, struct.pack("!I", first)), (10, struct.pack("!I", last))]
    if outside is not None:
        parts.append((3, ipaddress.IPv4Address(outside).packed))
    return radius.attribute(241, bytes([6]) + b"".join(bytes((kind, 2 + len(value))) + value for kind, value in parts))


def share(first: int, last: int, step: int = 0, times: int = 1, of: str = OUTSIDE) -> Share:
    return Share(Prefix.parse(of), Ports(first, last, step, times))


def test_ranges_of_an_outside_address_are_shares_and_the_inside_address_is_the_customers() -> None:
    found = told(address("100.64.0.1") + port_range(1024, 2047) + port_range(5000, 5999))
    assert (found.prefixes, found.shares) == ((INSIDE,), (share(1024, 2047), share(5000, 5999)))


def test_a_range_without_an_address_is_of_the_framed_one_which_is_nobodys_alone_then() -> None:
    found = told(address(OUTSIDE) + port_range(1024, 2047, outside=None))
    assert (found.prefixes, found.shares) == ((), (share(1024, 2047),))


def test_who_has_all_ports_shares_with_nobody() -> None:
    found = told(address("100.64.0.1") + port_range(0, 65535))
    assert (set(found.prefixes), found.shares) == ({INSIDE, Prefix.parse(OUTSIDE)}, ())
    found = told(address(OUTSIDE) + port_range(0, 65535, outside=None))
    assert (found.prefixes, found.shares) == ((Prefix.parse(OUTSIDE),), ())


def test_a_range_that_is_given_back_is_held_no_more() -> None:
    found = told(address("100.64.0.1") + port_range(1024, 2047, allocation=2))
    assert (found.prefixes, found.shares, found.gone, found.adds) == ((INSIDE,), (), (share(1024, 2047),), False)
    both = told(port_range(1024, 2047, allocation=2) + port_range(3000, 3999))
    assert (both.shares, both.gone, both.adds) == ((share(3000, 3999),), (share(1024, 2047),), True)
    assert accounting_of(json.loads(json.dumps(row_of(4, both)))) == (4, both), "on the way to the control plane it stays what it is"
    assert not told(radius.attribute(241, bytes([6, 9, 6, 0, 0, 4, 0, 10, 6, 0, 0, 7, 255])) + address(OUTSIDE)).adds, "it does not say"


@pytest.mark.parametrize("wrong", [port_range(2047, 1024), port_range(1024, 70000), radius.attribute(241, bytes([6, 9, 6, 0]))])
def test_a_range_that_cannot_be_makes_the_packet_malformed(wrong: bytes) -> None:
    assert read(wrong) is AccountingOutcome.MALFORMED


@pytest.mark.parametrize("value", [lambda number: struct.pack("!I", number), lambda number: struct.pack("!H", number),
                                   lambda number: str(number).encode()])  # fmt: skip
def test_first_and_last_port_as_vendors_write_them(value) -> None:  # type: ignore[no-untyped-def]
    peer = Peer("cgn", PEER.prefixes, None, proxy=False, secret=radius.SECRET, signed=False, swap=False, first=(4874, 1), last=(4874, 2),
                address=(4874, 3))  # fmt: skip
    attributes = radius.vendor(4874, 1, value(1024)) + radius.vendor(4874, 2, value(2047)) + radius.vendor(4874, 3, OUTSIDE.encode())
    assert told(attributes, peer).shares == (share(1024, 2047),)


def test_the_example_of_rfc_7597_appendix_a() -> None:
    """EA bits 16, PSID offset 6: 2001:db8:0012:3400::/56 has ports 1232-1235, 2256-2259 ... 64720-64723 of 192.0.2.18."""
    rule = Rule(Prefix.parse("2001:db8::/40"), Prefix.parse("192.0.2.0/24"), 16, 6)
    found = told(prefix6("2001:db8:12:3400::/56"), rules=(rule,))
    (mapped,) = found.shares
    assert mapped.prefix == Prefix.parse("192.0.2.18")
    ranges = list(mapped.ports.ranges())
    assert (ranges[0], ranges[1], ranges[-2], ranges[-1], len(ranges)) == (
        (1232, 1235), (2256, 2259), (63696, 63699), (64720, 64723), 63,
    )  # fmt: skip
    assert found.prefixes == (Prefix.parse("2001:db8:12:3400::/56"),)


def test_map_e_without_sharing_gives_the_address() -> None:
    rule = Rule(Prefix.parse("2001:db8::/40"), Prefix.parse("192.0.2.0/24"), 8, 6)
    assert told(prefix6("2001:db8:12::/48"), rules=(rule,)).prefixes == (Prefix.parse("2001:db8:12::/48"), Prefix.parse("192.0.2.18"))


@pytest.mark.parametrize(
    "nothing",
    [address("0.0.0.0"), attribute(168, bytes(16)), *(prefix6(f"::/{length}", kind) for length in (0, 64, 128) for kind in (97, 123))],
)
def test_an_address_that_is_not_there_yet_is_none_and_the_others_are_held(nothing: bytes) -> None:
    home = prefix6("2001:db8:7::/56")
    assert told(nothing + home).prefixes == (Prefix.parse("2001:db8:7::/56"),)


@pytest.mark.parametrize(
    "wrong", [prefix6("2000::/3"), prefix6("::ffff:192.0.2.0/120"), attribute(168, (1).to_bytes(16)), attribute(168, bytes(15))]
)
def test_what_can_be_no_customers_is_malformed(wrong: bytes) -> None:
    assert read(wrong) is AccountingOutcome.MALFORMED
