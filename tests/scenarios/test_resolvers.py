"""Resolvers that are slow, lie, fail, or are told whose query it is, behind both transports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from scenarios.harness import Checkpoint, Customer, Resolver, addresses, ede_code, folders, running, write_site
from scenarios.harness.resolver import Behaviour, honest, respond, servfail, silent
from support import wait_until

pytestmark = pytest.mark.slow

FORGED = "192.0.2.99"
"""What no customer may ever be told."""
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]


@dataclass
class Pair:
    """A checkpoint before two resolvers, the second of which is honest unless told otherwise."""

    checkpoint: Checkpoint
    first: Resolver
    second: Resolver
    customer: Customer

    @contextlib.contextmanager
    def behaving(self, first: Behaviour, second: Behaviour = honest) -> Iterator[None]:
        self.recover()
        self.first.behave, self.second.behave = first, second
        try:
            yield
        finally:
            self.first.behave = self.second.behave = honest

    def recover(self) -> None:
        """Ask over both transports until the first resolver is the one that answers, whatever was done to it before."""
        for tcp in (False, True):
            wait_until(lambda tcp=tcp: self.is_first(tcp), deadline=60, what="the first resolver in use again")

    def is_first(self, tcp: bool) -> bool:
        return addresses(self.checkpoint.ask(self.customer, self.checkpoint.harmless(), tcp=tcp)) == {self.first.address}

    def second_answers(self, tcp: bool = False) -> None:
        """The second resolver is asked. On a busy machine it too may be too slow once; a lie never gets through."""

        def asked() -> bool:
            answer = self.checkpoint.ask(self.customer, self.checkpoint.harmless(), tcp=tcp)
            assert addresses(answer) == {self.second.address} or (answer.rcode(), answer.answer) == (dns.rcode.SERVFAIL, []), answer
            return bool(answer.answer)

        wait_until(asked, what="an answer of the second resolver")


@contextlib.contextmanager
def before_two(folder: Path, timeout: str) -> Iterator[Pair]:
    with Resolver().running() as first, Resolver(address="198.51.100.8").running() as second, folders(folder) as (files, runtime):
        site = write_site(files, runtime, [], lists=LISTS, sources={"c2.txt": "listed.example\n"})
        ports = [f"127.0.0.1:{one.port}" for one in (first, second)]
        site.edit(upstream={"address": ports, "timeout": timeout}, workers=1)
        with running(site) as one:
            yield Pair(one, first, second, one.customer("gunma", exempt=["gunma/19-2"]))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """With little patience: for resolvers that do not answer."""
    with before_two(tmp_path_factory.mktemp("resolvers"), "300ms") as one:
        yield one


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For resolvers that answer, however busy the machine is."""
    with before_two(tmp_path_factory.mktemp("patient"), "20s") as one:
        yield one


def forged(packet: bytes) -> bytes:
    return respond(packet, FORGED)


def wrong_identity(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = forged(packet)
    return [(bytes((answer[0] ^ 0x55,)) + answer[1:], False), (bytes((answer[0], answer[1] ^ 1)) + answer[2:], False)]


def wrong_name(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = dns.message.from_wire(forged(packet))
    answer.question[0].name = dns.name.from_text("other.example")
    for rrset in answer.answer:
        rrset.name = answer.question[0].name
    return [(answer.to_wire(), False)]


def wrong_type(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = dns.message.from_wire(forged(packet))
    answer.question[0].rdtype = dns.rdatatype.TXT
    return [(answer.to_wire(), False)]


def no_question(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = dns.message.from_wire(forged(packet))
    answer.question.clear()
    return [(answer.to_wire(), False)]


def wrong_source(packet: bytes) -> list[tuple[bytes, bool]]:
    return [(forged(packet), True)]


def no_response(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = bytearray(forged(packet))
    answer[2] &= 0x7F
    return [(bytes(answer), False)]


def cut_short(packet: bytes) -> list[tuple[bytes, bool]]:
    answer = forged(packet)
    return [(answer[:size], False) for size in (1, 11, 12, len(answer) // 2, len(answer) - 1)]


def garbage(packet: bytes) -> list[tuple[bytes, bool]]:
    return [(packet[:2] + b"\xc0" * 60, False), (packet[:2] + b"\x81\x80" + b"\xff" * 8 + b"\xc0\x0c" * 20, False), (b"", False)]


def huge(packet: bytes) -> list[tuple[bytes, bool]]:
    """As much as a datagram may hold, four times what a desk has room for."""
    ((answer, _),) = wrong_name(packet)
    return [(answer + bytes(65_000 - len(answer)), False)]


def flood(packet: bytes) -> list[tuple[bytes, bool]]:
    """Hundreds of guesses at once, some of them from elsewhere."""
    answer = forged(packet)
    return [
        ((int.from_bytes(answer[:2], "big") + guess & 0xFFFF).to_bytes(2, "big") + answer[2:], guess % 5 == 0) for guess in range(1, 400)
    ]


LIES = [wrong_identity, wrong_name, wrong_type, no_question, wrong_source, no_response, cut_short, garbage, huge, flood]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_before_the_truth_is_ignored(patient: Pair, lie: Behaviour) -> None:
    """Wrong id, question, source or form: dropped, and the right answer behind it is taken."""
    name = patient.checkpoint.harmless()
    with patient.behaving(lambda packet: [*lie(packet), *honest(packet)]):
        assert addresses(patient.checkpoint.ask(patient.customer, name)) == {patient.first.address}
    for _ in range(3):
        assert addresses(patient.checkpoint.ask(patient.customer, name)) == {patient.first.address}, "nothing else is in the cache"


# Over TCP an answer comes from where the connection goes.
@pytest.mark.parametrize(("lie", "tcp"), [(lie, tcp) for lie in LIES for tcp in (False, True) if not (tcp and lie is wrong_source)])
def test_a_resolver_that_only_lies_is_as_good_as_none(pair: Pair, lie: Behaviour, tcp: bool) -> None:
    with pair.behaving(lie):
        pair.second_answers(tcp)
    with pair.behaving(lie, lie):
        answer = pair.checkpoint.ask(pair.customer, pair.checkpoint.harmless(), tcp=tcp)
        assert (answer.rcode(), answer.answer) == (dns.rcode.SERVFAIL, [])


def test_lies_are_counted(patient: Pair) -> None:
    before = patient.checkpoint.metric("sekisho_upstream_mismatched_total")
    with patient.behaving(lambda packet: [*wrong_name(packet), *honest(packet)]):
        patient.checkpoint.ask(patient.customer, patient.checkpoint.harmless())
    wait_until(lambda: patient.checkpoint.metric("sekisho_upstream_mismatched_total") > before, what="the lie counted")


@pytest.mark.parametrize("tcp", [False, True])
def test_a_slow_resolver_is_waited_for_so_long_and_the_second_asked(pair: Pair, tcp: bool) -> None:
    before = {name: pair.checkpoint.metric(f"sekisho_upstream_{name}_total") for name in ("timeouts", "failovers")}
    with pair.behaving(silent):
        for _ in range(3):
            pair.second_answers(tcp)
        assert pair.checkpoint.is_blocked(pair.customer, "listed.example", tcp=tcp)
    wait_until(
        lambda: all(pair.checkpoint.metric(f"sekisho_upstream_{name}_total") > count for name, count in before.items()), what="both counted"
    )


def test_an_answer_that_comes_too_late_goes_to_nobody(pair: Pair) -> None:
    late: list[bytes] = []

    def hold_back(packet: bytes) -> list[tuple[bytes, bool]]:
        """Answer the query before this one, long after its time."""
        late.append(forged(packet))
        return [(late[-2], False)] if len(late) > 1 else []

    with pair.behaving(hold_back):
        for _ in range(4):
            pair.second_answers()
    assert late


@pytest.mark.parametrize("tcp", [False, True])
def test_when_every_resolver_is_silent_the_customer_is_told(pair: Pair, tcp: bool) -> None:
    before = pair.checkpoint.metric("sekisho_upstream_servfail_total")
    with pair.behaving(silent, silent):
        answer = pair.checkpoint.ask(pair.customer, pair.checkpoint.harmless(), tcp=tcp)
        assert (answer.rcode(), ede_code(answer) in (22, 23)) == (dns.rcode.SERVFAIL, True)
        assert pair.checkpoint.is_blocked(pair.customer, "listed.example", tcp=tcp)
    wait_until(lambda: pair.checkpoint.metric("sekisho_upstream_servfail_total") > before, what="the failure counted")


def test_a_failure_of_the_resolver_is_not_kept(pair: Pair) -> None:
    name = pair.checkpoint.harmless()
    with pair.behaving(servfail, servfail):
        assert pair.checkpoint.ask(pair.customer, name).rcode() == dns.rcode.SERVFAIL
    wait_until(lambda: addresses(pair.checkpoint.ask(pair.customer, name)) == {pair.first.address}, deadline=60, what="the answer")


def test_ports_and_identities_of_queries_cannot_be_foretold(patient: Pair) -> None:
    """Who would forge an answer has to guess both (RFC 5452)."""
    patient.recover()
    patient.first.ports.clear()
    patient.first.identities.clear()
    for _ in range(60):
        patient.checkpoint.ask(patient.customer, patient.checkpoint.harmless())
    identities = patient.first.identities
    assert len(patient.first.ports) >= 8
    assert len(identities) >= 55
    assert max(identities) - min(identities) > 20_000
    assert len({one + 1 for one in identities} & identities) < 10, "not one after the other"


@pytest.mark.parametrize("tcp", [False, True])
def test_a_resolver_that_changes_the_case_of_a_name_is_believed_and_the_customer_keeps_theirs(patient: Pair, tcp: bool) -> None:
    def lowered(packet: bytes) -> list[tuple[bytes, bool]]:
        query = dns.message.from_wire(packet)
        query.question[0].name = query.question[0].name.canonicalize()
        return [(respond(query.to_wire()), False)]

    name = patient.checkpoint.harmless().replace("harmless", "HarmLess")
    with patient.behaving(lowered):
        for _ in range(2):
            answer = patient.checkpoint.ask(patient.customer, name, tcp=tcp)
            assert addresses(answer) == {patient.first.address}
            assert answer.question[0].name.to_text() == f"{name}."


def test_a_truncated_answer_is_passed_on_and_nothing_of_it_kept(patient: Pair) -> None:
    patient.recover()
    name = f"big.{patient.checkpoint.harmless()}"
    for _ in range(2):
        answer = patient.checkpoint.ask(patient.customer, name, "TXT")
        assert answer.flags & dns.flags.TC
    whole = patient.checkpoint.ask(patient.customer, name, "TXT", tcp=True)
    assert not whole.flags & dns.flags.TC
    assert sum(len(rrset) for rrset in whole.answer) == 20


def test_what_the_cache_holds_is_asked_for_once(patient: Pair) -> None:
    patient.recover()
    name = patient.checkpoint.harmless()
    for spelling in (name, name.upper(), name.title()) * 5:
        answer = patient.checkpoint.ask(patient.customer, spelling)
        assert addresses(answer) == {patient.first.address}
        assert answer.question[0].name.to_text() == f"{spelling}."
        assert answer.answer[0].ttl <= 300
    assert patient.first.asked[f"{name}."] == 1
    missing = f"nx.{patient.checkpoint.harmless()}"
    for _ in range(10):
        assert patient.checkpoint.ask(patient.customer, missing).rcode() == dns.rcode.NXDOMAIN
    assert patient.first.asked[f"{missing}."] == 1


def test_do_and_cd_have_answers_of_their_own(patient: Pair) -> None:
    patient.recover()
    name = patient.checkpoint.harmless()
    for _ in range(4):
        for options in ({}, {"want_dnssec": True}, {"flags": dns.flags.RD | dns.flags.CD}):
            patient.checkpoint.ask(patient.customer, name, **options)
    assert patient.first.asked[f"{name}."] == 3


def test_the_resolver_is_told_whose_query_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    """PROXY v2, address and port, over UDP and TCP; and answers are each client's own then."""
    with (
        Resolver(proxied=True).running() as resolver,
        folders(tmp_path_factory.mktemp("proxied")) as (folder, runtime),
    ):
        site = write_site(folder, runtime, [], lists=LISTS, sources={"c2.txt": "listed.example\n"})
        site.edit(upstream={"address": f"127.0.0.1:{resolver.port}", "proxy_protocol": True})
        with running(site) as one:
            customers = [one.customer("gunma") for _ in range(3)]
            name = one.harmless()
            for tcp in (False, True):
                for customer in customers:
                    assert addresses(one.ask(customer, name, tcp=tcp)) == {resolver.address}
            told = {address for address, _ in resolver.clients}
            assert told == {customer.address for customer in customers}
            assert all(port for _, port in resolver.clients)
            assert resolver.asked[f"{name}."] >= len(customers)
            blocked = resolver.asked["listed.example."]
            assert one.is_blocked(customers[0], "listed.example")
            assert resolver.asked["listed.example."] == blocked
