"""Lists with their names, for those who publish them: a sealed list's source is read anew, since its names are kept nowhere.

Only a sealed list that the operator publishes all the same comes here. Its names are then in the daemon's memory, as
they are on every resolver; they are in no file, log or answer of the daemon still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from sekisho.drivers.feeds import Feeds
from sekisho.drivers.listsources import Order, Turns, obtain, place_of
from sekisho.drivers.listversions import Identity
from sekisho.lists.guard import select
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList


class Compiled(Protocol):
    """Who knows the lists in force."""

    def compiled(self, definition: ListDefinition) -> CompiledList: ...


class NamedLists:
    """The lists in force, with names."""

    def __init__(self, lists: Compiled, key: Key, clock: Callable[[], float] = time.time) -> None:
        self._lists = lists
        self._key = key
        self._clock = clock
        self._turns = Turns()

    def compiled(self, definition: ListDefinition) -> CompiledList:
        return self._lists.compiled(definition)

    async def named(self, definition: ListDefinition, compiled: CompiledList) -> CompiledList:
        """What is in force of a list, with its names. Raises FeedError, without a name, if a sealed list's source cannot be read."""
        if not definition.sealed or not len(compiled):
            return compiled
        named = replace(definition, sealed=False)
        order = Order(named, Identity.of(named, self._key), self._key, frozenset(), self._clock(), whole=True)
        try:
            async with Feeds() as feeds:
                stored = await obtain(order, feeds, self._clock, self._turns)
        except FeedError:
            raise
        except Exception as error:  # noqa: BLE001 - the text of whatever it is may be the list's
            raise FeedError(f"list {definition.id}: {place_of(error)}") from None
        if stored is None:
            return compiled
        return await asyncio.to_thread(_in_force, stored.compiled, compiled)


def _in_force(named: CompiledList, compiled: CompiledList) -> CompiledList:
    """Of a source's entries those that are in force: guards and held versions count here too."""
    at = np.minimum(np.searchsorted(compiled.digests[:, 0], named.digests[:, 0]), len(compiled) - 1)
    return select(named, (compiled.digests[at] == named.digests).all(axis=1))
