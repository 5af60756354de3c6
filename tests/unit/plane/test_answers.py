"""Answers against the lists before they reach a customer: addresses, aliases, whom it concerns, and what the cache keeps of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dns.flags
import dns.message
import dns.rcode
import pytest

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.counters import Counter
from sekisho.model.lists import Action, ActionKind, Entry, LocalRecord, Trigger
from sekisho.snapshot import layout
from sekisho.snapshot.layout import Snapshot
from support.plane import (
    CUSTOMER,
    OPTED_OUT,
    SECOND,
    UNCOMPILED,
    Plane,
    at,
    compile_entries,
    definition,
    entry,
    exempt,
    make_customers,
    make_snapshot,
    prefix_entry,
    profile,
    query,
    reply_to,
    rule,
    wire,
)

pytestmark = UNCOMPILED

CLAUSE, MANDATORY = "gunma/別記-1", "nbnet/21-1"
C2, C2_V6 = "@ 300 IN A 203.0.113.66", "@ 300 IN AAAA 2001:db8:bad::66"
CLEAN = "@ 300 IN A 198.51.100.7"
PEOPLE = (CustomerRow("customer", at(CUSTOMER), 0b11, 0), CustomerRow("opted-out", at(OPTED_OUT), 0b10, 0))


def lists(
    first: Sequence[Entry], second: Sequence[Entry] = (), *, check_cnames: bool = False, answer: Action | None = None, excepted: str = ""
) -> Snapshot:
    """Two lists: the first customers may opt out of, the second is mandatory."""
    terms = profile(rule(CLAUSE, check_cnames=check_cnames, answer=answer), rule(MANDATORY, mandatory=True, check_cnames=check_cnames))
    made = [(definition(0), compile_entries(first)), (definition(1), compile_entries(second))]
    return make_snapshot(made, [terms], [exempt(0, excepted)] if excepted else [])


def plane_of(snapshot: Snapshot) -> Plane:
    return Plane(snapshot, make_customers(PEOPLE))


@pytest.fixture
def plane() -> Iterator[Plane]:
    with plane_of(lists([prefix_entry("203.0.113.66"), prefix_entry("2001:db8:bad::/48")])) as one:
        yield one


def rcode(found: bytes | None) -> str:
    return "silence" if found is None else dns.rcode.to_text(dns.rcode.Rcode(found[3] & 15))


def hits(plane: Plane) -> int:
    return int(plane.hits.cursor[0])


@pytest.mark.parametrize(
    ("record", "kind", "said"),
    [
        (C2, "A", "NXDOMAIN"),
        (C2_V6, "AAAA", "NXDOMAIN"),
        ("@ 300 IN AAAA ::ffff:203.0.113.66", "AAAA", "NXDOMAIN"),
        (CLEAN, "A", "NOERROR"),
        ("@ 300 IN AAAA 2001:db8:bad1::66", "AAAA", "NOERROR"),
        ("@ 300 IN TXT 203.0.113.66", "TXT", "NOERROR"),
    ],
)
def test_an_answer_that_leads_to_a_listed_address_does_not_reach_the_customer(plane: Plane, record: str, kind: str, said: str) -> None:
    first = plane.resolve(query("www.example", kind, edns=0), None, CLEAN.replace("A", "TXT", 1) if kind == "TXT" else record, record)
    assert rcode(first) == said
    # From the cache it is the same.
    again = plane.ask(query("www.example", kind, edns=0))
    assert rcode(again) == said
    assert plane.steps() == {"forward": 1, "cache": 1}
    blocked = 2 if said == "NXDOMAIN" else 0
    assert (plane.total(Counter.ANSWERS_BLOCKED), hits(plane)) == (blocked, blocked)
    assert plane.counts.customers[1].tolist() == [2, blocked, 0, 0]


def test_the_answer_says_the_clause_and_the_record_names_the_entry(plane: Plane) -> None:
    found = plane.resolve(query("www.example", edns=0), None, CLEAN, C2)
    assert found is not None
    answer = dns.message.from_wire(found)
    assert [option.to_text() for option in answer.options] == [f"EDE 15 (Blocked): {CLAUSE}"]
    assert (answer.answer, answer.authority[0].ttl) == ([], 60)
    row = plane.hits.ring[0]
    from sekisho.model.addresses import key_of
    from sekisho.model.customers import Prefix
    from sekisho.snapshot.digest import digest_name
    from support.plane import KEY

    assert (int(row[3]), int(row[4])) == digest_name(key_of(Prefix.parse("203.0.113.66")), KEY)
    assert (int(row[2]) & 0xFFFFFFFF, int(row[5]) & 0xFFFF) == (1, 1)


def test_who_opted_out_gets_the_answer_that_another_is_not_given(plane: Plane) -> None:
    assert rcode(plane.resolve(query("www.example"), None, C2)) == "NXDOMAIN"
    assert rcode(plane.ask(query("www.example"), OPTED_OUT)) == "NOERROR"
    assert rcode(plane.ask(query("www.example"))) == "NXDOMAIN"
    assert rcode(plane.resolve(query("other.example"), None, C2, source=OPTED_OUT)) == "NOERROR"
    assert rcode(plane.ask(query("other.example"))) == "NXDOMAIN"


def test_a_cached_answer_is_looked_at_anew_under_other_lists(plane: Plane) -> None:
    assert rcode(plane.resolve(query("www.example"), None, CLEAN)) == "NOERROR"
    plane.snapshot, plane.epoch = lists([prefix_entry("198.51.100.0/24")]), 2
    assert rcode(plane.ask(query("www.example"))) == "NXDOMAIN"
    plane.snapshot, plane.epoch = lists([entry("bad.example")]), 3
    assert rcode(plane.ask(query("www.example"))) == "NOERROR"
    # While the question was out, too.
    plane.ask(query("late.example"))
    ((number, asked),) = plane.asked()
    plane.snapshot, plane.epoch = lists([entry("late.example")], [prefix_entry("198.51.100.7")]), 4
    (sent,) = plane.respond(number, reply_to(asked, CLEAN).to_wire())
    assert rcode(sent) == "NXDOMAIN"


def test_what_was_found_in_an_answer_is_kept_with_it(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    from sekisho.plane import withholding

    looked: list[int] = []
    real = withholding.classify
    monkeypatch.setattr(withholding, "classify", lambda *arguments: (looked.append(1), real(*arguments))[1])
    plane.resolve(query("www.example"), None, CLEAN)
    for _ in range(5):
        assert rcode(plane.ask(query("www.example"))) == "NOERROR"
    from sekisho.snapshot.compiling import COMPILED

    assert len(looked) == (0 if COMPILED else 1)


def test_the_mandatory_list_decides_before_the_other_and_the_longest_prefix_within_a_list() -> None:
    refused, dropped = Action(ActionKind.REFUSED), Action(ActionKind.NODATA)
    made = lists([prefix_entry("203.0.113.0/24"), prefix_entry("203.0.113.66", dropped)], [prefix_entry("198.51.100.0/24", refused)])
    with plane_of(made) as plane:
        assert rcode(plane.resolve(query("a.example"), None, C2, CLEAN)) == "REFUSED"
        assert rcode(plane.resolve(query("b.example"), None, "@ 300 IN A 203.0.113.1", C2)) == "NOERROR"
        assert dns.message.from_wire(plane.ask(query("b.example")) or b"").answer == []
        assert rcode(plane.resolve(query("c.example"), None, "@ 300 IN A 203.0.113.1")) == "NXDOMAIN"
        assert rcode(plane.resolve(query("d.example"), None, CLEAN, source=OPTED_OUT)) == "REFUSED"


def test_a_prefix_let_through_ends_later_lists_and_an_exception_only_its_own() -> None:
    passed = Action(ActionKind.PASSTHRU)
    made = lists([prefix_entry("203.0.113.0/24")], [prefix_entry("203.0.113.66", passed)])
    with plane_of(made) as plane:
        assert rcode(plane.resolve(query("a.example"), None, C2)) == "NOERROR"
        assert rcode(plane.resolve(query("b.example"), None, "@ 300 IN A 203.0.113.1")) == "NXDOMAIN"


def test_a_name_that_is_let_through_is_not_stopped_for_its_address() -> None:
    passed = Action(ActionKind.PASSTHRU)
    with plane_of(lists([entry("good.example", passed), prefix_entry("203.0.113.66")])) as plane:
        assert rcode(plane.resolve(query("good.example"), None, C2)) == "NOERROR"
        assert rcode(plane.resolve(query("www.example"), None, C2)) == "NXDOMAIN"
    with plane_of(lists([prefix_entry("203.0.113.66")], excepted="over.example")) as plane:
        assert rcode(plane.resolve(query("www.over.example"), None, C2)) == "NOERROR"
        assert rcode(plane.resolve(query("www.example"), None, C2)) == "NXDOMAIN"


CHAIN = ("@ 300 IN CNAME one.example.", "one.example. 300 IN CNAME WWW.Bad.example.", "www.bad.example. 300 IN A 198.51.100.7")


@pytest.mark.parametrize("checked", [True, False])
def test_an_alias_of_a_listed_name_is_stopped_where_the_rule_says_so(checked: bool) -> None:
    with plane_of(lists([entry("bad.example")], check_cnames=checked)) as plane:
        for _ in range(2):
            assert rcode(plane.resolve(query("www.example"), None, *CHAIN)) == ("NXDOMAIN" if checked else "NOERROR")
        assert rcode(plane.ask(query("www.example"), OPTED_OUT)) == "NOERROR"


def test_silence_frees_the_place_of_the_query() -> None:
    with plane_of(lists([prefix_entry("203.0.113.66", Action(ActionKind.DROP))])) as plane:
        before = int(plane.desk.cells[0])
        assert plane.resolve(query("www.example"), None, C2) is None
        assert int(plane.desk.cells[0]) == before
        assert plane.ask(query("www.example")) is None
        assert plane.asked() == []


def test_a_sinkhole_has_the_name_that_was_asked_for() -> None:
    action = Action(ActionKind.SINKHOLE, (LocalRecord(1, 60, bytes((192, 0, 2, 80))),))
    with plane_of(lists([prefix_entry("203.0.113.66")], answer=action)) as plane:
        answer = dns.message.from_wire(plane.resolve(query("WWW.example"), None, C2) or b"")
        assert [rrset.to_text() for rrset in answer.answer] == ["WWW.example. 60 IN A 192.0.2.80"]


def test_tcp_alone_is_asked_for_over_udp() -> None:
    with plane_of(lists([prefix_entry("203.0.113.66", Action(ActionKind.TCP_ONLY))])) as plane:
        answer = dns.message.from_wire(plane.resolve(query("www.example"), None, C2) or b"")
        assert answer.flags & dns.flags.TC


def test_a_stale_answer_is_looked_at_too(plane: Plane) -> None:
    assert rcode(plane.resolve(query("www.example"), None, C2, source=OPTED_OUT)) == "NOERROR"
    plane.now += 400 * SECOND
    assert plane.ask(query("www.example")) is None
    assert [rcode(one) for one in plane.wait(3)] == ["NXDOMAIN"]


@pytest.mark.parametrize(
    "tail",
    [
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c",
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x23",
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01a\xc0\x29",
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xff\xff",
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x00",
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x01\x3f",
        b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x02\x01\x02",
        b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04",
    ],
)
def test_aliases_that_loop_or_end_nowhere_do_no_harm(tail: bytes) -> None:
    with plane_of(lists([entry("bad.example"), prefix_entry("203.0.113.66")], check_cnames=True)) as plane:
        plane.ask(query("www.example"))
        ((number, asked),) = plane.asked()
        packet = bytearray(reply_to(asked).to_wire())
        end = 12 + len(wire("www.example")) + 4
        packet = packet[:end] + tail
        packet[6:12] = b"\0\1\0\0\0\0"
        assert [rcode(one) for one in plane.respond(number, bytes(packet))] == ["NOERROR"]
        assert rcode(plane.ask(query("www.example"))) == "NOERROR"


def test_a_client_of_a_listed_address_gets_the_answer_of_that_entry() -> None:
    made = lists(
        [prefix_entry("192.0.2.0/25", Action(ActionKind.REFUSED), Trigger.CLIENT), entry("bad.example")],
        [entry("worse.example")],
    )
    with plane_of(made) as plane:
        assert rcode(plane.ask(query("www.example"))) == "REFUSED"
        # Of one list the client's trigger comes first, and a mandatory list before it.
        assert rcode(plane.ask(query("bad.example"))) == "REFUSED"
        assert rcode(plane.ask(query("worse.example"))) == "NXDOMAIN"
        assert rcode(plane.resolve(query("www.example"), None, CLEAN, source=OPTED_OUT)) == "NOERROR"
        assert plane.steps() == {"entitled": 2, "mandatory": 1, "forward": 1}
        assert hits(plane) == 3


def test_no_name_is_taken_for_the_key_of_a_prefix(plane: Plane) -> None:
    from sekisho.model.addresses import key_of
    from sekisho.model.customers import Prefix

    octets = key_of(Prefix.parse("203.0.113.66"))
    packet = b"\0\1\1\0\0\1\0\0\0\0\0\0" + octets + b"\0\1\0\1"
    assert plane.ask(packet) is None
    assert len(plane.asked()) == 1


def test_without_such_entries_nothing_is_looked_at() -> None:
    made = lists([entry("bad.example")])
    assert (
        not made.watched[layout.WATCH_LISTS] | made.watched[layout.WATCH_CHAINS] | made.watched[layout.WATCH_CLIENTS + layout.WATCH_LISTS]
    )
    with plane_of(made) as plane:
        assert rcode(plane.resolve(query("www.example"), None, C2)) == "NOERROR"
        assert int(plane.cache.words[4]) == 0
