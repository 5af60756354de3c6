"""Terms packs: the shipped ones against their documents, and packs that cannot be read."""

from __future__ import annotations

import pytest

from sekisho.model.clauses import BlockRule, BudgetRule, Ede, NoticeTime, OptOut, OverBudget
from sekisho.model.errors import ConfigError
from sekisho.model.lists import Action, ActionKind
from sekisho.terms.pack import RECORD_FIELDS, parse_pack

PACK = """\
version: 1
pack: mine
document: {{title: T, operator: O, version: 2.10}}
clauses:
  - id: mine/1
    article: Article 1
    ja: 一
    en: one
    rules:
      - {rule}
"""
BLOCK = "kind: dns-block, categories: [c2], opt_out: customer, consent: {required: false}, notice: none, ede: blocked"
RECORD = "record: {fields: [time], retention: 30d}"
BUDGET = "kind: dns-budget, rate: 100, burst: 200, over: drop, notice: none"


@pytest.fixture(scope="module", params=["gunma", "nbnet", "vectant", "network-service", "smartconnect-panel"])
def shipped(request, root):
    return _shipped(root, request.param)


def _shipped(root, name):
    return parse_pack((root / f"policies/{name}.yaml").read_text(encoding="utf-8"), name)


def _pack(rule):
    return parse_pack(PACK.format(rule="{" + rule + "}"), "mine.yaml")


def _faults(text):
    with pytest.raises(ConfigError) as caught:
        parse_pack(text, "mine.yaml")
    return caught.value.faults


def _fault(rule):
    faults = _faults(PACK.format(rule="{" + rule + "}"))
    assert len(faults) == 1, faults
    return faults[0]


def test_gunma_annex_1_cuts_off_at_once_with_no_attention_call(root):
    (rule,) = _shipped(root, "gunma").clause("gunma/別記-1").rules
    assert isinstance(rule, BlockRule)
    assert rule.categories == ("c2",)
    assert rule.notice is NoticeTime.NONE
    assert rule.answer == Action(ActionKind.NXDOMAIN)
    assert rule.ede is Ede.BLOCKED


def test_gunma_annex_2_makes_the_rule_rest_on_comprehensive_prior_consent(root):
    pack = _shipped(root, "gunma")
    (rule,) = pack.clause("gunma/別記-1").rules
    assert rule.consent_required
    assert rule.consent_versions == ()
    assert pack.clause(rule.consent_clause).id == "gunma/別記-2"


def test_gunma_annex_3_lets_the_customer_opt_out(root):
    pack = _shipped(root, "gunma")
    (rule,) = pack.clause("gunma/別記-1").rules
    assert rule.opt_out is OptOut.CUSTOMER
    assert not rule.mandatory
    assert pack.clause(rule.opt_out_clause).id == "gunma/別記-3"


def test_gunma_annex_4_and_5_promise_neither_liability_nor_completeness_and_authorise_nothing(root):
    pack = _shipped(root, "gunma")
    assert "liable" in pack.clause("gunma/別記-4").en
    assert "Completeness" in pack.clause("gunma/別記-5").en
    assert not pack.clause("gunma/別記-4").rules + pack.clause("gunma/別記-5").rules


def test_nbnet_21_1_blocks_child_abuse_material_without_notice_and_without_opt_out(root):
    (rule,) = _shipped(root, "nbnet").clause("nbnet/21-1").rules
    assert isinstance(rule, BlockRule)
    assert rule.categories == ("child-abuse",)
    assert rule.opt_out is OptOut.NOBODY
    assert rule.mandatory
    assert not rule.consent_required
    assert rule.notice is NoticeTime.NONE
    assert rule.ede is Ede.CENSORED


def test_nbnet_21_2_and_21_3_bound_the_measure_and_authorise_nothing(root):
    pack = _shipped(root, "nbnet")
    assert "no further" in pack.clause("nbnet/21-2").en
    assert "completely" in pack.clause("nbnet/21-3").en
    assert not pack.clause("nbnet/21-2").rules + pack.clause("nbnet/21-3").rules


def test_the_hard_budget_rests_on_gunma_19_2_and_nbnet_22_2_5(root):
    (restriction,) = [one for one in _shipped(root, "gunma").clause("gunma/19-2").rules if isinstance(one, BudgetRule)]
    (silence,) = [one for one in _shipped(root, "nbnet").clause("nbnet/22-2-5").rules if isinstance(one, BudgetRule)]
    assert restriction.notice is NoticeTime.NONE  # 事前に通知することなく
    assert silence.notice is NoticeTime.AFTER  # 第22条 4
    assert silence.over is OverBudget.DROP  # 応答しない
    assert restriction.burst >= restriction.rate > 0


@pytest.mark.parametrize(("pack", "clause"), [("gunma", "gunma/29"), ("nbnet", "nbnet/42"), ("vectant", "vectant/33")])
def test_secrecy_gunma_29_nbnet_42_vectant_33_binds_the_operator_and_authorises_nothing(root, pack, clause):
    found = _shipped(root, pack).clause(clause)
    assert found.rules == ()
    assert "leaves no trace" in found.informative


def test_no_record_of_a_shipped_rule_can_hold_the_name_that_was_asked(shipped):
    assert set(RECORD_FIELDS) == {"time", "customer", "clause", "list", "entry", "action"}
    for rule in (one for one in shipped.rules if hasattr(one, "record")):
        assert set(rule.record.fields) <= set(RECORD_FIELDS)
        assert 0 < rule.record.retention <= 180 * 86400


def test_every_shipped_clause_states_its_article_in_both_languages(shipped):
    for clause in shipped.clauses:
        assert clause.article
        assert clause.en.isascii()
        assert not clause.ja.isascii()
        assert "\n" not in clause.ja + clause.en + clause.informative
        assert "、 " not in clause.ja


def test_a_rule_says_who_may_opt_out_and_what_is_kept():
    (rule,) = _pack(f"{BLOCK}, {RECORD}").rules
    assert (rule.clause, rule.answer, rule.opt_out_clause, rule.record.retention) == ("mine/1", None, None, 30 * 86400.0)
    assert _pack(f"{BLOCK}, {RECORD}").version == "2.10"


@pytest.mark.parametrize(
    ("rule", "path", "words"),
    [
        (BLOCK, "record", "missing"),
        (f"{BLOCK}, record: {{fields: [name], retention: 1d}}", "record.fields[0]", "entry"),
        (f"{BLOCK}, record: {{fields: [], retention: 1d}}", "record.fields", "empty"),
        (f"{BLOCK.replace('blocked', 'forged')}, {RECORD}", "ede", "censored"),
        (f"{BLOCK.replace('customer', 'operator')}, {RECORD}", "opt_out.by", "nobody"),
        (f"{BLOCK.replace('opt_out: customer', 'opt_out: {by: customer, clause: mine/2}')}, {RECORD}", "opt_out.clause", "no clause"),
        (f"{BLOCK.replace('required: false', 'required: false, versions: [a]')}, {RECORD}", "consent.versions", "required: true"),
        (f"{BLOCK.replace('customer', 'nobody').replace('false', 'true')}, {RECORD}", "consent", "cannot rest on consent"),
        (f"{BLOCK}, {RECORD}, lists: [a]", "lists", "unknown key"),
        (f"{BLOCK}, {RECORD}, anwser: drop", "anwser", "did you mean `answer`?"),
        (f"{BUDGET.replace('rate: 100', 'rate: 0')}, {RECORD}", "rate", "at least 1"),
        (f"{BUDGET.replace('burst: 200', 'burst: 1.5')}, {RECORD}", "burst", "whole number"),
        (f"{BUDGET.replace('over: drop', 'over: refuse')}, {RECORD}", "over", "truncate"),
        (f"kind: dns-bock, {RECORD}", "", "dns-block"),
        (RECORD, "", "kind"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_where_it_stands(rule, path, words):
    fault = _fault(rule)
    assert (fault.line, fault.path) == (10, f"clauses[0].rules[0].{path}".rstrip("."))
    assert words in fault.message


def test_clause_ids_are_the_packs_own_and_stand_once():
    text = PACK.format(rule="{" + f"{BUDGET}, {RECORD}" + "}")
    faults = _faults(text + "  - {id: mine/1, article: a, ja: b, en: c}\n  - {id: other/1, article: a, ja: b, en: c}\n")
    assert [(fault.line, fault.path) for fault in faults] == [(11, "clauses[1].id"), (12, "clauses[2].id")]
    assert "mine/" in faults[1].message
    assert _faults(text.replace("mine/1", "mine 1"))[0].path == "clauses[0].id"


def test_the_pack_of_the_handbook_is_one(root):
    handbook = (root / "policies/README.md").read_text(encoding="utf-8")
    pack = parse_pack(handbook.partition("```yaml\n")[2].partition("```")[0], "README.md")
    assert pack.id == "example-isp"
    assert len(pack.rules) == 1


def test_every_clause_of_the_shipped_packs_authorises_something_or_says_why_not(terms):
    unexplained = [clause.id for pack in terms.packs.values() for clause in pack.clauses if not clause.rules and not clause.informative]
    assert unexplained == []


def test_a_clause_of_ones_own_pack_need_not_say_why_it_has_no_rules():
    text = "version: 1\npack: own\ndocument: {title: t, operator: o, version: '1'}\nclauses:\n  - {id: own/1, article: a, ja: b, en: c}\n"
    assert parse_pack(text, "own.yaml").clauses[0].rules == ()
