"""The hard budget of `gunma/19-2` and `nbnet/22-2-5`: who floods is held, and the others are served."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from support import wait_until

pytestmark = pytest.mark.slow

RATE, BURST = 200, 400
"""What both packs say."""

OWN = """\
version: 1
pack: own
document: {title: Terms of an operator of one's own, operator: Example, version: 2026-01-01}
clauses:
  - id: own/7
    article: Article 7
    ja: 過大な負荷を生じる利用を制限する。
    en: Excessive load is restricted.
    rules:
      - kind: dns-budget
        rate: 1
        burst: 5
        over: truncate
        notice: none
        record: {fields: [time, customer, clause, action], retention: 1d}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    with Resolver().running() as resolver, folders(tmp_path_factory.mktemp("budget")) as (folder, runtime):
        (folder / "own.yaml").write_text(OWN, encoding="utf-8")
        written = write_site(folder, runtime, [resolver.port], terms=["gunma", "nbnet", "./own.yaml"])
        with running(written) as one:
            yield one


LAST = 0xFFFF


def flood(checkpoint: Checkpoint, customer: Customer, name: str, count: int) -> tuple[Counter[int], float]:
    """Send `count` queries without waiting for answers; what came by response code, and the seconds it all took.

    Packets of one socket are dealt with in order: once a last one has its answer, which is asked until the budget allows it, all of
    them have been.
    """
    packet = bytearray(dns.message.make_query(name, "A").to_wire())
    got: Counter[int] = Counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.bind((customer.address, 0))
        client.connect((checkpoint.site.host, checkpoint.site.port))
        began = time.monotonic()
        client.setblocking(False)
        for number in range(count):
            packet[:2] = (number & 0xFFFF).to_bytes(2, "big")
            with contextlib.suppress(BlockingIOError):
                client.send(packet)
            with contextlib.suppress(BlockingIOError):
                got[client.recv(4096)[3] & 15] += 1
        packet[:2] = LAST.to_bytes(2, "big")
        client.settimeout(0.2)

        def is_over() -> bool:
            client.send(packet)
            with contextlib.suppress(TimeoutError):
                while int.from_bytes((answer := client.recv(4096))[:2], "big") != LAST:
                    got[answer[3] & 15] += 1
                return True
            return False

        wait_until(is_over, what="an answer behind the flood")
        return got, time.monotonic() - began


@pytest.mark.parametrize(("pack", "clause"), [("gunma", "gunma/19-2"), ("nbnet", "nbnet/22-2-5")])
def test_gunma_19_2_and_nbnet_22_2_5_hold_a_flooder_while_the_others_are_served(site: Checkpoint, pack: str, clause: str) -> None:
    """Without notice and by silence, never REFUSED; what is within the budget is answered, also once the flood is over, and the clause
    is counted.
    """
    flooder, other = site.customer(pack), site.customer(pack)
    name = site.harmless()
    assert site.is_answered(flooder, name)
    counted = site.metric("sekisho_clause_matches_total", clause=clause), site.metric("sekisho_verdicts_total", step="budget")
    result: list[tuple[Counter[int], float]] = []
    thread = threading.Thread(target=lambda: result.append(flood(site, flooder, name, 6000)))
    thread.start()
    served = 0
    while thread.is_alive():
        assert site.is_answered(other, name)
        served += 1
        thread.join(0.01)  # within a budget of one's own
    got, seconds = result[0]
    assert served
    assert set(got) == {dns.rcode.NOERROR}
    assert BURST / 2 < got[dns.rcode.NOERROR] <= BURST + RATE * seconds + 1

    def held() -> bool:
        """Every query held is held by this clause; counts are told a moment after the fact."""
        clauses = site.metric("sekisho_clause_matches_total", clause=clause) - counted[0]
        return clauses == site.metric("sekisho_verdicts_total", step="budget") - counted[1] > 0

    wait_until(held, what="every query held under the clause")


def test_the_budget_is_the_same_over_tcp(site: Checkpoint) -> None:
    flooder, other = site.customer("nbnet"), site.customer("nbnet")
    name = site.harmless()
    query = dns.message.make_query(name, "A").to_wire()
    framed = (len(query).to_bytes(2, "big") + query) * 50
    before = site.metric("sekisho_verdicts_total", step="budget")
    counted = site.metric("sekisho_clause_matches_total", clause="nbnet/22-2-5")
    with socket.socket() as client:
        client.bind((flooder.address, 0))
        client.connect((site.site.host, site.site.port))
        deadline = time.monotonic() + 60
        with contextlib.suppress(ConnectionError):
            while site.metric("sekisho_verdicts_total", step="budget") == before:
                assert time.monotonic() < deadline, "no query of a flood over TCP was held"
                for _ in range(20):
                    client.settimeout(30)
                    client.sendall(framed)
                    client.settimeout(0.1)
                    with contextlib.suppress(TimeoutError):
                        client.recv(1 << 20)
    wait_until(lambda: site.metric("sekisho_clause_matches_total", clause="nbnet/22-2-5") > counted, what="the clause counted")
    assert site.is_answered(other, name, tcp=True)


def test_a_pack_of_the_operators_own_may_truncate_instead(site: Checkpoint) -> None:
    """TC=1 sends who is honest to TCP, and no more amplifies than silence."""
    customer = site.customer("own")
    assert site.sekisho("customers", "show", customer.id)["budget"] == {"clause": "own/7", "rate": 1, "burst": 5, "over": "truncate"}

    def limited() -> bool:
        answers = [site.ask(customer, "www.example.com") for _ in range(3)]
        return any(answer.flags & dns.flags.TC and not answer.answer for answer in answers)

    wait_until(limited, what="a truncated answer")


def test_the_explanation_of_a_held_query_names_the_clause(site: Checkpoint) -> None:
    customer = site.customer("own", "nbnet")

    def explained() -> dict[str, object] | None:
        for _ in range(5):
            site.ask(customer, "www.example.com")
        found: dict[str, object] = site.api.post("/v1/explain", customer=customer.id, name="www.example.com")
        return found if found["verdict"] == "limited" else None

    found = wait_until(explained, what="a verdict of limited")
    assert found is not None
    assert found["clause"] == "own/7", "of several budgets the strictest counts"


def test_no_clause_no_budget(site: Checkpoint, tmp_path: Path) -> None:
    exempt = site.customer("nbnet", exempt=["nbnet/22-2-5"])
    name = site.harmless()
    assert site.is_answered(exempt, name)
    before = site.metric("sekisho_verdicts_total", step="budget")
    got, _ = flood(site, exempt, name, 2000)
    assert got[dns.rcode.NOERROR] > BURST
    assert site.metric("sekisho_verdicts_total", step="budget") == before
