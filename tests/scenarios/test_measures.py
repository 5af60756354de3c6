"""The life cycle told as stories: every file in `measures/`, in virtual time, by the packs as they are shipped."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import re
from pathlib import Path

import pytest
import yaml

from sekisho.measures import calendar
from sekisho.measures.announcing import announcing
from sekisho.measures.calendar import JAPAN
from sekisho.measures.credits import outage_credit
from sekisho.measures.deadlines import next_due
from sekisho.measures.happenings import Dismiss, Extend, Found, Gone, Lift
from sekisho.measures.standing import rule_for
from sekisho.model import events
from sekisho.model.clauses import CreditRule, MeasureRule
from sekisho.model.customers import Customer
from sekisho.model.errors import RefusedError
from sekisho.model.measures import NONE, Detector, Finding, Occasion
from sekisho.terms.pack import parse_pack
from support.desk import Desk

HERE = Path(__file__).parent / "measures"
STORIES = sorted(HERE.glob("*.yaml"))
KEYS = {
    "at",
    "event",
    "who",
    "priority",
    "state",
    "until",
    "cause",
    "extensions",
    "notices",
    "enforced",
    "termination",
    "refused",
    "announced",
    "fee",
    "credit",
    "claim by",
    "comment",
}
OPERATOR = "uid:1000(operator)"

# What the documents say of measures, of interruptions and of fees, as far as a machine carries it out or has to keep to it.
TOLD = {
    "nbnet/22-2-5", "nbnet/22-2-4", "nbnet/22-2-3", "gunma/19-2", "vectant/16-3", "smartconnect-panel/17-1-3", "smartconnect-panel/17-3",
    "network-service/16-15", "network-service/18", "nbnet/19-22", "vectant/18-2-16", "gunma/8", "gunma/38",
    "gunma/19-1", "nbnet/20", "vectant/16-1", "network-service/25", "smartconnect-panel/15",
    "nbnet/22-1", "nbnet/22-2", "nbnet/22-3", "nbnet/22-4", "nbnet/26-1", "gunma/17", "gunma/21",
    "vectant/18-1", "vectant/18-2", "vectant/18-3", "smartconnect-panel/17-1-1", "smartconnect-panel/17-1-2", "smartconnect-panel/17-2",
    "smartconnect-panel/12-2", "smartconnect-panel/17-4", "vectant/17",
    "gunma/24", "gunma/30", "nbnet/38", "vectant/28-7", "network-service/8-6",
}  # fmt: skip


def seconds(text):
    return dt.datetime.strptime(str(text), "%Y-%m-%d %H:%M").replace(tzinfo=JAPAN).timestamp()


@pytest.fixture(scope="module")
def packs(root):
    read = [parse_pack(path.read_text(encoding="utf-8"), str(path)) for path in sorted((root / "policies").glob("*.yaml"))]
    return {pack.id: pack for pack in read}


class Teller:
    """One story being told."""

    def __init__(self, story, packs):
        self.clause = story["clauses"][0]
        terms = story.get("customers", {"c-1": [self.clause.partition("/")[0]]})
        self.groups = story.get("groups", {})
        self.desk = Desk(packs, [Customer(name, tuple(of), group=self.groups.get(name)) for name, of in terms.items()], calendar=calendar)
        self.ids = (f"m-{n}" for n in itertools.count(1))
        self.now = None
        self.told, self.acts = 0, 0

    @property
    def measures(self):
        return self.desk.measures

    async def line(self, line):
        assert set(line) <= KEYS, f"unknown: {set(line) - KEYS}"
        at, who = seconds(line["at"]), line.get("who", "c-1")
        assert self.now is None or at >= self.now, "the lines are in the order of time"
        await self.pass_until(at)
        self.now = at
        if "refused" in line:
            with pytest.raises(RefusedError, match=line["refused"]):
                await self.happens(line["event"], who, line)
        else:
            await self.happens(line["event"], who, line)
        await self.measures.tick(at)
        self.judge(line, who)

    async def pass_until(self, at):
        """Everything that is due before `at`, at its time."""
        while self.now is not None:
            view = self.measures.view(self.now)
            times = [next_due(one, view.standing_of(one), calendar) for one in self.desk.book.open()]
            emergency = self.desk.book.emergency
            times.append(None if emergency is None else emergency.until)
            due = min((time for time in times if time is not None and time > self.now), default=None)
            if due is None or due >= at:
                return
            self.now = due
            await self.measures.tick(due)

    async def happens(self, event, who, line):
        detector = self.detector(who)
        key = who, self.clause, detector
        words = event.removeprefix("operator ")
        newest = self.desk.book.last(*key)
        match words.split():
            case ["found", *how]:
                urgent = how == ["urgently"]
                finding = Finding(detector, self.clause, who, self.now, 60.0, {"ground": "stated"}, urgent)
                if detector is Detector.OPERATOR:
                    opened = newest if newest is not None and newest.state.is_open else None
                    await self.measures.operate(opened, key, Found(finding, next(self.ids), "stated"), self.now, OPERATOR)
                else:
                    await self.measures.found([finding], self.now)
            case ["condition", "gone"]:
                if detector is Detector.OPERATOR:
                    await self.measures.operate(newest, key, Gone("corrected"), self.now, OPERATOR)
                else:
                    await self.measures.gone([key], self.now)
            case ["notice", "delivered"]:
                for order in self.desk.post.orders.values():
                    if order.customer == who and order.occasion is Occasion.BEFORE:
                        self.desk.post.delivered_at.setdefault(order.key, self.now)
            case ["time", "passes"]:
                pass
            case ["the", "daemon", "restarts"]:
                self.desk.restart()
            case ["terms", "no", "longer", "have", "it"]:
                self.desk.people.customers[who] = Customer(who, ("other",))
                await self.measures.touch(who, self.now)
            case ["lifts" | "dismisses" | "extends" as verb, *rest]:
                done = {"lifts": Lift("ticket"), "dismisses": Dismiss("ticket")}.get(verb) or Extend(seconds(" ".join(rest[1:])), "ticket")
                await self.measures.operate(newest, key, done, self.now, OPERATOR)
            case _:
                await self.concerns_everybody(words, who, line)

    async def concerns_everybody(self, words, who, line):
        if announced := re.fullmatch(r"announces (\S+) from (\S+ \S+)( urgently)?", words):
            self.announces(announced[1], seconds(announced[2]), urgent=announced[3] is not None, line=line)
            return
        if outage := re.fullmatch(r"outage until (.+)", words):
            self.outage(seconds(outage[1]), line)
            return
        act = {
            "exempts": events.CustomerExempted(who, self.clause, "ticket"),
            "ends the exemption": events.ExemptionEnded(who, self.clause),
            "holds": events.EnforcementHeld("ticket"),
            "resumes": events.EnforcementResumed(),
            "emergency ends": events.EmergencyEnded("over"),
        }.get(words)
        until = re.fullmatch(r"emergency until (.+)", words)
        if until:
            act = events.EmergencyDeclared([self.clause], seconds(until[1]), line.get("priority", []), "earthquake")
        assert act is not None, f"no such event: {words}"
        await self.measures.record(act, self.now, OPERATOR)
        await self.measures.settle(self.now)

    def announces(self, what, since, *, urgent, line):
        """An interruption, announced now under the first clause's pack."""
        packs, pack = self.desk.people.site.packs, self.clause.partition("/")[0]
        judged = announcing(packs, [pack], what, since, self.now, calendar, urgent=urgent)
        assert [one.rule.clause for one in judged] == [self.clause]
        found = "in time" if judged[0].in_time else "late, and excused" if judged[0].excused else "too late"
        assert found == line["announced"], (
            f"{line['at']}: it had to be announced until {dt.datetime.fromtimestamp(judged[0].latest, JAPAN)}"
        )

    def outage(self, until, line):
        """A failure of the operator's from now on; `fee` is the month's."""
        pack = self.desk.people.site.packs[self.clause.partition("/")[0]]
        (rule,) = (rule for rule in pack.rules if isinstance(rule, CreditRule))
        assert rule.clause == self.clause
        owed = outage_credit(rule, line["fee"], self.now, until)
        assert (0 if owed is None else owed.yen) == line["credit"], line
        if "claim by" in line:
            assert owed is not None
            by = "none" if owed.claim_by is None else dt.datetime.fromtimestamp(owed.claim_by, JAPAN).strftime("%Y-%m-%d %H:%M")
            assert by == str(line["claim by"]), line

    def detector(self, who):
        """Who states the ground: the rule's detector."""
        customer = self.desk.people.find(who)
        pack = self.desk.people.site.packs[self.clause.partition("/")[0]]
        rules = [rule for rule in pack.rules if isinstance(rule, MeasureRule) and rule.clause == self.clause]
        assert customer is not None
        return rules[0].detector if rules else Detector.OPERATOR

    def judge(self, line, who):
        newest = self.desk.book.last(who, self.clause, self.detector(who))
        orders = list(self.desk.post.orders.values())[self.told :]
        acts = [one.act for one in self.desk.ledger.recorded[self.acts :]]
        self.told, self.acts = len(self.desk.post.orders), len(self.desk.ledger.recorded)
        found = {
            "state": newest.state.value if newest else "none",
            "cause": newest.cause.value if newest else None,
            "until": newest.until if newest else None,
            "extensions": newest.extensions if newest else 0,
            "notices": [one.occasion.value for one in orders if one.customer == who],
            "termination": next((one.clause for one in acts if isinstance(one, events.TerminationEligible)), "none"),
        }
        for key, value in found.items():
            if key in line:
                wanted = (
                    seconds(line[key])
                    if key == "until" and line[key] != "none"
                    else None
                    if line[key] == "none" and key == "until"
                    else line[key]
                )
                assert value == wanted, f"{line['at']} {line['event']}: {key} is {value}, and has to be {wanted}"
        if "enforced" in line:
            wanted = line["enforced"] if isinstance(line["enforced"], dict) else {who: line["enforced"]}
            there = {name: shown(self.desk.plane.rows.get(name, NONE)) for name in wanted}
            assert there == wanted, f"{line['at']} {line['event']}"
        self.keeps_to_the_terms()

    def keeps_to_the_terms(self):
        """What holds after every line: nothing is enforced without a clause of the customer's terms."""
        for name, what in self.desk.plane.rows.items():
            customer = self.desk.people.find(name)
            assert customer is not None
            for clause in what.by:
                assert clause.partition("/")[0] in customer.terms


def shown(what):
    if what.silenced:
        return "silence"
    if what.garden:
        return "walled garden"
    return "nothing" if what.budget is None else f"{what.budget[0]}/s"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path, packs):
    story = yaml.safe_load(path.read_text(encoding="utf-8"))

    async def tell():
        teller = Teller(story, packs)
        for line in story["story"]:
            await teller.line(line)

    asyncio.run(tell())


def test_there_is_a_story_for_every_clause(packs):
    told = {clause for path in STORIES for clause in yaml.safe_load(path.read_text(encoding="utf-8"))["clauses"]}
    assert not TOLD - told
    assert not {clause for clause in told if packs[clause.partition("/")[0]].clause(clause) is None}


def test_every_ground_of_every_pack_goes_through_its_life_and_ends(packs):
    """The same story for each of them: stated, noticed, enforced, gone, lifted; and nothing stays behind."""
    for pack in packs.values():
        for rule in pack.rules:
            if isinstance(rule, MeasureRule):
                asyncio.run(life_of(rule, pack.id, packs))


async def life_of(rule, pack, packs):
    assert rule_for(packs, (pack,), rule.clause, rule.detector) is not None
    desk = Desk(packs, [Customer("c-1", (pack,))], calendar=calendar)
    now = seconds("2026-04-01 10:00")
    key = "c-1", rule.clause, rule.detector
    finding = Finding(rule.detector, rule.clause, "c-1", now)
    await desk.measures.found([finding], now)
    for order in desk.post.orders.values():
        desk.post.delivered_at[order.key] = now + 60
    await desk.measures.tick(now + 60)
    assert desk.book.last(*key).state.value == "in-force"
    await desk.measures.gone([key], now + 3600)
    for day in range(70):
        await desk.measures.tick(now + 86400 * day)
    assert desk.book.last(*key).state.value == "lifted"
    assert desk.plane.rows == {}
    assert "termination-eligible" not in desk.kinds()
