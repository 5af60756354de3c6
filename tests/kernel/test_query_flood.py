"""A flood at a resolver that customers ask past the daemon, found by the kernel's counters alone, and silenced in the kernel.

Neither dnstap nor the plane knows of a query: what goes by on the gateway is all there is. Real packets, a real Unbound, and the
daemon's own clock; a window is longer than the two seconds between two readings.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest

from kernel.heavyuse import control, sekisho
from scenarios.harness import Site, folders, write_site
from scenarios.harness.checkpoint import samples
from scenarios.harness.sinks import files, traces
from sekisho.cli.client import Client
from support import require_binary, wait_until
from support.floods import flood
from support.netns import CUSTOMER, CUSTOMER6, NEIGHBOUR, SERVER, SERVER6, Field, opened
from support.unbound import FOREGROUND

pytestmark = pytest.mark.kernel

ANSWER = "203.0.113.7"
MADE_UP = "made-up"
"""Part of the names that are asked for."""
PACK = """\
version: 1
pack: flood
document: {title: Rules of name resolution, operator: Example ISP, version: "1"}
clauses:
  - id: flood/1
    article: "1"
    ja: 名前解決の問い合わせが統計的平均を著しく超えるときは、応答しない措置を講ずる。
    en: Whose queries are far above the average gets no answers.
    rules:
      - {kind: measure, ground: dns-overload, detector: dns-overload, effect: silence, extent: partial, notice: none,
         release_delay: 1s, fees: continue, record: {fields: [time, customer, clause, action], retention: 90d}}
"""
DETECTION = {
    "window": "3s", "windows": 5, "sustained": 2, "clear": 2, "floor": 30, "usual": 0,
    "load": {"utilisation": None, "timeouts": None, "latency": None, "queries": 40},
}  # fmt: skip
UNBOUND = (
    FOREGROUND
    + """\
    log-queries: yes
    num-threads: 1
    interface: {four}
    interface: {six}
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    local-zone: "." redirect
    local-data: ". 60 IN A {answer}"
"""
)


@dataclass
class Unbound:
    """A resolver that answers every name, and says who asked."""

    log: Path

    def heard(self, *sources: str) -> int:
        """Queries that reached it from some addresses."""
        return sum(len(re.findall(f" {re.escape(source)} ", self.log.read_text())) for source in sources)


@dataclass
class Daemon:
    site: Site
    api: Client

    def measure(self) -> dict[str, Any]:
        """The one measure there is, or was; nothing before."""
        found = self.api.get("/v1/measures", customer="c-1", closed=1)["measures"]
        assert len(found) < 2
        return found[0] if found else {}

    def unanswered(self) -> bool:
        """Whether the last window knows the customer's queries to be dropped, and they are above the limit still.

        A busy machine floods less in one window than in another.
        """
        evidence = self.api.get("/v1/explain/measure", customer="c-1")["evidence"]
        return evidence.get("unanswered_share", 0) > 0.9 and evidence["rate"] > evidence["limit"]

    def say(self, *arguments: str) -> str:
        return " ".join(sekisho(self.site, *arguments).split())

    def dropped(self) -> float:
        """Queries the daemon knows to be dropped in the kernel."""
        with urllib.request.urlopen(f"http://{self.site.host}:{self.site.metrics_port}/metrics", timeout=30) as told:
            return sum(value for (name, _), value in samples(told.read().decode()) if name == "sekisho_lines_dropped_queries_total")


@pytest.fixture
def unbound(field: Field, tmp_path: Path) -> Iterator[Unbound]:
    log, conf = tmp_path / "unbound.log", tmp_path / "unbound.conf"
    conf.write_text(UNBOUND.format(folder=tmp_path, four=SERVER, six=SERVER6, answer=ANSWER))
    argv = ["ip", "netns", "exec", field.server, require_binary("unbound"), "-d", "-c", str(conf)]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def up() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        return "start of service" in log.read_text()

    try:
        wait_until(up, deadline=60, what="Unbound at work")
        yield Unbound(log)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def site(field: Field, tmp_path: Path) -> Iterator[Site]:
    with folders(tmp_path) as (folder, runtime):
        (folder / "flood.yaml").write_text(PACK, encoding="utf-8")
        yield write_site(
            folder,
            runtime,
            [1],
            terms=["./flood.yaml"],
            measures={"mode": "enforce"},
            detection=DETECTION,
            lines={
                "mode": "enforce", "namespace": field.gateway, "on_stop": "remove", "shaping": False,
                "resolvers": [SERVER, SERVER6], "queries": True,
            },
            customers=[
                {"id": "c-1", "terms": ["flood"], "prefixes": [CUSTOMER, "2001:db8:0:10::/120"]},
                {"id": "c-2", "terms": ["flood"], "prefixes": [NEIGHBOUR]},
            ],
        )  # fmt: skip


@contextlib.contextmanager
def flooding(field: Field) -> Iterator[None]:
    """A customer who asks for made-up names from two addresses of a line, about two hundred a second."""
    with opened(field.customers, CUSTOMER, socket.SOCK_DGRAM) as four, opened(field.customers, CUSTOMER6, socket.SOCK_DGRAM) as six:

        def ask(number: int) -> None:
            client, server = ((four, SERVER), (six, SERVER6))[number % 2]
            client.sendto(dns.message.make_query(f"r{number}.{MADE_UP}.example", "A").to_wire(), (server, 53))

        with flood(ask):
            yield


def is_answered(field: Field, source: str, server: str = SERVER) -> bool:
    """Whether a resolver answers a customer; the time-out is for a busy machine."""
    query = dns.message.make_query("www.harmless.example", "A")
    with opened(field.customers, source, socket.SOCK_DGRAM) as client:
        client.sendto(query.to_wire(), (server, 53))
        answer = dns.message.from_wire(client.recv(1000))
    assert answer.id == query.id
    return answer.answer == [dns.rrset.from_text("www.harmless.example.", 60, "IN", "A", ANSWER)]


def test_a_flood_that_only_the_kernel_counts_is_found_silenced_there_and_released_when_it_ends(
    field: Field, unbound: Unbound, site: Site
) -> None:
    with control(site) as (_, api):
        it = Daemon(site, api)
        wait_until(lambda: CUSTOMER in field.gw("nft", "list", "ruleset"), deadline=60, what="a line whose queries are counted")
        for source, server in ((NEIGHBOUR, SERVER), (CUSTOMER, SERVER), (CUSTOMER6, SERVER6)):
            assert is_answered(field, source, server)
        with flooding(field):
            wait_until(lambda: it.measure().get("state") == "in-force", deadline=60, what="a measure nobody opened")

            # Nothing more of them reaches the resolver, from neither address, while they go on; the others are answered.
            wait_until(lambda: it.dropped() > 0, deadline=60, what="queries dropped in the kernel")
            before, heard = it.dropped(), unbound.heard(CUSTOMER, CUSTOMER6)
            assert heard > 100
            wait_until(lambda: it.dropped() >= before + 300, deadline=60, what="more of them")
            assert is_answered(field, NEIGHBOUR)
            assert unbound.heard(CUSTOMER, CUSTOMER6) == heard

            # The support desk reads out why, and how it is known.
            measure = it.measure()
            found = measure["evidence"]
            assert found["rate"] > found["limit"] == DETECTION["floor"]
            assert (found["elsewhere_share"], found["unanswered_share"]) == (1, 0)
            said = it.say("explain", "--customer", "c-1")
            for words in (
                "silence, in-force, under flood/1",
                f"it asked {found['rate']:,.0f} DNS queries a second; the limit was 30",
                "(queries)",
            ):
                assert words in said, said
            assert "elsewhere_share 1" in it.say("measures", "show", measure["id"])
            assert "of the customer's queries that a measure left unanswered" in it.say("explain", "--customer", "c-1", "--measure")

            # Who is silenced goes on to be counted: a measure does not end by its own success.
            wait_until(it.unanswered, deadline=60, what="queries known to be dropped, above the limit")
            assert it.measure()["state"] == "in-force"
        wait_until(lambda: it.measure()["state"] == "lifted", deadline=60, what="the measure lifted")
        wait_until(
            lambda: CUSTOMER not in field.gw("nft", "list", "set", "inet", "sekisho", "silence4_32"), deadline=60, what="the line as it was"
        )
        assert is_answered(field, CUSTOMER)
        assert is_answered(field, CUSTOMER6, SERVER6)
    assert "sekisho" not in field.gw("nft", "list", "tables")
    for place, content in files(site.folder, site.runtime):
        assert not traces(content, MADE_UP), place
