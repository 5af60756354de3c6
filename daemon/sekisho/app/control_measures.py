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

from sekisho.app.control_enforcing import Enforcer, Enforcing
from sekisho.app.control_ordering import Notices, Ordering, announced
from sekisho.app.control_standing import Known, View
from sekisho.ledger.measures import MeasureBook
from sekisho.ledger.state import State
from sekisho.measures.announcing import announcement_orders
from sekisho.measures.deadlines import next_due
from sekisho.measures.happenings import Delivered, Event, Found, Gone, Tick
from sekisho.measures.lifecycle import may_open, step
from sekisho.measures.standing import Calendar
from sekisho.model.errors import LedgerError
from sekisho.model.events import Act, RecordedAct
from sekisho.model.measureacts import EmergencyEnded
from sekisho.model.measures import Detector, Enforcement, Finding, Interruption, Measure, MeasureState, NoticeOrder

log = structlog.get_logger("sekisho.measures")

ACTOR = "sekishod"
"""Who acts when nobody asked: the terms, by the daemon."""
RECONCILE_EVERY = 60.0
"""Seconds between two comparisons of what the tables hold with what the record says."""
_BATCH = 256
"""Measures recorded together."""


class Record(Protocol):
    """The ledger (`drivers.ledger.Ledger`)."""

    @property
    def state(self) -> State: ...

    async def append(self, act: Act, actor: str, now: float) -> RecordedAct: ...


class Measures:
    """Owns the timers and the order of things. The record owns the measures."""

    def __init__(self, ledger: Record, people: Callable[[], Known], enforcer: Enforcer, notices: Notices, calendar: Calendar) -> None:
        self._ledger = ledger
        self._people = people
        self._enforcing = Enforcing(enforcer)
        self._ordering = Ordering(notices)
        self._calendar = calendar
        self._changing = asyncio.Lock()
        self._due: list[tuple[float, str]] = []
        self._undelivered: dict[str, None] = {}
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
        return self._enforcing.enforced()

    async def announce(self, interruption: Interruption, now: float) -> None:
        """Have an announcement posted; ordered on return, or as soon as it can be."""
        async with self._changing:
            await self._ordering.order(announcement_orders(self.view(now).people.site.packs, interruption))

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
                await self._enforcing.all(view)
                await self._ledger.append(EmergencyEnded("its time is over"), ACTOR, now)
                log.info("emergency-ended", clauses=list(emergency.clauses))
            # What waits for a delivery and is due for another reason is looked at once: a delivery is a look too.
            steps = {one.id: (_key(one), one, event) for one, event in (*self._due_now(now), *self._delivered())}
            await self._steps(list(steps.values()), view)
            await self._ordering.order([])

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
            await self._enforcing.all(self.view(now))
            await self._ordering.order(announced(view))

    async def touch(self, customer: str, now: float) -> None:
        """Something about one customer changed, such as the terms or an exemption: judged anew, and enforced on return."""
        async with self._changing:
            await self._look_again([one for one in self.book.of(customer) if one.state.is_open], now)
            await self._enforcing.some([customer], self.view(now))

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
            await self._enforcing.some([key[0]], view)
            await self._ordering.order(outcome.orders)
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
        await self._ordering.look(view)
        await self._enforcing.all(view)
        # What a row holds may be other than what it was told last: who has an open measure is told again.
        await self._enforcing.again(self.book.customers())
        await self._ordering.order([])
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
            at = self._ordering.delivered(measure)
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
            await self._enforcing.some({key[0] for key, _, _ in steps[first : first + _BATCH]}, view)
            await self._ordering.order(orders)
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


def new_id() -> str:
    """An id that was never given before and says nothing."""
    return f"m-{secrets.token_hex(6)}"


def _key(measure: Measure) -> tuple[str, str, Detector]:
    return measure.customer, measure.clause, measure.detector
