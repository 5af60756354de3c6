"""The snapshot in force and the next one: gathered, built in a thread, written, kept for a fast start.

Owns which snapshot says what is in force. Not when one is wanted, nor the customers that come in force with it
(`control_tables`), nor what it is built of (`control_inputs`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from sekisho.app.control_enforcement import garden_of
from sekisho.app.control_inputs import Compiled, Inputs, exemptions, fingerprint, make
from sekisho.app.control_people import People
from sekisho.app.control_saved import SavedSnapshot
from sekisho.drivers.tablereader import PlaneObservation
from sekisho.drivers.tables import TableWriter
from sekisho.ledger.state import State
from sekisho.model.errors import TableError
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.sections import renumber

log = structlog.get_logger("sekisho.control")

TAKEN_WITHIN = 5.0
"""Seconds the plane has to take a snapshot before what waits for it goes on."""
_TAKEN_POLL = 0.002


class Watched(Protocol):
    """Who knows what the plane answers by."""

    def observe(self) -> PlaneObservation: ...


@dataclass(frozen=True, slots=True)
class Published:
    """The snapshot in force. `built_at` is UNIX seconds; `seconds` what building it took."""

    epoch: int = 0
    built_at: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Staged:
    """A snapshot that is to come in force with its customers. `data`: to be kept; None if it is on disk already."""

    inputs: Inputs
    data: bytearray | None
    seconds: float
    is_written: bool = True
    """False: it is the one in force."""


class Snapshots:
    """The snapshots of one control plane. `saved` is the last good one, kept for a fast start."""

    def __init__(self, writer: TableWriter, plane: Watched, state: State, lists: Compiled, key: Key, saved: SavedSnapshot) -> None:
        self.published = Published()
        self._writer = writer
        self._plane = plane
        self._state = state
        self._lists = lists
        self._key = key
        self._saved = saved
        self._compiled: dict[str, CompiledList] = {}
        self._profiles = 0

    def has(self, profile: int) -> bool:
        """Whether a combination of terms, by its number, is in the snapshot in force."""
        return profile < self._profiles

    def is_behind(self, people: People) -> bool:
        """Whether another version of some list is there than the snapshot in force was built of."""
        return any(self._lists.compiled(one) is not self._compiled.get(one.id) for one in people.lists)

    async def is_kept(self, people: People) -> bool:
        """Whether the snapshot on disk says what is in force now."""
        inputs = self._inputs(people)
        return await asyncio.to_thread(fingerprint, inputs) == self._saved.fingerprint()

    async def finish(self) -> None:
        """Wait until the last snapshot is on disk."""
        await self._saved.finish()

    async def publish(self, people: People, now: float) -> None:
        """Put another snapshot in force; customers stay as they are."""
        inputs = self._inputs(people)
        began = time.monotonic()
        data = await asyncio.to_thread(make, inputs)
        took = time.monotonic() - began
        await asyncio.to_thread(written, lambda: self._writer.publish_snapshot(data, inputs.epoch))
        self.enter(Staged(inputs, data, took), now)

    async def stage(self, people: People, *, fast: bool) -> Staged:
        """Write a snapshot that is to come in force with its customers; `fast`: the kept one, if it says what is in force now."""
        inputs = self._inputs(people)
        began = time.monotonic()
        if fast and self._saved.in_force is not None and self._saved.in_force == await asyncio.to_thread(fingerprint, inputs):
            return Staged(replace(inputs, epoch=self._writer.epoch), None, 0.0, is_written=False)
        kept = await self._saved.read(lambda: fingerprint(inputs)) if fast else None
        if kept is not None:
            renumber(kept, inputs.epoch)
        data = kept if kept is not None else await asyncio.to_thread(make, inputs)
        took = time.monotonic() - began
        await asyncio.to_thread(written, lambda: self._writer.stage_snapshot(data, inputs.epoch))
        return Staged(inputs, data if kept is None else None, took)

    def enter(self, staged: Staged, now: float) -> None:
        """A snapshot is in force."""
        inputs = staged.inputs
        self.published = Published(inputs.epoch, now, staged.seconds)
        self._compiled = {definition.id: compiled for definition, compiled in inputs.lists}
        self._profiles = len(inputs.profiles)
        entries = sum(len(compiled) for _, compiled in inputs.lists)
        log.info("snapshot-published", epoch=inputs.epoch, lists=len(inputs.lists), entries=entries, seconds=round(staged.seconds, 3))
        if staged.data is not None:
            self._saved.keep(staged.data, lambda: fingerprint(inputs))

    async def taken(self) -> None:
        """Wait until the plane answers by the snapshot in force; not for a plane that does not run, refuses it, or is too slow."""
        epoch, end = self.published.epoch, time.monotonic() + TAKEN_WITHIN
        while time.monotonic() < end:
            seen = self._plane.observe()
            if not seen.workers_alive or max(seen.epoch, seen.refused_epoch) >= epoch:
                return
            await asyncio.sleep(_TAKEN_POLL)
        log.warning("plane-behind", epoch=epoch)

    def _inputs(self, people: People) -> Inputs:
        epoch = max(self._writer.epoch, self.published.epoch) + 1
        lists = tuple((definition, self._lists.compiled(definition)) for definition in people.lists)
        return Inputs(
            epoch,
            lists,
            people.profiles,
            exemptions(people.lists, self._state.exceptions),
            self._key,
            tuple(people.grounds),
            garden_of(people.site.settings),
        )


def written(step: Callable[[], None]) -> None:
    """Do a step that writes shared files; a disk that does not take them is told in a sentence."""
    try:
        step()
    except OSError as error:
        raise TableError(f"the tables cannot be written ({error.strerror}); see that the runtime folder has room") from error
