"""What a policy zone of very many names takes of Knot Resolver, whose files Knot DNS beside it writes: to start with, in memory, to ask.

It reads a file that changed as a whole, and answers nobody meanwhile: how long is what counts.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from bench.settings import NAMES
from bench.test_policyoptout import ANSWER, LIST, used
from peers.rpzpeers import BRIEF, KINDS, ZONE, Peer, beside, end, fed, knot
from scenarios.harness import Resolver, folders, running, write_site
from support import free_port, wait_until

ASKED, CHANGES = 2000, 3


def memory(peer: Peer) -> str:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{peer.process.pid}/status").read_text().splitlines())
    resident, most = (int(status[key].split()[0]) >> 10 for key in ("VmRSS", "VmHWM"))
    return f"{resident} MiB, {most} at most"


class Pauses:
    """A customer who asks all the while, and how long it had no answer at most."""

    def __init__(self, peer: Peer, address: str) -> None:
        self.longest = 0.0
        self._peer, self._address = peer, address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        last = time.monotonic()
        answered = False
        while not (self._stop.is_set() and answered):
            answered = self._peer.gives(self._address, "www.harmless.example", patience=BRIEF) == ANSWER
            if answered:
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now


@pytest.mark.slow
def test_knot_resolver_with_a_policy_zone_of_very_many_names(tmp_path: Path) -> None:
    ports = {one: free_port() for one in (*KINDS, "knotd")}
    names = [f"host{number:07}.bad-{number % 1000}.example" for number in range(NAMES)]
    with Resolver(address=ANSWER).running() as upstream, folders(tmp_path) as (folder, runtime):
        source, aside = folder / "c2.txt", tmp_path / "knot"
        aside.mkdir()
        policy_zones = fed(folder, ports)
        written = write_site(
            folder, runtime, [upstream.port], lists=[LIST], sources={"c2.txt": "\n".join(names)}, policy_zones=policy_zones, workers=1
        )
        with running(written) as site:
            customer, other = site.customer("gunma", "nbnet"), site.customer("nbnet")
            ready = ("--config", str(site.site.config), "rpz", "config", "knot")
            wait_until(lambda: site.run(*ready).returncode == 0, deadline=120, what="the policy zones", interval=0.2)
            with beside("knot", site, aside, ports["knotd"]), (aside / "log").open("wb") as log:
                file = aside / "zones" / f"list-c2.{ZONE}.rpz"
                wait_until(file.exists, deadline=300, what="the file that Knot DNS writes", interval=0.1)
                argv = knot(site, aside, ports["knot"], upstream.port)
                began = time.monotonic()
                process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=aside)
                peer = Peer("knot", ports["knot"], aside, process)
                try:
                    wait_until(lambda: peer.gives("127.0.0.1", "up.example", patience=BRIEF) == ANSWER, deadline=300, what="Knot Resolver")
                    took = time.monotonic() - began
                    print(f"\n{NAMES} names, load {os.getloadavg()[0]:.1f}: a file of {file.stat().st_size / 1e6:.0f} MB")
                    print(f"  answers {took:.1f} s after its start, CPU {used(peer):.1f}; {memory(peer)}")
                    before = used(peer)
                    for name in random.Random(1).sample(names, ASKED):
                        assert peer.gives(customer.address, name) == "NXDOMAIN"
                    print(f"  {(used(peer) - before) / ASKED * 1e6:.0f} µs of CPU a blocked name, one at a time")
                    assert peer.gives(customer.address, f"www.{names[-1]}") == "NXDOMAIN"
                    assert peer.gives(customer.address, "bad-1.example") == ANSWER
                    assert peer.gives(other.address, names[0]) == ANSWER
                    for number in range(CHANGES):
                        names.append(f"come-{number}.example")
                        source.write_text("\n".join(names))
                        before = used(peer)
                        site.sekisho("lists", "refresh", "c2")
                        with Pauses(peer, customer.address) as pauses:
                            began = time.monotonic()
                            wait_until(
                                lambda: peer.gives(customer.address, names[-1], patience=BRIEF) == "NXDOMAIN", deadline=300, what="the name"
                            )
                            took = time.monotonic() - began
                        cpu = used(peer) - before
                        print(f"  one name more after {took:.1f} s, no answer for {pauses.longest:.1f}, CPU {cpu:.1f}; {memory(peer)}")
                finally:
                    end(process)
