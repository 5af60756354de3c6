"""What several measures amount to for one customer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekisho.measures.combine import Ground, combine, emergency_ground, ground_of
from sekisho.measures.happenings import Gone
from sekisho.model.clauses import Clause, EmergencyRule, NoticeTime, Pack
from sekisho.model.customers import Customer, Plan
from sekisho.model.measures import NONE, Effect, Emergency, Enforcement
from unit.measures.cases import CLAUSE, T0, Story, rule

SILENCE = Ground("nbnet/22-2-5", Effect.SILENCE)
GARDEN = Ground("nbnet/22-1", Effect.WALLED_GARDEN)
SLOW = Ground("gunma/19-2", Effect.LIMIT_DNS, 10, 50)
SLOWER = Ground("vectant/16-3", Effect.LIMIT_DNS, 5, 100)
HEAVY = Ground("nbnet/22-2-4", Effect.LIMIT_RATE, keep=0.3)
HEAVIER = Ground("vectant/16-3", Effect.LIMIT_RATE, keep=0.25)
MAILS = Ground("nbnet/22-2-3", Effect.LIMIT_MAIL)
PLAN = Plan(100.0, 10.0)


@pytest.mark.parametrize(
    ("grounds", "enforced"),
    [
        ([], NONE),
        ([SLOW], Enforcement(budget=(10, 50), by=("gunma/19-2",))),
        ([SLOW, SLOWER], Enforcement(budget=(5, 50), by=("vectant/16-3", "gunma/19-2"))),
        ([SLOW, GARDEN], Enforcement(garden=True, budget=(10, 50), by=("nbnet/22-1", "gunma/19-2"))),
        ([SLOW, GARDEN, SILENCE], Enforcement(silenced=True, by=("nbnet/22-2-5", "nbnet/22-1", "gunma/19-2"))),
        ([SILENCE, SILENCE], Enforcement(silenced=True, by=("nbnet/22-2-5",))),
        ([Ground("x/1", Effect.BY_HAND)], NONE),
        ([HEAVY], Enforcement(rate=(30_000_000, 3_000_000), by=("nbnet/22-2-4",))),
        ([HEAVIER, HEAVY], Enforcement(rate=(25_000_000, 2_500_000), by=("vectant/16-3", "nbnet/22-2-4"))),
        ([MAILS], Enforcement(mail=10, by=("nbnet/22-2-3",))),
        ([MAILS, replace(MAILS, connections=0)], Enforcement(mail=0, by=("nbnet/22-2-3",))),
        (
            [MAILS, HEAVY, SILENCE],
            Enforcement(silenced=True, rate=(30_000_000, 3_000_000), mail=10, by=("nbnet/22-2-5", "nbnet/22-2-4", "nbnet/22-2-3")),
        ),
    ],
)
def test_the_stricter_wins_in_any_order(grounds, enforced):
    assert combine(grounds, plan=PLAN) == combine(grounds[::-1], plan=PLAN) == enforced


def test_a_line_whose_capacity_nobody_knows_is_not_slowed():
    assert combine([HEAVY]) == NONE
    assert combine([HEAVY, SLOW]) == combine([SLOW])


def test_a_limit_leaves_what_the_rule_says():
    of_rate = replace(rule(notice=NoticeTime.AFTER), effect=Effect.LIMIT_RATE, keep=0.3)
    of_mail = replace(rule(notice=NoticeTime.AFTER), effect=Effect.LIMIT_MAIL, connections=7)
    grounds = [ground_of(in_force().measure, one, exempt=False, observe=False) for one in (of_rate, of_mail)]
    assert combine([one for one in grounds if one], plan=PLAN) == Enforcement(rate=(30_000_000, 3_000_000), mail=7, by=(CLAUSE,))


def test_each_ends_for_itself():
    assert combine([SLOW, GARDEN]).garden
    assert combine([SLOW]) == Enforcement(budget=(10, 50), by=("gunma/19-2",))


def test_nothing_is_enforced_while_it_is_held():
    assert combine([SILENCE, GARDEN, SLOW], held=True) == NONE


def in_force(**more):
    story = Story(rule(notice=NoticeTime.AFTER), **more)
    story.finds()
    return story


def test_a_measure_is_enforced_from_in_force_until_it_is_lifted():
    story = in_force()
    ask = {"exempt": False, "observe": False}
    assert ground_of(story.measure, rule(), **ask) == Ground(CLAUSE, Effect.SILENCE)
    story.does(Gone())
    assert (story.state, ground_of(story.measure, rule(), **ask)) == ("ending", Ground(CLAUSE, Effect.SILENCE))
    story.ticks(T0 + 1e7)
    assert (story.state, ground_of(story.measure, rule(), **ask)) == ("lifted", None)


def test_a_measure_is_not_enforced_when_observed_exempted_or_without_a_clause():
    measure = in_force().measure
    assert ground_of(measure, None, exempt=False, observe=False) is None
    assert ground_of(measure, rule(), exempt=True, observe=False) is None
    assert ground_of(measure, rule(), exempt=False, observe=True) is None
    assert ground_of(in_force(observe=True).measure, rule(), exempt=False, observe=False) is None


def pack(name, rate):
    clause = f"{name}/19-1"
    return Pack(name, "t", "o", "1", (Clause(clause, "19", "ja", "en", (EmergencyRule(clause, rate, 2 * rate),)),))


PACKS = {"gunma": pack("gunma", 5), "nbnet": pack("nbnet", 3)}
EMERGENCY = Emergency(("gunma/19-1",), T0, T0 + 3600, ("c-9", "hospitals"), "operator", "earthquake")


def limited(customer, now=T0, emergency=EMERGENCY, exempt=()):
    found = emergency_ground(emergency, customer, PACKS, now, exempt)
    return found and (found.clause, found.rate)


def test_an_emergency_limits_those_whose_terms_say_so_and_who_have_no_priority():
    customer = Customer("c-1", ("gunma",))
    assert limited(customer) == ("gunma/19-1", 5)
    assert limited(Customer("c-1", ("nbnet",))) is None, "its clause was not declared"
    assert limited(Customer("c-9", ("gunma",))) is None
    assert limited(replace(customer, group="hospitals")) is None
    assert limited(customer, exempt={"gunma/19-1"}) is None
    assert limited(customer, emergency=None) is None


def test_an_emergency_ends_by_itself():
    customer = Customer("c-1", ("gunma",))
    assert limited(customer, T0 + 3599) is not None
    assert limited(customer, T0 + 3600) is None


def test_of_two_emergency_clauses_the_stricter_counts():
    both = replace(EMERGENCY, clauses=("gunma/19-1", "nbnet/20", "nbnet/19-1"))
    assert limited(Customer("c-1", ("gunma", "nbnet")), emergency=both) == ("nbnet/19-1", 3)
