"""Measures while the daemon runs: findings in, acts on the record, then what is enforced and who is told.

The order is always the same: the acts are on disk, then the plane does what they say, then the notices are ordered. A
process that dies in between leaves a record from which the rest follows: what is due is worked out from the measures, what
is enforced from all that is open (`reconcile`), and a notice that was not ordered is found again from its act.

One change at a time: what was judged still holds when it is recorded. Measures of one batch are recorded together, so
that a flood of findings costs few transactions.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from sekisho.app.control_standing import Known, View
from sekisho.ledger.measures import Case, MeasureBook
from sekisho.ledger.state import State
from sekisho.measures.announcing import PUBLISHED_FOR, announcement_orders, emergency_orders, publication_orders
from sekisho.measures.lifecycle import Delivered, Event, Found, Gone, Tick, may_open, next_due, step
from sekisho.measures.occasions import owes
from sekisho.measures.standing import Calendar
from sekisho.model.errors import LedgerError, SekishoError
from sekisho.model.events import Act, EmergencyEnded, RecordedAct
from sekisho.model.measures import NONE, Detector, Enforcement, Finding, Interruption, Measure, MeasureState, NoticeOrder, Occasion

log = structlog.get_logger("sekisho.measures")

ACTOR = "sekishod"
"""Who acts when nobody asked: the terms, by the daemon."""
RECONCILE_EVERY = 60.0
"""Seconds between two comparisons of what the tables hold with what the record says."""
OWED_FOR = 30 * 86400.0
"""Seconds for which a notice that was never ordered is still owed: a daemon may be down for weeks."""
_BATCH = 256
"""Measures recorded together."""
_MANY = 10_000
"""Customers beyond whom all are told at once, in one load of the tables."""
_PAUSE = 1000
"""Customers after which other tasks have their turn."""


class Record(Protocol):
    """The ledger (`drivers.ledger.Ledger`)."""

    @property
    def state(self) -> State: ...

    async def append(self, act: Act, actor: str, now: float) -> RecordedAct: ...


class Enforcer(Protocol):
    """What the plane does to single customers."""

    async def enforce(self, customer: str, what: Enforcement) -> None:
        """All that measures do to a customer from now on; in force on return. Raises SekishoError if it cannot be."""
        ...

    async def enforce_all(self, given: Mapping[str, Enforcement]) -> None:
        """The same for many customers."""
        ...

    def enforced(self) -> Mapping[str, Enforcement]:
        """Customers to whom anything is done now."""
        ...


class Notices(Protocol):
    """Who tells the customers."""

    async def order(self, order: NoticeOrder) -> None:
        """Have a notice sent; on the record on return. An order with the key of an earlier one does nothing."""
        ...

    def delivered(self, order: NoticeOrder) -> float | None:
        """When an ordered notice counts as delivered (UNIX seconds, may lie ahead); None: that is not known yet."""
        ...


class Measures:
    """Owns the timers and the order of things. The record owns the measures."""

    def __init__(self, ledger: Record, people: Callable[[], Known], enforcer: Enforcer, notices: Notices, calendar: Calendar) -> None:
        self._ledger = ledger
        self._people = people
        self._enforcer = enforcer
        self._notices = notices
        self._calendar = calendar
        self._changing = asyncio.Lock()
        self._due: list[tuple[float, str]] = []
        self._undelivered: dict[str, None] = {}
        self._unordered: dict[str, NoticeOrder] = {}
        self._reconciled_at: float | None = None
        self.findings: Counter[str] = Counter()
        """Findings since the start, by detector."""

    @property
    def book(self) -> MeasureBook:
        return self._ledger.state.measures

    @property
    def calendar(self) -> Calendar:
        return self._calendar

    def enforced(self) -> Mapping[str, Enforcement]:
        """Customers to whom the plane does something now."""
        return self._enforcer.enforced()

    async def announce(self, interruption: Interruption, now: float) -> None:
        """Have an announcement posted; ordered on return, or as soon as it can be."""
        async with self._changing:
            await self._order(announcement_orders(self.view(now).people.site.packs, interruption))

    def view(self, now: float) -> View:
        return View(self._people(), self.book, now)

    # What detectors say

    async def found(self, findings: Iterable[Finding], now: float) -> None:
        """The condition of a clause is there for some customers: opens a measure each, or sustains the one there is.

        No clause of the customer's terms, no measure; nor against an exemption, nor against an operator's word of late.
        Raises LedgerError if something could not be recorded; what could is in force.
        """
        async with self._changing:
            view = self.view(now)
            chosen: dict[tuple[str, str, Detector], tuple[Measure | None, Event]] = {}
            for finding in findings:
                self.findings[finding.detector.value] += 1
                key = finding.customer, finding.clause, finding.detector
                last = self.book.last(*key)
                is_open = last is not None and last.state.is_open
                if key in chosen and not finding.urgent:
                    continue
                if is_open or may_open(last, finding, now):
                    chosen[key] = last if is_open else None, Found(finding, new_id())
            await self._steps([(key, *what) for key, what in chosen.items()], view)

    async def gone(self, causes: Iterable[tuple[str, str, Detector]], now: float) -> None:
        """The condition is there no more, for each (customer, clause, detector)."""
        async with self._changing:
            view = self.view(now)
            steps = []
            for key in dict.fromkeys(causes):
                last = self.book.last(*key)
                if last is not None and last.state.is_open:
                    steps.append((key, last, Gone()))
            await self._steps(steps, view)

    def open_causes(self, detector: Detector) -> Iterator[tuple[str, str, Detector]]:
        """What a detector has to look after: each (customer, clause, detector) with an open measure."""
        return ((one.customer, one.clause, one.detector) for one in self.book.open() if one.detector is detector)

    # Time

    async def tick(self, now: float) -> None:
        """Do what is due. Called every second; what is not done for an error is due still."""
        async with self._changing:
            if self._reconciled_at is None or not 0 <= now - self._reconciled_at < RECONCILE_EVERY:
                await self._reconcile(now)
            view = self.view(now)
            emergency = self.book.emergency
            if emergency is not None and now >= emergency.until:
                # Its time is over whether or not that can be recorded.
                await self._enforce_all(view)
                await self._ledger.append(EmergencyEnded("its time is over"), ACTOR, now)
                log.info("emergency-ended", clauses=list(emergency.clauses))
            # What waits for a delivery and is due for another reason is looked at once: a delivery is a look too.
            steps = {one.id: (_key(one), one, event) for one, event in (*self._due_now(now), *self._delivered())}
            await self._steps(list(steps.values()), view)
            await self._order([])

    async def reconcile(self, now: float) -> None:
        """Bring about what the record says, whatever was left undone: timers, notices owed, and what the plane does."""
        async with self._changing:
            await self._reconcile(now)

    async def settle(self, now: float) -> None:
        """What concerns everybody changed (a hold, an emergency, the configuration): all is judged anew, and enforced on return."""
        async with self._changing:
            view = self.view(now)
            self._watch_all(view)
            await self._look_again(self.book.open(), now)
            await self._enforce_all(self.view(now))
            await self._order(self._announced(view))

    async def touch(self, customer: str, now: float) -> None:
        """Something about one customer changed, such as the terms or an exemption: judged anew, and enforced on return."""
        async with self._changing:
            await self._look_again([one for one in self.book.of(customer) if one.state.is_open], now)
            await self._enforce([customer], self.view(now))

    # The operator

    async def record(self, act: Act, now: float, actor: str) -> RecordedAct:
        """Put an act of the operator's on the record, between two changes."""
        async with self._changing:
            return await self._ledger.append(act, actor, now)

    async def operate(
        self, measure: Measure | None, key: tuple[str, str, Detector], event: Event, now: float, actor: str
    ) -> Measure | None:
        """Carry out what an operator asks of one measure; in force on return. Raises RefusedError or LedgerError."""
        async with self._changing:
            view = self.view(now)
            current = self.book.get(measure.id) if measure is not None else None
            outcome = step(current, event, view.standing(*key), now, self._calendar)
            for act in outcome.acts:
                await self._ledger.append(act, actor, now)
            if outcome.measure is None:
                return None
            self._watch(outcome.measure, view)
            await self._enforce([key[0]], view)
            await self._order(outcome.orders)
            return self.book.get(outcome.measure.id)

    # The parts

    async def _look_again(self, measures: Iterable[Measure], now: float) -> None:
        try:
            await self._steps([(_key(one), one, Tick()) for one in measures], self.view(now))
        except LedgerError as error:
            # What changed counts all the same: what is enforced follows from it, and the next look records the rest.
            log.error("measures-not-recorded", error=str(error))  # noqa: TRY400 - the sentence says it all

    async def _reconcile(self, now: float) -> None:
        view = self.view(now)
        self._watch_all(view)
        for number, case in enumerate(list(self.book.cases.values()), start=1):
            for order in self._owed(case, view):
                self._unordered.setdefault(order.key, order)
            if not number % _PAUSE:
                await asyncio.sleep(0)
        for order in self._announced(view):
            self._unordered.setdefault(order.key, order)
        await self._enforce_all(view)
        # What a row holds may be other than what it was told last: who has an open measure is told again.
        for number, identity in enumerate(self.book.customers(), start=1):
            what = self._enforcer.enforced().get(identity)
            if what is not None:
                await self._enforce_one(identity, what)
            if not number % _PAUSE:
                await asyncio.sleep(0)
        await self._order([])
        self._reconciled_at = now

    def _watch_all(self, view: View) -> None:
        self._due, self._undelivered = [], {}
        for measure in self.book.open():
            self._watch(measure, view)

    def _watch(self, measure: Measure, view: View) -> None:
        """Keep the time at which something follows. Times of before do no harm: whoever is due is looked at anew."""
        due = next_due(measure, view.standing_of(measure), self._calendar)
        if due is not None:
            heapq.heappush(self._due, (due, measure.id))
        if measure.state is MeasureState.NOTICED and measure.until is None:
            self._undelivered[measure.id] = None

    def _due_now(self, now: float) -> list[tuple[Measure, Event]]:
        found: dict[str, tuple[Measure, Event]] = {}
        while self._due and self._due[0][0] <= now:
            measure = self.book.get(heapq.heappop(self._due)[1])
            if measure is not None and measure.state.is_open:
                found[measure.id] = measure, Tick()
        return list(found.values())

    def _delivered(self) -> list[tuple[Measure, Event]]:
        found: list[tuple[Measure, Event]] = []
        for identity in list(self._undelivered):
            measure = self.book.get(identity)
            if measure is None or measure.state is not MeasureState.NOTICED or measure.until is not None:
                del self._undelivered[identity]
                continue
            at = self._notices.delivered(before_order(measure))
            if at is not None:
                found.append((measure, Delivered(at)))
        return found

    async def _steps(self, steps: Sequence[tuple[tuple[str, str, Detector], Measure | None, Event]], view: View) -> None:
        """Take steps of different measures. Raises the first LedgerError when all that can be done is done."""
        failure: LedgerError | None = None
        for first in range(0, len(steps), _BATCH):
            done = await asyncio.gather(*(self._step(*one, view) for one in steps[first : first + _BATCH]), return_exceptions=True)
            orders: list[NoticeOrder] = []
            for one in done:
                if isinstance(one, LedgerError):
                    failure = failure or one
                elif isinstance(one, BaseException):
                    raise one
                else:
                    orders += one
            await self._enforce({key[0] for key, _, _ in steps[first : first + _BATCH]}, view)
            await self._order(orders)
        if failure is not None:
            raise failure

    async def _step(self, key: tuple[str, str, Detector], measure: Measure | None, event: Event, view: View) -> tuple[NoticeOrder, ...]:
        outcome = step(measure, event, view.standing(*key), view.now, self._calendar)
        try:
            for act in outcome.acts:
                await self._ledger.append(act, ACTOR, view.now)
        except LedgerError:
            # What was recorded counts; the rest is due as soon as the disk is back.
            if measure is not None:
                heapq.heappush(self._due, (view.now, measure.id))
            self._reconciled_at = None
            raise
        if outcome.acts and outcome.measure is not None:
            moved = outcome.measure
            log.info("measure", id=moved.id, clause=moved.clause, state=moved.state.value, cause=moved.cause.value, observe=moved.observe)
        if outcome.measure is not None:
            self._watch(outcome.measure, view)
        return outcome.orders

    async def _enforce(self, customers: Iterable[str], view: View) -> None:
        enforced = self._enforcer.enforced()
        for identity in customers:
            customer = view.people.find(identity)
            wanted = NONE if customer is None else view.enforcement(customer)
            if enforced.get(identity, NONE) != wanted:
                await self._enforce_one(identity, wanted)

    async def _enforce_all(self, view: View) -> None:
        """Compare what the plane does with what the record says, and repair it."""
        enforced = dict(self._enforcer.enforced())
        if view.emergency_counts or len(enforced) > _MANY:
            # It may concern everybody: others' turns come meanwhile. Nothing changes the record of measures, the lock is held.
            differing = await asyncio.to_thread(_differing, enforced, view)
        else:
            differing = _differing(enforced, view)
        if len(differing) > _MANY:
            try:
                await self._enforcer.enforce_all(differing)
            except SekishoError as error:
                log.error("not-enforced", customers=len(differing), error=str(error))  # noqa: TRY400 - as below
            return
        for number, (identity, what) in enumerate(differing.items(), start=1):
            await self._enforce_one(identity, what)
            if not number % _PAUSE:
                await asyncio.sleep(0)

    async def _enforce_one(self, identity: str, what: Enforcement) -> None:
        try:
            await self._enforcer.enforce(identity, what)
        except SekishoError as error:
            # It is on the record: the next comparison tries again.
            log.error("not-enforced", clauses=list(what.by), error=str(error))  # noqa: TRY400 - the sentence says it all

    def _owed(self, case: Case, view: View) -> Iterator[NoticeOrder]:
        """Notices that the acts of a measure owe, whether ordered or not."""
        measure = case.measure
        rule = view.standing_of(measure).rule
        for one in case.steps:
            if one.occasion is not None and owes(rule, one.occasion) and view.now - one.at < OWED_FOR:
                yield NoticeOrder(measure.id, measure.customer, measure.clause, one.occasion, one.at, one.observe)

    def _announced(self, view: View) -> Iterator[NoticeOrder]:
        """What everybody is owed to be told now, whether ordered or not."""
        packs, told = view.people.site.packs, view.people.site.settings.notices
        for one in self.book.interruptions.values():
            if view.now - one.announced_at < OWED_FOR:
                yield from announcement_orders(packs, one)
        emergency = self.book.emergency
        if emergency is not None and view.now < emergency.until:
            yield from emergency_orders(packs, emergency, {clause for clause in emergency.clauses if view.observes(clause)})
        if told is not None and (told.web is not None or told.webhook is not None):
            yield from publication_orders(packs, view.now, PUBLISHED_FOR if told.web is None else told.web.keep)

    async def _order(self, orders: Iterable[NoticeOrder]) -> None:
        """Order notices, those that could not be ordered before first."""
        for order in orders:
            self._unordered.setdefault(order.key, order)
        for key, order in list(self._unordered.items()):
            try:
                await self._notices.order(order)
            except SekishoError as error:
                log.error("notice-not-ordered", measure=order.measure, occasion=order.occasion.value, error=str(error))  # noqa: TRY400
                return
            self._unordered.pop(key, None)


def new_id() -> str:
    """An id that was never given before and says nothing."""
    return f"m-{secrets.token_hex(6)}"


def before_order(measure: Measure) -> NoticeOrder:
    """The order of the notice a noticed measure waits for."""
    return NoticeOrder(measure.id, measure.customer, measure.clause, Occasion.BEFORE, measure.since, measure.observe)


def _key(measure: Measure) -> tuple[str, str, Detector]:
    return measure.customer, measure.clause, measure.detector


def _differing(enforced: Mapping[str, Enforcement], view: View) -> dict[str, Enforcement]:
    """Customers to whom something else is to be done than is, and what."""
    wanted = view.enforcements()
    found = {one: NONE for one in enforced if one not in wanted}
    for one, what in wanted.items():
        now = enforced.get(one)
        # Most are told the same, which one look at the object says.
        if now is not what and now != what:
            found[one] = what
    return found
