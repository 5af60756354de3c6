"""The list definitions."""

from __future__ import annotations

import pytest

from sekisho.config.lists import parse_lists
from sekisho.model.errors import ConfigError
from sekisho.model.lists import Action, ActionKind, ListFormat, LocalRecord, Scope, TsigKey

MANY = """\
version: 1
lists:
  - {id: c2, category: c2, source: feeds/c2.txt, format: domains, scope: subtree, answer: nxdomain, refresh: 5m}
  - id: sealed
    category: child-abuse
    source: https://lists.example/sealed.csv
    format: csv
    column: domain
    scope: exact
    sealed: true
    answer: {a: [192.0.2.1], aaaa: ["2001:db8::1"]}
    max_shrink: 10%
    max_bytes: 1MiB
    never_block: [example.com]
  - {id: zone, category: c2, source: rpz.zone, format: rpz}
  - id: transfer
    category: c2
    source: "192.0.2.53"
    format: axfr
    zone: rpz.example
    tsig: {name: key.example, secret_file: secrets/key}
"""


def _faults(*entries):
    text = "version: 1\nlists:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)
    with pytest.raises(ConfigError) as caught:
        parse_lists(text, "lists.yaml")
    return caught.value.faults


def _fault(entry):
    faults = _faults(entry)
    assert len(faults) == 1, faults
    return faults[0]


def test_definitions_are_read_in_their_order_which_is_the_mask_bit():
    c2, sealed, zone, transfer = parse_lists(MANY, "/etc/sekisho/lists.yaml")
    assert [one.order for one in (c2, sealed, zone, transfer)] == [0, 1, 2, 3]
    assert (c2.source, c2.format, c2.scope, c2.refresh) == ("/etc/sekisho/feeds/c2.txt", ListFormat.DOMAINS, Scope.SUBTREE, 300.0)
    assert c2.answer == Action(ActionKind.NXDOMAIN)
    assert (sealed.source, sealed.sealed, sealed.column) == ("https://lists.example/sealed.csv", True, "domain")
    assert (sealed.max_shrink, sealed.max_bytes, sealed.never_block) == (pytest.approx(0.1), 1 << 20, ("example.com",))
    assert (zone.scope, zone.answer, zone.max_shrink) == (None, None, 0.30)
    assert (transfer.source, transfer.zone) == ("192.0.2.53:53", "rpz.example")
    assert transfer.tsig == TsigKey("key.example", "hmac-sha256", "/etc/sekisho/secrets/key")


def test_a_primary_may_be_written_as_a_url_with_its_zone():
    text = "version: 1\nlists: [{id: my_zone, category: c2, source: 'axfr://[2001:db8::53]:5353/rpz.example', format: axfr}]\n"
    (one,) = parse_lists(text, "lists.yaml")
    assert (one.id, one.source, one.zone) == ("my_zone", "[2001:db8::53]:5353", "rpz.example")


def test_a_secret_among_the_definitions_is_taken_and_never_shown():
    text = MANY.replace("secret_file: secrets/key", "secret: c2VjcmV0")
    key = parse_lists(text, "lists.yaml")[3].tsig
    assert key.secret == "c2VjcmV0"
    assert "c2VjcmV0" not in repr(key)


def test_a_sinkhole_holds_its_addresses_in_wire_format():
    sinkhole = parse_lists(MANY, "x")[1].answer
    assert sinkhole.kind is ActionKind.SINKHOLE
    assert sinkhole.records == (LocalRecord(1, 60, bytes([192, 0, 2, 1])), LocalRecord(28, 60, bytes.fromhex("20010db8" + "0" * 23 + "1")))


@pytest.mark.parametrize("word", ["nxdomain", "nodata", "refused", "drop"])
def test_every_answer_has_its_action(word):
    (one,) = parse_lists(f"version: 1\nlists:\n  - {{id: a, category: c2, source: x, format: hosts, scope: exact, answer: {word}}}\n", "x")
    assert one.answer == Action(ActionKind[word.upper()])


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        ("id: a, category: c2, source: x, format: domains", "scope", "exact"),
        ("id: a, category: c2, source: x, format: rpz, scope: exact", "scope", "leave it out"),
        ("id: a, category: c2, source: x, format: rpz, answer: drop", "answer", "leave it out"),
        ("id: a, category: c2, source: 192.0.2.1, format: axfr", "zone", "zone"),
        ("id: a, category: c2, source: 192.0.2.1:x, format: axfr, zone: z.example", "source", "port"),
        ("id: a, category: c2, source: x, format: csv, scope: exact", "column", "column"),
        ("id: a, category: c2, source: x, format: json, scope: exact", "column", "key"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, column: d", "column", "leave it out"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, zone: z.example", "zone", "leave it out"),
        ("id: a, category: c2, source: x, format: rpz, tsig: {name: k, secret_file: s}", "tsig", "leave it out"),
        ("id: a, category: c2, source: 'ftp://x.example/', format: hosts, scope: exact", "source", "http"),
        ("id: a, category: c2, source: 'https:///x', format: hosts, scope: exact", "source", "host"),
        ("id: A, category: c2, source: x, format: hosts, scope: exact", "id", "a-z"),
        ("id: a, category: c2, source: x, format: text, scope: exact", "format", "domains"),
        ("id: a, category: c2, source: x, format: hosts, scope: all", "scope", "subtree"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, answer: nxdomian", "answer", "nxdomain"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, answer: {}", "answer", "at least one"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, answer: {a: ['2001:db8::1']}", "answer", "aaaa"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, answer: {aaa: [192.0.2.1]}", "answer", "aaaa"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, sealed: yes", "sealed", "true or false"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, refresh: 0s", "refresh", "longer"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, max_shrink: 300%", "max_shrink", "share"),
        ("id: a, category: c2, source: x, format: hosts, scope: exact, refesh: 1h", "refesh", "`refresh`"),
        (
            "id: a, category: c2, source: x, format: axfr, zone: z.example, tsig: {name: k, secret: s, secret_file: f}",
            "tsig.secret_file",
            "once",
        ),
        ("id: a, category: c2, source: x, format: axfr, zone: z.example, tsig: {name: k}", "tsig.secret_file", "`secret`"),
        ("id: a, category: c2, source: 'axfr://192.0.2.1/a.example', format: axfr, zone: b.example", "zone", "once"),
        ("id: a, category: c2, source: 'axfr://192.0.2.1', format: axfr", "zone", "zone"),
        ("id: a, category: c2, source: 'axfr://192.0.2.1:x/a.example', format: axfr", "source", "port"),
        (
            "id: a, category: c2, source: x, format: axfr, zone: z, tsig: {name: k, secret_file: f, algorithm: md5}",
            "tsig.algorithm",
            "sha256",
        ),
    ],
)
def test_a_definition_that_contradicts_itself_is_refused_where_it_stands(entry, path, words):
    fault = _fault(entry)
    assert (fault.line, fault.path) == (3, f"lists[0].{path}")
    assert words in fault.message


def test_an_id_given_twice_is_refused_with_the_line_of_the_other():
    faults = _faults(*["id: a, category: c2, source: x, format: hosts, scope: exact"] * 2)
    assert [(fault.line, fault.path) for fault in faults] == [(4, "lists[1].id")]
    assert "line 3" in faults[0].message


def test_a_contradiction_in_one_definition_does_not_hide_a_fault_in_another():
    faults = _faults("id: a, category: c2, source: x, format: domains", "id: b, category: c2, source: x, format: nothing, scope: exact")
    assert {fault.path for fault in faults} == {"lists[0].scope", "lists[1].format"}


def test_a_65th_list_is_refused():
    faults = _faults(*(f"id: l{number}, category: c2, source: x, format: hosts, scope: exact" for number in range(65)))
    assert [fault.path for fault in faults] == ["lists"]
    assert "64" in faults[0].message


def test_64_lists_are_taken():
    entries = "".join(f"  - {{id: l{number}, category: c2, source: x, format: hosts, scope: exact}}\n" for number in range(64))
    assert len(parse_lists("version: 1\nlists:\n" + entries, "x")) == 64
