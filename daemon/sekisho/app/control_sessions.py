"""Who is on which line: what the listener for RADIUS hears goes to the table of sessions, the plane and the disk.

Owns the order: a request is entered in the table, its prefixes are in force in the plane at once and without a rebuild,
its facts are written, and when they are on disk it may be answered. Does not own packets (`drivers.radius`), the
transitions (`sessions.table`), the record (`drivers.sessionhistory`) nor where customers are by all of it (`control_whereabouts`).
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sekisho.app.control_logins import Logins
from sekisho.app.control_people import People
from sekisho.app.control_portblocks import PortBlocks
from sekisho.app.control_sessionoctets import SessionOctets
from sekisho.app.control_tables import Tables
from sekisho.app.control_taken import Taken, Taking
from sekisho.app.control_watcher import Watcher
from sekisho.app.control_whereabouts import Whereabouts
from sekisho.config.radius import Nas, RadiusSettings
from sekisho.detect.duplicates import Word
from sekisho.drivers.radius import Batch, Radius
from sekisho.drivers.sessionhistory import SessionHistory
from sekisho.drivers.tablerows import SHARED
from sekisho.model.errors import UnavailableError
from sekisho.model.sessions import CGN, Accounting, AccountingKind, Session, SessionEnd
from sekisho.sessions.changes import Changes, Part
from sekisho.sessions.columns import prefix_of
from sekisho.sessions.table import REMEMBERED, Table

if TYPE_CHECKING:
    # Octets are told later than the plane answers.
    from sekisho.app.control_traffic import Traffic

log = structlog.get_logger("sekisho.radius")

TOGETHER = 256
"""Sessions ended or renamed before the loop's other tasks have their turn."""
DEFAULT_LIMIT = 4200.0
"""Seconds after which a session of a NAS that is in no configuration any more is over."""
RETENTION = 180 * 86400.0
"""Where there is no `radius:` section that says otherwise."""


class Sessions(Whereabouts):
    """The live sessions of the daemon, and the record of all."""

    def __init__(self, history: SessionHistory, table: Table, clock: Callable[[], float]) -> None:
        super().__init__(table)
        self.history = history
        self.usage: Traffic | None = None
        """Who is told of octets; None: nobody."""
        self.followers: list[Callable[[Collection[str]], None]] = []
        """Who is told at once of customers who have other prefixes now than before."""
        self.parted: Callable[[Sequence[Part]], None] | None = None
        """Who is told at once of parts of shared addresses that are another's now, or nobody's."""
        self.fault: str | None = None
        """Why nothing is listened to, though the configuration has it."""
        self.watchers: list[Watcher] = []
        self._clock = clock
        self._settings: RadiusSettings | None = None
        self.logins = Logins()
        self._octets = SessionOctets()
        self._taken = Taken(table)
        self._listening_since = clock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.radius = Radius(self._take)
        self.blocks = PortBlocks(table, lambda: self._people, self._commit, clock)
        """Blocks of ports that CGNs report with flow records."""

    @classmethod
    async def open(cls, path: Path, people: People, settings: RadiusSettings | None, clock: Callable[[], float]) -> Sessions:
        """The sessions that were live when the daemon ended, as the customers are now. Raises LedgerError."""
        history = await asyncio.to_thread(SessionHistory.open, path)
        table = Table()
        self = cls(history, table, clock)
        self._settings, self.logins.realms = settings, settings.realms if settings is not None else ()
        changes = Changes()

        def restore() -> None:
            restored = history.restore(clock() - REMEMBERED)
            table.number = restored.number
            for opened, held in restored.live:
                table.restore(opened, held)
            table.restored()
            for opened, until, end in restored.past:
                table.remember(opened, until, end)
            for row, number, user, _ in table.names():
                table.rename(row, number, self.logins.whose(user, people), changes)

        await asyncio.to_thread(restore)
        history.start()
        history.write(changes.facts, lambda: None)
        if len(table):
            log.info("sessions-restored", sessions=len(table), unknown=table.unknown)
        return self

    async def start(self, tables: Tables, settings: RadiusSettings | None) -> None:
        """Listen. The tables in force have the prefixes of what was restored already."""
        self._tables = tables
        self.blocks.restore()
        self._listening_since = self._clock()
        await self._listen(settings)
        self._spawn(self._look_over())

    async def adopt(self, settings: RadiusSettings | None) -> None:
        """Another configuration and its customers are in force: sessions go on, each under who its user is now."""
        self._settings, self.logins.realms = settings, settings.realms if settings is not None else ()
        await self._listen(settings)
        for some in _together(self.table.names()):
            changes = Changes()
            for row, number, user, _ in some:
                self.table.rename(row, number, self.logins.whose(user, self._people), changes)
            self._commit(changes)
            await asyncio.sleep(0)
        self.blocks.customers_changed()
        self._spawn(self._look_over())

    def customer_changed(self, customer: str, logins: Iterable[str]) -> None:
        """A customer was added, replaced or removed: sessions of their users are told from those of nobody anew."""
        changes, table = Changes(), self.table
        found = table.sessions_of(customer)
        names = {customer, *logins}
        for name in names | {f"{name}@{realm}" for name in names for realm in self.logins.realms}:
            found += table.sessions_unknown(name)
        for row, number, user in found:
            table.rename(row, number, self.logins.whose(user, self._people), changes)
        self._commit(changes)
        self.blocks.customer_changed(customer)

    async def tick(self) -> None:
        """What time alone brings: sessions nothing is heard of, octets handed on."""
        now = self._clock()
        table = self.table
        limits = [self._limit(nas) for nas in table.nases]
        overdue = table.overdue(now, limits, self._listening_since)
        if overdue:
            await self._end(overdue, now, SessionEnd.TIMEOUT)
        await self._age(now)
        await self.blocks.tidy()
        if self._tables is not None:
            self._taken.tidy(self._people)
        table.forget(now)
        self._octets.tell(self.usage, self._tables, now, lambda customer: bool(table.logins(customer)))

    def purge(self) -> None:
        """Delete what is past the retention."""
        kept = self._settings.retention if self._settings is not None else RETENTION
        self.history.purge(self._clock() - kept)

    async def close(self) -> None:
        """Answer nothing more; what was heard is on disk on return."""
        await self.radius.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.history.close()

    # What others ask.

    def login_of(self, user: str) -> str:
        """The ID behind a user name: one that is told with a realm and without it is the same."""
        return self.logins.id_of(user, self._people)

    def several(self) -> list[Session]:
        """The live sessions of every customer who has more than one, by their IDs."""
        found = self.table.several()
        if not self.logins.realms:
            return found
        return [one if (name := self.login_of(one.user)) == one.user else replace(one, user=name) for one in found]

    def is_silent(self, session: Session, now: float) -> bool:
        """Whether a session's NAS has not been heard of it for longer than it is given: it may be gone, and is not over yet."""
        nas = self._nas(session.nas)
        return nas is not None and nas.timeout is not None and max(session.seen, self._listening_since) + nas.timeout < now

    def word(self, name: str) -> Word:
        """What a NAS's word on sessions is worth, by its name in them."""
        nas = self._nas(name)
        heard = self.table.heard.get(name, 0.0)
        if nas is None:
            return Word(0.0, heard)
        # Its time-out is longer than two of its Interim-Updates.
        return Word(math.inf if nas.timeout is None else nas.timeout / 2, heard)

    def listened_to(self) -> list[str]:
        """The ids of the NASes in the configuration."""
        return [one.id for one in self._settings.nas] if self._settings is not None else []

    def taken(self) -> list[Taking]:
        """Fixed prefixes that are on another's line by a session."""
        return self._taken.now(self._people) if self._tables is not None else []

    # What is heard.

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

    async def _look_over(self) -> None:
        """Fixed prefixes that are on another's line since before, by what is held now."""
        held = self.table.holdings()[0]
        for begin in range(0, len(held), TOGETHER):
            self._taken.note(held[begin : begin + TOGETHER], self._people)
            await asyncio.sleep(0)

    async def _end(self, sessions: Sequence[tuple[int, int]], at: float, end: SessionEnd) -> None:
        for begin in range(0, len(sessions), TOGETHER):
            changes = Changes()
            self.table.end(sessions[begin : begin + TOGETHER], at, end, changes)
            self._commit(changes)
            await asyncio.sleep(0)

    async def _age(self, now: float) -> None:
        """Blocks of ports that a NAS allocated and never took back."""
        ages = [math.inf if (nas := self._nas(name)) is None or nas.block_age is None else nas.block_age for name in self.table.nases]
        blocks = self.table.aged(now, ages, self._listening_since)
        if blocks:
            log.warning("port-blocks-aged", blocks=len(blocks))
        for begin in range(0, len(blocks), TOGETHER):
            changes = Changes()
            self.table.age(blocks[begin : begin + TOGETHER], now, changes)
            self._commit(changes)
            await asyncio.sleep(0)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, settings: RadiusSettings | None) -> None:
        try:
            await self.radius.adopt(settings)
        except UnavailableError as error:
            self.fault = str(error)
            log.error("radius-not-listening", error=str(error))  # noqa: TRY400 - the sentence says it all
        else:
            self.fault = None

    def _nas(self, name: str) -> Nas | None:
        """A NAS by its name in sessions."""
        known = self._settings.nas if self._settings is not None else ()
        entry = name.partition(":")[0]
        return next((one for one in known if one.id == entry), None)

    def _limit(self, name: str) -> float:
        if name.startswith(CGN):
            age = self.blocks.age(name)
            return DEFAULT_LIMIT if age is None else age
        nas = self._nas(name)
        if nas is None:
            return DEFAULT_LIMIT
        return math.inf if nas.timeout is None else nas.timeout + nas.grace


def _together(items: Iterable[tuple[int, int, str, str | None]]) -> Iterator[tuple[tuple[int, int, str, str | None], ...]]:
    iterator = iter(items)
    while some := tuple(itertools.islice(iterator, TOGETHER)):
        yield some
