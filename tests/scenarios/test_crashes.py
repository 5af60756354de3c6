"""kill -9 at every process: nothing that was acknowledged is lost, and nobody waits for long."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from scenarios.harness import Checkpoint, Resolver, folders, running, write_site
from scenarios.harness.asking import addresses
from scenarios.harness.checkpoint import CONTROL, PLANE, START
from sekisho.app.supervise import PLANE_WATCHDOG
from sekisho.model.errors import SekishoError
from support import wait_until

pytestmark = pytest.mark.slow

LISTED = "listed.example"
LISTS = [
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"},
    {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "domains", "scope": "exact", "sealed": True},
]
SOURCES = {"c2.txt": f"{LISTED}\nother.example\n", "abuse.txt": "sealed.example\n"}
TERMS = ("gunma", "nbnet")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    with (
        Resolver().running() as resolver,
        folders(tmp_path_factory.mktemp("crashes")) as (folder, runtime),
        running(write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES)) as one,
    ):
        yield one


def test_gunma_bekki_3_an_opt_out_is_not_lost_by_kill_9_after_its_acknowledgement(site: Checkpoint) -> None:
    """Out and back in, the daemon killed after each acknowledgement: the plane never goes back, the record has it."""
    customer = site.customer(*TERMS, exempt=["gunma/19-2", "nbnet/22-2-5"])  # who asks without pause
    assert site.is_blocked(customer, LISTED)
    for act, reached in ((site.api.post, Checkpoint.is_answered), (site.api.delete, Checkpoint.is_blocked)):
        assert act("/v1/optouts", customer=customer.id, list="c2")["number"]
        ready = site.kill(CONTROL)
        while site.times_ready(CONTROL) == ready:
            assert reached(site, customer, LISTED)
        assert reached(site, customer, LISTED)
        shown = site.sekisho("optout", "show", customer.id)
        assert shown["in_force"] is (reached is Checkpoint.is_answered)


def test_of_many_opt_outs_at_the_moment_of_kill_9_every_acknowledged_one_stands(site: Checkpoint) -> None:
    customers = [site.customer("gunma") for _ in range(24)]
    acknowledged: list[str] = []
    enough = threading.Event()

    def opt_out(mine: list[str]) -> None:
        for one in mine:
            try:
                site.api.post("/v1/optouts", customer=one, list="c2")
            except SekishoError:
                return
            acknowledged.append(one)
            if len(acknowledged) >= 6:
                enough.set()

    threads = [threading.Thread(target=opt_out, args=([one.id for one in customers[start::4]],)) for start in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    ready = site.kill(CONTROL)
    for thread in threads:
        thread.join()
    site.wait_ready(CONTROL, ready + 1)
    shown = {one["customer"] for one in site.api.get("/v1/optouts", list="c2")["opt_outs"] if one["in_force"]}
    assert set(acknowledged) <= shown
    for one in customers:
        assert site.is_answered(one, LISTED) is (one.id in shown), "what the record says is in force, and nothing else"


def test_the_plane_answers_on_while_the_daemon_is_dead_and_commands_say_so(site: Checkpoint) -> None:
    customer = site.customer(*TERMS)
    ready = site.times_ready(CONTROL)
    pid = wait_until(lambda: site.pid(CONTROL))
    os.kill(pid, signal.SIGSTOP)
    try:
        # Stopped, it can do nothing at all: every verdict below is the plane's alone.
        for tcp in (False, True):
            assert site.is_blocked(customer, LISTED, tcp=tcp)
            assert site.is_blocked(customer, "sealed.example", tcp=tcp)
            assert site.is_answered(customer, site.harmless(), tcp=tcp)
            assert site.ask("127.8.8.8", LISTED, tcp=tcp).rcode() == 5
    finally:
        os.kill(pid, signal.SIGKILL)
    site.wait_ready(CONTROL, ready + 1)
    # What was matched meanwhile waited in the ring, and is on the record now.
    assert {one["list"] for one in site.events(customer, at_least=4)} == {"c2", "abuse"}


def test_the_plane_comes_back_by_the_same_tables(site: Checkpoint) -> None:
    customer = site.customer(*TERMS)
    site.api.post("/v1/optouts", customer=customer.id, list="c2")
    epoch = site.api.get("/v1/status")["daemon"]["epoch"]
    acts = site.api.get("/v1/status")["ledger"]["acts"]
    ready = site.kill(PLANE)
    site.wait_ready(PLANE, ready + 1)
    assert site.is_answered(customer, LISTED)
    assert site.is_blocked(customer, "sealed.example")
    status = site.api.get("/v1/status")
    assert (status["daemon"]["epoch"], status["ledger"]["acts"]) == (epoch, acts), "nothing was built anew for it"
    wait_until(lambda: site.api.get("/v1/status")["plane"]["workers_alive"] == 2, what="both workers counted alive")
    site.api.delete("/v1/optouts", customer=customer.id, list="c2")
    assert site.is_blocked(customer, LISTED), "the new plane sees changes in place"


def test_a_plane_that_stands_still_is_started_again_while_clients_wait(site: Checkpoint) -> None:
    """Their queries wait in the kernel for longer than the watchdog, and are answered by the next."""
    customer = site.customer(*TERMS)
    control, plane, ready = site.pid(CONTROL), site.pid(PLANE), site.times_ready(PLANE)
    os.kill(plane, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        asked = [
            threads.submit(
                how, dns.message.make_query(name, "A"), site.site.host, port=site.site.port, source=customer.address, timeout=START
            )
            for how in (dns.query.udp, dns.query.tcp)
            for name in (LISTED, site.harmless())
        ]
        said = [one.result() for one in asked]
    assert [one.rcode() for one in said] == [dns.rcode.NXDOMAIN, dns.rcode.NOERROR] * 2
    assert addresses(said[1]) == addresses(said[3]) == {site.upstream_address}
    site.wait_ready(PLANE, ready + 1)
    assert f"sekisho-plane: process {plane} has not said for {PLANE_WATCHDOG:g} s that it lives; ended" in site.log
    assert site.pid(PLANE) != plane
    assert site.pid(CONTROL) == control
    wait_until(lambda: site.sekisho("status")["plane"]["workers_alive"] == 2, what="both workers counted alive")


def test_counters_never_go_back_when_the_plane_restarts(site: Checkpoint) -> None:
    customer = site.customer(*TERMS)
    assert site.is_blocked(customer, LISTED)
    before = wait_until(lambda: site.metric("sekisho_list_matches_total", list="c2"), what="a match in the metrics")
    queries = site.metric("sekisho_queries_total")
    ready = site.kill(PLANE)
    site.wait_ready(PLANE, ready + 1)
    assert site.is_blocked(customer, LISTED)
    wait_until(lambda: site.metric("sekisho_list_matches_total", list="c2") > before, what="one match more")
    wait_until(lambda: site.metric("sekisho_queries_total") > queries, what="one query more")


def test_both_killed_at_once_come_back(site: Checkpoint) -> None:
    customer = site.customer(*TERMS)
    site.api.post("/v1/optouts", customer=customer.id, list="c2")
    ready = {module: site.times_ready(module) for module in (CONTROL, PLANE)}
    for module in ready:
        site.kill(module)
    for module, times in ready.items():
        site.wait_ready(module, times + 1)
    assert site.is_answered(customer, LISTED)
    assert site.is_blocked(customer, "sealed.example")


def test_a_checkpoint_starts_by_its_last_good_state_without_any_feed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All feeds gone and the machine booted anew: runtime folder empty, sources not there."""
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("restart")) as (folder, runtime):
        site = write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES)
        with running(site) as first:
            customer, other = first.customer(*TERMS), first.customer(*TERMS)
            first.sekisho("optout", "add", customer.id, "c2")
            first.sekisho("lists", "except", "abuse", "sealed.example")
            entry = first.sekisho("lists", "show", "c2")["lists"][0]["version"]
        for path in (folder / "c2.txt", folder / "abuse.txt"):
            path.unlink()
        for path in sorted(runtime.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        with running(site) as second:
            assert second.log.count("tables-restored") == 1, "what was in force was in force before all was loaded"
            assert second.is_answered(customer, LISTED)
            assert second.is_blocked(other, LISTED)
            assert second.is_answered(other, "sealed.example"), "the exception stands"
            lists = {one["id"]: one for one in second.sekisho("status")["lists"]}
            assert lists["c2"]["version"] == entry
            assert all(one["error"] for one in lists.values())
            assert [one["customer"] for one in second.sekisho("optout", "show")["opt_outs"]] == [customer.id]


def test_the_supervisor_killed_leaves_no_process_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("supervisor")) as (folder, runtime):
        site = write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES)
        with running(site) as one:
            customer = one.customer(*TERMS)
            one.api.post("/v1/optouts", customer=customer.id, list="c2")
            pids = [one.pid(module) for module in (CONTROL, PLANE)]
            one.supervisor.kill()
            one.supervisor.wait()
            wait_until(lambda: not any(is_running(pid) for pid in pids), deadline=30, what="the end of both processes")
        with running(site) as again:
            assert again.is_answered(customer, LISTED)


def is_running(pid: int) -> bool:
    """Whether a thread of it is: its first may have ended before the others."""
    try:
        return any((one / "stat").read_text().rpartition(")")[2].split()[0] != "Z" for one in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_query_sent_while_the_plane_is_dead_is_answered_by_the_next(site: Checkpoint) -> None:
    customer = site.customer(*TERMS)
    ready = site.kill(PLANE)
    answer = site.ask(customer, LISTED)
    assert answer.rcode() == 3
    assert dns.message.from_wire(answer.to_wire()).question
    site.wait_ready(PLANE, ready + 1)
