"""What large sites cost: ten million names, five million customers, and both together. BENCH_LARGE=1 runs it.

Of each: the start from text and from compiled state, what is resident then and was at most, the CPU a query takes at
full load, and the time from a list of which one name in a hundred is another until it is in force.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dns.rcode
import pytest

import support
from bench import contenders, names
from bench.contenders import PLANE, Server
from bench.load import Load
from bench.names import Questions
from bench.settings import LARGE, RATE, pick
from bench.test_compare import rcode_of
from bench.test_growth import asked, cpus, enforcing, load, resolver, told
from sekisho.cli.client import Client

__all__ = ["load", "resolver"]
PATIENCE = 1200.0
"""Seconds a start may take, and a reload."""
NEEDED = pick(8.0, 2.0)
"""GiB that must be free."""
MANY = pick(10_000_000, 1_000_000)
PEOPLE = pick(4_900_000, 400_000)
"""Customers besides those of every site."""
SECONDS, ROUNDS = 2.0, pick(3, 2)

pytestmark = [
    pytest.mark.skipif(not LARGE, reason=f"takes six minutes and {NEEDED:g} GiB; BENCH_LARGE=1 runs it"),
    pytest.mark.skipif(len(cpus) < 2, reason="needs two CPUs"),
]


class Numbered(Sequence[str]):
    """Names that are made when they are asked for: a list of ten million would be a gigabyte. The first `fresh` are others."""

    def __init__(self, many: int, fresh: int = 0) -> None:
        self._many, self._fresh = many, fresh

    def __len__(self) -> int:
        return self._many

    def __getitem__(self, at):
        at = range(self._many)[at]
        return f"{'new' if at < self._fresh else 'n'}{at}.example"

    def __iter__(self) -> Iterator[str]:
        return (f"{'new' if at < self._fresh else 'n'}{at}.example" for at in range(self._many))


def memory(server: Server) -> str:
    """MiB resident of the plane and the control plane, now and at most."""
    found = {}
    for pid in server.pids:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        title = "plane" if PLANE in command else "control plane" if b"sekisho.app.control" in command else ""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        found[title] = f"{title} {int(lines['VmRSS'].split()[0]) / 1024:,.0f} MiB (most {int(lines['VmHWM'].split()[0]) / 1024:,.0f})"
    return ", ".join(text for title, text in sorted(found.items()) if title)


def available() -> float:
    """GiB the kernel could give without swapping."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / (1 << 20)


@pytest.mark.parametrize(("listed", "people"), [(MANY, 0), (MANY // 10, PEOPLE), (MANY, PEOPLE)])
def test_what_large_sites_cost(tmp_path_factory: pytest.TempPathFactory, resolver: Server, load: Load, listed: int, people: int) -> None:
    if available() < NEEDED:
        pytest.skip(f"{available():.1f} GiB are free, {NEEDED:g} are needed")
    folder = tmp_path_factory.mktemp("site")
    everything, both = Numbered(listed), f"{cpus[0]},{cpus[-1]}"
    print(f"\n{listed:,} names, {contenders.site.CUSTOMERS + people:,} customers; load {os.getloadavg()[0]:.1f}")
    began = time.monotonic()
    with enforcing(folder, resolver, everything, both, PATIENCE, more=people) as server:
        print(f"from text: in force after {time.monotonic() - began:.1f} s, {memory(server)}", flush=True)
    began = time.monotonic()
    with enforcing(folder, resolver, everything, both, PATIENCE, more=people) as server:
        print(f"from compiled state: in force after {time.monotonic() - began:.1f} s, {memory(server)}", flush=True)
        client = Client(folder / "run" / "sekishod.sock")
        support.wait_until((folder / "run" / "sekishod.sock").exists, PATIENCE, "the daemon")
        support.wait_until(server.is_at_rest, PATIENCE, "sekisho has loaded everything")
        print(f"at rest after {time.monotonic() - began:.1f} s, {memory(server)}", flush=True)
        show_queries(server, load, everything)
        show_reload(server, load, client, folder / "lista", everything)
        print(f"after the reload: {memory(server)}", flush=True)


def show_queries(server: Server, load: Load, everything: Sequence[str]) -> None:
    """CPU a query at full load, all processes: of allowed names from the cache, and of blocked ones alone."""
    allowed = names.allowed_names()
    load.once(server.port, names.packed(allowed))
    for mix in ("allowed", "blocked"):
        asked_for: Questions = names.questions(everything, allowed, names.MIXES[mix])
        costs = []
        for _ in range(ROUNDS):
            support.wait_until(server.is_at_rest, PATIENCE, "sekisho has nothing left to do")
            before = server.cpu()
            run = load.full(server.port, asked_for, SECONDS)
            after = server.cpu()
            costs.append(((after.total - before.total) / run.answered * 1e6, (after.path - before.path) / run.answered * 1e6))
        every, path = (sorted(column) for column in zip(*costs, strict=True))
        print(
            f"all {mix}: {statistics.median(every):.2f} us CPU a query ({every[0]:.2f}-{every[-1]:.2f}),"
            f" of it the plane {statistics.median(path):.2f} ({path[0]:.2f}-{path[-1]:.2f})",
            flush=True,
        )


def show_reload(server: Server, load: Load, client: Client, lists: Path, everything: Sequence[str]) -> None:
    """One name in a hundred is another, while queries come in."""
    some = len(everything) // 100
    fresh = Numbered(len(everything), some)
    mix = names.questions(everything, names.allowed_names(), 0.1)
    aside = lists.with_suffix(".new")
    with aside.open("w") as out:
        out.writelines(f"{name}\n" for name in fresh)
    aside.rename(lists)
    took: list[float] = []

    def reload() -> None:
        began = time.monotonic()
        client.post("/v1/lists/refresh", list="list-a")
        support.wait_until(lambda: rcode_of(server, fresh[some - 1]) == dns.rcode.NXDOMAIN, PATIENCE, "the change", 0.01)
        took.append(time.monotonic() - began)

    run = asked(load, server.port, mix, 30.0, reload)
    assert rcode_of(server, everything[0]) == dns.rcode.NOERROR
    print(told(f"1 % of the names replaced beside {RATE:,} queries/s: in force after {took[0]:.1f} s", run), flush=True)
