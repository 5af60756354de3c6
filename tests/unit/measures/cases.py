"""Rules and findings for the tests of the life cycle."""

from __future__ import annotations

from sekisho.measures.happenings import Found, Tick
from sekisho.measures.lifecycle import step
from sekisho.measures.standing import Standing
from sekisho.model.clauses import MeasureRule, NoticeTime, Record
from sekisho.model.measures import Detector, Effect, Extent, Finding, Span, Unit
from support.spans import PLAIN

T0 = 1_700_000_000.0
DAY = 86400.0
CLAUSE = "nbnet/22-2-5"


def days(amount):
    return Span(amount, Unit.DAYS)


def rule(**more):
    given = {
        "clause": CLAUSE,
        "ground": "dns-overload",
        "detector": Detector.DNS_OVERLOAD,
        "effect": Effect.SILENCE,
        "extent": Extent.PARTIAL,
        "notice": NoticeTime.BEFORE,
        "urgent": True,
        "lead": None,
        "period": None,
        "extension": False,
        "release_delay": days(3),
        "termination_after": days(10),
        "termination_clause": "nbnet/26-1",
        "fees_continue": True,
        "record": Record(("time", "customer", "clause"), 90 * DAY),
    }
    return MeasureRule(**(given | more))


def standing(given=None, **more):
    return Standing(given or rule(), **({"observe": False} | more))


def finding(at=T0, *, urgent=False, detector=Detector.DNS_OVERLOAD, **evidence):
    return Finding(detector, CLAUSE, "c-1", at, 60.0, evidence or {"rate": 900}, urgent)


class Story:
    """One measure in virtual time: every act and order, with when it came."""

    def __init__(self, given=None, **more):
        self.standing = standing(given, **more)
        self.measure = None
        self.now = T0
        self.acts = []
        self.orders = []

    def does(self, event, at=None):
        self.now = self.now if at is None else at
        outcome = step(self.measure, event, self.standing, self.now, PLAIN)
        self.measure = outcome.measure
        self.acts += [(self.now, act) for act in outcome.acts]
        self.orders += [order.occasion.value for order in outcome.orders]
        return outcome

    def finds(self, at=None, **more):
        return self.does(Found(finding(self.now if at is None else at, **more), "m-1"), at)

    def ticks(self, at):
        return self.does(Tick(), at)

    @property
    def state(self):
        return self.measure.state.value

    @property
    def kinds(self):
        return [act.kind if not hasattr(act, "state") else f"{act.state}:{act.cause}" for _, act in self.acts]
