"""The terms on resolvers of other projects: fed by zone transfer, configured by the generated snippets, asked by several customers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.rpzpeers import KEY, KINDS, KNOT_KEY, OTHER_KEY, SECRET, ZONE, Peer, running_peer
from scenarios.harness import Checkpoint, Resolver, ede_code, folders, running, soa_name, write_site
from support import free_port, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

LISTS = [
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"},
    {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "domains", "scope": "exact"},
    {"id": "sealed", "category": "child-abuse", "source": "sealed.txt", "format": "domains", "scope": "exact", "sealed": True},
]
SOURCES = {"c2.txt": "c2.example\na.b.tree.example\n", "abuse.txt": "abuse.example\nboth.example\n", "sealed.txt": "withheld.example\n"}
ANSWER = "198.51.100.7"


@pytest.fixture(scope="session")
def upstream() -> Iterator[Resolver]:
    with Resolver(address=ANSWER).running() as one:
        yield one


@pytest.fixture(scope="session")
def ports() -> dict[str, int]:
    return {name: free_port() for name in (*KINDS, "knotd")}


@pytest.fixture(scope="session")
def publisher(upstream: Resolver, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """A checkpoint that publishes zones for the four resolvers."""
    with folders(tmp_path_factory.mktemp("rpz")) as (folder, runtime):
        (folder / "secret").write_text(SECRET + "\n")
        zones = {
            "zone": ZONE,
            "listen": f"127.0.0.1:{free_port()}",
            "keys": [{"name": name, "secret_file": "secret"} for name in (KEY, OTHER_KEY, KNOT_KEY)],
            "secondaries": [
                {"id": "bind-1", "resolver": "bind", "address": "127.0.0.1", "key": KEY, "notify": f"127.0.0.1:{ports['bind']}"},
                {"id": "recursor-1", "resolver": "recursor", "address": "127.0.0.1", "key": OTHER_KEY},
                {"id": "knot-1", "resolver": "knot", "address": "127.0.0.1", "key": KNOT_KEY, "notify": f"127.0.0.1:{ports['knotd']}"},
                {
                    "id": "unbound-1",
                    "resolver": "unbound",
                    "address": "127.0.0.1",
                    "unsigned": True,
                    "notify": f"127.0.0.1:{ports['unbound']}",
                },
            ],
            "ttl": "5s",
        }
        written = write_site(
            folder, runtime, [upstream.port], lists=LISTS, sources=SOURCES, policy_zones=zones, measures={"mode": "enforce"}, workers=1
        )
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
            lambda: all(one.gives("127.0.0.1", f"{name}.example") == "NXDOMAIN" for name in ("abuse", "c2")),
            deadline=30,
            what="the zones of names, which come one by one",
            interval=0.1,
        )
        yield one


def comes_to(site: Checkpoint, peer: Peer, source: str, name: str, wanted: str, deadline: float = 10.0) -> float:
    """Wait until a name is to a customer what it should be; seconds it took."""
    began = time.monotonic()
    seen = []

    def there() -> bool:
        seen.append(peer.gives(source, name))
        return seen[-1] == wanted

    try:
        wait_until(there, deadline=deadline, what=f"{wanted} for {name} on {peer.name}", interval=0.05)
    except AssertionError as error:
        raise AssertionError(f"{error}; seen {seen[-3:]}\n{site.say('rpz', 'show')}\n{peer.log()[-1500:]}") from None
    return time.monotonic() - began


def test_a_listed_name_is_blocked_an_opted_out_customer_passes_and_a_silenced_one_gets_nothing(publisher: Checkpoint, peer: Peer) -> None:
    site = publisher
    plain, leaving, silent = (site.customer("gunma", "nbnet") for _ in range(3))
    assert peer.gives(plain.address, "c2.example") == "NXDOMAIN"
    assert peer.gives(plain.address, "www.c2.example") == "NXDOMAIN"
    assert peer.gives(plain.address, "www.harmless.example") == ANSWER
    assert peer.gives(leaving.address, "c2.example") == "NXDOMAIN"
    site.sekisho("optout", "add", leaving.id, "c2")
    took = comes_to(site, peer, leaving.address, "c2.example", ANSWER)
    print(f"\n{peer.name}: an opt-out was in force after {took:.2f} s")
    assert peer.gives(leaving.address, "abuse.example") == "NXDOMAIN", "nobody opts out of a mandatory list"
    assert peer.gives(plain.address, "c2.example") == "NXDOMAIN", "what one customer lifted is lifted for nobody else"
    site.sekisho("suspend", silent.id, "--clause", "nbnet/22-2-5", "--reason", "test", "--urgent")
    comes_to(site, peer, silent.address, "www.harmless.example", "silence")
    assert peer.gives(plain.address, "www.harmless.example") == ANSWER
    site.sekisho("optout", "remove", leaving.id, "c2")
    comes_to(site, peer, leaving.address, "c2.example", "NXDOMAIN")


def test_a_list_that_changed_holds_what_it_holds_now(publisher: Checkpoint, peer: Peer) -> None:
    """By differences where the resolver asks for them: one name goes, one comes, and what was between stays."""
    site = publisher
    customer = site.customer("gunma", "nbnet")
    path = site.site.folder / "c2.txt"
    before = path.read_text()
    gone, come = f"gone-{peer.name}.example", f"come-{peer.name}.example"
    try:
        path.write_text(before + gone + "\n")
        site.sekisho("lists", "refresh", "c2")
        comes_to(site, peer, customer.address, f"www.{gone}", "NXDOMAIN")
        path.write_text(before + come + "\n")
        site.sekisho("lists", "refresh", "c2")
        comes_to(site, peer, customer.address, come, "NXDOMAIN")
        comes_to(site, peer, customer.address, gone, ANSWER)
        assert peer.gives(customer.address, f"www.{gone}") == ANSWER
        assert peer.gives(customer.address, "www.c2.example") == "NXDOMAIN"
    finally:
        path.write_text(before)
        site.sekisho("lists", "refresh", "c2")


def test_a_customer_whose_terms_lack_the_clause_is_let_through(publisher: Checkpoint, peer: Peer) -> None:
    """The terms of nbnet have no clause for C&C servers; those of gunma need a consent, which this customer did not give."""
    site = publisher
    without, unasked = site.customer("nbnet"), site.customer("gunma", "nbnet", consent=False)
    exempt = site.customer("gunma", "nbnet", exempt=["abuse"])
    for customer in (without, unasked):
        comes_to(site, peer, customer.address, "c2.example", ANSWER)
        assert peer.gives(customer.address, "abuse.example") == "NXDOMAIN"
    comes_to(site, peer, exempt.address, "abuse.example", ANSWER)
    shown = site.sekisho("rpz", "show")
    assert [one["list"] for one in shown["missed"]] == ["c2"], "whoever is let through before one list is let through by the next"


def test_a_sealed_list_is_withheld_and_the_refusal_says_why(publisher: Checkpoint, peer: Peer) -> None:
    site = publisher
    assert peer.gives(site.customer("gunma", "nbnet").address, "withheld.example") == ANSWER
    (withheld,) = site.sekisho("rpz", "show")["withheld"]
    assert withheld["list"] == "sealed"
    assert "plain text" in withheld["reason"]
    assert "policy_zones.sealed" in withheld["reason"]


TRANSFERS = {"bind": ("bind-1", "ixfr"), "unbound": ("unbound-1", "axfr"), "recursor": ("recursor-1", "ixfr"), "knot": ("knot-1", "ixfr")}
"""How each transfers a zone of client triggers that changed: of Unbound because we give it no difference."""


def test_what_changed_comes_as_a_difference_where_the_resolver_can_use_it(publisher: Checkpoint, peer: Peer) -> None:
    site = publisher
    customer = site.customer("gunma", "nbnet")
    site.sekisho("optout", "add", customer.id, "c2")
    comes_to(site, peer, customer.address, "c2.example", ANSWER)
    secondary, kind = TRANSFERS[peer.name]
    (seen,) = [one for one in site.sekisho("rpz", "show")["secondaries"] if one["id"] == secondary]
    kinds = {one["zone"]: one["kind"] for one in seen["zones"]}
    assert kinds[f"pass-c2.{ZONE}"] == kind
    assert site.metric("sekisho_rpz_transfers_total", zone=f"pass-c2.{ZONE}", kind=kind) >= 1


def test_a_blocked_answer_does_not_say_why(publisher: Checkpoint, peer: Peer) -> None:
    """No Extended DNS Error (RFC 8914) where the checkpoint gives one, and no SOA but from Knot Resolver."""
    answer = peer.ask(publisher.customer("gunma", "nbnet").address, "c2.example")
    assert ede_code(answer) is None
    assert bool(soa_name(answer)) == (peer.name == "knot"), "the others say nothing in the authority section for stubs to keep"


def test_recursors_packet_cache_gives_one_customer_what_was_decided_for_another(
    publisher: Checkpoint, upstream: Resolver, tmp_path: Path
) -> None:
    """Which is why its snippet switches the cache off."""
    site = publisher
    plain, leaving = site.customer("gunma", "nbnet"), site.customer("gunma", "nbnet")
    site.sekisho("optout", "add", leaving.id, "c2")
    with running_peer(
        "recursor", site, tmp_path, free_port(), upstream.port, snippet=lambda text: text.replace("disable-packetcache=yes", "")
    ) as peer:
        # Another name each time: one that was asked before the zone came stays in the cache as it was.
        fresh = (f"n{number}.c2.example" for number in itertools.count())
        wait_until(lambda: peer.gives(plain.address, next(fresh)) == "NXDOMAIN", deadline=30, what="the zones", interval=0.1)
        wait_until(
            lambda: peer.gives(leaving.address, next(fresh)) == ANSWER, deadline=30, what="the zone of those let through", interval=0.1
        )
        assert peer.gives(plain.address, "cached.c2.example") == "NXDOMAIN"
        assert peer.gives(leaving.address, "cached.c2.example") == "NXDOMAIN", "this version's packet cache asks the zones: tell the table"
        assert peer.gives(leaving.address, "other.c2.example") == ANSWER
