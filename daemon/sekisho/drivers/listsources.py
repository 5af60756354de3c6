"""From a list's source to a version of it: fetched or transferred, and compiled.

Owns which of `feeds` and `transfer` an order is for, how many go at a time, and that a source which is no list is refused.
Compiling runs in a thread (compiled code holds no lock of the interpreter). Runs in the daemon, and for
a sealed list in a process of its own (`sealedlists`). When a list is fetched is `liststore`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from sekisho.drivers.feeds import Feeds, Validators, is_local, is_unchanged
from sekisho.drivers.listversions import Base, Identity, Stored
from sekisho.lists.compile import FeedResult, compile_feed
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat
from sekisho.snapshot.digest import Key

FETCHED_AT_ONCE = 8
"""Lists fetched at a time; of each its whole text may be in memory."""
COMPILED_AT_ONCE = 2
"""Lists compiled at a time: each takes a core and a multiple of its text."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a list's source, with all that it takes."""

    definition: ListDefinition
    identity: Identity
    key: Key
    never_block: frozenset[bytes]
    """Canonical wire names that no list may block."""
    now: float
    """UNIX seconds."""
    known: Validators | None = None
    """Of the version that is there: nothing is wanted if the source still has it."""
    base: Base | None = None
    """Of a zone: the version that is there."""
    whole: bool = False
    """All of it is wanted, changed or not."""


class Turns:
    """Who waits for whom: lists take their turns at being fetched and at being compiled. Belongs to one event loop.

    What was fetched waits for its compiling without giving up its turn, so that no more of them lie in memory. A file of this machine
    is read when it is compiled: sources that are slow do not keep it waiting.
    """

    def __init__(self) -> None:
        self.fetching = asyncio.Semaphore(FETCHED_AT_ONCE)
        self.compiling = asyncio.Semaphore(COMPILED_AT_ONCE)


async def obtain(order: Order, feeds: Feeds, clock: Callable[[], float] = time.time, turns: Turns | None = None) -> Stored | None:
    """The source's version, or None if it says what it said. Raises FeedError."""
    turns = turns or Turns()
    if not is_local(order.definition):
        async with turns.fetching:
            return await _obtain(order, feeds, clock, turns.compiling)
    if order.known is not None and await asyncio.to_thread(is_unchanged, order.definition, order.known):
        return None
    async with turns.compiling:
        return await _obtain(order, feeds, clock, contextlib.nullcontext())


async def _obtain(order: Order, feeds: Feeds, clock: Callable[[], float], compiling: AbstractAsyncContextManager[object]) -> Stored | None:
    definition, key = order.definition, order.key
    if definition.format is ListFormat.AXFR:
        # dnspython takes long to import, and only transferred lists need it.
        from sekisho.drivers.transfer import transfer  # noqa: PLC0415

        zone = await transfer(
            definition, key, order.base, never_block=order.never_block, full=order.whole, clock=clock, compiling=compiling
        )
        return None if zone is None else replace(_stored(zone.result, order), serial=zone.serial)
    fetched = await feeds.fetch(definition, order.known)
    if fetched is None:
        return None
    file = _file_of(definition)
    async with compiling:
        result = await asyncio.to_thread(compile_feed, definition, fetched.data, key, file=file, never_block=order.never_block)
    if not result.report.entries and result.report.skipped and not result.report.refused:
        lines = result.report.skipped
        raise FeedError(f"none of its {lines} lines is an entry of format {definition.format}; check source and format of the list")
    return replace(_stored(result, order), validators=fetched.validators)


def _stored(result: FeedResult, order: Order) -> Stored:
    return Stored(result.compiled, result.report, order.identity, order.now)


def _file_of(definition: ListDefinition) -> str:
    """What faults of a feed are reported under: the file's name, or the id of a list that is fetched."""
    return definition.id if "://" in definition.source else definition.source


def place_of(error: Exception) -> str:
    """An unforeseen error by its kind and place alone: its text may be a sealed list's."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"an error of this program ({type(error).__name__}{place}); the list in force stays; please report it"
