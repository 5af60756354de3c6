"""Lead times of announcements."""

from __future__ import annotations

from sekisho.measures.announcing import announced_things, announcing
from sekisho.model.clauses import AnnouncementRule, Clause, Pack
from sekisho.model.measures import Span, Unit
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
