"""The asking of NASes: what is due is written down, then asked, then what became of it is written down.

Owns the memory on disk, the client and the counts of what came of requests. What is to be asked is `control_nas`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from sekisho.config.coa import CoaMode, CoaSettings
from sekisho.drivers.nasmemory import NasMemory
from sekisho.enforce.nas import Book
from sekisho.enforce.naslines import TOLD_AFTER, Request
from sekisho.enforce.templates import compose
from sekisho.model.errors import LedgerError, RefusedError
from sekisho.model.nas import Answer, ErrorCause, Patience, Remembered, RequestKind, RequestOutcome
from sekisho.model.words import counted

if TYPE_CHECKING:
    # Brings RADIUS packets with it: imported when there is a NAS to ask.
    from sekisho.drivers.coa import CoaClient

log = structlog.get_logger("sekisho.nas")

_DISK_WAIT = 5.0
"""Seconds until a write that failed is tried again; nothing is asked meanwhile."""


class Asking:
    """Owns the book of lines and the asking."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.settings: CoaSettings | None = None
        self.book = Book({})
        self.requests: Counter[tuple[RequestKind, RequestOutcome]] = Counter()
        self.causes: Counter[ErrorCause] = Counter()
        self.errors: dict[str, str] = {}
        """By NAS, why the last request to it could not be sent."""
        self._memory: NasMemory | None = None
        self._client: CoaClient | None = None
        self._now = now
        self._wake = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._disk_failed = False

    @property
    def observing(self) -> bool:
        return self.settings is None or self.settings.mode is CoaMode.OBSERVE

    @property
    def dropped(self) -> Mapping[str, int]:
        """Datagrams that were no answer, by reason."""
        return {} if self._client is None else self._client.dropped

    async def run(self) -> None:
        """Ask what is due, for ever."""
        while True:
            self._wake.clear()
            await self.step()
            due = None if self.observing else self.book.next_due()
            try:
                await asyncio.wait_for(self._wake.wait(), None if due is None else max(0.0, due - self._now()))
            except TimeoutError:
                continue

    async def step(self) -> None:
        """Ask what is due now; answers come later."""
        requests = [] if self.observing else self.book.due(self._now())
        changes = self.book.changes()
        written = False
        try:
            written = not any(changes) or await self._write(changes)
        finally:
            # Nothing is asked that is not written down, nor after the end.
            for request in requests if not written else ():
                self.book.postpone(request, self._now() + _DISK_WAIT)
        if not written:
            return
        for request in requests:
            task = asyncio.create_task(self._ask(request))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, request: Request) -> None:
        settings = self.settings
        nas = settings.nas(request.target.nas) if settings is not None else None
        if settings is None or nas is None:
            self.book.postpone(request, self._now())
            return
        if self._client is None:
            from sekisho.drivers.coa import CoaClient  # noqa: PLC0415

            self._client = CoaClient()
        try:
            message = compose(request, settings)
        except RefusedError as error:
            answer = Answer(RequestOutcome.UNSENT, error=str(error))
        else:
            answer = await self._client.ask(nas, message, Patience(settings.timeout, settings.retries))
        self._done(request, answer)

    def _done(self, request: Request, answer: Answer) -> None:
        name = request.target.nas
        state = self.book.nases().get(name)
        was_silent = state is not None and state.silent_since is not None
        self.requests[request.kind, answer.outcome] += 1
        if answer.outcome is RequestOutcome.REFUSED:
            self.causes[answer.cause] += 1
        self.book.answered(request, answer.outcome, answer.cause, self._now())
        if answer.error:
            if self.errors.get(name) != answer.error:
                log.error("nas-not-asked", nas=name, error=answer.error)
            self.errors[name] = answer.error
        else:
            self.errors.pop(name, None)
        is_silent = state is not None and state.silent_since is not None
        if is_silent != was_silent:
            (log.error if is_silent else log.info)("nas-silent" if is_silent else "nas-answers", nas=name)
        if answer.outcome is RequestOutcome.REFUSED:
            log.warning("nas-refused", nas=name, kind=request.kind.value, cause=answer.cause.word)
        self._wake.set()

    async def _write(self, changes: tuple[list[Remembered], list[tuple[str, str]]]) -> bool:
        if self._memory is None:
            return True
        try:
            await self._memory.write(*changes)
        except asyncio.CancelledError:
            self.book.unwritten(changes)
            raise
        except LedgerError as error:
            if not self._disk_failed:
                log.error("nas-memory-not-written", error=str(error))  # noqa: TRY400 - the sentence says it all
            self._disk_failed = True
            self.book.unwritten(changes)
            return False
        self._disk_failed = False
        return True

    # What is told

    def warnings(self) -> list[str]:
        """What needs somebody."""
        found = []
        for name, state in self.book.nases().items():
            if state.silent_since is not None and state.tries >= TOLD_AFTER:
                why = self.errors.get(name, "look at its address, its secret and whether it takes requests from here")
                found.append(f"NAS {name} does not answer, and {counted(len(state.lines), 'line waits', 'lines wait')} for it: {why}")
            refused = sum(line.given_up is not None for line in self.book.lines(name))
            if refused:
                many = counted(refused, "line", "lines")
                found.append(f"NAS {name} refuses what is asked for {many}; `sekisho nas show {name}` says why")
        lost = Counter(line.target.nas for line in self.book.lines() if line.target.nas not in self.book.nases())
        for name, count in lost.items():
            many = counted(count, "limit", "limits")
            found.append(f"NAS {name}, which `coa:` does not name any more, may hold {many}; name it again, or undo that by hand")
        return found
