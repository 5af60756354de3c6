"""Attention calls: whose address it was, on the record, and a call to no one but them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sekisho.model.errors import RefusedError
from sekisho.model.noticeacts import AttentionMoved, AttentionOpened, LookedUp, NoticeQueued
from unit.control.sites import ACTOR, CUSTOMERS, Clock, run

NOW = 1_700_000_000.0
PACK = """\
version: 1
pack: attentive
document: {title: 約款, operator: Example ISP, version: "1"}
clauses:
  - {id: attentive/38, article: 第38条, ja: 注意喚起を行うことがある。, en: Attention may be called., informative: By hand.}
"""


@pytest.fixture
def site(folder):
    folder.write("attentive.yaml", PACK)
    mine = [
        {"id": "a-1", "terms": "attentive", "prefixes": ["198.51.100.1"], "contacts": {"email": "a-1@example.com"}},
        {"id": "a-2", "terms": ["nbnet", "attentive"], "prefixes": ["198.51.100.8/29", "2001:db8:a::/48"]},
    ]
    folder.customers([*CUSTOMERS, *mine])
    notices = {
        "from": "notices@example.net",
        "contact": "support@example.net",
        "web": {"folder": "web", "url": "https://notices.example.net"},
    }
    folder.set(terms=["gunma", "nbnet", "./attentive.yaml"], notices=notices)
    return folder


def line(address, number=2, at=NOW - 3600, port=None):
    return {"line": number, "address": address, "at": at, "port": port}


async def take(control, *lines, report="r-1"):
    body = await control.import_report(report, "attentive/38", list(lines), actor=ACTOR)
    return [(one["outcome"], one["customer"]) for one in body["lines"]]


def acts(control, *kinds):
    from sekisho.ledger.acts import recorded

    found = [recorded(event).act for event in control.core.ledger.events()]
    # What is published to everybody is no matter of these tests.
    return [act for act in found if isinstance(act, kinds) and getattr(act, "occasion", "") != "c2-block"]


def test_the_customer_of_the_address_is_called_and_the_look_up_is_on_record(site):
    async def scenario(control):
        assert await take(control, line("198.51.100.1"), line("198.51.100.9", 3), line("2001:db8:a:1::5", 4)) == [
            ("opened", "a-1"),
            ("opened", "a-2"),
            ("opened", "a-2"),
        ]
        return acts(control, LookedUp, AttentionOpened, NoticeQueued)

    found = run(site, scenario, Clock(NOW))
    looked = [act for act in found if isinstance(act, LookedUp)]
    assert [(act.address, act.customer, act.outcome, act.clause) for act in looked] == [
        ("198.51.100.1", "a-1", "found", "attentive/38"),
        ("198.51.100.9", "a-2", "found", "attentive/38"),
        ("2001:db8:a:1::5", "a-2", "found", "attentive/38"),
    ]
    assert looked[0].why == "notice-report r-1, line 2"
    assert {(act.customer, act.occasion, act.channel) for act in found if isinstance(act, NoticeQueued)} == {
        ("a-1", "attention", "web"),
        ("a-2", "attention", "web"),
    }


def test_an_unknown_address_and_terms_without_the_clause_lead_to_no_call(site):
    async def scenario(control):
        outcomes = await take(control, line("203.0.113.1"), line("192.0.2.1", 3))
        return outcomes, acts(control, AttentionOpened, NoticeQueued), [act.outcome for act in acts(control, LookedUp)]

    assert run(site, scenario, Clock(NOW)) == ([("unknown", None), ("no-clause", None)], [], ["unknown", "no-clause"])


def test_a_customer_of_after_that_time_is_not_taken_for_who_held_the_address_then(site):
    async def scenario(control):
        await control.add_customer({"id": "late", "terms": ["attentive"], "prefixes": ["198.51.100.77"]}, replace=False, actor=ACTOR)
        before, after = line("198.51.100.77"), line("198.51.100.77", 3, at=NOW + 10)
        control.core.clock.now += 60
        return await take(control, before, after)

    assert run(site, scenario, Clock(NOW)) == [("ambiguous", None), ("opened", "late")]


def test_the_same_report_again_opens_no_second_call_and_asks_nothing_again(site):
    async def scenario(control):
        await take(control, line("198.51.100.1"))
        again = await take(control, line("198.51.100.1"), report="r-2")
        await control.import_report("r-3", "attentive/38", [line("198.51.100.1", at=NOW - 60)], actor=ACTOR)
        return again, len(acts(control, AttentionOpened)), len(acts(control, LookedUp)), len(acts(control, NoticeQueued))

    assert run(site, scenario, Clock(NOW)) == ([("known", "a-1")], 1, 2, 1)


def test_a_closed_call_stays_closed_for_its_sighting_and_a_later_one_opens_another(site):
    async def scenario(control):
        await take(control, line("198.51.100.1"))
        [call] = (await control.show_calls(None, "open"))["calls"]
        await control.close_call(call["call"], reason="router replaced", actor=ACTOR)
        with pytest.raises(RefusedError, match="is closed already"):
            await control.answer_call(call["call"], reason="", actor=ACTOR)
        return await take(control, line("198.51.100.1"), line("198.51.100.1", 3, at=NOW - 60))

    assert run(site, scenario, Clock(NOW)) == [("known", "a-1"), ("opened", "a-1")]


def test_many_lines_of_one_address_lead_to_one_call(site):
    async def scenario(control):
        outcomes = await take(control, *(line("198.51.100.1", number, at=NOW - number) for number in range(2, 102)))
        return outcomes.count(("opened", "a-1")), outcomes.count(("known", "a-1")), len(acts(control, NoticeQueued))

    assert run(site, scenario, Clock(NOW)) == (1, 99, 1)


def test_a_clause_no_pack_has_is_refused_before_anything_is_looked_up(site):
    async def scenario(control):
        with pytest.raises(RefusedError, match="no terms pack in force has the clause gunma/99"):
            await control.import_report("r", "gunma/99", [line("198.51.100.1")], actor=ACTOR)
        return acts(control, LookedUp)

    assert run(site, scenario, Clock(NOW)) == []


def test_a_call_goes_from_open_to_sent_when_its_notice_is_out(site):
    async def scenario(control):
        await take(control, line("198.51.100.1"))
        task = asyncio.create_task(control.core.desk.run())
        async with asyncio.timeout(20):
            while not (await control.show_calls("a-1", "sent"))["calls"]:
                await asyncio.sleep(0.01)
        [call] = (await control.show_calls("a-1", None))["calls"]
        moved = await control.answer_call(call["call"], reason="done", actor=ACTOR)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        [notice] = (await control.show_notices("a-1", None, limit=10))["notices"]
        assert [act.state for act in acts(control, AttentionMoved)] == ["sent", "answered"]
        return call["state"], moved["state"], notice["state"], notice["deemed"]

    assert run(site, scenario, Clock(NOW)) == ("sent", "answered", "sent", NOW)
    [page] = (site.path / "web" / "c").iterdir()
    assert "198.51.100.1" in page.read_text(encoding="utf-8")
    assert "198.51.100.1" not in (site.path / "web" / "index.html").read_text(encoding="utf-8"), "nothing personal among the announcements"


def test_a_bounced_address_is_recorded_for_whose_it_is_and_once(site):
    async def scenario(control):
        first = await control.bounced("A-1@example.com", None, actor=ACTOR)
        again = await control.bounced("a-1@example.com", None, actor=ACTOR)
        with pytest.raises(RefusedError, match="no notice went to this address"):
            await control.bounced("nobody@example.com", None, actor=ACTOR)
        return (
            [first["bounced"][0]["known"], again["bounced"][0]["known"]],
            again["bounced"][0]["customer"],
            (await control.show_notices(None, None, limit=1))["unreachable"],
        )

    known, customer, unreachable = run(site, scenario, Clock(NOW))
    assert (known, customer) == ([False, True], "a-1")
    assert [one["customer"] for one in unreachable] == ["a-1"]
