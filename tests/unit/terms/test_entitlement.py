"""What stacked contracts authorise, and for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekisho.config.bulk import parse_bulk
from sekisho.model.clauses import BlockRule, BudgetRule, Clause, Ede, NoticeTime, OptOut, OverBudget, Pack, Record
from sekisho.model.customers import Consent, Customer, Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.terms.crosscheck import check_customer
from sekisho.terms.entitlement import budget_of, entitle, find_list, permit_opt_out, profile_of
from sekisho.terms.pack import parse_pack

C2, CAM, OWN = (
    ListDefinition(name, order, category, f"/{name}.txt", ListFormat.DOMAINS, Scope.SUBTREE)
    for order, (name, category) in enumerate([("c2-feed", "c2"), ("sealed", "child-abuse"), ("own", "gambling")])
)
LISTS = (C2, CAM, OWN)
CONSENT = Consent("2021-02-01", "2021-03-15")
RECORD = Record(("time",), 60.0)


@pytest.fixture(scope="module")
def packs(root):
    return {name: parse_pack((root / f"policies/{name}.yaml").read_text(encoding="utf-8"), name) for name in ("gunma", "nbnet")}


def _rule(clause, *categories, opt_out=OptOut.CUSTOMER, versions=(), consent=False):
    return BlockRule(clause, categories, None, opt_out, consent, versions, NoticeTime.NONE, Ede.FILTERED, RECORD)


def _budget(clause, rate, burst=10):
    return BudgetRule(clause, rate, burst, OverBudget.DROP, NoticeTime.NONE, RECORD)


def _pack(name, *rules):
    return Pack(name, "t", "o", "1", tuple(Clause(rule.clause, "a", "j", "e", (rule,)) for rule in rules))


def _mask(packs, *terms, consent=CONSENT, opted_out=(), exempt=()):
    customer = Customer("u", terms, consent=consent, exempt=exempt)
    return entitle(profile_of(packs, terms, LISTS), LISTS, customer, opted_out)


def test_a_customer_under_gunma_alone_has_no_child_abuse_clause(packs):
    profile = profile_of(packs, ("gunma",), LISTS)
    assert [rule and rule.clause for rule in profile.block] == ["gunma/別記-1", None, None]


def test_a_customer_under_nbnet_alone_has_no_c2_clause(packs):
    profile = profile_of(packs, ("nbnet",), LISTS)
    assert [rule and rule.clause for rule in profile.block] == [None, "nbnet/21-1", None]


def test_stacked_contracts_have_both(packs):
    profile = profile_of(packs, ("gunma", "nbnet"), LISTS)
    assert [rule and rule.clause for rule in profile.block] == ["gunma/別記-1", "nbnet/21-1", None]
    assert _mask(packs, "gunma", "nbnet").mask == 0b11


def test_no_clause_no_measure(packs):
    profile = profile_of(packs, (), LISTS)
    assert profile.block == (None, None, None)
    assert profile.budget is None
    with pytest.raises(KeyError):
        profile_of(packs, ("nowhere",), LISTS)


def test_where_two_rules_cover_a_list_the_mandatory_one_wins():
    soft, hard = _rule("a/1", "c2"), _rule("b/1", "c2", opt_out=OptOut.NOBODY)
    packs = {"a": _pack("a", soft), "b": _pack("b", hard)}
    assert profile_of(packs, ("a", "b"), LISTS).block[0] is hard
    assert profile_of(packs, ("b", "a"), LISTS).block[0] is hard


def test_of_rules_of_one_kind_the_first_contracts_holds():
    packs = {"a": _pack("a", _rule("a/1", "gambling", "c2")), "b": _pack("b", _rule("b/1", "c2"))}
    assert profile_of(packs, ("a", "b"), LISTS).block[0].clause == "a/1"
    assert profile_of(packs, ("b", "a"), LISTS).block[0].clause == "b/1"


def test_of_several_budgets_the_strictest_holds():
    packs = {"a": _pack("a", _budget("a/1", 100)), "b": _pack("b", _budget("b/1", 50)), "c": _pack("c", _budget("c/1", 50, burst=5))}
    assert profile_of(packs, ("a", "b"), LISTS).budget.clause == "b/1"
    assert profile_of(packs, ("a", "b", "c"), LISTS).budget.clause == "c/1"
    assert profile_of(packs, ("c", "b"), LISTS).budget.clause == "c/1"


def test_without_consent_on_record_the_c2_rule_does_not_reach_and_that_is_counted(packs):
    entitlement = _mask(packs, "gunma", "nbnet", consent=None)
    assert (entitlement.mask, entitlement.unconsented, entitlement.opted_out) == (0b10, 0b01, 0)


def test_a_consent_to_a_version_the_rule_does_not_cover_is_none():
    packs = {"a": _pack("a", _rule("a/1", "c2", consent=True, versions=("2",)))}
    assert _mask(packs, "a", consent=Consent("1", "2020-01-01")).unconsented == 0b1
    assert _mask(packs, "a", consent=Consent("2", "2020-01-01")).mask == 0b1


def test_a_customer_who_opted_out_is_not_entitled_to_the_c2_list(packs):
    entitlement = _mask(packs, "gunma", "nbnet", opted_out={"c2-feed"})
    assert (entitlement.mask, entitlement.unconsented, entitlement.opted_out) == (0b10, 0, 0b01)


def test_no_opt_out_lifts_the_child_abuse_list(packs):
    entitlement = _mask(packs, "nbnet", consent=None, opted_out={"sealed"})
    assert (entitlement.mask, entitlement.opted_out) == (0b10, 0)


@pytest.mark.parametrize("exempt", ["sealed", "nbnet/21-1"])
def test_the_operator_can_exempt_a_customer_from_a_list_or_a_clause(packs, exempt):
    assert _mask(packs, "gunma", "nbnet", exempt=(exempt,)).mask == 0b01


def test_a_customer_can_be_exempted_from_the_hard_budget(packs):
    profile = profile_of(packs, ("nbnet",), LISTS)
    assert budget_of(profile, Customer("u", ("nbnet",))).clause == "nbnet/22-2-5"
    assert budget_of(profile, Customer("u", ("nbnet",), exempt=("nbnet/22-2-5",))) is None
    assert budget_of(profile_of({}, (), LISTS), Customer("u", ())) is None


def test_the_bit_of_a_list_is_its_order_wherever_it_stands(packs):
    last = replace(C2, order=63)
    profile = profile_of(packs, ("gunma",), (last,))
    assert entitle(profile, (last,), Customer("u", ("gunma",), consent=CONSENT), ()).mask == 1 << 63


def test_opting_out_of_the_c2_list_rests_on_gunma_annex_3(packs):
    rule = permit_opt_out(profile_of(packs, ("gunma", "nbnet"), LISTS), C2, "u")
    assert rule.opt_out_clause == "gunma/別記-3"


def test_opting_out_of_a_mandatory_list_is_refused_citing_the_clause(packs):
    with pytest.raises(RefusedError, match=r"customer u cannot opt out of list sealed: nbnet/21-1 lets nobody"):
        permit_opt_out(profile_of(packs, ("gunma", "nbnet"), LISTS), CAM, "u")


def test_opting_out_of_a_list_that_does_not_reach_the_customer_is_refused(packs):
    with pytest.raises(RefusedError, match=r"no clause of nbnet authorises blocking c2 names"):
        permit_opt_out(profile_of(packs, ("nbnet",), LISTS), C2, "u")


def test_an_unknown_list_is_refused_with_the_nearest():
    assert find_list(LISTS, "own") is OWN
    with pytest.raises(RefusedError, match="did you mean `sealed`"):
        find_list(LISTS, "seald")
    with pytest.raises(RefusedError, match="none is defined"):
        find_list((), "own")


def test_a_customer_added_at_run_time_is_checked_against_packs_lists_and_the_others(packs):
    file = parse_bulk(["id,terms,prefixes\n", "a,gunma,192.0.2.0/24\n"], "c.csv")
    good = Customer("b", ("gunma",), (Prefix.parse("198.51.100.1"),), exempt=("own", "gunma/別記-1"))
    check_customer(good, packs, LISTS, file.overlaps_with(good.prefixes))
    bad = Customer("b", ("gumna",), (Prefix.parse("192.0.2.1"),), exempt=("c2-fed", "gunma/99"))
    with pytest.raises(RefusedError) as caught:
        check_customer(bad, packs, LISTS, file.overlaps_with(bad.prefixes))
    for words in ("did you mean `gunma`?", "did you mean `c2-feed`?", "no clause gunma/99", "customer a (c.csv:2)"):
        assert words in str(caught.value)
