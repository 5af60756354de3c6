"""Customers at run time: served at once, kept over restarts, and never with another's address."""

from __future__ import annotations

import pytest

from sekisho.app.control_consents import resume
from sekisho.model.errors import ConfigError, LedgerError, RefusedError
from unit.control.sites import ACTOR, CONSENT, CUSTOMERS, run, verdict

NEW = {"id": "c-9", "terms": ["gunma"], "consent": CONSENT, "prefixes": ["192.0.2.9", "2001:db8:9::/48"]}


async def add(control, record=NEW, **more):
    return await control.add_customer(record, **({"replace": False, "actor": ACTOR} | more))


async def from_address(control, address, name="c2.example"):
    body = await control.explain(customer=None, address=address, port=0, name=name, qtype="A", tcp=False)
    return body["verdict"], body["customer"]


def test_a_customer_added_is_enforced_at_once_and_after_a_restart(folder):
    async def scenario(control):
        before = await from_address(control, "192.0.2.9")
        await add(control)
        return before, await from_address(control, "192.0.2.9"), await from_address(control, "2001:db8:9::1")

    async def again(control):
        return await from_address(control, "192.0.2.9"), await control.show_customer("c-9")

    assert run(folder, scenario) == (("refused", None), ("blocked", "c-9"), ("blocked", "c-9"))
    verdict_after, shown = run(folder, again)
    assert verdict_after == ("blocked", "c-9")
    assert shown["source"] == "added at run time"


def test_a_new_combination_of_terms_gets_what_it_authorises(folder):
    async def scenario(control):
        await add(control, NEW | {"terms": ["nbnet", "gunma"]})
        return await verdict(control, "c-9", "sealed-mark.example"), await verdict(control, "c-9", "c2.example")

    assert run(folder, scenario) == (("blocked", "csam", "nbnet/21-1"), ("blocked", "c2", "gunma/別記-1"))


def test_a_customer_removed_is_refused_at_once_and_after_a_restart(folder):
    async def scenario(control):
        await control.remove_customer("c-1", actor=ACTOR)
        return await from_address(control, "192.0.2.1"), len(control.core.people)

    async def again(control):
        return await from_address(control, "192.0.2.1"), len(control.core.people)

    assert run(folder, scenario) == (("refused", None), 4)
    assert run(folder, again) == (("refused", None), 4)


@pytest.mark.parametrize("prefix", ["192.0.2.1", "192.0.2.0/29", "2001:db8:2:1::/64", "2001:db8::/32"])
def test_an_address_is_one_customers_only(folder, prefix):
    async def scenario(control):
        with pytest.raises(RefusedError, match="overlaps"):
            await add(control, NEW | {"prefixes": [prefix]})
        return control.core.state.number

    assert run(folder, scenario) == 0


@pytest.mark.parametrize("prefix", ["192.0.2.9", "192.0.2.8/29", "2001:db8:9:9::/64"])
def test_an_address_of_a_customer_added_at_run_time_is_taken_too(folder, prefix):
    async def scenario(control):
        await add(control)
        with pytest.raises(RefusedError, match="c-9, added at run time"):
            await add(control, NEW | {"id": "c-10", "prefixes": [prefix]})
        await control.remove_customer("c-9", actor=ACTOR)
        await add(control, NEW | {"id": "c-10", "prefixes": [prefix]})

    run(folder, scenario)


def test_replacing_needs_to_be_said_and_takes_the_old_addresses_away(folder):
    async def scenario(control):
        with pytest.raises(RefusedError, match="--replace"):
            await add(control, NEW | {"id": "c-1"})
        answer = await add(control, NEW | {"id": "c-1"}, replace=True)
        return answer["replaced"], await from_address(control, "192.0.2.1"), await from_address(control, "192.0.2.9")

    assert run(folder, scenario) == (True, ("refused", None), ("blocked", "c-1"))


def test_opt_outs_stay_with_a_customer_who_goes_and_comes_back(folder):
    async def scenario(control):
        await control.add_opt_out("c-1", "c2", until=None, by=None, actor=ACTOR)
        await control.remove_customer("c-1", actor=ACTOR)
        await add(control, NEW | {"id": "c-1"})
        return await from_address(control, "192.0.2.9")

    assert run(folder, scenario) == ("answered", "c-1")


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (NEW | {"terms": ["vectant"]}, RefusedError),
        (NEW | {"exempt": ["nosuchlist"]}, RefusedError),
        (NEW | {"prefixes": ["192.0.2.400"], "plan": {"down_mbps": -1}}, ConfigError),
        ("id: c-9\nterms: gunma\nterms: nbnet\n", ConfigError),
        ("- {id: a, terms: gunma}\n- {id: b, terms: gunma}\n", RefusedError),
    ],
)
def test_what_is_no_customer_is_refused(folder, record, error):
    async def scenario(control):
        with pytest.raises(error):
            await add(control, record)
        return control.core.state.number

    assert run(folder, scenario) == 0


@pytest.mark.parametrize(
    "text",
    [
        "id: c-9\nterms: gunma\nconsent: {version: 2021-02-01, at: 2026-04-01}\nprefixes: 192.0.2.9\n",
        '{"id": "c-9", "terms": ["gunma"], "consent": {"version": "2021-02-01", "at": "2026-04-01"}, "prefixes": ["192.0.2.9"]}',
        "version: 1\ncustomers:\n- {id: c-9, terms: gunma, consent: {version: 2021-02-01, at: 2026-04-01}, prefixes: [192.0.2.9]}\n",
    ],
)
def test_a_document_with_one_customer_is_read_as_the_customer_file_is(folder, text):
    async def scenario(control):
        await add(control, text)
        return await from_address(control, "192.0.2.9")

    assert run(folder, scenario) == ("blocked", "c-9")


def test_pages_of_customers_follow_each_other(folder):
    async def scenario(control):
        await add(control)
        await control.remove_customer("c-2", actor=ACTOR)
        seen, after, pages = [], None, 0
        while True:
            page = await control.show_customers(after=after, limit=2)
            seen += [one["id"] for one in page["customers"]]
            pages += 1
            if not page["more"]:
                return seen, pages, page["known"]
            after = seen[-1]

    assert run(folder, scenario) == (["c-1", "c-3", "c-4", "c-5", "c-9"], 3, 5)


def test_every_customer_is_told_why_a_list_does_or_does_not_reach_it(folder):
    async def scenario(control):
        await control.add_opt_out("c-2", "c2", until=None, by="phone", actor=ACTOR)
        shown = {}
        for customer in CUSTOMERS:
            body = await control.show_customer(customer["id"])
            shown[customer["id"]] = {one["list"]: (one["in_force"], one["reason"]) for one in body["lists"]}
        return shown

    shown = run(folder, scenario)
    assert shown["c-1"]["c2"] == (True, "consent recorded, not opted out")
    assert shown["c-1"]["csam"][1].startswith("no clause of gunma")
    assert shown["c-2"]["c2"][0] is False
    assert shown["c-2"]["c2"][1].endswith("by phone")
    assert shown["c-2"]["csam"] == (True, "mandatory: nobody can opt out")
    assert shown["c-4"]["c2"] == (False, "no consent recorded")
    assert shown["c-5"]["c2"] == (False, "exempt, by the operator's decision")


def test_a_customer_added_at_run_time_that_the_file_now_contradicts_is_left_out_and_told(folder):
    run(folder, add)
    folder.customers([*CUSTOMERS, {"id": "c-20", "terms": "nbnet", "prefixes": ["192.0.2.8/29"]}])

    async def scenario(control):
        return await from_address(control, "192.0.2.9"), (await control.status())["warnings"]

    found, warnings = run(folder, scenario)
    assert found == ("answered", "c-20")
    assert any("c-9" in warning and "left out" in warning for warning in warnings)


def test_who_consents_is_told_once_what_the_blocking_is_also_where_the_daemon_dies_in_between(folder):
    folder.set(
        notices={"from": "notices@example.net", "contact": "support@example.net", "web": {"folder": "web", "url": "https://n.example/"}}
    )

    def told(control):
        return [(one.customer, one.clause, str(one.occasion)) for one in control.core.state.notices.notices.values() if one.customer]

    async def scenario(control):
        order, control.core.desk.order = control.core.desk.order, no_order
        await add(control)
        control.core.desk.order = order
        await add(control, NEW | {"id": "c-10", "prefixes": ["192.0.2.10"]})
        await add(control, NEW | {"id": "c-10", "prefixes": ["192.0.2.10"], "contacts": {"email": "c-10@example.com"}}, replace=True)
        await add(control, {"id": "c-11", "terms": ["gunma"], "prefixes": ["192.0.2.11"]})
        return told(control)

    async def again(control):
        await resume(control.core)
        await resume(control.core)
        return told(control)

    assert run(folder, scenario) == [("c-10", "gunma/別記-3", "c2-block")]
    assert run(folder, again) == [("c-10", "gunma/別記-3", "c2-block"), ("c-9", "gunma/別記-3", "c2-block")]


async def no_order(_order):
    raise LedgerError("the disk is full; make room")
