"""Addresses in lists, on resolvers of other projects: what answers lead to (`rpz-ip`) and who asks (`rpz-client-ip`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from peers.rpzpeers import BRIEF, ZONE, Peer, comes_to
from scenarios.harness import Checkpoint, Customer

pytestmark = [pytest.mark.peers, pytest.mark.slow]

C2, C2_V6, ABUSE, LATE = "203.0.113.66", "2001:db8:bad::66", "203.0.113.99", "203.0.113.77"
ANSWER, BLOCKED = "198.51.100.7", "NXDOMAIN"
UNTOLD = {"unbound", "knot"}
"""Unbound gets no addresses, Knot Resolver reads none."""
_numbers = itertools.count()


def fresh(server: str) -> str:
    """A name that nobody asked for yet, and that leads to a server."""
    return f"n{next(_numbers)}.{server}.example"


def change(site: Checkpoint, text: str) -> None:
    (site.site.folder / "c2.txt").write_text(text)
    site.sekisho("lists", "refresh", "c2")


def clients(of: Iterable[Customer]) -> str:
    return "".join(f"32.{'.'.join(reversed(one.address.split('.')))}.rpz-client-ip CNAME .\n" for one in of)


def test_an_answer_that_leads_to_a_listed_address_is_kept_back(publisher: Checkpoint, peer: Peer) -> None:
    """From whom the list reaches; it passes for who opted out of it, and nobody opts out of a mandatory one."""
    site = publisher
    plain, leaving = site.customer("gunma", "nbnet"), site.customer("gunma", "nbnet")
    site.sekisho("optout", "add", leaving.id, "c2")
    comes_to(site, peer, leaving.address, "c2.example", ANSWER)
    name, other = fresh("c2-server"), fresh("c2-server")
    if peer.name in UNTOLD:
        assert [peer.gives(plain.address, name), peer.gives(plain.address, fresh("abuse-server"))] == [C2, ABUSE]
        if peer.name == "knot":
            held = (peer.folder / "zones" / f"list-c2.{ZONE}.rpz").read_text()
            assert "32.66.113.0.203.rpz-ip" in held, "it stands in the file that is read"
        # Nor is anybody stopped whom it must not reach, with what the cache has or without.
        assert [peer.gives(leaving.address, of) for of in (name, other, other)] == [C2] * 3
        return
    assert [peer.gives(plain.address, name), peer.gives(plain.address, name, "AAAA")] == [BLOCKED, BLOCKED]
    assert [peer.gives(leaving.address, other), peer.gives(leaving.address, fresh("c2-server"), "AAAA")] == [C2, C2_V6]
    assert peer.gives(plain.address, other) == BLOCKED, "what one customer got is not what another gets"
    assert [peer.gives(leaving.address, other), peer.gives(leaving.address, fresh("abuse-server"))] == [C2, BLOCKED]
    assert peer.gives(plain.address, fresh("abuse-server")) == BLOCKED
    if peer.name != "bind":
        return  # An exception is the publisher's matter: one resolver shows it.
    site.sekisho("lists", "except", "c2", C2)
    try:
        comes_to(site, peer, plain.address, name, C2)
        assert peer.gives(plain.address, name, "AAAA") == BLOCKED
    finally:
        site.sekisho("lists", "except", "c2", C2, "--remove")
    comes_to(site, peer, plain.address, name, BLOCKED)


def test_an_alias_of_a_listed_name_is_kept_back_from_whom_the_list_reaches(publisher: Checkpoint, peer: Peer) -> None:
    """Whoever asked first, and from the cache too; but what Unbound has in its cache it gives everybody, and Knot Resolver asks for none."""
    site = publisher
    plain, leaving = site.customer("gunma", "nbnet"), site.customer("gunma", "nbnet")
    site.sekisho("optout", "add", leaving.id, "c2")
    comes_to(site, peer, leaving.address, "c2.example", ANSWER)
    seen = []
    for first, second in ((plain, leaving), (leaving, plain)):
        name = fresh("c2-alias")
        seen.append([peer.gives(one.address, name) for one in (first, second, first, second)])
    kept_back = [[BLOCKED, ANSWER, BLOCKED, ANSWER], [ANSWER, BLOCKED, ANSWER, BLOCKED]]
    given = {"unbound": [[BLOCKED, ANSWER, ANSWER, ANSWER], [ANSWER] * 4], "knot": [[ANSWER] * 4] * 2}
    assert seen == given.get(peer.name, kept_back), "a resolver that does otherwise: tell the table"


def test_clients_of_a_list_come_behind_who_is_silenced_and_who_is_let_through(publisher: Checkpoint, peer: Peer) -> None:
    """And what the list holds no longer goes, as a difference but where the resolver keeps what a difference took away."""
    site = publisher
    plain, held, leaving, silent = (site.customer("gunma", "nbnet") for _ in range(4))
    site.sekisho("optout", "add", leaving.id, "c2")
    site.sekisho("suspend", silent.id, "--clause", "nbnet/22-2-5", "--reason", "test", "--urgent")
    before = (site.site.folder / "c2.txt").read_text()
    late = fresh("late-server")
    assert peer.gives(plain.address, late) == LATE
    comes_to(site, peer, silent.address, "www.harmless.example", "silence")
    comes_to(site, peer, leaving.address, "c2.example", ANSWER)
    try:
        change(site, f"{before}32.77.113.0.203.rpz-ip CNAME .\nmark-{peer.name}.example CNAME .\n{clients((held, leaving, silent))}")
        comes_to(site, peer, plain.address, f"mark-{peer.name}.example", BLOCKED)
        assert peer.gives(plain.address, late) == (LATE if peer.name in UNTOLD else BLOCKED)
        assert peer.gives(held.address, "www.harmless.example") == (ANSWER if peer.name == "knot" else BLOCKED)
        assert peer.gives(leaving.address, "www.harmless.example") == ANSWER
        assert peer.gives(leaving.address, "abuse.example") == BLOCKED
        assert peer.gives(silent.address, "www.harmless.example", patience=BRIEF) == "silence"
        assert peer.gives(plain.address, "www.harmless.example") == ANSWER
        if peer.name == "unbound":
            # What is left of a list that loses addresses alone comes to it as a difference, too.
            change(site, f"{before}mark-{peer.name}.example CNAME .\n{clients((held, leaving, silent))}")
            comes_to(site, peer, plain.address, late, LATE)
            assert transferred(site, peer) == "ixfr"
        change(site, before)
        comes_to(site, peer, held.address, "www.harmless.example", ANSWER)
        comes_to(site, peer, plain.address, late, LATE)
        assert transferred(site, peer) == ("axfr" if peer.name == "unbound" else "ixfr")
    finally:
        change(site, before)


def transferred(site: Checkpoint, peer: Peer) -> str:
    """How the list's zone came to a resolver last."""
    (seen,) = [one for one in site.sekisho("rpz", "show")["secondaries"] if one["id"] == f"{peer.name}-1"]
    return {one["zone"]: str(one["kind"]) for one in seen["zones"]}[f"list-c2.{ZONE}"]
