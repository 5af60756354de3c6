"""Matches on their way from the plane's ring to the record, and out of it again when their time is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import structlog

from sekisho.drivers.matches import MatchStore
from sekisho.drivers.matchrows import NONE, MatchRows, joined
from sekisho.model.clauses import BlockRule, Pack

log = structlog.get_logger("sekisho.control")

DRAIN = 8192
"""Matches taken from a worker's ring at a time: with the pause between two times, what bounds the cost of a flood of
matches. The ring takes what comes faster for a while, and what it has no room for is counted as lost."""
ROUNDS = 16
"""Times the ring is read where all of it is wanted: twice what it can hold."""
WAITING = 65536
"""Matches that wait for a record that cannot be written."""
DEFAULT_RETENTION = 180 * 86400.0
"""Seconds matches of a clause are kept that is in no pack any more, unless the site says less."""


class Ring(Protocol):
    """The plane's ring of matches (`drivers.hitrings.HitRings`)."""

    def drain(self, limit: int) -> tuple[MatchRows, int, int]: ...


class Recorder:
    """Moves matches from the ring into the store. `lost` counts those the ring had no room for."""

    def __init__(self, ring: Ring, store: MatchStore) -> None:
        self._ring = ring
        self._store = store
        self._waiting = NONE
        self.lost = 0

    async def drain(self, retention: Mapping[str, float], *, everything: bool = False) -> int:
        """Move matches from the ring into the store, a bounded number or `everything`; returns how many there were.

        Clauses whose record is kept for no time at all leave nothing.
        """
        total = 0
        for _ in range(ROUNDS if everything else 1):
            found, taken, lost = self._ring.drain(DRAIN)
            self.lost += lost
            if not taken:
                break
            total += taken
            kept = to_keep(found, retention)
            if len(kept.rows):
                self._waiting = joined(self._waiting, kept) if len(self._waiting.rows) else kept
        if len(self._waiting.rows):
            batch, self._waiting = self._waiting, NONE
            try:
                await self._store.record(batch)
            except BaseException:
                # Not written: they wait for the next time, as many as a ring holds.
                kept = joined(batch, self._waiting)
                self._waiting = replace(kept, rows=kept.rows[np.argsort(kept.rows["last"])[-WAITING:]])
                raise
        return total


def to_keep(found: MatchRows, retention: Mapping[str, float]) -> MatchRows:
    """The matches of clauses whose record is kept for some time."""
    kept = np.fromiter((retention.get(clause, 1.0) > 0 for clause in found.clauses), np.bool_, len(found.clauses))
    return found if kept.all() else replace(found, rows=found.rows[kept[found.rows["clause"]]])


def retentions(packs: Iterable[Pack], longest: float | None) -> dict[str, float]:
    """Seconds the matches of each blocking clause are kept; the site may say less than the pack, not more."""
    found: dict[str, float] = {}
    for pack in packs:
        for rule in pack.rules:
            if isinstance(rule, BlockRule):
                kept = rule.record.retention if longest is None else min(rule.record.retention, longest)
                found[rule.clause] = min(kept, found.get(rule.clause, kept))
    return found
