"""The servers that are asked: the plane, and resolvers with the checkpoint in them, all on one folder of tables."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import numpy as np

from sekisho.drivers.pluginfiles import PluginPlan, write_plugin
from sekisho.drivers.sharedfiles import map_table, numbered_files
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind
from support import free_port, has_ipv6, require_binary, wait_until
from support.differential.model import ANSWERED, SILENCE, Verdict
from support.differential.readerfront import reading
from support.differential.upstream import CLEAN, SERVERS
from support.differential.world import CHASE, NETWORK, Question
from support.sockets import socket_folder
from support.unbound import FOREGROUND

DIST_PACKAGES = "/usr/lib/python3/dist-packages"
UNBOUND = (
    FOREGROUND
    + """\
    num-threads: 2
    module-config: "{modules}"
    ignore-cd-flag: yes
    do-not-query-localhost: no
    infra-keep-probing: yes
    infra-host-ttl: 5
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    interface: 127.0.0.1@{port}
    {six}
    local-zone: "example." nodefault
    {more}
{scripts}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
remote-control:
    control-enable: {control}
    control-interface: "{folder}/control"
    control-use-cert: no
"""
)
DNSDIST = """\
setLocal("127.0.0.1:{port}")
{six}
setACL({{"0.0.0.0/0", "::/0"}})
newServer{{address="127.0.0.1:{upstream}", healthCheckMode="up"}}
setSecurityPollSuffix("")
dofile("{entry}")
pc = newPacketCache(10000)
getPool(""):setCache(pc)
"""
RECURSOR = """\
local-address=127.0.0.1{six}
local-port={port}
allow-from=0.0.0.0/0, ::/0
forward-zones-recurse=.=127.0.0.1:{upstream}
dnssec=off
lua-dns-script={entry}
socket-dir={sockets}
daemon=no
write-pid=no
security-poll-suffix=
dont-query=
threads=2
extended-resolution-errors=no
"""
KNOT = """\
net.listen({{"127.0.0.1"{six}}}, {port})
cache.size = 10 * MB
trust_anchors.remove(".")
modules = {{ "policy" }}
modules.unload("priming")
modules.unload("detect_time_skew")
modules.unload("ta_update")
dofile("{entry}")
policy.add(policy.all(policy.STUB({{"127.0.0.1@{upstream}"}})))
"""


class Asked(Protocol):
    """Whoever is asked for customers."""

    @property
    def name(self) -> str: ...

    def ask(self, question: Question, patience: float) -> Verdict:
        """What the client sees; silence after `patience` seconds."""


@dataclass(frozen=True)
class Front:
    """A server that answers customers."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, question: Question, patience: float) -> Verdict:
        """What the client sees; silence after `patience` seconds."""
        query = dns.message.make_query(question.name, question.rdtype, use_edns=0 if question.edns else -1)
        query.flags |= 0x0100
        where = "::1" if ":" in question.source else "127.0.0.1"
        try:
            if question.tcp:
                answer = dns.query.tcp(query, where, port=self.port, source=question.source, timeout=patience)
            else:
                answer = dns.query.udp(query, where, port=self.port, source=question.source, timeout=patience)
        except (dns.exception.Timeout, EOFError, ConnectionError):
            return SILENCE
        return seen(answer)


_UPSTREAM = {ip_address(address).packed for server in (CLEAN, *SERVERS.values()) for addresses in server.values() for address in addresses}


def seen(answer: dns.message.Message) -> Verdict:
    """An answer as a verdict: the resolver's, or ours. Names in data are in lower case: a compressed one may be spelt as the question is."""
    owner = answer.question[0].name
    records = {
        (int(rrset.rdtype), int(rrset.ttl), record.to_digestable())
        for rrset in answer.answer
        for record in rrset
        if rrset.name == owner
    }  # fmt: skip
    everything = [record.to_wire() for rrset in answer.answer for record in rrset]
    ours = any((rtype, data) == (CHASE.records[0].rtype, CHASE.records[0].rdata) for rtype, _, data in records)
    if not ours and any(data in _UPSTREAM or data.startswith(b"\xcax") for data in everything):
        return ANSWERED
    soa = next((record.minimum for rrset in answer.authority if rrset.rdtype == 6 and rrset.name == owner for record in rrset), None)
    ede = next((one for one in answer.options if isinstance(one, dns.edns.EDEOption)), None)
    told = (int(ede.code), ede.text or "") if ede else None
    return Verdict("ours", int(answer.rcode()), bool(answer.flags & 0x0200), frozenset(records), soa, told)


@contextlib.contextmanager
def _serving(name: str, folder: Path, port: int, argv: list[str], environ: dict[str, str] | None = None, rcode: int = 0) -> Iterator[Front]:
    path = folder / f"{name}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=os.environ | (environ or {})
        )
    front = Front(name, port, process, path)

    def answers() -> bool:
        assert process.poll() is None, f"{name} ended:\n{path.read_text(errors='replace')[-4000:]}"
        return front.ask(Question(NETWORK, "up.example.org", "A", tcp=False, edns=True), 0.5) == (
            Verdict("ours", rcode) if rcode else ANSWERED
        )

    try:
        wait_until(answers, deadline=60, what=f"{name} to answer", interval=0.1)
        yield front
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Place:
    """Where fronts run: a folder for their files, the tables, the key, the resolver behind them."""

    folder: Path
    tables: Path
    key: Path
    upstream: int

    def plugin(self, resolver: str, *, closed: bool = False) -> Path:
        into = self.folder / resolver
        write_plugin(resolver, PluginPlan(into, self.tables, self.key, closed))
        return into


def _six(text: str) -> list[str]:
    """What stands in a configuration where there is IPv6."""
    return [text] if has_ipv6() else []


def plane(place: Place) -> contextlib.AbstractContextManager[Front]:
    """The gateway's own process."""
    port = free_port()
    config = place.folder / "sekisho.yaml"
    document = {
        "version": 1,
        "listen": [f"127.0.0.1:{port}", *_six(f"[::1]:{port}")],
        "upstream": {"address": [f"127.0.0.1:{place.upstream}"]},
        "state": str(place.key.parent),
        "runtime": str(place.tables.parent),
        "terms": [],
        "workers": 1,
        "cache": {"mib": 8},
        "metrics": "off",
    }
    config.write_text(json.dumps(document))
    return _serving("plane", place.folder, port, [sys.executable, "-P", "-m", "sekisho.app.plane", "--config", str(config)])


def unbound(place: Place, *, validating: bool = False, closed: bool = False, more: str = "", control: bool = False, rcode: int = 0, program: str = "") -> contextlib.AbstractContextManager[Front]:  # fmt: skip
    """Unbound with the plugin in its Python module; `program`: another than the one installed."""
    program, port = program or require_binary("unbound"), free_port()
    into = place.plugin("unbound", closed=closed)
    scripts = f'python:\n    python-script: "{into}/sekisho_unbound.py"\n'
    if validating:
        scripts += f'    python-script: "{into}/sekisho_unbound_second.py"\n'
    modules = "python subnetcache validator python iterator" if validating else "python subnetcache iterator"
    config = place.folder / f"unbound-{port}.conf"
    config.write_text(
        UNBOUND.format(
            folder=place.folder, port=port, modules=modules, scripts=scripts, upstream=place.upstream, more=more,
            control="yes" if control else "no", six="".join(_six(f"interface: ::1@{port}")),
        )
    )  # fmt: skip
    return _serving("unbound", place.folder, port, [program, "-d", "-c", str(config)], {"PYTHONPATH": DIST_PACKAGES}, rcode)


def dnsdist(place: Place, *, closed: bool = False, rcode: int = 0) -> contextlib.AbstractContextManager[Front]:
    program, port, into = require_binary("dnsdist"), free_port(), place.plugin("dnsdist", closed=closed)
    config = place.folder / "dnsdist.conf"
    config.write_text(
        DNSDIST.format(
            port=port, upstream=place.upstream, entry=into / "sekisho_dnsdist.lua", six="".join(_six(f'addLocal("[::1]:{port}")'))
        )
    )
    return _serving("dnsdist", place.folder, port, [program, "--supervised", "--disable-syslog", "-C", str(config)], rcode=rcode)


def recursor(place: Place, *, closed: bool = False, rcode: int = 0) -> contextlib.AbstractContextManager[Front]:
    program, port, into = require_binary("pdns_recursor"), free_port(), place.plugin("recursor", closed=closed)
    folder = place.folder / "recursor"
    (folder / "recursor.conf").write_text(
        RECURSOR.format(
            port=port, upstream=place.upstream, entry=into / "sekisho_recursor.lua", sockets=socket_folder(), six="".join(_six(", ::1"))
        )
    )
    return _serving("recursor", place.folder, port, [program, f"--config-dir={folder}"], rcode=rcode)


def knot(place: Place, *, closed: bool = False, rcode: int = 0) -> contextlib.AbstractContextManager[Front]:
    program, port, into = require_binary("kresd"), free_port(), place.plugin("knot", closed=closed)
    config = place.folder / "kresd.conf"
    config.write_text(KNOT.format(port=port, upstream=place.upstream, entry=into / "sekisho_knot.lua", six="".join(_six(', "::1"'))))
    folder = place.folder / "kresd"
    folder.mkdir()
    return _serving("knot", place.folder, port, [program, "-n", "-q", "-c", str(config), str(folder)], rcode=rcode)


def reader(place: Place) -> contextlib.AbstractContextManager[Asked]:
    """The reader that FORMAT.md suffices for; no plane need run for it."""
    WorkerFiles(place.tables).budgets(100)
    return reading(place.tables, place.key)


FRONTS: dict[str, Callable[[Place], contextlib.AbstractContextManager[Asked]]] = {
    "plane": plane,
    "reader": reader,
    "unbound": unbound,
    "dnsdist": dnsdist,
    "recursor": recursor,
    "knot": knot,
}


def follow(place: Place, fronts: list[Asked], epoch: int, generation: int) -> None:
    """Have every front take the tables: those that look when a query comes are asked something."""

    def taken() -> bool:
        for front in fronts:
            for tcp in (False, True):  # a thread each, and its own for TCP
                front.ask(Question(NETWORK, f"poke{time.monotonic_ns()}.example.org", "A", tcp=tcp, edns=True), 2)
        return all((int(one[layout.WORKER_EPOCH]), int(one[layout.WORKER_GENERATION])) == (epoch, generation) for one in workers(place))

    wait_until(taken, deadline=60, what="every front to take the tables", interval=0.02)


def workers(place: Place) -> list[np.ndarray]:
    """The `worker` words of all that count and live."""
    found = []
    for _, path in numbered_files(place.tables, "counts-"):
        words = map_table(path, Kind.COUNTS, layout.COUNTS_VERSION).arrays["worker"]
        if int(words[layout.WORKER_HEARTBEAT]):
            found.append(words)
    return found
