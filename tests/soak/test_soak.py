"""Memory under half load while everything goes on that goes on in a year: it must not grow.

`make soak` takes SOAK_SECONDS (an hour); `make test` has 25 seconds of it. After a warm-up of a quarter of
the time, in which caches and rings fill, the resident memory of each process may not grow any more.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from support import require_binary

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "25"))
GROWTH = 0.04
"""What may come on top after the warm-up, as a part of it: an allocator's play, not a leak's."""
PLAY = 3 << 20
"""Bytes of it that are allowed to the smallest process."""
LISTS = [
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"},
    {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "domains", "scope": "exact", "sealed": True},
]
SOURCES = {
    "c2.txt": "\n".join(f"c{number}.c2.example" for number in range(5000)),
    "abuse.txt": "\n".join(f"a{number}.abuse.example" for number in range(5000)),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    with (
        Resolver().running() as resolver,
        folders(tmp_path_factory.mktemp("soak")) as (folder, runtime),
        running(write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES), {"SEKISHO_LOG_LEVEL": "warning"}) as one,
    ):
        yield one


@contextlib.contextmanager
def dnsperf(site: Checkpoint, customer: Customer, names: Path, *how: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A dnsperf that runs, and the file of what it says: a line for each query that times out, which a pipe nobody reads is too small for."""
    argv = [require_binary("dnsperf"), "-s", site.site.host, "-p", str(site.site.port), "-a", customer.address, "-d", str(names)]
    said = names.with_name("dnsperf")
    with said.open("wb") as out, subprocess.Popen([*argv, "-c", "4", "-T", "1", *how], stdout=out, stderr=subprocess.STDOUT) as running:
        try:
            yield running, said
        finally:
            running.terminate()


def figure(words: str, text: str) -> float:
    found = re.search(rf"{words}:\s+([0-9.]+)", text)
    assert found, text
    return float(found.group(1))


def resident(pid: int) -> int:
    """Bytes of a process's own memory and what it maps."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * sum(int(found) for found in re.findall(r"^Rss(?:Anon|File|Shmem):\s+(\d+)", text, re.MULTILINE))


def changes(site: Checkpoint) -> Iterator[None]:
    """What operators and customers do, one act a step: nothing is left of a round when it is over."""
    customers = [site.customer("gunma", "nbnet") for _ in range(20)]
    for turn in itertools.count():
        one = customers[turn % len(customers)]
        site.api.post("/v1/optouts", customer=one.id, list="c2")
        yield
        record = {"id": one.id, "terms": ["gunma"] if turn % 2 else ["gunma", "nbnet"], "prefixes": [one.address]}
        site.api.post("/v1/customers", record=record, replace=True)
        yield
        site.api.post("/v1/exceptions", list="c2", name=f"c{turn % 50}.c2.example")
        yield
        site.api.delete("/v1/exceptions", list="c2", name=f"c{turn % 50}.c2.example")
        site.api.delete("/v1/optouts", customer=one.id, list="c2")
        yield
        site.api.post("/v1/reload")
        site.api.get("/v1/status")
        site.metrics_text()
        yield


def test_memory_does_not_grow_under_half_load(site: Checkpoint, tmp_path: Path) -> None:
    asker = site.customer("gunma", "nbnet", exempt=["gunma/19-2", "nbnet/22-2-5"])
    names = tmp_path / "names"
    harmless = [f"w{number}.harmless.example A" for number in range(3000)]
    listed = [f"c{number}.c2.example A" for number in range(0, 5000, 10)] + [f"a{number}.abuse.example A" for number in range(0, 5000, 50)]
    names.write_text("\n".join(itertools.chain(harmless, listed)) + "\n")
    with dnsperf(site, asker, names, "-n", "2", "-q", "50") as (
        first,
        _,
    ):  # fills the cache, which the resolver of a test takes a while for
        first.wait()
    with dnsperf(site, asker, names, "-l", "3") as (full, said):
        full.wait()
        most = figure("Queries per second", said.read_text())
    pids = {"control plane": site.pid(CONTROL), "plane": site.pid(PLANE), "supervisor": site.supervisor.pid}
    samples: dict[str, list[int]] = {name: [] for name in pids}
    acts = 0
    with dnsperf(site, asker, names, "-l", f"{SECONDS:.0f}", "-Q", f"{most / 2:.0f}") as (half, said):
        began = time.monotonic()
        doing = changes(site)
        while half.poll() is None:
            next(doing)
            acts += 1
            for name, pid in pids.items():
                samples[name].append(resident(pid))
            time.sleep(max(0.1, min(5.0, SECONDS / 240)))  # the time between two samples is part of what is measured
        text = said.read_text()
        took = time.monotonic() - began
    print(f"\n{took:.0f} s at {most / 2:.0f} queries/s, half of what this machine takes; {acts} acts")
    grown = {}
    for name, found in samples.items():
        quarter = max(1, len(found) // 4)
        warm, end = statistics.median(found[quarter : 2 * quarter]), statistics.median(found[-quarter:])
        print(f"  {name:14} start {found[0] >> 20:5} MiB   warm {warm / 2**20:7.1f}   end {end / 2**20:7.1f}   {end / warm - 1:+.2%}")
        if end > warm + max(GROWTH * warm, PLAY):
            grown[name] = (warm, end)
    assert not grown, f"resident memory grew: {grown}"
    assert figure("Queries completed", text) > 0.99 * figure("Queries sent", text)
    assert pids == {"control plane": site.pid(CONTROL), "plane": site.pid(PLANE), "supervisor": site.supervisor.pid}, (
        "nothing was restarted"
    )
