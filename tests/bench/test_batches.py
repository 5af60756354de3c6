"""How a worker adapts to the load: the packets a system call takes, and what looking on before it sleeps (`busy_poll`) costs and gives.

The desk has room for a batch of 64. How many come at once is what came in while the worker was at those before: nothing
else adapts. System calls are counted by strace, which slows each, so that batches under it are rather larger than they are;
how often the worker went to sleep for a query is counted without it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.rcode
import pytest

import support
from bench import contenders, names
from bench.contenders import Server
from bench.load import Load, Run
from bench.names import Questions
from bench.settings import RATE, ROUNDS, SECONDS
from bench.test_compare import LOST, START, cpus, load, rcode_of

__all__ = ["load"]
NAMES = 10_000
RATES = (RATE, 20_000, 50_000, 0)
"""Queries a second; 0: full load."""
POLLS = ("0s", "50us", "250us")
CALLS = ("recvmmsg", "sendmmsg", "epoll_wait")

pytestmark = pytest.mark.skipif(len(cpus) < 2, reason="a server and the load on it need a CPU each; give the machine a second one")


@pytest.fixture(scope="module")
def blocked() -> list[str]:
    return names.blocked_names(NAMES)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, blocked: list[str], load: Load) -> Iterator[dict[str, Server]]:
    """One for each of POLLS, all on the last CPU; the others sleep while one is asked."""
    with contextlib.ExitStack() as stack:
        resolver = stack.enter_context(contenders.knot(tmp_path_factory.mktemp("resolver"), cpus[0], "resolver"))
        found = {
            poll: stack.enter_context(contenders.sekisho(tmp_path_factory.mktemp("site"), cpus[-1], resolver.port, blocked, busy_poll=poll))
            for poll in POLLS
        }
        every = names.packed(names.allowed_names())
        for poll, one in found.items():
            support.wait_until(lambda one=one: rcode_of(one, blocked[-1]) == dns.rcode.NXDOMAIN, START, f"{poll} enforces", 0.1)  # type: ignore[misc]
            warm = load.once(one.port, every)
            assert warm.noerror > names.ALLOWED * (1 - LOST), f"{warm.noerror} of {names.ALLOWED} allowed names answered"
        yield found


@pytest.fixture(scope="module")
def mix(blocked: list[str]) -> Questions:
    return names.questions(blocked, names.allowed_names(), 0.1)


def ask(load: Load, server: Server, questions: Questions, rate: int) -> Run:
    support.wait_until(server.is_at_rest, START, "sekisho has nothing left to do")
    return load.paced(server.port, questions, SECONDS, rate) if rate else load.full(server.port, questions, SECONDS)


def sleeps(pid: int) -> int:
    """How often the process' threads have waited for something, by the kernel's count."""
    return sum(
        int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


@contextlib.contextmanager
def counted(pid: int, folder: Path) -> Iterator[dict[str, int]]:
    """Calls that brought or took something while the block ran, by name; there once it has ended."""
    table, log = folder / "calls", folder / "strace"
    # On the CPU of what it stops, which need not wait then for the generator to let it have the other.
    argv = [
        "taskset",
        "-c",
        str(cpus[-1]),
        support.require_binary("strace"),
        "-f",
        "-c",
        "-U",
        "calls,errors,name",
        "-e",
        f"trace={','.join(CALLS)}",
        "-o",
        str(table),
    ]
    calls: dict[str, int] = {}
    with log.open("wb") as said:
        process = subprocess.Popen([*argv, "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        support.wait_until(lambda: "attached" in log.read_text() or process.poll() is not None, 30, "strace")
        assert process.poll() is None, log.read_text()
        yield calls
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    for calls_made, errors, name in re.findall(r"^\s*(\d+)\s+(\d+)?\s*(\w+)$", table.read_text(), re.MULTILINE):
        if name in CALLS:
            calls[name] = int(calls_made) - int(errors or 0)


def test_the_packets_a_system_call_takes(servers: dict[str, Server], load: Load, mix: Questions, tmp_path: Path) -> None:
    server = servers["0s"]
    pid = server.plane
    print(f"\nload average {os.getloadavg()[0]:.1f}")
    print(
        "| offered | answered/s | sleeps a query | under strace: answered/s | packets a recvmmsg | packets a sendmmsg | epoll_wait a query |"
    )
    print("|---|---|---|---|---|---|---|")
    for rate in RATES:
        before = sleeps(pid)
        free = ask(load, server, mix, rate)
        slept = sleeps(pid) - before
        support.wait_until(server.is_at_rest, START, "sekisho has nothing left to do")
        with counted(pid, tmp_path) as calls:
            traced = load.paced(server.port, mix, SECONDS, rate) if rate else load.full(server.port, mix, SECONDS)
        assert calls.get("recvmmsg"), f"strace counted {calls}"
        cells = [
            f"{rate:,} q/s" if rate else "full load",
            f"{free.answered / free.seconds:,.0f}",
            f"{slept / free.answered:.2f}",
            f"{traced.answered / traced.seconds:,.0f}",
            f"{traced.answered / calls['recvmmsg']:.1f}",
            f"{traced.answered / calls['sendmmsg']:.1f}",
            f"{calls['epoll_wait'] / traced.answered:.2f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def test_what_looking_on_before_sleeping_costs_and_gives(servers: dict[str, Server], load: Load, mix: Questions) -> None:
    found: dict[str, list[tuple[float, float, float, float]]] = {poll: [] for poll in POLLS}
    lost = dict.fromkeys(POLLS, 0)
    for turn in range(ROUNDS):
        for poll in POLLS[turn % len(POLLS) :] + POLLS[: turn % len(POLLS)]:
            server = servers[poll]
            support.wait_until(server.is_at_rest, START, "sekisho has nothing left to do")
            before = server.cpu()
            run = load.paced(server.port, mix, SECONDS, RATE)
            used = server.cpu().total - before.total
            found[poll].append((run.percentile(0.5), run.percentile(0.99), used / run.answered * 1e6, used / run.seconds * 100))
            lost[poll] += run.lost
    print(f"\n{RATE:,} q/s, {ROUNDS} rounds of {SECONDS:g} s in turns; load average {os.getloadavg()[0]:.1f}")
    print("| busy_poll | p50, µs | p99, µs | CPU a query, µs | of a CPU | lost |")
    print("|---|---|---|---|---|---|")
    for poll, rounds in found.items():
        p50, p99, cost, share = (f"{statistics.median(one):,.1f} ({min(one):,.1f}-{max(one):,.1f})" for one in zip(*rounds, strict=True))
        print(f"| {poll} | {p50} | {p99} | {cost} | {share} % | {lost[poll]} |")
