"""The lists of the daemon: which are in force, how their sources do, and what an operator asks of them.

Owns when the daemon waits for a fetch: at the start and after a reload local files are read before
the tables are built, and so is what no version is stored of; everything else is fetched while the
last good version is in force. Fetching, holding and keeping are `drivers.liststore`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

from sekisho.drivers.feeds import is_local
from sekisho.drivers.listentries import ListStatus
from sekisho.drivers.liststore import ListStore
from sekisho.drivers.listversions import NOTHING
from sekisho.drivers.site import Site
from sekisho.ledger.state import State
from sekisho.lists.idn import to_wire
from sekisho.model.errors import RefusedError, SekishoError
from sekisho.model.lists import ListDefinition
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList

log = structlog.get_logger("sekisho.control")

Json = dict[str, Any]

PATIENCE = 5.0
"""Seconds the daemon waits for sources before it serves by what it has."""
FAULTS_SHOWN = 20


class Lists:
    """The list store of the site in force."""

    def __init__(self, state: Path, key: Key, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._key = key
        self._clock = clock
        self._never_block: frozenset[bytes] = frozenset()
        self._store = ListStore(state, key, clock=clock)
        self._keeping: asyncio.Task[None] | None = None
        self._fetching: set[asyncio.Task[bool]] = set()
        self.warnings: tuple[str, ...] = ()

    async def adopt(self, site: Site, state: State, now: float) -> None:
        """Take the definitions of a site, load what is stored, read what lies on this machine.

        Nothing is kept fresh from here on until `keep_fresh`.
        """
        await self._stop_keeping()
        protected = frozenset(to_wire(name) for name in site.settings.never_block)
        if protected != self._never_block:
            await self._store.close()
            self._store = ListStore(self._state, self._key, never_block=protected, clock=self._clock)
            self._never_block = protected
        self.warnings = tuple(str(error) for error in await self._store.define(site.lists))
        for warning in self.warnings:
            log.warning("stored-list-unusable", error=warning)
        await self._accept_again(state, now)
        await self._fetch_first(site.lists, now)

    def keep_fresh(self, on_change: Callable[[str], Awaitable[None]]) -> None:
        """Fetch the lists as their definitions say, from now on; `on_change` is told of each that changed."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._store.run(self._store.definitions(), on_change), name="lists")
            self._fetch(self._store.definitions(), self._clock())

    def check(self) -> None:
        """Raises what ended the keeping of the lists, if something did: it is a fault of ours."""
        if self._keeping is not None and self._keeping.done() and not self._keeping.cancelled():
            self._keeping.result()

    async def saved(self) -> None:
        """Wait until what was fetched for the first time is on disk."""
        await self._store.saved()

    async def close(self) -> None:
        await self._stop_keeping()
        await self._store.close()

    def compiled(self, definition: ListDefinition) -> CompiledList:
        """What is in force of a list; nothing, if no version of it was ever good."""
        return next((compiled for known, compiled in self._store.current() if known.id == definition.id), NOTHING)

    def status(self, definition: ListDefinition, now: float) -> ListStatus:
        try:
            return self._store.status(definition.id, now)
        except RefusedError:
            return ListStatus(definition.id, definition.sealed)

    async def refresh(self, definitions: Iterable[ListDefinition], now: float) -> None:
        """Fetch lists now, whole; those that changed are in force on return. A failure is in the status."""
        await asyncio.gather(*(self._store.refresh(definition.id, now, by_hand=True) for definition in definitions))

    async def accept(self, definition: ListDefinition, version: str) -> ListStatus:
        """Put the held version in force. Raises RefusedError if another one is held, or none."""
        return await self._store.accept(definition.id, version)

    def body(self, definition: ListDefinition, now: float) -> Json:
        """The list's own part of `status` and `lists show`."""
        status = self.status(definition, now)
        held = status.held
        return {
            "source": source_shown(definition),
            "entries": status.entries,
            "addresses": status.addresses,
            "clients": status.clients,
            "version": status.version or None,
            "fetched": status.fetched_at,
            "age": status.age,
            "stale": status.stale,
            "held": {"version": held.version, "entries": held.entries, "lost": held.shrink, "fetched": held.fetched_at} if held else None,
            "error": status.last_error or None,
            "failures": status.failures,
            "skipped": status.skipped,
            "refused": status.refused,
            "unkept": status.unkept,
            "kinds": dict(status.kinds),
            "serial": status.serial,
            "faults": [str(fault) for fault in status.faults[:FAULTS_SHOWN]],
        }

    def observation(self, definition: ListDefinition, now: float) -> Json:
        """The list's own part of an observation: fields of `ListObservation`."""
        status = self.status(definition, now)
        return {
            "entries": status.entries,
            "skipped": status.skipped,
            "refused": status.refused,
            "unkept": status.unkept,
            "good_at": status.fetched_at,
            "failed": bool(status.last_error),
            "stale": status.stale,
            "held": status.held is not None,
        }

    async def _accept_again(self, state: State, now: float) -> None:
        """A version accepted on the record is in force, even if the daemon died before it was put there."""
        for definition in self._store.definitions():
            held = self._store.status(definition.id, now).held
            if held is not None and held.version in state.accepted.get(definition.id, ()):
                try:
                    await self._store.accept(definition.id, held.version)
                except SekishoError as error:
                    log.warning("held-version-unusable", list=definition.id, error=str(error))

    async def _fetch_first(self, definitions: Iterable[ListDefinition], now: float) -> None:
        """Read local files, and fetch what no version is stored of; wait for the former, and for the latter not long."""
        missing = [one for one in definitions if self.status(one, now).fetched_at is None]
        local = [one for one in definitions if is_local(one)]
        needed = self._fetch((one for one in local if one in missing), now)
        others = self._fetch((one for one in (*local, *missing) if not (is_local(one) and one in missing)), now)
        if needed:
            await asyncio.wait(needed)
        if others:
            await asyncio.wait(others, timeout=PATIENCE)

    def _fetch(self, definitions: Iterable[ListDefinition], now: float) -> list[asyncio.Task[bool]]:
        """Fetch lists in tasks that go on when nobody waits any more."""
        ids = dict.fromkeys(definition.id for definition in definitions)
        tasks = [asyncio.create_task(self._store.refresh_unsaved(list_id, now), name=f"fetch {list_id}") for list_id in ids]
        for task in tasks:
            self._fetching.add(task)
            task.add_done_callback(self._fetched)
        return tasks

    def _fetched(self, task: asyncio.Task[bool]) -> None:
        self._fetching.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("fetch-failed", task=task.get_name(), error=type(error).__name__)

    async def _stop_keeping(self) -> None:
        tasks = [*self._fetching, *([self._keeping] if self._keeping is not None else [])]
        self._keeping = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def source_shown(definition: ListDefinition) -> str:
    """A list's source as it may be shown: a URL without user, password and query."""
    if "://" not in definition.source:
        return definition.source
    # The HTTP client's own parser reads the URL, and is not imported for a start that fetches nothing.
    from sekisho.drivers.webfeeds import shown_url  # noqa: PLC0415

    return shown_url(definition.source)
