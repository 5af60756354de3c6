"""Resolvers of other projects that tell of queries over dnstap: counted by customer, and a flood at one of them silenced there by zone 1."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.message
import pytest

from peers.rpzpeers import BRIEF, KEY, SECRET, ZONE, Peer, running_peer
from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.sinks import files, traces
from scenarios.test_detection import OWN
from support import free_port, require_binary, wait_until
from support.floods import flood

pytestmark = [pytest.mark.peers, pytest.mark.slow]

ANSWER = "198.51.100.7"
ASKED = "asked-of-a-resolver.harmless.example"
DETECTION = {
    "window": "1s", "windows": 5, "sustained": 2, "clear": 2, "floor": 30, "usual": 0,
    "load": {"utilisation": None, "timeouts": None, "latency": None, "queries": 40},
}  # fmt: skip
README = (Path(__file__).resolve().parents[2] / "daemon" / "README.md").read_text("utf-8")
UNBOUND = next(block for block in README.split("```\n") if block.startswith("dnstap:\n")).replace("/run/sekisho/dnstap.sock", "{socket}")
"""As operators copy it."""
BIND = """\
options {{
    directory "{folder}"; pid-file none; session-keyfile none; managed-keys-directory "{folder}";
    listen-on port {port} {{ 127.0.0.0/8; }}; listen-on-v6 {{ none; }};
    recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};
    forward only; forwarders port {upstream} {{ 127.0.0.1; }};
    dnssec-validation no; empty-zones-enable no; qname-minimization off;
    dnstap {{ client; }};
    dnstap-output unix "{socket}";
}};
controls {{ }};
"""
DNSDIST = """\
setLocal("127.0.0.1:{port}")
setACL({{"127.0.0.0/8"}})
newServer({{address="127.0.0.1:{upstream}"}})
getServer(0):setUp()
local sekisho = newFrameStreamUnixLogger("{socket}")
addAction(AllRule(), DnstapLogAction("dnsdist", sekisho))
addResponseAction(AllRule(), DnstapLogResponseAction("dnsdist", sekisho))
"""
KRESD = """\
modules.unload('ta_signal_query'); modules.unload('priming'); modules.unload('detect_time_jump')
modules.unload('detect_time_skew'); modules.unload('ta_update')
trust_anchors.remove('.')
net.ipv6 = false
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
cache.size = 10 * MB
modules.load('dnstap')
dnstap.config({{ socket_path = "{socket}", client = {{ log_queries = true, log_responses = true }} }})
policy.add(policy.all(policy.FORWARD('127.0.0.1@{upstream}')))
"""
KNOT_DNS = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
database:
    storage: "{folder}"
log:
  - target: stderr
    any: info
mod-dnstap:
  - id: sekisho
    sink: "unix:{socket}"
    log-queries: on
    log-responses: on
template:
  - id: default
    storage: "{folder}"
    semantic-checks: off
    global-module: mod-dnstap/sekisho
zone:
  - domain: harmless.example
    file: zone
"""
KNOT_ZONE = f"@ 300 SOA localhost. host.localhost. 1 3600 900 604800 300\n@ NS localhost.\n* A {ANSWER}\n"
KINDS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "named": (BIND, lambda conf: ["-g", "-c", str(conf)]),
    "kresd": (KRESD, lambda conf: ["-n", "-c", str(conf), str(conf.parent)]),
    "knotd": (KNOT_DNS, lambda conf: ["-c", str(conf)]),
    "dnsdist": (DNSDIST, lambda conf: ["--supervised", "--disable-syslog", "-C", str(conf)]),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Resolver]:
    with Resolver(address=ANSWER).running() as one:
        yield one


@pytest.fixture(scope="module")
def unbound_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def site(upstream: Resolver, unbound_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """A checkpoint nobody asks: beside resolvers that tell it of queries, and that take its zones."""
    with folders(tmp_path_factory.mktemp("dnstap")) as (folder, runtime):
        (folder / "own.yaml").write_text(OWN, encoding="utf-8")
        (folder / "secret").write_text(SECRET + "\n")
        secondary = {
            "id": "unbound-1",
            "resolver": "unbound",
            "address": "127.0.0.1",
            "unsigned": True,
            "notify": f"127.0.0.1:{unbound_port}",
        }
        written = write_site(
            folder,
            runtime,
            [upstream.port],
            terms=["gunma", "nbnet", "./own.yaml"],
            dnstap={"socket": str(runtime / "dnstap.sock")},
            detection=DETECTION,
            measures={"mode": "enforce"},
            policy_zones={
                "zone": ZONE,
                "listen": f"127.0.0.1:{free_port()}",
                "keys": [{"name": KEY, "secret_file": "secret"}],
                "secondaries": [secondary],
                "ttl": "5s",
            },
            notices={
                "from": "noc@example.net",
                "contact": "support@example.net",
                "web": {"folder": str(folder / "web"), "url": "https://n.example/"},
            },
            workers=1,
        )
        with running(written) as one:
            wait_until(lambda: one.sekisho("status")["dnstap"]["listening"], deadline=60, what="the dnstap socket")
            yield one


def counted(site: Checkpoint, outcome: str = "counted") -> float:
    return site.metric("sekisho_dnstap_frames_total", outcome=outcome)


def resolvers(site: Checkpoint) -> int:
    return int(site.metric("sekisho_dnstap_streams"))


def socket_of(site: Checkpoint) -> str:
    return str(site.sekisho("status")["dnstap"]["socket"])


@contextlib.contextmanager
def telling(program: str, site: Checkpoint, folder: Path, upstream: int) -> Iterator[Peer]:
    """A resolver that only tells, started and answering."""
    text, arguments = KINDS[program]
    port, conf = free_port(), folder / "conf"
    conf.write_text(text.format(folder=folder, port=port, upstream=upstream, socket=socket_of(site)))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [require_binary(program), *arguments(conf)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    peer = Peer(program, port, folder, process)
    try:

        def up() -> bool:
            assert process.poll() is None, peer.log()[-3000:]
            return peer.gives("127.0.0.1", "up.harmless.example", patience=BRIEF) == ANSWER

        wait_until(up, deadline=60, what=f"{program} to answer")
        yield peer
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_unbound(site: Checkpoint, folder: Path, port: int, upstream: int) -> Iterator[Peer]:
    told = UNBOUND.format(socket=socket_of(site))
    with running_peer("unbound", site, folder, port, upstream, lambda text: told + text) as peer:
        wait_until(lambda: resolvers(site) == 1, deadline=60, what="Unbound at the socket")
        yield peer


@contextlib.contextmanager
def flooding(peer: Peer, customer: Customer) -> Iterator[None]:
    """A customer who asks a resolver for made-up names, about two hundred a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((customer.address, 0))

        def ask(number: int) -> None:
            client.sendto(dns.message.make_query(f"r{number}.made-up.example", "A").to_wire(), ("127.0.0.1", peer.port))

        with flood(ask):
            yield


def test_a_flood_at_unbound_is_found_and_silenced_there_and_released_when_it_ends(
    site: Checkpoint, upstream: Resolver, unbound_port: int, tmp_path: Path
) -> None:
    flooder, quiet = site.customer("own"), site.customer("own")

    def stands() -> dict[str, Any]:
        return site.sekisho("explain", "--customer", flooder.id, "--measure")

    def state() -> str:
        found = site.sekisho("measures", "list", flooder.id, "--closed")["measures"]
        return str(found[-1]["state"]) if found else ""

    with running_unbound(site, tmp_path, unbound_port, upstream.port) as peer:
        before = counted(site)
        for _ in range(20):
            assert peer.gives(quiet.address, ASKED) == ANSWER
        wait_until(lambda: counted(site) == before + 20, what="each query counted once")
        assert peer.gives(flooder.address, ASKED) == ANSWER
        with flooding(peer, flooder):
            wait_until(lambda: state() == "in-force", deadline=60, what="the measure in force")
            wait_until(lambda: peer.gives(flooder.address, ASKED, patience=BRIEF) == "silence", what="silence at Unbound")
            assert peer.gives(quiet.address, ASKED) == ANSWER

            def unanswered() -> dict[str, Any] | None:
                evidence: dict[str, Any] = stands()["evidence"]
                # A busy machine floods less in one window than in another.
                return evidence if evidence.get("unanswered_share", 0) > 0.9 and evidence["rate"] > evidence["limit"] else None

            evidence = wait_until(unanswered, deadline=60, what="queries known to be unanswered, above the limit")
            assert evidence["limit"] >= evidence["floor"]
            assert evidence["elsewhere_share"] == pytest.approx(1, abs=0.05)
            assert "new_name_share" not in evidence, "what nobody knows is not said"
            assert stands()["load"]["queries"]["value"] == 40
            assert state() == "in-force", "a measure does not end by its own success"
        wait_until(lambda: state() == "lifted", deadline=60, what="the measure lifted")
        wait_until(lambda: peer.gives(flooder.address, ASKED, patience=BRIEF) == ANSWER, what="answers again")
        assert "1 resolver," in site.say("status")
    wait_until(lambda: resolvers(site) == 0, what="the end of Unbound")
    wait_until(lambda: any("no resolver tells" in one for one in site.sekisho("status")["warnings"]), what="the warning")
    for name in ("asked-of-a-resolver", "made-up"):
        for place, content in files(site.site.folder, site.site.runtime):
            assert not traces(content, name), place
        assert name not in site.log + site.metrics_text() + site.say("status") + site.say("measures", "list", flooder.id, "--closed")


@pytest.mark.parametrize("program", [name for name in KINDS if name != "knotd"])
def test_each_resolver_tells_of_each_query_once(program: str, site: Checkpoint, upstream: Resolver, tmp_path: Path) -> None:
    customer = site.customer("gunma")
    with telling(program, site, tmp_path, upstream.port) as peer:
        wait_until(lambda: resolvers(site) >= 1, deadline=60, what=f"{program} at the socket")
        before, answered, lost = counted(site), counted(site, "responded"), counted(site, "damaged") + counted(site, "addressless")
        for number in range(25):
            assert peer.gives(customer.address, f"n{number}.harmless.example") == ANSWER
        wait_until(lambda: counted(site) == before + 25, what="each query counted")
        wait_until(lambda: counted(site, "responded") == answered + 25, what="each response counted")
        assert counted(site, "damaged") + counted(site, "addressless") == lost


def test_knot_dns_tells_of_what_an_authoritative_server_answers_which_is_no_customers_query(
    site: Checkpoint, upstream: Resolver, tmp_path: Path
) -> None:
    """Its stream is taken, its messages are of other types (AUTH_QUERY, AUTH_RESPONSE), and are counted apart."""
    (tmp_path / "zone").write_text(KNOT_ZONE)
    customer = site.customer("gunma")
    with telling("knotd", site, tmp_path, upstream.port) as peer:
        wait_until(lambda: resolvers(site) >= 1, deadline=60, what="knotd at the socket")
        before, others, lost = counted(site), counted(site, "other"), counted(site, "damaged") + counted(site, "addressless")
        for number in range(25):
            assert peer.gives(customer.address, f"n{number}.harmless.example") == ANSWER
        wait_until(lambda: counted(site, "other") >= others + 50, what="each query and response")
        assert counted(site) == before
        assert counted(site, "damaged") + counted(site, "addressless") == lost
