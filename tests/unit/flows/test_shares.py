"""The parts of shared addresses, changed in place: what the collector finds is what it would find in an array made anew."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.flows.shares import NO_PORT, SPARE, UNKNOWN, WHOLE, drop_part, find_sharer, make_shares, no_shares, put_part
from sekisho.model.sessions import Ports

FIRST = int(ipaddress.IPv4Address("203.0.113.1"))
BLOCKS = [Ports(1024, 2047), Ports(2048, 3071), Ports(1232, 1235, 4096, 15)]
ADDRESSES = [FIRST, FIRST + 1, FIRST + 2 * (1 + SPARE)]
"""The last may be in the chain of the first."""
PORTS = [NO_PORT, 0, 1023, 1024, 1233, 2047, 2048, 3071, 3072, 1232 + 4096, 1236 + 4096, 1235 + 14 * 4096, 1235 + 15 * 4096]
keys = st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(BLOCKS))


def found(shares):
    return {(address, port): int(find_sharer(shares, address, port)) for address in ADDRESSES for port in PORTS}


@pytest.mark.uncompiled
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys, st.integers(0, 5)), st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(0, 5))), max_size=12))
def test_an_array_that_is_changed_says_what_one_made_anew_says(before, told):
    now = {}
    for key, row in before.items():
        if not any(address == key[0] and ports.overlaps(key[1]) for address, ports in now):
            now[key] = row
    shares = make_shares((address, ports, row) for (address, ports), row in now.items())
    for (address, ports), row in told:
        if row is None:
            drop_part(shares, address, ports)
            now.pop((address, ports), None)
        elif not any(one == address and other != ports and other.overlaps(ports) for one, other in now):
            assert put_part(shares, address, ports, row)
            now[address, ports] = row
        assert found(shares) == found(make_shares((at, one, owner) for (at, one), owner in now.items()))
    for (address, port), row in found(shares).items():
        sharers = {ports: owner for (at, ports), owner in now.items() if at == address}
        holder = next((owner for ports, owner in sharers.items() if port >= 0 and ports.holds(port)), 0)
        assert row == (WHOLE if not sharers else holder or UNKNOWN)


@pytest.mark.uncompiled
def test_blocks_that_come_and_go_take_no_room_and_more_than_there_is_are_refused():
    shares = make_shares(())
    for number in range(SPARE * 2):
        assert put_part(shares, FIRST, BLOCKS[0], number + 1)
        drop_part(shares, FIRST, BLOCKS[0])
    fits = [put_part(shares, FIRST + number, BLOCKS[1], 1) for number in range(SPARE + 1)]
    assert fits.count(False) == 2, "but for the one before, which is kept"
    assert find_sharer(shares, FIRST, 2048) == 1
    assert find_sharer(shares, FIRST, 1024) == UNKNOWN
    assert not put_part(no_shares(), FIRST, BLOCKS[0], 1)
