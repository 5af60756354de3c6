"""Matches on their way from the plane's ring to the record, and out of it again when their time is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from sekisho.drivers.matches import MINUTE, MatchStore
from sekisho.drivers.tablereader import Hit
from sekisho.model.clauses import BlockRule, Pack
from sekisho.model.events import Match
from sekisho.snapshot.digest import entry_id

log = structlog.get_logger("sekisho.control")

DRAIN = 2048
"""Matches taken from a worker's ring at a time: with the pause between two times, what bounds the cost of a flood of
matches. The ring takes what comes faster for a while, and what it has no room for is counted as lost."""
ROUNDS = 64
"""Times the ring is read where all of it is wanted: twice what it can hold."""
DEFAULT_RETENTION = 180 * 86400.0
"""Seconds matches of a clause are kept that is in no pack any more, unless the site says less."""


class Ring(Protocol):
    """The plane's ring of matches, read through the shared tables."""

    def drain_hits(self, limit: int) -> tuple[list[Hit], int]: ...


class Recorder:
    """Moves matches from the ring into the store. `lost` counts those the ring had no room for."""

    def __init__(self, ring: Ring, store: MatchStore) -> None:
        self._ring = ring
        self._store = store
        self._waiting: list[Match] = []
        self.lost = 0

    async def drain(self, retention: Mapping[str, float], *, everything: bool = False) -> int:
        """Move matches from the ring into the store, a bounded number or `everything`; returns how many there were.

        Clauses whose record is kept for no time at all leave no row.
        """
        total = 0
        for _ in range(ROUNDS if everything else 1):
            hits, lost = self._ring.drain_hits(DRAIN)
            self.lost += lost
            if not hits:
                break
            total += sum(hit.count for hit in hits)
            self._waiting += aggregate(hit for hit in hits if retention.get(hit.clause or "", 1.0) > 0)
        if self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._store.record(batch)
            except BaseException:
                # Not written: they wait for the next time, as many as a ring holds.
                self._waiting = (batch + self._waiting)[-65536:]
                raise
        return total


def aggregate(hits: Iterable[Hit]) -> list[Match]:
    """Equal hits of one minute as one match, at the time of the last."""
    counts: Counter[tuple[int, str, str, str, int, int, str]] = Counter()
    last: dict[tuple[int, str, str, str, int, int, str], int] = {}
    for hit in hits:
        if hit.customer is None or hit.clause is None or hit.list is None:
            continue
        minute = hit.time_ns // 1_000_000_000 // MINUTE
        same = (minute, hit.customer, hit.clause, hit.list, hit.first, hit.second, hit.action.name.lower())
        counts[same] += hit.count
        last[same] = max(last.get(same, 0), hit.time_ns)
    return [
        Match(last[same] / 1e9, customer, clause, list_id, entry_id(first, second), action, count)
        for same, count in counts.items()
        for _, customer, clause, list_id, first, second, action in (same,)
    ]


def retentions(packs: Iterable[Pack], longest: float | None) -> dict[str, float]:
    """Seconds the matches of each blocking clause are kept; the site may say less than the pack, not more."""
    found: dict[str, float] = {}
    for pack in packs:
        for rule in pack.rules:
            if isinstance(rule, BlockRule):
                kept = rule.record.retention if longest is None else min(rule.record.retention, longest)
                found[rule.clause] = min(kept, found.get(rule.clause, kept))
    return found
