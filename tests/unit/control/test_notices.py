"""The desk of notices: what is ordered goes out once, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sekisho.app import control_notices
from sekisho.app.control_notices import ACTOR, Desk
from sekisho.ledger.notices import Notices
from sekisho.measures.notices import Attempt, Limit, Outcome
from sekisho.model.customers import Customer
from sekisho.model.errors import LedgerError
from sekisho.model.events import RecordedAct
from sekisho.model.measures import NoticeOrder, Occasion
from sekisho.model.noticeacts import NoticeDeferred, NoticeFailed, NoticeQueued, NoticeSent, NoticeTried
from sekisho.model.notices import Channel, NoticeState

T0 = 1_700_000_000.0
SENT = Attempt(Outcome.SENT)
ROOMY = Limit(100, 3600.0)


class Record:
    """A ledger in memory, which may refuse and may be cut off after any act."""

    def __init__(self, acts=()):
        self.fold = Notices()
        self.acts = []
        self.refuse = set()
        for act in acts:
            self._take(act, ACTOR, T0)

    def _take(self, act, actor, now):
        recorded = RecordedAct(len(self.acts) + 1, now, actor, act)
        self.acts.append(act)
        self.fold.apply(recorded)
        return recorded

    async def append(self, act, actor, now):
        await asyncio.sleep(0)
        if act.kind in self.refuse:
            raise LedgerError("the disk is full; make room")
        return self._take(act, actor, now)

    def of(self, kind):
        return [act for act in self.acts if isinstance(act, kind)]


class Hand:
    """Hands over by giving back what it was told to, and remembers what it got."""

    def __init__(self, *outcomes, configured=(Channel.EMAIL,), limit=ROOMY):
        self.outcomes = list(outcomes)
        self.configured = frozenset(configured)
        self.limit = limit
        self.handed = []
        self.gate = None

    async def hand_over(self, notice, members):
        if self.gate is not None:
            await self.gate.wait()
        self.handed.append((notice.id, [one.id for one in members]))
        return self.outcomes.pop(0) if self.outcomes else SENT

    async def page(self, customer):
        return f"https://notices.example.net/c/{customer}.html"

    async def purge(self):
        return 0

    async def close(self):
        pass

    def deemed_at(self, notice, members, began, accepted):
        return accepted if notice.channel is not Channel.WEBHOOK else None


class Ears:
    def __init__(self):
        self.unreachable_ = []

    async def unreachable(self, customer, at, attempt):
        self.unreachable_.append((customer, attempt.code))


class Clock:
    def __init__(self):
        self.now = T0

    def __call__(self):
        return self.now


class Bench:
    """A desk with everything around it."""

    def __init__(self, hand=None, acts=()):
        self.record = Record(acts)
        self.hand = hand or Hand()
        self.clock = Clock()
        self.ears = Ears()
        self.desk = Desk(
            self.record, self.record.fold, self.hand, lambda one: Customer(one, ("gunma",), email=f"{one}@example.com"), self.clock
        )
        self.desk.sink = self.ears

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.desk.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)

    async def later(self, seconds):
        self.clock.now += seconds
        self.desk._wake.set()


def order(measure="m-1", customer="c-1", occasion=Occasion.BEFORE, at=T0, observe=False):
    return NoticeOrder(measure, customer, "gunma/17", occasion, at, observe)


def go(scenario, *args, **kwargs):
    bench = Bench(*args, **kwargs)
    asyncio.run(scenario(bench))
    return bench


def kinds(bench):
    return [act.kind for act in bench.record.acts]


def test_an_order_is_recorded_tried_and_sent_and_the_delivery_is_told():
    async def scenario(bench):
        await bench.desk.order(order())
        assert kinds(bench) == ["notice-queued"], "on record before anything is sent"
        async with bench.running():
            await bench.until(lambda: bench.desk.delivered(order()) is not None)

    bench = go(scenario)
    assert kinds(bench) == ["notice-queued", "notice-tried", "notice-sent"]
    assert bench.record.acts[0] == NoticeQueued(
        "n-1", "c-1", "m-1", "gunma/17", "before", "email", "c-1@example.com", [], f"m-1/before/{int(T0 * 1e6)}"
    )
    assert bench.desk.delivered(order()) == T0
    assert bench.desk.delivered(order("m-2")) is None


def test_ordering_twice_is_ordering_once_over_restarts_too():
    async def scenario(bench):
        await asyncio.gather(*(bench.desk.order(order()) for _ in range(5)))
        again = Desk(bench.record, bench.record.fold, bench.hand, lambda _: None, bench.clock)
        await again.order(order())

    assert kinds(go(scenario)) == ["notice-queued"]


def test_an_order_cut_off_between_its_channels_is_made_whole_when_made_again():
    hand = Hand(configured=(Channel.EMAIL, Channel.WEB))
    key = order().key
    mail = NoticeQueued("n-1", "c-1", "m-1", "gunma/17", "before", "email", "c-1@example.com", [], key)

    async def scenario(bench):
        await bench.desk.order(order())

    queued = go(scenario, hand, [mail]).record.of(NoticeQueued)
    page = "https://notices.example.net/c/c-1.html"
    assert [(act.channel, act.address) for act in queued] == [("email", "c-1@example.com"), ("web", page)]


def test_what_was_put_off_is_tried_again_after_a_while():
    async def scenario(bench):
        await bench.desk.order(order())
        async with bench.running():
            await bench.until(lambda: bench.record.of(NoticeDeferred))
            assert len(bench.hand.handed) == 1
            await bench.later(70)
            await bench.until(lambda: bench.record.of(NoticeSent))

    bench = go(scenario, Hand(Attempt(Outcome.DEFERRED, "not reached")))
    assert [act.attempt for act in bench.record.of(NoticeTried)] == [1, 2]
    assert not any(act.unconfirmed for act in bench.record.of(NoticeTried))


def queued(notice="n-1", measure="m-1", channel="email"):
    return NoticeQueued(notice, "c-1", measure, "gunma/17", "before", channel, "c-1@example.com", [], f"{measure}/before/1")


def test_a_crash_after_the_try_leads_to_one_retry_marked_unconfirmed():
    async def scenario(bench):
        async with bench.running():
            await bench.until(lambda: bench.record.of(NoticeSent))

    bench = go(scenario, acts=[queued(), NoticeTried("n-1", "c-1", 1)])
    assert [(act.attempt, act.unconfirmed) for act in bench.record.of(NoticeTried)] == [(1, False), (2, True)]


def test_a_second_crash_leads_to_no_further_one():
    async def scenario(bench):
        async with bench.running():
            await bench.until(lambda: bench.record.of(NoticeFailed))

    bench = go(scenario, acts=[queued(), NoticeTried("n-1", "c-1", 1), NoticeTried("n-1", "c-1", 2, unconfirmed=True)])
    assert bench.hand.handed == []
    assert bench.record.of(NoticeFailed)[0].outcome == "given-up"


def test_a_connection_lost_at_the_end_of_the_data_counts_like_a_crash():
    async def scenario(bench):
        await bench.desk.order(order())
        async with bench.running():
            await bench.until(lambda: bench.record.of(NoticeDeferred))
            await bench.later(70)
            await bench.until(lambda: bench.record.of(NoticeFailed))
            await bench.later(1e5)

    bench = go(scenario, Hand(Attempt(Outcome.UNKNOWN, "broke off"), Attempt(Outcome.UNKNOWN, "broke off")))
    assert [(act.attempt, act.unconfirmed) for act in bench.record.of(NoticeTried)] == [(1, False), (2, True)]
    assert len(bench.hand.handed) == 2


def test_a_bounce_is_recorded_and_raised():
    async def scenario(bench):
        await bench.desk.order(order())
        async with bench.running():
            await bench.until(lambda: bench.ears.unreachable_)

    bench = go(scenario, Hand(Attempt(Outcome.BOUNCED, "550 to the address", 550, "5.1.1")))
    assert bench.record.of(NoticeFailed) == [NoticeFailed("n-1", "c-1", "bounced", "550 to the address", "c-1@example.com")]
    assert bench.ears.unreachable_ == [("c-1", 550)]
    assert bench.desk.delivered(order()) is None


def test_a_flood_of_findings_is_one_mail_and_each_of_them_is_told():
    async def scenario(bench):
        for number in range(40):
            await bench.desk.order(order(f"m-{number}"))
        async with bench.running():
            await bench.until(lambda: all(bench.desk.delivered(order(f"m-{number}")) == T0 for number in range(40)))

    bench = go(scenario, Hand(limit=Limit(6, 86400.0)))
    assert len(bench.hand.handed) == 1
    digest, members = bench.hand.handed[0]
    assert (digest, len(members)) == ("n-41", 40)
    assert {one.state for one in bench.record.fold.notices.values()} == {NoticeState.SENT}


def test_over_the_limit_mail_waits_while_pages_do_not():
    def going(bench):
        return [one for one in bench.record.fold.open() if one.channel is Channel.WEB or not bench.record.fold.mailed.get("c-1", [])[2:]]

    async def scenario(bench):
        async with bench.running():
            for number in range(8):
                await bench.desk.order(order(f"m-{number}"))
                await bench.until(lambda: not going(bench))
            assert len(mails(bench)) == 3
            await bench.later(3601)
            await bench.until(lambda: not list(bench.record.fold.open()))

    def mails(bench):
        return [members for one, members in bench.hand.handed if bench.record.fold.notices[one].channel is Channel.EMAIL]

    bench = go(scenario, Hand(configured=(Channel.EMAIL, Channel.WEB), limit=Limit(3, 3600.0)))
    assert [len(members) for members in mails(bench)] == [0, 0, 0, 5]


def test_nothing_is_sent_that_the_record_cannot_hold(monkeypatch):
    monkeypatch.setattr(control_notices, "AGAIN", 0.01)

    async def scenario(bench):
        await bench.desk.order(order())
        bench.record.refuse = {"notice-tried"}
        async with bench.running():
            await asyncio.sleep(0.05)
            assert bench.hand.handed == []
            bench.record.refuse = set()
            await bench.until(lambda: bench.record.of(NoticeSent))

    assert len(go(scenario).hand.handed) == 1


def test_what_was_sent_while_the_disk_was_full_is_recorded_later_and_not_sent_again(monkeypatch):
    monkeypatch.setattr(control_notices, "AGAIN", 0.01)

    async def scenario(bench):
        await bench.desk.order(order())
        bench.record.refuse = {"notice-sent"}
        async with bench.running():
            await bench.until(lambda: bench.hand.handed)
            await asyncio.sleep(0.05)
            bench.record.refuse = set()
            await bench.until(lambda: bench.record.of(NoticeSent))

    assert len(go(scenario).hand.handed) == 1


def test_an_order_the_disk_does_not_take_is_refused_and_may_be_made_again():
    async def scenario(bench):
        bench.record.refuse = {"notice-queued"}
        with pytest.raises(LedgerError):
            await bench.desk.order(order())
        bench.record.refuse = set()
        await bench.desk.order(order())

    assert kinds(go(scenario)) == ["notice-queued"]


def test_a_notice_that_was_handed_over_is_told_again_at_a_start_and_not_sent_again():
    told = []

    async def sent(notice):
        told.append(notice.id)

    async def scenario(bench):
        bench.desk.sent = sent
        async with bench.running():
            await bench.until(lambda: told)

    bench = go(scenario, acts=[queued(), NoticeTried("n-1", "c-1", 1), NoticeSent("n-1", "c-1", T0 + 600)])
    assert bench.desk.delivered(order(at=1e-6)) == T0 + 600, "it may lie ahead"
    assert (told, bench.hand.handed) == (["n-1"], [])


def test_an_observed_measure_goes_on_as_if_its_notice_had_been_sent():
    async def scenario(bench):
        await bench.desk.order(order(observe=True))
        async with bench.running():
            await bench.until(lambda: bench.desk.delivered(order()) is not None)

    bench = go(scenario)
    assert [act.channel for act in bench.record.of(NoticeQueued)] == ["observe"]


def test_a_customer_no_channel_leads_to_is_given_up_at_once():
    async def scenario(bench):
        bench.hand.configured = frozenset()
        await bench.desk.order(order())
        async with bench.running():
            await bench.until(lambda: bench.record.of(NoticeFailed))

    bench = go(scenario)
    assert "no channel" in bench.record.of(NoticeFailed)[0].detail
    assert bench.hand.handed == []


def test_every_restart_of_a_month_sends_each_notice_once_or_once_more_unconfirmed():
    """Cut the record off after each act in turn, as a crash would, and start again on what is left."""

    async def whole(bench):
        for number in range(3):
            await bench.desk.order(order(f"m-{number}", f"c-{number}"))
        async with bench.running():
            await bench.until(lambda: not list(bench.record.fold.open()))

    full = go(whole).record.acts
    for length in range(len(full) + 1):

        async def resumed(bench):
            for number in range(3):
                await bench.desk.order(order(f"m-{number}", f"c-{number}"))
            async with bench.running():
                await bench.until(lambda: not list(bench.record.fold.open()))

        bench = go(resumed, acts=full[:length])
        tried = bench.record.of(NoticeTried)
        for notice in bench.record.fold.notices.values():
            assert notice.state is NoticeState.SENT
            ours = [act for act in tried if act.notice == notice.id]
            assert len(ours) == 1 or [act.unconfirmed for act in ours] == [False, True]
        assert len(bench.record.fold.notices) == 3
