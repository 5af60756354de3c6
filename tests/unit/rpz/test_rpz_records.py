"""Triggers, actions and serials as policy zones have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, LocalRecord
from sekisho.rpz import records
from sekisho.rpz.serials import following, newer
from sekisho.rpz.text import master_lines


@pytest.mark.parametrize(
    ("prefix", "owner"),
    [
        ("192.0.2.0/24", "24.0.2.0.192.rpz-client-ip"),
        ("192.0.2.7", "32.7.2.0.192.rpz-client-ip"),
        ("0.0.0.0/0", "0.0.0.0.0.rpz-client-ip"),
        ("2001:db8::/48", "48.zz.db8.2001.rpz-client-ip"),
        ("2001:db8::1", "128.1.zz.db8.2001.rpz-client-ip"),
        ("2001:db8:0:1::/64", "64.zz.1.0.db8.2001.rpz-client-ip"),
        ("2001:db8:1:2:3:4:5:6", "128.6.5.4.3.2.1.db8.2001.rpz-client-ip"),
        ("::1", "128.1.zz.rpz-client-ip"),
        ("2001:db8:0:0:1:0:0:1", "128.1.0.0.1.zz.db8.2001.rpz-client-ip"),
    ],
)
def test_a_prefix_is_a_trigger_in_canonical_form(prefix: str, owner: str) -> None:
    labels = records.client_ip(Prefix.parse(prefix))
    assert ".".join(label.decode() for label in records.split(labels + b"\0")) == owner


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (ActionKind.NXDOMAIN, "CNAME ."),
        (ActionKind.NODATA, "CNAME *."),
        (ActionKind.REFUSED, "CNAME *."),
        (ActionKind.DROP, "CNAME rpz-drop."),
        (ActionKind.PASSTHRU, "CNAME rpz-passthru."),
        (ActionKind.TCP_ONLY, "CNAME rpz-tcp-only."),
    ],
)
def test_an_action_without_data_is_one_cname(kind: ActionKind, line: str) -> None:
    (tail,) = records.tails(Action(kind), 60)
    assert list(master_lines(1, b"\x03bad\x04test" + tail)) == [f"bad.test 60 {line}\n"]


def test_a_sinkhole_is_its_addresses_with_their_own_ttl() -> None:
    action = Action(
        ActionKind.SINKHOLE, (LocalRecord(1, 30, bytes((192, 0, 2, 1))), LocalRecord(28, 30, b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"))
    )
    lines = [line for tail in records.tails(action, 60) for line in master_lines(1, tail)]
    assert lines == ["@ 30 A 192.0.2.1\n", "@ 30 AAAA 2001:db8::1\n"]


def test_runs_are_bounded_and_nothing_is_lost() -> None:
    many = [b"\x04name" + records.cname(records.NXDOMAIN, number) for number in range(10_000)]
    runs = list(records.blocks(many))
    assert len(runs) > 1
    assert all(len(octets) <= records.BLOCK for _, octets in runs)
    assert b"".join(octets for _, octets in runs) == b"".join(many)
    assert sum(count for count, _ in runs) == len(many)


SERIALS = st.integers(0, (1 << 32) - 1)


@given(SERIALS, st.floats(0, 4e9))
def test_the_serial_that_follows_is_newer_whatever_the_clock_says(serial: int, now: float) -> None:
    after = following(serial, now)
    assert 0 <= after < 1 << 32
    assert newer(after, serial)
    assert not newer(serial, after)


def test_serials_go_by_the_clock_and_wrap_round() -> None:
    assert following(None, 1_700_000_000.7) == 1_700_000_000
    assert following(1_700_000_000, 1_700_000_000.9) == 1_700_000_001
    assert following(1_700_000_000, 1_700_000_500.0) == 1_700_000_500
    assert following((1 << 32) - 1, 100.0) == 100, "past the end the clock's is newer, by RFC 1982"
