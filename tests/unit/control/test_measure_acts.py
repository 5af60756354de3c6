"""What an operator does about measures, on the daemon's core with the packs as they are shipped."""

from __future__ import annotations

import pytest

from sekisho.model.errors import RefusedError
from sekisho.model.measures import Detector, Finding
from sekisho.model.noticeacts import NoticeFailed
from unit.control.sites import ACTOR, CONSENT, CUSTOMERS, Clock, run

OVERLOAD = "nbnet/22-2-5"
UNPAID = "nbnet/22-1-1"
DAY = 86400.0
T0 = 1_790_000_000.0


@pytest.fixture
def site(folder):
    fee = {"id": "c-6", "terms": "gunma", "consent": CONSENT, "prefixes": ["192.0.2.6"], "fee": {"monthly": 6000}, "group": "g-1"}
    folder.customers([*CUSTOMERS, fee])
    folder.set(measures={"mode": "enforce"})
    return folder


def refused(words):
    return pytest.raises(RefusedError, match=words)


async def overload(control, customer="c-3", **more):
    now = control.core.clock()
    await control.core.measures.found([Finding(Detector.DNS_OVERLOAD, OVERLOAD, customer, now, 60.0, {"rate": 900}, **more)], now)


def enforced(control):
    return dict(control.core.measures.enforced())


def test_a_suspension_by_hand_is_noticed_first_and_in_force_once_the_notice_is_delivered(site):
    clock = Clock(T0)

    async def scenario(control):
        made = await control.suspend("c-3", UNPAID, reason="ticket 1", urgent=False, actor=ACTOR)
        before = enforced(control)
        with refused("already"):
            await control.suspend("c-3", UNPAID, reason="again", urgent=False, actor=ACTOR)
        clock.now += DAY
        after = await control.deliver_notice(made["id"], at=None, actor=ACTOR)
        return made, before, after, enforced(control), await control.show_measure(made["id"])

    made, before, after, now, shown = run(site, scenario, clock)
    assert (made["state"], made["waits_for"], made["enforced"], made["reason"]) == (
        "noticed",
        "the notice to count as delivered",
        False,
        "ticket 1",
    )
    assert before == {}
    assert (after["state"], after["enforced"], after["rule"]["fees_continue"]) == ("in-force", True, True)
    assert now["c-3"].garden
    assert now["c-3"].by == (UNPAID,)
    assert (shown["steps"][0]["state"], shown["steps"][0]["actor"]) == ("found", ACTOR)


def test_a_notice_that_reached_nobody_leaves_the_measure_to_an_operator_and_says_so(site):
    async def scenario(control):
        made = await control.suspend("c-3", UNPAID, reason="x", urgent=False, actor=ACTOR)
        [notice] = control.core.state.notices.notices.values()
        await control.core.ledger.append(NoticeFailed(notice.id, "c-3", "given-up", "no way leads there"), ACTOR, T0)
        waiting = await control.show_measure(made["id"])
        return waiting["waits_for"], (await control.deliver_notice(made["id"], at=None, actor=ACTOR))["state"]

    waits_for, after = run(site, scenario, Clock(T0))
    assert "whom its notice did not reach" in waits_for
    assert "sekisho measures delivered" in waits_for
    assert after == "in-force"


def test_in_an_emergency_a_suspension_is_in_force_at_once_and_the_operator_lifts_it(site):
    async def scenario(control):
        made = await control.suspend("c-3", UNPAID, reason="x", urgent=True, actor=ACTOR)
        there = enforced(control)
        with refused("dismiss|in force"):
            await control.dismiss_measure(made["id"], reason="x", actor=ACTOR)
        lifted = await control.lift_measure(made["id"], reason="done", actor=ACTOR)
        return there, lifted, enforced(control)

    there, lifted, after = run(site, scenario, Clock(T0))
    assert list(there) == ["c-3"]
    assert (lifted["state"], lifted["cause"], after) == ("lifted", "operator", {})


@pytest.mark.parametrize(
    ("customer", "clause", "words"),
    [
        ("c-9", UNPAID, "no customer c-9"),
        ("c-1", UNPAID, "whose terms are gunma"),
        ("c-3", "nbnet/22-1-11", "did you mean"),
        ("c-3", "nbnet/21-1", "authorises no measure"),
    ],
)
def test_no_clause_no_measure_and_the_refusal_says_what_there_is(site, customer, clause, words):
    async def scenario(control):
        with refused(words):
            await control.suspend(customer, clause, reason="x", urgent=False, actor=ACTOR)
        return control.core.state.number

    assert run(site, scenario, Clock(T0)) == 0


def test_a_new_site_observes_what_is_suspended_by_hand_too_and_says_so(site):
    site.set(measures={})

    async def scenario(control):
        made = await control.suspend("c-3", UNPAID, reason="x", urgent=True, actor=ACTOR)
        return made, enforced(control), await control.show_measures(None, None, closed=False, limit=10)

    made, there, shown = run(site, scenario, Clock(T0))
    assert (made["state"], made["observe"], made["enforced"]) == ("in-force", True, False)
    assert (there, shown["mode"]) == ({}, "observe")


def test_a_site_that_goes_over_to_enforcing_starts_with_what_is_found_anew(site):
    site.set(measures={"mode": "observe"})

    async def scenario(control):
        await overload(control, urgent=True)
        site.set(measures={"mode": "observe", "clauses": {OVERLOAD: "enforce"}})
        await control.reload(actor=ACTOR)
        shown = await control.show_measures("c-3", None, closed=True, limit=10)
        await overload(control, urgent=True)
        return shown, enforced(control)

    shown, there = run(site, scenario, Clock(T0))
    assert [(one["state"], one["cause"]) for one in shown["measures"]] == [("lifted", "mode-changed")]
    assert there["c-3"].silenced


def test_terms_a_reload_takes_away_end_what_they_authorised(site):
    async def scenario(control):
        await overload(control, urgent=True)
        before = enforced(control)
        site.customers([one | {"terms": "gunma"} if one["id"] == "c-3" else one for one in CUSTOMERS])
        await control.reload(actor=ACTOR)
        return before, enforced(control), control.core.measures.book.open()

    before, after, left = run(site, scenario, Clock(T0))
    assert list(before) == ["c-3"]
    assert (after, left) == ({}, [])


def test_a_customer_who_is_removed_or_replaced_takes_no_measure_along(site):
    async def scenario(control):
        await overload(control, urgent=True)
        await overload(control, "c-2", urgent=True)
        await control.remove_customer("c-3", actor=ACTOR)
        await control.add_customer({"id": "c-2", "terms": "gunma", "prefixes": ["192.0.2.2"]}, replace=True, actor=ACTOR)
        return enforced(control), control.core.measures.book.open()

    assert run(site, scenario, Clock(T0)) == ({}, [])


def test_an_exemption_ends_what_is_open_is_listed_and_can_be_taken_back(site):
    async def scenario(control):
        await overload(control, urgent=True)
        await control.exempt("c-3", OVERLOAD, reason="a school", until=None, actor=ACTOR)
        there = enforced(control)
        await overload(control, urgent=True)
        listed = await control.show_measures(None, None, closed=False, limit=10)
        with refused("no clause nbnet/22-2-55"):
            await control.exempt("c-3", "nbnet/22-2-55", reason="x", until=None, actor=ACTOR)
        with refused("is exempt"):
            await control.suspend("c-3", OVERLOAD, reason="x", urgent=False, actor=ACTOR)
        await control.unexempt("c-3", OVERLOAD, reason="", actor=ACTOR)
        with refused("no exemption"):
            await control.unexempt("c-3", OVERLOAD, reason="", actor=ACTOR)
        await overload(control, urgent=True)
        return there, listed, enforced(control)

    there, listed, after = run(site, scenario, Clock(T0))
    assert there == {}
    assert (listed["measures"], [(one["customer"], one["in_force"]) for one in listed["exemptions"]]) == ([], [("c-3", True)])
    assert list(after) == ["c-3"]


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        ("gunma/3", "gunma/3 authorises no measure, .* gunma/17"),
        ("gunma/別記-1", "opens no measure: `exempt:` in the customer's record .* `sekisho optout`"),
        ("gunma/24", "gunma/24 authorises no measure"),
    ],
)
def test_an_exemption_that_would_change_nothing_is_refused_with_what_would(site, clause, words):
    async def scenario(control):
        with refused(words):
            await control.exempt("c-6", clause, reason="x", until=None, actor=ACTOR)
        made = await control.exempt("c-6", "gunma/19-1", reason="a hospital", until=None, actor=ACTOR)
        return made["in_force"], control.core.measures.book.exemptions

    in_force, there = run(site, scenario, Clock(T0))
    assert (in_force, list(there["c-6"])) == (True, ["gunma/19-1"])


def test_a_hold_is_shown_and_refused_twice(site):
    async def scenario(control):
        await overload(control, urgent=True)
        with refused("not held"):
            await control.resume(reason="", actor=ACTOR)
        await control.hold(reason="drill", actor=ACTOR)
        there = enforced(control)
        with refused("held already"):
            await control.hold(reason="drill", actor=ACTOR)
        listed = await control.show_measures(None, None, closed=False, limit=10)
        resumed = await control.resume(reason="", actor=ACTOR)
        return there, listed, resumed, enforced(control)

    there, listed, resumed, after = run(site, scenario, Clock(T0))
    assert there == {}
    assert (listed["held"]["reason"], listed["measures"][0]["enforced"]) == ("drill", False)
    assert resumed["customers"] == len(after) == 1


def test_an_emergency_limits_those_of_its_clause_without_priority_and_is_shown(site):
    clock = Clock(T0)

    async def scenario(control):
        with refused("no clause for emergencies"):
            await control.start_emergency(clauses=["nbnet/21-1"], until=T0 + 60, priority=[], reason="x", actor=ACTOR)
        with refused("neither a customer nor a group"):
            await control.start_emergency(clauses=[], until=T0 + 60, priority=["hospitals"], reason="x", actor=ACTOR)
        with refused("past"):
            await control.start_emergency(clauses=[], until=T0 - 1, priority=[], reason="x", actor=ACTOR)
        with refused("31 days"):
            await control.start_emergency(clauses=[], until=T0 + 40 * DAY, priority=[], reason="x", actor=ACTOR)
        body = await control.start_emergency(clauses=["gunma/19-1"], until=T0 + 3600, priority=["g-1", "c-1"], reason="quake", actor=ACTOR)
        there = enforced(control)
        clock.now = T0 + 3600
        await control.core.measures.tick(clock.now)
        return body, there, enforced(control), await control.show_emergency()

    body, there, after, shown = run(site, scenario, clock)
    assert sorted(there) == ["c-2", "c-4", "c-5"]
    assert all(one.by == ("gunma/19-1",) and one.budget for one in there.values())
    assert (body["limited"], after, shown) == (3, {}, {"emergency": None})


def test_an_outage_credits_each_affected_customer_by_their_terms(site):
    """`gunma/24`: from 12 hours on, floor(hours / 12) x monthly fee / 60, claimed within 3 months."""
    clock = Clock(T0)

    async def scenario(control):
        with refused("neither a customer"):
            await control.open_outage(since=None, known=None, affected=["nowhere"], reason="x", actor=ACTOR)
        opened = await control.open_outage(since=T0 - 3600, known=None, affected=["gunma"], reason="fibre cut", actor=ACTOR)
        clock.now = T0 + 24 * 3600
        closed = await control.close_outage(opened["id"], at=None, actor=ACTOR)
        with refused("over already"):
            await control.close_outage(opened["id"], at=None, actor=ACTOR)
        return opened, closed, await control.show_outages()

    opened, closed, listed = run(site, scenario, clock)
    assert (opened["open"], opened["affected_customers"], opened["total_yen"]) == (True, 5, 0)
    assert (closed["length"], closed["without_fee"], closed["total_yen"]) == (25 * 3600, 4, 200)
    [row] = [one for one in closed["credits"] if one["yen"]]
    assert (row["customer"], row["fee"], row["credits"][0]["units"]) == ("c-6", {"monthly": 6000}, 2)
    assert [one["id"] for one in listed["outages"]] == [opened["id"]]


def test_an_interruption_is_announced_in_time_or_refused_with_until_when(site):
    async def scenario(control):
        with refused("give one of those"):
            await control.announce("fireworks", packs=[], since=T0 + DAY, until=None, reason="x", urgent=False, actor=ACTOR)
        with refused("no terms pack"):
            await control.announce("maintenance", packs=["vectant"], since=T0 + DAY, until=None, reason="x", urgent=False, actor=ACTOR)
        with refused(r"gunma/20 it had to be announced until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d;"):
            await control.announce(
                "discontinuation", packs=["gunma"], since=T0 + 30 * DAY, until=None, reason="x", urgent=False, actor=ACTOR
            )
        made = await control.announce(
            "discontinuation", packs=["gunma"], since=T0 + 100 * DAY, until=None, reason="x", urgent=False, actor=ACTOR
        )
        return made, await control.show_outages()

    made, listed = run(site, scenario, Clock(T0))
    assert made["clauses"][0]["in_time"]
    assert listed["interruptions"][0]["id"] == made["id"]


def test_measures_survive_a_restart(site):
    async def first(control):
        await overload(control, urgent=True)

    async def second(control):
        return enforced(control)

    run(site, first, Clock())
    assert run(site, second, Clock())["c-3"].silenced


def test_there_is_no_measure_of_another_id(site):
    async def scenario(control):
        for step in (control.show_measure("m-1"), control.lift_measure("m-1", reason="x", actor=ACTOR)):
            with refused("no measure m-1"):
                await step
        with refused("no customer c-99"):
            await control.show_measures("c-99", None, closed=False, limit=10)
        with refused("no outage o-1"):
            await control.show_outage("o-1", after=None, limit=10)

    run(site, scenario, Clock(T0))
