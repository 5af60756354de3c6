"""What readers of the tables in resolvers cannot do, row by row of daemon/README.md, beside the plane, which can.

What is a matter of the verdict alone is asked by `test_differential.py`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import dns.rrset
import numpy as np
import pytest

from scenarios.harness import Resolver, folders
from scenarios.harness.resolver import honest
from sekisho.drivers.maps import Head
from sekisho.drivers.sharedfiles import make_folder, map_table, numbered_files
from sekisho.drivers.tables import TableWriter
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, LocalRecord
from sekisho.snapshot import layout
from sekisho.snapshot.build import Garden, build
from sekisho.snapshot.sections import Kind
from support import wait_until
from support.differential.fronts import FRONTS, Asked, Front, Place, dnsdist, follow, knot, recursor, workers
from support.differential.model import ANSWERED, Verdict
from support.differential.world import ALLOWED, CHASE, Question
from support.plane import GROUNDS, KEY, PAGE, CustomerRow, at, compile_entries, definition, entry, prefix_entry, profile, rule, wire

pytestmark = [pytest.mark.peers, pytest.mark.slow]

LUA_FRONTS = {"dnsdist": dnsdist, "recursor": recursor, "knot": knot}
LUA = set(LUA_FRONTS)
PLAIN, LIMITED = "127.40.0.1", "127.40.0.2"
RATE, BURST = 1, 60
PEOPLE = (
    CustomerRow("plain", at(PLAIN), 0b1, 0),
    CustomerRow("limited", at(LIMITED), 0b1, 0, budget_rate=RATE, budget_burst=BURST, over_truncate=True, limiter=0),
)
C2 = "203.0.113.66"
DATA = {
    "A": bytes((192, 0, 2, 99)),
    "AAAA": bytes.fromhex("20010db8" + "00" * 11 + "63"),
    "NS": wire("ns.example.org"),
    "PTR": wire("ptr.example.org"),
    "MX": b"\0\x0a" + wire("mx.example.org"),
    "TXT": b"\x05hello",
    "SRV": b"\0\1\0\2\0\x35" + wire("srv.example.org"),
    "CAA": b"\0\x05issueca.example",
}
LOCAL = Action(ActionKind.LOCAL_DATA, tuple(LocalRecord(dns.rdatatype.from_text(kind), 30, data) for kind, data in DATA.items()))
ENTRIES = [entry("data.example", LOCAL), entry("alias.example", CHASE), prefix_entry(C2)]
_names = itertools.count()


def answering(packet: bytes) -> list[tuple[bytes, bool]]:
    """`c2` leads to the listed address."""
    query = dns.message.from_wire(packet)
    question = query.question[0]
    if question.name.labels[0].lower() != b"c2" or question.rdtype != dns.rdatatype.A:
        return honest(packet)
    answer = dns.message.make_response(query, recursion_available=True)
    answer.answer.append(dns.rrset.from_text(question.name, 300, "IN", "A", C2))
    return [(answer.to_wire(), False)]


def snapshot(epoch: int) -> bytes:
    held = [(definition(0), compile_entries(ENTRIES))]
    return build(epoch, held, [profile(rule("gunma/別記-1"), budget="gunma/19-2")], [], KEY, grounds=GROUNDS, garden=Garden(PAGE))


@dataclass
class Stand:
    """One front on tables of its own."""

    name: str
    place: Place
    writer: TableWriter
    front: Front

    def ask(self, name: str, rdtype: str = "A", *, tcp: bool = False, source: str = PLAIN) -> Verdict:
        return self.front.ask(Question(source, name, rdtype, tcp=tcp, edns=True), 10)

    def follow(self, epoch: int) -> None:
        asked: list[Asked] = [self.front]
        follow(self.place, asked, epoch, Head(self.place.tables).generation)

    def column(self, section: str, column: int) -> int:
        """The sum of a column of all counts, without the networks that are allowed."""
        found = 0
        for _, path in numbered_files(self.place.tables, "counts-"):
            cells = map_table(path, Kind.COUNTS, layout.COUNTS_VERSION).arrays[section]
            found += int(cells[layout.ALLOWED + 1 :, column].sum(dtype=np.uint64))
        return found

    def total(self, counter: Counter) -> int:
        files = (path for _, path in numbered_files(self.place.tables, "counts-"))
        return sum(int(map_table(path, Kind.COUNTS, layout.COUNTS_VERSION).arrays["totals"][counter]) for path in files)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Resolver]:
    with Resolver(behave=answering).running() as one:
        yield one


@pytest.fixture(scope="module", params=[name for name in FRONTS if name != "reader"])
def stand(request: pytest.FixtureRequest, upstream: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with folders(tmp_path_factory.mktemp(request.param)) as (folder, runtime):
        tables = runtime / "plane"
        make_folder(tables)
        (folder / "list.key").write_bytes(bytes(range(16)))
        (folder / "list.key").chmod(0o600)
        writer = TableWriter(tables)
        writer.publish_snapshot(snapshot(1), 1)
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], len(PEOPLE))
        place = Place(folder, tables, folder / "list.key", upstream.port)
        with FRONTS[request.param](place) as front:
            assert isinstance(front, Front)
            one = Stand(request.param, place, writer, front)
            one.follow(1)
            yield one


def test_new_names_and_names_that_are_not_there_are_not_counted_by_lua(stand: Stand) -> None:
    before = [stand.column("patterns", column) for column in (layout.PATTERN_NEW, layout.PATTERN_NXDOMAIN)]
    asked = stand.column("customers", 0)
    for _ in range(5):
        assert stand.ask(f"nx.n{next(_names)}.example").rcode == 3
    counted = [stand.column("patterns", column) for column in (layout.PATTERN_NEW, layout.PATTERN_NXDOMAIN)]
    grown = [after - earlier for after, earlier in zip(counted, before, strict=True)]
    assert stand.column("customers", 0) - asked == 5, "how many there are is counted"
    assert grown == ([0, 0] if stand.name in LUA else [5, 5])


def test_over_which_transport_a_query_came_is_counted_but_by_recursor(stand: Stand) -> None:
    before = stand.total(Counter.QUERIES_TCP4), stand.total(Counter.QUERIES_UDP4)
    for _ in range(3):
        assert stand.ask(f"n{next(_names)}.example", tcp=True) == ANSWERED
    after = stand.total(Counter.QUERIES_TCP4), stand.total(Counter.QUERIES_UDP4)
    assert (after[0] - before[0], after[1] - before[1]) == ((0, 3) if stand.name == "recursor" else (3, 0))


def test_local_data_is_given_whatever_its_type_but_by_recursor(stand: Stand) -> None:
    given = {kind for kind in DATA if {data for _, _, data in stand.ask("data.example", kind).records} == {DATA[kind]}}
    assert given == (set(DATA) - {"SRV", "CAA"} if stand.name == "recursor" else set(DATA))


def test_what_the_cname_of_a_list_leads_to_goes_out_over_tcp_from_the_plane_and_recursor(stand: Stand) -> None:
    query = dns.message.make_query("alias.example", "A", use_edns=0)
    answer = dns.query.tcp(query, "127.0.0.1", port=stand.front.port, source=PLAIN, timeout=10)
    kinds = [rrset.rdtype.name for rrset in answer.answer]
    assert kinds == (["CNAME", "A"] if stand.name in {"plane", "recursor"} else ["CNAME"])


def test_what_an_answer_leads_to_is_not_judged_by_lua(stand: Stand) -> None:
    name = f"c2.n{next(_names)}.example"
    for _ in range(2):
        assert stand.ask(name).rcode == (0 if stand.name in LUA else 3)


def test_a_budget_lets_no_more_pass_than_it_has_but_for_a_few_of_those_that_come_at_once(stand: Stand) -> None:
    """Of what Lua reads and writes without compare-and-exchange, a query of each thread may be let pass too many."""
    began, threads = time.monotonic(), 8
    with ThreadPoolExecutor(threads) as pool:
        got = list(pool.map(lambda number: stand.ask(f"n{number}.budget.example", source=LIMITED), range(4 * BURST)))
    passed = sum(one == ANSWERED for one in got)
    assert sum(one.tc for one in got) == len(got) - passed
    assert BURST <= passed <= BURST + RATE * (time.monotonic() - began) + (threads if stand.name in LUA else 1)


@pytest.mark.parametrize(("name", "closed"), [(name, closed) for name in ("dnsdist", "recursor", "knot") for closed in (False, True)])
def test_without_tables_lua_fails_as_configured_says_so_once_and_takes_them_when_they_are_there(
    name: str, closed: bool, upstream: Resolver, tmp_path: Path
) -> None:
    tables = tmp_path / "plane"
    (tmp_path / "list.key").write_bytes(bytes(range(16)))
    (tmp_path / "list.key").chmod(0o600)
    make_folder(tables)
    writer = TableWriter(tables)
    if name == "dnsdist":
        # Of another version; for the others there is none.
        damaged = bytearray(snapshot(1))
        damaged[12] += 1
        writer.publish_snapshot(bytes(damaged), 1)
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], len(PEOPLE))
    wanted = 2 if closed else 0
    with LUA_FRONTS[name](Place(tmp_path, tables, tmp_path / "list.key", upstream.port), closed=closed, rcode=wanted) as front:

        def ask() -> int:
            return front.ask(Question(PLAIN, f"n{next(_names)}.data.example", "A", tcp=False, edns=True), 10).rcode

        for _ in range(5):
            assert ask() == wanted
            time.sleep(0.11)  # a look at the head passes, which must not say it again
        # Recursor has a script for each thread.
        said = [line for line in front.log.read_text("utf-8", "replace").splitlines() if "sekisho: " in line]
        assert 1 <= len(said) <= (3 if name == "recursor" else 1), said
        assert all("queries are refused" in line if closed else "queries are let through" in line for line in said)
        writer.publish_snapshot(snapshot(5), 5)
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], len(PEOPLE))

        def blocked() -> bool:
            return bool(front.ask(Question(PLAIN, "data.example", "TXT", tcp=False, edns=True), 10).records)

        wait_until(blocked, what="the tables taken once they are there")


@pytest.mark.parametrize("name", ["dnsdist", "recursor", "knot", "unbound"])
def test_tables_made_anew_after_their_folder_was_wiped_are_followed_and_counted_into(name: str, upstream: Resolver, tmp_path: Path) -> None:
    """The numbers may be those of before: what tells the new tables is that they are other files."""
    tables = tmp_path / "plane"
    (tmp_path / "list.key").write_bytes(bytes(range(16)))
    (tmp_path / "list.key").chmod(0o600)
    make_folder(tables)
    place = Place(tmp_path, tables, tmp_path / "list.key", upstream.port)

    def write(*names: str) -> TableWriter:
        writer = TableWriter(tables)
        held = [(definition(0), compile_entries([entry(one) for one in names]))]
        writer.publish_snapshot(build(1, held, [profile(rule("gunma/別記-1"))], [], KEY, grounds=GROUNDS, garden=Garden(PAGE)), 1)
        writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], len(PEOPLE))
        return writer

    writer = write("before.example")
    with FRONTS[name](place) as front:
        assert isinstance(front, Front)
        one = Stand(name, place, writer, front)
        one.follow(1)

        def blocks(domain: str) -> bool:
            return one.ask(f"n{next(_names)}.{domain}").rcode == 3

        # Recursor's threads take the tables each by itself, and which one is asked is chance.
        wait_until(lambda: all(blocks("before.example") for _ in range(30)), what="all threads to take the tables")
        for path in tables.iterdir():
            path.unlink()
        for _ in range(3):
            assert blocks("before.example"), "the last good tables stay"
            time.sleep(0.11)  # a look at the head passes
        one.writer = write("after.example")
        wait_until(lambda: all(blocks("after.example") for _ in range(30)), what="all threads to take the new tables")
        assert not blocks("before.example")
        before = one.total(Counter.STEP_ENTITLED)
        assert blocks("after.example")
        assert one.total(Counter.STEP_ENTITLED) == before + 1
        numbers = [number for number, _ in numbered_files(tables, "counts-")]
        assert numbers
        assert [number for number, _ in numbered_files(tables, ".plugin-")] == numbers


def test_damage_that_only_the_checksum_shows_is_not_seen_by_lua(stand: Stand) -> None:
    epoch = 90
    damaged = bytearray(snapshot(epoch))
    damaged[-1] ^= 1
    stand.writer.publish_snapshot(bytes(damaged), epoch)
    word = layout.WORKER_EPOCH if stand.name in LUA else layout.WORKER_REFUSED_EPOCH

    def judged() -> bool:
        stand.ask(f"n{next(_names)}.example")
        stand.ask(f"n{next(_names)}.example", tcp=True)
        return any(int(one[word]) == epoch for one in workers(stand.place))

    wait_until(judged, deadline=30, what="the snapshot taken" if stand.name in LUA else "the snapshot refused")
    stand.writer.publish_snapshot(snapshot(epoch + 1), epoch + 1)
    stand.follow(epoch + 1)
