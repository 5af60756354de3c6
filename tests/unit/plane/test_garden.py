"""The walled garden: a suspended customer's names lead to the notice page, and nothing of it reaches anybody else."""

from __future__ import annotations

from collections.abc import Iterator

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.counters import Counter
from sekisho.model.lists import Action, ActionKind, LocalRecord
from sekisho.snapshot import layout
from sekisho.snapshot.build import Garden
from support.plane import (
    CUSTOMER,
    GARDEN,
    GARDENED,
    GROUNDS,
    LET_OUT,
    PAGE,
    PEOPLE,
    RESTRICTED,
    SILENCED,
    UNCOMPILED,
    Plane,
    at,
    checkpoint_snapshot,
    make_customers,
    query,
    wire,
)

pytestmark = UNCOMPILED

ROW = 1 + [one.id for one in PEOPLE].index("gardened")


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane() as one:
        yield one


def ask(plane: Plane, name: str, rdtype: str = "A", source: str = GARDENED, edns: int = 0) -> dns.message.Message:
    found = plane.ask(query(name, rdtype, edns=edns), source)
    assert found is not None
    return dns.message.from_wire(found)


def errors(answer: dns.message.Message) -> list[tuple[int, str | None]]:
    return [(int(option.code), option.text) for option in answer.options if isinstance(option, dns.edns.EDEOption)]


@pytest.mark.parametrize("name", ["www.example.com", "bad.example", "drop.example", "pass.example", "second.example", "."])
def test_nbnet_22_1_every_name_leads_to_the_notice_page_and_the_answer_names_the_clause(plane: Plane, name: str) -> None:
    """Lists or not: of the suspended nothing is compared and nothing is recorded."""
    dot = "" if name == "." else "."
    for rdtype, text in (("A", "203.0.113.80"), ("AAAA", "2001:db8::80")):
        answer = ask(plane, name, rdtype)
        assert [str(one) for one in answer.answer] == [f"{name}{dot} 10 IN {rdtype} {text}"]
        assert (answer.rcode(), errors(answer), answer.authority) == (dns.rcode.NOERROR, [(15, GROUNDS[1])], [])
        assert not answer.flags & dns.flags.TC
    assert not plane.asked()
    assert plane.steps() == {"garden": 2}
    assert plane.total(Counter.HITS) == 0


@pytest.mark.parametrize("rdtype", ["HTTPS", "MX", "TXT", "SOA", "NS", "TYPE65280"])
def test_other_types_have_no_data_and_are_asked_again_as_soon(plane: Plane, rdtype: str) -> None:
    answer = ask(plane, "www.example.com", rdtype)
    assert (answer.rcode(), answer.answer, errors(answer)) == (dns.rcode.NOERROR, [], [(15, GROUNDS[1])])
    (soa,) = answer.authority
    assert (soa.ttl, soa[0].minimum) == (10, 10)


def test_a_query_without_edns_is_led_there_without_an_error_code(plane: Plane) -> None:
    answer = ask(plane, "www.example.com", edns=-1)
    assert (len(answer.answer), answer.edns) == (1, -1)


@pytest.mark.parametrize("name", ["notice.test", "NOTICE.test", "www.notice.test", "a.b.c.panel.isp.test"])
def test_names_let_out_resolve_with_all_below_them(plane: Plane, name: str) -> None:
    answer = plane.resolve(query(name), None, f"{name}. 60 IN A 198.51.100.7", source=GARDENED)
    assert answer is not None
    assert dns.message.from_wire(answer).answer[0][0].address == "198.51.100.7"
    assert plane.steps() == {"forward": 1}


@pytest.mark.parametrize("name", ["test", "isp.test", "xnotice.test", "notice.test.example", "panel.isp.tesu", "notice.tes", "."])
def test_names_that_only_look_like_them_do_not(plane: Plane, name: str) -> None:
    assert ask(plane, name).answer
    assert plane.steps() == {"garden": 1}


def test_nbnet_21_1_a_name_let_out_is_still_held_to_the_mandatory_lists(plane: Plane) -> None:
    assert "sealed.example" in LET_OUT
    assert not ask(plane, "sealed.example").answer
    assert plane.steps() == {"mandatory": 1}


def test_no_answer_of_the_garden_reaches_another_customer_nor_another_answer_the_suspended(plane: Plane) -> None:
    ask(plane, "www.example.com")
    assert plane.resolve(query("www.example.com"), None, "www.example.com. 60 IN A 198.51.100.7") is not None
    cached = plane.ask(query("www.example.com"), CUSTOMER)
    assert cached is not None
    assert dns.message.from_wire(cached).answer[0][0].address == "198.51.100.7"
    assert ask(plane, "www.example.com").answer[0][0].address == "203.0.113.80"
    assert plane.steps() == {"garden": 2, "forward": 1, "cache": 1}


def test_the_gardened_are_counted_by_customer_and_by_clause(plane: Plane) -> None:
    for _ in range(3):
        ask(plane, "www.example.com")
    assert plane.ask(query("www.example.com"), SILENCED) is None
    assert plane.counts.customers[ROW].tolist() == [3, 0, 0, 3]
    assert plane.counts.rules[1].tolist()[:3] == [1, 3, 0]


@pytest.mark.parametrize("rdtype", ["A", "AAAA", "MX"])
def test_where_no_notice_page_is_known_names_are_refused_with_the_clause(rdtype: str) -> None:
    """Silence would leave the customer guessing, and an address of nobody's would be a lie."""
    with Plane(checkpoint_snapshot(garden=None)) as plane:
        answer = ask(plane, "notice.test", rdtype)
        assert (answer.rcode(), answer.answer, errors(answer)) == (dns.rcode.REFUSED, [], [(15, GROUNDS[1])])
        assert plane.steps() == {"garden": 1}


def test_more_addresses_than_fit_a_small_answer_are_fetched_over_tcp() -> None:
    action = Action(ActionKind.SINKHOLE, tuple(LocalRecord(28, 10, bytes(15) + bytes((one,))) for one in range(40)))
    with Plane(checkpoint_snapshot(Garden(action))) as plane:
        assert ask(plane, "www.example.com", "AAAA", edns=-1).flags & dns.flags.TC
        assert not ask(plane, "www.example.com", "A", edns=-1).flags & dns.flags.TC


def people(**measures: object) -> layout.Customers:
    return make_customers([CustomerRow("one", at(CUSTOMER), 0b111, 0, **measures)])  # type: ignore[arg-type]


def test_the_stricter_comes_first_silence_then_the_budget_then_the_garden() -> None:
    with Plane(customers=people(garden=True, silenced=True, measure=1)) as plane:
        assert plane.ask(query("www.example.com")) is None
        assert plane.steps() == {"silenced": 1}
    with Plane(customers=people(garden=True, measure=2, budget_rate=1, budget_burst=2, limiter=1)) as plane:
        answers = [plane.ask(query("www.example.com")) for _ in range(5)]
        assert [answer is None for answer in answers] == [False, False, True, True, True]
        assert plane.steps() == {"garden": 2, "budget": 3}
        assert plane.counts.rules[1].tolist()[:2] == [3, 2], "each under its own clause"


def test_a_clause_no_pack_knows_any_more_is_counted_under_none_and_named_by_none() -> None:
    with Plane(customers=people(garden=True)) as plane:
        answer = ask(plane, "www.example.com", source=CUSTOMER)
        assert (len(answer.answer), errors(answer)) == (1, [(15, None)])
        assert not plane.counts.rules.any()
    with Plane(customers=people(garden=True, measure=0xFFFF)) as plane:
        assert errors(ask(plane, "www.example.com", source=CUSTOMER)) == [(15, None)]


def test_a_budget_of_a_measure_is_counted_under_the_measures_clause(plane: Plane) -> None:
    for _ in range(4):
        plane.ask(query("good.example"), RESTRICTED)
    assert plane.steps() == {"forward": 1, "budget": 3}
    assert plane.counts.rules[1].tolist()[:3] == [3, 0, 0]


def test_an_empty_list_of_names_lets_none_out_and_a_name_is_compared_to_its_end() -> None:
    with Plane(checkpoint_snapshot(Garden(PAGE))) as plane:
        assert ask(plane, "notice.test").answer
    with Plane(checkpoint_snapshot(Garden(PAGE, (wire("x" * 63 + ".notice.test"),)))) as plane:
        assert ask(plane, "x" * 62 + "y.notice.test").answer
        assert plane.ask(query("x" * 63 + ".notice.test"), GARDENED) is None
        assert GARDEN.passes[0] == wire("notice.test")
