"""Why a line is slow, and whether it is: what the desk is told is what is carried out."""

from __future__ import annotations

import asyncio

import pytest

from sekisho.enforce.state import Role, Table, place_of
from sekisho.model.customers import Prefix
from sekisho.model.nas import ErrorCause, RequestOutcome
from unit.control.sites import ACTOR, Clock, daemon

SLOWS, STOPS_MAIL, SILENCES = "nbnet/22-2-4", "nbnet/22-2-3", "nbnet/22-2-5"
DOES = {SLOWS: "the line keeps 25% of its speed", STOPS_MAIL: "the sending of mail is limited to 10 connections a minute"}
NOWHERE = {"namespace": "sekisho-is-not-there"}
NOTHING = {"silence": False, "mail": False, "shaping": False, **NOWHERE}
"""Of lines: known, and nothing is done to them in any kernel."""
COA = {"nas": [{"id": "bng-1", "address": "127.0.0.1:9", "vendor": "mikrotik", "networks": ["192.0.2.0/24"]}]}


@pytest.fixture
def site(folder):
    plan = {"down_mbps": 100, "up_mbps": 50}
    folder.customers(
        [
            {"id": "c-1", "terms": "nbnet", "prefixes": ["192.0.2.1"], "plan": plan},
            {"id": "c-2", "terms": "nbnet", "prefixes": ["192.0.2.2"]},
            {"id": "c-3", "terms": "nbnet", "plan": plan},
        ]
    )
    folder.set(measures={"mode": "enforce"}, coa=COA)
    return folder


class On:
    """The daemon, a measure on a customer, and the NAS as it answers. Nothing is sent."""

    def __init__(self, site, control, clock):
        self.site, self.control, self.core, self.clock = site, control, control.core, clock

    async def suspend(self, customer="c-1", clause=SLOWS):
        await self.control.suspend(customer, clause, reason="ticket 1", urgent=True, actor=ACTOR)

    def nas(self, outcome=RequestOutcome.ACKNOWLEDGED, cause=ErrorCause.NONE):
        book = self.core.nas.book
        for one in book.due(1e9):
            book.answered(one, outcome, cause, 1e9)

    async def hold(self):
        await self.control.hold(reason="drill", actor=ACTOR)

    async def emergency(self, *priority):
        until = self.clock() + 3600
        await self.control.start_emergency(clauses=["nbnet/20"], until=until, priority=list(priority), reason="quake", actor=ACTOR)

    async def configure(self, **settings):
        self.site.set(**settings)
        await self.control.reload(actor=ACTOR)

    async def line(self, customer="c-1"):
        return await self.control.explain_line(customer=customer)

    async def is_told(self, why, customer="c-1", clause=SLOWS):
        """Nothing limits the line, and both answers say why."""
        body, used = await self.line(customer), await self.control.show_usage(customer=customer)
        (limit,) = body["limits"]
        assert limit["enforced"] is False
        assert limit["not_done"] is not None
        assert why in limit["not_done"]
        assert not any(said.startswith("In force") for said in body["words"]), body["words"]
        assert any(why in said or said.startswith("Observed") for said in body["words"]), body["words"]
        assert any(DOES[clause] in said for said in body["words"])
        assert (used["limited"], used["limits"]) == (False, [])
        assert [one["clause"] for one in used["not_done"]] == ([] if limit["observe"] else [clause]), "what is observed is not in force"
        assert all(why in one["why"] for one in used["not_done"])


def go(site, scenario):
    clock = Clock()

    async def main():
        async with daemon(site, clock) as control:
            await scenario(On(site, control, clock))

    asyncio.run(asyncio.wait_for(main(), 120))


def test_a_limit_is_in_force_when_a_nas_has_acknowledged_it(site):
    async def scenario(it):
        await it.suspend()
        await it.is_told("NAS bng-1 has not acknowledged it; `sekisho nas show bng-1`")
        it.nas(RequestOutcome.REFUSED, ErrorCause.ADMINISTRATIVELY_PROHIBITED)
        await it.is_told("NAS bng-1 refuses it (administratively-prohibited)")
        it.core.nas.book.suspect("bng-1", 1e9)
        it.core.nas.book.adopt({"bng-1": it.core.nas.book.nases()["bng-1"].pace}, 1e9)
        it.nas()
        body, used = await it.line(), await it.control.show_usage(customer="c-1")
        assert [(one["enforced"], one["not_done"]) for one in body["limits"]] == [(True, None)]
        assert body["words"][0].startswith(f"In force under {SLOWS} since ")
        assert (used["limited"], [one["clause"] for one in used["limits"]], used["not_done"]) == (True, [SLOWS], [])

    go(site, scenario)


def test_while_all_enforcement_is_held_nothing_is_told_to_be_in_force(site):
    async def scenario(it):
        await it.suspend()
        it.nas()
        await it.hold()
        await it.is_told("enforcement is held since 2023-11-1")

    go(site, scenario)


def test_a_clause_that_is_observed_since_the_measure_was_opened_is_told_as_observed(site):
    async def scenario(it):
        await it.suspend()
        it.nas()
        await it.configure(measures={"mode": "observe"})
        await it.is_told("observed only")
        assert (await it.line())["limits"][0]["observe"] is True

    go(site, scenario)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"coa": None}, "with neither `lines:` nor `coa:` nobody slows lines"),
        ({"coa": COA | {"mode": "observe"}}, "`coa: mode: observe`"),
        ({"coa": None, "lines": {"customers": ["cust0"], **NOWHERE}}, "`lines: mode: observe`, so lines are observed only"),
        ({"coa": None, "lines": NOTHING | {"mode": "enforce"}}, "`lines: shaping: false`"),
        ({"coa": COA | {"mode": "observe"}, "lines": NOTHING}, "`lines: shaping: false`; `coa: mode: observe`"),
        (
            {"coa": None, "lines": {"mode": "enforce", "customers": ["cust0"], **NOWHERE}},
            "the kernel holds no limit of theirs, since the network namespace /run/netns/sekisho-is-not-there is not there",
        ),
    ],
    ids=["nobody", "coa-observes", "lines-observe", "no-shaping", "both-observe", "no-kernel"],
)
def test_a_line_nobody_slows_is_not_told_to_be_slowed(site, settings, why):
    site.set(**settings)

    async def scenario(it):
        await it.suspend()
        await it.is_told(why)

    go(site, scenario)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (None, "without `lines:` nobody limits the sending of mail"),
        (NOTHING, "`lines: mail: false`"),
        (NOTHING | {"mail": True}, "`lines: mode: observe`"),
    ],
    ids=["nobody", "off", "observed"],
)
def test_mail_that_nobody_limits_is_not_told_to_be_limited(site, lines, why):
    site.set(lines=lines)

    async def scenario(it):
        await it.suspend(clause=STOPS_MAIL)
        await it.is_told(why, clause=STOPS_MAIL)

    go(site, scenario)


@pytest.mark.parametrize(("clause", "role"), [(SLOWS, Role.DOWN), (STOPS_MAIL, Role.NO_MAIL)])
def test_a_limit_that_the_kernel_holds_is_in_force(site, clause, role):
    site.set(coa=None, lines={"mode": "enforce", "customers": ["cust0"], **NOWHERE})

    async def scenario(it):
        await it.suspend(clause=clause)
        await it.is_told("the kernel holds no limit of theirs", clause=clause)
        six, bits, key = place_of(Prefix.parse("192.0.2.1"))
        it.core.lines.known.entries[Table(role, six, bits)] = {key: ""}
        assert (await it.line())["limits"][0]["enforced"] is True
        assert (await it.control.show_usage(customer="c-1"))["limited"] is True

    go(site, scenario)


def test_a_line_without_a_capacity_or_an_address_is_not_told_to_be_slowed(site):
    async def scenario(it):
        await it.suspend("c-2")
        await it.is_told("the customer has no `plan`", "c-2")
        await it.suspend("c-3")
        await it.is_told("no session or fixed address of theirs is at a NAS", "c-3")

    go(site, scenario)


def test_what_the_plane_does_is_in_force_without_anybody_else(site):
    site.set(coa=None)

    async def scenario(it):
        await it.suspend(clause=SILENCES)
        (limit,) = (await it.line())["limits"]
        assert (limit["enforced"], limit["not_done"]) == (True, None)
        assert limit["words"][0].startswith("In force")

    go(site, scenario)


def test_an_emergency_that_limits_queries_is_told_though_there_is_no_measure(site):
    async def scenario(it):
        assert (await it.line())["words"] == ["The line is not limited by any measure."]
        await it.emergency("c-3")
        told = await it.line()
        assert (told["limits"], told["emergency"]["clause"], told["emergency"]["enforced"]) == ([], "nbnet/20", True)
        assert "queries are limited to 5/s, 50 at once" in told["words"][0]
        assert told["words"][0].startswith("In force in the emergency declared 2023-11-1")
        assert (await it.line("c-3"))["emergency"] is None, "who has priority is not limited"
        await it.hold()
        (said,) = (await it.line())["words"]
        assert said.startswith("Nothing is done in the emergency")
        assert "enforcement is held" in said

    go(site, scenario)


def test_an_emergency_whose_clause_is_observed_only_limits_nobody(site):
    site.set(measures={"mode": "observe"})

    async def scenario(it):
        await it.emergency()
        told = await it.line()
        assert (told["emergency"]["enforced"], told["emergency"]["not_done"]) == (False, "the clause is observed only")

    go(site, scenario)
