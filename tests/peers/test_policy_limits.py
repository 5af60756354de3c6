"""What resolvers cannot do of themselves with policy zones, where the configuration that is generated makes up for it.

Each test fails when a resolver came to do it: then the table of daemon/README.md and the configuration say too much.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest

from peers.conftest import publishing
from peers.rpzpeers import BRIEF, KINDS, ZONE, comes_to, running_peer
from scenarios.harness import Checkpoint, Resolver
from sekisho.model.lists import MAX_LISTS
from sekisho.rpz.snippets import BIND_ZONES, snippet
from sekisho.rpz.told import Told, View, ZoneTold
from support import free_port, require_binary, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

ANSWER = "198.51.100.7"


def wait_for_all(site: Checkpoint) -> None:
    """For whoever asks for the zones once."""
    wait_until(lambda: len(site.api.get("/v1/rpz")["zones"]) == 5, deadline=60, what="all zones")


def test_knot_resolvers_own_drop_answers_servfail_and_it_knows_no_trigger_on_clients(
    publisher: Checkpoint, upstream: Resolver, tmp_path: Path
) -> None:
    """Which the Lua that is generated does. The files are exported here, without a Knot DNS to transfer them."""
    site = publisher
    wait_for_all(site)
    plain, silent = site.customer("gunma", "nbnet"), site.customer("gunma", "nbnet")

    def silenced() -> int:
        return int(next(one for one in site.api.get("/v1/rpz")["zones"] if one["zone"] == f"silenced.{ZONE}")["records"])

    before = silenced()
    site.sekisho("suspend", silent.id, "--clause", "nbnet/22-2-5", "--reason", "test", "--urgent")
    wait_until(lambda: silenced() == before + 1, what="the silenced customer in the zone")

    def as_it_is(text: str) -> str:
        return text

    def by_its_own_drop(text: str) -> str:
        assert "return policy.NO_ANSWER end" in text
        return text.replace("return policy.NO_ANSWER end", "return policy.DROP end")

    def as_a_zone_of_names(text: str) -> str:
        assert "= { action = 'drop' }" in text
        return text.replace("= { action = 'drop' }", "= {}")

    for number, (change, seen) in enumerate(((as_it_is, "silence"), (by_its_own_drop, "SERVFAIL"), (as_a_zone_of_names, ANSWER))):
        folder = tmp_path / str(number)
        site.sekisho("rpz", "export", str(folder / "zones"))
        with running_peer("knot", site, folder, free_port(), upstream.port, change) as peer:
            comes_to(site, peer, plain.address, "c2.example", "NXDOMAIN")
            assert peer.gives(silent.address, "www.harmless.example", patience=BRIEF if seen == "silence" else 30.0) == seen


@pytest.fixture
def alone(upstream: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """A publisher of whom no resolver of other tests transfers anything."""
    with publishing(upstream, {name: free_port() for name in (*KINDS, "knotd", "radius")}, tmp_path_factory.mktemp("alone")) as one:
        yield one


def test_recursor_takes_no_notify_for_policy_zones(alone: Checkpoint, upstream: Resolver, tmp_path: Path) -> None:
    """Which is why it asks every second: with its `allow-notify-` settings it wipes its cache and transfers nothing."""
    site = alone
    zone, port = f"pass-c2.{ZONE}", free_port()

    def seldom(text: str) -> str:
        if "rpzPrimary" in text:
            assert "refresh=1" in text
            return text.replace("refresh=1", "refresh=3600")
        return f"{text}\nallow-notify-from=127.0.0.0/8\nallow-notify-for={zone}\n"

    def asked() -> float:
        return site.metric("sekisho_rpz_transfers_total", zone=zone)

    customer, leaving = site.customer("gunma", "nbnet"), site.customer("gunma", "nbnet")
    wait_for_all(site)
    earlier = asked()
    with running_peer("recursor", site, tmp_path, port, upstream.port, seldom) as peer:
        comes_to(site, peer, customer.address, "c2.example", "NXDOMAIN")
        wait_until(lambda: any(zone in line for line in peer.log().splitlines()), what="the zone at Recursor")
        # A transfer is counted when its last byte has left, which the one who gets it does not wait for.
        wait_until(lambda: asked() > earlier, what="its transfer, counted")
        before = asked()
        site.sekisho("optout", "add", leaving.id, "c2")
        notify = dns.message.make_query(zone, "SOA")
        notify.set_opcode(dns.opcode.NOTIFY)
        notify.flags |= dns.flags.AA
        answer = dns.query.udp(notify, "127.0.0.1", port=port, timeout=10)
        assert answer.opcode() == dns.opcode.NOTIFY, "it hears it"
        # What it does next it has begun when it answers another question.
        for _ in range(20):
            assert peer.gives(leaving.address, "c2.example") == "NXDOMAIN", "this version transfers on NOTIFY: tell it, and the table"
        assert asked() == before


@pytest.mark.parametrize("word", ["tsig-key: one.key.test", "tsig: one.key.test", "key: one.key.test", "primary-tsig: one.key.test"])
def test_unbound_has_no_word_for_a_key(tmp_path: Path, word: str) -> None:
    """Which is why it is `unsigned`."""
    conf = tmp_path / "conf"
    conf.write_text(f'server:\n    username: ""\n    chroot: ""\nrpz:\n    name: "rpz.test"\n    primary: 127.0.0.1\n    {word}\n')
    done = subprocess.run([require_binary("unbound-checkconf"), str(conf)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "unknown keyword" in done.stderr + done.stdout or "syntax error" in done.stderr + done.stdout


def test_bind_takes_64_policy_zones_in_a_view_and_no_more(tmp_path: Path) -> None:
    """Which is why its configuration is refused where there would be more."""

    def checked(count: int) -> subprocess.CompletedProcess[str]:
        zones = tuple(ZoneTold(f"list-{number}.{ZONE}", clients=False) for number in range(count))
        told = Told("127.0.0.1", 5353, (View("", zones),), None, "", "")
        conf = tmp_path / "conf"
        conf.write_text(f"options {{\n{snippet('bind', told, 'policy')}}};\n{snippet('bind', told, 'zones')}")
        return subprocess.run([require_binary("named-checkconf"), str(conf)], capture_output=True, text=True, timeout=60, check=False)

    done = checked(BIND_ZONES)
    assert done.returncode == 0, done.stdout + done.stderr
    done = checked(BIND_ZONES + 1)
    assert done.returncode != 0
    assert f"more than {BIND_ZONES} response policy zones in view" in done.stdout + done.stderr


def test_unbound_takes_the_zones_of_all_lists_there_can_be(tmp_path: Path) -> None:
    zones = tuple(ZoneTold(f"list-{number}.{ZONE}", clients=False) for number in range(2 * MAX_LISTS + 2))
    conf = tmp_path / "conf"
    text = snippet("unbound", Told("127.0.0.1", 5353, (View("", zones),), None, "", ""))
    conf.write_text(f'{text}server:\n    username: ""\n    chroot: ""\n')
    done = subprocess.run([require_binary("unbound-checkconf"), str(conf)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
