"""The lists in force: the last good version of each, kept over restarts and failing sources.

Owns when a list is fetched, what becomes of what was fetched - in force, held for the operator,
or left aside - and the status of each list. Fetching is `feeds`' and `transfer`'s, compiling is
`lists`' and runs in a thread (compiled code holds no lock of the interpreter), files are `listfiles`'.

A fetch that fails changes nothing but the status. A version that shrank too much is held beside
the one in force until an operator accepts it or a later one replaces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sekisho.drivers.feeds import Feeds, wipe
from sekisho.drivers.listfiles import Identity, ListFiles, Stored
from sekisho.lists.compile import FeedResult, compile_feed, guard_for
from sekisho.lists.guard import reguard, select, shrink
from sekisho.model.errors import Fault, FeedError, RefusedError, TableError, UnavailableError
from sekisho.model.lists import ListDefinition, ListFormat, Scope, Trigger
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList

FIRST_RETRY = 5.0
"""Seconds before a failed fetch is tried again; doubled each time, up to the list's `refresh`."""

JITTER = 0.1
"""Share by which waits differ at random, so that many daemons do not ask one source at once."""

OnChange = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class HeldStatus:
    """A version that waits for an operator."""

    version: str
    entries: int
    shrink: float
    """The share of entries it would take away, 0 to 1."""
    fetched_at: float


@dataclass(frozen=True, slots=True)
class ListStatus:
    """One list, as `status` and metrics tell it. Times are UNIX seconds."""

    id: str
    sealed: bool
    entries: int = 0
    """Entries in force."""
    skipped: int = 0
    refused: int = 0
    unkept: int = 0
    kinds: tuple[tuple[str, int], ...] = ()
    """What was not kept, by name."""
    faults: tuple[Fault, ...] = ()
    version: str = ""
    """Digest of the content in force; empty: nothing is."""
    fetched_at: float | None = None
    """When the source was last known to say what is in force."""
    age: float | None = None
    """Seconds since then."""
    stale: bool = False
    last_error: str = ""
    """Why the last fetch failed; empty: it did not."""
    failed_at: float | None = None
    failures: int = 0
    """Fetches that failed one after another."""
    held: HeldStatus | None = None
    serial: int | None = None
    etag: str = ""


@dataclass(slots=True)
class _Entry:
    definition: ListDefinition
    identity: Identity
    stored: Stored | None = None
    held: Stored | None = None
    """Its compiled list is left on disk until it is accepted."""
    held_size: int = 0
    error: str = ""
    failed_at: float | None = None
    failures: int = 0
    deaf: str = ""
    """Why NOTIFY is not listened for."""
    wanted: bool = False
    """A refresh was asked for by hand: also what looks older is taken."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ListStore:
    """The lists of one daemon. All methods belong to one event loop."""

    def __init__(
        self,
        state: Path,
        key: Key,
        *,
        never_block: Collection[bytes] = (),
        feeds: Feeds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`never_block`: canonical wire names no list may block."""
        self._files = ListFiles(state)
        self._key = key
        self._never_block = frozenset(never_block)
        self._feeds = feeds or Feeds()
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._on_change: OnChange | None = None

    async def define(self, definitions: Sequence[ListDefinition]) -> list[TableError]:
        """Take these definitions; load what is stored of lists that are new or changed.

        Gives the errors of damaged files: such a list is without entries until it is fetched.
        """
        errors: list[TableError] = []
        entries: dict[str, _Entry] = {}
        await asyncio.to_thread(self._files.clean)
        for definition in definitions:
            identity = Identity.of(definition, self._key, self._never_block)
            known = self._entries.get(definition.id)
            if known is not None and known.identity == identity:
                known.definition = definition
                entries[definition.id] = known
                continue
            entry = entries[definition.id] = _Entry(definition, identity)
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
        return _status(self._entry(list_id), now)

    def statuses(self, now: float) -> tuple[ListStatus, ...]:
        """The status of every list, in the order of the definitions."""
        return tuple(_status(entry, now) for entry in self._entries.values())

    async def refresh(self, list_id: str, now: float, *, by_hand: bool = False) -> bool:
        """Fetch a list; True if another version is in force now. A failure is in the status.

        With `by_hand` the whole source is taken, changed or not. Whoever runs the store is told of a change
        before this returns. Raises RefusedError if there is no such list.
        """
        entry = self._entry(list_id)
        async with entry.lock:
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
                self._forget_held(entry)
                raise RefusedError(f"the held version of list {list_id} cannot be accepted: {error}") from None
            except OSError as error:
                reason = error.strerror
                raise RefusedError(f"the held version of list {list_id} cannot be moved ({reason}); check the state folder") from None
            guard = await asyncio.to_thread(guard_for, entry.definition, self._key, self._never_block)
            entry.stored = replace(stored, compiled=reguard(stored.compiled, guard)[0], shrink=0.0)
            self._forget_held(entry)
        await self._tell(list_id)
        return _status(entry, self._clock())

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
        await self._feeds.close()

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        """Listen for NOTIFY, an address at a time: one that cannot be had costs its own lists their NOTIFY alone."""
        addresses: dict[str, list[_Entry]] = {}
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
                await asyncio.wait_for(entry.wake.wait(), _wait(entry, now))
            entry.wake.clear()
            wanted, entry.wanted = entry.wanted, False
            await self.refresh(list_id, self._clock(), by_hand=wanted)

    async def _refresh(self, entry: _Entry, now: float, *, by_hand: bool) -> bool:
        try:
            fresh = await self._obtain(entry, now, by_hand=by_hand)
        except FeedError as error:
            return self._failed(entry, now, str(error))
        except Exception as error:  # noqa: BLE001 - one list's fault must not end the others; its text may be a sealed list's
            return self._failed(entry, now, _place_of(error))
        entry.error, entry.failed_at, entry.failures = "", None, 0
        try:
            return await self._take(entry, fresh, now)
        except OSError as error:
            self._failed(entry, now, f"the state folder cannot be written ({error.strerror}); what is in force would not survive a restart")
            return fresh is not None and entry.stored is fresh

    def _failed(self, entry: _Entry, now: float, error: str) -> bool:
        entry.error, entry.failed_at = error, now
        entry.failures += 1
        return False

    async def _obtain(self, entry: _Entry, now: float, *, by_hand: bool) -> Stored | None:
        """The source's version, or None if it says what it said. Raises FeedError."""
        definition, stored = entry.definition, entry.stored
        same = stored is not None and stored.identity == entry.identity
        if definition.format is ListFormat.AXFR:
            # dnspython takes long to import, and only transferred lists need it.
            from sekisho.drivers.transfer import Base, transfer  # noqa: PLC0415

            base = None
            if stored is not None and same and stored.serial is not None:
                base = Base(stored.compiled, stored.report, stored.serial)
            zone = await transfer(definition, self._key, base, never_block=self._never_block, full=by_hand, clock=self._clock)
            return None if zone is None else _as_stored(zone.result, entry.identity, now, serial=zone.serial)
        latest = entry.held or stored
        known = latest.validators if same and latest is not None and not by_hand else None
        fetched = await self._feeds.fetch(definition, known)
        if fetched is None:
            return None
        try:
            result = await asyncio.to_thread(
                compile_feed, definition, fetched.data, self._key, file=_file_of(definition), never_block=self._never_block
            )
        finally:
            if definition.sealed:
                wipe(fetched.data)
        if not result.report.entries and result.report.skipped and not result.report.refused:
            lines = result.report.skipped
            raise FeedError(f"none of its {lines} lines is an entry of format {definition.format}; check source and format of the list")
        return replace(_as_stored(result, entry.identity, now), validators=fetched.validators)

    async def _take(self, entry: _Entry, fresh: Stored | None, now: float) -> bool:
        """Put a version in force, or hold it; True if another one is in force now. Raises OSError."""
        list_id, stored = entry.definition.id, entry.stored
        if fresh is None:
            if stored is not None and entry.held is None:
                entry.stored = replace(stored, fetched_at=now)
                await asyncio.to_thread(self._files.touch, list_id, now)
            return False
        lost = _lost(stored, fresh, entry.definition.max_shrink)
        if lost is not None:
            if entry.held is None or entry.held.report.version != fresh.report.version:
                held = replace(fresh, shrink=lost)
                await asyncio.to_thread(self._files.write, list_id, held, held=True)
                self._hold(entry, held)
            return False
        entry.stored = fresh
        self._forget_held(entry)
        await asyncio.to_thread(self._files.write, list_id, fresh)
        await asyncio.to_thread(self._files.remove, list_id, held=True)
        return stored is None or stored.report.version != fresh.report.version or stored.identity != fresh.identity

    def _load(self, entry: _Entry) -> list[TableError]:
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
            fitting = _fitting(stored, entry.identity)
            if fitting is None or (held and fitting.identity != entry.identity):
                self._files.remove(list_id, held=held)
                if stored.identity.key != entry.identity.key:
                    errors.append(TableError(f"list {list_id} was stored under another list key; it is fetched anew"))
            elif held:
                self._hold(entry, fitting)
            else:
                guard = guard_for(entry.definition, self._key, self._never_block)
                entry.stored = replace(fitting, compiled=reguard(fitting.compiled, guard)[0])
        return errors

    def _hold(self, entry: _Entry, held: Stored) -> None:
        entry.held_size = len(held.compiled)
        entry.held = replace(held, compiled=_EMPTY)

    @staticmethod
    def _forget_held(entry: _Entry) -> None:
        entry.held, entry.held_size = None, 0

    async def _tell(self, list_id: str) -> None:
        if self._on_change is not None:
            await self._on_change(list_id)

    def _entry(self, list_id: str) -> _Entry:
        entry = self._entries.get(list_id)
        if entry is None:
            raise RefusedError(f"there is no list {list_id!r}; `sekisho lists show` names them")
        return entry


_EMPTY = CompiledList(
    np.empty((0, 2), np.uint64), np.empty(0, np.uint8), np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint8)
)


def _fitting(stored: Stored, identity: Identity) -> Stored | None:
    """What of a stored list may be in force under a changed definition, until its source is fetched.

    None for a list that was not sealed and is now, since its names must not stay, and for the
    digests of another key. Of another scope, only what both scopes hold. Another source of the
    same list does not empty it: nothing would be enforced until the new one answers.
    """
    if stored.identity.key != identity.key or (identity.sealed and not stored.identity.sealed):
        return None
    if identity.scope == Scope.EXACT and stored.identity.scope == Scope.SUBTREE:
        triggers = (stored.compiled.triggers & Trigger.EXACT).astype(np.uint8)
        narrowed = replace(stored.compiled, triggers=triggers)
        return replace(stored, compiled=select(narrowed, triggers != 0))
    return stored


def _lost(stored: Stored | None, fresh: Stored, max_shrink: float) -> float | None:
    """The share of entries a version loses if that is too much for it to be put in force, else None.

    Another source is the operator's own decision. So are other never-block names: what they took out
    of the list is not the feed's loss, so what the guards refused counts as if it were there.
    """
    if stored is None or stored.identity.source != fresh.identity.source:
        return None
    lost = shrink(stored.compiled, fresh.compiled, max_shrink)
    if lost is None or stored.identity.guard == fresh.identity.guard:
        return lost
    before, after = (version.report.entries + version.report.refused for version in (stored, fresh))
    share = (before - after) / before if before else 0.0
    return share if share > max_shrink else None


def _as_stored(result: FeedResult, identity: Identity, now: float, *, serial: int | None = None) -> Stored:
    return Stored(result.compiled, result.report, identity, now, serial=serial)


def _file_of(definition: ListDefinition) -> str:
    """What faults of a feed are reported under: the file's name, or the id of a list that is fetched."""
    return definition.id if "://" in definition.source else definition.source


def _wait(entry: _Entry, now: float) -> float:
    """Seconds until a list is fetched next."""
    refresh = entry.definition.refresh
    spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, hides nothing
    if entry.failures and entry.failed_at is not None:
        pause: float = min(refresh, FIRST_RETRY * 2 ** min(entry.failures - 1, 20))
        return max(0.0, entry.failed_at + pause * spread - now)
    if entry.stored is None or entry.stored.identity != entry.identity:
        return 0.0
    last = max(entry.stored.fetched_at, entry.held.fetched_at if entry.held else 0.0)
    # A clock set back must not put the next fetch off for longer than the wait itself.
    return min(max(0.0, last + refresh * spread - now), refresh * (1 + JITTER))


def _status(entry: _Entry, now: float) -> ListStatus:
    definition, stored, held = entry.definition, entry.stored, entry.held
    status = ListStatus(
        definition.id, definition.sealed, last_error=entry.error or entry.deaf, failed_at=entry.failed_at, failures=entry.failures
    )
    if held is not None:
        status = replace(status, held=HeldStatus(held.report.version, entry.held_size, held.shrink, held.fetched_at))
    if stored is None:
        return status
    age = max(0.0, now - stored.fetched_at)
    return replace(
        status,
        entries=len(stored.compiled),
        skipped=stored.report.skipped,
        refused=stored.report.refused,
        unkept=stored.report.unkept,
        kinds=stored.report.kinds,
        faults=stored.report.faults,
        version=stored.report.version,
        fetched_at=stored.fetched_at,
        age=age,
        stale=age > definition.stale_after,
        serial=stored.serial,
        etag=stored.validators.etag,
    )


def _place_of(error: Exception) -> str:
    """An unforeseen error by its kind and place alone."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"an error of this program ({type(error).__name__}{place}); the list in force stays; please report it"
