"""The servers that are compared: how each is told to do the same work, started on one CPU, and looked at.

All of them answer on 127.0.0.1 with one worker, block the same names and what is below them with
NXDOMAIN, limit the queries of each client (far above what is asked), forward the rest to one knotd
and cache. `knotd` itself enforces nothing: what it takes is what the kernel takes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import support
from bench import cdb, site

LIMIT = 1_000_000
"""Queries a second and client: nobody meets it."""
ADDRESS = "192.0.2.7"
"""What every allowed name has."""
PLANE = b"sekisho.app.plane"
_ENDS = 30.0
REST = 0.03
TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """CPU seconds: by the scheduler's own count, and, by the coarser one of the clock's ticks, the user's and the system's."""

    total: float
    """Of all processes and threads."""
    path: float
    """Of the process that answers."""
    user: float
    system: float


@dataclass
class Server:
    """A running contender."""

    title: str
    version: str
    port: int
    process: subprocess.Popen[bytes]
    blocks: bool = True
    has_children: bool = False

    @property
    def pids(self) -> list[int]:
        """Its process, and those that process has started."""
        if not self.has_children:
            return [self.process.pid]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    @property
    def plane(self) -> int:
        """Of sekisho: the process that answers."""
        return next(pid for pid in self.pids if PLANE in Path(f"/proc/{pid}/cmdline").read_bytes())

    def is_at_rest(self, seconds: float = 1.0) -> bool:
        """Whether nothing is left to do besides the packet path: what was matched at full load is recorded for a while after."""
        before = self.cpu()
        time.sleep(seconds)
        after = self.cpu()
        return (after.total - after.path) - (before.total - before.path) < REST * seconds

    def cpu(self) -> Cpu:
        """What it has used until now."""
        total, path, user, system = 0, 0, 0, 0
        for pid in self.pids:
            used = 0
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    used += int((task / "schedstat").read_text().split()[0])
            total += used
            path += used if not self.has_children or PLANE in Path(f"/proc/{pid}/cmdline").read_bytes() else 0
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(after_name[11]), system + int(after_name[12])
        return Cpu(total / 1e9, path / 1e9, user / TICKS, system / TICKS)


@contextlib.contextmanager
def started(title: str, version: str, port: int, command: list[str], folder: Path, cpu: int | str, **more: bool) -> Iterator[Server]:
    """Run a server on one CPU until the end of the context."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(cpu), *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield Server(title, version, port, process, **more)
    finally:
        process.terminate()
        try:
            process.wait(_ENDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def knot(folder: Path, cpu: int, title: str = "knotd") -> Iterator[Server]:
    """Knot DNS with a wildcard for every name: the resolver of the others, and, another one, the reference."""
    binary, port = support.require_binary("knotd"), support.free_port("127.0.0.1")
    (folder / "root.zone").write_text(f"$TTL 86400\n@ SOA ns. root. 1 3600 600 86400 60\n@ NS ns.\nns. A 192.0.2.53\n* A {ADDRESS}\n")
    (folder / "knot.conf").write_text(
        f"server:\n    rundir: {folder}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
        f"database:\n    storage: {folder}\n"
        f"zone:\n  - domain: .\n    file: {folder}/root.zone\n    zonefile-sync: -1\n    journal-content: none\n"
    )
    with started(title, _said(binary, "--version"), port, [binary, "-c", "knot.conf"], folder, cpu, blocks=False) as one:
        yield one


@contextlib.contextmanager
def dnsdist(folder: Path, cpu: int | str, upstream: int, blocked: list[str], workers: int = 1, limit: int = LIMIT) -> Iterator[Server]:
    """Dnsdist with the names in a constant database looked up by suffix, the fastest of its ways for so many."""
    binary, port = support.require_binary("dnsdist"), support.free_port("127.0.0.1")
    cdb.write(folder / "names.cdb", blocked)
    listen = f"addLocal('127.0.0.1:{port}', {{reusePort=true}})\n" * workers
    (folder / "dnsdist.conf").write_text(
        f"setSecurityPollSuffix('')\nsetACL({{'127.0.0.0/8'}})\n{listen}"
        "setUDPMultipleMessagesVectorSize(32)\n"
        f"newServer({{address='127.0.0.1:{upstream}', healthCheckMode='up'}})\n"
        "getPool(''):setCache(newPacketCache(200000, {maxTTL=86400, numberOfShards=16}))\n"
        f"addAction(MaxQPSIPRule({limit}), DropAction())\n"
        "addAction(KeyValueStoreLookupRule(newCDBKVStore('names.cdb', 3600), KeyValueLookupKeySuffix(0, true)), RCodeAction(DNSRCode.NXDOMAIN))\n"
    )
    command = [binary, "-C", "dnsdist.conf", "--supervised", "--disable-syslog"]
    with started("dnsdist", _said(binary, "--version"), port, command, folder, cpu) as one:
        yield one


@contextlib.contextmanager
def unbound(folder: Path, cpu: int, upstream: int, blocked: list[str]) -> Iterator[Server]:
    """Unbound with the names in a response policy zone."""
    binary, port = support.require_binary("unbound"), support.free_port("127.0.0.1")
    with (folder / "names.rpz").open("w") as zone:
        zone.write("$TTL 3600\n@ SOA ns. root. 1 3600 600 86400 60\n@ NS ns.\n")
        zone.writelines(f"{name} CNAME .\n*.{name} CNAME .\n" for name in blocked)
    (folder / "unbound.conf").write_text(
        f'server:\n  interface: 127.0.0.1@{port}\n  num-threads: 1\n  do-daemonize: no\n  use-syslog: no\n  username: ""\n  chroot: ""\n'
        f'  directory: "{folder}"\n  pidfile: ""\n  do-not-query-localhost: no\n  module-config: "respip iterator"\n  so-reuseport: yes\n'
        "  access-control: 127.0.0.0/8 allow\n  qname-minimisation: no\n  msg-cache-size: 64m\n  rrset-cache-size: 128m\n"
        "  cache-max-ttl: 86400\n  outgoing-range: 4096\n  num-queries-per-thread: 2048\n"
        f"  ip-ratelimit: {LIMIT}\n  ip-ratelimit-size: 64m\n"
        f'rpz:\n  name: "names.rpz"\n  zonefile: "{folder}/names.rpz"\n'
        f'forward-zone:\n  name: "."\n  forward-addr: 127.0.0.1@{upstream}\nremote-control:\n  control-enable: no\n'
    )
    with started(
        "unbound", _said(binary, "-V").replace("Version", "unbound"), port, [binary, "-d", "-c", "unbound.conf"], folder, cpu
    ) as one:
        yield one


@contextlib.contextmanager
def sekisho(
    folder: Path, cpu: int | str, upstream: int, blocked: Sequence[str], workers: int = 1, more: int = 0, limit: int = LIMIT,
    busy_poll: str = "0s",
) -> Iterator[Server]:  # fmt: skip
    """Both processes of a checkpoint with 100,000 customers and `more`, supervised in the foreground; each counts."""
    port, runtime = support.free_port("127.0.0.1"), folder / "run"
    with (folder / "lista").open("w") as names:
        names.writelines(f"{name}\n" for name in blocked)
    (folder / "listb").write_text("mandatory.example\n")
    site.write(folder, str(folder), str(port), str(upstream), str(limit), str(workers), str(runtime), more, busy_poll)
    program = [sys.executable, "-m", "sekisho.cli.main"]
    command = [*program, "run", "--config", str(folder / "sekisho.yaml")]
    with started("sekisho", _said(*program, "--version"), port, command, folder, cpu, has_children=True) as one:
        yield one


def _said(*command: str) -> str:
    """The first line of what a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]
