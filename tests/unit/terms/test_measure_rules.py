"""Rules with a life cycle or a length: what a pack may write, and what is refused where it stands."""

from __future__ import annotations

import pytest

from sekisho.model.clauses import AnnouncementRule, Capacity, CreditRule, Deemed, DeliveryRule, EmergencyRule, NoticeTime, Record, Volume
from sekisho.model.errors import ConfigError
from sekisho.model.measures import Detector, Effect, Extent, Span, Unit
from sekisho.terms.pack import parse_pack

PACK = """\
version: 1
pack: mine
document: {{title: T, operator: O, version: 1}}
clauses:
  - {{id: mine/9, article: a, ja: 九, en: nine, informative: no machine}}
  - id: mine/1
    article: Article 1
    ja: 一
    en: one
    rules:
      - {rules}
"""
RECORD = "record: {fields: [time], retention: 30d}"
MEASURE = f"kind: measure, ground: misuse, effect: silence, extent: partial, notice: before, fees: continue, {RECORD}"
CREDIT = "kind: credit, minimum: 24h, unit: 24h, counted_from: failure, monthly: 1/30"


def read(*rules):
    return parse_pack(PACK.format(rules="\n      - ".join(f"{{{rule}}}" for rule in rules)), "mine.yaml").rules


def faults(*rules):
    with pytest.raises(ConfigError) as caught:
        read(*rules)
    return [(fault.line, fault.path.removeprefix("clauses[1].rules"), fault.message) for fault in caught.value.faults]


def test_a_measure_says_all_that_differs_between_documents():
    (rule,) = read(
        f"kind: measure, ground: unpaid, detector: bandwidth, effect: limit-rate, extent: partial, notice: before, urgent: true,"
        f" lead: 10 business days, period: 3 months, extension: true, release_delay: 24h, termination: {{after: 10 days, clause: mine/9}},"
        f" fees: stop, share: 50%, window: 10m, keep: 0.25, {RECORD}"
    )
    assert (rule.clause, rule.ground, rule.detector, rule.effect) == ("mine/1", "unpaid", Detector.BANDWIDTH, Effect.LIMIT_RATE)
    assert (rule.extent, rule.notice, rule.urgent, rule.extension) == (Extent.PARTIAL, NoticeTime.BEFORE, True, True)
    assert rule.lead == Span(10, Unit.BUSINESS_DAYS)
    assert rule.period == Span(3, Unit.MONTHS)
    assert rule.release_delay == Span(86400, Unit.SECONDS)
    assert (rule.termination_after, rule.termination_clause) == (Span(10, Unit.DAYS), "mine/9")
    assert (rule.fees_continue, rule.share, rule.window, rule.keep) == (False, 0.5, 600, 0.25)
    assert rule.record == Record(("time",), 30 * 86400)


def test_what_a_measure_leaves_out_the_document_does_not_say():
    (rule,) = read(MEASURE)
    assert (rule.detector, rule.urgent, rule.extension) == (Detector.OPERATOR, False, False)
    assert [rule.lead, rule.period, rule.release_delay, rule.termination_after, rule.termination_clause, rule.rate] == [None] * 6


def test_the_other_kinds():
    assert read(
        f"{CREDIT}, yearly: 1 / 365, cap: 1.5, claim: 1 month, begun_counts: true, pays: loss",
        "kind: announcement, what: maintenance, lead: 1 business day, urgent: true",
        "kind: delivery, channel: web, deemed: readable",
        "kind: emergency, rate: 5, burst: 50",
    ) == (
        CreditRule("mine/1", 24, 24, 30, 365, 1.5, Span(1, Unit.MONTHS), begun_counts=True, from_knowledge=False, pays_loss=True),
        AnnouncementRule("mine/1", "maintenance", Span(1, Unit.BUSINESS_DAYS), urgent=True),
        DeliveryRule("mine/1", "web", Deemed.READABLE),
        EmergencyRule("mine/1", 5, 50),
    )


@pytest.mark.parametrize(
    ("rule", "path", "words"),
    [
        (MEASURE.replace("silence", "slience"), "effect", "walled-garden"),
        (MEASURE.replace("misuse", "Mis Use"), "ground", "no id"),
        (MEASURE + ", detector: oracle", "detector", "duplicate-login"),
        (MEASURE.replace("fees: continue", "fees: maybe"), "fees", "continue, stop"),
        (MEASURE + ", leed: 1 day", "leed", "did you mean `lead`?"),
        (MEASURE + ", lead: soon", "lead", "10 business days"),
        (MEASURE + ", lead: 10", "lead", "such as"),
        (MEASURE + ", lead: 1.5 days", "lead", "such as"),
        (MEASURE + ", lead: 0 days", "lead", "longer than nothing"),
        (MEASURE + ", period: 999 months", "period", "ten years"),
        (MEASURE.replace("before", "after") + ", lead: 1 day", "lead", "notice: before"),
        (MEASURE.replace("before", "none") + ", urgent: true", "urgent", "notice: before"),
        (MEASURE + ", extension: true", "extension", "give `period`"),
        (MEASURE + ", termination: {clause: mine/9}", "termination", "give `after`"),
        (MEASURE + ", termination: {after: 10 days, clause: mine/8}", "termination.clause", "did you mean `mine/9`?"),
        (MEASURE + ", rate: 10", "rate", "limit-dns alone"),
        (MEASURE + ", share: 10%", "share", "bandwidth alone"),
        (MEASURE.replace("silence", "limit-dns") + ", rate: 10", "burst", "limit-dns needs it"),
        (MEASURE.replace("silence", "limit-rate"), "keep", "limit-rate needs it"),
        (MEASURE.replace("silence", "limit-rate") + ", keep: 0%", "keep", "nothing at all"),
        (MEASURE + ", detector: bandwidth, share: 10%", "window", "bandwidth needs it"),
        (MEASURE.replace("silence", "limit-mail").replace("partial", "full"), "extent", "extent: partial"),
        (MEASURE.replace(f", {RECORD}", ""), "record", "missing"),
        (CREDIT.replace("1/30", "30"), "monthly", "1/30"),
        (CREDIT.replace("1/30", "1/0"), "monthly", "1/30"),
        (CREDIT.replace("failure", "birth"), "counted_from", "knowledge"),
        (CREDIT + ", cap: 0", "cap", "greater than 0"),
        (CREDIT + ", pays: loss", "pays", "give `cap`"),
        (CREDIT.replace("unit: 24h", "unit: 24"), "unit", "24h"),
        ("kind: announcement, what: maintenance", "urgent", "missing"),
        ("kind: delivery, channel: pigeon, deemed: sent", "channel", "email"),
        ("kind: delivery, channel: email, deemed: hoped", "deemed", "readable"),
        ("kind: emergency, rate: 0, burst: 1", "rate", "at least 1"),
        ("kind: mesure", "", "emergency"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_where_it_stands(rule, path, words):
    ((line, where, message),) = faults(rule)
    assert (line, where) == (11, f"[0].{path}".rstrip("."))
    assert words in message


@pytest.mark.parametrize(
    ("rule", "key", "words"),
    [
        (MEASURE, "detector", "a clause of its own"),
        (CREDIT, "kind", "one credit"),
        ("kind: announcement, what: maintenance, urgent: true", "what", "lead time for maintenance"),
        ("kind: delivery, channel: email, deemed: sent", "channel", "by email"),
        ("kind: emergency, rate: 5, burst: 50", "kind", "one emergency"),
    ],
)
def test_what_can_be_said_once_is_not_said_twice(rule, key, words):
    ((line, where, message),) = faults(rule, rule)
    assert (line, where) == (12, f"[1].{key}")
    assert words in message
    assert "line 11" in message


def test_two_detectors_may_find_the_same_ground():
    assert len(read(MEASURE, MEASURE + ", detector: dns-overload")) == 2


def test_every_fault_of_a_rule_is_told_at_once():
    found = faults(MEASURE.replace("before", "after") + ", lead: 1 day, extension: true, rate: 5")
    assert sorted(where for _, where, _ in found) == ["[0].extension", "[0].lead", "[0].rate"]


@pytest.mark.parametrize(
    ("clause", "path", "words"),
    [
        ("{id: mine/1, article: a, ja: b, en: c, informative: ''}", "clauses[0].informative", "empty"),
        (
            "{id: mine/1, article: a, ja: b, en: c, informative: why, rules: [{kind: emergency, rate: 5, burst: 50}]}",
            "clauses[0].informative",
            "without rules",
        ),
    ],
)
def test_a_clause_has_rules_or_a_reason_for_having_none(clause, path, words):
    text = PACK.partition("  - {{")[0].format() + f"  - {clause}\n"
    with pytest.raises(ConfigError) as caught:
        parse_pack(text, "mine.yaml")
    (fault,) = caught.value.faults
    assert (fault.line, fault.path) == (5, path)
    assert words in fault.message


def test_lines_of_japanese_are_joined_without_a_space():
    text = (
        PACK.partition("  - {{")[0].format() + "  - {id: mine/1, article: a, informative: why, en: a\n      b, ja: 一、\n      二 three}\n"
    )
    (clause,) = parse_pack(text, "mine.yaml").clauses
    assert (clause.ja, clause.en) == ("一、二 three", "a b")


LIMIT = f"kind: measure, ground: g, effect: limit-rate, keep: 25%, extent: partial, notice: after, fees: continue, {RECORD}"
MAIL = f"kind: measure, ground: g, effect: limit-mail, extent: partial, notice: after, fees: continue, {RECORD}"


def test_the_figures_of_a_detector_are_data_of_the_pack():
    (segment,) = read(f"{LIMIT}, detector: bandwidth, volumes: [{{up: 15GB, window: 24h}}], of: segment, congested: false")
    share, mail, storm = read(
        f"{LIMIT}, detector: bandwidth, share: 50%, window: 30m, volumes: [{{up: 15GB, window: 24h}}, {{down: 1TB, window: 30d}}]",
        f"{MAIL}, detector: mail-volume, count: 300, window: 10m, connections: 5",
        f"{LIMIT}, detector: connection-storm, count: 30000, window: 5m, focus: 90%",
    )
    assert (share.share, share.window, share.of, share.congested) == (0.5, 1800, Capacity.LINE, True)
    assert share.volumes == (Volume(15 * 10**9, True, 86400.0), Volume(10**12, False, 30 * 86400.0))
    assert (segment.share, segment.of, segment.congested) == (None, Capacity.SEGMENT, False)
    assert (mail.count, mail.window, mail.connections) == (300, 600, 5)
    assert (storm.count, storm.focus) == (30000, 0.9)


@pytest.mark.parametrize(
    ("rule", "path", "words"),
    [
        (f"{LIMIT}, detector: bandwidth", "share", "needs it, or `volumes`"),
        (f"{LIMIT}, detector: bandwidth, share: 50%", "window", "is missing"),
        (f"{LIMIT}, detector: bandwidth, share: 50%, window: 1m", "window", "5 minutes to 30 days"),
        (f"{LIMIT}, detector: bandwidth, share: 50%, window: 31d", "window", "5 minutes to 30 days"),
        (f"{LIMIT}, detector: bandwidth, volumes: [{{window: 24h}}]", "volumes", "needs one direction"),
        (f"{LIMIT}, detector: bandwidth, volumes: [{{up: 1GB, down: 1GB, window: 24h}}]", "volumes", "needs one direction"),
        (f"{LIMIT}, detector: bandwidth, volumes: [{{up: 1GB, window: 1m}}]", "volumes[0].window", "5m to 30d"),
        (f"{LIMIT}, detector: bandwidth, share: 50%, window: 30m, count: 3", "count", "leave it out"),
        (f"{MAIL}, detector: mail-volume, window: 10m", "count", "is missing"),
        (f"{MAIL}, detector: mail-volume, count: 3", "window", "is missing"),
        (f"{MAIL}, detector: mail-volume, count: 3, window: 2d", "window", "1 minutes to 1 days"),
        (f"{MAIL}, detector: mail-volume, count: 3, window: 10m, focus: 90%", "focus", "leave it out"),
        (f"{LIMIT}, detector: connection-storm, count: 3, window: 10m", "focus", "is missing"),
        (f"{LIMIT}, detector: connection-storm, count: 3, window: 10m, focus: 0%", "focus", "nothing at all"),
        (f"{LIMIT}, congested: false", "congested", "leave it out"),
        (f"{LIMIT}, of: segment", "of", "leave it out"),
        (f"{LIMIT}, connections: 3", "connections", "limit-mail alone"),
    ],
)
def test_figures_that_do_not_fit_are_refused_where_they_stand(rule, path, words):
    told = [(where, said) for _, where, said in faults(rule)]
    assert any(where.endswith(f".{path}") and words in said for where, said in told), told
