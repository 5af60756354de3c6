"""The record of matches: equal ones of a minute in one row, newest first, gone after the retention."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from sekisho.app.control_matches import Recorder, aggregate, retentions
from sekisho.drivers.matches import MatchStore
from sekisho.model.clauses import BlockRule, Clause, Ede, NoticeTime, OptOut, Pack, Record
from sekisho.model.errors import LedgerError
from sekisho.model.events import Match
from sekisho.model.lists import ActionKind

MATCH = Match(1_000_020.0, "c-1", "gunma/別記-1", "c2", "ab" * 16, "nxdomain")


def with_store(path, scenario):
    async def run():
        store = MatchStore.open(path)
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(run())


def test_equal_matches_of_a_minute_are_one_row_with_their_count(tmp_path):
    async def scenario(store):
        await store.record([MATCH, replace(MATCH, at=MATCH.at + 5)])
        await store.record([replace(MATCH, at=MATCH.at + 2, count=3)])
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == [replace(MATCH, at=MATCH.at + 5, count=5)]


def test_the_newest_come_first_and_filters_narrow(tmp_path):
    older, newer = replace(MATCH, at=MATCH.at - 600, customer="c-2"), replace(MATCH, at=MATCH.at + 600, list="own")

    async def scenario(store):
        await store.record([older, MATCH, newer])
        return [
            await store.newest(),
            await store.newest(customer="c-2"),
            await store.newest(list_id="own"),
            await store.newest(since=MATCH.at),
            await store.newest(since=MATCH.at + 1),
            await store.newest(limit=1),
        ]

    assert with_store(tmp_path / "m.db", scenario) == [[newer, MATCH, older], [older], [newer], [newer, MATCH], [newer], [newer]]


def test_matches_survive_a_restart(tmp_path):
    with_store(tmp_path / "m.db", lambda store: store.record([MATCH]))
    assert with_store(tmp_path / "m.db", lambda store: store.newest()) == [MATCH]


def test_a_match_is_purged_after_its_clauses_retention_and_leaves_no_byte(tmp_path):
    """`nbnet/42`: what proves the measure is kept for a period and then purged."""
    other = replace(MATCH, clause="nbnet/21-1", customer="kept-customer")
    gone = replace(MATCH, clause="left/1", customer="gone-customer")

    async def scenario(store):
        await store.record([MATCH, other, gone])
        early = await store.purge({MATCH.clause: 3600.0, other.clause: 7200.0}, 3600.0, MATCH.at + 3500)
        late = await store.purge({MATCH.clause: 3600.0, other.clause: 7200.0}, 3600.0, MATCH.at + 3700)
        return early, late, await store.newest()

    early, late, left = with_store(tmp_path / "m.db", scenario)
    assert (early, late, left) == (0, 2, [other])
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"kept-customer" in held
    assert b"gone-customer" not in held


def test_a_damaged_store_is_told_in_a_sentence(tmp_path):
    (tmp_path / "m.db").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="damaged"):
        MatchStore.open(tmp_path / "m.db")


@dataclass(frozen=True)
class Hit:
    time_ns: int = 60_000_000_000
    customer: str | None = "c-1"
    clause: str | None = "gunma/別記-1"
    list: str | None = "c2"
    first: int = 1
    second: int = 2
    action: ActionKind = ActionKind.NXDOMAIN
    epoch: int = 1
    count: int = 1


def test_hits_of_a_minute_are_counted_and_those_of_the_next_apart():
    hits = [Hit(), Hit(time_ns=60_500_000_000), Hit(time_ns=120_000_000_000), Hit(customer=None)]
    assert aggregate(hits) == [
        Match(60.5, "c-1", "gunma/別記-1", "c2", "00000000000000010000000000000002", "nxdomain", 2),
        Match(120.0, "c-1", "gunma/別記-1", "c2", "00000000000000010000000000000002", "nxdomain", 1),
    ]


class FakeRing:
    def __init__(self, hits, lost=0):
        self.hits, self.lost = hits, lost

    def drain_hits(self, limit):
        taken, self.hits = self.hits[:limit], self.hits[limit:]
        lost, self.lost = self.lost, 0
        return taken, lost


def test_the_ring_is_emptied_into_the_store_and_losses_are_counted(tmp_path):
    async def scenario(store):
        recorder = Recorder(FakeRing([Hit()] * 10_000, lost=7), store)
        drained = await recorder.drain({}, everything=True)
        return drained, recorder.lost, await store.newest()

    drained, lost, found = with_store(tmp_path / "m.db", scenario)
    assert (drained, lost) == (10_000, 7)
    assert [match.count for match in found] == [10_000]


def test_a_clause_that_keeps_nothing_leaves_no_row(tmp_path):
    async def scenario(store):
        await Recorder(FakeRing([Hit()]), store).drain({"gunma/別記-1": 0.0})
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == []


def test_matches_that_could_not_be_written_wait_for_the_next_time(tmp_path):
    class Failing:
        def __init__(self, store):
            self.store, self.fail = store, True

        async def record(self, matches):
            if self.fail:
                raise LedgerError("full")
            await self.store.record(matches)

    async def scenario(store):
        failing = Failing(store)
        recorder = Recorder(FakeRing([Hit()]), failing)
        with pytest.raises(LedgerError):
            await recorder.drain({})
        failing.fail = False
        await recorder.drain({})
        return await store.newest()

    assert len(with_store(tmp_path / "m.db", scenario)) == 1


def block(clause, retention):
    return BlockRule(clause, ("c2",), None, OptOut.CUSTOMER, True, (), NoticeTime.NONE, Ede.FILTERED, Record((), retention))


def test_the_site_may_keep_matches_shorter_than_the_pack_and_not_longer():
    packs = [Pack("gunma", "t", "o", "1", (Clause("gunma/別記-1", "1", "", "", (block("gunma/別記-1", 100.0),)),))]
    assert retentions(packs, None) == {"gunma/別記-1": 100.0}
    assert retentions(packs, 50.0) == {"gunma/別記-1": 50.0}
    assert retentions(packs, 500.0) == {"gunma/別記-1": 100.0}
