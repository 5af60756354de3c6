"""Whose packets of accounting are refused, and that nobody can fill the memory or the log with it."""

from __future__ import annotations

import pytest

from sekisho.drivers.radiusdecode import Decoder
from sekisho.drivers.radiusframes import Peer
from sekisho.drivers.radiusrefused import AGAIN, LATELY, LOGGED, STRANGERS, Refusals, Refused, sentence
from sekisho.model.customers import Prefix
from sekisho.model.sessions import AccountingFault
from support import radius

NOW = 1_775_000_000.0
SECRET, NO_NAS = AccountingFault.SECRET, AccountingFault.NO_NAS


def peer(name: str, *, identifier: str | None = None, signed: bool = False) -> Peer:
    return Peer(name, (Prefix.parse("127.0.0.1"),), identifier, proxy=False, secret=radius.SECRET, signed=signed, swap=False)


def request(secret: bytes = radius.SECRET) -> bytes:
    return radius.packet(radius.told(radius.START, "s1", "c-1"), 7, secret)


@pytest.mark.parametrize(
    ("peers", "data", "host", "why", "nas"),
    [
        ([peer("bras")], request(), "192.0.2.9", AccountingFault.NO_NAS, ""),
        ([peer("bras")], request(b"another"), "127.0.0.1", AccountingFault.SECRET, "bras"),
        ([peer("a", identifier="a"), peer("b", identifier="b")], request(), "127.0.0.1", AccountingFault.NO_NAME, "a, b"),
        ([peer("bras", signed=True)], request(), "127.0.0.1", AccountingFault.UNSIGNED, "bras"),
        ([peer("bras")], b"\x01", "127.0.0.1", AccountingFault.MALFORMED, "bras"),
        ([peer("bras")], radius.packet(b"", 7), "127.0.0.1", AccountingFault.MALFORMED, "bras"),
    ],
)
def test_a_refusal_says_of_which_nas_it_is_and_why(peers, data, host, why, nas):  # type: ignore[no-untyped-def]
    read = Decoder(peers).read(data, host, NOW)
    assert (read.why, read.nas) == (why, nas)
    assert sentence(why)


def test_the_log_is_told_once_an_hour_and_all_packets_are_counted() -> None:
    refused, refusals = Refused(), Refusals()
    for _ in range(3):
        refused.add("bras", "192.0.2.1", SECRET)
        refused.add("", "203.0.113.9", NO_NAS)
    rows = refused.take()
    assert refused.take() == []
    assert [(one.nas, one.source) for one in refusals.merge(rows, NOW)] == [("bras", "192.0.2.1"), ("", "203.0.113.9")]
    assert refusals.merge(rows, NOW + AGAIN - 1) == []
    assert len(refusals.merge(rows, NOW + AGAIN)) == 2
    assert [(one.packets, one.last) for one in refusals.lately(NOW + AGAIN)] == [(9, NOW + AGAIN)] * 2
    assert refusals.lately(NOW + AGAIN + LATELY) == []


def test_made_up_addresses_fill_neither_memory_nor_log_nor_hide_a_nas() -> None:
    refused, refusals = Refused(), Refusals()
    told = 0
    for turn in range(50):
        for last in range(100):
            refused.add("", f"2001:db8:{turn:x}::{last:x}", NO_NAS)
        refused.add("bras", "192.0.2.1", SECRET)
        rows = refused.take()
        assert len(rows) == STRANGERS + 1
        told += len(refusals.merge(rows, NOW + turn))
    assert told == LOGGED + 1
    shown = refusals.lately(NOW + 50)
    assert len(shown) == STRANGERS + 1
    assert (shown[0].nas, shown[0].packets) == ("bras", 50)
    assert all(one.source.startswith("2001:db8:31::") for one in shown[1:]), "the latest"


def test_a_nas_that_is_heard_of_again_or_gone_from_the_configuration_needs_nobody() -> None:
    refusals = Refusals()
    refusals.merge([["bras", "192.0.2.1", "secret", 1], ["", "203.0.113.9", "no-nas", 1]], NOW)
    assert [one.nas for one in refusals.standing({}, NOW + 1)] == ["bras"]
    assert [one.nas for one in refusals.standing({"bras": NOW - 1}, NOW + 1)] == ["bras"]
    assert refusals.standing({"bras": NOW + 1}, NOW + 2) == []
    assert refusals.standing({}, NOW + AGAIN) == []
    refusals.keep(["another"])
    assert [one.source for one in refusals.lately(NOW + 1)] == ["203.0.113.9"]
