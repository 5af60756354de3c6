"""Secrecy of communications: what matched nothing, and what a sealed list holds, is in no sink whatever.

Each search has its control: the same search finds what may be there, so that it can fail.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.message
import dns.opcode
import dns.query
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, memory, running, shapes, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from scenarios.harness.resolver import honest, servfail, silent
from scenarios.harness.sinks import answers, files, forms, traces
from support import wait_until

pytestmark = pytest.mark.slow

TYPES = ("A", "AAAA", "TXT", "MX", "PTR", "SRV", "HTTPS", "NS", "SOA", "DS", "ANY", "TYPE65280")


@dataclass
class Watched:
    """A site whose every file but the sources of its lists is searched."""

    checkpoint: Checkpoint
    resolver: Resolver
    base: Path
    sealed: str
    listed: str
    """Marks of the names on the sealed list and on the other."""
    customer: Customer
    unscreened: Customer

    def sinks(self) -> Iterator[tuple[str, bytes]]:
        site = self.checkpoint.site
        yield from files(site.folder, site.runtime, self.base / "tmp", but=[site.folder / "sealed.txt", site.folder / "listed.txt"])
        yield from answers(self.checkpoint, [self.customer.id, self.unscreened.id], ["sealed", "listed"])

    def found(self, mark: str) -> dict[str, list[str]]:
        return {sink: seen for sink, content in self.sinks() if (seen := traces(content, mark))}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    base = tmp_path_factory.mktemp("watched")
    (base / "tmp").mkdir()
    sealed, listed = f"sealed{uuid.uuid4().hex}", f"listed{uuid.uuid4().hex}"
    lists = [
        {
            "id": "sealed",
            "category": "child-abuse",
            "source": "sealed.txt",
            "format": "domains",
            "scope": "exact",
            "sealed": True,
            "never_block": ["protected.example"],
        },
        {"id": "listed", "category": "c2", "source": "listed.txt", "format": "domains", "scope": "subtree"},
        # Every answer is looked through for these, and none of those asked for leads there.
        {"id": "addresses", "category": "c2", "source": "addresses.txt", "format": "addresses"},
    ]
    bad = [
        f"{sealed} and more",
        f"{sealed}..example",
        f"{'y' * 64}{sealed}.example",
        f"\u2603{sealed}.example",
        f"http://{sealed}.example/x",
    ]
    sources = {
        "sealed.txt": "\n".join(
            [f"a.{sealed}.example", f"b.{sealed}.example", f"unasked.{sealed[::-1]}.example", *bad, "protected.example", "com"]
        ),
        "listed.txt": f"c.{listed}.example\nno name {listed}\n",
        "addresses.txt": "203.0.113.66\n2001:db8:bad::/48\n",
    }
    with Resolver().running() as resolver, folders(base) as (folder, runtime):
        events = {"sinks": [{"id": "archive", "kind": "file", "path": "events.jsonl"}, {"id": "journal", "kind": "stdout"}]}
        site = write_site(folder, runtime, [resolver.port], lists=lists, sources=sources, events=events)
        site.edit(upstream={"address": f"127.0.0.1:{resolver.port}", "timeout": "1s"})
        with running(site, {"TMPDIR": str(base / "tmp"), "SEKISHO_LOG_LEVEL": "debug"}) as checkpoint:
            people = checkpoint.customer("gunma", "nbnet"), checkpoint.customer("gunma", consent=False)
            yield Watched(checkpoint, resolver, base, sealed, listed, *people)


def query_everything(watched: Watched, mark: str) -> None:
    """The mark in every kind of query a checkpoint can be sent, and in some that are none."""
    checkpoint, customer = watched.checkpoint, watched.customer
    for number, rdtype in enumerate(TYPES):
        for tcp in (False, True):
            checkpoint.ask(customer, f"{mark}.t{number}.example", rdtype, tcp=tcp)
    for name in (f"nx.{mark}.example", f"big.{mark}.example", f"{mark.upper()}.EXAMPLE", f"a.b.c.{mark}.com"):
        checkpoint.ask(customer, name, "TXT")
        checkpoint.ask(customer, name, "TXT", tcp=True)
    checkpoint.ask("127.8.8.8", f"{mark}.stranger.example")
    checkpoint.ask("127.8.8.8", f"{mark}.stranger.example", tcp=True)
    checkpoint.ask(
        customer, f"{mark}.cookie.example", options=[dns.edns.GenericOption(10, b"12345678"), dns.edns.GenericOption(65001, mark.encode())]
    )
    _send_strange(checkpoint, customer, mark)
    for behaviour in (servfail, silent):
        watched.resolver.behave = behaviour
        try:
            checkpoint.ask(customer, f"{mark}.{behaviour.__name__}.example")
            checkpoint.ask(customer, f"{mark}.{behaviour.__name__}-tcp.example", tcp=True)
        finally:
            watched.resolver.behave = honest
    for verb in (("explain", "--customer", customer.id, "--name", f"{mark}.example"), ("lists", "except", "sealed", f"{mark}.example")):
        checkpoint.sekisho(*verb)


def _send_strange(checkpoint: Checkpoint, customer: Customer, mark: str) -> None:
    """Packets that are no query, or no whole one, each with the mark in it."""
    wire = dns.message.make_query(f"{mark}.strange.example", "A", use_edns=0).to_wire()
    response = wire[:2] + bytes((wire[2] | 0x80,)) + wire[3:]
    update = wire[:2] + bytes((dns.opcode.UPDATE << 3,)) + wire[3:]
    twice = wire[:5] + b"\x02" + wire[6:]
    transfer = dns.message.make_query(f"{mark}.strange.example", "AXFR").to_wire()
    version = dns.message.make_query(f"{mark}.strange.example", "A", use_edns=1).to_wire()
    packets = [response, update, twice, transfer, version, wire[:-4], wire[:20], wire + wire, mark.encode() * 30, mark.encode()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((customer.address, 0))
        for packet in packets:
            client.sendto(packet, (checkpoint.site.host, checkpoint.site.port))
    for packet in packets:
        address = (checkpoint.site.host, checkpoint.site.port)
        with contextlib.suppress(OSError), socket.create_connection(address, 10, (customer.address, 0)) as stream:
            stream.sendall(struct.pack("!H", len(packet)) + packet)
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65535):
                pass
    checkpoint.ask(customer, checkpoint.harmless())


def test_gunma_29_nbnet_42_vectant_33_a_query_that_matched_nothing_leaves_no_trace(watched: Watched) -> None:
    """gunma/29, nbnet/42, vectant/33: its name is in no log, ledger, metric, table, state file, event or answer."""
    mark = f"mark{uuid.uuid4().hex}"
    query_everything(watched, mark)
    assert f"{mark}.t0.example." in watched.resolver.asked, "the queries went all the way"
    assert watched.found(mark) == {}


def test_gunma_29_nbnet_42_nothing_is_left_behind_when_processes_die(watched: Watched) -> None:
    mark = f"mark{uuid.uuid4().hex}"
    query_everything(watched, mark)
    for module in (CONTROL, PLANE):
        before = watched.checkpoint.kill(module)
        watched.checkpoint.wait_ready(module, before + 1)
    assert watched.found(mark) == {}


def test_what_matched_is_found_by_the_same_search_where_it_may_be(watched: Watched) -> None:
    """The control of all others: a name on a list that is not sealed is in its file and in the event it caused."""
    checkpoint = watched.checkpoint
    assert checkpoint.is_blocked(watched.customer, f"below.c.{watched.listed}.example")
    checkpoint.events(watched.customer)
    found = watched.found(watched.listed)
    sinks = "\n".join(found)
    assert "state/lists/listed.list" in sinks
    assert "sekisho events" in sinks
    assert "sekisho --json events" in sinks


def test_the_search_reads_every_sink(watched: Watched) -> None:
    """A customer's id is no secret: it is found in the ledger, the matches, the tables and the answers."""
    checkpoint = watched.checkpoint
    mark = f"id{uuid.uuid4().hex}"
    checkpoint.api.post("/v1/customers", record={"id": mark, "terms": ["nbnet"], "prefixes": ["127.30.0.1"]})
    checkpoint.api.post("/v1/explain", customer=mark, name="www.example.com")
    assert checkpoint.is_blocked("127.30.0.1", f"a.{watched.sealed}.example")
    checkpoint.events(Customer(mark, "127.30.0.1"))
    sinks = "\n".join(watched.found(mark))
    for wanted in ("state/ledger.db", "state/matches.db", "/plane/", "sekisho --json customers show", "sekisho --json events"):
        assert wanted in sinks, f"the search does not reach {wanted}"
    assert traces(checkpoint.log.encode(), "snapshot-published"), "the log says something"
    assert any(traces(content, "sekisho_list_entries") for sink, content in watched.sinks() if sink.startswith("/metrics"))


@pytest.mark.parametrize("encode", [str.lower, str.upper, str.title])
def test_a_mark_is_found_in_every_form(encode: object) -> None:
    mark = "mark0123456789abcdef"
    text = encode(mark).encode()  # type: ignore[operator]
    assert traces(b"..." + bytes((len(text),)) + text + b"\0", mark)
    assert set(forms(mark)) >= {"text or wire", "hexadecimal", "utf-16"}
    assert traces(mark.encode().hex().upper().encode(), mark)
    for shift in range(3):
        assert traces(base64.b64encode(b"q" * shift + mark.encode() + b"zz"), mark)


def test_nbnet_21_1_the_names_of_a_sealed_list_are_in_no_sink_whatever_is_done_with_it(watched: Watched) -> None:
    """The list is confidential: keyed digests on disk and in the tables, bad lines told by file and line alone."""
    checkpoint, mark = watched.checkpoint, watched.sealed
    for tcp in (False, True):
        assert checkpoint.is_blocked(watched.customer, f"a.{mark}.example", tcp=tcp)
        assert checkpoint.is_answered(watched.unscreened, f"a.{mark}.example", tcp=tcp)
        assert checkpoint.is_answered(watched.customer, f"below.a.{mark}.example", tcp=tcp)
    checkpoint.events(watched.customer)
    said = [
        checkpoint.say("explain", "--customer", watched.customer.id, "--name", f"a.{mark}.example"),
        checkpoint.say("lists", "refresh", "sealed"),
        checkpoint.say("lists", "except", "sealed", f"b.{mark}.example", "--reason", "over-blocked"),
        checkpoint.say("lists", "except", "sealed", f"b.{mark}.example", "--remove"),
        checkpoint.say("lists", "except", "sealed", f"b.{mark}.example", "--remove", code=1),
        checkpoint.say("lists", "except", "sealed", f"b.{mark}..example", code=1),
        checkpoint.say("lists", "except", "sealed", f"{mark} .exa mple", code=1),
        checkpoint.say("lists", "except", "sealed", f"a.{mark}.example", "--reason", f"a.{mark}.example blocked", code=1),
        checkpoint.say("explain", "--customer", watched.customer.id, "--name", f"{mark}..example", code=1),
    ]
    assert traces("".join(said).encode(), mark) == []
    assert watched.found(mark) == {}
    one = checkpoint.sekisho("lists", "show", "sealed")["lists"][0]
    assert (one["entries"], one["skipped"], one["refused"]) == (3, 5, 2)
    assert all("sealed.txt:" in fault for fault in one["faults"])
    (event,) = [one for one in checkpoint.events(watched.customer) if one["list"] == "sealed"][:1]
    assert event["name"] is None
    assert len(event["entry"]) == 32


def test_nbnet_21_1_a_reload_with_faults_tells_no_sealed_name(watched: Watched) -> None:
    checkpoint = watched.checkpoint
    source = checkpoint.site.folder / "sealed.txt"
    good = source.read_text()
    source.write_text(good + f"\nanother bad line {watched.sealed}\n\x00\xff{watched.sealed}\n", encoding="utf-8")
    said = checkpoint.say("reload") + checkpoint.say("lists", "refresh", "sealed") + checkpoint.say("check")
    assert traces(said.encode(), watched.sealed) == []
    assert watched.found(watched.sealed) == {}
    source.write_text(good, encoding="utf-8")
    checkpoint.say("lists", "refresh", "sealed")


@pytest.mark.parametrize("module", [CONTROL, PLANE])
def test_no_process_of_ours_leaves_a_core_file(watched: Watched, module: str) -> None:
    limits = Path(f"/proc/{watched.checkpoint.pid(module)}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[-3:-1] == ["0", "0"]


def test_nbnet_21_1_the_plane_holds_no_sealed_name_in_its_memory(watched: Watched) -> None:
    """To whom names of customers' queries come, the names of the list never do: it is handed keyed digests."""
    assert watched.checkpoint.is_answered(watched.customer, f"control-{watched.listed}.example")
    pid = watched.checkpoint.pid(PLANE)
    try:
        # Backwards it is a name that customers did ask for.
        held = memory(pid, {form: octets for form, octets in shapes(watched.sealed[::-1]).items() if "backwards" not in form})
        control = memory(pid, {"a name": watched.listed.encode()})
    except PermissionError:
        pytest.skip("reading another process's memory needs CAP_SYS_PTRACE; run as root")
    assert held == {}
    assert control, "a name in the cache is found by the same search"


def test_events_tell_of_an_exception_on_a_sealed_list_and_never_of_its_name(watched: Watched) -> None:
    """Nor do they tell the name of one on a list that is open: whoever reads events reads no names."""
    checkpoint = watched.checkpoint
    numbers = [
        checkpoint.sekisho("lists", "except", name, f"let-through.{mark}.example", "--reason", "asked for")["number"]
        for name, mark in (("sealed", watched.sealed), ("listed", watched.listed))
    ]
    archive = checkpoint.site.folder / "events.jsonl"
    wait_until(lambda: all(f'"id":"{number}"' in archive.read_text() for number in numbers), deadline=30, what="both events")
    assert archive.read_text().count('"type":"jp.sekisho.exception.added.v1"') >= 2
    for mark in (watched.sealed, watched.listed):
        assert not traces(archive.read_bytes(), mark)

    def printed() -> str:
        return "\n".join(line for line in checkpoint.log.splitlines() if line.startswith('{"specversion"'))

    wait_until(lambda: all(f'"id":"{number}"' in printed() for number in numbers), what="both events on standard output")
    assert "exception.added" in printed()
    assert not traces(printed().encode(), watched.listed)
    assert not watched.found(watched.sealed)
