"""The lists in force: the last good version of each, kept over restarts and failing sources.

Owns when a list is fetched, what becomes of what was fetched - in force, held for the operator,
or left aside - and the status of each list. Fetching and compiling are `listsources`', and for a
sealed list `sealedlists`', whose text never comes into this process; files are `listfiles`'.

A fetch that fails changes nothing but the status. A version that shrank too much is held beside
the one in force until an operator accepts it or a later one replaces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from sekisho.drivers.feeds import Feeds
from sekisho.drivers.listentries import ListEntry, ListStatus
from sekisho.drivers.listfiles import ListFiles
from sekisho.drivers.listsources import Order, Turns, obtain, place_of
from sekisho.drivers.listversions import Base, Identity, Stored, fitting, lost
from sekisho.drivers.sealedlists import SealedLists
from sekisho.lists.compile import guard_for
from sekisho.lists.guard import reguard
from sekisho.model.errors import FeedError, RefusedError, TableError, UnavailableError
from sekisho.model.lists import ListDefinition, ListFormat
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList

OnChange = Callable[[str], Awaitable[None]]


class ListStore:
    """The lists of one daemon. All methods belong to one event loop."""

    def __init__(
        self,
        state: Path,
        key: Key,
        *,
        never_block: Collection[bytes] = (),
        feeds: Feeds | None = None,
        sealed: SealedLists | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`never_block`: canonical wire names no list may block."""
        self._files = ListFiles(state)
        self._key = key
        self._never_block = frozenset(never_block)
        self._feeds = feeds or Feeds()
        self._sealed = sealed or SealedLists()
        self._clock = clock
        self._turns = Turns()
        self._entries: dict[str, ListEntry] = {}
        self._on_change: OnChange | None = None
        self._saves: dict[str, asyncio.Task[None]] = {}

    async def define(self, definitions: Sequence[ListDefinition]) -> list[TableError]:
        """Take these definitions; load what is stored of lists that are new or changed.

        Gives the errors of damaged files: such a list is without entries until it is fetched.
        """
        errors: list[TableError] = []
        entries: dict[str, ListEntry] = {}
        await asyncio.to_thread(self._files.clean)
        for definition in definitions:
            identity = Identity.of(definition, self._key, self._never_block)
            known = self._entries.get(definition.id)
            if known is not None and known.identity == identity:
                known.definition = definition
                entries[definition.id] = known
                continue
            entry = entries[definition.id] = ListEntry(definition, identity)
            errors.extend(await asyncio.to_thread(self._load, entry))
        self._entries = entries
        return errors

    def current(self) -> list[tuple[ListDefinition, CompiledList]]:
        """What is in force, in the order of the definitions; lists without a good version are left out."""
        return [(entry.definition, entry.stored.compiled) for entry in self._entries.values() if entry.stored is not None]

    def definitions(self) -> tuple[ListDefinition, ...]:
        return tuple(entry.definition for entry in self._entries.values())

    def status(self, list_id: str, now: float) -> ListStatus:
        """The status of one list. Raises RefusedError if there is no such list."""
        return self._entry(list_id).status(now)

    def statuses(self, now: float) -> tuple[ListStatus, ...]:
        """The status of every list, in the order of the definitions."""
        return tuple(entry.status(now) for entry in self._entries.values())

    async def refresh(self, list_id: str, now: float, *, by_hand: bool = False) -> bool:
        """Fetch a list; True if another version is in force now. A failure is in the status.

        With `by_hand` the whole source is taken, changed or not. Whoever runs the store is told of a change
        before this returns. Raises RefusedError if there is no such list.
        """
        changed = await self.refresh_unsaved(list_id, now, by_hand=by_hand)
        await self.saved()
        return changed

    async def refresh_unsaved(self, list_id: str, now: float, *, by_hand: bool = False) -> bool:
        """The same, but a list's first version may not be on disk yet (`saved`)."""
        entry = self._entry(list_id)
        async with entry.lock:
            if list_id in self._saves:
                await self._saves.pop(list_id)
            changed = await self._refresh(entry, now, by_hand=by_hand)
        if changed:
            await self._tell(list_id)
        return changed

    async def refresh_missing(self, now: float) -> list[str]:
        """Fetch every list that has no version in force, at the same time; gives those that have one now."""
        missing = [list_id for list_id, entry in self._entries.items() if entry.stored is None]
        changed = await asyncio.gather(*(self.refresh(list_id, now) for list_id in missing))
        return [list_id for list_id, is_changed in zip(missing, changed, strict=True) if is_changed]

    def request(self, list_id: str) -> None:
        """Have a list fetched soon, by the tasks of `run`. Raises RefusedError if there is no such list."""
        entry = self._entry(list_id)
        entry.wanted = True
        entry.wake.set()

    async def accept(self, list_id: str, version: str | None = None) -> ListStatus:
        """Put the held version in force. Raises RefusedError if none is held, or not `version`."""
        entry = self._entry(list_id)
        async with entry.lock:
            if entry.held is None:
                raise RefusedError(f"list {list_id} has no held version; `sekisho lists show {list_id}` tells what is in force")
            if version is not None and entry.held.report.version != version:
                holds = entry.held.report.version
                raise RefusedError(f"list {list_id} holds version {holds}, not {version}; look at it again and accept that")
            try:
                stored = await asyncio.to_thread(self._files.read, list_id, held=True)
                if stored is None:
                    raise RefusedError(f"the held version of list {list_id} is gone from disk; refresh the list")
                await asyncio.to_thread(self._files.promote, list_id)
            except TableError as error:
                entry.forget_held()
                raise RefusedError(f"the held version of list {list_id} cannot be accepted: {error}") from None
            except OSError as error:
                reason = error.strerror
                raise RefusedError(f"the held version of list {list_id} cannot be moved ({reason}); check the state folder") from None
            guard = await asyncio.to_thread(guard_for, entry.definition, self._key, self._never_block)
            entry.stored = replace(stored, compiled=reguard(stored.compiled, guard)[0], shrink=0.0)
            entry.forget_held()
        await self._tell(list_id)
        return entry.status(self._clock())

    async def run(self, definitions: Sequence[ListDefinition], on_change: OnChange) -> None:
        """Keep the lists fresh until cancelled. `on_change` is awaited with the id of each changed list."""
        if self.definitions() != tuple(definitions):
            await self.define(definitions)
        self._on_change = on_change
        try:
            async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                await self._listen(stack)
                for list_id in self._entries:
                    group.create_task(self._keep_fresh(list_id), name=f"list {list_id}")
        finally:
            self._on_change = None

    async def close(self) -> None:
        await self.saved()
        await self._feeds.close()

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        """Listen for NOTIFY, an address at a time: one that cannot be had costs its own lists their NOTIFY alone."""
        addresses: dict[str, list[ListEntry]] = {}
        for entry in self._entries.values():
            entry.deaf = ""
            if entry.definition.format is ListFormat.AXFR and entry.definition.notify:
                addresses.setdefault(entry.definition.notify, []).append(entry)
        if not addresses:
            return
        # dnspython takes long to import, and only transferred lists need it.
        from sekisho.drivers.zonenotify import Notified, listen_for_notifies  # noqa: PLC0415

        for address, entries in addresses.items():
            try:
                notified = [Notified(entry.definition, self._notified) for entry in entries]
                await stack.enter_async_context(listen_for_notifies(address, notified))
            except (FeedError, UnavailableError) as error:
                for entry in entries:
                    entry.deaf = str(error)

    def _notified(self, list_id: str) -> None:
        entry = self._entries.get(list_id)
        if entry is not None:
            entry.wake.set()

    async def _keep_fresh(self, list_id: str) -> None:
        while True:
            entry = self._entry(list_id)
            now = self._clock()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(entry.wake.wait(), entry.wait(now))
            entry.wake.clear()
            wanted, entry.wanted = entry.wanted, False
            await self.refresh(list_id, self._clock(), by_hand=wanted)

    async def _refresh(self, entry: ListEntry, now: float, *, by_hand: bool) -> bool:
        try:
            fresh = await self._obtain(entry, now, by_hand=by_hand)
        except FeedError as error:
            entry.failed(now, str(error))
            return False
        except Exception as error:  # noqa: BLE001 - one list's fault must not end the others
            entry.failed(now, place_of(error))
            return False
        entry.error, entry.failed_at, entry.failures = "", None, 0
        try:
            return await self._take(entry, fresh, now)
        except OSError as error:
            entry.failed(now, _unwritten(error))
            return fresh is not None and entry.stored is fresh

    async def _obtain(self, entry: ListEntry, now: float, *, by_hand: bool) -> Stored | None:
        """The source's version, or None if it says what it said. Raises FeedError."""
        stored, latest = entry.stored, entry.held or entry.stored
        order = Order(entry.definition, entry.identity, self._key, self._never_block, now, whole=by_hand)
        if stored is not None and latest is not None and stored.identity == entry.identity:
            known = None if by_hand else latest.validators
            base = None if stored.serial is None else Base(stored.compiled, stored.report, stored.serial)
            order = replace(order, known=known, base=base)
        if entry.definition.sealed:
            return await self._sealed.obtain(order)
        return await obtain(order, self._feeds, self._clock, self._turns)

    async def _take(self, entry: ListEntry, fresh: Stored | None, now: float) -> bool:
        """Put a version in force, or hold it; True if another one is in force now. Raises OSError."""
        list_id, stored = entry.definition.id, entry.stored
        if fresh is None:
            if stored is not None and entry.held is None:
                entry.stored = replace(stored, fetched_at=now)
                await asyncio.to_thread(self._files.touch, list_id, now)
            return False
        share = lost(stored, fresh, entry.definition.max_shrink)
        if share is not None:
            if entry.held is None or entry.held.report.version != fresh.report.version:
                held = replace(fresh, shrink=share)
                await asyncio.to_thread(self._files.write, list_id, held, held=True)
                entry.hold(held)
            return False
        entry.stored = fresh
        entry.forget_held()
        if stored is None:
            # The first version: what waits for it to be in force need not wait for the disk too (`saved`).
            self._saves[list_id] = asyncio.create_task(self._save_first(entry, fresh, now))
            return True
        await self._save(list_id, fresh)
        return stored.report.version != fresh.report.version or stored.identity != fresh.identity

    async def _save(self, list_id: str, version: Stored) -> None:
        await asyncio.to_thread(self._files.write, list_id, version)
        await asyncio.to_thread(self._files.remove, list_id, held=True)

    async def _save_first(self, entry: ListEntry, version: Stored, now: float) -> None:
        try:
            await self._save(entry.definition.id, version)
        except OSError as error:
            entry.failed(now, _unwritten(error))

    async def saved(self) -> None:
        """Wait until every first version that is in force is on disk, or is known not to be."""
        await asyncio.gather(*self._saves.values())

    def _load(self, entry: ListEntry) -> list[TableError]:
        """Load what is stored of a list, as far as today's definition and guards allow."""
        errors: list[TableError] = []
        list_id = entry.definition.id
        for held in (False, True):
            try:
                stored = self._files.read(list_id, held=held)
            except TableError as error:
                errors.append(error)
                if entry.definition.sealed:
                    self._files.remove(list_id, held=held)
                continue
            if stored is None:
                continue
            usable = fitting(stored, entry.identity)
            if usable is None or (held and usable.identity != entry.identity):
                self._files.remove(list_id, held=held)
                if stored.identity.key != entry.identity.key:
                    errors.append(TableError(f"list {list_id} was stored under another list key; it is fetched anew"))
            elif held:
                entry.hold(usable)
            elif usable.identity.guard == entry.identity.guard:
                entry.stored = usable
            else:
                guard = guard_for(entry.definition, self._key, self._never_block)
                entry.stored = replace(usable, compiled=reguard(usable.compiled, guard)[0])
        return errors

    async def _tell(self, list_id: str) -> None:
        if self._on_change is not None:
            await self._on_change(list_id)

    def _entry(self, list_id: str) -> ListEntry:
        entry = self._entries.get(list_id)
        if entry is None:
            raise RefusedError(f"there is no list {list_id!r}; `sekisho lists show` names them")
        return entry


def _unwritten(error: OSError) -> str:
    return f"the state folder cannot be written ({error.strerror}); what is in force would not survive a restart"
