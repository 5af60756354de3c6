"""A checkpoint as `sekisho run` starts it, and what an operator and the customers do with it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
from prometheus_client.parser import text_string_to_metric_families

from scenarios.harness.asking import addresses, ask, ede_code, silence
from scenarios.harness.site import CONSENT, Site
from sekisho.cli.client import Client
from support import wait_until

START = 600.0
"""Seconds until both processes must be ready: a first start compiles, and the machine may be busy."""
CONTROL, PLANE = "sekisho.app.control", "sekisho.app.plane"
_READY = {CONTROL: "sekishod: ready", PLANE: "sekisho-plane: ready"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Customer:
    id: str
    address: str


@dataclass
class Checkpoint:
    site: Site
    supervisor: subprocess.Popen[bytes]
    upstream_address: str = "198.51.100.7"
    names: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # As a customer

    def ask(self, source: Customer | str, name: str, rdtype: str = "A", **options: Any) -> dns.message.Message:
        address = source.address if isinstance(source, Customer) else source
        return ask(self.site.host, self.site.port, address, name, rdtype, **options)

    def is_answered(self, source: Customer | str, name: str, **options: Any) -> bool:
        """Whether what the resolver says reaches the customer."""
        return addresses(self.ask(source, name, **options)) == {self.upstream_address}

    def is_blocked(self, source: Customer | str, name: str, **options: Any) -> bool:
        """Whether the name does not exist for the customer, and that is said to be a measure."""
        got = self.ask(source, name, **options)
        blocked = got.rcode() == dns.rcode.NXDOMAIN and not got.answer and (got.edns < 0 or ede_code(got) in (15, 16, 17))
        assert blocked or addresses(got) == {self.upstream_address}, f"neither blocked nor answered:\n{got}"
        return blocked

    def is_silent(self, source: Customer | str, name: str, rdtype: str = "A") -> bool:
        address = source.address if isinstance(source, Customer) else source
        after = dns.message.make_query(self.harmless(), "A")
        return silence(self.site.host, self.site.port, address, dns.message.make_query(name, rdtype, use_edns=0), after)

    def harmless(self) -> str:
        """A name nothing holds and nobody asked for yet."""
        return f"www{next(self.names)}.harmless.example"

    # As an operator

    @property
    def api(self) -> Client:
        return Client(self.site.runtime / "sekishod.sock")

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The operator's command, with exactly these arguments."""
        return command(*arguments, environ=environ, stdin=stdin)

    def sekisho(self, *arguments: str, code: int = 0, stdin: str = "") -> dict[str, Any]:
        """The operator's command on this site with `--json`; its exit code must be `code`."""
        done = command("--config", str(self.site.config), "--json", *arguments, stdin=stdin)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def say(self, *arguments: str, code: int = 0) -> str:
        """The operator's command as a person sees it: both outputs."""
        done = command("--config", str(self.site.config), *arguments)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def customer(self, *terms: str, consent: bool = True, **record: Any) -> Customer:
        """A new customer with an address of its own."""
        number = next(_numbers)
        one = Customer(f"c-{number:04}", f"127.20.{number // 250}.{number % 250 + 1}")
        body = {"id": one.id, "terms": list(terms), "prefixes": [one.address], **({"consent": CONSENT} if consent else {})}
        self.api.post("/v1/customers", record=body | record)
        return one

    def events(self, customer: Customer, at_least: int = 1) -> list[dict[str, Any]]:
        """What the record says of a customer, once there are so many matches."""

        def found() -> tuple[list[dict[str, Any]]] | None:
            events: list[dict[str, Any]] = self.api.get("/v1/events", customer=customer.id)["events"]
            return (events,) if sum(one["count"] for one in events) >= at_least else None

        (events,) = wait_until(found, deadline=30, what="matches on the record") or ([],)
        return events

    def metrics_text(self) -> str:
        with urllib.request.urlopen(f"http://{self.site.host}:{self.site.metrics_port}/metrics", timeout=30) as response:
            text: str = response.read().decode()
            return text

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return sum(
            value for (sample, found), value in samples(self.metrics_text()) if sample == name and labels.items() <= dict(found).items()
        )

    # As the machine

    @property
    def log(self) -> str:
        return (self.site.folder / "log").read_text(errors="replace")

    def pid(self, module: str) -> int:
        """The process id of CONTROL or PLANE; 0 while there is none."""
        return next(iter(self.pids(module)), 0)

    def pids(self, module: str) -> list[int]:
        """The process ids: two while one process takes over from another."""
        found = []
        supervisor = self.supervisor.pid
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                        found.append(int(child))
        return found

    def kill(self, module: str) -> int:
        """End one process as a fault would; returns how often it was ready until then."""
        before = self.times_ready(module)
        os.kill(wait_until(lambda: self.pid(module), what=f"a process {module}"), signal.SIGKILL)
        return before

    def times_ready(self, module: str) -> int:
        return self.log.count(_READY[module])

    def wait_ready(self, module: str, times: int) -> None:
        wait_until(lambda: self.times_ready(module) >= times, deadline=START, what=f"{module} to be ready again")


def samples(text: str) -> list[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
    """An exposition as ((sample, labels), value), read by Prometheus' own parser."""
    return [
        ((sample.name, tuple(sorted(sample.labels.items()))), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def command(*arguments: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "sekisho.cli.main", *arguments]
    inner = {**os.environ, **(environ or {})}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=inner, input=stdin)


@contextlib.contextmanager
def running(site: Site, environ: Mapping[str, str] | None = None) -> Iterator[Checkpoint]:
    """Start the site, wait until both processes are ready, and stop it at the end."""
    argv = [sys.executable, "-m", "sekisho.cli.main", "--config", str(site.config), "run"]
    inner = {**os.environ, "SEKISHO_LOG_LEVEL": "debug", **(environ or {})}
    with (site.folder / "log").open("ab") as log:
        before = (site.folder / "log").read_text(errors="replace")
        supervisor = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=inner)
    checkpoint = Checkpoint(site, supervisor)
    already = {module: before.count(said) for module, said in _READY.items()}

    def ready() -> bool:
        assert supervisor.poll() is None, f"sekisho run ended before it was ready:\n{checkpoint.log[-4000:]}"
        return all(checkpoint.times_ready(module) > already[module] for module in _READY)

    try:
        wait_until(ready, deadline=START, what="a checkpoint that is ready", interval=0.05)
        yield checkpoint
    finally:
        supervisor.terminate()
        try:
            supervisor.wait(30)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
            raise
