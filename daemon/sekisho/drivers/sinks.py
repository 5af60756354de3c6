"""Sinks: each reads the ledger from a place of its own and moves it on when the other side has taken the events.

Owns moving the place of a sink on (`sinkplaces` puts it on disk), reading the record from it, trying again and
counting. How an event is handed over is a `Transport`'s (`sinksfile`, `sinkswebhook`, `sinkssyslog`); which acts
are events and what they say is the model's and the exporters'.

At least once and in order: the place moves after an event was taken, so what a crash leaves in doubt is told again.
Where being taken is no proof of being read (`Transport.settles`), the place on disk follows behind, and a sink whose
connection breaks goes back to it.
A sink is a task and a thread of its own: one that is slow or down delays no other, nor the daemon, and keeps nothing
in memory but the batch it is at - what it has still to tell is the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from sekisho.drivers.sinkplaces import Place, Record, place_in, place_of, read_place, write_place
from sekisho.ledger.acts import recorded
from sekisho.ledger.chain import Event
from sekisho.model.errors import SekishoError, SinkError
from sekisho.model.publication import word_of
from sekisho_exporters.cloudevents import Envelope, envelope

log = structlog.get_logger("sekisho.sinks")

T = TypeVar("T")

READ = 4096
"""Events read from the ledger at a time."""
LOOK_EVERY = 0.1
"""Seconds between two looks for new acts: at a number in memory."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 300.0
"""Seconds before a failed hand-over is tried again: doubled each time."""
LONGEST_ASKED = 3600.0
"""Seconds the other side may ask to be left alone."""
CLOSING = 5.0
"""Seconds a hand-over under way has when the sink is closed."""


class Transport(Protocol):
    """A way to one other system."""

    batch: int
    """Events handed over at a time at most."""

    async def send(self, events: list[Envelope], run: Run) -> None:
        """Hand events over, in order; returns when they were taken. `run` carries out what blocks.

        Raises SinkError, or OSError: some may have been taken then, and all are handed over again.
        """

    settles: float = 0.0
    """Seconds for which what was taken may still be lost with the connection; 0: taken is taken."""

    def stands(self) -> bool:
        """False once after the connection was found broken: what has not settled is told again."""
        return True

    async def close(self) -> None: ...


class Run(Protocol):
    """Carries out a blocking function in the sink's own thread."""

    def __call__(self, step: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(slots=True)
class _Taken:
    """What was taken in about a second: when that began and ended (monotonic), and the place after it."""

    since: float
    until: float
    place: Place


@dataclass(slots=True)
class SinkState:
    """How a sink does."""

    number: int = 0
    """The last act it is done with."""
    taken: int = 0
    """Events the other side has taken since the start."""
    failures: int = 0
    """Hand-overs that failed since the start."""
    passed_over: int = 0
    """Acts whose content was erased before the sink came to them."""
    error: str = ""
    """Why the last hand-over failed; empty while it works."""
    failing_since: float | None = None
    oldest: float | None = None
    """When the first act it has not told was recorded; None while it has told all."""


class Sink:
    """One sink while it runs: `run()` is its task, `close()` comes after the task was cancelled."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        record: Record,
        end: Callable[[], int],
        clock: Callable[[], float],
        folder: Path,
        source: str,
        words: Collection[str],
        *,
        from_now: bool = False,
    ) -> None:
        self.name = name
        self.state = SinkState()
        self._transport, self._record, self._end, self._clock = transport, record, end, clock
        self._path = folder / f"{name}.json"
        self._source, self._words, self._from_now = source, frozenset(words), from_now
        self._place: Place | None = None
        self._settled: Place | None = None
        """Up to here nothing can be lost any more; this is what stands on disk."""
        self._kept: Place | None = None
        self._taken: deque[_Taken] = deque()
        """What has not settled, by the second; the oldest first."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sink-{name}")

    async def run(self) -> None:
        """Tell what there is to tell, for ever."""
        pause = FIRST_PAUSE
        while True:
            before = self.state.taken
            try:
                await self._step()
            except (SekishoError, OSError) as error:
                if self.state.taken > before:
                    pause = FIRST_PAUSE
                asked = error.retry_after if isinstance(error, SinkError) else None
                self._failed(error)
                await asyncio.sleep(max(pause * random.uniform(0.5, 1.0), min(asked or 0.0, LONGEST_ASKED)))  # noqa: S311 - spreads retries, no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._works()
                pause = FIRST_PAUSE

    async def close(self) -> None:
        await self._transport.close()
        # What was told is known to be told, however the last step was broken off.
        with contextlib.suppress(OSError):
            await self._in_thread(self._keep)
        # A hand-over in the thread ends before another sink takes the same place up.
        ended = asyncio.create_task(asyncio.to_thread(self._thread.shutdown))
        await asyncio.wait([ended], timeout=CLOSING)

    def give_up(self, why: str) -> None:
        """Note that its task has ended by a fault."""
        self.state.error = why
        self.state.failing_since = self._clock()

    def lag(self) -> int:
        """Acts between the end of the record and the sink's place."""
        return max(0, self._end() - self.state.number)

    def lag_seconds(self) -> float:
        """Age of the oldest act it has still to come to; 0 while there is none."""
        if not self.lag() or self.state.oldest is None:
            return 0.0
        return max(0.0, self._clock() - self.state.oldest)

    async def _step(self) -> None:
        """Read on once and hand over what was read. Raises SekishoError or OSError."""
        if self._place is None:
            # On disk before it counts: a sink that begins with what comes now must begin there after a crash too.
            found = await self._in_thread(self._find_place)
            self._settled = found
            await self._in_thread(self._keep)
            self._move(found)
        if not self._transport.stands():
            self._go_back()
            raise SinkError("the connection broke; what the other side may not have read is told again")
        await self._settle()
        if self._place is None or self._place.number >= self._end():
            self.state.oldest = None
            await asyncio.sleep(LOOK_EVERY)
            return
        start = self._place.number
        events = await self._in_thread(lambda: self._record.since(start, READ))
        if not events:
            await asyncio.sleep(LOOK_EVERY)
            return
        self.state.oldest = events[0].at_us / 1e6
        told = await self._in_thread(lambda: [self._envelope(event) for event in events])
        waiting: list[tuple[Event, Envelope]] = []
        for event, one in zip(events, told, strict=True):
            if one is not None:
                waiting.append((event, one))
            if len(waiting) == self._transport.batch:
                await self._hand_over(waiting)
                waiting = []
        if waiting:
            await self._hand_over(waiting)
        await self._done_with(events[-1])

    async def _hand_over(self, waiting: list[tuple[Event, Envelope]]) -> None:
        try:
            await self._transport.send([one for _, one in waiting], self._in_thread)
        except (SekishoError, OSError):
            self._go_back()
            raise
        self.state.taken += len(waiting)
        self._works()
        await self._done_with(waiting[-1][0])

    async def _done_with(self, event: Event) -> None:
        self._move(place_of(event))
        now = time.monotonic()
        if self._taken and now - self._taken[-1].since < 1:
            self._taken[-1].until, self._taken[-1].place = now, place_of(event)
        else:
            self._taken.append(_Taken(now, now, place_of(event)))
        await self._settle()

    async def _settle(self) -> None:
        """Move the place on disk up to what can be lost no more."""
        before = time.monotonic() - self._transport.settles
        while self._taken and self._taken[0].until <= before:
            self._settled = self._taken.popleft().place
        if self._kept != self._settled:
            await self._in_thread(self._keep)

    def _go_back(self) -> None:
        self._taken.clear()
        if self._settled is not None:
            self._move(self._settled)

    def _envelope(self, event: Event) -> Envelope | None:
        act = recorded(event)
        if act is None:
            self.state.passed_over += 1
            return None
        return envelope(act, self._source) if word_of(act.act) in self._words else None

    def _move(self, place: Place) -> None:
        self._place = place
        self.state.number = place.number

    def _find_place(self) -> Place:
        """Where the sink goes on. Raises SinkError, or OSError."""
        self._kept = read_place(self._path)
        return place_in(self._record, self._end(), self._kept, self.name, from_now=self._from_now)

    def _keep(self) -> None:
        """Put the place on disk. Raises OSError."""
        place = self._settled
        if place is None or place == self._kept:
            return
        write_place(self._path, place)
        self._kept = place

    def _failed(self, error: SekishoError | OSError) -> None:
        state = self.state
        state.failures += 1
        state.error = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        if state.failing_since is None:
            state.failing_since = self._clock()
            log.error("sink-failing", sink=self.name, error=state.error, behind=self.lag())

    def _works(self) -> None:
        state = self.state
        if state.failing_since is not None:
            log.info("sink-recovered", sink=self.name, behind=self.lag())
        state.failing_since, state.error = None, ""

    async def _in_thread(self, step: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)
