"""`make demo`: the main job on an embedded default, asked through real sockets and told readably.

Starts the built-in upstream, writes a site into a fresh folder, runs `sekisho run` on it and asks
as each customer would. With a terminal it stays up until interrupted; without one it exits 0 when
every expectation held and 1 otherwise. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sekisho.app.demo_ask import Answer, ask, flood
from sekisho.app.demo_site import (
    BOTH,
    C2_LIST,
    C2_NAME,
    CHILD_ABUSE_LIST,
    CHILD_ABUSE_NAME,
    CUSTOMERS,
    FLOODING,
    GUNMA_ALONE,
    HARMLESS_NAME,
    NBNET_ALONE,
    OPTING_OUT,
    STRANGER,
    UNCONSENTED,
    DemoCustomer,
    DemoSite,
    make_folders,
    write_site,
)
from sekisho.app.upstream import Upstream
from sekisho.drivers.notify import NotifyChannel
from sekisho.drivers.processes import spawn
from sekisho.drivers.site import load_site
from sekisho.model.clauses import BudgetRule
from sekisho.terms.entitlement import profile_of

START_DEADLINE = 900.0
"""Seconds until both processes must be ready: a first start compiles."""


INTERRUPTED = 130
"""Exit code of a run that was stopped before it came to its end."""


class DemoError(Exception):
    """The demo cannot go on; the text says why."""


class Demo:
    """One run: what was expected, what was got."""

    def __init__(self, site: DemoSite) -> None:
        self.site = site
        self.failed = 0

    def sekisho(self, *arguments: str) -> dict[str, Any]:
        """The operator's own command, with its JSON answer."""
        argv = [sys.executable, "-P", "-m", "sekisho.cli.main", "--config", str(self.site.config), "--json", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise DemoError(f"sekisho {' '.join(arguments)} failed: {(done.stdout + done.stderr).strip()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def expect(self, condition: bool, text: str) -> None:
        if not condition:
            self.failed += 1
        print(f"  {'ok ' if condition else 'NOT'} {text}", flush=True)

    def ask(self, customer: DemoCustomer, name: str, clause: str | None, because: str) -> None:
        """Ask as the customer; `clause` is the one that must block it, None if it must be answered."""
        got = ask(self.site.host, self.site.port, customer.address, name)
        explained = self.sekisho("explain", "--address", customer.address, "--name", name)
        found = explained.get("clause") if explained["verdict"] == "blocked" else None
        outcome = f"blocked by clause {found}" if found else "answered"
        held = found == clause and got.blocked == (clause is not None)
        self.expect(held, f"{padded(customer.id, 8)} {padded(name, 18)} {padded(got.text, 24)} {padded(outcome, 32)} {because}")


def padded(text: str, width: int) -> str:
    """`text` in `width` columns of a terminal, where Japanese characters take two."""
    columns = sum(2 if unicodedata.east_asian_width(letter) in "FW" else 1 for letter in text)
    return text + " " * max(0, width - columns)


def tell(text: str = "") -> None:
    print(text, flush=True)


def scenario(demo: Demo) -> None:
    """What each customer gets, and by which clause."""
    tell("\nA harmless name is answered for everyone:")
    for customer in CUSTOMERS[:2]:
        demo.ask(customer, HARMLESS_NAME, None, customer.about)

    tell("\nA C&C name (list c2-sample) is cut off where the terms say so and consent is on record:")
    demo.ask(BOTH, C2_NAME, "gunma/別記-1", BOTH.about)
    demo.ask(OPTING_OUT, C2_NAME, "gunma/別記-1", "before opting out")
    demo.ask(GUNMA_ALONE, C2_NAME, "gunma/別記-1", GUNMA_ALONE.about)
    demo.ask(NBNET_ALONE, C2_NAME, None, NBNET_ALONE.about)
    demo.ask(UNCONSENTED, C2_NAME, None, UNCONSENTED.about)

    tell(f"\n{OPTING_OUT.id} opts out of it (gunma/別記-3): sekisho optout add {OPTING_OUT.id} {C2_LIST}")
    done = demo.sekisho("optout", "add", OPTING_OUT.id, C2_LIST, "--by", "customer")
    demo.expect(bool(done["in_force"]), "acknowledged: on disk and in force")
    demo.ask(OPTING_OUT, C2_NAME, None, "opted out: no match is computed any more")
    demo.ask(BOTH, C2_NAME, "gunma/別記-1", "the others are not touched by it")

    tell("\nA child-abuse name (list child-abuse-sample, sealed) is cut off for both; nobody can opt out:")
    demo.ask(BOTH, CHILD_ABUSE_NAME, "nbnet/21-1", BOTH.about)
    demo.ask(OPTING_OUT, CHILD_ABUSE_NAME, "nbnet/21-1", "opting out of C&C lifts nothing here")
    demo.ask(NBNET_ALONE, CHILD_ABUSE_NAME, "nbnet/21-1", NBNET_ALONE.about)
    demo.ask(GUNMA_ALONE, CHILD_ABUSE_NAME, None, GUNMA_ALONE.about)

    tell("\nWho is no customer is refused (never an open resolver):")
    stranger = ask(demo.site.host, demo.site.port, STRANGER, HARMLESS_NAME)
    demo.expect(stranger.refused, f"{STRANGER} {HARMLESS_NAME} {stranger.text}")

    tell(f"\n{FLOODING.id} floods and is held by the hard budget, while the others are served:")
    _flood(demo)


def _flood(demo: Demo) -> None:
    budget = _budget(demo.site)
    count = 4 * budget.burst + 2 * budget.rate
    result: list[tuple[int, float]] = []
    # Answers of a name the cache holds, so that the upstream is no bottleneck of the demo.
    worker = threading.Thread(target=lambda: result.append(flood(demo.site.host, demo.site.port, FLOODING.address, HARMLESS_NAME, count)))
    worker.start()
    others: list[Answer] = []
    while worker.is_alive():
        others.append(ask(demo.site.host, demo.site.port, BOTH.address, HARMLESS_NAME))
        worker.join(0.02)
    answered, seconds = result[0]
    # What a bucket lets through: its burst at once and its rate over time, and a little for the clock.
    allowed = budget.burst + budget.rate * seconds * 1.2 + 10
    demo.expect(
        0 < answered <= allowed < count,
        f"{FLOODING.id:<8} {count} queries in {seconds:.1f} s, {answered} answered: {budget.rate} a second, burst {budget.burst} "
        f"(clause {budget.clause})",
    )
    served = sum(1 for one in others if one.answered)
    demo.expect(served == len(others), f"{BOTH.id:<8} {len(others)} queries meanwhile, {served} answered")


def _budget(site: DemoSite) -> BudgetRule:
    """The budget the customer's contracts give, as the daemon works it out."""
    loaded = load_site(site.config)
    budget = profile_of(loaded.packs, FLOODING.terms, loaded.lists).budget
    if budget is None:
        raise DemoError(f"no clause of {', '.join(FLOODING.terms)} authorises a budget")
    return budget


def _metrics(demo: Demo) -> None:
    url = f"http://{demo.site.host}:{demo.site.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    tell(f"\nThe metrics are at {url}; among them:")
    wanted = ("sekisho_verdicts_total", "sekisho_list_matches_total", "sekisho_clause_matches_total", "sekisho_customers")
    shown = [line for line in lines if line.startswith(wanted) and not line.endswith(" 0.0")]
    for line in shown:
        tell(f"      {line}")
    matched = [line for line in shown if f'list="{C2_LIST}"' in line or f'list="{CHILD_ABUSE_LIST}"' in line]
    demo.expect(len(matched) == 2 and all(float(line.rsplit(" ", 1)[1]) > 0 for line in matched), "both lists count their matches")


def _to_try(site: DemoSite) -> None:
    dig = f"dig @{site.host} -p {site.port}"
    command = f"{Path(sys.executable).parent / 'sekisho'} --config {site.config}"
    tell("\nTo try, from another terminal:")
    for customer, name in ((BOTH, C2_NAME), (OPTING_OUT, C2_NAME), (OPTING_OUT, CHILD_ABUSE_NAME), (NBNET_ALONE, C2_NAME)):
        tell(f"  {dig} -b {customer.address} {name}   # {customer.id}: {customer.about}")
    for verb in (
        "status",
        f"explain --customer {BOTH.id} --name {C2_NAME}",
        "events",
        f"optout remove {OPTING_OUT.id} {C2_LIST}",
        "customers show",
    ):
        tell(f"  {command} {verb}")
    tell("\nRunning until interrupted (Ctrl-C).")


@contextlib.contextmanager
def running_upstream(wanted: int = 0) -> Iterator[int]:
    """The built-in upstream on a thread of its own; gives its port, which is `wanted` if that is free."""
    started: list[int] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as stack:
            try:
                upstream = await stack.enter_async_context(Upstream(port=wanted))
            except OSError:
                upstream = await stack.enter_async_context(Upstream())
            started.append(upstream.port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        if not ready.wait(10):
            raise DemoError("the built-in upstream did not start")
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()


@contextlib.contextmanager
def running_checkpoint(site: DemoSite) -> Iterator[int]:
    """`sekisho run`, its output in a file; gives its process id once both processes are ready."""
    log = site.folder / "log"
    with NotifyChannel() as channel, log.open("wb") as output:
        argv = (sys.executable, "-P", "-m", "sekisho.cli.main", "--config", str(site.config), "run")
        pid = spawn(argv, {**os.environ, "NOTIFY_SOCKET": channel.address}, output=output.fileno())
        try:
            _await_ready(channel, pid, log)
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)


def _await_ready(channel: NotifyChannel, pid: int, log: Path) -> None:
    began = told = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(channel.reader, selectors.EVENT_READ)
        while time.monotonic() - began < START_DEADLINE:
            selector.select(0.5)
            for _, words in channel.take():
                if words.get("STATUS"):
                    told = time.monotonic()
                    tell(f"  {told - began:5.1f} s  {words['STATUS']}")
                if words.get("READY") == "1":
                    return
            if os.waitpid(pid, os.WNOHANG)[0]:
                raise DemoError(f"sekisho run ended before it was ready:\n{log.read_text(errors='replace')[-4000:]}")
            if time.monotonic() - told > 15:
                told = time.monotonic()
                tell(f"  {told - began:5.1f} s  still starting")
    raise DemoError(f"sekisho run was not ready within {START_DEADLINE:.0f} s:\n{log.read_text(errors='replace')[-4000:]}")


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demo. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sekisho.app.demo", description="Sekisho's main job on an embedded default.")
    parser.add_argument("--any-port", action="store_true", help="take any free ports; default: 5353, 9153 and 5300 where they are free")
    any_port = parser.parse_args(arguments).any_port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder, runtime = make_folders()
    try:
        with running_upstream(0 if any_port else 5300) as upstream_port:
            site = write_site(folder, runtime, upstream_port, (0, 0) if any_port else (5353, 9153))
            tell("Sekisho's demo. A first start compiles the packet path, for a minute or more; later ones take seconds.")
            tell(f"A resolver's stand-in on 127.0.0.1:{upstream_port}, the checkpoint on {site.host}:{site.port}, files in {folder}")
            with running_checkpoint(site):
                return _show(Demo(site))
    except KeyboardInterrupt:
        tell("\nstopped")
        return INTERRUPTED
    except DemoError as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)


def _show(demo: Demo) -> int:
    scenario(demo)
    _metrics(demo)
    if demo.failed:
        tell(f"\n{demo.failed} expectation{'' if demo.failed == 1 else 's'} did not hold; the log of the processes ends:")
        tell((demo.site.folder / "log").read_text(errors="replace")[-4000:])
    else:
        tell("\nEvery expectation held.")
    if sys.stdin.isatty() and sys.stdout.isatty():
        _to_try(demo.site)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                signal.pause()
    return 1 if demo.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
