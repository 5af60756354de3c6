"""One list of the daemon: what is in force of it, what failed, when it is fetched next, and how all that is told."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace

import numpy as np

from sekisho.drivers.listversions import NOTHING, Identity, Stored
from sekisho.model.errors import Fault
from sekisho.model.lists import ListDefinition, Trigger

FIRST_RETRY = 5.0
"""Seconds before a failed fetch is tried again; doubled each time, up to the list's `refresh`."""

JITTER = 0.1
"""Share by which waits differ at random, so that many daemons do not ask one source at once."""


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
    addresses: int = 0
    """Of these, prefixes that are looked for in answers."""
    clients: int = 0
    """Of these, prefixes of clients."""
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
class ListEntry:
    """A list of the store, changed by the store alone."""

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

    def failed(self, now: float, error: str) -> None:
        """A fetch failed."""
        self.error, self.failed_at = error, now
        self.failures += 1

    def hold(self, held: Stored) -> None:
        """A version waits for an operator."""
        self.held_size = len(held.compiled)
        self.held = replace(held, compiled=NOTHING)

    def forget_held(self) -> None:
        self.held, self.held_size = None, 0

    def wait(self, now: float) -> float:
        """Seconds until the list is fetched next."""
        refresh = self.definition.refresh
        spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, hides nothing
        if self.failures and self.failed_at is not None:
            pause: float = min(refresh, FIRST_RETRY * 2 ** min(self.failures - 1, 20))
            # A clock set back must not put the next try off for longer than the wait itself.
            return min(max(0.0, self.failed_at + pause * spread - now), pause * (1 + JITTER))
        if self.stored is None or self.stored.identity != self.identity:
            return 0.0
        last = max(self.stored.fetched_at, self.held.fetched_at if self.held else 0.0)
        # Nor the next fetch.
        return min(max(0.0, last + refresh * spread - now), refresh * (1 + JITTER))

    def status(self, now: float) -> ListStatus:
        definition, stored, held = self.definition, self.stored, self.held
        status = ListStatus(
            definition.id, definition.sealed, last_error=self.error or self.deaf, failed_at=self.failed_at, failures=self.failures
        )
        if held is not None:
            status = replace(status, held=HeldStatus(held.report.version, self.held_size, held.shrink, held.fetched_at))
        if stored is None:
            return status
        age = max(0.0, now - stored.fetched_at)
        return replace(
            status,
            entries=len(stored.compiled),
            addresses=int(np.count_nonzero(stored.compiled.triggers & Trigger.ADDRESS)),
            clients=int(np.count_nonzero(stored.compiled.triggers & Trigger.CLIENT)),
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
