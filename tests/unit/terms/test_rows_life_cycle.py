"""Suspension life cycles and fees, clause by clause, as the shipped packs state them."""

from __future__ import annotations

import pytest

from sekisho.model.clauses import AnnouncementRule, CreditRule, NoticeTime
from sekisho.model.measures import Effect, Extent, Span, Unit


def days(count):
    return Span(count, Unit.DAYS)


def months(count):
    return Span(count, Unit.MONTHS)


def test_nbnet_22_1_and_22_2_suspend_in_full_or_in_part_as_long_as_the_condition_holds(terms):
    full, part = terms.measures("nbnet/22-1"), terms.measures("nbnet/22-2")
    assert {rule.extent for rule in full} == {Extent.FULL}
    assert {rule.effect for rule in full} == {Effect.WALLED_GARDEN}, "the customer learns why"
    assert {rule.extent for rule in part} == {Extent.PARTIAL}
    assert [len(full), len(part)] == [7, 6], "the paragraph and its items"
    assert all(rule.period is None and not rule.extension for rule in full + part)


def test_nbnet_22_3_lifts_after_the_condition_ended_and_lifting_may_take_days(terms):
    rules = terms.measures("nbnet/22-1") + terms.measures("nbnet/22-2")
    assert all(rule.release_delay is not None for rule in rules)
    assert terms.measure("nbnet/22-1").release_delay == days(3)
    assert "release_delay" in terms.clause("nbnet/22-3").informative


def test_nbnet_22_4_tells_before_and_in_an_emergency_acts_at_once_and_tells_after(terms):
    for rule in terms.measures("nbnet/22-1") + terms.measures("nbnet/22-2"):
        assert (rule.notice, rule.urgent, rule.lead) == (NoticeTime.BEFORE, True, None)
    assert "urgent" in terms.clause("nbnet/22-4").informative


def test_nbnet_26_1_makes_a_contract_terminable_after_ten_days_and_never_terminates_it(terms):
    for rule in terms.measures("nbnet/22-1") + terms.measures("nbnet/22-2"):
        assert (rule.termination_after, rule.termination_clause) == (days(10), "nbnet/26-1")
    assert "never terminated by a machine" in terms.clause("nbnet/26-1").informative


def test_gunma_17_suspends_for_a_set_period_of_which_the_customer_is_told(terms):
    rules = terms.measures("gunma/17")
    assert len(rules) == 7
    for rule in rules:
        assert (rule.period, rule.extension) == (months(1), False)
        assert (rule.notice, rule.urgent) == (NoticeTime.BEFORE, False)
        assert (rule.effect, rule.extent) == (Effect.WALLED_GARDEN, Extent.FULL)


def test_gunma_21_may_follow_with_written_notice_where_the_cause_outlasts_the_period(terms):
    for rule in terms.measures("gunma/17"):
        assert (rule.termination_after, rule.termination_clause) == (None, "gunma/21"), "at the end of its period"
    assert "written notice" in terms.clause("gunma/21").en


def test_vectant_18_1_and_18_2_suspend_for_a_set_period_and_only_18_2_extends_it(terms):
    first, second = terms.measures("vectant/18-1"), terms.measures("vectant/18-2")
    assert [len(first), len(second)] == [10, 18], "the paragraph and its items"
    assert {rule.period for rule in first + second} == {months(1)}
    assert {rule.extension for rule in first} == {False}
    assert {rule.extension for rule in second} == {True}
    assert {rule.notice for rule in first + second} == {NoticeTime.BEFORE}
    assert not any(rule.urgent for rule in first + second)
    assert "reason, date and period" in terms.clause("vectant/18-2").en


def test_vectant_18_3_lets_fees_go_on(terms):
    assert all(rule.fees_continue for rule in terms.measures("vectant/18-1") + terms.measures("vectant/18-2"))
    assert "fees: continue" in terms.clause("vectant/18-3").informative


def test_vectant_17_announces_maintenance_ten_business_days_before_and_carriers_beforehand(terms):
    rules = terms.clause("vectant/17").rules
    assert all(isinstance(rule, AnnouncementRule) and rule.urgent for rule in rules)
    ten = Span(10, Unit.BUSINESS_DAYS)
    assert {rule.what: rule.lead for rule in rules} == {"maintenance": ten, "fault": ten, "carrier": None}


def test_smartconnect_panel_17_2_tells_reason_date_and_period_beforehand_unless_urgent(terms):
    rules = terms.measures("smartconnect-panel/17-1")
    assert len(rules) == 6
    for rule in rules:
        assert (rule.notice, rule.urgent, rule.period) == (NoticeTime.BEFORE, True, months(1))
    assert "Reason, date and period" in terms.clause("smartconnect-panel/17-2").en


def test_smartconnect_panel_12_2_terminates_after_the_period_named_and_12_3_at_once(terms):
    for rule in terms.measures("smartconnect-panel/17-1"):
        assert (rule.termination_after, rule.termination_clause) == (None, "smartconnect-panel/12-2")
    assert "at once" in terms.clause("smartconnect-panel/12-3").en


def test_fees_go_on_under_every_suspension_by_the_customers_fault_as_gunma_24_says(terms):
    rules = [rule for pack in terms.packs.values() for rule in pack.rules if hasattr(rule, "fees_continue")]
    assert len(rules) > 60
    assert all(rule.fees_continue for rule in rules)
    assert "fees: continue" in terms.clause("gunma/24").informative


@pytest.mark.parametrize(
    ("clause", "minimum", "unit", "monthly", "yearly", "cap", "claim"),
    [
        ("gunma/30", 12, 12, 60, None, None, months(3)),
        ("nbnet/38", 24, 24, 30, None, 1, None),
        ("vectant/28-7", 24, 24, 30, None, 1, days(10)),
        ("network-service/8-6", 24, 24, 30, 365, None, None),
    ],
)
def test_an_outage_by_the_operators_fault_is_credited(terms, clause, minimum, unit, monthly, yearly, cap, claim):
    (rule,) = terms.clause(clause).rules
    assert isinstance(rule, CreditRule)
    assert (rule.minimum, rule.unit, rule.monthly_divisor, rule.yearly_divisor) == (minimum, unit, monthly, yearly)
    assert (rule.cap, rule.claim) == (cap, claim)


def test_a_credit_counts_as_its_document_counts(terms):
    (gunma,), (nbnet,), (vectant,), (network,) = (
        terms.clause(one).rules for one in ("gunma/30", "nbnet/38", "vectant/28-7", "network-service/8-6")
    )
    assert gunma.from_knowledge
    assert nbnet.from_knowledge
    assert not vectant.from_knowledge
    assert not network.from_knowledge
    assert vectant.begun_counts
    assert not gunma.begun_counts
    assert nbnet.pays_loss  # 損害の賠償
