"""Unbound as the resolver behind the checkpoint: there, gone, come back, and told whose query it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.rcode
import pytest

from peers.conftest import LISTED, LISTS, SEALED, SOURCES, Unbound, running_unbound
from scenarios.harness import Checkpoint, addresses, ede_code, folders, running, write_site
from support import free_port, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

STALE, UNREACHABLE = 3, (22, 23)
"""Extended DNS Errors (RFC 8914): Stale Answer; No Reachable Authority, Network Error."""


def test_what_unbound_says_reaches_the_customer_whole(site: Checkpoint) -> None:
    customer = site.customer("gunma", "nbnet")
    for tcp in (False, True):
        assert addresses(site.ask(customer, "a.harmless.example", tcp=tcp)) == {"198.51.100.7"}
        assert addresses(site.ask(customer, "a.harmless.example", "AAAA", tcp=tcp)) == {"2001:db8::7"}
        assert "from Unbound" in site.ask(customer, "a.harmless.example", "TXT", tcp=tcp).to_text()
        missing = site.ask(customer, "a.missing.example", tcp=tcp)
        assert (missing.rcode(), ede_code(missing)) == (dns.rcode.NXDOMAIN, None)
        refused = site.ask(customer, "www.example.org", tcp=tcp)
        assert refused.rcode() == dns.rcode.REFUSED, "what the resolver refuses is refused by the resolver"


@dataclass
class Mortal:
    """A site whose only resolver is started and stopped by the test."""

    checkpoint: Checkpoint
    port: int
    folder: Path

    def resolver(self) -> object:
        return running_unbound(self.folder, port=self.port)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    folder, port = tmp_path_factory.mktemp("mortal"), free_port()
    with folders(tmp_path_factory.mktemp("site")) as (files, runtime):
        site = write_site(files, runtime, [port], lists=LISTS, sources=SOURCES)
        site.edit(upstream={"address": f"127.0.0.1:{port}", "timeout": "300ms"}, workers=1)
        with running(site) as one:
            yield Mortal(one, port, folder)


@pytest.mark.parametrize("tcp", [False, True])
def test_an_unreachable_resolver_is_a_failure_that_says_so_and_policy_stands(mortal: Mortal, tcp: bool) -> None:
    site = mortal.checkpoint
    customer = site.customer("gunma", "nbnet")
    failed = site.ask(customer, f"never{tcp}.harmless.example", tcp=tcp)
    assert failed.rcode() == dns.rcode.SERVFAIL
    assert ede_code(failed) in UNREACHABLE
    assert site.is_blocked(customer, LISTED, tcp=tcp)
    assert site.is_blocked(customer, SEALED, tcp=tcp)
    assert site.ask("127.8.8.8", LISTED, tcp=tcp).rcode() == dns.rcode.REFUSED
    plain = site.ask(customer, f"plain{tcp}.harmless.example", tcp=tcp, edns=False)
    assert (plain.rcode(), plain.edns) == (dns.rcode.SERVFAIL, -1)


def test_answers_go_on_stale_while_the_resolver_is_dead_and_policy_is_first(mortal: Mortal) -> None:
    """RFC 8767: a known answer past its time is better than none; not for what a list holds by now."""
    site = mortal.checkpoint
    customer, other = site.customer("gunma", "nbnet"), site.customer("nbnet")
    with running_unbound(mortal.folder, port=mortal.port):
        wait_until(
            lambda: addresses(site.ask(customer, "known.short.example")) == {"198.51.100.7"},
            what="the resolver taken up again",
        )
        wait_until(lambda: site.is_answered(other, f"stale.{LISTED}"), what="an answer to be kept")
    stale = site.metric("sekisho_cache_stale_total")

    def is_stale() -> bool:
        answer = site.ask(customer, "known.short.example")
        assert addresses(answer) == {"198.51.100.7"}
        return ede_code(answer) == STALE

    wait_until(is_stale, what="an answer past its time to live")
    answer = site.ask(customer, "known.short.example")
    assert [rrset.ttl for rrset in answer.answer] == [30]
    wait_until(lambda: site.metric("sekisho_cache_stale_total") > stale, what="stale answers counted")
    assert site.is_blocked(customer, f"stale.{LISTED}")
    with running_unbound(mortal.folder, port=mortal.port):
        wait_until(lambda: ede_code(site.ask(customer, "known.short.example")) is None, what="fresh answers again")


PROXY_VIEWS = """
    access-control-view: 127.20.0.0/16 "known"
view:
    name: "known"
    view-first: yes
    local-zone: "who.example." redirect
    local-data: "who.example. 300 IN A 192.0.2.20"
view:
    name: "six"
    view-first: yes
    local-zone: "who.example." redirect
    local-data: "who.example. 300 IN A 192.0.2.6"
"""


def test_unbound_is_told_whose_query_it_is_by_proxy_v2(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It answers by the client's address, and no such answer reaches another client."""
    base, port = tmp_path_factory.mktemp("proxied"), free_port()
    more = f'interface: 127.0.0.1@{port}\n    proxy-protocol-port: {port}\n    local-zone: "who.example." redirect\n'
    more += '    local-data: "who.example. 300 IN A 192.0.2.99"'
    with running_unbound(base, more=more, views=PROXY_VIEWS), folders(base) as (folder, runtime):
        site = write_site(folder, runtime, [port], lists=LISTS, sources=SOURCES, allow=["127.21.0.0/16"])
        site.edit(upstream={"address": f"127.0.0.1:{port}", "proxy_protocol": True})
        with running(site) as one:
            customer = one.customer("gunma")
            for tcp in (False, True):
                for _ in range(3):
                    assert addresses(one.ask(customer, "who.example", tcp=tcp)) == {"192.0.2.20"}
                    assert addresses(one.ask("127.21.0.1", "who.example", tcp=tcp)) == {"192.0.2.99"}
            assert one.is_blocked(customer, LISTED)
            assert one.is_answered(customer, "a.harmless.example")


def test_the_unbound_of_all_tests_still_stands(unbound: Unbound) -> None:
    assert unbound.process.poll() is None
