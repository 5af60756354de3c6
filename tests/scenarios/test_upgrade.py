"""An upgrade under load: another plane process takes over, and every query has its answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.query
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from scenarios.harness.resolver import honest
from support.load import asking
from support.waiting import wait_until

pytestmark = pytest.mark.slow

LISTED = "listed.example"
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]
SOURCES = {"c2.txt": f"{LISTED}\n"}


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    with Resolver().running() as one:
        yield one


@pytest.fixture(scope="module")
def site(resolver: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    with (
        folders(tmp_path_factory.mktemp("upgrade")) as (folder, runtime),
        running(write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES)) as one,
    ):
        yield one


def processes(site: Checkpoint, module: str) -> set[int]:
    return set(site.pids(module))


def upgrade(site: Checkpoint) -> int:
    """Let the next processes take over; returns the new plane's process id, once the old one has gone."""
    before = processes(site, PLANE) | processes(site, CONTROL)
    site.supervisor.send_signal(signal.SIGUSR2)

    def replaced() -> bool:
        now = processes(site, PLANE) | processes(site, CONTROL)
        return len(now) == 2 and not now & before

    wait_until(replaced, deadline=120, what="other processes than before")
    (plane,) = processes(site, PLANE)
    return plane


def test_a_new_plane_takes_over_and_no_query_is_lost_counted_twice_or_left_out_of_the_record(site: Checkpoint) -> None:
    """Twice, so that the second successor takes the files the first plane had."""
    customers = [site.customer("gunma", "nbnet") for _ in range(8)]
    to = (site.site.host, site.site.port)
    lists = site.metric("sekisho_list_matches_total", list="c2")
    queries = site.metric("sekisho_queries_total")
    with asking(to, [one.address for one in customers], lambda n: f"w{n}.harmless.example" if n % 10 else LISTED, rate=400) as load:
        load.wait(200)
        planes = {upgrade(site), upgrade(site)}
        load.wait(200)
    assert len(planes) == 2
    assert site.metric("sekisho_verdicts_total", step="budget") == 0
    assert not load.lost, f"{len(load.lost)} of {load.sent} lost"
    assert set(load.rcodes) == {0, 3}
    listed = load.rcodes[3]
    wait_until(lambda: site.metric("sekisho_workers_alive") == 2, what="the workers of one plane alone")
    wait_until(
        lambda: sum(one["count"] for customer in customers for one in events(site, customer)) == listed,
        what="every match on the record, once",
    )
    # The control plane was replaced too: it counts from what is there, and no match twice.
    wait_until(lambda: site.metric("sekisho_list_matches_total", list="c2") <= lists + listed)
    assert site.metric("sekisho_queries_total") <= queries + load.sent
    assert "successor" in site.log


def events(site: Checkpoint, customer: Customer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.api.get("/v1/events", customer=customer.id)["events"]
    return found


def test_what_is_under_way_is_brought_to_its_end_by_the_plane_that_took_it(site: Checkpoint, resolver: Resolver) -> None:
    """The resolver answers only when the successor serves, and a TCP client asks on one connection all the while."""
    customer = site.customer("gunma")
    before = processes(site, PLANE) | processes(site, CONTROL)
    ready = site.times_ready(PLANE)
    resolver.behave = lambda _: []
    with udp(site, customer) as client, tcp(site, customer) as stream:
        site.supervisor.send_signal(signal.SIGUSR2)

        def is_succeeded() -> bool:
            # Each time another name, so that the last are outstanding at the change, whenever that is.
            client.send(dns.message.make_query(site.harmless(), "A").to_wire())
            message = dns.message.make_query(LISTED, "A")
            dns.query.send_tcp(stream, message)
            assert dns.query.receive_tcp(stream)[0].rcode() == 3
            return site.times_ready(PLANE) > ready

        wait_until(is_succeeded, deadline=120, interval=0.05, what="a successor")
        resolver.behave = honest
        asked = dns.message.make_query(site.harmless(), "A")
        client.send(asked.to_wire())
        wait_until(lambda: int.from_bytes(client.recv(4096)[:2], "big") == asked.id, what="the answer to the last query")
    # The old plane has seen the end of its last connection, and does not wait out its patience.
    wait_until(lambda: not (processes(site, PLANE) | processes(site, CONTROL)) & before, deadline=60, what="the end of the old plane")
    assert "did not leave in time" not in site.log


@contextlib.contextmanager
def udp(site: Checkpoint, customer: Customer) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((customer.address, 0))
        client.connect((site.site.host, site.site.port))
        client.settimeout(60)
        yield client


@contextlib.contextmanager
def tcp(site: Checkpoint, customer: Customer) -> Iterator[socket.socket]:
    with socket.create_connection((site.site.host, site.site.port), source_address=(customer.address, 0), timeout=60) as stream:
        yield stream


def test_a_plane_told_to_stop_answers_what_it_has_taken(site: Checkpoint, resolver: Resolver) -> None:
    """`systemctl restart` is a stop and a start: what was taken is answered, what was not waits in the socket."""
    sources = [site.customer("gunma").address for _ in range(8)]
    with asking((site.site.host, site.site.port), sources, lambda n: f"w{n}.harmless.example", rate=400) as load:
        load.wait(100)
        ready = site.times_ready(PLANE)
        os.kill(wait_until(lambda: site.pid(PLANE), what="a plane"), signal.SIGTERM)
        site.wait_ready(PLANE, ready + 1)
        load.wait(100)
    assert not load.lost
    assert set(load.rcodes) == {0}
