"""The checkpoint beside dnsdist, Unbound and Knot DNS on the same work, in one run. README.md says how, and shows figures.

Not collected by default: `make bench`. Nothing timed is asserted but one ratio within the run.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

import support
from bench import contenders, names, report
from bench.contenders import Server
from bench.load import Load, Run
from bench.names import Questions
from bench.settings import JSON, NAMES, RATE, ROUNDS, SECONDS

START = 300.0
REST = 120.0
CLIENT = "127.16.0.7"
LIMIT = 2.0
"""Times the CPU of Knot DNS, which enforces nothing, that the plane may take in the quietest round: above this
something was lost that had been won."""
LOST = 0.01
"""Share of queries that may be lost at full load, where only so many are outstanding. What a pace loses is shown."""

cpus = sorted(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(len(cpus) < 2, reason="a server and the load on it need a CPU each; give the machine a second one")


@pytest.fixture(scope="module")
def blocked() -> list[str]:
    return names.blocked_names(NAMES)


@pytest.fixture(scope="module")
def allowed() -> list[str]:
    return names.allowed_names()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, blocked: list[str]) -> Iterator[list[Server]]:
    """All contenders on the last CPU, the resolver behind them on the first."""
    with contextlib.ExitStack() as stack:

        def start(open_one: Callable[..., contextlib.AbstractContextManager[Server]], *more: object, cpu: int = cpus[-1]) -> Server:
            return stack.enter_context(open_one(tmp_path_factory.mktemp(open_one.__name__), cpu, *more))

        resolver = start(contenders.knot, "resolver", cpu=cpus[0])
        found = [start(one, resolver.port, blocked) for one in (contenders.sekisho, contenders.dnsdist, contenders.unbound)]
        found.append(start(contenders.knot))
        for one in found:
            wanted = dns.rcode.NXDOMAIN if one.blocks else dns.rcode.NOERROR
            support.wait_until(lambda one=one, wanted=wanted: rcode_of(one, blocked[-1]) == wanted, START, f"{one.title} enforces", 0.1)  # type: ignore[misc]
        yield found


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """The load generator: this process, on the first CPU while it is needed."""
    os.sched_setaffinity(0, {cpus[0]})
    one = Load()
    yield one
    one.close()
    os.sched_setaffinity(0, set(cpus))


def answer_of(server: Server, name: str, source: str = CLIENT) -> dns.message.Message | None:
    with contextlib.suppress(dns.exception.DNSException, OSError):
        return dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=server.port, source=source, timeout=2)
    return None


def rcode_of(server: Server, name: str) -> dns.rcode.Rcode | None:
    answer = answer_of(server, name)
    return None if answer is None else answer.rcode()


def test_a_query_costs_little_more_than_the_kernel_asks_for_it(
    servers: list[Server], load: Load, blocked: list[str], allowed: list[str]
) -> None:
    verify(servers, blocked, allowed)
    mixes = {mix: names.questions(blocked, allowed, share) for mix, share in names.MIXES.items()}
    every = names.packed(allowed)
    for server in servers:
        for _ in range(2):
            warm = load.once(server.port, every)
        assert warm.noerror > names.ALLOWED * (1 - LOST), f"{server.title} answered {warm.noerror} of {names.ALLOWED} allowed names"
    figures = []
    for number in range(ROUNDS):
        turn = number % len(servers)
        for server in servers:
            support.wait_until(server.is_at_rest, REST, f"{server.title} has nothing left to do")
        for mix, questions in mixes.items():
            figures += [measure(load, server, mix, number, questions) for server in servers[turn:] + servers[:turn]]
    show(servers, sorted(figures, key=lambda figure: [server.title for server in servers].index(figure.server)))
    for mix in mixes:
        assert report.ratio(figures, mix, "knotd", "path").low < LIMIT, mix


def verify(servers: list[Server], blocked: list[str], allowed: list[str]) -> None:
    """A name of the list and one below it are blocked, a name above it and any other are answered, for any client."""
    draw = random.Random(7)
    for server in servers:
        for name in [blocked[0], blocked[-1], *draw.sample(blocked, 10)]:
            source = f"127.16.{draw.randrange(256)}.{draw.randrange(1, 255)}"
            for asked in (name, f"www.{name}", f"a.b.{name}"):
                answer = answer_of(server, asked, source)
                assert answer is not None, f"{server.title} is silent"
                assert answer.rcode() == (dns.rcode.NXDOMAIN if server.blocks else dns.rcode.NOERROR), f"{server.title}: {asked}"
        for name in [*draw.sample(allowed, 10), "example", f"x{blocked[3]}"]:
            answer = answer_of(server, name)
            assert answer is not None, f"{server.title} is silent"
            assert [record.to_text() for rrset in answer.answer for record in rrset] == [contenders.ADDRESS], f"{server.title}: {name}"


def measure(load: Load, server: Server, mix: str, number: int, questions: Questions) -> report.Figure:
    """One round of one server: full load, then, when what that left behind is done, a fixed rate."""
    before = server.cpu()
    full = load.full(server.port, questions, SECONDS)
    after = server.cpu()
    exact, path, user, system = (late - early for early, late in zip(before, after, strict=True))
    assert full.lost <= full.sent * LOST, f"{server.title} lost {full.lost} of {full.sent}"
    judge(server, questions, full)
    # The record of a second's hundred thousand blocks is written for seconds after: not work of the queries at the rate.
    support.wait_until(server.is_at_rest, REST, f"{server.title} has nothing left to do")
    rested = server.cpu()
    paced = load.paced(server.port, questions, SECONDS, RATE)
    paced_cpu = server.cpu().total - rested.total
    judge(server, questions, paced)
    cost = exact / full.answered * 1e6
    part = user / max(user + system, 0.01)
    return report.Figure(
        server.title, mix, number, cost, path / full.answered * 1e6, cost * part, cost * (1 - part), full.answered / full.seconds,
        paced_cpu / paced.answered * 1e6, paced.percentile(0.5), paced.percentile(0.99), full.sent + paced.sent, full.lost + paced.lost,
    )  # fmt: skip


def judge(server: Server, questions: Questions, run: Run) -> None:
    """What is measured is the work: as many answers are blocks as were to be, and all others are addresses."""
    share = questions.blocked / len(questions.lengths) if server.blocks else 0.0
    assert run.nxdomain + run.noerror == run.answered, f"{server.title} answered {run.answered - run.nxdomain - run.noerror} otherwise"
    assert abs(run.nxdomain / run.answered - share) < 0.02, f"{server.title} blocked {run.nxdomain} of {run.answered}"


def show(servers: list[Server], figures: list[report.Figure]) -> None:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?"
    )
    about = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{len(cpus)} CPUs, {model}, Linux {platform.release()}, Python {platform.python_version()}",
        "busy": f"load average at the end {os.getloadavg()[0]:.1f}",
        "versions": [server.version for server in servers],
        "names": NAMES,
        "rounds": f"{ROUNDS} of {SECONDS:g} s each way",
    }
    print()
    for key, value in about.items():
        print(f"{key}: {'; '.join(value) if isinstance(value, list) else value}")
    for line in report.table(figures, RATE):
        print(line)
    if JSON is not None:
        report.write_json(JSON, figures, about)
