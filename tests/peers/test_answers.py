"""Addresses and aliases in answers, against the lists: the plane and Unbound's plugin, before a real Unbound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rrset
import pytest

from scenarios.harness import Resolver, folders
from sekisho.drivers.maps import Head
from sekisho.drivers.sharedfiles import make_folder
from sekisho.drivers.tablereader import TableReader
from sekisho.drivers.tables import TableWriter
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, Entry, Trigger
from sekisho.snapshot.build import Garden, build
from support import free_port, require_binary, wait_until
from support.differential.fronts import UNBOUND, Front, Place, _serving, follow, plane, unbound
from support.differential.world import ALLOWED
from support.plane import GROUNDS, KEY, PAGE, CustomerRow, at, compile_entries, definition, entry, prefix_entry, profile, rule

pytestmark = [pytest.mark.peers, pytest.mark.slow]

ENTITLED, OPTED_OUT, LISTED = "127.40.0.1", "127.40.0.2", "127.40.0.3"
PEOPLE = (
    CustomerRow("entitled", at(ENTITLED), 0b1, 0),
    CustomerRow("opted-out", at(OPTED_OUT), 0, 0),
    CustomerRow("listed", at(LISTED), 0b1, 0),
)
CLAUSE = "gunma/別記-1"
C2, C2_V6, CLEAN = "203.0.113.66", "2001:db8:bad::66", "198.51.100.7"
ENTRIES = [
    prefix_entry(C2),
    prefix_entry("2001:db8:bad::/48"),
    entry("bad.example"),
    prefix_entry(f"{LISTED}/32", Action(ActionKind.REFUSED), Trigger.CLIENT),
]


TURNS = [CLEAN]
"""Where `turns` leads to, last."""


def answering(packet: bytes) -> list[tuple[bytes, bool]]:
    """`c2` leads to the listed addresses, `alias` is another name of bad.example, numbers have addresses of their own; all else is clean."""
    asked = dns.message.from_wire(packet)
    answer = dns.message.make_response(asked, recursion_available=True)
    question = asked.question[0]
    kind, label = question.rdtype.name, question.name.labels[0].lower()
    name = question.name
    if label == b"alias":
        answer.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", "bad.example."))
        name = dns.name.from_text("bad.example.")
    address = {"A": C2 if label == b"c2" else CLEAN, "AAAA": C2_V6 if label == b"c2" else "2001:db8::7"}.get(kind)
    if address and label.isdigit():
        address = f"198.51.100.{int(label)}"
    if label == b"turns" and kind == "A":
        answer.answer.append(dns.rrset.from_text(name, 1, "IN", kind, TURNS[-1]))
    elif address:
        answer.answer.append(dns.rrset.from_text(name, 300, "IN", kind, address))
    return [(answer.to_wire(), False)]


def publish(writer: TableWriter, epoch: int, entries: list[Entry]) -> None:
    terms = [profile(rule(CLAUSE, check_cnames=True))]
    held = [(definition(0), compile_entries(entries))]
    writer.publish_snapshot(build(epoch, held, terms, [], KEY, grounds=GROUNDS, garden=Garden(PAGE)), epoch)


@dataclass
class Stand:
    place: Place
    writer: TableWriter
    fronts: dict[str, Front]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with contextlib.ExitStack() as running:
        source = running.enter_context(Resolver(behave=answering).running())
        folder, runtime = running.enter_context(folders(tmp_path_factory.mktemp("answers")))
        port = free_port()
        config = folder / "upstream.conf"
        config.write_text(
            UNBOUND.format(folder=folder, port=port, modules="iterator", scripts="", upstream=source.port, more="", control="no", six="")
        )
        resolver = running.enter_context(_serving("upstream", folder, port, [require_binary("unbound"), "-d", "-c", str(config)]))
        tables = runtime / "plane"
        make_folder(tables)
        (folder / "list.key").write_bytes(bytes(range(16)))
        (folder / "list.key").chmod(0o600)
        writer = TableWriter(tables)
        publish(writer, 1, ENTRIES)
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], 3)
        place = Place(folder, tables, folder / "list.key", resolver.port)
        fronts = {one.name: one for one in (running.enter_context(plane(place)), running.enter_context(unbound(place)))}
        yield Stand(place, writer, fronts)


def ask(front: Front, source: str, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0)
    query.flags |= 0x0100
    via = dns.query.tcp if tcp else dns.query.udp
    return via(query, "127.0.0.1", port=front.port, source=source, timeout=20)


def said(answer: dns.message.Message) -> tuple[str, list[str], list[str]]:
    """RCODE, last record's data, errors."""
    data = [record.to_text() for rrset in answer.answer[-1:] for record in rrset]
    return dns.rcode.to_text(answer.rcode()), data, [option.to_text() for option in answer.options]


BLOCKED = ("NXDOMAIN", [], [f"EDE 15 (Blocked): {CLAUSE}"])


@pytest.mark.parametrize("name", ["plane", "unbound"])
@pytest.mark.parametrize("tcp", [False, True])
def test_what_leads_to_a_listed_address_or_name_does_not_reach_the_customer(stand: Stand, name: str, tcp: bool) -> None:
    front = stand.fronts[name]
    for _ in range(2):  # from the resolver, and from the cache
        assert said(ask(front, ENTITLED, "c2.one.example", tcp=tcp)) == BLOCKED
        assert said(ask(front, OPTED_OUT, "c2.one.example", tcp=tcp)) == ("NOERROR", [C2], [])
        assert said(ask(front, ENTITLED, "c2.one.example", "AAAA", tcp=tcp)) == BLOCKED
        assert said(ask(front, ENTITLED, "alias.one.example", tcp=tcp)) == BLOCKED
        assert said(ask(front, OPTED_OUT, "alias.one.example", tcp=tcp)) == ("NOERROR", [CLEAN], [])
        assert said(ask(front, ENTITLED, "www.one.example", tcp=tcp)) == ("NOERROR", [CLEAN], [])
        assert said(ask(front, LISTED, "www.one.example", tcp=tcp))[0] == "REFUSED"


@pytest.mark.parametrize("name", ["plane", "unbound"])
def test_what_is_kept_is_judged_by_the_lists_in_force(stand: Stand, name: str) -> None:
    front = stand.fronts[name]
    assert said(ask(front, ENTITLED, "c2.two.example")) == BLOCKED
    for number, entries in enumerate(([entry("other.example")], ENTRIES), int(Head(stand.place.tables).epoch) + 1):
        publish(stand.writer, number, entries)
        follow(stand.place, list(stand.fronts.values()), number, Head(stand.place.tables).generation)
        assert said(ask(front, ENTITLED, "c2.two.example")) == (BLOCKED if entries is ENTRIES else ("NOERROR", [C2], []))


def looked_through(stand: Stand) -> int:
    return int(TableReader(stand.place.tables).observe().totals[Counter.ANSWERS_JUDGED])


@pytest.mark.parametrize("name", ["plane", "unbound"])
def test_an_answer_is_looked_through_once_for_all_and_again_under_other_lists(stand: Stand, name: str) -> None:
    front, number = stand.fronts[name], {"plane": 31, "unbound": 32}[name]
    lists = [*ENTRIES, prefix_entry("198.51.100.31"), prefix_entry("198.51.100.32")]
    for held, entries in ((False, ENTRIES), (True, lists), (False, ENTRIES)):
        epoch = int(Head(stand.place.tables).epoch) + 1
        publish(stand.writer, epoch, entries)
        follow(stand.place, list(stand.fronts.values()), epoch, Head(stand.place.tables).generation)
        for address in (number, number + 100):
            before, asked = looked_through(stand), 0
            for _ in range(4):
                kept_back = held and address == number
                assert said(ask(front, ENTITLED, f"{address}.example"))[0] == ("NXDOMAIN" if kept_back else "NOERROR")
                assert said(ask(front, OPTED_OUT, f"{address}.example"))[0] == "NOERROR"
                asked += 2
            wait_until(lambda before=before: looked_through(stand) > before, what="the answer to be looked through")
            assert looked_through(stand) - before == 1, f"of {asked} answers"


@pytest.mark.parametrize("name", ["plane", "unbound"])
def test_whom_it_concerns_is_asked_for_each_query(stand: Stand, name: str) -> None:
    front = stand.fronts[name]
    for mask in (0b1, 0, 0b1, 0):
        stand.writer.set_mask("opted-out", mask)
        assert said(ask(front, OPTED_OUT, "c2.four.example")) == (BLOCKED if mask else ("NOERROR", [C2], []))


def test_an_answer_that_changes_is_judged_as_what_it_is(stand: Stand) -> None:
    for leads_to, wanted in ((CLEAN, ("NOERROR", [CLEAN], [])), (C2, BLOCKED), (CLEAN, ("NOERROR", [CLEAN], []))):
        TURNS.append(leads_to)
        for front in stand.fronts.values():
            wait_until(
                lambda front=front, wanted=wanted: said(ask(front, ENTITLED, "turns.example")) == wanted,
                what=f"{front.name} to judge what the name leads to now",
            )


def test_it_is_counted_as_an_answer_kept_back(stand: Stand) -> None:
    reader = TableReader(stand.place.tables)

    def total() -> int:
        return int(reader.observe().totals[Counter.ANSWERS_BLOCKED])

    before = total()
    for number, front in enumerate(stand.fronts.values(), 1):
        assert said(ask(front, ENTITLED, "c2.three.example")) == BLOCKED
        wait_until(lambda number=number: total() == before + number, what=f"{front.name} to have counted")
