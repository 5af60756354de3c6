"""Which clauses act on the DNS by measure, and under which number."""

from __future__ import annotations

from sekisho.model.clauses import Clause, EmergencyRule, Extent, MeasureRule, NoticeTime, Pack, Record
from sekisho.model.measures import Detector, Effect
from sekisho.terms.grounds import grounds_of


def measure(clause, effect):
    return MeasureRule(
        clause, "misuse", Detector.OPERATOR, effect, Extent.FULL, NoticeTime.BEFORE, urgent=False, lead=None, period=None, extension=False,
        release_delay=None, termination_after=None, termination_clause=None, fees_continue=True, record=Record((), 1.0),
    )  # fmt: skip


def pack(name, *clauses):
    return Pack(name, name, "Example", "2026-01-01", tuple(Clause(one, one, "", "", tuple(rules)) for one, rules in clauses))


def test_the_clauses_that_act_on_the_dns_are_numbered_in_the_order_of_the_packs():
    packs = {
        "b": pack(
            "b",
            ("b/1", [measure("b/1", Effect.WALLED_GARDEN)]),
            ("b/2", [measure("b/2", Effect.BY_HAND)]),
            ("b/3", [measure("b/3", Effect.SILENCE), measure("b/3", Effect.LIMIT_DNS)]),
        ),
        "a": pack("a", ("a/9", [measure("a/9", Effect.LIMIT_RATE)]), ("a/19", [EmergencyRule("a/19", 5, 10)])),
    }
    assert list(grounds_of(packs).items()) == [
        ("b/1", {Effect.WALLED_GARDEN}),
        ("b/3", {Effect.SILENCE, Effect.LIMIT_DNS}),
        ("a/19", {Effect.LIMIT_DNS}),
    ]


def test_packs_without_measures_have_none():
    assert grounds_of({}) == grounds_of({"a": pack("a", ("a/1", []))}) == {}
