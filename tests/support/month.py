"""A scripted month of measures in fast time, on a record on disk: a process that a test may kill at any moment.

    python -m support.month      reads a folder a line, forks a process that lives the month there, says `pid PID`
                                 and, when that is over, `end STATUS`

The ledger, the measures and the desk of notices are the daemon's own; the post is a file, the plane a mapping. Each
process first sees that what it finds is what the ones before it were told is on disk (`recovered`), and then goes on
where the record ends. A folder holds afterwards

    ledger.db      the record
    acknowledged   the number of every event an `append` came back for
    post           what was handed over: a notice's number, and those a digest tells
    story          how the month went, once it is over
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import traceback
from pathlib import Path

from sekisho.app.control_measures import Measures
from sekisho.app.control_notices import Desk as NoticeDesk
from sekisho.app.control_ordering import before_order
from sekisho.config.sections import MeasureSettings
from sekisho.drivers import ledger as ledger_driver
from sekisho.drivers.checkpoint import checkpoint_of
from sekisho.drivers.ledger import Ledger
from sekisho.drivers.log import configure
from sekisho.ledger.acts import recorded
from sekisho.ledger.chain import Verifier
from sekisho.ledger.state import State
from sekisho.measures.happenings import Delivered, Dismiss, Found, Lift
from sekisho.measures.notices import Attempt, Limit, Outcome, Wait, next_step
from sekisho.model.clauses import Clause, EmergencyRule, MeasureRule, NoticeTime, Pack, Record
from sekisho.model.customers import Customer
from sekisho.model.events import OptOutAdded, OptOutRemoved
from sekisho.model.measureacts import CustomerExempted, EmergencyDeclared, EnforcementHeld, EnforcementResumed
from sekisho.model.measures import Detector, Effect, Extent, Finding, MeasureState, Span, Unit
from sekisho.model.notices import Channel, NoticeState
from support.desk import People, Plane
from support.spans import PLAIN

T0 = 1_700_000_000.0
DAY = 86400.0
DAYS = 31
HOURS = (0.0, 6.0, 15.0)
"""When somebody looks, each day."""
OPERATOR = "unix:operator"
CHECKPOINT_EVERY = 40
"""Acts: a checkpoint is under way now and then when the process dies."""


def days(amount: float) -> Span:
    return Span(amount, Unit.DAYS)


def rule(clause: str, detector: Detector, **more: object) -> MeasureRule:
    given: dict[str, object] = {
        "clause": clause,
        "ground": "load",
        "detector": detector,
        "effect": Effect.SILENCE,
        "extent": Extent.PARTIAL,
        "notice": NoticeTime.BEFORE,
        "urgent": True,
        "lead": None,
        "period": None,
        "extension": False,
        "release_delay": days(3),
        "termination_after": days(10),
        "termination_clause": "isp/9",
        "fees_continue": True,
        "record": Record(("time", "customer", "clause"), 90 * DAY),
    }
    return MeasureRule(**(given | more))  # type: ignore[arg-type]


LED = rule("isp/1", Detector.DNS_OVERLOAD, lead=days(1))
FIXED = rule(
    "isp/2",
    Detector.BANDWIDTH,
    notice=NoticeTime.AFTER,
    period=days(7),
    extension=True,
    release_delay=None,
    effect=Effect.LIMIT_DNS,
    rate=50,
    burst=100,
)
HANDED = rule("isp/3", Detector.OPERATOR, effect=Effect.WALLED_GARDEN, release_delay=None, termination_after=None)
RULES = (LED, FIXED, HANDED, EmergencyRule("isp/4", 20, 40))
PACKS = {"isp": Pack("isp", "Terms", "Example ISP", "1", tuple(Clause(one.clause, "1", "ja", "en", (one,)) for one in RULES))}
CUSTOMERS = [Customer(f"c-{number}", ("isp",), email=f"c-{number}@example.com") for number in range(1, 7)]

# Who shows which condition on which days, urgently or not.
SEEN: list[tuple[str, MeasureRule, range, bool]] = [
    ("c-1", LED, range(12), False),
    ("c-1", FIXED, range(2, 19), False),
    ("c-2", LED, range(5), False),
    ("c-2", LED, range(7, 22), False),
    ("c-3", LED, range(1, 20), True),
    ("c-4", LED, range(3, 9), False),
    ("c-4", LED, range(16, 18), False),
    ("c-5", FIXED, range(4, 9), False),
]


class Clock:
    """Fast time."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> float:
        return self.now


class Acknowledging(Ledger):
    """A ledger that writes down elsewhere what it acknowledged, before anyone acts on it."""

    told: int

    async def append(self, act, actor, now):  # type: ignore[no-untyped-def]
        done = await super().append(act, actor, now)
        os.write(self.told, f"{done.number}\n".encode())
        return done


class Post:
    """Implements `control_deskparts.Hand`: a file others read. Some of it is not taken the first time, some breaks off."""

    configured = frozenset({Channel.EMAIL})
    limit = Limit(3, 2 * DAY)

    def __init__(self, file: int) -> None:
        self._file = file

    async def hand_over(self, notice, members):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        luck = int(hashlib.blake2b(f"{notice.customer}{notice.occasion}{notice.queued_at:.0f}".encode()).hexdigest()[:4], 16) % 8
        if luck == 0 and not notice.attempts:
            return Attempt(Outcome.DEFERRED, "450 come back later", 450)
        os.write(self._file, (" ".join([notice.id, *(one.id for one in members)]) + "\n").encode())
        # It is with the other side now, and its answer under way.
        await asyncio.sleep(0)
        if luck == 1 and not notice.attempts:
            return Attempt(Outcome.UNKNOWN, "the connection broke off")
        return Attempt(Outcome.SENT)

    def deemed_at(self, notice, members, began, accepted):  # type: ignore[no-untyped-def]
        return accepted

    async def page(self, customer: str) -> str:
        return ""

    async def purge(self) -> int:
        return 0

    async def close(self) -> None:
        pass


class Month:
    """The month, from wherever the record ends."""

    def __init__(self, folder: Path, ledger: Acknowledging) -> None:
        self.folder, self.ledger, self.clock = folder, ledger, Clock()
        people = People(PACKS, CUSTOMERS, MeasureSettings(mode="enforce"))
        post = Post(os.open(folder / "post", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        self.plane = Plane()
        self.desk = NoticeDesk(ledger, ledger.state.notices, post, people.find, self.clock)
        self.measures = Measures(ledger, lambda: people, self.plane, self.desk, PLAIN)

    async def live(self) -> None:
        last = ledger_end(self.ledger)
        self.sending = asyncio.create_task(self.desk.run())
        try:
            for day in range(max(0, int((last - T0) // DAY)), DAYS):
                for hour in HOURS:
                    # No clock goes back: what is done again after a death is done later.
                    self.clock.now = max(T0 + day * DAY + hour * 3600, self.clock.now, last)
                    await self.look(day)
        finally:
            self.sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.sending

    async def look(self, day: int) -> None:
        await self.operate(day)
        await self.deliver_by_hand()
        there = [(who, one, urgent) for who, one, when, urgent in SEEN if day in when]
        await self.measures.found(
            [Finding(one.detector, one.clause, who, self.clock.now, urgent=urgent) for who, one, urgent in there], self.clock.now
        )
        keys = {(who, one.clause, one.detector) for who, one, _ in there}
        every = {(who, one.clause, one.detector) for who, one, _, _ in SEEN}
        await self.measures.gone(sorted(every - keys), self.clock.now)
        await self.pass_by(1.0)
        await self.pass_by(1.0)
        view = self.measures.view(self.clock.now)
        assert dict(self.plane.enforced()) == view.enforcements(), f"day {day}: what is enforced is not what the record says"

    async def pass_by(self, seconds: float) -> None:
        """Time passes: what is due is done, and what is to be told is told."""
        self.clock.now += seconds
        await self.measures.tick(self.clock.now)
        self.desk._wake.set()
        while self.desk._wake.is_set() or self.desk._under_way:
            assert not self.sending.done(), self.sending.exception()
            await asyncio.sleep(0)

    async def deliver_by_hand(self) -> None:
        """Where it will never be known whether a notice arrived, an operator writes a letter."""
        for one in self.measures.book.open():
            notices = self.ledger.state.notices.of_order(before_order(one).key)
            if one.state is MeasureState.NOTICED and one.until is None and {notice.state for notice in notices} == {NoticeState.FAILED}:
                await self.measures.operate(
                    one, (one.customer, one.clause, one.detector), Delivered(self.clock.now), self.clock.now, OPERATOR
                )

    async def operate(self, day: int) -> None:
        """What operators do, as far as the record does not say that it is done."""
        now, book, state = self.clock.now, self.measures.book, self.ledger.state
        match day:
            case 3 | 20 if state.opt_out("c-6", "c2") is None:
                await self.ledger.append(OptOutAdded("c-6", "c2", "customer"), OPERATOR, now)
            case 11 if state.opt_out("c-6", "c2") is not None:
                await self.ledger.append(OptOutRemoved("c-6", "c2", "customer"), OPERATOR, now)
            case 6 if book.hold is None:
                await self.measures.record(EnforcementHeld("maintenance"), now, OPERATOR)
            case 8 if book.hold is not None:
                await self.measures.record(EnforcementResumed(), now, OPERATOR)
            case 14 if "c-3" not in book.exemptions:
                await self.measures.record(CustomerExempted("c-3", LED.clause, "a hospital"), now, OPERATOR)
            case 15 if book.emergency is None:
                await self.measures.record(EmergencyDeclared(["isp/4"], T0 + 17 * DAY, ["c-5"], "an earthquake"), now, OPERATOR)
            case 10 if book.last("c-6", HANDED.clause, Detector.OPERATOR) is None:
                finding = Finding(Detector.OPERATOR, HANDED.clause, "c-6", now)
                await self.measures.operate(None, ("c-6", HANDED.clause, Detector.OPERATOR), Found(finding, "m-hand"), now, OPERATOR)
            case 24 | 4:
                for who, event in (("c-6", Lift("settled")), ("c-4", Dismiss("a mistake"))):
                    for one in book.of(who):
                        if one.state.is_open and (one.enforced_at is None) == isinstance(event, Dismiss):
                            await self.measures.operate(one, (who, one.clause, one.detector), event, now, OPERATOR)
            case _:
                return
        await self.measures.settle(now)

    def story(self) -> list[object]:
        """Each customer's measures as states in order, and what was told of them, whatever the numbers and hours."""
        cases = sorted(self.measures.book.cases.values(), key=lambda one: (one.measure.customer, one.measure.clause, one.steps[0].number))
        told: dict[str, list[str]] = {}
        for notice in self.ledger.state.notices.notices.values():
            if notice.order:
                # Twice without an answer: it is not known, and said so.
                state = "sent" if notice.uncertain and notice.state is NoticeState.FAILED else notice.state
                told.setdefault(notice.subject, []).append(f"{notice.occasion} {state}")
        measures = [
            [
                one.measure.customer,
                one.measure.clause,
                # When a condition that lasts was last written down is all that may differ.
                [[step.kind, step.state, step.cause] for step in one.steps if step.kind != "measure-sustained"],
                one.measure.termination_eligible,
                sorted(told.pop(one.measure.id, [])),
            ]
            for one in cases
        ]
        assert list(told.values()) == [["emergency failed"]], "what is posted has nowhere to go here, and nothing else is told"
        opt_out = self.ledger.state.opt_out("c-6", "c2") is not None
        return [measures, opt_out, sorted(self.measures.book.exemptions), len(self.plane.rows)]


def ledger_end(ledger: Ledger) -> float:
    """When the last event was recorded."""
    last = ledger.since(ledger.head.number - 1, 1)
    return last[0].at_us / 1e6 if last else T0


def recovered(folder: Path, ledger: Ledger) -> None:
    """What is on disk verified when it was opened: now see that it is all that was acknowledged, and that the state is its fold."""
    assert (ledger.verified_from > 1) == checkpoint_of(ledger.path).exists(), "the checkpoint was of no use"
    with contextlib.suppress(FileNotFoundError):
        numbers = [int(line) for line in (folder / "acknowledged").read_text().splitlines()]
        assert ledger.head.number >= max(numbers, default=0), (
            f"event {max(numbers)} was acknowledged, the record ends at {ledger.head.number}"
        )
        assert len(numbers) == len(set(numbers)), "a number was acknowledged twice"
    fold, verifier = State(), Verifier(None)
    for event in ledger.events():
        assert verifier.check(event) is None, f"event {event.number} does not verify"
        act = recorded(event)
        assert act is not None
        fold.apply(act)
    assert dumped(fold) == dumped(ledger.state), "the state is not the fold of the record"


def dumped(state: State) -> str:
    return json.dumps([list(part.dump()) for part in state.parts.values()], default=str)


async def live(folder: Path) -> None:
    ledger_driver.CHECKPOINT_EVERY = CHECKPOINT_EVERY
    ledger = Acknowledging.open(folder / "ledger.db")
    recovered(folder, ledger)
    ledger.told = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    month = Month(folder, ledger)
    await month.live()
    for notice in ledger.state.notices.open():
        assert isinstance(next_step(notice, month.clock.now), Wait), f"{notice} is stuck"
    (folder / "story").write_text(json.dumps(month.story()))
    await ledger.close()


def main() -> None:
    """The process that lives nothing itself: what it imported is there for each that it forks."""
    configure("error", stream=sys.stderr)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = 1
            try:
                asyncio.run(live(Path(line.strip())))
                status = 0
            except BaseException:  # noqa: BLE001 - told, by the text and the status
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(status)
        print(f"pid {child}", flush=True)
        print(f"end {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)


if __name__ == "__main__":
    main()
