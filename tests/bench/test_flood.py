"""A flood by one client: fresh random names as fast as a thread can send them, while all others ask at their steady rate.

Beside dnsdist on the same work, in turn, in one run. Both are told to drop what one client asks above LIMIT a second. The
flood and the others' queries come from the first CPU, where the resolver is too; the server has the last one to itself.
What the others lose and wait is shown without the flood and with it, so that what the generator costs itself is in both.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import dns.rcode
import pytest

import support
from bench import contenders, names
from bench.contenders import Server
from bench.load import Load, Run
from bench.names import Questions
from bench.settings import RATE, pick
from bench.test_compare import LOST, START, answer_of, cpus, rcode_of

NAMES = 10_000
LIMIT = 100
"""Queries a second of one client that are dealt with; the rest is dropped."""
SECONDS = pick(4.0, 2.0)
ROUNDS = pick(5, 2)
FLOODER = int(ipaddress.IPv4Address("127.99.0.1"))
BLOCKED = 0.02
REST = 20
"""Microseconds the others' generator sleeps at most: it leaves the CPU to the flood."""

pytestmark = pytest.mark.skipif(len(cpus) < 2, reason="a server and the load on it need a CPU each; give the machine a second one")


@dataclass(frozen=True)
class Figure:
    server: str
    alone: Run
    beside: Run
    """The others' queries without the flood, and with it."""
    flood: Run
    busy: float
    path: float
    """Shares of a CPU the server took under the flood: all its processes, and the one that answers."""


@pytest.fixture(scope="module")
def blocked() -> list[str]:
    return names.blocked_names(NAMES)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, blocked: list[str]) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        resolver = stack.enter_context(contenders.knot(tmp_path_factory.mktemp("resolver"), cpus[0], "resolver"))
        found = [
            stack.enter_context(one(tmp_path_factory.mktemp(one.__name__), cpus[-1], resolver.port, blocked, limit=LIMIT))
            for one in (contenders.sekisho, contenders.dnsdist)
        ]
        for one in found:
            support.wait_until(lambda one=one: rcode_of(one, blocked[-1]) == dns.rcode.NXDOMAIN, START, f"{one.title} enforces", 0.1)  # type: ignore[misc]
        yield found


@pytest.fixture
def first_cpu() -> Iterator[None]:
    """Threads begun within are on the first CPU."""
    os.sched_setaffinity(0, {cpus[0]})
    yield
    os.sched_setaffinity(0, set(cpus))


@pytest.mark.usefixtures("first_cpu")
def test_a_flood_by_one_client_costs_the_others_nothing(servers: list[Server], blocked: list[str]) -> None:
    allowed = names.allowed_names()
    asked, every = names.questions(blocked, allowed, BLOCKED), names.packed(allowed)
    draw = random.Random(11)
    fresh = names.packed([f"{draw.getrandbits(64):x}.flood.example" for _ in range(1 << 17)])
    with contextlib.closing(Load(rest=REST)) as others, contextlib.closing(Load(1, first=FLOODER)) as flooder:
        figures = []
        for server in servers:
            assert answer_of(server, f"x.{blocked[0]}") is not None
            # Twice, by as many clients that none meets the limit: what the others ask is in the cache then.
            for _ in range(2):
                warm = others.once(server.port, every)
            assert warm.noerror > names.ALLOWED * (1 - LOST), f"{server.title} answered {warm.noerror} of {names.ALLOWED} allowed names"
        for turn in range(ROUNDS):
            order = servers[turn % 2 :] + servers[: turn % 2]
            figures += [measure(server, others, flooder, asked, fresh) for server in order]
    show(servers, figures)
    for one in figures:
        assert one.flood.answered < LIMIT * (SECONDS + 4) * 1.5, f"{one.server} answered {one.flood.answered} of the flood"


def measure(server: Server, others: Load, flooder: Load, asked: Questions, fresh: Questions) -> Figure:
    support.wait_until(server.is_at_rest, 60.0, f"{server.title} has nothing left to do")
    alone = others.paced(server.port, asked, SECONDS, RATE)
    floods: list[Run] = []
    # It begins before and ends after what is measured beside it.
    thread = threading.Thread(target=lambda: floods.append(flooder.flood(server.port, fresh, SECONDS + 1.0)))
    before, began = server.cpu(), time.monotonic()
    thread.start()
    beside = others.paced(server.port, asked, SECONDS, RATE)
    after, ended = server.cpu(), time.monotonic()
    thread.join()
    total, path = ((late - early) / (ended - began) for early, late in zip(before[:2], after[:2], strict=True))
    return Figure(server.title, alone, beside, floods[0], total, path)


def show(servers: list[Server], figures: list[Figure]) -> None:
    print(
        f"\n{dt.datetime.now(dt.UTC).date()}; {len(cpus)} CPUs; load average {os.getloadavg()[0]:.1f}; {'; '.join(one.version for one in servers)}"
    )
    print(f"{ROUNDS} rounds of {SECONDS:g} s; limit {LIMIT} q/s a client; the others {RATE} q/s, {BLOCKED:.0%} of them blocked")
    print(
        "| server | flood q/s | of it answered q/s | others lost, alone | beside the flood | p50 / p99 alone, µs | beside the flood | CPU, all / path |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for server in servers:
        mine = [one for one in figures if one.server == server.title]
        cells = [
            middle(one.flood.sent / (SECONDS + 1.0) for one in mine),
            middle(one.flood.answered / (SECONDS + 1.0) for one in mine),
            *(f"{sum(run.lost for run in runs):,} of {sum(run.sent for run in runs):,}" for runs in both(mine)),
            *(f"{middle(run.percentile(0.5) for run in runs)} / {middle(run.percentile(0.99) for run in runs)}" for runs in both(mine)),
            f"{statistics.median(one.busy for one in mine):.0%} / {statistics.median(one.path for one in mine):.0%}",
        ]
        print(f"| {server.title} | {' | '.join(cells)} |")


def both(figures: list[Figure]) -> tuple[list[Run], list[Run]]:
    return [one.alone for one in figures], [one.beside for one in figures]


def middle(values: Iterator[float]) -> str:
    """The median, and the lowest and highest round."""
    found = sorted(values)
    return f"{statistics.median(found):,.0f} ({found[0]:,.0f}-{found[-1]:,.0f})"
