"""Notices and who the customer is, clause by clause; and that no clause of the catalogue is left out."""

from __future__ import annotations

import pytest

from sekisho.model.clauses import AnnouncementRule, Deemed, DeliveryRule, NoticeTime
from sekisho.model.measures import Detector, Extent, Span, Unit

CATALOGUE = """
gunma/3 gunma/5 gunma/7 gunma/8 gunma/17 gunma/19-1 gunma/19-2 gunma/20 gunma/21 gunma/24 gunma/29 gunma/30 gunma/38
gunma/別記-1 gunma/別記-2 gunma/別記-3 gunma/別記-4 gunma/別記-5
nbnet/3 nbnet/別紙1 nbnet/19-22 nbnet/20 nbnet/21-1 nbnet/21-2 nbnet/21-3 nbnet/22-1 nbnet/22-2 nbnet/22-2-3 nbnet/22-2-4 nbnet/22-2-5
nbnet/22-3 nbnet/22-4 nbnet/26-1 nbnet/38 nbnet/42
vectant/5 vectant/11 vectant/別記1 vectant/16-1 vectant/16-3 vectant/17 vectant/18-1 vectant/18-2 vectant/18-2-16 vectant/18-3
vectant/28-7 vectant/33 vectant/37
network-service/8-6 network-service/16-15 network-service/18 network-service/25 network-service/28
smartconnect-panel/4 smartconnect-panel/12-2 smartconnect-panel/12-3 smartconnect-panel/13 smartconnect-panel/14 smartconnect-panel/15
smartconnect-panel/17-1-2 smartconnect-panel/17-1-3 smartconnect-panel/17-2 smartconnect-panel/17-3 smartconnect-panel/17-4
smartconnect-panel/19 smartconnect-panel/21
"""


@pytest.mark.parametrize("clause", CATALOGUE.split())
def test_every_clause_of_the_catalogue_is_encoded_or_says_why_not(terms, clause):
    found = terms.clause(clause)
    assert bool(found.rules) != bool(found.informative)


@pytest.mark.parametrize(
    ("clause", "email"),
    [("gunma/3", Deemed.ACCEPTED), ("smartconnect-panel/4", Deemed.SENT), ("vectant/37", Deemed.SENT)],
)
def test_mail_counts_as_delivered_at_the_server_or_when_sent_and_a_posting_when_it_can_be_read(terms, clause, email):
    rules = terms.clause(clause).rules
    assert all(isinstance(rule, DeliveryRule) for rule in rules)
    assert {rule.channel: rule.deemed for rule in rules} == {"email": email, "web": Deemed.READABLE}


def test_smartconnect_panel_17_1_2_is_a_ground_that_bouncing_mail_raises(terms):
    rule = terms.measure("smartconnect-panel/17-1-2")
    assert (rule.detector, rule.ground, rule.extent) == (Detector.UNREACHABLE, "unreachable", Extent.FULL)


@pytest.mark.parametrize(
    ("clause", "what", "lead", "urgent"),
    [
        ("gunma/20", "discontinuation", Span(3, Unit.MONTHS), False),
        ("smartconnect-panel/14", "discontinuation", Span(3, Unit.MONTHS), True),
        ("network-service/28", "discontinuation", Span(6, Unit.MONTHS), False),
        ("vectant/17", "maintenance", Span(10, Unit.BUSINESS_DAYS), True),
    ],
)
def test_lead_times_are_data_of_the_pack(terms, clause, what, lead, urgent):
    rule = next(one for one in terms.clause(clause).rules if one.what == what)
    assert isinstance(rule, AnnouncementRule)
    assert (rule.lead, rule.urgent) == (lead, urgent)


def test_nbnet_3_and_annex_1_name_customers_by_log_in_name_with_1_8_or_16_addresses(terms):
    assert "PPP" in terms.clause("nbnet/3").en
    assert "1, 8 or 16 fixed addresses" in terms.clause("nbnet/別紙1").en


def test_vectant_5_11_and_annex_1_contract_per_user_id_in_vpn_groups_with_a_fixed_address(terms):
    assert "each user ID" in terms.clause("vectant/5").en
    assert "representative" in terms.clause("vectant/11").en
    assert "one fixed address" in terms.clause("vectant/別記1").en


def test_gunma_5_and_7_contract_per_item(terms):
    assert "contract" in terms.clause("gunma/5").en
    assert "each item" in terms.clause("gunma/7").en


def test_smartconnect_panel_13_19_and_21_are_used_over_the_web_and_misuse_is_cut_off_at_once(terms):
    assert "over the Internet" in terms.clause("smartconnect-panel/13").en
    assert "responsible person" in terms.clause("smartconnect-panel/19").en
    rule = terms.measure("smartconnect-panel/21")
    assert (rule.ground, rule.notice, rule.urgent) == ("id-misuse", NoticeTime.BEFORE, True)
