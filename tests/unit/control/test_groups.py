"""A VPN group's representative sets for all members, on the record as theirs; nobody else may."""

from __future__ import annotations

import pytest

from sekisho.model.errors import RefusedError
from sekisho.model.sessions import Session
from unit.control.sites import ACTOR, CONSENT, run, verdict

GROUP = [
    {"id": "v-1", "terms": ["vectant", "gunma"], "consent": CONSENT, "prefixes": ["192.0.2.1"], "group": "hq"},
    {"id": "v-2", "terms": ["vectant", "gunma"], "consent": CONSENT, "prefixes": ["192.0.2.2"], "group": "hq"},
    {"id": "v-3", "terms": "vectant", "prefixes": ["192.0.2.3"], "group": "hq"},
    {"id": "v-4", "terms": ["vectant", "gunma"], "consent": CONSENT, "prefixes": ["192.0.2.4"], "group": "branch"},
    {"id": "v-5", "terms": ["vectant", "gunma", "nbnet"], "consent": CONSENT, "prefixes": ["192.0.2.5"]},
]


@pytest.fixture
def site(folder):
    folder.set(terms=["vectant", "gunma", "nbnet"], groups={"hq": "v-1", "branch": "v-1"})
    folder.customers(GROUP)
    return folder


def test_the_representative_opts_all_members_out_and_back_in_on_the_record_as_theirs(site):
    async def steps(control):
        late = {"id": "v-6", "terms": ["vectant", "gunma"], "prefixes": ["192.0.2.6"], "group": "hq", "consent": CONSENT}
        await control.add_customer(late, replace=False, actor=ACTOR)
        out = await control.opt_group_out("hq", "c2", until=None, by="v-1", actor=ACTOR)
        verdicts = [(await verdict(control, one, "c2.example"))[0] for one in ("v-1", "v-2", "v-4", "v-6")]
        shown = await control.show_group("hq")
        records = (await control.show_opt_outs("v-2", None))["opt_outs"]
        events = (await control.audit_events(after=0, limit=100, customer="v-2"))["events"]
        back = await control.opt_group_in("hq", "c2", by="v-1", actor=ACTOR)
        return out, verdicts, shown, records, events, back, (await verdict(control, "v-2", "c2.example"))[0]

    out, verdicts, shown, records, events, back, again = run(site, steps)
    assert (out["changed"], out["left"]) == (["v-1", "v-2", "v-6"], ["v-3"])
    assert verdicts == ["answered", "answered", "blocked", "answered"]
    assert shown["representative"] == "v-1"
    assert {one["customer"]: one["opted_out"] for one in shown["members"]} == {"v-1": ["c2"], "v-2": ["c2"], "v-3": [], "v-6": ["c2"]}
    assert [one["by"] for one in records] == ["v-1, representative of hq"]
    assert "v-1, representative of hq" in str(events)
    assert ACTOR in str(events)
    assert (back["changed"], again) == (["v-1", "v-2", "v-6"], "blocked")


@pytest.mark.parametrize(
    ("group", "list_id", "by", "says"),
    [
        ("hq", "c2", "v-2", "does not represent"),
        ("branch", "c2", "v-1", "is not in it"),
        ("nowhere", "c2", "v-1", "no representative"),
        ("hq", "nosuch", "v-1", "nosuch"),
    ],
)
def test_nobody_else_may_and_nothing_changes(site, group, list_id, by, says):
    async def steps(control):
        with pytest.raises(RefusedError, match=says):
            await control.opt_group_out(group, list_id, until=None, by=by, actor=ACTOR)
        return (await control.show_opt_outs(None, None))["opt_outs"]

    assert run(site, steps) == []


def test_what_a_clause_lets_nobody_opt_out_of_no_representative_can_either(site):
    site.customers([*GROUP, {"id": "v-7", "terms": ["vectant", "nbnet"], "prefixes": ["192.0.2.7"], "group": "hq"}])

    async def steps(control):
        with pytest.raises(RefusedError, match="nbnet/21-1"):
            await control.opt_group_out("hq", "csam", until=None, by="v-1", actor=ACTOR)
        return (await control.show_opt_outs(None, None))["opt_outs"]

    assert run(site, steps) == []


def test_a_group_nobody_is_in_is_none(site):
    async def steps(control):
        with pytest.raises(RefusedError, match="no customer is in a group"):
            await control.show_group("nowhere")

    run(site, steps)


async def settings_of(control):
    return {one["customer"]: one["opted_out"] for one in (await control.show_group("hq"))["members"]}


def member(number, group="hq"):
    return {"id": f"v-{number}", "terms": ["vectant", "gunma"], "prefixes": [f"192.0.2.{number}"], "group": group, "consent": CONSENT}


def test_what_is_set_for_the_group_holds_for_who_joins_later_and_for_nobody_else(site):
    async def steps(control):
        await control.add_customer(member(6), replace=False, actor=ACTOR)
        await control.opt_group_out("hq", "c2", until=None, by="v-1", actor=ACTOR)
        await control.add_customer(member(7), replace=False, actor=ACTOR)
        await control.add_customer(member(8, "branch"), replace=False, actor=ACTOR)
        added = await settings_of(control), [(await verdict(control, one, "c2.example"))[0] for one in ("v-7", "v-8")]
        records = (await control.show_opt_outs("v-7", None))["opt_outs"]
        await control.remove_opt_out("v-2", "c2", by="v-2", actor=ACTOR)
        site.customers([*GROUP, member(9)])
        await control.reload(actor=ACTOR)
        reloaded = await settings_of(control)
        shown = (await control.show_group("hq"))["opted_out"]
        await control.opt_group_in("hq", "c2", by="v-1", actor=ACTOR)
        await control.add_customer(member(10), replace=False, actor=ACTOR)
        return added, records, reloaded, shown, await settings_of(control)

    (settings, verdicts), records, reloaded, shown, after = run(site, steps)
    assert settings == {"v-1": ["c2"], "v-2": ["c2"], "v-3": [], "v-6": ["c2"], "v-7": ["c2"]}
    assert verdicts == ["answered", "blocked"]
    assert [one["by"] for one in records] == ["v-1, representative of hq"]
    assert reloaded == settings | {"v-2": [], "v-9": ["c2"]}, "who opted back in alone stays so"
    assert shown == ["c2"]
    assert set(map(tuple, after.values())) == {()}


def test_what_the_representative_set_for_themselves_alone_is_no_setting_of_the_group(site):
    async def steps(control):
        await control.add_opt_out("v-1", "c2", until=None, by=None, actor=ACTOR)
        await control.add_customer(member(7), replace=False, actor=ACTOR)
        alone = (await settings_of(control))["v-7"]
        await control.opt_group_out("hq", "c2", until=None, by="v-1", actor=ACTOR)
        await control.add_customer(member(8), replace=False, actor=ACTOR)
        return alone, (await settings_of(control))["v-8"]

    assert run(site, steps) == ([], ["c2"])


SET = {
    "representative": "v-1",
    "consent": {"version": "2021-02-01", "at": "2026-04-01"},
    "contacts": {"email": "net@example.com", "language": "en"},
    "plan": {"down_mbps": 100, "up_mbps": 100},
    "sessions": 2,
}
BARE = [{key: value for key, value in one.items() if key != "consent"} for one in GROUP]


def test_consent_of_the_group_brings_blocking_to_members_without_one_and_who_joins_and_each_may_opt_out(site):
    site.customers([*BARE[:3], GROUP[3]])
    joins = {key: value for key, value in member(7).items() if key != "consent"}

    async def blocked(control, *who):
        return [(await verdict(control, one, "c2.example"))[0] == "blocked" for one in who]

    async def steps(control):
        before = await blocked(control, "v-1", "v-2", "v-4")
        site.set(groups={"hq": SET})
        await control.reload(actor=ACTOR)
        after = await blocked(control, "v-1", "v-2", "v-4")
        await control.add_customer(joins, replace=False, actor=ACTOR)
        await control.add_opt_out("v-2", "c2", until=None, by=None, actor=ACTOR)
        late = await blocked(control, "v-7", "v-2")
        shown = await control.show_group("hq")
        recorded = (await control.audit_events(after=0, limit=100, customer="v-7"))["events"]
        customer = await control.show_customer("v-7")
        site.set(groups={"hq": "v-1"})
        await control.reload(actor=ACTOR)
        return before, after, late, shown, recorded, customer, await blocked(control, "v-1", "v-7", "v-4")

    before, after, late, shown, recorded, customer, at_last = run(site, steps)
    assert (before, after, late) == ([False, False, True], [True, True, True], [True, False])
    assert shown["settings"] == {
        "consent": SET["consent"],
        "email": "net@example.com",
        "language": "en",
        "plan": SET["plan"],
        "sessions": 2,
    }
    assert {one["customer"]: one["as_group"] for one in shown["members"]}["v-7"] == ["consent", "plan", "email", "language"]
    assert (customer["contacts"], customer["consent"]) == (SET["contacts"], SET["consent"])
    assert "net@example.com" not in str(recorded), "on the record is what is the member's own"
    assert at_last == [False, False, True], "it holds as long as it is set"


def test_who_was_added_to_a_group_has_its_settings_after_a_restart_too(site):
    site.set(groups={"hq": SET})

    async def add(control):
        await control.add_customer({key: value for key, value in member(7).items() if key != "consent"}, replace=False, actor=ACTOR)
        return await control.show_customer("v-7")

    async def show(control):
        return await control.show_customer("v-7")

    before, after = run(site, add), run(site, show)
    assert (after["consent"], after["contacts"], after["as_group"]) == (before["consent"], before["contacts"], before["as_group"])
    assert after["consent"] == SET["consent"]


def test_sessions_agreed_for_a_group_count_instead_of_the_plans(site):
    site.set(groups={"hq": SET}, duplicates={"allowed": 1, "grace": "60s"}, measures={"mode": "observe"})
    now = 1_775_000_000.0

    def live(customer, nas):
        return Session(nas, f"{customer}-{nas}", customer, customer, now - 600, now - 10, (), (), 0, 0, None, None)

    async def steps(control):
        detection = control.core.bandwidth
        two = [live(one, nas) for one in ("v-2", "v-4") for nas in ("a", "b")]
        detection.sessions = lambda: two
        first = detection._duplicates(control.core.people, now)
        detection.sessions = lambda: [*two, live("v-2", "c")]
        return first, detection._duplicates(control.core.people, now)

    first, second = run(site, steps)
    assert {one.customer for one in first} == {"v-4"}
    assert {(one.customer, one.evidence["allowed"]) for one in second} >= {("v-2", 2)}
