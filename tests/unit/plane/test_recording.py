"""What a query leaves behind: counts for all, a record for a match, nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from sekisho.model.counters import Counter
from sekisho.model.lists import ActionKind
from sekisho.snapshot import layout
from sekisho.snapshot.digest import digest_name
from support.plane import BUDGET, CUSTOMER, GROUNDS, KEY, OPTED_OUT, STRANGER, UNCOMPILED, Plane, query, wire

pytestmark = UNCOMPILED

FIRST = len(GROUNDS)
"""The number of the first clause that blocks: those of measures come before it."""


def test_gunma_29_nbnet_42_a_query_that_matched_nothing_leaves_counts_and_no_other_trace() -> None:
    with Plane() as plane:
        for source in (CUSTOMER, OPTED_OUT, STRANGER):
            plane.ask(query("marked-name.example"), source)
        assert not plane.hits.ring.any()
        assert not plane.hits.cursor.any()
        assert not plane.counts.lists.any()
        assert not plane.counts.rules.any()
        assert plane.counts.customers.sum(axis=0).tolist() == [2, 0, 0, 0]


def test_gunma_beppyo_3_for_who_opted_out_no_match_is_computed() -> None:
    with Plane() as plane:
        plane.ask(query("second.example"), OPTED_OUT)
        assert plane.total(Counter.HITS) == 0
        assert not plane.hits.ring.any()


def test_a_match_is_recorded_with_customer_clause_list_and_entry_and_without_the_name() -> None:
    with Plane() as plane:
        plane.epoch = 6
        plane.ask(query("WWW.sub.Second.example", "AAAA"))
        row = [int(word) for word in plane.hits.ring[0]]
        assert (row[0], int(plane.hits.cursor[0])) == (1, 1)
        assert (row[2] & 0xFFFFFFFF, row[2] >> 32 & 0xFFFF, row[2] >> 48) == (1, FIRST, 1)
        assert (row[3], row[4]) == digest_name(wire("second.example"), KEY), "the entry, which is not the name asked"
        assert (row[5] & 0xFFFF, row[5] >> 16 & 0xFF, row[5] >> 24 & 0xFF, row[5] >> 32) == (28, ActionKind.NXDOMAIN, 0, 6)
        assert b"sub" not in plane.hits.ring.tobytes()
        assert plane.counts.customers[1].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("epoch", [7, 8])
def test_matches_are_counted_in_the_half_of_their_epoch(epoch: int) -> None:
    with Plane() as plane:
        plane.epoch = epoch
        plane.ask(query("second.example"))
        plane.ask(query("sealed.example"))
        assert plane.counts.lists[epoch & 1, :3].tolist() == [0, 1, 1]
        assert plane.counts.rules[epoch & 1, FIRST : FIRST + 2].tolist() == [1, 1]
        assert not plane.counts.lists[1 - (epoch & 1)].any()


def test_passthru_is_no_match_on_the_record() -> None:
    with Plane() as plane:
        plane.ask(query("pass.example"))
        assert (plane.total(Counter.PASSTHRU), plane.total(Counter.HITS), plane.steps()) == (1, 0, {"forward": 1})


def test_a_full_ring_overwrites_its_oldest_and_never_waits() -> None:
    with Plane() as plane:
        plane.hits.cursor[0] = layout.RING - 1
        for name in ("second.example", "sealed.example"):
            plane.ask(query(name))
        assert int(plane.hits.ring[layout.RING - 1, 0]) == layout.RING
        assert int(plane.hits.ring[0, 0]) == layout.RING + 1
        assert int(plane.hits.cursor[0]) == layout.RING + 1


def test_a_customer_added_after_the_counts_were_made_is_served_and_not_counted() -> None:
    """Until the worker takes its larger file; no index goes past the end."""
    with Plane() as plane:
        small = layout.empty_counts(1)
        plane.counts = layout.Counts(**small)  # type: ignore[arg-type]
        plane.buckets = np.zeros(1, np.uint64)
        assert plane.ask(query("second.example")) is not None
        assert plane.ask(query("www.example"), BUDGET) is None
        assert plane.counts.customers.sum() == 0
        assert plane.steps() == {"entitled": 1, "forward": 1}


def test_every_packet_ends_at_exactly_one_step() -> None:
    with Plane() as plane:
        names = ("second.example", "drop.example", "sealed.example", "www.example", "pass.example")
        for _ in range(3):
            for source in (CUSTOMER, OPTED_OUT, STRANGER, BUDGET):
                for name in names:
                    plane.ask(query(name), source)
        plane.ask(b"")
        plane.ask(query("a.example", "AXFR"))
        plane.ask(query("www.example"), "2001:db8:1::1")
        assert sum(plane.steps().values()) == 63
        assert (plane.total(Counter.QUERIES_UDP4), plane.total(Counter.QUERIES_UDP6)) == (62, 1)
