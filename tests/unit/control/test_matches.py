"""The record of matches: equal ones of a minute in one row, newest first, gone after the retention."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.app.control_matches import Recorder, retentions
from sekisho.drivers.matches import ALONE, FULL, MatchStore
from sekisho.drivers.matchrows import NONE, ROW, MatchRows, joined, merged
from sekisho.model.clauses import BlockRule, Clause, Ede, NoticeTime, OptOut, Pack, Record
from sekisho.model.errors import LedgerError
from sekisho.model.events import Match
from sekisho.model.lists import ActionKind

MATCH = Match(1_000_020.0, "c-1", "gunma/別記-1", "c2", "ab" * 16, "nxdomain")


def rows_of(*matches):
    """Matches as the columns they are recorded from."""
    names = [tuple(sorted({getattr(match, part) for match in matches})) for part in ("customer", "clause", "list")]
    rows = np.zeros(len(matches), ROW)
    for row, match in zip(rows, matches, strict=True):
        row["last"], row["count"], row["action"] = round(match.at * 1e9), match.count, ActionKind[match.action.upper()]
        row["first"], row["second"] = int(match.entry[:16], 16), int(match.entry[16:], 16)
        row["customer"], row["clause"], row["list"] = (
            names[0].index(match.customer), names[1].index(match.clause), names[2].index(match.list),
        )  # fmt: skip
    return MatchRows(rows, *names)


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
        await store.record(rows_of(MATCH, replace(MATCH, at=MATCH.at + 5)))
        await store.record(rows_of(replace(MATCH, at=MATCH.at + 2, count=3)))
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == [replace(MATCH, at=MATCH.at + 5, count=5)]


def test_the_newest_come_first_and_filters_narrow(tmp_path):
    older, newer = replace(MATCH, at=MATCH.at - 600, customer="c-2"), replace(MATCH, at=MATCH.at + 600, list="own")

    async def scenario(store):
        await store.record(rows_of(older, MATCH, newer))
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
    with_store(tmp_path / "m.db", lambda store: store.record(rows_of(MATCH)))
    assert with_store(tmp_path / "m.db", lambda store: store.newest()) == [MATCH]


def test_a_match_is_purged_after_its_clauses_retention_and_leaves_no_byte(tmp_path):
    """`nbnet/42`: what proves the measure is kept for a period and then purged."""
    other = replace(MATCH, clause="nbnet/21-1", customer="kept-customer")
    gone = replace(MATCH, clause="left/1", customer="gone-customer")

    async def scenario(store):
        await store.record(rows_of(MATCH, other, gone))
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


def test_a_segment_that_is_full_is_followed_by_another_and_all_are_found(tmp_path):
    many = [replace(MATCH, at=MATCH.at + number / 1000, customer=f"c-{number}") for number in range(FULL + 10)]

    async def scenario(store):
        await store.record(rows_of(*many[:FULL]))
        await store.record(rows_of(*many[FULL:], many[0]))
        found = await store.newest(limit=2 * FULL)
        return sum(match.count for match in found), found[0], await store.newest(customer="c-0"), await store.newest(customer=f"c-{FULL}")

    assert with_store(tmp_path / "m.db", scenario) == (FULL + 11, many[-1], [many[0]] * 2, [many[FULL]])


def test_a_large_batch_is_a_segment_of_its_own_and_small_ones_go_on_with_theirs(tmp_path):
    flood = [replace(MATCH, customer=f"c-{number}") for number in range(ALONE)]

    async def scenario(store):
        for batch in ([MATCH], flood, [MATCH], flood, [MATCH]):
            await store.record(rows_of(*batch))
        segments = store._connection.execute("SELECT count(*) FROM segments").fetchone()[0]
        return segments, [match.count for match in await store.newest(customer="c-1")], len(await store.newest(limit=10_000))

    assert with_store(tmp_path / "m.db", scenario) == (3, [1, 1, 3], 2 * ALONE + 1)


def test_a_customer_is_found_by_the_whole_id_alone(tmp_path):
    others = [replace(MATCH, customer=name) for name in ("c-11", "xc-1", "c-1%", "c_1")]

    async def scenario(store):
        await store.record(rows_of(MATCH, *others))
        return await store.newest(customer="c-1"), await store.newest(customer="c-"), await store.newest(list_id="c")

    assert with_store(tmp_path / "m.db", scenario) == ([MATCH], [], [])


def test_what_comes_after_a_purge_is_not_written_to_what_is_gone(tmp_path):
    async def scenario(store):
        await store.record(rows_of(MATCH))
        await store.purge({}, 0.0, MATCH.at + 120)
        await store.record(rows_of(MATCH))
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == [MATCH]


def test_a_customer_of_a_clause_that_is_kept_longer_leaves_with_the_other_clause(tmp_path):
    other = replace(MATCH, clause="nbnet/21-1", customer="kept-customer")

    async def scenario(store):
        await store.record(joined(rows_of(MATCH), rows_of(other)))
        await store.purge({other.clause: 7200.0}, 60.0, MATCH.at + 3600)
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == [other]
    assert MATCH.customer.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_matches_of_a_minute_are_counted_and_those_of_the_next_apart():
    one = rows_of(MATCH, replace(MATCH, at=MATCH.at + 1), replace(MATCH, at=MATCH.at + 60, count=2)).rows
    found = merged(one)
    assert sorted((int(row["last"]) // 10**9 - int(MATCH.at), int(row["count"])) for row in found) == [(1, 2), (60, 2)]


@given(
    st.lists(
        st.builds(
            replace,
            st.just(MATCH),
            at=st.integers(16_666, 16_669).map(lambda minute: minute * 60.0),
            customer=st.sampled_from(["a", "b", "c"]),
            clause=st.sampled_from(["x/1", "y/2"]),
            list=st.sampled_from(["c2", "own"]),
            entry=st.sampled_from(["ab" * 16, "00" * 15 + "01"]),
            action=st.sampled_from(["nxdomain", "drop"]),
            count=st.integers(1, 5),
        )
    ),
    st.integers(0, 30),
)
def test_joined_and_merged_matches_say_what_a_counter_says(matches, cut):
    joint = joined(joined(NONE, rows_of(*matches[:cut])), rows_of(*matches[cut:]))
    expected = Counter()
    for match in matches:
        expected[replace(match, count=1)] += match.count
    found = Counter()
    for last, first, second, who, count, clause, which, action, _ in joint.rows.tolist():
        entry = f"{first:016x}{second:016x}"
        names = joint.customers[who], joint.clauses[clause], joint.lists[which]
        found[Match(last / 1e9, *names, entry, ActionKind(action).name.lower())] += count
    assert len(joint.rows) == len(expected)
    assert found == expected


class FakeRing:
    """Batches as `HitRings` gives them."""

    def __init__(self, *batches, lost=0):
        self.batches, self.lost = list(batches), lost

    def drain(self, limit):
        lost, self.lost = self.lost, 0
        return (self.batches.pop(0), 1, lost) if self.batches else (NONE, 0, lost)


def test_the_ring_is_emptied_into_the_store_and_losses_are_counted(tmp_path):
    async def scenario(store):
        recorder = Recorder(FakeRing(*[rows_of(replace(MATCH, count=1000))] * 10, lost=7), store)
        drained = await recorder.drain({}, everything=True)
        return drained, recorder.lost, await store.newest()

    drained, lost, found = with_store(tmp_path / "m.db", scenario)
    assert (drained, lost) == (10, 7)
    assert [match.count for match in found] == [10_000]


def test_a_clause_that_keeps_nothing_leaves_no_row(tmp_path):
    other = replace(MATCH, clause="nbnet/21-1")

    async def scenario(store):
        await Recorder(FakeRing(rows_of(MATCH, other)), store).drain({MATCH.clause: 0.0})
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == [other]


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
        recorder = Recorder(FakeRing(rows_of(MATCH)), failing)
        with pytest.raises(LedgerError):
            await recorder.drain({})
        failing.fail = False
        await recorder.drain({})
        return await store.newest()

    assert with_store(tmp_path / "m.db", scenario) == [MATCH]


def block(clause, retention):
    return BlockRule(clause, ("c2",), None, OptOut.CUSTOMER, True, (), NoticeTime.NONE, Ede.FILTERED, Record((), retention))


def test_the_site_may_keep_matches_shorter_than_the_pack_and_not_longer():
    packs = [Pack("gunma", "t", "o", "1", (Clause("gunma/別記-1", "1", "", "", (block("gunma/別記-1", 100.0),)),))]
    assert retentions(packs, None) == {"gunma/別記-1": 100.0}
    assert retentions(packs, 50.0) == {"gunma/別記-1": 50.0}
    assert retentions(packs, 500.0) == {"gunma/別記-1": 100.0}
