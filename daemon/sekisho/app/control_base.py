"""What the plane answers by, brought in force as early as a start can: record, lists, customers, tables.

Owns the order of safety: the record first, then the lists and customers it speaks of, then the tables.
Whatever is needed only once the plane answers (measures, notices, doors, ...) is `control_daemon`'s, and
is not imported from here: a start would wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from sekisho.app.control_lists import Lists
from sekisho.app.control_people import People
from sekisho.app.control_saved import SavedSnapshot
from sekisho.app.control_sessions import Sessions
from sekisho.app.control_snapshots import Snapshots
from sekisho.app.control_standing import View
from sekisho.app.control_tables import Tables
from sekisho.drivers.feeds import is_local
from sekisho.drivers.kepttables import Ground, KeptTables
from sekisho.drivers.ledger import Ledger
from sekisho.drivers.listkey import load_key
from sekisho.drivers.site import Site
from sekisho.drivers.tablefolder import held
from sekisho.drivers.tablereader import TableReader
from sekisho.drivers.tablerows import SHARED
from sekisho.drivers.tables import TableWriter
from sekisho.model.errors import TableError
from sekisho.snapshot.digest import Key

log = structlog.get_logger("sekisho.control")


@dataclass(slots=True)
class Base:
    """What is in force, and who keeps it so."""

    started: float
    """UNIX seconds as of which it was made."""
    state: Path
    folder: Path
    """Where the tables are, shared with the plane."""
    ledger: Ledger
    key: Key
    lists: Lists
    sessions: Sessions
    tables: Tables
    reader: TableReader
    is_in_order: bool = True
    """Nothing that was being done was broken off before it had been carried out."""


@contextlib.asynccontextmanager
async def in_force(site: Site, restored: str | None = None) -> AsyncIterator[Base]:
    """The site's tables, in force; closed in the reverse order at the end, and kept for the next start if that was in order.

    `restored` is the fingerprint of a snapshot that is in force already (`drivers.kepttables`).
    Raises SekishoError, with a sentence, for whatever keeps them from it.
    """
    state, folder = site.settings.state, site.settings.runtime / "plane"
    ground: Ground | None = None
    async with contextlib.AsyncExitStack() as stack:
        saved = SavedSnapshot(state / "snapshot", restored)
        saved.ahead()
        ledger = await asyncio.to_thread(Ledger.open, state / "ledger.db")
        stack.push_async_callback(ledger.close)
        stack.enter_context(held(folder))
        key = load_key(state)
        lists = Lists(state, key)
        stack.push_async_callback(lists.close)
        now = time.time()
        await lists.adopt(site, ledger.state, now)
        people = await asyncio.to_thread(People, site, ledger.state)
        sessions = await Sessions.open(state / "sessions.db", people, site.settings.radius, time.time)
        stack.push_async_callback(sessions.close)
        writer, reader = TableWriter(folder), TableReader(folder, key)
        # From the first row on: nobody is let go for as long as a start takes.
        enforcements = await asyncio.to_thread(View(people, ledger.state.measures, now).enforcements)
        snapshots = Snapshots(writer, reader, ledger.state, lists, key, saved)
        stack.push_async_callback(snapshots.finish)
        tables = Tables(writer, snapshots, people, ledger.state, enforcements)
        tables.lender = sessions
        await tables.start(now)
        base = Base(now, state, folder, ledger, key, lists, sessions, tables, reader)
        yield base
        if base.is_in_order:
            now = time.time()
            wanted = await asyncio.to_thread(View(tables.people, ledger.state.measures, now).enforcements)
            if await tables.settle(wanted, now) and _is_read(base, now):
                ground = _ground(base, now)
            spared = [row for row in (tables.row_of(SHARED),) if row is not None]
    if ground is not None and not tables.is_behind() and not sessions.history.waiting:
        await asyncio.to_thread(_keep, KeptTables(state, folder), ground, spared)


def _ground(base: Base, now: float) -> Ground:
    """What the tables are made of now. What ends by itself is all that changes them without an act."""
    state, site = base.ledger.state, base.tables.people.site
    exemptions = (one for clauses in state.measures.exemptions.values() for one in clauses.values())
    emergency = [state.measures.emergency] if state.measures.emergency is not None else []
    untils = [one.until for one in state.each_opt_out()] + [one.until for one in exemptions] + [one.until for one in emergency]
    ends = [float(until) for until in untils if until is not None and until > now]
    stores = (base.state / "ledger.db", base.state / "sessions.db")
    sources = tuple(Path(one.source) for one in site.lists if is_local(one))
    return Ground(site.digests, stores, sources, now, min(ends, default=None))


def _is_read(base: Base, now: float) -> bool:
    """Whether no file of a list is later than what is in force of it: a start reads such files before it puts anything in force."""
    for one in base.tables.people.lists:
        fetched = base.lists.status(one, now).fetched_at
        with contextlib.suppress(OSError):
            if is_local(one) and (fetched is None or Path(one.source).stat().st_mtime > fetched):
                return False
    return True


def _keep(kept: KeptTables, ground: Ground, spared: list[int]) -> None:
    """Only the next start is slower where this fails: a disk that is full is no reason to tell that the end was not in order."""
    try:
        kept.keep(ground, but=spared)
    except (OSError, TableError) as error:
        log.warning("tables-not-kept", error=str(error))
