"""Detection of DNS overload on the running daemon: the plane's counts, the population, the load, and what an operator is shown."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import dns.message
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from support import wait_until
from support.floods import flood

pytestmark = pytest.mark.slow

OWN = """\
version: 1
pack: own
document: {title: Terms of an operator of one's own, operator: Example, version: 2026-01-01}
clauses:
  - id: own/1
    article: Article 1
    ja: 名前解決の問い合わせが統計的平均を著しく超え、ネームサーバに支障を与えるときは、応答しない措置を講ずる。
    en: Whose queries are far above the average, to the detriment of the name servers, gets no answers.
    rules:
      - {kind: measure, ground: dns-overload, detector: dns-overload, effect: silence, extent: partial, notice: before,
         urgent: true, release_delay: 3s, fees: continue, record: {fields: [time, customer, clause, action], retention: 90d}}
"""
DETECTION = {
    "window": "1s", "windows": 5, "sustained": 2, "clear": 2, "floor": 30, "usual": 0,
    "load": {"utilisation": 0.0001, "timeouts": None, "latency": None},
}  # fmt: skip
"""A load that any traffic makes: what loads a machine of the tests is not for them to know."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("detection")) as (folder, runtime):
        (folder / "own.yaml").write_text(OWN, encoding="utf-8")
        written = write_site(folder, runtime, [resolver.port], terms=["gunma", "nbnet", "./own.yaml"])
        notices = {
            "from": "noc@example.net",
            "contact": "support@example.net",
            "web": {"folder": str(folder / "web"), "url": "https://n.example/"},
        }
        written.edit(detection=DETECTION, measures={"mode": "enforce"}, notices=notices)
        with running(written) as one:
            yield one


@contextlib.contextmanager
def flooding(checkpoint: Checkpoint, customer: Customer) -> Iterator[None]:
    """A customer who asks for made-up names, about two hundred a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((customer.address, 0))

        def ask(number: int) -> None:
            # Of this customer's own: what another made up before may be in the cache.
            packet = dns.message.make_query(f"r{number}.{customer.id}.nx.example", "A").to_wire()
            client.sendto(packet, (checkpoint.site.host, checkpoint.site.port))

        with flood(ask):
            yield


def stands(checkpoint: Checkpoint, customer: Customer) -> dict[str, Any]:
    return checkpoint.sekisho("explain", "--customer", customer.id, "--measure")


def measures_of(checkpoint: Checkpoint, customer: Customer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = checkpoint.sekisho("measures", "list", customer.id, "--closed")["measures"]
    return found


def state_of(checkpoint: Checkpoint, customer: Customer) -> str:
    found = measures_of(checkpoint, customer)
    return str(found[-1]["state"]) if found else ""


def is_silenced(checkpoint: Checkpoint, customer: Customer) -> bool:
    """The plane's own verdict, by the tables it answers by."""
    said = checkpoint.sekisho("explain", "--customer", customer.id, "--name", "www.harmless.example")
    return bool(said["verdict"] == "silenced" and said["clause"] == "own/1")


def test_a_flood_of_made_up_names_is_found_explained_and_gone_when_it_ends(site: Checkpoint) -> None:
    flooder, quiet = site.customer("own"), site.customer("own")
    site.ask(quiet, "www.harmless.example")
    with flooding(site, flooder):

        def found() -> dict[str, Any] | None:
            body = stands(site, flooder)
            return body if body["found"] and "pattern" in body["evidence"] else None

        body = wait_until(found, deadline=60, what="the flood to be found")
        evidence = body["evidence"]
        assert evidence["rate"] > evidence["limit"] >= evidence["floor"] == 30
        assert evidence["new_name_share"] > 0.8
        assert evidence["forwarded_share"] > 0.8
        assert body["load"]["utilisation"]["figure"] > 0
        assert body["since"] <= body["at"]
        assert not stands(site, quiet)["found"]
        assert "FOUND since" in site.say("explain", "--customer", flooder.id, "--measure")
    wait_until(lambda: not stands(site, flooder)["found"], deadline=60, what="the condition to be gone")
    assert "nx.example" not in site.log
    assert site.metric("sekisho_worker_busy_seconds_total") > 0


def test_a_flood_is_found_silenced_noticed_and_released_by_itself_over_kills_of_both_processes(site: Checkpoint) -> None:
    flooder, quiet = site.customer("own"), site.customer("own")
    known = site.harmless()
    assert site.is_answered(flooder, known)
    with contextlib.ExitStack() as stack:
        # One socket from the first query to the last: its packets are dealt with in order, so an answer to an earlier one would come first.
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.bind((flooder.address, 0))
        client.connect((site.site.host, site.site.port))
        client.settimeout(30)
        flood = stack.enter_context(contextlib.ExitStack())
        flood.enter_context(flooding(site, flooder))
        wait_until(lambda: state_of(site, flooder) == "in-force", deadline=60, what="the measure in force")
        wait_until(lambda: is_silenced(site, flooder), what="silence")
        for number in range(1, 4):
            client.send(dns.message.make_query(known, "A", id=number).to_wire())
        silenced = site.metric("sekisho_verdicts_total", step="silenced")
        wait_until(lambda: site.metric("sekisho_verdicts_total", step="silenced") > silenced + 10, what="more queries that nobody answers")
        assert site.is_answered(quiet, known)
        for module in (CONTROL, PLANE):
            ready = site.times_ready(module)
            site.kill(module)
            site.wait_ready(module, ready + 1)
            assert is_silenced(site, flooder), f"after the death of {module}"
            assert site.is_answered(quiet, known)
        assert [one["state"] for one in measures_of(site, flooder)] == ["in-force"], "one measure for one cause"
        flood.close()
        wait_until(lambda: state_of(site, flooder) == "lifted", deadline=60, what="the measure lifted")
        wait_until(lambda: not is_silenced(site, flooder), what="the end of silence")
        client.send(dns.message.make_query(known, "A", id=4).to_wire())
        assert dns.message.from_wire(client.recv(4096)).id == 4, "what was asked in between has no answer"

    def told() -> list[dict[str, Any]]:
        notices: list[dict[str, Any]] = site.sekisho("notices", "list", flooder.id)["notices"]
        return notices

    wait_until(lambda: {"in-force", "lifted"} <= {one["occasion"] for one in told()}, what="both notices")
    assert {one["clause"] for one in told()} == {"own/1"}
    assert site.sekisho("audit", "verify")["ok"]
    history = site.say("audit", "show", "--customer", flooder.id)
    assert "own/1" in history
    assert "nx.example" not in site.log + history
