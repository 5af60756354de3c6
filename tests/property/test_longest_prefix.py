"""From address to customer: the table against the longest prefix `ipaddress` finds."""

from __future__ import annotations

import ipaddress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.plane.addresses import find_customer, source_of
from support.plane import UNCOMPILED, make_customers, sockaddr

pytestmark = UNCOMPILED

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Few values a byte, so that prefixes nest and addresses fall into them.
FOUR = st.lists(st.sampled_from([0, 1, 127, 128, 192, 255]), min_size=4, max_size=4).map(bytes)
SIX = st.lists(st.sampled_from([0, 1, 0x20, 0x80, 0xFF]), min_size=16, max_size=16).map(bytes)
NETWORKS = st.lists(
    st.one_of(
        st.builds(lambda octets, length: ipaddress.ip_network((octets, length), strict=False), FOUR, st.integers(0, 32)),
        st.builds(
            lambda octets, length: ipaddress.ip_network((octets, length), strict=False),
            SIX,
            st.one_of(st.integers(0, 128), st.sampled_from([0, 1, 32, 48, 56, 63, 64, 65, 96, 127, 128])),
        ),
    ),
    max_size=25,
    unique=True,
)


def prefix(network: Network) -> Prefix:
    return Prefix.parse(str(network))


def find(networks: list[Network], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    customers = make_customers([CustomerRow(str(number), (prefix(one),), 0, 0) for number, one in enumerate(networks)])
    name = np.frombuffer(sockaddr(str(address), 53) + bytes(8), np.uint8).copy()
    high, low = source_of(name, 0)
    expected = int(address) | (V4_MAPPED if address.version == 4 else 0)
    assert int(high) << 64 | int(low) == expected
    return int(find_customer(customers.view, np.uint64(high), np.uint64(low)))


@given(NETWORKS, st.one_of(FOUR, SIX).map(ipaddress.ip_address))
def test_the_longest_prefix_that_holds_an_address_has_it(
    networks: list[Network], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    held = [(one.prefixlen, number) for number, one in enumerate(networks, 1) if one.version == address.version and address in one]
    if address.version == 6 and int(address) >> 32 == 0xFFFF:
        return  # an IPv4 address in its IPv6 form is an IPv4 address
    assert find(networks, address) == (max(held)[1] if held else -1)


@given(NETWORKS, st.data())
def test_the_first_and_the_last_address_of_a_prefix_belong_to_it(networks: list[Network], data: st.DataObject) -> None:
    if not networks:
        return
    chosen = data.draw(st.sampled_from(networks))
    for address in (chosen[0], chosen[-1]):
        held = [(one.prefixlen, number) for number, one in enumerate(networks, 1) if one.version == address.version and address in one]
        if address.version == 4 or int(address) >> 32 != 0xFFFF:
            assert find(networks, address) == max(held)[1]


def test_an_ipv4_client_on_an_ipv6_socket_is_the_same_customer() -> None:
    networks: list[Network] = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")]
    customers = make_customers([CustomerRow(str(number), (prefix(one),), 0, 0) for number, one in enumerate(networks)])
    name = np.frombuffer(sockaddr("::ffff:192.0.2.7", 53) + bytes(8), np.uint8).copy()
    high, low = source_of(name, 0)
    assert find_customer(customers.view, np.uint64(high), np.uint64(low)) == 1


def test_the_whole_of_ipv6_holds_no_ipv4_address() -> None:
    assert find([ipaddress.ip_network("::/0")], ipaddress.ip_address("192.0.2.1")) == -1
    assert find([ipaddress.ip_network("0.0.0.0/0")], ipaddress.ip_address("192.0.2.1")) == 1
    assert find([ipaddress.ip_network("0.0.0.0/0")], ipaddress.ip_address("2001:db8::1")) == -1
