"""The daemon's side of measures: the record first, then the plane, then the customer; and nothing lost in between."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from sekisho.measures.happenings import Lift
from sekisho.model import events
from sekisho.model.clauses import AnnouncementRule, BlockRule, Clause, Ede, EmergencyRule, NoticeTime, OptOut, Pack, Record
from sekisho.model.customers import Customer
from sekisho.model.errors import LedgerError, RefusedError, TableError
from sekisho.model.measures import NONE, Detector, Effect, Enforcement, Finding
from support.desk import Desk
from unit.measures.cases import CLAUSE, DAY, T0, days, rule

SILENT = Enforcement(silenced=True, by=(CLAUSE,))
EMERGENCY = EmergencyRule("nbnet/20", 5, 10)


def packs(given=None):
    slow = rule(clause="nbnet/22-2-4", detector=Detector.BANDWIDTH, effect=Effect.LIMIT_DNS, rate=3, burst=9, notice=NoticeTime.NONE)
    rules = {CLAUSE: given or rule(notice=NoticeTime.AFTER), "nbnet/22-2-4": slow, "nbnet/20": EMERGENCY}
    return {"nbnet": Pack("nbnet", "t", "o", "1", tuple(Clause(name, name, "ja", "en", (one,)) for name, one in rules.items()))}


def desk(given=None, customers=("c-1", "c-2"), **settings):
    return Desk(packs(given), [Customer(name, ("nbnet",)) for name in customers], **settings)


def found(customer="c-1", at=T0, clause=CLAUSE, detector=Detector.DNS_OVERLOAD, **more):
    return Finding(detector, clause, customer, at, 60.0, {"rate": 900}, **more)


def key(customer="c-1", clause=CLAUSE, detector=Detector.DNS_OVERLOAD):
    return customer, clause, detector


def run(scenario):
    return asyncio.run(scenario)


def test_a_finding_is_on_record_enforced_and_told():
    one = desk()
    run(one.measures.found([found()], T0))
    assert one.kinds() == ["measure-opened", "measure-moved"]
    assert one.plane.rows == {"c-1": SILENT}
    assert one.told() == ["in-force"]


def test_nothing_is_enforced_or_told_that_could_not_be_recorded():
    one = desk()
    one.ledger.full = True
    with pytest.raises(LedgerError):
        run(one.measures.found([found()], T0))
    assert (one.plane.rows, one.told(), one.kinds()) == ({}, [], [])


def test_what_is_enforced_stays_so_while_the_disk_is_full_and_what_was_due_is_done_afterwards():
    one = desk()
    run(one.measures.found([found()], T0))
    one.ledger.full = True
    with pytest.raises(LedgerError):
        run(one.measures.gone([key()], T0 + 60))
    assert one.plane.rows == {"c-1": SILENT}
    one.ledger.full = False
    run(one.measures.gone([key()], T0 + 120))
    run(one.measures.tick(T0 + 120 + 3 * DAY))
    assert one.plane.rows == {}
    assert one.told() == ["in-force", "ending", "lifted"]


def test_a_new_site_observes_and_does_all_but_enforce():
    one = desk(mode="observe")
    run(one.measures.found([found()], T0))
    assert one.book.open()[0].state.value == "in-force"
    assert one.plane.rows == {}
    assert [order.observe for order in one.post.orders.values()] == [True]


def test_one_clause_can_be_enforced_while_the_others_are_observed():
    one = desk(mode="observe", clauses={"nbnet/22-2-4": "enforce"})
    run(one.measures.found([found(), found(clause="nbnet/22-2-4", detector=Detector.BANDWIDTH)], T0))
    assert one.plane.rows == {"c-1": Enforcement(budget=(3, 9), by=("nbnet/22-2-4",))}


def test_no_clause_of_the_customers_terms_no_measure():
    one = desk()
    one.people.customers["c-1"] = Customer("c-1", ("gunma",))
    run(one.measures.found([found(), found("c-9"), found(clause="nbnet/99")], T0))
    assert one.kinds() == []


def test_findings_of_every_window_make_one_measure():
    one = desk()
    for second in range(0, 3600, 60):
        run(one.measures.found([found(at=T0 + second), found(at=T0 + second)], T0 + second))
        run(one.measures.tick(T0 + second))
    assert one.kinds() == ["measure-opened", "measure-moved"]
    assert one.told() == ["in-force"]
    assert one.plane.told <= 61, "once, and at each comparison"


def test_of_two_findings_at_once_the_urgent_one_counts():
    for order in (1, -1):
        one = desk(rule(lead=days(10)))
        run(one.measures.found([found(urgent=True), found()][::order], T0))
        assert one.book.open()[0].state.value == "in-force"


def test_two_rules_combine_to_the_stricter_and_each_ends_for_itself():
    one = desk(rule(notice=NoticeTime.AFTER, release_delay=None))
    run(one.measures.found([found(), found(clause="nbnet/22-2-4", detector=Detector.BANDWIDTH)], T0))
    assert one.plane.rows["c-1"] == Enforcement(silenced=True, by=(CLAUSE, "nbnet/22-2-4"))
    run(one.measures.gone([key()], T0 + 60))
    assert one.plane.rows["c-1"] == Enforcement(budget=(3, 9), by=("nbnet/22-2-4",))


def test_the_lead_time_runs_from_the_delivery_the_post_reports():
    one = desk(rule(lead=days(10)))
    run(one.measures.found([found()], T0))
    for day in range(40):
        run(one.measures.tick(T0 + day * DAY))
    assert one.plane.rows == {}
    [order] = one.post.orders.values()
    one.post.delivered_at[order.key] = T0 + 40 * DAY
    run(one.measures.tick(T0 + 40 * DAY))
    run(one.measures.tick(T0 + 50 * DAY - 1))
    assert one.plane.rows == {}
    run(one.measures.tick(T0 + 50 * DAY))
    assert one.plane.rows == {"c-1": SILENT}


def test_a_restart_loses_no_timer_and_no_notice_and_enforces_again():
    one = desk(rule(lead=days(10)))
    run(one.measures.found([found()], T0))
    one.restart()
    run(one.measures.tick(T0 + 60))
    [order] = one.post.orders.values()
    one.post.delivered_at[order.key] = T0 + 60
    one.restart()
    run(one.measures.tick(T0 + 61))
    one.restart()
    run(one.measures.tick(T0 + 11 * DAY))
    assert one.plane.rows == {"c-1": SILENT}
    one.restart()
    run(one.measures.reconcile(T0 + 11 * DAY))
    assert one.plane.rows == {"c-1": SILENT}
    run(one.measures.gone([key()], T0 + 12 * DAY))
    one.restart()
    run(one.measures.tick(T0 + 15 * DAY))
    assert one.plane.rows == {}
    assert one.told() == ["before", "ending", "lifted"]


@pytest.mark.parametrize("acts", [1, 2])
def test_a_process_that_died_after_any_act_leaves_a_measure_that_goes_on(acts):
    whole = desk()
    run(whole.measures.found([found()], T0))
    one = desk()
    one.ledger.recorded = whole.ledger.recorded[:acts]
    one.restart()
    run(one.measures.tick(T0 + 5))
    assert one.plane.rows == {"c-1": SILENT}
    assert one.told() == ["in-force"]


def test_a_notice_that_could_not_be_ordered_is_ordered_as_soon_as_it_can_be():
    one = desk()
    works = one.post.order

    async def fails(order):
        raise LedgerError("no room; make some")

    one.post.order = fails
    run(one.measures.found([found()], T0))
    assert one.plane.rows == {"c-1": SILENT}
    one.post.order = works
    run(one.measures.tick(T0 + 1))
    assert one.told() == ["in-force"]


def test_an_announcement_that_was_recorded_is_posted_after_a_crash_and_once():
    one = desk()
    one.people.site.packs["x"] = Pack(
        "x", "t", "o", "1", (Clause("x/1", "1", "ja", "en", (AnnouncementRule("x/1", "maintenance", None, True),)),)
    )
    act = events.InterruptionAnnounced("i-1", "maintenance", ["x"], T0 + DAY, None, False, "routers")
    run(one.measures.record(act, T0, "uid:1"))
    one.restart()
    run(one.measures.tick(T0 + 60))
    run(one.measures.announce(one.book.interruptions["i-1"], T0 + 61))
    assert [(order.measure, order.clause, order.customer, order.occasion.value) for order in one.post.orders.values()] == [
        ("i-1", "x/1", "", "announcement")
    ]


def test_a_throttle_nobody_knows_of_is_taken_away_and_a_lost_one_comes_back():
    one = desk()
    run(one.measures.found([found()], T0))
    one.plane.rows = {"c-2": SILENT, "c-7": SILENT}
    run(one.measures.reconcile(T0 + 1))
    assert one.plane.rows == {"c-1": SILENT}
    one.plane.rows = {}
    run(one.measures.tick(T0 + 30))
    run(one.measures.tick(T0 + 62))
    assert one.plane.rows == {"c-1": SILENT}


def test_what_could_not_be_enforced_is_tried_again():
    one = desk()
    works = one.plane.enforce

    async def fails(customer, what):
        raise TableError("no tables; look")

    one.plane.enforce = fails
    run(one.measures.found([found()], T0))
    one.plane.enforce = works
    run(one.measures.tick(T0 + 61))
    assert one.plane.rows == {"c-1": SILENT}


def test_the_operators_lift_is_not_undone_by_the_next_window():
    one = desk()
    run(one.measures.found([found()], T0))
    run(one.measures.operate(one.book.open()[0], key(), Lift("ticket 1"), T0 + 30, "uid:1"))
    assert one.plane.rows == {}
    assert one.ledger.recorded[-1].actor == "uid:1"
    run(one.measures.found([found(at=T0 + 60)], T0 + 60))
    assert one.book.open() == []
    run(one.measures.found([found(at=T0 + 2 * DAY)], T0 + 2 * DAY))
    assert len(one.book.open()) == 1


def test_what_an_operator_cannot_have_leaves_no_act():
    one = desk(rule(lead=days(10)))
    run(one.measures.found([found()], T0))
    acts = len(one.kinds())
    with pytest.raises(RefusedError):
        run(one.measures.operate(one.book.open()[0], key(), Lift("x"), T0, "uid:1"))
    assert len(one.kinds()) == acts


def test_a_hold_takes_everything_off_and_a_resume_puts_it_back():
    one = desk()
    run(one.measures.found([found()], T0))
    run(one.measures.record(events.EnforcementHeld("drill"), T0 + 1, "uid:1"))
    run(one.measures.settle(T0 + 1))
    assert one.plane.rows == {}
    run(one.measures.found([found("c-2")], T0 + 2))
    assert one.plane.rows == {}
    run(one.measures.record(events.EnforcementResumed(), T0 + 3, "uid:1"))
    run(one.measures.settle(T0 + 3))
    assert one.plane.rows == {"c-1": SILENT, "c-2": SILENT}


def test_an_exemption_ends_what_is_open_and_keeps_the_next_away():
    one = desk()
    run(one.measures.found([found()], T0))
    run(one.measures.record(events.CustomerExempted("c-1", CLAUSE, "a school", T0 + DAY), T0 + 1, "uid:1"))
    run(one.measures.touch("c-1", T0 + 1))
    assert (one.plane.rows, one.book.open()) == ({}, [])
    run(one.measures.found([found(at=T0 + 60)], T0 + 60))
    assert one.book.open() == []
    run(one.measures.found([found(at=T0 + DAY)], T0 + DAY))
    assert len(one.book.open()) == 1


def test_a_customer_who_leaves_has_no_measure_any_more():
    one = desk()
    run(one.measures.found([found()], T0))
    del one.people.customers["c-1"]
    run(one.measures.touch("c-1", T0 + 1))
    assert (one.plane.rows, one.book.open()) == ({}, [])


def test_an_emergency_limits_all_but_priority_and_ends_by_itself():
    one = desk(customers=("c-1", "c-2", "c-9"))
    run(one.measures.record(events.EmergencyDeclared(["nbnet/20"], T0 + 3600, ["c-9"], "earthquake"), T0, "uid:1"))
    run(one.measures.settle(T0))
    limited = Enforcement(budget=(5, 10), by=("nbnet/20",))
    assert one.plane.rows == {"c-1": limited, "c-2": limited}
    run(one.measures.found([found()], T0 + 60))
    assert one.plane.rows == {"c-1": Enforcement(silenced=True, by=(CLAUSE, "nbnet/20")), "c-2": limited}
    run(one.measures.tick(T0 + 3600))
    assert one.plane.rows == {"c-1": SILENT}
    assert one.kinds()[-1] == "emergency-ended"
    assert one.book.emergency is None


def test_an_emergency_ends_in_time_although_that_cannot_be_recorded():
    one = desk()
    run(one.measures.record(events.EmergencyDeclared(["nbnet/20"], T0 + 3600, [], "earthquake"), T0, "uid:1"))
    run(one.measures.settle(T0))
    one.ledger.full = True
    with pytest.raises(LedgerError):
        run(one.measures.tick(T0 + 3600))
    assert one.plane.rows == {}


def test_a_clock_that_is_set_back_and_forth_loses_nothing():
    one = desk(rule(notice=NoticeTime.AFTER))
    run(one.measures.found([found()], T0))
    run(one.measures.gone([key()], T0 + DAY))
    run(one.measures.tick(T0 - 30 * DAY))
    assert one.plane.rows == {"c-1": SILENT}
    run(one.measures.tick(T0 + 4 * DAY))
    assert one.plane.rows == {}


def test_a_flood_of_findings_opens_each_measure_once():
    names = [f"c-{n}" for n in range(1000)]
    one = desk(customers=names)
    run(one.measures.found([found(name) for name in names], T0))
    assert len(one.book.open()) == len(one.plane.rows) == len(one.told()) == 1000
    assert len(one.kinds()) == 2000


def test_a_detector_is_told_what_it_has_to_look_after():
    one = desk()
    run(one.measures.found([found(), found(clause="nbnet/22-2-4", detector=Detector.BANDWIDTH)], T0))
    assert list(one.measures.open_causes(Detector.DNS_OVERLOAD)) == [key()]


def test_an_emergency_is_announced_once_and_found_again_after_a_restart():
    one = desk()
    run(one.measures.record(events.EmergencyDeclared(["nbnet/20"], T0 + DAY, [], "an earthquake"), T0, "o"))
    run(one.measures.settle(T0))
    assert one.told() == ["emergency"]
    one.post.orders.clear()
    one.restart()
    run(one.measures.reconcile(T0 + 5))
    assert one.told() == ["emergency"]
    one.post.orders.clear()
    run(one.measures.reconcile(T0 + DAY))
    assert one.told() == []


def test_that_a_contract_may_be_terminated_is_told_where_the_terms_say_so():
    for told in (True, False):
        one = desk(rule(notice=NoticeTime.NONE, termination_notice=told))
        run(one.measures.found([found()], T0))
        run(one.measures.tick(T0 + 10 * DAY))
        assert one.kinds()[-1] == "termination-eligible"
        assert one.told() == ["termination-eligible"] * told
        one.restart()
        run(one.measures.reconcile(T0 + 10 * DAY))
        assert one.told() == ["termination-eligible"] * told


def test_how_to_opt_out_is_published_where_there_is_a_page():
    answer = BlockRule(
        "nbnet/b", ("c2",), None, OptOut.CUSTOMER, consent_required=True, consent_versions=(), notice=NoticeTime.NONE, ede=Ede.BLOCKED,
        record=Record((), 0),
    )  # fmt: skip
    given = {"nbnet": Pack("nbnet", "t", "o", "1", (Clause("nbnet/b", "b", "ja", "en", (answer,)),))}
    for page, told in ((None, []), (SimpleNamespace(keep=10 * DAY), ["c2-block"])):
        one = Desk(given, [], notices=SimpleNamespace(web=page, webhook=None))
        run(one.measures.reconcile(T0))
        run(one.measures.reconcile(T0 + 60))
        assert one.told() == told


def test_in_an_emergency_customers_judged_together_are_judged_as_each_alone():
    given = packs(rule(notice=NoticeTime.AFTER))
    who = [
        Customer("c-1", ("nbnet",)),
        Customer("c-2", ("nbnet",), group="g-1"),
        Customer("c-3", ("nbnet",), exempt=("nbnet/20",)),
        Customer("c-4", ()),
        Customer("c-5", ("nbnet",)),
        Customer("c-6", ("nbnet",)),
        Customer("c-7", ("nbnet",)),
    ]
    one = Desk(given, who)
    run(one.measures.found([found("c-5")], T0))
    run(one.measures.record(events.CustomerExempted("c-6", "nbnet/20", "a clinic"), T0, "o"))
    run(one.measures.record(events.EmergencyDeclared(["nbnet/20"], T0 + DAY, ["g-1", "c-7", "nobody"], "an earthquake"), T0, "o"))
    view = one.measures.view(T0)
    each = {customer.id: view.enforcement(customer) for customer in who}
    assert view.enforcements() == {name: what for name, what in each.items() if what != NONE}
    assert sorted(view.enforcements()) == ["c-1", "c-5"]
    assert each["c-5"].silenced


def test_what_concerns_very_many_is_told_together(monkeypatch):
    monkeypatch.setattr("sekisho.app.control_enforcing.MANY", 1)
    one = desk()
    together = []

    async def enforce_all(given):
        together.append(set(given))

    one.plane.enforce_all = enforce_all
    run(one.measures.record(events.EmergencyDeclared(["nbnet/20"], T0 + DAY, [], "an earthquake"), T0, "o"))
    run(one.measures.settle(T0))
    assert together == [{"c-1", "c-2"}]
