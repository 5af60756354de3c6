"""The compiled scanners against the modules that read odd lines: whatever the feed, both say the same.

The reference is the product's own slow path with the fast one switched off, so that the only thing
under test is that the scanner never decides otherwise than the format's module would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import dns.message
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekisho.lists import adblock, domains, hosts, zonefile, zonetransfer
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import octets
from sekisho.lists.zonetransfer import ZoneReader
from sekisho.model.errors import FeedError
from sekisho.model.lists import Scope
from support.slowpath import all_odd, all_odd_records, outcome

pytestmark = pytest.mark.uncompiled

LABELS = st.one_of(
    st.text("abcXYZ019-_", min_size=1, max_size=6),
    st.sampled_from(
        ["com", "example", "EXAMPLE", "xn--bcher-kva", "bücher", "指令", "", "*", "rpz-ip", "rpz-", "rpz", "1", "a" * 63, "a" * 64, "é."]
    ),
)
NAMES = st.one_of(
    st.lists(LABELS, min_size=1, max_size=5).map(".".join),
    st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join(labels) + "."),
    st.sampled_from(["192.0.2.1", "2001:db8::1", ".", "..", "*.", "*", "a" * 250, ".".join(["abcdefg"] * 31), ".".join(["abcdefg"] * 32)]),
)
BLANKS = st.sampled_from(["", " ", "\t", "  ", "\r", " \t ", "\0", "\x0b", "\u3000"])
COMMENTS = st.sampled_from(["", "#", "# c", " # c", ";", " ; c", "!", " ! c", "##", "#c"])


def lines_of(parts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """A feed of such lines, some with odd bytes, with and without an end of the last."""
    line = st.one_of(parts.map(str.encode), st.binary(max_size=40), st.sampled_from([b"\xff.example", b"\xef\xbb\xbf", b"a" * 5000]))
    ends = st.sampled_from([b"\n", b"\r\n"])
    return st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(line, max_size=12), ends).map(
        lambda feed: feed[0] + feed[2].join(feed[1])
    )


def join(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def agrees(module: Any, scanner: str, comments: bytes, read: Callable[[Rows, Tally], None]) -> None:
    found = []
    for switched_off in (False, True):
        rows, tally = Rows(1, 1), Tally("feed", sealed=False)
        with mock.patch.object(module, scanner, all_odd(comments)) if switched_off else contextlib.nullcontext():
            read(rows, tally)
        found.append(outcome(rows, tally))
    assert found[0] == found[1]


@given(lines_of(join(BLANKS, st.sampled_from(["", "*."]), NAMES, BLANKS, COMMENTS)), st.sampled_from(Scope))
@example(b"a.example", Scope.EXACT)
@example(b"a..example\na.example..\n.a.example\n*.*.example\n", Scope.SUBTREE)
def test_domains_are_read_alike_by_scanner_and_module(feed: bytes, scope: Scope) -> None:
    agrees(domains, "scan_domains", b"#;!", lambda rows, tally: domains.read(octets(feed), scope, rows, tally))


ADDRESSES = st.sampled_from(
    ["0.0.0.0", "127.0.0.1", "::", "::1", "2001:db8::1", "fe80::1%lo0", "1.2.3", "1.2.3.4.5", "999.0.0.1", "a", "", "1..2.3"]
)


@given(lines_of(join(BLANKS, ADDRESSES, BLANKS, NAMES, BLANKS, NAMES, BLANKS, COMMENTS)), st.sampled_from(Scope))
@example(b"0.0.0.0 a.example b.example c.example\n0.0.0.0 localhost\n0.0.0.0\n", Scope.EXACT)
def test_hosts_files_are_read_alike_by_scanner_and_module(feed: bytes, scope: Scope) -> None:
    agrees(hosts, "scan_hosts", b"#", lambda rows, tally: hosts.read(octets(feed), scope, rows, tally))


@given(
    lines_of(
        join(
            BLANKS,
            st.sampled_from(["||", "@@||", "|", ""]),
            NAMES,
            st.sampled_from(["^", "^$important", "^$third-party", "^|", "/", ""]),
            BLANKS,
        )
    ),
    st.sampled_from(Scope),
)
@example(b"||a.example^\n||*.a.example^\n[Adblock]\n!\n", Scope.EXACT)
def test_adblock_rules_are_read_alike_by_scanner_and_module(feed: bytes, scope: Scope) -> None:
    agrees(adblock, "scan_adblock", b"!", lambda rows, tally: adblock.read(octets(feed), scope, rows, tally))


TARGETS = st.sampled_from(
    [
        ".",
        "*.",
        "rpz-passthru.",
        "RPZ-DROP.",
        "rpz-tcp-only.",
        "rpz-drop",
        "rpz-passthrx.",
        "rpz-unheard-of.",
        "garden.example.",
        "*.g.example.",
        "(",
    ]
)
FIELDS = st.sampled_from(["", "300 ", "IN ", "300 IN ", "in 1h ", "CH ", "x "])
OWNERS = st.one_of(
    NAMES, NAMES.map(lambda name: f"{name}.rpz.test."), st.sampled_from(["@", "", "rpz.test.", "*.rpz.test.", "a\\046b", '"'])
)
RECORDS = st.one_of(
    join(
        st.sampled_from(["", "*."]),
        OWNERS,
        st.sampled_from([" ", "\t"]),
        FIELDS,
        st.just("CNAME "),
        TARGETS,
        st.sampled_from(["", " ;c", ";c", " x", "\r"]),
    ),
    join(OWNERS, st.just(" A 192.0.2."), st.sampled_from(["1", "2", "x"])),
    st.sampled_from(
        ["$ORIGIN rpz.test.", "$ORIGIN sub.rpz.test.", "$ORIGIN .", "$ORIGIN other.test.", "$TTL 60", "$TTL", "$INCLUDE x", ";", "\t"]
    ),
    st.sampled_from(["@ SOA a. b. 1 2 3 4 5", "rpz.test. IN SOA a. b. (1 2", "3 4 5)", "  CNAME .", " CNAME rpz-drop."]),
)


@example(feed=b"rpz- CNAME .", zone=None)
@given(lines_of(RECORDS), st.sampled_from([None, "rpz.test"]))
@example(
    b"$ORIGIN rpz.test.\n@ SOA a. b. (1 2\n3 4 5)\nx.example CNAME .\n  CNAME *.\n*.x.example.rpz.test. CNAME .\nx.example.other. CNAME .\n",
    None,
)
def test_zone_files_are_read_alike_by_scanner_and_module(feed: bytes, zone: str | None) -> None:
    agrees(zonefile, "scan_zone_text", b";", lambda rows, tally: zonefile.read(octets(feed), zone, rows, tally))


OWNER = st.lists(st.sampled_from(["a", "B", "c2", "*", "x-y", "rpz-ip", "7"]), min_size=1, max_size=4).map(".".join)
SUFFIX = st.sampled_from([".rpz.test.", ".RPZ.test.", ".other.test."])
DATA = st.sampled_from(
    [
        "CNAME .",
        "CNAME *.",
        "CNAME rpz-passthru.",
        "CNAME rpz-drop.",
        "CNAME RPZ-TCP-ONLY.",
        "CNAME rpz-other.",
        "CNAME g.example.",
        "A 192.0.2.1",
        "TXT x",
        "NS n.",
    ]
)


@contextlib.contextmanager
def records_switched_off() -> Iterator[None]:
    with mock.patch.object(zonetransfer, "scan_records", all_odd_records):
        yield


def zone_message(records: list[tuple[str, str]]) -> bytes:
    message = dns.message.make_response(dns.message.make_query("rpz.test.", "AXFR"))
    soa = dns.rrset.from_text("rpz.test.", 300, "IN", "SOA", "a. b. 7 1 1 1 1")
    message.answer.append(soa)
    for owner, data in records:
        rtype, _, rdata = data.partition(" ")
        message.answer.append(dns.rrset.from_text(owner, 300, "IN", rtype, rdata))
    message.answer.append(soa)
    return message.to_wire()


@given(st.lists(st.tuples(st.tuples(OWNER, SUFFIX).map("".join), DATA), max_size=12))
@example([("*.rpz.test.", "CNAME ."), ("a.rpz.test.", "CNAME a.")])
def test_transferred_records_are_read_alike_by_scanner_and_module(records: list[tuple[str, str]]) -> None:
    found = []
    for switch in (contextlib.nullcontext(), records_switched_off()):
        reader = ZoneReader(b"\3rpz\4test\0", Tally("zone", sealed=False))
        with switch:
            assert reader.feed(zone_message(records))
        found.append(outcome(reader.rows, reader.tally))
    assert found[0] == found[1]


@given(st.data())
def test_a_mutilated_transfer_is_an_error_of_the_feed_and_nothing_else(data: st.DataObject) -> None:
    wire = bytearray(zone_message([("bad.rpz.test.", "CNAME ."), ("*.worse.rpz.test.", "CNAME rpz-drop."), ("d.rpz.test.", "A 192.0.2.1")]))
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    reader = ZoneReader(b"\3rpz\4test\0", Tally("zone", sealed=True), asked=data.draw(st.sampled_from([None, 6])))
    with contextlib.suppress(FeedError):
        reader.feed(bytes(wire[:cut]))
