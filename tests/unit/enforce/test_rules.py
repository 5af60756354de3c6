"""Chains and rules of our tables."""

from __future__ import annotations

import json
from dataclasses import replace

from sekisho.enforce.rules import INET, NETDEV, Names, chains, set_body, table_named
from sekisho.enforce.state import PARTS, WHOLE, Role, Table, parts_of
from sekisho.enforce.wanted import Where
from sekisho.model.customers import Prefix

WHERE = Where(("cust0", "cust1"), "sekisho-up")
NAMES = Names(((53, (Prefix.parse("192.0.2.53"), Prefix.parse("2001:db8::53"))),), (5353,))
ALL = [Table(role, six, bits, part) for role in Role for six, bits in ((False, 32), (False, 29), (True, 56)) for part in parts_of(role)]


def by_name(tables, where=WHERE):
    return {one.name: one for one in chains(tables, where, NAMES)}


def test_without_tables_there_is_no_rule():
    assert chains([], WHERE, NAMES) == ()


def test_only_what_is_needed_is_hooked_in():
    assert set(by_name([Table(Role.SILENCE, False, 32)])) == {"silence", "names"}
    assert set(by_name([Table(Role.MAIL, False, 32)])) == {"mail", "forward"}
    assert set(by_name([Table(Role.UP, True, 56)])) == {"up", "ingress1", "ingress2"}


def test_every_table_is_ours_by_name_and_family():
    for one in chains(ALL, WHERE, NAMES):
        assert one.family in {INET, NETDEV}
        assert (one.family == NETDEV) == (one.name == "up" or one.name.startswith("ingress"))
    for table in ALL:
        assert table_named(table.name) == table
        assert set_body(table)[1]["table"] == "sekisho"


def test_a_name_of_somebody_elses_is_no_table_of_ours():
    for name in ("silence4", "silence5_32", "silence4_33", "other4_32", "silence4_032", "4_32", "", "silence4_32_1", "countup4_32_1"):
        assert table_named(name) is None
    for part in ("", "10", "g", "A", "-1", "01"):
        assert table_named(f"countqueries4_32_{part}") is None


def test_whose_queries_are_counted_is_looked_up_in_its_part_and_then_among_shorter_prefixes():
    made = by_name(ALL)
    found, shorter, six = made["countqueries"].rules
    key, among = found[0]["vmap"]["key"]["&"], found[0]["vmap"]["data"]["set"]
    assert key == [{"payload": {"protocol": "ip", "field": "saddr"}}, "0.0.0.15"]
    assert [one for one, _ in among] == [f"0.0.0.{part}" for part in range(PARTS)]
    assert among[10][1] == {"jump": {"target": "countqueries4_32_a"}}
    assert shorter[0]["vmap"]["key"]["&"][1] == "0.0.0.120"
    assert shorter[0]["vmap"]["data"]["set"][3] == ["0.0.0.24", {"jump": {"target": "countqueries4_29_3"}}]
    assert six[0]["vmap"]["key"]["&"][1] == "0:0:0:f00::"


def test_whoever_is_counted_is_looked_up_no_further_and_no_part_leads_on():
    made = by_name(ALL)
    parts = [table for table in ALL if table.part != WHOLE]
    assert parts
    for table in parts:
        (rule,) = made[table.name].rules
        assert (rule[0]["match"]["right"], rule[-1]) == (f"@{table.name}", {"accept": None})


def test_where_a_part_is_missing_the_shorter_prefixes_are_looked_up_all_the_same():
    some = [table for table in ALL if table.role is Role.COUNT_QUERIES and table.part != 10]
    assert [rule[0]["vmap"]["key"]["&"][1] for rule in by_name(some)["countqueries"].rules] == ["0.0.0.15", "0.0.0.120", "0:0:0:f00::"]


def test_of_a_prefix_with_fewer_bits_there_are_fewer_parts():
    (rule,) = by_name([Table(Role.COUNT_QUERIES, False, 2, part) for part in range(PARTS)])["countqueries"].rules
    assert rule[0]["vmap"]["key"]["&"][1] == "192.0.0.0"
    assert [one for one, _ in rule[0]["vmap"]["data"]["set"]] == ["0.0.0.0", "64.0.0.0", "128.0.0.0", "192.0.0.0"]


def test_the_longest_prefix_is_looked_up_first_and_ends_the_look_up():
    rules = by_name(ALL)["down"].rules
    assert [json.dumps(rule[0]).count("255.255.255.248") for rule in rules] == [0, 1, 0]
    assert all(rule[-1] == {"return": None} for rule in rules)


def test_queries_are_dropped_only_on_their_way_to_the_name_servers():
    rules = by_name(ALL)["names"].rules
    assert all(rule[-1] == {"jump": {"target": "silence"}} for rule in rules)
    told = json.dumps(rules)
    assert "192.0.2.53" in told
    assert "2001:db8::53" in told
    assert '"local"' in told
    assert all(any(port in json.dumps(rule) for port in ('"right": 53}', '"right": 5353}')) for rule in rules)


def test_queries_are_counted_on_their_way_to_the_resolvers_named_once_they_are_not_dropped():
    names = replace(NAMES, counted=(Prefix.parse("192.0.2.53"), Prefix.parse("2001:db8::53")))
    rules = {one.name: one for one in chains(ALL, WHERE, names)}["names"].rules
    assert [rule[-1]["jump"]["target"] for rule in rules] == ["silence"] * 3 + ["countqueries"] * 4
    counting = json.dumps(rules[3:])
    assert all(text in counting for text in ("192.0.2.53", "2001:db8::53", '"udp"', '"tcp"', '"syn"'))
    assert "5353" not in counting, "what the plane counts itself"
    (alone,) = [one for one in chains([Table(Role.COUNT_QUERIES, False, 32)], WHERE, names) if one.hook is not None]
    assert {rule[-1]["jump"]["target"] for rule in alone.rules} == {"countqueries"}


def test_mail_is_looked_at_for_new_connections_to_its_ports_alone():
    rules = [rule for rule in by_name(ALL)["forward"].rules if rule[-1]["jump"]["target"] in {"mail", "nomail", "countmail"}]
    assert [rule[-1]["jump"]["target"] for rule in rules] == ["countmail", "nomail", "mail"]
    for rule in rules:
        assert rule[0]["match"]["right"] == {"set": [25, 465, 587]}
        assert rule[1]["match"]["right"] == "syn"
