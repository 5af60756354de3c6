"""What resolvers are told where customers of some terms have an order of zones of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekisho.config.values import Endpoint
from sekisho.rpz.snippets import PARTS, snippet
from sekisho.rpz.told import Told, View, ZoneTold


def zones(*names: str) -> tuple[ZoneTold, ...]:
    actions = {"silenced": "drop", "garden": "garden"}
    return tuple(
        ZoneTold(f"{name}.rpz.test", not name.startswith("list"), actions.get(name, "" if name[:4] == "list" else "pass")) for name in names
    )


DEFAULT = View("", zones("silenced", "pass-a", "list-a", "pass-b", "list-b"), ("192.0.2.0/24",))
NARROW = View("narrow", zones("silenced", "pass-b.narrow", "list-b"), ("192.0.2.7/32", "2001:db8:7::/48"))
OTHER_ORDER = View("other", zones("silenced", "pass-b.other", "list-b", "pass-a.other", "list-a"), ("192.0.2.9/32",))


def told(*views: View, key: bool = True) -> Told:
    return Told("192.0.2.1", 5353, views, ("one.key.test", "hmac-sha256") if key else None, "/k", "/z")


def order(text: str) -> list[str]:
    return [line.split('"')[1].removesuffix(".rpz.test") for line in text.splitlines() if "name:" in line]


def test_unbound_asks_one_order_and_tags_what_not_all_are_asked_of() -> None:
    text = snippet("unbound", told(NARROW, DEFAULT, key=False))
    assert order(text) == ["silenced", "pass-a", "list-a", "pass-b", "pass-b.narrow", "list-b"]
    tags = {block.split('"')[1]: [line for line in block.splitlines() if "tags:" in line] for block in text.split("rpz:\n")[1:]}
    assert tags["list-b.rpz.test"] == tags["silenced.rpz.test"] == [], "all are asked"
    assert tags["list-a.rpz.test"] == ['    tags: "sekisho-default"']
    assert tags["pass-b.narrow.rpz.test"] == ['    tags: "sekisho-narrow"']
    assert 'access-control-tag: 192.0.2.0/24 "sekisho-default"' in text
    assert 'access-control-tag: 2001:db8:7::/48 "sekisho-narrow"' in text


def test_where_the_order_of_a_class_is_another_unbounds_is_everybodys_and_others_have_the_classs() -> None:
    found = order(snippet("unbound", told(OTHER_ORDER, DEFAULT, key=False)))
    assert [name for name in found if name.startswith("list")] == ["list-a", "list-b"]
    assert found.index("pass-b.other") == found.index("list-b") - 1
    assert found.index("pass-a.other") == found.index("list-a") - 1
    view = snippet("bind", told(OTHER_ORDER, DEFAULT), "policy").split('view "sekisho-default"')[0]
    assert view.index('"list-b.rpz.test" log') < view.index('"list-a.rpz.test" log')


def test_recursor_is_told_each_class_apart_and_drops_those_of_others() -> None:
    loaded = snippet("recursor", told(NARROW, DEFAULT), "zones")
    assert loaded.count('"list-b.rpz.test"') == 2
    script = snippet("recursor", told(NARROW, DEFAULT), "script")
    assert (
        'policies = {"sekisho-narrow:silenced.rpz.test", "sekisho-narrow:pass-b.narrow.rpz.test", "sekisho-narrow:list-b.rpz.test"}'
        in script
    )
    assert "prerpz" not in snippet("recursor", told(DEFAULT), "script")


def test_knot_dns_transfers_each_zone_once_and_answers_nobody() -> None:
    text = snippet("knot", told(NARROW, DEFAULT), "transfer")
    assert text.count("domain: list-b.rpz.test\n") == 1
    assert text.count("domain:") == 6
    assert "module: mod-queryacl/sekisho" in text
    assert "key: one.key.test" in text
    assert "key:" not in snippet("knot", told(DEFAULT, key=False), "transfer")
    lua = snippet("knot", told(NARROW, DEFAULT), "zones")
    assert "networks = { '32.7.2.0.192.rpz-client-ip', '48.zz.7.db8.2001.rpz-client-ip' }" in lua
    assert "['silenced.rpz.test'] = { action = 'drop' }" in lua


def test_each_resolver_is_told_all_addresses_it_reaches_us_by() -> None:
    several = replace(told(DEFAULT), others=(Endpoint("2001:db8::1", 5353), Endpoint("192.0.2.1", 5354)))
    key = ' key "one.key.test"'
    assert f"primaries {{ 192.0.2.1 port 5353{key}; 2001:db8::1 port 5353{key}; 192.0.2.1 port 5354{key}; }};" in snippet("bind", several)
    lines = [
        "    primary: 192.0.2.1@5353",
        "    primary: 2001:db8::1@5353",
        "    primary: 192.0.2.1@5354",
        "    allow-notify: 192.0.2.1",
        "    allow-notify: 2001:db8::1",
        "    zonefile:",
    ]
    assert "\n".join(lines) in snippet("unbound", several)
    assert 'rpzPrimary({"192.0.2.1:5353", "[2001:db8::1]:5353", "192.0.2.1:5354"}, "silenced.rpz.test"' in snippet("recursor", several)
    text = snippet("knot", several, "transfer")
    assert "    address: [ 192.0.2.1@5353, 2001:db8::1@5353, 192.0.2.1@5354 ]\n" in text
    assert "    address: [ 192.0.2.1, 2001:db8::1 ]\n" in text


@pytest.mark.parametrize("resolver", PARTS)
def test_all_parts_come_one_after_the_other(resolver: str) -> None:
    whole = snippet(resolver, told(DEFAULT, key=resolver != "unbound"))
    assert all(snippet(resolver, told(DEFAULT, key=resolver != "unbound"), part) in whole for part in PARTS[resolver])
