"""Lead times of announcements."""

from __future__ import annotations

from dataclasses import replace

from sekisho.measures.announcing import (
    announced_things,
    announcement_orders,
    announcing,
    consent_orders,
    emergency_orders,
    publication_orders,
)
from sekisho.model.clauses import AnnouncementRule, BlockRule, Clause, Ede, EmergencyRule, NoticeTime, OptOut, Pack, Record
from sekisho.model.customers import Consent, Customer
from sekisho.model.measures import Emergency, Interruption, Occasion, Span, Unit
from support.spans import PLAIN
from unit.measures.cases import DAY, T0, days


def pack(name, *rules):
    return Pack(name, "t", "o", "1", tuple(Clause(rule.clause, "17", "ja", "en", (rule,)) for rule in rules))


PACKS = {
    "vectant": pack("vectant", AnnouncementRule("vectant/17", "maintenance", days(10), True)),
    "gunma": pack(
        "gunma",
        AnnouncementRule("gunma/18", "maintenance", None, True),
        AnnouncementRule("gunma/20", "discontinuation", Span(3, Unit.MONTHS), False),
    ),
}


def judged(what, since, urgent=False, now=T0):
    return [
        (one.rule.clause, one.in_time, one.excused)
        for one in announcing(PACKS, ["vectant", "gunma"], what, since, now, PLAIN, urgent=urgent)
    ]


def test_every_pack_judges_by_its_own_lead_time():
    assert judged("maintenance", T0 + 10 * DAY) == [("vectant/17", True, False), ("gunma/18", True, False)]
    assert judged("maintenance", T0 + 9 * DAY) == [("vectant/17", False, False), ("gunma/18", True, False)]
    assert judged("maintenance", T0 - 1) == [("vectant/17", False, False), ("gunma/18", False, False)]


def test_what_is_urgent_may_come_later_where_the_clause_says_so():
    assert judged("maintenance", T0 + 1, urgent=True) == [("vectant/17", False, True), ("gunma/18", True, False)]
    assert judged("discontinuation", T0 + DAY, urgent=True) == [("gunma/20", False, False)]


def test_it_says_until_when_it_had_to_be_announced():
    [one] = announcing(PACKS, ["vectant"], "maintenance", T0 + 9 * DAY, T0, PLAIN, urgent=False)
    assert one.latest == T0 - DAY


def test_what_can_be_announced_is_what_the_packs_know():
    assert announced_things(PACKS) == ["discontinuation", "maintenance"]
    assert judged("fireworks", T0) == []


def blocking(clause, **more):
    given = {
        "categories": ("c2",),
        "answer": None,
        "opt_out": OptOut.CUSTOMER,
        "consent_required": True,
        "consent_versions": (),
        "notice": NoticeTime.NONE,
        "ede": Ede.BLOCKED,
        "record": Record((), 0),
        "opt_out_clause": "gunma/別記-3",
    }
    return BlockRule(clause, **(given | more))


BLOCKING = {"gunma": pack("gunma", blocking("gunma/別記-1")), "nbnet": pack("nbnet", blocking("nbnet/21-1", opt_out=OptOut.NOBODY))}


def consenting(version, *terms, **more):
    return Customer("c-1", terms or ("gunma",), consent=Consent(version, "2026-04-01") if version else None, **more)


def test_an_emergency_is_posted_once_under_each_clause_it_was_declared_under():
    packs = {"gunma": pack("gunma", EmergencyRule("gunma/19-1", 5, 50)), "nbnet": pack("nbnet", EmergencyRule("nbnet/20", 5, 50))}
    emergency = Emergency(("gunma/19-1", "nbnet/20", "gone/1"), T0, T0 + DAY, (), "o", "an earthquake")
    orders = emergency_orders(packs, emergency, {"nbnet/20"})
    assert [(one.customer, one.clause, one.occasion, one.observe) for one in orders] == [
        ("", "gunma/19-1", Occasion.EMERGENCY, False),
        ("", "nbnet/20", Occasion.EMERGENCY, True),
    ]
    assert len({one.key for one in orders}) == 2
    assert {one.key for one in orders} != {one.key for one in emergency_orders(packs, replace(emergency, since=T0 + 1), ())}


def test_how_to_opt_out_is_published_for_what_can_be_opted_out_of_and_again_before_it_is_taken_off():
    [first] = publication_orders(BLOCKING, T0, 10 * DAY)
    assert (first.customer, first.clause, first.occasion) == ("", "gunma/別記-3", Occasion.C2_BLOCK)
    keys = {publication_orders(BLOCKING, T0 + hour * 3600, 10 * DAY)[0].key for hour in range(10 * 24)}
    assert 2 <= len(keys) <= 3
    newer = {"gunma": replace(BLOCKING["gunma"], version="2")}
    assert publication_orders(newer, T0, 10 * DAY)[0].key != first.key


def test_who_consents_is_told_once_for_each_version_of_the_terms():
    [first] = consent_orders(BLOCKING, None, consenting("2021"))
    assert (first.customer, first.clause, first.occasion) == ("c-1", "gunma/別記-3", Occasion.C2_BLOCK)
    assert [one.key for one in consent_orders(BLOCKING, consenting(None), consenting("2021"))] == [first.key]
    assert consent_orders(BLOCKING, consenting("2021"), consenting("2021", email="c@example.com")) == []
    assert consent_orders(BLOCKING, consenting("2021"), consenting("2026"))[0].key != first.key


def test_who_consents_to_nothing_that_can_be_opted_out_of_is_told_nothing():
    assert consent_orders(BLOCKING, None, consenting(None)) == []
    assert consent_orders(BLOCKING, None, consenting("2021", "nbnet", "gone")) == []
    assert consent_orders({"gunma": pack("gunma", blocking("gunma/別記-1", consent_versions=("2026",)))}, None, consenting("2021")) == []


def test_an_interruption_is_posted_under_each_clause_it_was_announced_under():
    told = Interruption("i-1", "maintenance", ("vectant", "gunma"), T0 + 20 * DAY, None, T0, urgent=False, reason="routers")
    orders = announcement_orders(PACKS, told)
    assert [one.clause for one in orders] == ["vectant/17", "gunma/18"]
    assert len({one.key for one in orders}) == 2
