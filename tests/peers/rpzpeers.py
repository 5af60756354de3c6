"""Resolvers of other projects as secondaries of the policy zones, configured by the snippets that are generated."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode

from scenarios.harness import Checkpoint
from support import free_port, has_ipv6, require_binary, wait_until
from support.sockets import socket_folder
from support.unbound import FOREGROUND

KEY = "sekisho.key.test"
SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ZONE = "rpz.test"
OTHER_KEY = "recursor.key.test"
KNOT_KEY = "knot.key.test"
BRIEF = 0.5
"""Seconds to wait for an answer there may not be: where silence is wanted, or it is asked again and again."""


def fed(folder: Path, ports: Mapping[str, int], **more: object) -> dict[str, object]:
    """`policy_zones:` of a site that feeds all four resolvers; `ports` by KINDS, and `knotd` where Knot DNS hears of changes."""
    (folder / "secret").write_text(SECRET + "\n")
    local = "127.0.0.1"
    secondaries: list[dict[str, object]] = [
        {"id": "bind-1", "resolver": "bind", "key": KEY, "notify": f"{local}:{ports['bind']}"},
        {"id": "recursor-1", "resolver": "recursor", "key": OTHER_KEY},
        {"id": "knot-1", "resolver": "knot", "key": KNOT_KEY, "notify": f"{local}:{ports['knotd']}"},
        {"id": "unbound-1", "resolver": "unbound", "unsigned": True, "notify": f"{local}:{ports['unbound']}"},
    ]
    return {
        "zone": ZONE,
        # Of several all are named to a resolver, and NOTIFY has to come from one of them.
        "listen": [f"{local}:{free_port()}", f"127.0.0.2:{free_port()}"],
        "keys": [{"name": name, "secret_file": "secret"} for name in (KEY, OTHER_KEY, KNOT_KEY)],
        "secondaries": [one | {"address": local} for one in secondaries],
        "ttl": "5s",
    } | more


@dataclass
class Peer:
    """A resolver that runs. `port` is asked on any address of 127/8."""

    name: str
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def ask(self, source: str, name: str, rdtype: str = "A", timeout: float = 2.0, tries: int = 5) -> dns.message.Message:
        for _ in range(tries):
            with contextlib.suppress(dns.exception.Timeout):
                query = dns.message.make_query(name, rdtype, use_edns=0)
                return dns.query.udp(query, "127.0.0.1", port=self.port, source=source, timeout=timeout)
        raise AssertionError(f"{self.name} gave no answer for {name} from {source}:\n{self.log()[-2000:]}")

    def gives(self, source: str, name: str, rdtype: str = "A", patience: float = 30.0) -> str:
        """What a customer sees: `silence` for all of `patience`, an RCODE, or addresses."""
        try:
            answer = self.ask(source, name, rdtype, timeout=patience, tries=1)
        except AssertionError:
            return "silence"
        found = sorted(record.to_text() for rrset in answer.answer for record in rrset if rrset.rdtype in (1, 28))
        return " ".join(found) or dns.rcode.to_text(answer.rcode())

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")


def bind(site: Checkpoint, folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "sekisho.key").write_text(f'key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n')
    policy = config(site, "bind", "--part", "policy")
    zones = config(site, "bind", "--part", "zones", "--key-file", str(folder / "sekisho.key"))
    # Where there are entitlement classes the policy is views, which stand by themselves.
    within, views = ("", policy) if policy.startswith("view ") else (policy, "")
    (folder / "conf").write_text(f"""
options {{
    directory "{folder}"; pid-file none; session-keyfile none; managed-keys-directory "{folder}";
    listen-on port {port} {{ 127.0.0.0/8; }}; listen-on-v6 port {port} {{ {"::1;" if has_ipv6() else "none;"} }};
    recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};
    forward only; forwarders port {upstream} {{ 127.0.0.1; }};
    dnssec-validation no; empty-zones-enable no; qname-minimization off; minimal-responses yes;
    {within}
}};
controls {{ }};
{zones}
{views}
""")
    return [require_binary("named"), "-g", "-c", str(folder / "conf")]


def unbound(site: Checkpoint, folder: Path, port: int, upstream: int) -> list[str]:
    zones = config(site, "unbound", "--folder", str(folder), "--clients", "127.0.0.0/8")
    (folder / "conf").write_text(f"""
{FOREGROUND.format(folder=folder)}    verbosity: 1
    num-threads: 1
    do-not-query-localhost: no
    infra-keep-probing: yes
    infra-host-ttl: 5
    access-control: 127.0.0.0/8 allow
    access-control: ::1/128 allow
    interface: 127.0.0.1@{port}
    {f"interface: ::1@{port}" if has_ipv6() else ""}
{zones}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstream}
""")
    return [require_binary("unbound"), "-d", "-c", str(folder / "conf")]


def recursor(site: Checkpoint, folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "sekisho.secret").write_text(f"{SECRET}\n")
    (folder / "rpz.lua").write_text(config(site, "recursor", "--part", "zones", "--key-file", str(folder / "sekisho.secret")))
    script = config(site, "recursor", "--part", "script")
    (folder / "classes.lua").write_text(script)
    (folder / "recursor.conf").write_text(f"""
local-address=127.0.0.1{", ::1" if has_ipv6() else ""}
local-port={port}
allow-from=127.0.0.0/8, ::1/128
threads=1
forward-zones-recurse=.=127.0.0.1:{upstream}
dont-query=
dnssec=off
qname-minimization=no
security-poll-suffix=
disable-syslog=yes
loglevel=6
lua-config-file={folder}/rpz.lua
socket-dir={socket_folder()}
daemon=no
{config(site, "recursor", "--part", "conf")}
{f"lua-dns-script={folder}/classes.lua" if "prerpz" in script else ""}
""")
    return [require_binary("pdns_recursor"), f"--config-dir={folder}", "--write-pid=no"]


KNOT_DNS = """
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
database:
    storage: "{folder}"
log:
  - target: stderr
    any: info
"""


def knot_dns(site: Checkpoint, folder: Path, port: int) -> list[str]:
    """Beside Knot Resolver: takes NOTIFY at `port`, transfers, and writes files."""
    (folder / "zones").mkdir(exist_ok=True)
    (folder / "sekisho.key").write_text(f"key:\n  - id: {KNOT_KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\n")
    transfer = config(site, "knot", "--part", "transfer", "--folder", str(folder / "zones"), "--key-file", str(folder / "sekisho.key"))
    (folder / "knot.conf").write_text(KNOT_DNS.format(folder=folder, port=port) + transfer)
    return [require_binary("knotd"), "-c", str(folder / "knot.conf")]


def knot(site: Checkpoint, folder: Path, port: int, upstream: int) -> list[str]:
    (folder / "conf").write_text(f"""
modules.unload('ta_signal_query'); modules.unload('priming'); modules.unload('detect_time_jump')
modules.unload('detect_time_skew'); modules.unload('ta_update')
trust_anchors.remove('.')
net.listen({{'127.0.0.1'{", '::1'" if has_ipv6() else ""}}}, {port}, {{ kind = 'dns' }})
net.ipv6 = false
cache.size = 10 * MB
{config(site, "knot", "--part", "zones", "--folder", str(folder / "zones"))}
policy.add(policy.all(policy.STUB({{'127.0.0.1@{upstream}'}})))
""")
    return [require_binary("kresd"), "-n", "-c", str(folder / "conf"), str(folder)]


def config(site: Checkpoint, resolver: str, *arguments: str) -> str:
    text: str = site.sekisho("rpz", "config", resolver, *arguments)["text"]
    return text


KINDS: dict[str, Callable[[Checkpoint, Path, int, int], list[str]]] = {
    "bind": bind,
    "unbound": unbound,
    "recursor": recursor,
    "knot": knot,
}


@contextlib.contextmanager
def beside(name: str, site: Checkpoint, folder: Path, notify: int) -> Iterator[None]:
    """What runs beside a resolver: of Knot Resolver, who transfers for it."""
    if name != "knot" or not notify:
        yield
        return
    with (folder / "knotd.log").open("wb") as log:
        process = subprocess.Popen(
            knot_dns(site, folder, notify), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        yield
        assert process.poll() is None, (folder / "knotd.log").read_text("utf-8", "replace")[-3000:]
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_peer(
    name: str,
    site: Checkpoint,
    folder: Path,
    port: int,
    upstream: int,
    snippet: Callable[[str], str] = lambda text: text,
    notify: int = 0,
) -> Iterator[Peer]:
    """Start a resolver and wait until it answers; `snippet` may change its configuration, `notify` is where its Knot DNS listens."""
    folder.mkdir(parents=True, exist_ok=True)
    with beside(name, site, folder, notify), _running(name, site, folder, port, upstream, snippet) as peer:
        yield peer


@contextlib.contextmanager
def _running(name: str, site: Checkpoint, folder: Path, port: int, upstream: int, snippet: Callable[[str], str]) -> Iterator[Peer]:
    argv = KINDS[name](site, folder, port, upstream)
    for written in (folder / "conf", folder / "recursor.conf", folder / "rpz.lua"):
        if written.exists():
            written.write_text(snippet(written.read_text()))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    peer = Peer(name, port, folder, process)

    def up() -> bool:
        assert process.poll() is None, peer.log()[-3000:]
        return peer.gives("127.0.0.1", "up.harmless.example", patience=BRIEF) == "198.51.100.7"

    try:
        wait_until(up, deadline=60, what=f"{name} to answer")
        yield peer
    finally:
        end(process)


def comes_to(site: Checkpoint, peer: Peer, source: str, name: str, wanted: str, deadline: float = 90.0) -> float:
    """Wait until a name is to a customer what it should be; seconds it took."""
    began = time.monotonic()
    seen = []

    def there() -> bool:
        seen.append(peer.gives(source, name, patience=BRIEF))
        return seen[-1] == wanted

    try:
        wait_until(there, deadline=deadline, what=f"{wanted} for {name} on {peer.name}", interval=0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}; seen {seen[-3:]}\n{site.say('rpz', 'show')}\n{peer.log()[-1500:]}") from None
    return time.monotonic() - began
