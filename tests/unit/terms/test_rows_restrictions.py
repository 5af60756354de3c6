"""Throttling and other partial suspension, clause by clause, as the shipped packs state it."""

from __future__ import annotations

import pytest

from sekisho.model.clauses import BudgetRule, Capacity, EmergencyRule, MeasureRule, NoticeTime, Volume
from sekisho.model.measures import Detector, Effect, Extent


def test_nbnet_22_2_5_silences_who_asks_far_above_the_average_while_the_servers_suffer(terms):
    rule = terms.measure("nbnet/22-2-5")
    assert (rule.detector, rule.effect, rule.extent) == (Detector.DNS_OVERLOAD, Effect.SILENCE, Extent.PARTIAL)
    assert rule.period is None, "while the condition lasts"
    assert (rule.notice, rule.urgent) == (NoticeTime.BEFORE, True)  # 第22条 4
    assert [type(one) for one in terms.clause("nbnet/22-2-5").rules] == [BudgetRule, MeasureRule], "the hard budget stays"


def test_nbnet_22_2_4_limits_the_speed_of_who_occupies_a_set_share_continuously(terms):
    rule = terms.measure("nbnet/22-2-4")
    assert (rule.detector, rule.effect, rule.extent) == (Detector.BANDWIDTH, Effect.LIMIT_RATE, Extent.PARTIAL)
    assert 0 < rule.share <= 1
    assert rule.window >= 60
    assert 0 < rule.keep < rule.share, "a limited rate, not a cut"
    assert rule.congested, "and disturbs the others"
    assert rule.volumes == (Volume(15 * 10**9, True, 86400.0),)
    assert "as far as needed" in terms.clause("nbnet/22-2-4").en


def test_nbnet_22_2_3_limits_the_sending_of_mass_mail(terms):
    rule = terms.measure("nbnet/22-2-3")
    assert (rule.detector, rule.effect, rule.extent) == (Detector.MAIL_VOLUME, Effect.LIMIT_MAIL, Extent.PARTIAL)
    assert rule.count / rule.window * 60 > rule.connections > 0, "limited, not cut off"
    assert "as far as needed" in terms.clause("nbnet/22-2-3").en


def test_gunma_19_2_limits_excessive_load_without_prior_notice(terms):
    rule = terms.measure("gunma/19-2", Detector.DNS_OVERLOAD)
    assert (rule.detector, rule.effect, rule.extent) == (Detector.DNS_OVERLOAD, Effect.LIMIT_DNS, Extent.PARTIAL)
    assert rule.notice is not NoticeTime.BEFORE
    assert rule.rate
    assert rule.burst
    (budget,) = (one for one in terms.clause("gunma/19-2").rules if isinstance(one, BudgetRule))
    assert rule.rate < budget.rate
    lines = terms.measure("gunma/19-2", Detector.BANDWIDTH)
    assert (lines.effect, lines.of, lines.congested) == (Effect.LIMIT_RATE, Capacity.SEGMENT, True)
    assert lines.notice is not NoticeTime.BEFORE


def test_vectant_16_3_limits_continuous_mass_traffic(terms):
    rule = terms.measure("vectant/16-3")
    assert (rule.detector, rule.effect, rule.extent) == (Detector.BANDWIDTH, Effect.LIMIT_RATE, Extent.PARTIAL)
    assert rule.period is None


def test_smartconnect_panel_17_1_3_suspends_for_overload_and_17_3_may_cut_the_influence_off_instead(terms):
    overload, instead = terms.measure("smartconnect-panel/17-1-3"), terms.measure("smartconnect-panel/17-3")
    assert (overload.ground, overload.extent) == ("overload", Extent.FULL)
    assert instead.extent is Extent.PARTIAL
    assert (instead.notice, instead.urgent) == (overload.notice, overload.urgent) == (NoticeTime.BEFORE, True), "17-4: the same notice rule"
    assert "17-3" in terms.clause("smartconnect-panel/17-4").informative


def test_network_service_16_15_and_18_act_on_repeated_mass_connections_without_prior_notice(terms):
    rule = terms.measure("network-service/16-15")
    assert rule.ground == "mass-connections"
    assert rule.effect is Effect.LIMIT_RATE
    for one in (rule, terms.measure("network-service/18")):
        assert one.notice is NoticeTime.AFTER


def test_network_service_16_has_its_24_grounds(terms):
    assert len(terms.measures("network-service/16")) == 24
    assert all(one.notice is NoticeTime.AFTER for one in terms.measures("network-service/16"))


@pytest.mark.parametrize("clause", ["nbnet/19-22", "vectant/18-2-16", "gunma/8"])
def test_one_id_logged_in_twice_is_found_from_sessions(terms, clause):
    rule = terms.measure(clause)
    assert rule.detector is Detector.DUPLICATE_LOGIN
    assert rule.ground == "duplicate-login"


def test_gunma_38_calls_the_attention_of_the_customer_and_limits_nothing(terms):
    rule = terms.measure("gunma/38")
    assert (rule.ground, rule.effect, rule.detector) == ("attention-call", Effect.BY_HAND, Detector.OPERATOR)
    assert "as far as needed" in terms.clause("gunma/38").en


@pytest.mark.parametrize("clause", ["gunma/19-1", "nbnet/20", "vectant/16-1", "network-service/25", "smartconnect-panel/15"])
def test_in_an_emergency_communications_of_public_interest_come_first(terms, clause):
    (rule,) = terms.clause(clause).rules
    assert isinstance(rule, EmergencyRule)
    assert 0 < rule.rate <= rule.burst
