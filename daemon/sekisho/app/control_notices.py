"""The desk of notices: takes orders, hands them over, tries again, and records each step before and after it.

An order is on the record before anything is sent; what is sent, and what came of it, is as well. So a
restart at any point goes on where the record ends (`measures.notices` says how). Owns the task that sends.
Does not own which notices are due (the life cycle orders them), nor any channel (`drivers`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable

import structlog

from sekisho.app.control_deskparts import Hand, Record, Unreachable
from sekisho.ledger.notices import Notices
from sekisho.measures.notices import (
    Admission,
    Attempt,
    GiveUp,
    Outcome,
    Send,
    Wait,
    admit,
    after_unknown,
    channels,
    next_step,
    retry_at,
)
from sekisho.model.customers import Customer
from sekisho.model.errors import ConfigError, LedgerError, SekishoError
from sekisho.model.events import Act
from sekisho.model.measures import NoticeOrder, Occasion
from sekisho.model.noticeacts import NoticeDeferred, NoticeFailed, NoticeQueued, NoticeSent, NoticeTried
from sekisho.model.notices import Channel, Ending, Notice, NoticeState

log = structlog.get_logger("sekisho.notices")

ACTOR = "sekishod"
AT_ONCE = 4
"""Notices under way at the same time."""
LOOK_EVERY = 30.0
"""Seconds between two looks at what waits, with nothing new."""
AGAIN = 1.0
"""Seconds until an act the disk did not take is written again."""
MAKE_WHOLE = 3600.0
"""Seconds in which an order made again may add a channel that is missing on the record."""
TELL_AGAIN = 7 * 86400.0
"""Seconds for which it is told again at a start that a notice was handed over."""
GRACE = 5.0
"""Seconds a notice under way has at the end of the daemon; then it counts as one whose outcome is unknown."""


class Desk:
    """One daemon's desk. `fold` is that of the ledger's state; what `find` gives for an id is the customer as of now."""

    def __init__(
        self,
        record: Record,
        fold: Notices,
        hand: Hand,
        find: Callable[[str], Customer | None],
        clock: Callable[[], float],
    ) -> None:
        self._record = record
        self._fold = fold
        self._hand = hand
        self._find = find
        self._clock = clock
        self.sink: Unreachable | None = None
        self.sent: Callable[[Notice], Awaitable[None]] | None = None
        """Called when a notice was handed over, and again at each start for those of late."""
        self._wake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._number = fold.queued
        self._ordering: set[str] = set()
        self._combining: dict[str, str] = {}

    async def order(self, order: NoticeOrder) -> None:
        """Take an order: on the record when this returns. Ordering it twice is ordering it once. Raises LedgerError."""
        if order.key in self._ordering:
            return
        known = self._fold.ordered_at(order.key)
        if known is not None and self._clock() - known > MAKE_WHOLE:
            return
        self._ordering.add(order.key)
        try:
            customer = self._find(order.customer) if order.customer else None
            email = customer.email if customer is not None else None
            taken = {notice.channel for notice in self._fold.of_order(order.key)}
            # One after the other, mail first: where the daemon dies in between, the same order made again adds the rest.
            for channel, address in channels(order, email, self._hand.configured):
                if channel not in taken and not (taken and channel is Channel.NONE):
                    await self._queue(order, channel, address)
        finally:
            self._ordering.discard(order.key)
        self._wake.set()

    def delivered(self, order: NoticeOrder) -> float | None:
        """When an ordered notice counts as delivered, by whichever channel does so first; may lie ahead. None: not known yet."""
        notices = self._fold.of_order(order.key)
        return min((one.deemed_at for one in notices if one.state is NoticeState.SENT and one.deemed_at is not None), default=None)

    async def bounced(self, customer: str, address: str, attempt: Attempt, notice: str, actor: str) -> None:
        """Mail to the customer came back after it was taken, or an operator says so. Raises LedgerError."""
        now = self._clock()
        await self._record.append(NoticeFailed(notice, customer, Ending.BOUNCED, attempt.detail, address), actor, now)
        await self._tell_unreachable(customer, now, attempt)

    async def purge(self) -> int:
        """Take away pages on which everything is old; returns how many. Raises SekishoError."""
        return await self._hand.purge()

    async def run(self) -> None:
        """Send until cancelled."""
        await self._resume()
        try:
            while True:
                self._wake.clear()
                pause = self._start_due()
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`, which in Python 3.11 loses a cancellation that comes together with the event.
                    async with asyncio.timeout(max(0.05, pause)):
                        await self._wake.wait()
        finally:
            if self._under_way:
                _, late = await asyncio.wait(self._under_way.values(), timeout=GRACE)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
            await self._hand.close()

    async def _queue(self, order: NoticeOrder, channel: Channel, address: str) -> None:
        if channel is Channel.WEB:
            address = await self._hand.page(order.customer)
        act = NoticeQueued(self._next(), order.customer, order.measure, order.clause, order.occasion, channel, address, [], order.key)
        await self._record.append(act, ACTOR, self._clock())

    def _next(self) -> str:
        self._number += 1
        return f"n-{self._number}"

    async def _resume(self) -> None:
        """Tell again what was handed over: whether it was told before the end is not on record."""
        since = self._clock() - TELL_AGAIN
        late = [
            one for one in self._fold.notices.values() if one.state is NoticeState.SENT and max(one.since, one.deemed_at or 0.0) > since
        ]
        for notice in late:
            if self.sent is not None:
                with contextlib.suppress(SekishoError):
                    await self.sent(notice)

    def _start_due(self) -> float:
        """Start what is due; returns seconds until something else may be."""
        now, soonest = self._clock(), LOOK_EVERY
        fresh: dict[tuple[str, str], list[Notice]] = defaultdict(list)
        for notice in self._fold.open():
            if notice.id in self._under_way or notice.id in self._combining:
                continue
            step = next_step(notice, now)
            if isinstance(step, Wait):
                soonest = min(soonest, step.until - now)
            elif notice.channel is Channel.EMAIL and not notice.attempts and not notice.digest_of:
                fresh[notice.customer, notice.address].append(notice)
            else:
                self._start(notice, step)
        for (customer, _), waiting in fresh.items():
            admission = admit(waiting, self._mailed(customer, now), self._hand.limit, now)
            soonest = min(soonest, self._admit(admission, now))
        return soonest

    def _mailed(self, customer: str, now: float) -> list[float]:
        """When mail went to the customer; what is about to go counts as well."""
        going = [one for one in self._under_way if (known := self._fold.notices.get(one)) is not None and not known.attempts]
        ours = sum(self._fold.notices[one].customer == customer for one in going) + (customer in self._combining.values())
        return [*self._fold.mailed.get(customer, []), *[now] * ours]

    def _admit(self, admission: Admission, now: float) -> float:
        for notice in admission.single:
            self._start(notice, Send(1, unconfirmed=False))
        if admission.digest:
            self._combining.update((one.id, one.customer) for one in admission.digest)
            self._spawn(f"digest with {admission.digest[0].id}", self._combine(admission.digest))
        return LOOK_EVERY if admission.until is None else admission.until - now

    async def _combine(self, members: tuple[Notice, ...]) -> None:
        """Put several notices into one: queued like any other, and sent by the next look."""
        first = members[0]
        act = NoticeQueued(
            self._next(), first.customer, "", first.clause, Occasion.DIGEST, Channel.EMAIL, first.address, [one.id for one in members]
        )
        try:
            await self._write(act)
        finally:
            for one in members:
                self._combining.pop(one.id, None)

    def _start(self, notice: Notice, step: Send | GiveUp) -> None:
        self._spawn(notice.id, self._give_up(notice, step.detail) if isinstance(step, GiveUp) else self._send(notice, step))

    def _spawn(self, identity: str, work: Awaitable[None]) -> None:
        async def carry() -> None:
            try:
                async with self._slots:
                    await work
            finally:
                self._under_way.pop(identity, None)
                self._wake.set()

        self._under_way[identity] = asyncio.create_task(carry(), name=f"notice {identity}")

    async def _give_up(self, notice: Notice, detail: str) -> None:
        log.warning("notice-given-up", notice=notice.id, channel=str(notice.channel))
        await self._write(NoticeFailed(notice.id, notice.customer, Ending.GIVEN_UP, detail))

    async def _send(self, notice: Notice, step: Send) -> None:
        """One attempt. Nothing is sent that the record does not say is being tried."""
        members = self._members(notice)
        if notice.channel is Channel.NONE:
            await self._give_up(notice, "no channel leads to the customer: no mail address is on record, and no web page is configured")
            return
        try:
            await self._record.append(NoticeTried(notice.id, notice.customer, step.attempt, step.unconfirmed), ACTOR, self._clock())
        except LedgerError as error:
            log.error("notice-held", notice=notice.id, error=str(error))  # noqa: TRY400 - the sentence says it all
            await asyncio.sleep(AGAIN)
            return
        began = self._clock()
        try:
            attempt = await self._hand.hand_over(notice, members)
        except ConfigError as error:
            # A template that cannot be filled may be mended: the notice waits for it.
            attempt = Attempt(Outcome.DEFERRED, str(error))
        await self._settle(notice, members, step, attempt, began)

    async def _settle(self, notice: Notice, members: list[Notice], step: Send, attempt: Attempt, began: float) -> None:
        now = self._clock()
        match attempt.outcome:
            case Outcome.SENT:
                deemed = self._hand.deemed_at(notice, members, began, now)
                await self._write(NoticeSent(notice.id, notice.customer, deemed))
                await self._told([notice, *members])
            case Outcome.BOUNCED:
                await self._write(NoticeFailed(notice.id, notice.customer, Ending.BOUNCED, attempt.detail, notice.address))
                await self._tell_unreachable(notice.customer, now, attempt)
            case Outcome.REFUSED:
                await self._give_up(notice, attempt.detail)
            case Outcome.UNKNOWN if step.unconfirmed or not after_unknown(notice):
                await self._give_up(notice, f"{attempt.detail}; it was the second time, and it may have been delivered")
            case _:
                until = retry_at(notice, step.attempt, now)
                uncertain = attempt.outcome is Outcome.UNKNOWN
                log.info("notice-deferred", notice=notice.id, channel=str(notice.channel), detail=attempt.detail)
                await self._write(NoticeDeferred(notice.id, notice.customer, until, attempt.detail, uncertain))

    async def _told(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            after = self._fold.notices.get(notice.id)
            if after is None or after.state is not NoticeState.SENT or self.sent is None:
                continue
            try:
                await self.sent(after)
            except SekishoError as error:
                log.warning("send-not-told", error=str(error))

    async def _tell_unreachable(self, customer: str, now: float, attempt: Attempt) -> None:
        log.warning("mail-bounced", customer=customer, code=attempt.code, status=attempt.status)
        if self.sink is not None and customer:
            try:
                await self.sink.unreachable(customer, now, attempt)
            except SekishoError as error:
                log.warning("bounce-not-told", error=str(error))

    async def _write(self, act: Act) -> None:
        """Record what has happened already: again and again, until the disk takes it."""
        failing = False
        while True:
            try:
                await self._record.append(act, ACTOR, self._clock())
            except LedgerError as error:
                if not failing:
                    log.error("notice-not-recorded", kind=act.kind, error=str(error))  # noqa: TRY400 - the sentence says it all
                failing = True
                await asyncio.sleep(AGAIN)
            else:
                return

    def _members(self, notice: Notice) -> list[Notice]:
        return [one for one in map(self._fold.notices.get, notice.digest_of) if one is not None]
