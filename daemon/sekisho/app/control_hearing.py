"""What is heard of sessions: in the table, in force in the plane, on disk, and answered, in this order.

Owns that order: a request is entered in the table, its prefixes are in force in the plane at once and without a rebuild, its facts are
written, and when they are on disk it may be answered. So do ends that nobody told. Does not own packets (`drivers.radius`), the
transitions (`sessions.table`), the record (`drivers.sessionhistory`) nor where customers are by all of it (`control_whereabouts`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Protocol

import structlog

from sekisho.app.control_logins import Logins
from sekisho.app.control_portblocks import PortBlocks
from sekisho.app.control_sessionoctets import SessionOctets
from sekisho.app.control_taken import Taken
from sekisho.app.control_whereabouts import Whereabouts
from sekisho.drivers.radius import Batch, Radius
from sekisho.drivers.sessionhistory import SessionHistory
from sekisho.drivers.tablerows import SHARED
from sekisho.model.sessions import Accounting, AccountingKind, Session, SessionEnd
from sekisho.sessions.changes import Changes, Part
from sekisho.sessions.columns import prefix_of
from sekisho.sessions.table import Table

log = structlog.get_logger("sekisho.radius")

TOGETHER = 256
"""Sessions ended or renamed before the loop's other tasks have their turn."""


class Watcher(Protocol):
    """Who is told of customers' sessions as they begin and end (`app.control_nas`)."""

    def session_started(self, session: Session) -> None: ...

    def session_resumed(self, session: Session) -> None: ...

    def session_ended(self, session: Session) -> None: ...

    def nas_restarted(self, name: str) -> None: ...


class Hearing(Whereabouts):
    """The live sessions as they are heard of. Belongs to one event loop."""

    def __init__(self, history: SessionHistory, table: Table, clock: Callable[[], float]) -> None:
        super().__init__(table)
        self.history = history
        self.followers: list[Callable[[Collection[str]], None]] = []
        """Who is told at once of customers who have other prefixes now than before."""
        self.parted: Callable[[Sequence[Part]], None] | None = None
        """Who is told at once of parts of shared addresses that are another's now, or nobody's."""
        self.watchers: list[Watcher] = []
        self.logins = Logins()
        self._octets = SessionOctets()
        self._taken = Taken(table)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.radius = Radius(self._take)
        self.blocks = PortBlocks(table, lambda: self._people, self._commit, clock)
        """Blocks of ports that CGNs report with flow records."""

    def _take(self, batch: Batch) -> None:
        changes = Changes()
        tickets: list[int] = []
        try:
            for ticket, told in batch:
                if told.kind in {AccountingKind.NAS_ON, AccountingKind.NAS_OFF}:
                    # What was told before it comes before it.
                    before, changes = changes, Changes()
                    answered, tickets = tickets, []
                    self._commit(before, answered)
                    # Its sessions are over before anything that is told after it, of the same batch too.
                    self._spawn(self._restart(ticket, told, self.table.restarted(told)))
                    continue
                self.table.apply(told, self.logins.whose(told.user, self._people), changes)
                tickets.append(ticket)
        finally:
            # What was entered is on record, whatever becomes of what comes after it.
            self._commit(changes, tickets)

    def _commit(self, changes: Changes, tickets: Sequence[int] = ()) -> None:
        """In force, then on disk, then answered."""
        self._octets.add(changes.usage)
        self._octets.ended(changes.ended)
        if not changes.facts and not tickets:
            return
        is_settled = False
        try:
            is_settled = self._enforce(changes)
            if not is_settled:
                self._spawn(self._answer_settled(tickets))
        finally:
            # Where putting it in force failed it is on record too, and not answered.
            self.history.write(changes.facts, lambda: self._answer(tickets if is_settled else ()))
        self.blocks.follow(changes)

    def _enforce(self, changes: Changes) -> bool:
        """Have changes in force; False: they are, as soon as the plane's tables are settled."""
        try:
            self._tell(changes)
        finally:
            # Whoever could not be told: what comes again moves nothing, and is answered.
            is_settled = self._move(changes)
        return is_settled

    def _tell(self, changes: Changes) -> None:
        """Tell who follows sessions and where customers are."""
        for watcher in self.watchers:
            for session in changes.ended:
                watcher.session_ended(session)
            for session in changes.begun:
                watcher.session_started(session)
            for session in changes.resumed:
                watcher.session_resumed(session)
        if changes.parts and self.parted is not None:
            self.parted(changes.parts)
        moved = changes.moved | (self.fixed_owners(changes) if self.followers else set())
        if moved:
            for follower in self.followers:
                follower(moved)
        if changes.moves and self._tables is not None:
            self._taken.note(changes.moves, self._people)

    def _move(self, changes: Changes) -> bool:
        if not (changes.moves or changes.shared) or self._tables is None:
            return True
        table = self.table
        moves = {code: SHARED if table.is_shared(code) else customer for code, customer in changes.moves.items()}
        moves |= {code: SHARED if table.is_shared(code) else table.holder(code) for code in changes.shared}
        return self._tables.move({prefix_of(code): customer for code, customer in moves.items()})

    def _answer(self, tickets: Sequence[int]) -> None:
        """On the writing thread."""
        if tickets:
            try:
                self._loop.call_soon_threadsafe(self.radius.done, tickets)
            except RuntimeError:
                return  # the loop has ended: it is told again

    async def _answer_settled(self, tickets: Sequence[int]) -> None:
        """The plane's table had no room while another was loaded: that has the prefixes, once it is in force."""
        assert self._tables is not None  # noqa: S101 - nothing was moved without it
        await self._tables.settled()
        self.history.write((), lambda: self._answer(tickets))

    async def _restart(self, ticket: int, told: Accounting, ended: Sequence[tuple[int, int]]) -> None:
        if ended:
            log.info("nas-restarted", nas=told.nas, kind=told.kind.value, sessions=len(ended))
        await self._end(ended, told.at, SessionEnd.NAS_RESTART)
        for watcher in self.watchers:
            watcher.nas_restarted(told.nas)
        self._commit(Changes(), [ticket])

    async def _end(self, sessions: Sequence[tuple[int, int]], at: float, end: SessionEnd) -> None:
        for begin in range(0, len(sessions), TOGETHER):
            changes = Changes()
            self.table.end(sessions[begin : begin + TOGETHER], at, end, changes)
            self._commit(changes)
            await asyncio.sleep(0)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
