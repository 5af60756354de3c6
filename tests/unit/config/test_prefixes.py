"""Prefixes against `ipaddress`, and overlaps against comparing every pair."""

from __future__ import annotations

import ipaddress
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.overlaps import find_overlaps, overlapping_rows, sorted_keys, sorted_order
from sekisho.config.prefixes import PrefixColumn, parse_prefix, read_prefix
from sekisho.model.customers import Prefix

networks = st.one_of(
    st.builds(
        lambda value, bits: ipaddress.ip_network((value, bits), strict=False),
        st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address),
        st.integers(0, 32),
    ),
    st.builds(
        lambda value, bits: ipaddress.ip_network((value, bits), strict=False),
        st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address),
        st.integers(0, 128),
    ),
    st.builds(
        lambda value, bits: ipaddress.ip_network(((0x20010DB8 << 96) | value << 64, bits), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(24, 70),
    ),
)
texts = st.one_of(networks.map(str), networks.map(lambda one: one.exploded), networks.map(lambda one: str(one.network_address)))
# Few bits, so that prefixes meet: the whole of 2001:db8::/32 in steps, and 192.0.2.0/24.
crowded = st.one_of(
    st.tuples(st.integers(0, 15), st.integers(28, 36)).map(
        lambda one: ipaddress.ip_network((0x20010DB8 << 96 | one[0] << 92, one[1]), strict=False)
    ),
    st.tuples(st.integers(0, 15), st.integers(24, 32)).map(
        lambda one: ipaddress.ip_network((0xC0000200 | one[0] << 2, one[1]), strict=False)
    ),
)


def _columns(found):
    prefixes = [Prefix.parse(str(one)) for one in found]
    return (
        np.array([one.value >> 64 for one in prefixes], np.uint64),
        np.array([one.value & (1 << 64) - 1 for one in prefixes], np.uint64),
        np.array([one.length for one in prefixes], np.uint8),
    )


def _meet(one, two):
    return one.version == two.version and one.overlaps(two)


@given(texts)
def test_a_prefix_is_read_as_ipaddress_reads_it(text):
    assert parse_prefix(text) == Prefix.parse(text)
    assert parse_prefix(text.upper()) == Prefix.parse(text)


@given(st.text("0123456789abcdef.:/ +_-x", max_size=24))
def test_what_ipaddress_refuses_is_refused_with_a_sentence(text):
    try:
        expected = Prefix.parse(text)
    except ValueError:
        with pytest.raises(ValueError, match=r".{20,}"):
            read_prefix(text)
    else:
        assert parse_prefix(text) == expected


@given(st.lists(st.lists(texts, max_size=3), max_size=12))
def test_many_cells_are_read_as_one_by_one(rows):
    column, expected = PrefixColumn(), PrefixColumn()
    for row in rows:
        expected.append(dict.fromkeys(read_prefix(text) for text in dict.fromkeys(row)))
    cells = [" ".join(row) for row in rows]
    column.extend(cells)
    column.extend(cells)  # a second time, when the parts of addresses are known
    seen = [column.row(row) for row in range(len(rows) * 2)]
    assert [list(dict.fromkeys(row)) for row in seen] == [list(expected.row(row)) for row in range(len(rows))] * 2


@given(
    st.lists(texts, min_size=1, max_size=8),
    st.integers(0, 8),
    st.sampled_from(["192.0.2.256", "192.0.2.1/24", "2001:db8::1/56", "x", "10.0.0.0/33"]),
)
def test_one_wrong_cell_enters_nothing(cells, place, wrong):
    column = PrefixColumn()
    column.extend(cells)
    before = (list(column.high), list(column.lengths), list(column.starts))
    with pytest.raises(ValueError, match=r"\w"):
        column.extend([*cells[:place], wrong, *cells[place:]])
    assert (list(column.high), list(column.lengths), list(column.starts)) == before


def test_host_bits_are_told_the_network_and_the_address():
    with pytest.raises(ValueError, match=r"write 192\.0\.2\.0/24 for the network, or 192\.0\.2\.9 for the one address"):
        read_prefix("192.0.2.9/24")
    with pytest.raises(ValueError, match=r"write 2001:db8::/48 for the network"):
        read_prefix("2001:db8::1/48")


@given(st.lists(st.tuples(crowded, st.integers(0, 3)), max_size=24))
def test_overlaps_are_those_that_comparing_every_pair_finds(rows):
    found, owners = [one for one, _ in rows], np.array([owner for _, owner in rows], np.uint32)
    high, low, lengths = _columns(found)
    told = list(find_overlaps(high, low, lengths, owners, sorted_order(high, low, lengths)))
    for outer, inner in told:
        assert owners[outer] != owners[inner]
        assert _meet(found[outer], found[inner])
        assert found[outer].prefixlen <= found[inner].prefixlen
    # Every prefix that another customer's holds is told, and told once.
    held = {
        max((one, two), key=lambda row: (found[row].prefixlen, row))
        for one, two in combinations(range(len(found)), 2)
        if owners[one] != owners[two] and _meet(found[one], found[two])
    }
    assert sorted(inner for _, inner in told) == sorted(held)


@given(st.lists(crowded, max_size=24), st.lists(crowded, max_size=6))
def test_rows_that_overlap_some_prefixes_are_those_that_comparing_each_finds(found, asked):
    high, low, lengths = _columns(found)
    order = sorted_order(high, low, lengths)
    prefixes = [Prefix.parse(str(one)) for one in asked]
    rows = overlapping_rows(prefixes, sorted_keys(high, low, order), lengths, order, set(lengths.tolist()))
    each = [(Prefix.parse(str(one)), [row for row, other in enumerate(found) if _meet(other, one)]) for one in asked]
    assert sorted(rows) == sorted((prefix, row) for prefix, met in each for row in met)


def test_addresses_that_end_in_zeros_are_told_from_each_other():
    found = [ipaddress.ip_network(one) for one in ("::/0", "2001:db8::/32", "2001:db8::/48", "2001:db8::/128", "2001:db9::/32")]
    high, low, lengths = _columns(found)
    order = sorted_order(high, low, lengths)
    keys, present = sorted_keys(high, low, order), set(lengths.tolist())
    assert [row for _, row in overlapping_rows([Prefix.parse("2001:db8::/64")], keys, lengths, order, present)] == [0, 1, 2, 3]
    assert [row for _, row in overlapping_rows([Prefix.parse("2001:db9::1")], keys, lengths, order, present)] == [0, 4]


@pytest.mark.parametrize(
    ("known", "wrong"),
    [
        (["2001:db8:0:100::/56", "2001:db8:1:1::/64"], "2001:db8:0:1::/56"),
        (["10.0.0.0/8", "10.1.2.3/32"], "10.1.2.0/8"),
        (["192.0.2.0/24", "198.51.100.7"], "192.0.2.7/24"),
    ],
)
def test_parts_of_addresses_known_from_before_do_not_hide_host_bits(known, wrong):
    column = PrefixColumn()
    column.extend(known)
    with pytest.raises(ValueError, match="bits set"):
        column.extend([wrong])


@pytest.mark.parametrize("text", ["127.18.9.0/24", "127.18.10.7", "127.18.255.128/25", "127.19.9.0/24", "127.18.11.0/31"])
def test_a_network_beside_one_that_was_read_is_read_as_any(text: str) -> None:
    column = PrefixColumn()
    column.extend(["127.18.3.0/24", "127.18.4.7", "127.18.4.128/25", "127.18.4.0/31"])
    column.extend([text])
    assert column.row(4) == (parse_prefix(text),)


@pytest.mark.parametrize("text", ["127.18.09.0/24", "127.18.256.0/24", "127.18..0/24", "127.18.9.1/24", "18.9.0/24"])
def test_what_stands_beside_a_network_and_is_none_is_refused(text: str) -> None:
    column = PrefixColumn()
    column.extend(["127.18.3.0/24"])
    with pytest.raises(ValueError, match=r"is not an address|host bits|write"):
        column.extend([text])
    assert len(column) == 1
