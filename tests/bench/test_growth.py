"""What changes while queries come in, and what it costs to be large: reloads, opt-outs, log-ins, a second worker, memory.

Everything that is timed runs beside a load at a fixed rate, whose latency of the same minute without the change is
shown with it. Not collected by default; `make bench` runs it and prints the figures. Larger sites are `test_large.py`'s.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import dns.rcode
import pytest

import support
from bench import contenders, names
from bench.contenders import PLANE, Server
from bench.load import Load, Run
from bench.names import Questions
from bench.settings import NAMES, RATE, pick
from bench.test_compare import START, answer_of, rcode_of
from sekisho.cli.client import Client
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import V4_MAPPED, Prefix

PEOPLE = pick(900_000, 100_000)
RELOADS = pick(50, 10)
CHANGES = 5000
"""Address changes a second."""
SECONDS, ROUNDS = pick((4.0, 5), (2.0, 2))
"""Of a run beside log-ins, and how many there are of each kind."""
cpus = sorted(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(len(cpus) < 2, reason="needs two CPUs")


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    one = Load()
    yield one
    one.close()


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with contenders.knot(tmp_path_factory.mktemp("resolver"), cpus[0], "resolver") as one:
        yield one


@pytest.fixture(scope="module")
def blocked() -> list[str]:
    return names.blocked_names(NAMES)


@contextlib.contextmanager
def enforcing(
    folder: Path, resolver: Server, listed: Sequence[str], cpu: int | str = cpus[-1], patience: float = START, **more: int
) -> Iterator[Server]:
    with contenders.sekisho(folder, cpu, resolver.port, listed, **more) as server:
        support.wait_until(lambda: rcode_of(server, listed[-1]) == dns.rcode.NXDOMAIN, patience, "sekisho enforces", 0.1)
        yield server


def asked(load: Load, port: int, questions: Questions, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Run:
    """A run at the fixed rate on the first CPU, and what is done meanwhile on the others."""
    runs: list[Run] = []

    def ask() -> None:
        os.sched_setaffinity(0, {cpus[0]})
        runs.append(load.paced(port, questions, seconds, RATE))

    thread = threading.Thread(target=ask)
    thread.start()
    meanwhile()
    thread.join()
    return runs[0]


def told(what: str, run: Run) -> str:
    return (
        f"{what}: p50 {run.percentile(0.5):,.0f} us, p99 {run.percentile(0.99):,.0f} us, longest silence {run.silence:.1f} ms,"
        f" lost {run.lost} of {run.sent:,}"
    )


def rss(server: Server) -> dict[str, float]:
    """MiB resident of the plane and of the control plane."""
    found = {}
    for pid in server.pids:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        name = "plane" if PLANE in command else "control" if b"sekisho.app.control" in command else "supervisor"
        found[name] = pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    return found


def test_reloads_and_opt_outs_beside_a_load(
    tmp_path_factory: pytest.TempPathFactory, resolver: Server, load: Load, blocked: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("site")
    one_percent = NAMES // 100
    fresh = [f"new{number}.example" for number in range(one_percent)]
    allowed = names.allowed_names()
    mix = names.questions(blocked[one_percent:], allowed, 0.1)
    with enforcing(folder, resolver, blocked, more=PEOPLE) as server:
        client = Client(folder / "run" / "sekishod.sock")
        load.once(server.port, names.packed(allowed))
        print(f"\n{NAMES:,} names, {contenders.site.CUSTOMERS + PEOPLE:,} customers, {RATE:,} queries/s beside")
        print(told("nothing changes", asked(load, server.port, mix, 4)))
        before = rss(server)

        lists = folder / "lista"
        texts = ["".join(f"{name}\n" for name in blocked), "".join(f"{name}\n" for name in fresh + blocked[one_percent:])]
        took: list[float] = []

        def reload(turn: int) -> None:
            aside = lists.with_suffix(".new")
            aside.write_text(texts[turn % 2])
            aside.rename(lists)
            wanted, probe = (fresh[-1], blocked[0]) if turn % 2 else (blocked[0], fresh[-1])
            began = time.monotonic()
            client.post("/v1/lists/refresh", list="list-a")
            support.wait_until(lambda: rcode_of(server, wanted) == dns.rcode.NXDOMAIN, 30, "the change", 0.002)
            took.append(time.monotonic() - began)
            assert rcode_of(server, probe) == dns.rcode.NOERROR

        for turn in range(1, 4):
            run = asked(load, server.port, mix, 6, lambda turn=turn: reload(turn))  # type: ignore[misc]
            print(told(f"1 % of the names changed, in force after {took[-1]:.2f} s", run))

        acknowledged: list[float] = []

        def opt_out() -> None:
            for number in range(100):
                address = f"127.16.{number}.1"
                customer = f"c{number * 256 + 1}"
                assert rcode_from(server, blocked[-1], address) == dns.rcode.NXDOMAIN
                began = time.monotonic()
                client.post("/v1/optouts", customer=customer, list="list-a", by="benchmark")
                assert rcode_from(server, blocked[-1], address) == dns.rcode.NOERROR, "in force when acknowledged"
                acknowledged.append((time.monotonic() - began) * 1e3)

        run = asked(load, server.port, mix, 4, opt_out)
        line = f"100 opt-outs, each asked for, acknowledged and seen in {statistics.median(acknowledged):.1f} ms (most {max(acknowledged):.1f})"
        print(told(line, run))

        for turn in range(4, 4 + RELOADS):
            reload(turn)
        after = rss(server)
        for name in ("plane", "control"):
            print(f"{name}: {before[name]:.0f} MiB resident, after {RELOADS} reloads {after[name]:.0f} MiB")


def rcode_from(server: Server, name: str, source: str) -> dns.rcode.Rcode | None:
    answer = answer_of(server, name, source)
    return None if answer is None else answer.rcode()


@contextlib.contextmanager
def without_control(server: Server) -> Iterator[None]:
    """The control plane stopped, and the supervisor, which would start it anew when it was silent for a minute."""
    for pid in (
        server.process.pid,
        next(one for one in server.pids if b"sekisho.app.control" in Path(f"/proc/{one}/cmdline").read_bytes()),
    ):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_log_ins_beside_full_load(tmp_path_factory: pytest.TempPathFactory, resolver: Server, load: Load, blocked: list[str]) -> None:
    """The address table changed as log-ins change it: an address becomes another customer's, thousands of times a second.

    Whoever changes it shares a CPU with the generator of the load, which waits for that. So the same changes are made to
    tables no plane reads, in turns: what remains between the two is what log-ins do to queries.
    """
    folder = tmp_path_factory.mktemp("site")
    mix = names.questions(blocked[: NAMES // 10], names.allowed_names(), 0.1)
    with enforcing(folder, resolver, blocked[: NAMES // 10]) as server:
        load.once(server.port, names.packed(names.allowed_names()))
        os.sched_setaffinity(0, {cpus[0]})
        kinds = ("no log-ins", f"{CHANGES:,} log-ins a second, elsewhere", f"{CHANGES:,} log-ins a second")
        runs: dict[tuple[str, str], list[Run]] = {}
        with without_control(server), changing([folder / "run" / "plane", tmp_path_factory.mktemp("elsewhere")]) as order:
            for _ in range(ROUNDS):
                for what, where in zip(kinds, (None, 1, 0), strict=True):
                    for how, ask in (
                        ("full load", lambda: load.full(server.port, mix, SECONDS)),
                        (f"{RATE:,} q/s", lambda: load.paced(server.port, mix, SECONDS, RATE)),
                    ):
                        order.send(where)
                        runs.setdefault((how, what), []).append(ask())
                        made = order.recv()
                        assert where is None or made > CHANGES * SECONDS * 0.8, f"{made} changes are no {CHANGES} a second"
        os.sched_setaffinity(0, set(cpus))
        print()
        for (how, what), found in runs.items():
            p50, p99 = ([run.percentile(part) for run in found] for part in (0.5, 0.99))
            print(
                f"{how}, {what}: p50 {statistics.median(p50):,.0f} us, p99 {statistics.median(p99):,.0f} us ({min(p99):,.0f}-{max(p99):,.0f}),"
                f" lost {sum(run.lost for run in found)} of {sum(run.sent for run in found):,}; median of {ROUNDS}"
            )


@contextlib.contextmanager
def changing(folders: list[Path]) -> Iterator[Connection]:
    """A process with tables in each folder: sent the number of one it makes changes there for SECONDS, for None none; it sends how many."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=change, args=(folders, theirs), daemon=True)
    process.start()
    try:
        assert ours.recv() == "ready"
        yield ours
    finally:
        ours.close()
        process.kill()
        process.join()


def change(folders: list[Path], orders: Connection) -> None:
    base, everyone = V4_MAPPED | contenders.site.BASE, range(contenders.site.CUSTOMERS)
    rows = [CustomerRow(f"c{number}", (Prefix(base + number, 128),), 3, 0, contenders.LIMIT, contenders.LIMIT) for number in everyone]
    writers = [TableWriter(folder) for folder in folders]
    for writer in writers:
        writer.replace_customers(rows, (), 2 * len(rows))
    orders.send("ready")
    while True:
        where = orders.recv()
        orders.send(0 if where is None else log_in(writers[where], CHANGES, SECONDS))


def log_in(writer: TableWriter, rate: int, seconds: float) -> int:
    """Give addresses of a pool to one customer after another, `rate` of them a second; returns how many were given."""
    pool = V4_MAPPED | 0x7FF00000
    began = time.monotonic()
    made = 0
    while (now := time.monotonic()) - began < seconds:
        due = int((now - began) * rate)
        for number in range(made, min(due, made + 100)):
            customer, address = f"d{number % 5000}", Prefix(pool | number % 20000, 128)
            writer.put_customer(CustomerRow(customer, (address,), mask=3, profile=0))
        made = min(due, made + 100)
        time.sleep(0.0005)
    return made


def test_two_workers(tmp_path_factory: pytest.TempPathFactory, resolver: Server, load: Load, blocked: list[str]) -> None:
    """CPU a query of two workers on two CPUs beside that of one, of sekisho and dnsdist; the load takes turns with one of them."""
    listed = blocked[: NAMES // 10]
    allowed = names.allowed_names()
    mix, every = names.questions(listed, allowed, 0.1), names.packed(allowed)
    both = ",".join(map(str, (cpus[0], cpus[-1])))
    with contextlib.ExitStack() as stack:
        servers: dict[tuple[str, int], Server] = {}
        for workers in (1, 2):
            folder = tmp_path_factory.mktemp("site")
            servers["sekisho", workers] = stack.enter_context(enforcing(folder, resolver, listed, both, workers=workers))
            opened = contenders.dnsdist(tmp_path_factory.mktemp("dnsdist"), both, resolver.port, listed, workers)
            servers["dnsdist", workers] = stack.enter_context(opened)
        for server in servers.values():
            support.wait_until(lambda server=server: rcode_of(server, listed[-1]) == dns.rcode.NXDOMAIN, START, "it enforces", 0.1)  # type: ignore[misc]
            load.once(server.port, every)
        costs: dict[tuple[str, int], list[float]] = {key: [] for key in servers}
        for _ in range(pick(6, 2)):
            for key, server in servers.items():
                support.wait_until(server.is_at_rest, 60, f"{key} has nothing left to do")
                before = server.cpu().total
                run = load.full(server.port, mix, 2)
                costs[key].append((server.cpu().total - before) / run.answered * 1e6)
        print()
        for name in ("sekisho", "dnsdist"):
            ratios = [two / one for one, two in zip(costs[name, 1], costs[name, 2], strict=True)]
            one, two = (statistics.median(costs[name, workers]) for workers in (1, 2))
            print(
                f"{name}: {one:.2f} us a query with one worker, {two:.2f} with two: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            )
