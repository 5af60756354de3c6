"""Real peers: Unbound behind one checkpoint, as every test of a real client finds it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rrset
import pytest

from peers.rpzpeers import BRIEF, KINDS, Peer, fed, running_peer
from scenarios.harness import Checkpoint, Resolver, folders, running, write_site
from scenarios.harness.resolver import honest
from support import free_port, has_ipv6, require_binary, wait_until
from support.radius import SECRET as RADIUS_SECRET
from support.unbound import FOREGROUND

UNBOUND = (
    FOREGROUND
    + """\
    verbosity: 0
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    interface: 127.0.0.1@{port}
    {more}
    local-zone: "harmless.example." redirect
    local-data: "harmless.example. 300 IN A 198.51.100.7"
    local-data: "harmless.example. 300 IN AAAA 2001:db8::7"
    local-data: "harmless.example. 300 IN TXT 'from Unbound'"
    local-data: "harmless.example. 300 IN MX 10 mail.harmless.example."
    local-zone: "short.example." redirect
    local-data: "short.example. 1 IN A 198.51.100.7"
    local-zone: "missing.example." static
    local-data: "missing.example. 300 IN SOA ns.missing.example. host.missing.example. 1 3600 900 604800 60"
    local-zone: "large.example." redirect
{large}
    local-zone: "listed.example." redirect
    local-data: "listed.example. 300 IN A 198.51.100.7"
    local-zone: "." refuse
{views}
"""
)
LISTED = "c2.listed.example"
SEALED = "sealed.listed.example"


@dataclass
class Unbound:
    """A resolver that has local data only: it asks nobody."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def is_up(port: int) -> bool:
    with contextlib.suppress(dns.exception.DNSException, OSError):
        return bool(dns.query.udp(dns.message.make_query("up.harmless.example", "A"), "127.0.0.1", port=port, timeout=0.2).answer)
    return False


@contextlib.contextmanager
def running_unbound(folder: Path, more: str = "", views: str = "", port: int = 0, asked: int = 0) -> Iterator[Unbound]:
    """Start Unbound and wait until it answers; `asked` is the port to ask where that is another than its own."""
    program = require_binary("unbound")
    chosen = port or free_port()
    large = "\n".join(f"    local-data: \"large.example. 300 IN TXT '{number} {'x' * 200}'\"" for number in range(20))
    config = folder / f"unbound-{chosen}.conf"
    config.write_text(UNBOUND.format(folder=folder, port=chosen, more=more, views=views, large=large))
    with (folder / "unbound.log").open("ab") as log:
        process = subprocess.Popen([program, "-d", "-c", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    one = Unbound(chosen, folder, process)

    def answers() -> bool:
        assert process.poll() is None, (folder / "unbound.log").read_text(errors="replace")
        return is_up(asked or chosen)

    try:
        wait_until(answers, what="Unbound to answer")
        yield one
    finally:
        if process.poll() is None:
            one.stop()


LISTS = [
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"},
    {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "domains", "scope": "exact", "sealed": True},
]
SOURCES = {"c2.txt": f"{LISTED}\n", "abuse.txt": f"{SEALED}\n"}


@pytest.fixture(scope="session")
def unbound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbound]:
    with running_unbound(tmp_path_factory.mktemp("unbound")) as one:
        yield one


@pytest.fixture(scope="session")
def site(unbound: Unbound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """A checkpoint before Unbound, on IPv4 and, where there is any, IPv6."""
    with folders(tmp_path_factory.mktemp("peers")) as (folder, runtime):
        written = write_site(folder, runtime, [unbound.port], lists=LISTS, sources=SOURCES, ipv6=has_ipv6())
        with running(written) as one:
            yield one


POLICY_LISTS = [
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "rpz", "zone": "c2.feed.test"},
    {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "rpz", "zone": "abuse.feed.test"},
    {"id": "sealed", "category": "child-abuse", "source": "sealed.txt", "format": "domains", "scope": "exact", "sealed": True},
]
POLICY_SOURCES = {
    "c2.txt": """\
$ORIGIN c2.feed.test.
c2.example CNAME .
*.c2.example CNAME .
a.b.tree.example CNAME .
*.a.b.tree.example CNAME .
32.66.113.0.203.rpz-ip CNAME .
48.zz.bad.db8.2001.rpz-ip CNAME .
"""
    + "".join(f"n{number}.more.example CNAME .\n" for number in range(16)),
    "abuse.txt": """\
$ORIGIN abuse.feed.test.
abuse.example CNAME .
both.example CNAME .
32.99.113.0.203.rpz-ip CNAME .
""",
    "sealed.txt": "withheld.example\n",
}
NAS = {"id": "bras-1", "address": "127.0.0.1", "secret_file": "radius"}


LEADS = {"c2-server": ("203.0.113.66", "2001:db8:bad::66"), "abuse-server": ("203.0.113.99",), "late-server": ("203.0.113.77",)}
"""Where names with such a label lead."""


ALIAS = b"c2-alias"
"""Names with such a label are other names of c2.example."""


def aliased(query: dns.message.Message) -> list[tuple[bytes, bool]]:
    name, answer = query.question[0].name, dns.message.make_response(query, recursion_available=True)
    answer.answer.append(dns.rrset.from_text(name, 300, "IN", "CNAME", "c2.example."))
    if query.question[0].rdtype == 1:
        answer.answer.append(dns.rrset.from_text("c2.example.", 300, "IN", "A", "198.51.100.7"))
    return [(answer.to_wire(), False)]


def leading(packet: bytes) -> list[tuple[bytes, bool]]:
    query = dns.message.from_wire(packet)
    question = query.question[0]
    if any(label.lower() == ALIAS for label in question.name.labels):
        return aliased(query)
    found = [LEADS[text] for label in question.name.labels if (text := label.decode("latin-1").lower()) in LEADS]
    if not found or question.rdtype not in (1, 28):
        return honest(packet)
    answer = dns.message.make_response(query, recursion_available=True)
    data = [address for address in found[0] if (":" in address) == (question.rdtype == 28)]
    if data:
        answer.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", question.rdtype, data))
    return [(answer.to_wire(), False)]


@pytest.fixture(scope="session")
def upstream() -> Iterator[Resolver]:
    with Resolver(address="198.51.100.7", behave=leading).running() as one:
        yield one


@pytest.fixture(scope="session")
def ports() -> dict[str, int]:
    return {name: free_port() for name in (*KINDS, "knotd", "radius")}


@pytest.fixture(scope="session")
def publisher(upstream: Resolver, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """A checkpoint that publishes zones for the four resolvers."""
    with publishing(upstream, ports, tmp_path_factory.mktemp("rpz")) as one:
        yield one


@contextlib.contextmanager
def publishing(upstream: Resolver, ports: Mapping[str, int], base: Path) -> Iterator[Checkpoint]:
    with folders(base) as (folder, runtime):
        (folder / "radius").write_bytes(RADIUS_SECRET)
        written = write_site(
            folder,
            runtime,
            [upstream.port],
            lists=POLICY_LISTS,
            sources=POLICY_SOURCES,
            policy_zones=fed(folder, ports),
            measures={"mode": "enforce"},
            workers=1,
        )
        written.edit(radius={"listen": [f"127.0.0.1:{ports['radius']}"], "nas": [NAS]})
        with running(written) as one:
            yield one


@pytest.fixture(scope="session", params=["bind", "unbound", "recursor", "knot"])
def peer(
    request: pytest.FixtureRequest,
    publisher: Checkpoint,
    upstream: Resolver,
    ports: dict[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Peer]:
    name = request.param
    with running_peer(name, publisher, tmp_path_factory.mktemp(name), ports[name], upstream.port, notify=ports["knotd"]) as one:
        wait_until(
            lambda: all(one.gives("127.0.0.1", f"{name}.example", patience=BRIEF) == "NXDOMAIN" for name in ("abuse", "c2")),
            deadline=90,
            what="the zones of names, which come one by one",
            interval=0.1,
        )
        yield one
