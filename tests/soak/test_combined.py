"""Everything at once: log-ins, flow records and queries of a million customers, for ten minutes. Memory must not grow, nothing may
be lost that is not counted.

`make soak` takes LOAD_SECONDS (600), LOAD_CUSTOMERS (1000000) and LOAD_SCALE; `make test` has seconds of it with few customers. The full
load is 5,000 accounting packets and 300,000 flow records a second, and half the queries the machine takes when there is nothing else.
What asks, tells and exports shares the machine with what is measured: where all of it together is too much for that, all three
are made less by one factor, which is looked for and printed. LOAD_SCALE=0.5 takes that factor without looking.

Try it out with `LOAD_SECONDS=20 LOAD_CUSTOMERS=100000 pytest -s tests/soak/test_combined.py`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.load import Load, Run
from bench.names import Questions, blocked_names, packed, questions
from bench.site import BASE
from scenarios.harness import Checkpoint, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from sekisho.config.values import Endpoint
from sekisho.drivers.socketdrops import SocketDrops
from support import free_port, wait_until
from support.accountingload import write_sessions
from support.flowload import OCTETS, RECORDS, TELL_EVERY
from support.radius import SECRET

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("LOAD_SECONDS", "5"))
CUSTOMERS = int(os.environ.get("LOAD_CUSTOMERS", "2000"))
SCALE = float(os.environ.get("LOAD_SCALE", "0" if "LOAD_SECONDS" in os.environ else "0.05"))
ACCOUNTING, FLOWS = 5000, 300_000
"""Packets and records a second."""
FACTORS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1)
TRIAL = 15.0
"""Seconds for which a factor is tried."""
REST = 500
"""Microseconds the generator of queries sleeps where it has nothing to do: the others need the CPU."""
GROWTH = 0.04
"""What may come on top after the warm-up, as a part of it: an allocator's play, not a leak's."""
PLAY = 3 << 20
"""Bytes of it that are allowed to the smallest process."""
LISTENER = "RADIUS listener"
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]
LISTED = 100_000
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """The daemon, and the ports it hears of sessions and flows on."""

    checkpoint: Checkpoint
    accounting: int
    flows: int

    def processes(self) -> dict[str, int]:
        control = self.checkpoint.pid(CONTROL)
        found = {"supervisor": self.checkpoint.supervisor.pid, "control plane": control, "plane": self.checkpoint.pid(PLANE)}
        for task in Path(f"/proc/{control}/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"sekisho.drivers.radiuschild" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found[LISTENER] = int(child)
        return found


@dataclass
class Counts:
    """What the daemon says it received, since its start."""

    taken: float
    accounting: float
    """Packets of any outcome."""
    dropped: float
    records: int
    missed: int
    """Flow records that sequence numbers say are missing."""
    flows_dropped: int
    bad: int
    octets: int
    nobody: int
    datagrams: int
    """Of flow records, taken from the socket, whatever was in them."""
    queries: float
    queries_lost: float
    """In the kernel, before the plane."""
    unanswered: float
    """Queries that were received and never answered, counted by why."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Counts:
        flows: dict[str, Any] = checkpoint.api.get("/v1/flows")
        totals = flows["totals"]
        missed = sum(one["lost"] * (RECORDS if one["version"] == "netflow9" else 1) for one in flows["exporters"])
        return cls(
            checkpoint.metric("sekisho_radius_packets_total", outcome="taken"),
            checkpoint.metric("sekisho_radius_packets_total"),
            checkpoint.metric("sekisho_radius_packets_total", outcome="dropped"),
            totals["records"],
            missed,
            totals["dropped"],
            sum(flows["bad"].values()) + totals["early"] + totals["unusable"],
            flows["octets"],
            totals["nobody"],
            totals["packets"],
            checkpoint.metric("sekisho_queries_total"),
            checkpoint.metric("sekisho_queries_lost_total"),
            checkpoint.metric("sekisho_pending_full_total"),
        )


@dataclass
class Result:
    """One run of the three loads, and what the daemon counted of it."""

    scale: float
    accounting: dict[str, float]
    flows: dict[str, float]
    dns: Run
    before: Counts
    after: Counts
    unread: int
    """Answers the kernel had no room for where those who asked read them."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time, by process."""

    def fits(self, seconds: float) -> bool:
        """Whether it was as fast as it was asked to be, and nothing was lost."""
        return (
            self.accounting["seconds"] < seconds * 1.1 + 1
            and not self.accounting["again"]
            and self.after.missed == self.before.missed
            and self.after.dropped == self.before.dropped
            and self.dns.answered > 0.99 * self.dns.sent
        )

    def told(self) -> str:
        sent, flows = self.accounting, self.flows
        return (
            f"  accounting: {sent['answered']:,.0f} of {sent['sent']:,.0f} answered ({sent['answered'] / sent['seconds']:,.0f}/s),"
            f" p50 {sent['p50']:.0f} ms, p99 {sent['p99']:.0f} ms, longest {sent['longest'] / 1e3:.1f} s; {sent['again']:.0f} told again,"
            f" {self.after.dropped - self.before.dropped:.0f} dropped by the kernel\n"
            f"  flows: {self.after.records - self.before.records:,} of {flows['sent']:,.0f} records added"
            f" ({flows['sent'] / flows['seconds']:,.0f}/s), {self.after.missed - self.before.missed:,} counted as missing,"
            f" {self.after.flows_dropped - self.before.flows_dropped:,} datagrams dropped by the kernel\n"
            f"  DNS: {self.dns.answered:,} of {self.dns.sent:,} answered ({self.dns.answered / self.dns.sent:.3%},"
            f" {self.dns.answered / self.dns.seconds:,.0f}/s; {self.after.queries - self.before.queries:,.0f} received,"
            f" {self.after.queries_lost - self.before.queries_lost:,.0f} dropped by the kernel,"
            f" {self.after.unanswered - self.before.unanswered:,.0f} for want of room, {self.unread:,} answers not read, {self.dns.late:,} too late), p50 {self.dns.percentile(0.5):,.0f} us, p99 {self.dns.percentile(0.99):,.0f} us\n"
            f"  CPU: {', '.join(f'{name} {used:.2f}' for name, used in self.cpu.items())}; load average {os.getloadavg()[0]:.1f}"
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    accounting, flows = free_port(), free_port()
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("load")) as (folder, runtime):
        (folder / "secret").write_bytes(SECRET)
        with (folder / "customers.csv").open("w") as out:
            out.write("id,terms,consent\n")
            out.writelines(f"c{number},gunma nbnet,2021-02-01@2024-04-01\n" for number in range(CUSTOMERS))
        (folder / "state").mkdir()
        write_sessions(folder / "state" / "sessions.db", CUSTOMERS, BASE)
        site = write_site(
            folder,
            runtime,
            [resolver.port],
            lists=LISTS,
            sources={"c2.txt": "\n".join(blocked_names(LISTED))},
            customers="customers.csv",
            radius={
                "listen": [f"127.0.0.1:{accounting}"],
                "nas": [{"id": "bras", "address": "127.0.0.1", "secret_file": "secret", "message_authenticator": True}],
            },
            flows={"listen": [f"127.0.0.1:{flows}"], "exporters": ["127.0.0.1"]},
            cache={"mib": 64},
        )
        began = time.monotonic()
        with running(site, {"SEKISHO_LOG_LEVEL": "warning"}) as checkpoint:
            one = Place(checkpoint, accounting, flows)
            wait_until(lambda: checkpoint.api.get("/v1/flows")["listening"], 300, "the collector of flows")
            wait_until(lambda: LISTENER in one.processes(), 60, "the listener for RADIUS")
            print(f"\n{CUSTOMERS:,} customers with a session each, ready after {time.monotonic() - began:.1f} s")
            yield one


def resident(pid: int) -> int:
    """Bytes of a process's own memory and what it maps."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("RssAnon", "RssFile", "RssShmem")))


def cpu(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def generator(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that makes load, and says in a line of JSON what it did."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in ("tests", "daemon"))}
    argv = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def together(
    place: Place, load: Load, asked: Questions, most: float, scale: float, seconds: float, meanwhile: Callable[[], None] = lambda: None
) -> Result:
    """All three loads at a factor for so many seconds; `meanwhile` is called again and again."""
    checkpoint, base = place.checkpoint, ipaddress.IPv4Address(BASE)
    before, pids = Counts.of(checkpoint), place.processes()
    used = {name: cpu(pid) for name, pid in pids.items()}
    runs: list[Run] = []
    own = [Endpoint("0.0.0.0", load.port)]
    reading = SocketDrops()
    unread = reading.look(own)
    asking = threading.Thread(target=lambda: runs.append(load.paced(checkpoint.site.port, asked, seconds, max(1, int(most / 2 * scale)))))
    again = f"{time.monotonic_ns():x}"
    with (
        generator("support.accountingload", place.accounting, ACCOUNTING * scale, seconds, CUSTOMERS, base, again) as accounting,
        generator("support.flowload", place.flows, FLOWS * scale, seconds, CUSTOMERS, base) as flows,
    ):
        asking.start()
        while asking.is_alive() or accounting.poll() is None or flows.poll() is None:
            meanwhile()
            asking.join(0.1)
        said = [json.loads(one.communicate()[0] or "{}") for one in (accounting, flows)]
        assert accounting.returncode == flows.returncode == 0, said
    ended = {name: cpu(pid) - used[name] for name, pid in pids.items()}

    def counted() -> bool:
        now = Counts.of(checkpoint)
        everything = now.accounting - before.accounting >= said[0]["sent"] + said[0]["again"]
        everything &= now.datagrams + now.flows_dropped - before.datagrams - before.flows_dropped >= said[1]["datagrams"]
        everything &= now.queries + now.queries_lost - before.queries - before.queries_lost >= runs[0].sent
        return everything and now.octets - before.octets >= (now.records - before.records - (now.nobody - before.nobody)) * OCTETS

    with contextlib.suppress(AssertionError):  # what is missing then is told by the figures
        wait_until(counted, 30, "all is counted", 0.5)
    return Result(scale, said[0], said[1], runs[0], before, Counts.of(checkpoint), reading.look(own) - unread, ended)


@pytest.fixture
def load() -> Iterator[Load]:
    with contextlib.closing(Load(min(CUSTOMERS, 100_000), REST)) as one:
        yield one


def test_log_ins_flows_and_queries_together_are_answered_or_counted_and_memory_does_not_grow(place: Place, load: Load) -> None:
    checkpoint, port = place.checkpoint, place.checkpoint.site.port
    allowed = [f"w{number}.harmless.example" for number in range(3000)]
    asked = questions(blocked_names(LISTED), allowed, 0.1)
    load.once(port, packed(allowed))  # fills the cache, which the resolver of a test takes a while for
    alone = [run.answered / run.seconds for run in (load.full(port, asked, min(2.0, SECONDS / 4)) for _ in range(5))]
    most = max(alone)  # what others on the machine left of it is the least that can be said
    said = ", ".join(f"{one:,.0f}" for one in sorted(alone))
    print(f"DNS alone: {said} queries/s, half of the most {most / 2:,.0f}; load average {os.getloadavg()[0]:.1f}")
    scale = SCALE
    for factor in FACTORS if not SCALE else ():
        tried = together(place, load, asked, most, factor, TRIAL)
        print(f"factor {factor:g}, {TRIAL:g} s: {'fits' if tried.fits(TRIAL) else 'too much'}\n{tried.told()}")
        if tried.fits(TRIAL):
            scale = factor
            break
    assert scale, "not even the smallest load fits"

    pids = place.processes()
    samples: dict[str, list[int]] = {name: [] for name in pids}
    sampled = 0.0

    def look() -> None:
        nonlocal sampled
        if time.monotonic() - sampled < max(0.2, min(5.0, SECONDS / 120)):
            return
        sampled = time.monotonic()
        for name, pid in pids.items():
            samples[name].append(resident(pid))
        customer = f"c{len(samples['plane']) % CUSTOMERS}"
        checkpoint.api.post("/v1/optouts", customer=customer, list="c2")
        checkpoint.api.delete("/v1/optouts", customer=customer, list="c2")
        checkpoint.api.get("/v1/status")

    result = together(place, load, asked, most, scale, SECONDS, look)
    print(f"factor {scale:g} of the full load, {SECONDS:g} s, {len(samples['plane'])} opt-outs and returns\n{result.told()}")
    grown = {}
    for name, found in samples.items():
        quarter = max(1, len(found) // 4)
        warm, end = statistics.median(found[quarter : 2 * quarter]), statistics.median(found[-quarter:])
        print(f"  {name:15} start {found[0] >> 20:5} MiB   warm {warm / 2**20:7.1f}   end {end / 2**20:7.1f}   {end / warm - 1:+.2%}")
        if end > warm + max(GROWTH * warm, PLAY):
            grown[name] = (warm, end)

    told, before, after = result.accounting, result.before, result.after
    assert told["answered"] == told["sent"], "every request was answered in the end"
    assert after.accounting - before.accounting == told["sent"] + told["again"], "every packet sent is among those counted"
    assert after.taken - before.taken >= told["sent"]
    missing = result.flows["sent"] - (after.records - before.records)
    templates = 2 * (SECONDS / TELL_EVERY + 2)
    assert missing <= after.missed - before.missed <= missing + RECORDS * templates, "every record was added, or is counted as missing"
    assert after.bad == before.bad
    added = after.records - before.records - (after.nobody - before.nobody)
    assert after.octets - before.octets == added * OCTETS, "what was added is what customers have"
    assert after.nobody - before.nobody < 0.01 * result.flows["sent"], "but of lines between two log-ins"
    taken, dropped = after.datagrams - before.datagrams, after.flows_dropped - before.flows_dropped
    assert taken + dropped == result.flows["datagrams"], "every datagram was taken, or is counted as dropped"
    received, lost = after.queries - before.queries, after.queries_lost - before.queries_lost
    assert received + lost == result.dns.sent, "every query was received, or is counted as lost"
    silent = received - result.dns.answered
    counted = after.unanswered - before.unanswered + result.unread + result.dns.late
    assert silent <= counted, "every query received was answered, or it is counted why not"
    assert place.processes() == pids, "nothing was restarted"
    assert not grown, f"resident memory grew: {grown}"
