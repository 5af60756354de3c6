"""The channels of a daemon: a notice in the customer's words, over what the configuration names."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from types import SimpleNamespace

import pytest

from sekisho.app.control_channels import Channels
from sekisho.app.control_desk import UnreachableFindings
from sekisho.config.notices import NoticeSettings
from sekisho.measures.about import Subject
from sekisho.measures.notices import Attempt, Outcome
from sekisho.model.clauses import Clause, Deemed, DeliveryRule, MeasureRule, NoticeTime, Pack, Record
from sekisho.model.customers import Customer
from sekisho.model.measures import Detector, Effect, Extent, Finding, Occasion
from sekisho.model.notices import Channel, Notice

T0 = 1_775_003_400.0
UNREACHABLE = MeasureRule(
    "p/17-1-2", "unreachable", Detector.UNREACHABLE, Effect.BY_HAND, Extent.FULL, NoticeTime.BEFORE, urgent=False, lead=None, period=None,
    extension=False, release_delay=None, termination_after=None, termination_clause=None, fees_continue=True, record=Record((), 0),
)  # fmt: skip
PACKS = {
    "p": Pack(
        "p",
        "規約",
        "Example ISP",
        "1",
        (
            Clause("p/4", "第4条", "到達", "delivery", (DeliveryRule("p/4", "email", Deemed.SENT),)),
            Clause("p/17-1-2", "第17条", "連絡がとれない", "unreachable", (UNREACHABLE,)),
        ),
    ),
    "q": Pack(
        "q", "約款", "Example ISP", "1", (Clause("q/3", "第3条", "到達", "delivery", (DeliveryRule("q/3", "email", Deemed.ACCEPTED),)),)
    ),
}
PEOPLE = {"c-1": Customer("c-1", ("p",), email="c-1@example.com"), "c-2": Customer("c-2", ("q",), email="c-2@example.com", language="en")}


class Site:
    def __init__(self, path, **more):
        self.path = path
        self.configure(web={"folder": str(path / "web"), "url": "https://notices.example.net"}, **more)
        self.channels = Channels(lambda: self.settings, lambda: PACKS, PEOPLE.get, self, path / "state", lambda: T0)

    def configure(self, **more):
        self.settings = NoticeSettings.model_validate(
            {"from": "notices@example.net", "contact": "support@example.net", **more}, context={"folder": "/"}
        )

    def subject(self, notice):
        return Subject(since=T0, detector=Detector.UNREACHABLE, reason=f"reason of {notice.subject}")

    def hand_over(self, *notices):
        async def scenario():
            first, *members = notices
            try:
                return await self.channels.hand_over(first, members)
            finally:
                await self.channels.close()

        return asyncio.run(scenario())

    def pages(self):
        return {page.read_text(encoding="utf-8") for page in (self.path / "web" / "c").iterdir()}


def notice(identity="n-1", customer="c-1", channel=Channel.WEB, clause="p/17-1-2", **more):
    return Notice(identity, customer, f"m-{identity}", clause, Occasion.IN_FORCE, channel, PEOPLE[customer].email, T0, **more)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_each_customer_is_told_in_their_own_language(site):
    assert site.hand_over(notice()).outcome is Outcome.SENT
    assert site.hand_over(notice("n-2", "c-2")).outcome is Outcome.SENT
    japanese, english = sorted(site.pages(), key=lambda page: "Notices to you" in page)
    assert "当社からの通知が届きません" in japanese
    assert "第17条" in japanese
    assert "do not reach the e-mail address" in english


def test_the_page_of_a_customer_is_known_before_anything_is_posted_and_no_other_customers(site, tmp_path):
    page, other, everybody = (asyncio.run(site.channels.page(one)) for one in ("c-1", "c-2", ""))
    site.hand_over(notice())
    [posted] = (tmp_path / "web" / "c").iterdir()
    assert page == f"https://notices.example.net/c/{posted.name}"
    assert (other != page, everybody) == (True, "https://notices.example.net/")
    site.settings = None
    assert asyncio.run(site.channels.page("c-1")) == ""


def test_a_reload_is_followed_and_a_template_of_the_operators_counts(site, tmp_path):
    site.hand_over(notice())
    own = tmp_path / "own"
    own.mkdir()
    (own / "in-force.ja.txt").write_text("subject: 自社の文面\n\n{{ clause }}\n", encoding="utf-8")
    site.configure(web={"folder": str(tmp_path / "web"), "url": "https://notices.example.net"}, templates=str(own))
    site.hand_over(notice("n-2"))
    assert "自社の文面" in next(iter(site.pages()))


def test_a_channel_that_is_not_configured_any_more_waits(site):
    told = site.hand_over(notice(channel=Channel.EMAIL))
    assert (told.outcome, "not configured any more" in told.detail) == (Outcome.DEFERRED, True)
    site.settings = None
    assert site.hand_over(notice()).outcome is Outcome.DEFERRED
    assert site.hand_over(notice(channel=Channel.OBSERVE)).outcome is Outcome.SENT


def test_mail_counts_as_the_clauses_pack_says_and_a_digest_as_its_last(site):
    site.configure(smtp={"server": "mail.example.net", "accepted_after": "10m"})
    mail = notice(channel=Channel.EMAIL)
    other = notice("n-2", channel=Channel.EMAIL, clause="q/3")
    silent = notice("n-3", channel=Channel.EMAIL, clause="gone/1")
    assert site.channels.deemed_at(mail, [], T0, T0 + 5) == T0
    assert site.channels.deemed_at(other, [], T0, T0 + 5) == T0 + 605
    assert site.channels.deemed_at(silent, [], T0, T0 + 5) == T0 + 605
    digest = dataclasses.replace(mail, digest_of=("n-1", "n-2"), occasion=Occasion.DIGEST)
    assert site.channels.deemed_at(digest, [mail, other], T0, T0 + 5) == T0 + 605
    assert site.channels.deemed_at(notice(), [], T0, T0 + 5) == T0 + 5, "a page: when it can be read"
    assert site.channels.deemed_at(notice(channel=Channel.WEBHOOK), [], T0, T0 + 5) is None


def test_a_bounce_is_a_finding_only_where_the_terms_make_it_a_ground():
    found = []

    async def take(finding):
        found.append(finding)

    async def scenario():
        people = SimpleNamespace(find=PEOPLE.get, site=SimpleNamespace(packs=PACKS))
        sink = UnreachableFindings(lambda: people, take)
        for customer in ("c-1", "c-2", "gone"):
            await sink.unreachable(customer, T0, Attempt(Outcome.BOUNCED, "550", 550, "5.1.1"))

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(scenario())
    evidence = {"channel": "email", "reply": 550, "status": "5.1.1"}
    assert found == [Finding(Detector.UNREACHABLE, "p/17-1-2", "c-1", T0, evidence=evidence)]


def test_what_is_for_everybody_is_posted_in_both_languages_the_sites_own_first(site):
    told = dataclasses.replace(notice(), customer="", occasion=Occasion.EMERGENCY)
    assert site.hand_over(told).outcome is Outcome.SENT
    page = (site.path / "web" / "index.html").read_text(encoding="utf-8")
    assert 0 < page.index('lang="ja"', page.index("<section")) < page.index('lang="en"', page.index("<section"))
    assert site.hand_over(told).outcome is Outcome.SENT
    assert page.count("<section") == (site.path / "web" / "index.html").read_text(encoding="utf-8").count("<section") == 2
