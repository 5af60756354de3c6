"""The whole way of heavy use: a log-in by RADIUS, too much for too long, the promised rate, and full speed when the condition ends.

Nobody opens the measure: the detector finds it by the kernel's counters. A window has five minutes at the least. It is full
within seconds, since nothing but the machine slows the line before; but it is empty again only after all of it, so while
nothing is transferred the daemon's clock is moved on. Transfers, counters and rates are of real time.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from kernel.heavyuse import control, pack, sekisho
from scenarios.harness import Site, folders, write_site
from sekisho.cli.client import Client
from support import free_port, radius, wait_until
from support.netns import CUSTOMER, CUSTOMER6, DOWN, NEIGHBOUR, SERVER, SERVER6, Field, flows_freely, keeps_rate, transfer

pytestmark = pytest.mark.kernel

LATER = "192.0.2.30"
"""What the customer is given at the next log-in."""
DOWNLOAD = 700_000_000
"""Octets: of a line of 40 Mbit/s more than half over five minutes."""
CLOCK = """\
import signal, sys, time
true, ahead = time.time, 0.0
def on(number, frame):
    global ahead
    ahead += 330.0 if number == signal.SIGUSR1 else 130.0
signal.signal(signal.SIGUSR1, on)
signal.signal(signal.SIGUSR2, on)
time.time = lambda: true() + ahead
from sekisho.app.control import main
main()
"""
"""The daemon with a clock that goes on by the window and by the release delay when it is told to."""
WINDOW_PASSES, DELAY_PASSES = signal.SIGUSR1, signal.SIGUSR2


@dataclass
class Daemon:
    site: Site
    process: subprocess.Popen[bytes]
    api: Client

    def sekisho(self, *arguments: str) -> str:
        return sekisho(self.site, *arguments)

    def measure(self) -> dict[str, Any]:
        """The one measure there is, or was; nothing before."""
        found = self.api.get("/v1/measures", customer="c-1", closed=1)["measures"]
        assert len(found) < 2
        return found[0] if found else {}


@contextlib.contextmanager
def daemon(site: Site) -> Iterator[Daemon]:
    """The control plane alone, until it has ended as it was told."""
    with control(site, "-c", CLOCK) as (process, api):
        yield Daemon(site, process, api)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def site(field: Field, port: int, tmp_path) -> Iterator[Site]:
    field.ip(field.customers, "address", "add", f"{LATER}/24", "dev", "line0")
    with folders(tmp_path) as (folder, runtime):
        (folder / "heavy.yaml").write_text(pack("5m", "release_delay: 2m"), encoding="utf-8")
        (folder / "secret").write_bytes(radius.SECRET)
        yield write_site(
            folder,
            runtime,
            [1],
            terms=["./heavy.yaml"],
            measures={"mode": "enforce"},
            radius={"listen": [f"127.0.0.1:{port}"], "nas": [{"id": "bras-1", "address": "127.0.0.1", "secret_file": "secret"}]},
            lines={
                "mode": "enforce", "customers": [DOWN], "namespace": field.gateway, "on_stop": "remove",
                "counters": True, "count_every": "1s",
            },
            bandwidth={
                "every": "1s", "windows": 5, "sustained": 3, "clear": 2,
                "segments": [{"id": "pon-1", "down": "20Mbit/s", "up": "1Gbit/s", "everybody": True}],
            },
            customers=[
                {"id": "c-1", "terms": ["heavy"], "logins": ["hana@ppp.example"], "plan": {"down_mbps": 40, "up_mbps": 20}},
                {"id": "c-2", "terms": ["heavy"], "prefixes": [NEIGHBOUR], "plan": {"down_mbps": 40, "up_mbps": 20}},
            ],
        )  # fmt: skip


def test_who_downloads_too_much_for_too_long_is_slowed_and_gets_full_speed_back(field: Field, site: Site, port: int) -> None:
    nas = radius.Nas(port)
    with daemon(site) as it:
        # The log-in: the addresses are the customer's, and are counted.
        assert it.api.get("/v1/sessions", customer="c-1")["live"] == 0
        nas.tell(radius.START, "s1", "hana@ppp.example", radius.address(CUSTOMER) + radius.prefix6("2001:db8:0:10::/120"))
        (session,) = it.api.get("/v1/sessions", customer="c-1")["sessions"]
        assert sorted(session["prefixes"]) == [f"{CUSTOMER}/32", "2001:db8:0:10::/120"]
        wait_until(lambda: CUSTOMER in field.gw("nft", "list", "ruleset"), deadline=60, what="a line that is counted")

        # Others use the segment as usual; then somebody takes too much of it.
        with transfer(field, NEIGHBOUR, SERVER, up=False) as usual:
            wait_until(lambda: usual() > 20_000_000, deadline=60, what="a neighbour's page")
        with transfer(field, CUSTOMER, SERVER, up=False) as arrived:
            assert flows_freely(arrived)
            wait_until(lambda: bool(it.measure()), 240, "a measure nobody opened")
            wait_until(lambda: "5ec1:1" in field.gw("nft", "list", "ruleset"), deadline=60, what="the line in the kernel")
            taken = arrived()
            assert taken > DOWNLOAD
            assert keeps_rate(arrived, 10e6)
        with transfer(field, CUSTOMER6, SERVER6, up=False) as arrived:
            assert keeps_rate(arrived, 10e6)
        with transfer(field, NEIGHBOUR, SERVER, up=False) as usual:
            assert flows_freely(usual)

        # The support desk reads out why.
        assert (it.measure()["state"], it.measure()["detector"]) == ("in-force", "bandwidth")
        said = " ".join(it.sekisho("explain", "--customer", "c-1").split())
        for words in ("heavy/1", "of 40 Mbit/s of the line towards the customer", "the criterion is 50%", "pon-1", "congested from 80%"):
            assert words in said, said
        assert it.measure()["evidence"]["share_down"] >= 0.5
        assert it.api.get("/v1/usage", customer="c-1")["limited"] is True

        # What accounting tells of the same octets is not counted once more.
        nas.tell(radius.INTERIM, "s1", "hana@ppp.example", radius.octets(1000, taken) + radius.integer(46, 30))
        wait_until(
            lambda: it.api.get("/v1/sessions", customer="c-1")["sessions"][0]["down"] == taken,
            deadline=60,
            what="the octets of the session",
        )

        def used() -> int:
            """Of all days: it may be midnight."""
            return sum(day["down_bytes"] for day in it.api.get("/v1/usage", customer="c-1")["days"])

        assert it.api.get("/v1/usage", customer="c-1")["source"] == "counters"
        wait_until(lambda: taken <= used() + (1 << 20), what="all of it counted")
        assert used() + (1 << 20) < 1.5 * taken

        # Whoever logs in anew is as slow with the addresses of the new session; whose the old ones are is not.
        nas.tell(radius.STOP, "s1", "hana@ppp.example")
        nas.tell(radius.START, "s2", "hana@ppp.example", radius.address(LATER))
        wait_until(lambda: f"{LATER} : 5ec1:1" in field.gw("nft", "list", "ruleset"), deadline=60, what="the limit on the new address")
        with transfer(field, LATER, SERVER, up=False) as arrived:
            assert keeps_rate(arrived, 10e6)
        assert CUSTOMER not in field.gw("nft", "list", "ruleset")

        # The condition ends, and the measure after its delay; until then the line is slow.
        it.process.send_signal(WINDOW_PASSES)
        wait_until(lambda: it.measure()["state"] == "ending", deadline=60, what="the end of the condition")
        with transfer(field, LATER, SERVER, up=False) as arrived:
            assert keeps_rate(arrived, 10e6)
        it.process.send_signal(DELAY_PASSES)
        wait_until(lambda: it.measure()["state"] == "lifted", deadline=60, what="the end of the measure")
        wait_until(lambda: "5ec1:1" not in field.gw("nft", "list", "ruleset"), deadline=60, what="the line as it was")
        with transfer(field, LATER, SERVER, up=False) as arrived:
            assert flows_freely(arrived)
        assert "not limited" in it.sekisho("explain", "--customer", "c-1")
    nas.close()
    assert "sekisho" not in field.gw("nft", "list", "tables") + field.gw("tc", "qdisc") + field.gw("ip", "link")
