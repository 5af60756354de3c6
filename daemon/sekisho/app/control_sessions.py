"""Who is on which line: the life of the table of sessions, from the disk at a start to the disk at the end.

Owns what the configuration, the customers and time alone make of sessions, and what is answered of them by their NAS's settings. What
becomes of a request, and in which order, is `control_hearing`'s; where customers are by all of it `control_whereabouts`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sekisho.app.control_hearing import TOGETHER, Hearing
from sekisho.app.control_people import People
from sekisho.app.control_tables import Tables
from sekisho.app.control_taken import Taking
from sekisho.config.radius import Nas, RadiusSettings
from sekisho.detect.duplicates import Word
from sekisho.drivers.sessionhistory import SessionHistory
from sekisho.model.errors import UnavailableError
from sekisho.model.sessions import CGN, Session, SessionEnd
from sekisho.sessions.changes import Changes
from sekisho.sessions.table import REMEMBERED, Table

if TYPE_CHECKING:
    # Octets are told later than the plane answers.
    from sekisho.app.control_traffic import Traffic

log = structlog.get_logger("sekisho.radius")

DEFAULT_LIMIT = 4200.0
"""Seconds after which a session of a NAS that is in no configuration any more is over."""
RETENTION = 180 * 86400.0
"""Where there is no `radius:` section that says otherwise."""


class Sessions(Hearing):
    """The live sessions of the daemon, and the record of all."""

    def __init__(self, history: SessionHistory, table: Table, clock: Callable[[], float]) -> None:
        super().__init__(history, table, clock)
        self.usage: Traffic | None = None
        """Who is told of octets; None: nobody."""
        self.fault: str | None = None
        """Why nothing is listened to, though the configuration has it."""
        self._clock = clock
        self._settings: RadiusSettings | None = None
        self._listening_since = clock()

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

    async def _look_over(self) -> None:
        """Fixed prefixes that are on another's line since before, by what is held now."""
        held = self.table.holdings()[0]
        for begin in range(0, len(held), TOGETHER):
            self._taken.note(held[begin : begin + TOGETHER], self._people)
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
