"""What an entry is in each format, what is left out of it, and how that is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.lists import idn
from sekisho.lists.compile import FeedResult, compile_feed
from sekisho.model.errors import FeedError
from sekisho.model.lists import ActionKind, ListDefinition, ListFormat, Scope, Trigger
from sekisho.snapshot.digest import digest_name, key_of
from sekisho.snapshot.entries import CompiledList

KEY = key_of(bytes(range(16)))
EXACT, BELOW = Trigger.EXACT, Trigger.BELOW


def compiled(text: str | bytes, kind: str, scope: Scope | None = Scope.SUBTREE, **options) -> FeedResult:
    data = text.encode() if isinstance(text, str) else text
    scope = None if kind == "rpz" else scope
    definition = ListDefinition("sample", 0, "c2", "feed", ListFormat(kind), scope=scope, **options)
    return compile_feed(definition, data, KEY, file="feed")


def triggers(result: FeedResult, name: str) -> int:
    row = result.compiled.find(*digest_name(idn.to_wire(name), KEY))
    return 0 if row is None else int(result.compiled.triggers[row])


def action(result: FeedResult, name: str, trigger: Trigger) -> ActionKind | None:
    row = result.compiled.find(*digest_name(idn.to_wire(name), KEY))
    if row is None or not result.compiled.triggers[row] & trigger:
        return None
    number = int((result.compiled.exact if trigger is EXACT else result.compiled.below)[row])
    return ActionKind.DEFAULT if number == 0 else result.compiled.actions[number - 1].kind


def names(result: CompiledList) -> set[str]:
    return {idn.to_text(result.name(row)) for row in range(len(result))}


def test_plain_names_with_comments_dots_and_any_case() -> None:
    result = compiled("# c\n; c\n! c\nC2.Example.\r\n  a_b.c2.example # why\n\n-x-.c2.example", "domains")
    assert names(result.compiled) == {"c2.example", "a_b.c2.example", "-x-.c2.example"}
    assert (result.report.entries, result.report.skipped) == (3, 0)


def test_a_list_of_scope_exact_is_never_widened_by_a_star() -> None:
    result = compiled("*.c2.example\nc2.example\n", "domains", Scope.EXACT)
    assert triggers(result, "c2.example") == EXACT
    assert result.report.skipped == 1
    assert "scope exact" in result.report.faults[0].message


def test_a_star_in_a_list_of_scope_subtree_leaves_the_name_itself_alone() -> None:
    assert triggers(compiled("*.c2.example\n", "domains"), "c2.example") == BELOW
    assert triggers(compiled("*.c2.example\nc2.example\n", "domains"), "c2.example") == EXACT | BELOW


@pytest.mark.parametrize(
    "line",
    [
        "192.0.2.1",
        "2001:db8::1",
        "a..c2.example",
        ".c2.example",
        "two words.example",
        "a" * 64 + ".example",
        ".".join(["abcdefg"] * 32),
        "http://c2.example/x",
        "c2.example/path",
        "\0c2.example",
        "☃.example",
        "-é.example",
        "x" * 5000,
    ],
)
def test_one_bad_line_is_skipped_with_file_and_line_and_costs_nothing_else(line: str) -> None:
    result = compiled(f"good-1.example\n{line}\ngood-2.example\n", "domains")
    assert names(result.compiled) == {"good-1.example", "good-2.example"}
    assert result.report.skipped == 1
    (fault,) = result.report.faults
    assert (fault.file, fault.line) == ("feed", 2)


def test_bytes_that_are_no_utf8_cost_their_line_alone() -> None:
    result = compiled(b"\xef\xbb\xbfgood-1.example\n\xff\xfe.example\ngood-2.example", "domains")
    assert names(result.compiled) == {"good-1.example", "good-2.example"}
    assert result.report.faults[0].line == 2


def test_internationalised_names_are_held_as_idna_2008_has_them() -> None:
    result = compiled("指令。c2.example\nSTRASSE.example\nstraße.example\nXN--BCHER-KVA.example\n", "domains")
    assert names(result.compiled) == {"xn--nnqt40c.c2.example", "strasse.example", "xn--strae-oqa.example", "xn--bcher-kva.example"}


def test_every_line_is_counted_but_faults_are_bounded() -> None:
    result = compiled("bad line\n" * 1000 + "c2.example\n" + "com\n" * 1000, "domains")
    assert (result.report.entries, result.report.skipped, result.report.refused) == (1, 1000, 1000)
    assert len(result.report.faults) == 200
    assert any("public suffix" in fault.message for fault in result.report.faults)


def test_a_name_that_stands_many_times_is_one_entry() -> None:
    assert compiled("c2.example\nC2.EXAMPLE.\n" * 500, "domains").report.entries == 1


def test_equal_content_has_an_equal_version() -> None:
    one, other = compiled("a.example\n", "domains"), compiled("b.example\n", "domains")
    assert one.report.version == compiled("a.example\n", "domains").report.version != other.report.version


def test_an_empty_feed_is_an_empty_list() -> None:
    for kind in ("domains", "hosts", "adblock", "rpz", "json"):
        assert compiled("", kind, column=None).report.entries == 0


def test_a_hosts_file_gives_its_names_and_not_the_hosts_own() -> None:
    text = "127.0.0.1 localhost localhost.localdomain\n::1 ip6-localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 a.example b.example # c\n"
    result = compiled(text + "2001:db8::7\tc.example\n192.0.2.7 d.example bad..example\nfoo e.example\n0.0.0.0\n", "hosts", Scope.EXACT)
    assert names(result.compiled) == {"a.example", "b.example", "c.example", "d.example"}
    assert triggers(result, "a.example") == EXACT
    assert [fault.line for fault in result.report.faults] == [6, 7, 8]
    assert result.report.refused == 0


def test_adblock_rules_about_whole_names_are_kept_and_others_counted_by_kind() -> None:
    text = "[Adblock Plus 2.0]\n! c\n||c2.example^\n||x.example^$important\n||y.example^$third-party\n||z.example^*/x\n"
    result = compiled(text + "##.ad\nshop.example#@#.ad\n/banner/*\nplain.example\n|https://w.example|\n", "adblock")
    assert names(result.compiled) == {"c2.example", "x.example"}
    assert triggers(result, "c2.example") == EXACT | BELOW
    assert dict(result.report.kinds) == {
        "adblock rule with options": 1,
        "adblock cosmetic rule": 2,
        "adblock rule that is not about a whole name": 4,
    }
    assert result.report.unkept == 7


def test_an_adblock_exception_keeps_the_list_off_a_name_wherever_it_stands() -> None:
    result = compiled("||c2.example^\n@@||ok.c2.example^\n@@||c.example^\n||c.example^\n||d.example^\n@@||d.example^\n", "adblock")
    assert action(result, "ok.c2.example", EXACT) is ActionKind.EXCEPT
    assert action(result, "c.example", EXACT) is ActionKind.EXCEPT
    assert action(result, "d.example", BELOW) is ActionKind.EXCEPT
    assert action(result, "c2.example", BELOW) is ActionKind.DEFAULT


def test_adblock_in_a_list_of_scope_exact_blocks_the_name_alone() -> None:
    assert triggers(compiled("||c2.example^\n", "adblock", Scope.EXACT), "c2.example") == EXACT


def test_csv_by_the_column_its_header_names() -> None:
    text = '# feed of the day\n#"first","domain","why"\n"1","c2.example","x, y"\n2,C3.example,z\n3\n"4","lost.example\n5,"c4.example",""\n6,,\n'
    result = compiled(text, "csv", column="domain")
    assert names(result.compiled) == {"c2.example", "c3.example", "c4.example"}
    assert [fault.line for fault in result.report.faults] == [5, 6, 8]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_any_usual_delimiter(delimiter: str) -> None:
    text = f"id{delimiter}domain\r\n1{delimiter}c2.example\r\n"
    assert names(compiled(text, "csv", column="domain").compiled) == {"c2.example"}


def test_csv_without_the_column_says_what_to_set() -> None:
    with pytest.raises(FeedError, match="column"):
        compiled("id,name\n1,c2.example\n", "csv", column="domain")


@pytest.mark.parametrize(
    "text",
    [
        '["a.example", "b.example"]',
        '[{"domain": "a.example"}, {"domain": "b.example", "tags": ["x"]}]',
        '{"version": 3, "domain": ["a.example", "b.example"], "other": ["n.example"]}',
        '{"meta": {"x": ["n.example"]}, "data": [{"domain": "a.example"}, {"domain": ["b.example"]}]}',
        '{"domain": "a.example"}\n{"domain": "b.example", "tags": ["n.example"]}\n',
        '"a.example"\n"b.example"\n',
    ],
)
def test_json_in_the_shapes_feeds_come_in(text: str) -> None:
    assert names(compiled(text, "json", column="domain").compiled) == {"a.example", "b.example"}


def test_a_line_that_is_no_json_loses_a_line_and_not_the_feed() -> None:
    result = compiled('[\n"a.example",\n{"domain": oops},\n7,\n{"name": "x"},\n"b.example"\n]\n', "json", column="domain")
    assert names(result.compiled) == {"a.example", "b.example"}
    assert [fault.line for fault in result.report.faults] == [3, 4, 5]


def test_json_nested_without_end_is_a_fault_of_its_line() -> None:
    result = compiled("[" * 2 + "[" * 200_000 + '\n"a.example"]', "json", column="domain")
    assert names(result.compiled) == {"a.example"}


RPZ = """$TTL 1h
@ SOA localhost. root.localhost. (
      1 ; serial (of the zone)
      3600 600 604800 300 )
  NS localhost.
nx.example CNAME .
*.nx.example IN CNAME .
nodata.example 300 CNAME *.
let.example CNAME rpz-passthru.
old.example CNAME old.example.
drop.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
both.example CNAME .
*.both.example CNAME rpz-passthru.
data.example A 192.0.2.1
             A 192.0.2.2
             AAAA 2001:db8::1
             TXT "two words; (here)" ; a comment
garden.example 60 CNAME *.walled.example.
chase.example CNAME else.example.
"""


def test_every_action_of_a_policy_zone_keeps_its_meaning() -> None:
    result = compiled(RPZ, "rpz")
    assert result.report.faults == ()
    assert action(result, "nx.example", EXACT) is ActionKind.NXDOMAIN
    assert action(result, "nx.example", BELOW) is ActionKind.NXDOMAIN
    assert action(result, "nodata.example", EXACT) is ActionKind.NODATA
    assert action(result, "nodata.example", BELOW) is None
    assert action(result, "let.example", EXACT) is ActionKind.PASSTHRU
    assert action(result, "old.example", EXACT) is ActionKind.PASSTHRU
    assert action(result, "drop.example", EXACT) is ActionKind.DROP
    assert action(result, "tcp.example", EXACT) is ActionKind.TCP_ONLY
    assert (action(result, "both.example", EXACT), action(result, "both.example", BELOW)) == (ActionKind.NXDOMAIN, ActionKind.PASSTHRU)
    data = next(item for item in result.compiled.actions if item.kind is ActionKind.LOCAL_DATA)
    assert [(record.rtype, record.ttl) for record in data.records] == [(1, 3600), (1, 3600), (28, 3600), (16, 3600)]
    assert data.records[3].rdata == b"\x11two words; (here)"
    chased = {item.records[0].rdata: item.records[0].ttl for item in result.compiled.actions if item.kind is ActionKind.CHASE}
    assert chased == {b"\1*\6walled\7example\0": 60, b"\4else\7example\0": 3600}


def test_what_a_policy_zone_says_that_cannot_be_kept_is_counted_by_name() -> None:
    text = (
        "32.1.2.0.192.rpz-ip CNAME .\n24.0.2.0.192.rpz-client-ip CNAME rpz-drop.\nns.x.example.rpz-nsdname CNAME .\n"
        "32.1.2.0.192.rpz-nsip CNAME .\nx.example CNAME rpz-log.\ny.example DNAME z.example.\nz.example CNAME .\n"
    )
    result = compiled(text, "rpz")
    assert names(result.compiled) == {"z.example", "192.0.2.1/32", "client 192.0.2.0/24"}
    assert dict(result.report.kinds) == {
        "rpz-nsdname trigger": 1,
        "rpz-nsip trigger": 1,
        "action rpz-log.": 1,
        "DNAME record": 1,
    }


@pytest.mark.parametrize(
    ("head", "zone"),
    [
        ("$ORIGIN rpz.test.\n@ SOA a. b. 1 1 1 1 1\n", None),
        ("rpz.test. 300 IN SOA a. b. 1 1 1 1 1\n", None),
        ("$ORIGIN .\nrpz.test SOA a. b. 1 1 1 1 1\n$ORIGIN rpz.test.\n", None),
        ("$ORIGIN rpz.test.\n", None),
        ("", "rpz.test"),
    ],
)
def test_the_zones_own_name_is_no_part_of_a_trigger(head: str, zone: str | None) -> None:
    text = head + "a.example CNAME .\n*.b.example.rpz.test. CNAME .\n$ORIGIN example.rpz.test.\nc CNAME .\n  TXT x\nd.other.test. CNAME .\n"
    result = compiled(text, "rpz", zone=zone)
    assert names(result.compiled) == {"a.example", "b.example", "c.example"}
    assert any("outside the zone" in fault.message for fault in result.report.faults)


def test_an_absolute_name_without_a_zone_says_what_to_set() -> None:
    result = compiled("a.example.rpz.test. CNAME .\nb.example CNAME .\n", "rpz")
    assert names(result.compiled) == {"b.example"}
    assert "set `zone`" in result.report.faults[0].message


def test_bad_lines_of_a_zone_file_cost_themselves() -> None:
    text = "a.example CNAME .\nb.example A not-an-address\n$INCLUDE other\nc.example FOO x\n(\nd.example CNAME .\ne.example CNAME\n"
    result = compiled(text, "rpz")
    assert names(result.compiled) == {"a.example", "d.example"}
    assert result.report.skipped == 5
    assert [fault.line for fault in result.report.faults] == [2, 3, 4, 5, 7]


def test_the_root_of_a_policy_zone_is_refused() -> None:
    result = compiled("* CNAME .\n* CNAME rpz-passthru.\n", "rpz")
    assert (result.report.entries, result.report.refused) == (0, 2)


def test_the_samples_are_clean(root: Path) -> None:
    for name, kind, scope in (("c2-sample.txt", "domains", Scope.SUBTREE), ("child-abuse-sample.txt", "domains", Scope.EXACT)):
        report = compiled((root / "blocklists" / name).read_bytes(), kind, scope).report
        assert report.entries >= 5
        assert (report.skipped, report.refused, report.unkept) == (0, 0, 0)
    report = compiled((root / "blocklists" / "policy-sample.rpz").read_bytes(), "rpz").report
    assert (report.entries, report.skipped, report.refused, report.unkept) == (8, 0, 0, 1)
