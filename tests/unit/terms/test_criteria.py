"""The criteria to publish: every figure a detector decides by is in them, in both languages, and nothing of any customer."""

from __future__ import annotations

import re

import pytest

from sekisho.config.bandwidth import Bandwidth, Duplicates
from sekisho.config.detection import Detection
from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import Detector
from sekisho.terms.criteria import FOUND, Figures, criteria, foreword

SEGMENTS = [{"id": "pon-3", "down": "2.5Gbit/s", "up": "1Gbit/s", "congested": "85%", "everybody": True}]
FIGURES = Figures(
    Bandwidth.model_validate({"segments": SEGMENTS, "factor": 4}), Duplicates.model_validate({"plans": {"1000/1000": 2}}), Detection()
)


def text(terms, clause, language, figures=FIGURES, detector=None):
    found = [one for one in criteria(terms.packs.values(), figures, language) if one.clause == clause and detector in {None, one.detector}]
    return " ".join(found[0].sentences)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_every_rule_a_machine_finds_has_its_criteria(terms, language):
    rules = [rule for pack in terms.packs.values() for rule in pack.rules if isinstance(rule, MeasureRule) and rule.detector in FOUND]
    told = criteria(terms.packs.values(), FIGURES, language)
    assert [(one.clause, one.detector) for one in told] == [(rule.clause, rule.detector) for rule in rules]
    assert {Detector.BANDWIDTH, Detector.MAIL_VOLUME, Detector.CONNECTION_STORM, Detector.DUPLICATE_LOGIN} <= {one.detector for one in told}
    assert all(one.sentences and one.says and one.document for one in told)
    assert foreword(language)
    japanese = re.compile("[ぁ-んァ-ヶ一-龠]")
    assert all(bool(japanese.search(said)) == (language == "ja") for one in told for said in one.sentences)


@pytest.mark.parametrize(
    ("clause", "ja", "en"),
    [
        ("nbnet/22-2-4", ["30分", "50%", "15GB", "24時間", "pon-3", "85%", "2.5 Gbit/s", "4倍", "5回のうち3回", "25%", "10分"],
         ["30 minutes", "50%", "15GB", "24 hours", "pon-3", "85%", "2.5 Gbit/s", "4 times", "3 of the last 5", "25%", "10 minutes"]),
        ("nbnet/22-2-3", ["25、465、587", "300回", "10分", "毎分10回"], ["25, 465, 587", "300 ", "10 minutes", "10 a minute"]),
        ("network-service/16-15", ["30,000回", "90%", "5分", "10%"], ["30,000 ", "90%", "5 minutes", "10%"]),
        ("vectant/18-2-16", ["1を超える", "2分", "1000/1000"], ["more than 1 session", "2 minutes", "1000/1000"]),
    ],
)  # fmt: skip
def test_the_figures_stand_in_the_text(terms, clause, ja, en):
    for language, words in (("ja", ja), ("en", en)):
        said = text(terms, clause, language)
        assert [word for word in words if word not in said] == [], said


def test_without_a_segment_the_text_says_that_nobody_is_meant(terms):
    none = Figures(Bandwidth(), Duplicates(), Detection())
    assert "nobody meets" in text(terms, "vectant/16-3", "en", none)
    assert "該当する契約者はない" in text(terms, "vectant/16-3", "ja", none)


def test_a_share_of_the_segment_is_said_to_be_one(terms):
    assert "the capacity of the shared segment" in text(terms, "gunma/19-2", "en", detector=Detector.BANDWIDTH)
