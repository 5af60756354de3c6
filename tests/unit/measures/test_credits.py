"""The credit for an outage, to the yen, by the formulas of the five documents against cases reckoned by hand."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.measures.credits import Billing, outage_credit
from sekisho.model.clauses import CreditRule
from sekisho.terms.pack import parse_pack

JAPAN = dt.timezone(dt.timedelta(hours=9))
SINCE = dt.datetime(2026, 4, 1, 9, 30, tzinfo=JAPAN).timestamp()


@pytest.fixture(scope="module")
def rules(root):
    """The credit rule of each shipped pack, or None."""
    names = ("gunma", "nbnet", "vectant", "network-service", "smartconnect-panel")
    packs = [parse_pack((root / f"policies/{name}.yaml").read_text(encoding="utf-8"), name) for name in names]
    return {pack.id: next((rule for rule in pack.rules if isinstance(rule, CreditRule)), None) for pack in packs}


def owed(rule, fee, hours, **more):
    credit = outage_credit(rule, fee, SINCE, SINCE + float(hours * 3600), **more)
    return None if credit is None else credit.yen


@pytest.mark.parametrize(
    ("fee", "hours", "yen"),
    [
        (3000, 11.99, None),
        (3000, 12, 50),  # 1 x 3000/60
        (3000, 23.99, 50),
        (3000, 24, 100),
        (3000, 36, 150),
        (2980, 12, 49),  # 49.67: of a fraction of a yen the document says nothing
        (2980, 24, 99),  # 2 x 2980/60 = 99.33, not twice 49
        (2980, 24 * 30, 2980),
    ],
)
def test_gunma_30_credits_a_sixtieth_for_each_full_twelve_hours(rules, fee, hours, yen):
    assert owed(rules["gunma"], fee, hours) == yen


@pytest.mark.parametrize(
    ("fee", "hours", "yen"),
    [
        (2000, 23.99, None),
        (2000, 24, 66),  # 66.67, 第36条
        (2000, 47, 66),
        (2000, 48, 133),
        (9800, 72, 980),
        (34700, 24 * 30, 34700),
        (34700, 24 * 45, 34700),  # the month's base fee is the bound
    ],
)
def test_nbnet_38_credits_each_full_day_up_to_the_months_base_fee(rules, fee, hours, yen):
    assert owed(rules["nbnet"], fee, hours) == yen


@pytest.mark.parametrize(("loss", "yen"), [(0, 133), (100, 133), (1500, 1500), (2000, 2000), (50_000, 2000)])
def test_nbnet_38_makes_a_loss_good_that_was_shown_up_to_the_months_base_fee(rules, loss, yen):
    assert owed(rules["nbnet"], 2000, 48, loss=loss) == yen
    assert owed(rules["nbnet"], 2000, 23, loss=loss) is None


@pytest.mark.parametrize(
    ("fee", "hours", "yen"),
    [
        (10_000, 23.99, None),
        (10_000, 24, 333),  # 333.33, 第32条
        (10_000, 24.01, 666),  # a day begun is a day: 切り上げて一日
        (10_000, 36, 666),
        (10_000, 48, 666),
        (10_000, 24 * 40, 10_000),
    ],
)
def test_vectant_28_7_credits_a_thirtieth_for_each_day_begun(rules, fee, hours, yen):
    assert owed(rules["vectant"], fee, hours) == yen


@pytest.mark.parametrize(
    ("fee", "hours", "billing", "yen"),
    [
        (50_000, 23.99, Billing.MONTHLY, None),
        (50_000, 24, Billing.MONTHLY, 1666),
        (50_000, 47.99, Billing.MONTHLY, 1666),  # 24時間毎に計算
        (50_000, 72, Billing.MONTHLY, 5000),
        (50_000, 23.99, Billing.YEARLY, None),
        (365_000, 24, Billing.YEARLY, 1000),
        (100_000, 49, Billing.YEARLY, 547),  # 2 x 100000/365 = 547.95
    ],
)
def test_network_service_8_6_credits_a_thirtieth_or_a_365th_for_each_full_day(rules, fee, hours, billing, yen):
    assert owed(rules["network-service"], fee, hours, billing=billing) == yen


def test_smartconnect_panel_gives_no_credit_and_says_so(root, rules):
    assert rules["smartconnect-panel"] is None
    pack = parse_pack((root / "policies/smartconnect-panel.yaml").read_text(encoding="utf-8"), "smartconnect-panel")
    assert "no credit" in pack.clause("smartconnect-panel/27-1").informative


@pytest.mark.parametrize(
    ("pack", "last"),
    [
        ("gunma", dt.datetime(2026, 7, 4, tzinfo=JAPAN)),  # three months from 3 April: to the end of 3 July
        ("vectant", dt.datetime(2026, 4, 14, tzinfo=JAPAN)),  # ten days: to the end of 13 April
        ("nbnet", None),
        ("network-service", None),
    ],
)
def test_a_credit_is_claimed_within_the_time_the_document_gives(rules, pack, last):
    credit = outage_credit(rules[pack], 3000, SINCE, SINCE + 48 * 3600)
    assert credit.claim_by == (None if last is None else last.timestamp())


def test_twelve_hours_sharp_are_twelve_hours_wherever_the_clock_stood(rules):
    for start in (1_700_000_000.1, 1_766_682_000.7, 1_766_682_000.333):
        assert outage_credit(rules["gunma"], 3000, start, start + 12 * 3600).units == 1


@pytest.mark.parametrize(
    ("pack", "fee", "hours", "yen"),
    [
        ("gunma", 36_000, 24, 100),  # 2 x 3000/60: 12ヶ月間の利用料, of which a month is a twelfth
        ("gunma", 36_000, 11.99, None),
        ("gunma", 35_000, 36, 145),  # 3 x 2916.67/60 = 145.83, rounded once
        ("nbnet", 36_000, 24, 100),
        ("nbnet", 36_000, 24 * 40, 3000),  # その料金月における基本料金額を限度として
        ("vectant", 120_000, 25, 666),  # 2 x 10000/30 = 666.67
        ("vectant", 120_000, 24 * 40, 10_000),
    ],
)
def test_of_a_contract_paid_by_the_year_the_monthly_fee_is_a_twelfth(rules, pack, fee, hours, yen):
    assert owed(rules[pack], fee, hours, billing=Billing.YEARLY) == yen


def test_a_fee_below_nothing_is_none(rules):
    with pytest.raises(ValueError, match="0 yen"):
        owed(rules["gunma"], -1, 24)


@given(fee=st.integers(0, 10**7), hours=st.integers(0, 2000), pack=st.sampled_from(["gunma", "nbnet", "vectant", "network-service"]))
def test_a_credit_is_whole_yen_and_at_most_a_yen_from_the_formula(rules, fee, hours, pack):
    rule = rules[pack]
    credit = outage_credit(rule, fee, SINCE, SINCE + hours * 3600)
    if hours < rule.minimum:
        assert credit is None
        return
    exact = Fraction(credit.units * fee, rule.monthly_divisor)
    exact = exact if rule.cap is None else min(exact, Fraction(rule.cap) * fee)
    assert 0 <= exact - credit.yen < 1
