"""Prefixes that customers have for now, on their way into the customers' table."""

from __future__ import annotations

from sekisho.drivers.tablerows import SHARED, Lent, lent_prefixes
from sekisho.model.customers import Prefix
from sekisho.sessions.columns import code_of, parted

SOME = [Prefix.parse(one) for one in ("192.0.2.7", "2001:db8:0:1::/64", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "::/0", "8000::/1")]


def test_codes_are_parted_into_the_halves_of_the_value_and_the_length():
    high, low, lengths = parted([code_of(one) for one in SOME])
    assert [int(upper) << 64 | int(lower) for upper, lower in zip(high, low, strict=True)] == [one.value for one in SOME]
    assert lengths.tolist() == [one.length for one in SOME]
    assert [len(column) for column in parted([])] == [0, 0, 0]


def test_those_of_customers_with_a_row_are_entered_and_what_is_shared_behind_them():
    codes = [code_of(one) for one in SOME]
    high, low, lengths, owners = lent_prefixes(Lent(codes[:3], ["c-1", None, "gone"], codes[3:4]), {"c-1": 4, SHARED: 9})
    assert owners.tolist() == [4, 9]
    assert [int(upper) << 64 | int(lower) for upper, lower in zip(high, low, strict=True)] == [SOME[0].value, 0]
    assert lengths.tolist() == [128, 0]
