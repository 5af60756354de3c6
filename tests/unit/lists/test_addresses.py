"""Addresses as entries: lists of them, triggers of policy zones, what is refused, and how they are told."""

from __future__ import annotations

import pytest

from sekisho.lists.compile import FeedResult, compile_feed
from sekisho.lists.idn import to_text
from sekisho.model.addresses import key_of, labels_of, prefix_of, read_trigger
from sekisho.model.customers import Prefix
from sekisho.model.lists import ActionKind, ListDefinition, ListFormat, Trigger
from sekisho.snapshot.digest import digest_name
from sekisho.snapshot.digest import key_of as list_key

KEY = list_key(bytes(16))
ADDRESS, CLIENT = Trigger.EXACT | Trigger.ADDRESS, Trigger.EXACT | Trigger.CLIENT


def compiled(text: str, form: ListFormat, *, sealed: bool = False) -> FeedResult:
    zone = "rpz.test" if form is ListFormat.RPZ else None
    return compile_feed(ListDefinition("c2", 0, "c2", "c2", form, zone=zone, sealed=sealed), text.encode(), KEY, file="c2")


def meaning(result: FeedResult, prefix: str, trigger: Trigger = Trigger.ADDRESS) -> tuple[Trigger, int, ActionKind | None] | None:
    one = result.compiled
    row = one.find(*digest_name(key_of(Prefix.parse(prefix), trigger), KEY))
    if row is None:
        return None
    number = int(one.exact[row])
    return Trigger(int(one.triggers[row])), int(one.depths[row]), one.actions[number - 1].kind if number else None


def test_a_list_of_addresses_is_one_prefix_a_line() -> None:
    text = "# C&C\n192.0.2.1\n198.51.100.0/24 ; a net\n2001:db8::/48\n2001:db8:1::7\t! one\n\n192.0.2.1/24\nwww.example\n0.0.0.0/0\n"
    result = compiled(text, ListFormat.ADDRESSES)
    assert meaning(result, "192.0.2.1") == (ADDRESS, 128, None)
    assert meaning(result, "198.51.100.0/24") == (ADDRESS, 120, None)
    assert meaning(result, "2001:db8::/48") == (ADDRESS, 48, None)
    assert (result.report.entries, result.report.skipped, result.report.refused) == (4, 2, 1)
    assert [str(fault) for fault in result.report.faults] == [
        "c2:7: skipped: it is no address, nor a prefix with no bits set beyond its length (192.0.2.1/24)",
        "c2:8: skipped: it is no address, nor a prefix with no bits set beyond its length (www.example)",
        "c2:9: refused: it is wider than an IPv4 /8 or an IPv6 /16 (0.0.0.0/0)",
    ]
    assert to_text(key_of(Prefix.parse("198.51.100.0/24"))) == "198.51.100.0/24"


def test_triggers_of_a_policy_zone_on_addresses_are_kept_with_their_actions() -> None:
    text = (
        "$ORIGIN rpz.test.\n32.1.2.0.192.rpz-ip CNAME .\n24.0.100.51.198.rpz-ip CNAME rpz-drop.\n48.zz.db8.2001.rpz-ip CNAME rpz-passthru.\n"
        "128.1.zz.db8.2001.rpz-ip A 203.0.113.9\n24.0.2.0.192.rpz-client-ip CNAME *.\n24.1.2.0.192.rpz-ip CNAME .\n"
        "ns.x.example.rpz-nsdname CNAME .\n32.1.2.0.192.rpz-nsip CNAME .\nbad.example CNAME .\n"
    )
    result = compiled(text, ListFormat.RPZ)
    assert meaning(result, "192.0.2.1") == (ADDRESS, 128, ActionKind.NXDOMAIN)
    assert meaning(result, "198.51.100.0/24") == (ADDRESS, 120, ActionKind.DROP)
    assert meaning(result, "2001:db8::/48") == (ADDRESS, 48, ActionKind.PASSTHRU)
    assert meaning(result, "2001:db8::1") == (ADDRESS, 128, ActionKind.LOCAL_DATA)
    assert meaning(result, "192.0.2.0/24", Trigger.CLIENT) == (CLIENT, 120, ActionKind.NODATA)
    assert meaning(result, "192.0.2.1", Trigger.CLIENT) is None
    assert dict(result.report.kinds) == {"rpz-nsdname trigger": 1, "rpz-nsip trigger": 1}
    assert (result.report.entries, result.report.skipped) == (6, 1)


def test_a_sealed_list_of_addresses_has_none_of_them() -> None:
    result = compiled("192.0.2.1\n192.0.2.999\n", ListFormat.ADDRESSES, sealed=True)
    assert not len(result.compiled.names)
    assert meaning(result, "192.0.2.1") == (ADDRESS, 128, None)
    assert "192.0.2" not in str(result.report.faults)


@pytest.mark.parametrize("prefix", ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/48", "::1/128", "2001:db8:0:0:1:0:0:1/128"])
def test_a_prefix_survives_the_labels_of_its_trigger_and_its_key(prefix: str) -> None:
    one = Prefix.parse(prefix)
    assert read_trigger([label.encode() for label in labels_of(one)]) == one
    assert prefix_of(key_of(one, Trigger.CLIENT)) == (one, Trigger.CLIENT)


@pytest.mark.parametrize(
    "labels", ["", "32", "x.1.2.0.192", "33.1.2.0.192", "24.1.2.0.192", "48.zz.db8.zz.2001", "129.zz", "32.1.2.0.192.0"]
)
def test_labels_that_are_no_prefix_are_told_so_without_them(labels: str) -> None:
    with pytest.raises(ValueError, match="no prefix such as"):
        read_trigger([label.encode() for label in labels.split(".")])
