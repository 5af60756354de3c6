"""The machine's clock set while everything runs, forward and back: what is due by it is done, and nobody is kept waiting."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from support import require_binary, wait_until
from support.clock import FakeClock

pytestmark = pytest.mark.slow

LISTED = "listed.example"
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]
RULE = "the clock was set"


@pytest.fixture
def clock(tmp_path: Path) -> FakeClock:
    require_binary("faketime")
    return FakeClock(tmp_path / "clock")


@pytest.fixture
def site(clock: FakeClock, tmp_path: Path) -> Iterator[Checkpoint]:
    with contextlib.ExitStack() as stack:
        resolver = stack.enter_context(Resolver().running())
        folder, runtime = stack.enter_context(folders(tmp_path))
        written = write_site(folder, runtime, [resolver.port], lists=LISTS, sources={"c2.txt": f"{LISTED}\n"}, measures={"mode": "enforce"})
        yield stack.enter_context(running(written, clock.environ))


def is_served(site: Checkpoint, customer: Customer) -> bool:
    return all(site.is_answered(customer, site.harmless(), tcp=tcp) for tcp in (False, True))


def is_refused(site: Checkpoint, customer: Customer) -> bool:
    return site.ask(customer, site.harmless()).rcode() == 5


def test_a_clock_set_forward_and_back_ends_what_is_due_by_it_and_disturbs_nothing_else(clock: FakeClock, site: Checkpoint) -> None:
    out, suspended, seen = (site.customer("gunma", "nbnet") for _ in range(3))
    site.sekisho("optout", "add", out.id, "c2", "--until", "2d")
    opened = site.sekisho("suspend", suspended.id, "--clause", "nbnet/22-1-1", "--reason", "unpaid", "--urgent")
    site.sekisho("measures", "corrected", opened["id"], "--reason", "paid")
    wait_until(lambda: site.api.get("/v1/measure", id=opened["id"])["state"] == "ending", what="the delay of its release")
    assert is_refused(site, suspended)
    assert is_served(site, seen)
    assert site.is_answered(out, LISTED)
    pids = {module: site.pid(module) for module in (CONTROL, PLANE)}

    clock.set("+4d")  # behind the end of the opt-out, and of the three days a release takes
    told(site, "forward by 345,6")
    wait_until(lambda: site.is_blocked(out, LISTED), what="the end of the opt-out")
    wait_until(lambda: site.api.get("/v1/measure", id=opened["id"])["state"] == "lifted", what="the end of the measure")
    # Lifted is on record before it is in force.
    wait_until(lambda: is_served(site, suspended), what="the customer to be served")
    assert is_served(site, seen)
    assert site.is_blocked(seen, LISTED)
    wait_until(lambda: site.api.get("/v1/status")["plane"]["workers_alive"] == 2, what="both workers counted alive")

    clock.set("-1d")
    told(site, "back by 432,0")
    wait_until(lambda: site.is_answered(out, LISTED), what="the opt-out in force as before")
    assert site.api.get("/v1/measure", id=opened["id"])["state"] == "lifted", "what is over is over"
    assert is_served(site, suspended)
    assert is_served(site, seen)
    assert site.is_blocked(seen, LISTED)
    site.api.post("/v1/optouts", customer=seen.id, list="c2")
    assert site.is_answered(seen, LISTED), "acts are taken, though those before them are of a later time"
    wait_until(lambda: site.api.get("/v1/status")["plane"]["workers_alive"] == 2, what="both workers counted alive")
    assert site.api.get("/v1/status")["daemon"]["uptime"] < 3600
    site.events(seen, at_least=2)
    site.sekisho("audit", "verify")
    assert {module: site.pid(module) for module in pids} == pids, "nothing died of it"


def told(site: Checkpoint, words: str) -> None:
    wait_until(
        lambda: any(RULE in one and words in one for one in site.api.get("/v1/status")["warnings"]),
        what=f"a warning that the clock was set {words}",
    )
    assert '"event": "clock-set"' in site.log
