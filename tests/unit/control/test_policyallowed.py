"""Networks that are let through, without the customers in them."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.app.control_policyallowed import MOST, Allowed, held_by
from sekisho.model.customers import Prefix

NETWORK = Prefix.parse("192.0.2.0/27")


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(27, 32)), max_size=6))
def test_what_is_left_is_each_address_that_is_no_customers(drawn: list[tuple[int, int]]) -> None:
    held = [Prefix.parse(str(ipaddress.ip_network((f"192.0.2.{last}", length), strict=False))) for last, length in drawn]
    allowed = Allowed([NETWORK])
    for number, one in enumerate(held):
        allowed.put(f"c-{number}", [one, Prefix.parse("198.51.100.1")])
    left = [ipaddress.ip_network(str(one)) for one in allowed.left()]
    customers = [ipaddress.ip_network(str(one)) for one in held]
    for address in ipaddress.ip_network("192.0.2.0/26"):
        wanted = address in ipaddress.ip_network("192.0.2.0/27") and not any(address in one for one in customers)
        assert sum(address in one for one in left) == wanted
    for number in range(len(held)):
        allowed.put(f"c-{number}", ())
    assert (allowed.left(), allowed.inside) == ((NETWORK,), 0)


def test_too_many_customers_are_let_through_with_the_network_and_that_is_known() -> None:
    allowed = Allowed([Prefix.parse("10.0.0.0/8")])
    for number in range(MOST + 1):
        assert not allowed.is_crowded
        allowed.put(f"c-{number}", [Prefix.parse(f"10.0.{number >> 8}.{number & 255}")])
    assert allowed.is_crowded
    assert allowed.left() == allowed.networks


@pytest.mark.parametrize("network", ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "2001:db8::/64", "2001:db8::/100", "::/0"])
def test_prefixes_in_a_network_are_found_in_columns(network: str) -> None:
    there = ["192.0.2.7", "192.0.2.0/25", "192.0.0.0/16", "2001:db8::1", "2001:db8::/48", "2001:db8:1::/48", "2001:db8::/100"]
    rows = [Prefix.parse(one) for one in there]
    high = np.array([one.value >> 64 for one in rows], np.uint64)
    low = np.array([one.value & (1 << 64) - 1 for one in rows], np.uint64)
    found = held_by(Prefix.parse(network), high, low, np.array([one.length for one in rows], np.uint8))
    net = ipaddress.ip_network(network)
    nets = [ipaddress.ip_network(one) for one in there]
    assert found.tolist() == [network == "::/0" or (one.version == net.version and one.subnet_of(net)) for one in nets]
