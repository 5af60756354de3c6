"""From `sekisho run` to the first answer: of the demo's size, and with a million names from compiled state and from text.
And from the `kill -9` of a plane with a million names and 100,000 customers to the next one's first answer.

Every start is of a machine that was booted: the runtime folder is empty, the compile cache is not. A
query goes out again and again from before the start; the first answer must be the blocked one.
Not collected by default; `make bench` runs it and prints the figures.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rcode
import pytest

import support
from bench import contenders, names
from bench.load import Load
from bench.settings import NAMES, RATE, RUNS, pick
from bench.test_compare import LOST, START, rcode_of
from bench.test_growth import asked, cpus
from sekisho.app.demo import running_upstream
from sekisho.app.demo_site import BOTH, C2_LIST, C2_NAME, OPTING_OUT, DemoSite, make_folders, write_site
from sekisho.cli.client import Client
from sekisho.drivers.notify import NotifyChannel
from sekisho.drivers.processes import spawn

DEATHS = pick(9, 3)
PATIENCE = 120.0
"""Seconds one start may take at most; the very first of a version compiles."""
_EVERY = 0.002
"""Seconds between two queries."""
_READY = b"sekisho-plane: ready"


@dataclass(frozen=True)
class Start:
    """One start: seconds until the first blocked answer and until both processes were ready, CPU seconds until then."""

    answered: float
    ready: float
    cpu: float


def cpu_of(pids: list[int]) -> float:
    """CPU seconds of all threads of the processes, in user and kernel mode."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def started(site: DemoSite, wanted: dict[str, bool]) -> Iterator[Start]:
    """`sekisho run` in an empty runtime folder, timed; `wanted` says of each source address whether C2_NAME is blocked for it."""
    for left in site.runtime.iterdir():
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
    command = (sys.executable, "-P", "-m", "sekisho.cli.main", "--config", str(site.config), "run")
    with contextlib.ExitStack() as stack:
        channel = stack.enter_context(NotifyChannel())
        log = stack.enter_context((site.folder / "log").open("wb"))
        clients = {source: stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for source in wanted}
        for source, client in clients.items():
            client.bind((source, 0))
            client.connect((site.host, site.port))
            client.setblocking(False)
        began = time.monotonic()
        pid = spawn(command, {**os.environ, "NOTIFY_SOCKET": channel.address}, output=log.fileno())
        try:
            yield _timed(site, clients, wanted, channel, pid, began)
        finally:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def _timed(
    site: DemoSite, clients: dict[str, socket.socket], wanted: dict[str, bool], channel: NotifyChannel, pid: int, began: float
) -> Start:
    query = dns.message.make_query(C2_NAME, "A").to_wire()
    seen: dict[str, float] = {}
    ready = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(channel.reader, selectors.EVENT_READ)
        for client in clients.values():
            selector.register(client, selectors.EVENT_READ)
        while not ready or len(seen) < len(wanted):
            now = time.monotonic() - began
            assert now < PATIENCE, (site.folder / "log").read_text(errors="replace")
            for source, client in clients.items():
                # Refused: nobody listens yet, or no longer.
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    if source not in seen:
                        client.send(query)
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    answer = dns.message.from_wire(client.recv(4096))
                    seen.setdefault(source, time.monotonic() - began)
                    assert (answer.rcode() == dns.rcode.NXDOMAIN) == wanted[source], f"{source}: {answer}"
            if any(words.get("READY") == "1" for _, words in channel.take()):
                ready = time.monotonic() - began
            selector.select(_EVERY)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return Start(max(seen.values()), ready, cpu_of([pid, *map(int, children)]))


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with running_upstream() as port:
        yield port


@contextlib.contextmanager
def made_site(upstream: int, many: int) -> Iterator[DemoSite]:
    """The demo's site, with `many` names on the C&C list besides the one asked for; nobody is opted out yet."""
    folder, runtime = make_folders()
    try:
        site = write_site(folder, runtime, upstream, (0, 0))
        if many:
            (folder / "names.txt").write_text("".join([*(f"n{number}.example\n" for number in range(many)), f"{C2_NAME}\n"]))
            (folder / "lists.yaml").write_text(
                f"version: 1\nlists:\n  - {{id: {C2_LIST}, category: c2, source: names.txt, format: domains, scope: subtree, answer: nxdomain}}\n"
            )
            text = site.config.read_text()
            site.config.write_text("\n".join('  "lists": "lists.yaml",' if '"lists":' in line else line for line in text.splitlines()))
        yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)


def opt_out(site: DemoSite) -> None:
    """Record one opt-out, and leave the state as a running daemon does."""
    with started(site, {BOTH.address: True, OPTING_OUT.address: True}):
        support.wait_until((site.runtime / "sekishod.sock").exists, what="the API socket")
        Client(site.runtime / "sekishod.sock").post("/v1/optouts", customer=OPTING_OUT.id, list=C2_LIST, by="benchmark")


def shown(what: str, starts: list[Start]) -> str:
    middle = [statistics.median(getattr(one, name) for one in starts) for name in ("answered", "ready", "cpu")]
    spread = f"{min(one.answered for one in starts):.2f}-{max(one.answered for one in starts):.2f}"
    return f"{what}: answered after {middle[0]:.2f} s ({spread}), ready {middle[1]:.2f} s, CPU {middle[2]:.2f} s; median of {len(starts)}"


@pytest.mark.parametrize(("what", "many"), [("demo's size", 0), (f"{NAMES:,} names", NAMES)])
def test_a_start_from_compiled_state_enforces_lists_and_opt_outs_with_its_first_answer(what: str, many: int, upstream: int) -> None:
    starts = []
    with made_site(upstream, many) as site:
        opt_out(site)
        for _run in range(RUNS):
            with started(site, {BOTH.address: True, OPTING_OUT.address: False}) as one:
                starts.append(one)
    print(f"\n{shown(f'{what}, compiled state on disk', starts)}")


def test_a_start_from_text_enforces_the_list_with_its_first_answer(upstream: int) -> None:
    starts = []
    with made_site(upstream, NAMES) as site:
        for _run in range(RUNS):
            shutil.rmtree(site.folder / "state", ignore_errors=True)
            with started(site, {BOTH.address: True, OPTING_OUT.address: True}) as one:
                starts.append(one)
    print(f"\n{shown(f'{NAMES:,} names, from text', starts)}")


@pytest.mark.skipif(len(cpus) < 2, reason="the load needs a CPU of its own; give the machine a second one")
def test_what_is_asked_while_a_plane_is_dead_is_answered_by_the_next(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Queries at a steady rate; the longest wait of an answer is from the death to the next plane's first."""
    blocked, folder = names.blocked_names(NAMES), tmp_path_factory.mktemp("site")
    mix, every = names.questions(blocked, names.allowed_names(), 0.1), names.packed(names.allowed_names())
    with (
        contenders.knot(tmp_path_factory.mktemp("resolver"), cpus[0], "resolver") as resolver,
        contenders.sekisho(folder, f"{cpus[0]},{cpus[-1]}", resolver.port, blocked) as server,
        contextlib.closing(Load(rest=1000)) as load,
    ):
        support.wait_until(lambda: rcode_of(server, blocked[-1]) == dns.rcode.NXDOMAIN, START, "sekisho enforces", 0.1)
        waits, lost, sent = [], 0, 0
        for death in range(1, DEATHS + 1):
            support.wait_until(lambda death=death: (folder / "log").read_bytes().count(_READY) == death, START, "a plane that is ready")  # type: ignore[misc]
            assert load.once(server.port, every).noerror > names.ALLOWED * (1 - LOST)
            support.wait_until(server.is_at_rest, START, "sekisho has nothing left to do")
            run = asked(load, server.port, mix, pick(4.0, 3.0), lambda: os.kill(server.plane, signal.SIGKILL))
            waits.append(float(run.times[-1]) / 1e9)
            lost, sent = lost + run.lost, sent + run.sent
            assert run.nxdomain, "the next plane enforces"
    print(
        f"\n{NAMES:,} names, {contenders.site.CUSTOMERS:,} customers, {RATE:,} queries/s: a plane killed, the longest wait"
        f" {statistics.median(waits):.2f} s ({min(waits):.2f}-{max(waits):.2f}), median of {DEATHS}; lost {lost:,} of {sent:,}"
    )
