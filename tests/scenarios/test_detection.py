"""Detection of DNS overload on the running daemon: the plane's counts, the population, the load, and what an operator is shown."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import dns.message
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from support import wait_until

pytestmark = pytest.mark.slow

OWN = """\
version: 1
pack: own
document: {title: Terms of an operator of one's own, operator: Example, version: 2026-01-01}
clauses:
  - {id: own/1, article: Article 1, ja: 約款, en: The terms.}
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
        written.edit(detection=DETECTION)
        with running(written) as one:
            yield one


@contextlib.contextmanager
def flooding(checkpoint: Checkpoint, customer: Customer) -> Iterator[None]:
    """A customer who asks for made-up names, about two hundred a second."""
    stop = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((customer.address, 0))
            for number in itertools.count():
                packet = dns.message.make_query(f"r{number}.nx.example", "A").to_wire()
                client.sendto(packet, (checkpoint.site.host, checkpoint.site.port))
                if stop.wait(0.005):
                    return

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def stands(checkpoint: Checkpoint, customer: Customer) -> dict[str, Any]:
    return checkpoint.sekisho("explain", "--customer", customer.id, "--measure")


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
