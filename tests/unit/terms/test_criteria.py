"""The criteria to publish: every figure a detector decides by is in them, in both languages, and nothing of any customer."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from sekisho.config.bandwidth import Bandwidth, Duplicates, Segment
from sekisho.config.detection import Detection, LoadConditions
from sekisho.model.clauses import Capacity, MeasureRule, NoticeTime, Volume
from sekisho.model.measures import Detector, Effect, Span, Unit
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


def everything(terms, language, figures=FIGURES):
    return [one.sentences for one in criteria(terms.packs.values(), figures, language)]


OTHER = {
    Bandwidth: {
        "every": "2m", "windows": 7, "sustained": 2, "clear": 4, "release": "70%", "congested": "75%", "congestion_window": "10m",
        "factor": 5, "pressing": "60%", "urgent": True, "segments": [],
    },
    Segment: {"id": "pon-4", "down": "2Gbit/s", "up": "2Gbit/s", "congested": "90%"},
    Duplicates: {"allowed": 3, "plans": {"1000/1000": 3}, "grace": "3m", "silent": "1h", "urgent": True},
    Detection: {
        "window": "20s", "windows": 7, "sustained": 2, "statistic": "mean", "factor": 30, "floor": 300, "usual": 4, "by_address": False,
        "release": "40%", "clear": 4, "urgent": False, "load": {"utilisation": None},
    },
    LoadConditions: {"utilisation": "70%", "timeouts": "20%", "latency": "2s", "queries": 5000, "percentile": "80%", "release": "70%"},
}  # fmt: skip
"""Of every setting a detector decides by another value than the usual."""
NO_FIGURES = {Segment: {"groups", "prefixes", "plans", "everybody"}}
"""Who is on a segment: which lines, not how much."""
RULE = {
    "share": 0.45, "window": 2400.0, "of": Capacity.SEGMENT, "congested": False, "keep": 0.35, "count": 77, "focus": 0.65, "rate": 33, "burst": 44,
    "volumes": (Volume(7_000_000_000, False, 7200.0),), "connections": 9, "effect": Effect.BY_HAND, "notice": NoticeTime.NONE,
    "period": Span(5, Unit.DAYS), "lead": Span(6, Unit.DAYS), "extension": True, "release_delay": Span(7, Unit.DAYS), "urgent": None,
    "detector": None,
}  # fmt: skip
"""The same of a rule; None: not by itself."""
NOT_FOUND_BY = {
    "clause", "ground", "extent", "termination_after", "termination_clause", "termination_notice", "fees_continue", "record",
}  # fmt: skip
"""What a rule says besides: on whose ground, and what follows for the contract and the record."""


def with_one(model, name):
    """The figures with another value in one setting."""
    value = OTHER[model][name]
    if model is Segment:
        return replace(FIGURES, bandwidth=Bandwidth.model_validate({"segments": [SEGMENTS[0] | {name: value}], "factor": 4}))
    if model is Bandwidth:
        segments = [{key: text for key, text in SEGMENTS[0].items() if key != "congested"}]
        return replace(FIGURES, bandwidth=Bandwidth.model_validate({"segments": segments, "factor": 4} | {name: value}))
    if model is Duplicates:
        return replace(FIGURES, duplicates=Duplicates.model_validate({"plans": {"1000/1000": 2}} | {name: value}))
    return replace(FIGURES, detection=Detection.model_validate({name: value} if model is Detection else {"load": {name: value}}))


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize(("model", "name"), [(model, name) for model in OTHER for name in model.model_fields])
def test_every_setting_a_detector_decides_by_is_told(terms, language, model, name):
    """A new setting needs a sentence, and a value here."""
    if name in NO_FIGURES.get(model, ()):
        return
    plain = FIGURES if model is not Bandwidth else with_segments_alone()
    assert everything(terms, language, with_one(model, name)) != everything(terms, language, plain), f"{name} is not in the text"


def with_segments_alone():
    segments = [{key: text for key, text in SEGMENTS[0].items() if key != "congested"}]
    return replace(FIGURES, bandwidth=Bandwidth.model_validate({"segments": segments, "factor": 4}))


def shown(terms, rule, language):
    """The sentences of a rule in place of the first of a pack."""
    pack = terms.packs["nbnet"]
    clause = next(one for one in pack.clauses if rule.clause == one.id)
    (told,) = criteria([replace(pack, clauses=(replace(clause, rules=(rule,)),))], FIGURES, language)
    return told.sentences


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("name", [one.name for one in fields(MeasureRule)])
def test_every_figure_of_a_rule_is_told(terms, language, name):
    if name in NOT_FOUND_BY:
        return
    usual = {
        detector: [rule for rule in terms.packs["nbnet"].rules if isinstance(rule, MeasureRule) and rule.detector is detector]
        for detector in FOUND
    }
    rules = [rule for some in usual.values() for rule in some[:1]]
    storm = replace(terms.measure("network-service/16-15"), clause=rules[0].clause)
    limited = replace(
        usual[Detector.DNS_OVERLOAD][0], effect=Effect.LIMIT_DNS, rate=20, burst=100, notice=NoticeTime.BEFORE, period=Span(3, Unit.DAYS)
    )
    rules += [storm, limited]
    if RULE[name] is None:
        others = [(rule, replace(rule, urgent=not rule.urgent)) for rule in rules] if name == "urgent" else [(rules[0], storm)]
    else:
        others = [(rule, replace(rule, **{name: RULE[name]})) for rule in rules]
    assert any(shown(terms, one, language) != shown(terms, other, language) for one, other in others), f"{name} is not in the text"


@pytest.mark.parametrize(
    ("clause", "detector", "ja", "en"),
    [
        ("nbnet/22-2-5", Detector.DNS_OVERLOAD,
         ["20倍", "毎秒200回", "普段", "3倍", "稼働率が80%", "10%以上", "90%", "1秒以上", "アドレスの数", "5回の判定のうち3回", "50%を下回る", "3回続いた"],
         ["20 times", "200 a second", "3 times what the customer usually", "80% of its time", "10% of the questions", "90%", "1 second",
          "as so many lines", "3 of the last 5", "below 50%", "after 3 windows", "below 80% of the value"]),
        ("nbnet/22-2-4", Detector.BANDWIDTH, ["80%以上を利用", "直近の報告"], ["80% of what is left", "its last report"]),
        ("nbnet/22-2-3", Detector.MAIL_VOLUME, ["80%を下回る", "3回続いた", "80%以上を行う"], ["after 3 times below 80%", "80% of the connections"]),
        ("network-service/16-15", Detector.CONNECTION_STORM, ["80%を下回る", "3回続いた"], ["after 3 times below 80%", "without that focus"]),
        ("vectant/18-2-16", Detector.DUPLICATE_LOGIN, ["2時間を超えて", "Interim-Update", "並存しなくなった"],
         ["not told of for 2 hours", "sends no Interim-Updates", "as soon as"]),
    ],
)  # fmt: skip
def test_how_it_begins_and_ends_stands_in_the_text(terms, clause, detector, ja, en):
    for language, words in (("ja", ja), ("en", en)):
        said = text(terms, clause, language, detector=detector)
        assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("language", ["ja", "en"])
def test_conditions_that_are_left_out_are_not_told(terms, language):
    settings = {"usual": 0, "by_address": False, "load": {"utilisation": None, "timeouts": None, "latency": None, "queries": 5000}}
    said = text(terms, "nbnet/22-2-5", language, replace(FIGURES, detection=Detection.model_validate(settings)))
    assert "5000" in said
    assert not [word for word in ("usually asks", "普段の", "IPv4", "worker", "稼働率", "resolvers", "リゾルバ", "None") if word in said]
