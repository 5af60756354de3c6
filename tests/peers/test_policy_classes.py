"""Customers of two terms packs, one of which lacks a clause, on resolvers that give each an order of zones of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from peers.rpzpeers import BRIEF, KINDS, Peer, fed, running_peer
from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from support import free_port, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

ANSWER = "198.51.100.7"
LISTS = [
    {"id": name, "category": name, "source": f"{name}.txt", "format": "domains", "scope": "subtree"} for name in ("c2", "fraud", "abuse")
]
SOURCES = {"c2.txt": "c2.example\n", "fraud.txt": "fraud.example\n", "abuse.txt": "abuse.example\n"}
PACK = """\
version: 1
pack: {pack}
document: {{title: Terms of an operator, operator: Example, version: 2026-01-01}}
clauses:
"""
CLAUSE = """\
  - id: {pack}/{number}
    article: Article {number}
    ja: 名前解決を遮断する。
    en: The name is cut off.
    rules:
      - {{kind: dns-block, categories: [{category}], answer: nxdomain, opt_out: {opt_out}, consent: {{required: false}}, notice: none,
         ede: blocked, record: {{fields: [time, customer, clause, list, entry, action], retention: 90d}}}}
"""


def pack(name: str, *categories: str) -> str:
    clauses = [
        CLAUSE.format(
            pack=name,
            number=number,
            category=category,
            opt_out="nobody" if category == "abuse" else f"{{by: customer, clause: {name}/{number}}}",
        )
        for number, category in enumerate(categories, 1)
    ]
    return PACK.format(pack=name) + "".join(clauses)


@dataclass
class Site:
    checkpoint: Checkpoint
    wide: Customer
    """Whose terms have a clause for each list."""
    narrow: Customer
    """Whose terms have none for the first of those that can be left."""
    leaving: Customer
    """As `narrow`, and leaves the list of the last clause."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Resolver]:
    with Resolver(address=ANSWER).running() as one:
        yield one


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in (*KINDS, "knotd")}


@pytest.fixture(scope="module")
def site(upstream: Resolver, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with folders(tmp_path_factory.mktemp("classes")) as (folder, runtime):
        (folder / "wide.yaml").write_text(pack("wide", "c2", "fraud", "abuse"), encoding="utf-8")
        (folder / "narrow.yaml").write_text(pack("narrow", "fraud", "abuse"), encoding="utf-8")
        written = write_site(
            folder,
            runtime,
            [upstream.port],
            lists=LISTS,
            sources=SOURCES,
            terms=["./wide.yaml", "./narrow.yaml"],
            policy_zones=fed(folder, ports, classes=[{"id": "narrow", "terms": "narrow"}]),
            measures={"mode": "enforce"},
            workers=1,
        )
        with running(written) as one:
            made = Site(one, one.customer("wide"), one.customer("narrow"), one.customer("narrow"))
            one.sekisho("optout", "add", made.leaving.id, "fraud")
            yield made


@pytest.mark.parametrize("name", KINDS)
def test_a_list_reaches_whose_terms_lack_the_clause_of_the_list_before_it(
    name: str, site: Site, upstream: Resolver, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who is let through before one list is let through by the next: not where their terms are a class."""
    seen: dict[str, str] = {}

    def stands(peer: Peer, customer: Customer, *wanted: str) -> bool:
        seen.update({name: peer.gives(customer.address, f"www.{name}.example", patience=BRIEF) for name in ("c2", "fraud", "abuse")})
        return tuple(seen.values()) == wanted

    folder, blocked = tmp_path_factory.mktemp(name), "NXDOMAIN"
    with running_peer(name, site.checkpoint, folder, ports[name], upstream.port, notify=ports["knotd"]) as peer:
        for customer, wanted in (
            (site.wide, (blocked, blocked, blocked)),
            (site.narrow, (ANSWER, blocked, blocked)),
            (site.leaving, (ANSWER, ANSWER, blocked)),
        ):
            try:
                wait_until(lambda of=customer, to=wanted: stands(peer, of, *to), deadline=60, what="the zones", interval=0.1)
            except AssertionError as error:
                raise AssertionError(f"{error}: {customer.id} wanted {wanted}, seen {seen}\n{peer.log()[-2000:]}") from None
        site.checkpoint.sekisho("optout", "remove", site.leaving.id, "fraud")
        try:
            wait_until(lambda: stands(peer, site.leaving, ANSWER, blocked, blocked), deadline=60, what="the opt-out's end", interval=0.1)
        finally:
            site.checkpoint.sekisho("optout", "add", site.leaving.id, "fraud")
    assert site.checkpoint.sekisho("rpz", "show")["missed"] == []
