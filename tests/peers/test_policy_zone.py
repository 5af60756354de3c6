"""A policy zone from a real primary, Knot DNS or BIND, to what a customer is answered: AXFR, IXFR, NOTIFY, TSIG."""

from __future__ import annotations

import base64
import contextlib
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, addresses, folders, running, write_site
from support import free_port, require_binary, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

ZONE = "policy.rpz.test"
SECRET = base64.b64encode(b"a secret of 32 octets, for tests").decode()
KNOT = """
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
database:
    storage: "{folder}"
log:
  - target: stderr
    any: info
key:
  - id: sekisho.key.test
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: sekisho
    address: 127.0.0.1@{notify}
    key: sekisho.key.test
acl:
  - id: transfer
    key: sekisho.key.test
    action: transfer
template:
  - id: default
    storage: "{folder}"
    semantic-checks: off
    zonefile-load: difference
    journal-content: changes
zone:
  - domain: {zone}
    file: zone
    acl: transfer
    notify: sekisho
"""
BIND = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; managed-keys-directory "{folder}"; key-directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify explicit; notify-delay 0; minimal-responses yes;
}};
controls {{ }};
key "sekisho.key.test" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{zone}" {{
    type primary; file "{folder}/zone"; ixfr-from-differences yes; check-names ignore;
    allow-transfer {{ key "sekisho.key.test"; }};
    also-notify {{ 127.0.0.1 port {notify} key "sekisho.key.test"; }};
}};
"""
RECORDS = [f"host{number}.c2.example CNAME ." for number in range(200)] + [
    "gone.example CNAME .",
    "nodata.example CNAME *.",
    "drop.example CNAME rpz-drop.",
    "tcp.example CNAME rpz-tcp-only.",
    "data.example A 192.0.2.80",
    "data.example AAAA 2001:db8::80",
    'data.example TXT "what the operator says"',
    "*.tree.example CNAME .",
    "pass.tree.example CNAME rpz-passthru.",
    "garden.example CNAME walled.harmless.example.",
]  # fmt: skip


@dataclass
class Fed:
    """A checkpoint whose one list is a real primary's policy zone."""

    checkpoint: Checkpoint
    customer: Customer
    folder: Path
    process: subprocess.Popen[bytes]
    serial: int = 1

    def publish(self, records: list[str]) -> None:
        self.serial += 1
        write_zone(self.folder, self.serial, records)
        self.process.send_signal(signal.SIGHUP)

    def show(self) -> dict[str, object]:
        one: dict[str, object] = self.checkpoint.api.get("/v1/lists", id="policy")["lists"][0]
        return one


def write_zone(folder: Path, serial: int, records: list[str]) -> None:
    head = f"$TTL 300\n$ORIGIN {ZONE}.\n@ SOA localhost. hostmaster.{ZONE}. {serial} 3600 600 604800 300\n@ NS localhost.\n"
    aside = folder / "zone.new"
    aside.write_text(head + "\n".join(records) + "\n")
    aside.rename(folder / "zone")


def serves(port: int) -> bool:
    with contextlib.suppress(dns.exception.DNSException, OSError):
        return bool(dns.query.udp(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", port=port, timeout=0.2).answer)
    return False


@contextlib.contextmanager
def running_primary(program: str, folder: Path, port: int, notify: int) -> Iterator[subprocess.Popen[bytes]]:
    path = require_binary(program)
    template = KNOT if program == "knotd" else BIND
    (folder / "conf").write_text(template.format(folder=folder, port=port, notify=notify, secret=SECRET, zone=ZONE))
    arguments = ["-c", str(folder / "conf")] if program == "knotd" else ["-g", "-c", str(folder / "conf")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder)

    def ready() -> bool:
        assert process.poll() is None, (folder / "log").read_text(errors="replace")
        return serves(port)

    try:
        wait_until(ready, deadline=30, what=f"{program} serving the zone")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


@pytest.fixture(scope="module", params=["knotd", "named"])
def fed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    base = tmp_path_factory.mktemp("primary")
    port, notify = free_port(), free_port()
    write_zone(base, 1, RECORDS)
    (base / "secret").write_text(SECRET + "\n")
    (base / "secret").chmod(0o600)
    policy = {
        "id": "policy",
        "category": "c2",
        "source": f"127.0.0.1:{port}",
        "format": "axfr",
        "zone": ZONE,
        "refresh": "1d",
        "tsig": {"name": "sekisho.key.test", "algorithm": "hmac-sha256", "secret_file": str(base / "secret")},
        "notify": f"127.0.0.1:{notify}",
    }
    with (
        running_primary(request.param, base, port, notify) as process,
        Resolver().running() as resolver,
        folders(base) as (folder, runtime),
        running(write_site(folder, runtime, [resolver.port], lists=[policy])) as one,
    ):
        made = Fed(one, one.customer("gunma"), base, process)
        wait_until(lambda: made.show()["entries"], deadline=30, what="the zone in force")
        yield made


def test_every_action_of_the_zone_reaches_the_customer_with_its_meaning(fed: Fed) -> None:
    site, customer = fed.checkpoint, fed.customer
    for name in ("host7.c2.example", "gone.example", "any.tree.example"):
        assert site.is_blocked(customer, name), name
    for name in ("tree.example", "pass.tree.example", "below.gone.example", "c2.example"):
        assert site.is_answered(customer, name), name
    nodata = site.ask(customer, "nodata.example")
    assert (nodata.rcode(), nodata.answer) == (dns.rcode.NOERROR, [])
    assert site.is_silent(customer, "drop.example")
    assert site.ask(customer, "tcp.example").flags & dns.flags.TC
    assert site.is_answered(customer, "tcp.example", tcp=True)
    for tcp in (False, True):
        assert addresses(site.ask(customer, "data.example", tcp=tcp)) == {"192.0.2.80"}
        assert addresses(site.ask(customer, "data.example", "AAAA", tcp=tcp)) == {"2001:db8::80"}
        assert "what the operator says" in site.ask(customer, "data.example", "TXT", tcp=tcp).to_text()
    assert addresses(site.ask(customer, "garden.example", tcp=True)) == {site.upstream_address}


def test_a_name_the_primary_adds_is_cut_off_without_anybody_asking(fed: Fed) -> None:
    """NOTIFY brings it: the list is not due for a day."""
    site, customer = fed.checkpoint, fed.customer
    name = f"new{fed.serial}.example"
    assert site.is_answered(customer, name)
    fed.publish([*RECORDS, f"{name} CNAME ."])
    wait_until(lambda: site.is_blocked(customer, name), deadline=60, what="the new name cut off")
    wait_until(lambda: fed.show()["serial"] == fed.serial, what="the serial shown")
    fed.publish(RECORDS)
    wait_until(lambda: site.is_answered(customer, name), deadline=60, what="the name let through again")
    assert site.is_blocked(customer, "gone.example")


def test_a_zone_that_shrinks_is_held_for_the_operator(fed: Fed) -> None:
    site, customer = fed.checkpoint, fed.customer
    fed.publish(RECORDS[100:])
    wait_until(lambda: fed.show()["held"], deadline=60, what="the shrunk zone held")
    assert site.is_blocked(customer, "host7.c2.example")
    fed.publish(RECORDS)
    wait_until(lambda: fed.show()["serial"] == fed.serial and not fed.show()["held"], deadline=60, what="the whole zone again")
    assert site.is_blocked(customer, "host7.c2.example")


def test_a_key_the_primary_does_not_know_leaves_the_last_zone_in_force_and_is_told(fed: Fed) -> None:
    site, secret = fed.checkpoint, fed.folder / "secret"
    secret.write_text(base64.b64encode(b"another one, of 32 octets as well").decode())
    try:
        refused = site.sekisho("lists", "refresh", "policy", code=1)["lists"][0]
        assert "TSIG" in refused["error"]
        assert site.metric("sekisho_list_last_error", list="policy") == 1
        assert site.is_blocked(fed.customer, "gone.example")
    finally:
        secret.write_text(SECRET)
    assert site.sekisho("lists", "refresh", "policy")["lists"][0]["error"] is None
