"""Matches out of the ring: once each, named by the epoch they are of, losses counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.drivers.hitrings import HitRings
from sekisho.drivers.maps import Head
from sekisho.drivers.matchrows import MatchRows
from sekisho.drivers.sharedfiles import customers_file, snapshot_file
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import Prefix
from sekisho.model.errors import TableError
from sekisho.model.lists import ActionKind
from sekisho.snapshot import layout
from sekisho.snapshot.digest import digest_name
from support.plane import ALLOWED, CLAUSE, KEY, MANDATORY_CLAUSE, PEOPLE, query, wire
from support.published import Site, published


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with published(tmp_path) as one:
        yield one


def told(found: MatchRows) -> list[tuple[str, str, str, int]]:
    """Customer, clause, list and count of each row."""
    return sorted(
        (found.customers[row["customer"]], found.clauses[row["clause"]], found.lists[row["list"]], int(row["count"])) for row in found.rows
    )


def test_rings_without_a_control_plane_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is missing"):
        HitRings(tmp_path)


def test_matches_of_an_epoch_are_named_by_the_lists_of_that_epoch(site: Site) -> None:
    rings = HitRings(site.folder)
    site.worker().ask("second.example")
    site.publish(2, swapped=True)
    site.worker(1).ask("second.example", "sealed.example")
    found, taken, lost = rings.drain(100)
    assert (taken, lost) == (3, 0)
    assert told(found) == [
        ("customer", CLAUSE, "list-0", 1),
        ("customer", CLAUSE, "list-1", 1),
        ("customer", MANDATORY_CLAUSE, "list-0", 1),
    ]


def test_a_match_is_handed_over_once_and_over_a_restart_of_the_control_plane_too(site: Site) -> None:
    site.worker().ask("second.example", "www.example", "sealed.example")
    found, taken, lost = HitRings(site.folder).drain(1)
    assert (told(found), taken, lost) == ([("customer", CLAUSE, "list-0", 1)], 1, 0)
    row = found.rows[0]
    assert (int(row["first"]), int(row["second"])) == digest_name(wire("second.example"), KEY)
    assert row["action"] == ActionKind.NXDOMAIN
    rest, taken, lost = HitRings(site.folder).drain(100)
    assert (told(rest), taken, lost) == ([("customer", MANDATORY_CLAUSE, "list-1", 1)], 1, 0)
    assert HitRings(site.folder).drain(100)[1:] == (0, 0)


def test_equal_matches_of_a_minute_are_one_record_with_their_count(site: Site) -> None:
    worker = site.worker()
    worker.plane.ask(query("second.example"))
    worker.plane.ask(query("www.second.example", "AAAA"))
    worker.plane.ask(query("sealed.example"))
    for row in range(3):
        worker.plane.hits.ring[row, 1] = 60_000_000_000 + row
    worker.plane.ask(query("second.example"))
    worker.plane.hits.ring[3, 1] = 120_000_000_000
    found, _, _ = HitRings(site.folder).drain(100)
    assert sorted((found.lists[row["list"]], int(row["last"]), int(row["count"])) for row in found.rows) == [
        ("list-0", 60_000_000_001, 2),
        ("list-0", 120_000_000_000, 1),
        ("list-1", 60_000_000_002, 1),
    ]


def test_matches_overwritten_before_they_were_taken_are_counted_as_lost(site: Site) -> None:
    worker = site.worker()
    rings = HitRings(site.folder)
    worker.plane.ask(query("second.example"))
    assert rings.drain(100)[1:] == (1, 0)
    # As if the ring had gone round: the reader has taken 1 of RING + 11.
    worker.plane.hits.ring[:, 0] = 0
    for number in range(layout.RING + 1, layout.RING + 11):
        worker.plane.hits.cursor[0] = number
        worker.plane.ask(query("second.example"))
    found, taken, lost = rings.drain(10**6)
    assert (found.queries, taken, lost) == (10, 10, layout.RING)
    assert rings.drain(10**6)[1:] == (0, 0)


def test_a_ring_that_was_made_anew_is_read_from_its_start(site: Site) -> None:
    rings = HitRings(site.folder)
    site.worker().ask("second.example", "second.example", "sealed.example")
    rings.drain(100)
    (site.folder / "hits-0").unlink()
    site.worker().ask("sealed.example")
    found, _, lost = rings.drain(100)
    assert ([one[2] for one in told(found)], lost) == (["list-1"], 0)


def test_matches_are_named_though_several_snapshots_followed_before_they_were_read(site: Site) -> None:
    """As when lists are loaded anew twice in half a second."""
    rings = HitRings(site.folder)
    assert rings.drain(100)[1] == 0
    site.worker().ask("second.example")
    for epoch in (2, 3, 4):
        site.publish(epoch)
    assert not (site.folder / snapshot_file(1)).exists()
    found, taken, lost = rings.drain(100)
    assert (told(found), taken, lost) == ([("customer", CLAUSE, "list-0", 1)], 1, 0)


def test_a_match_of_a_snapshot_that_is_gone_cannot_be_named_and_is_counted_as_lost(site: Site) -> None:
    worker = site.worker()
    worker.ask("second.example")
    for epoch in (2, 3):
        site.publish(epoch)
    worker.take()
    worker.ask("sealed.example")
    found, taken, lost = HitRings(site.folder).drain(100)
    assert (told(found), taken, lost) == ([("customer", MANDATORY_CLAUSE, "list-1", 1)], 2, 1)


def other_rows(site: Site) -> None:
    """A control plane that cannot read the customers' tables of before, as after an upgrade: rows are given out anew."""
    path = site.folder / customers_file(Head(site.folder).generation)
    held = path.read_bytes()
    # Another file of the name: the plane goes on with the one it has mapped.
    path.unlink()
    path.write_bytes(held[:100])
    site.writer = TableWriter(site.folder)
    site.writer.stage_snapshot((site.folder / snapshot_file(1)).read_bytes(), 2)
    rows = [CustomerRow("newcomer", (Prefix.parse("192.0.2.200"),), 0, 0), *PEOPLE]
    site.writer.load_customers(None, rows, [Prefix.parse(ALLOWED)], 10, 2)


def test_a_match_of_a_plane_from_before_an_upgrade_is_nobody_elses(site: Site) -> None:
    """Its rows mean other customers now: whose it was cannot be told any more, and it is counted as lost."""
    worker = site.worker()
    worker.ask("second.example")
    site.files.hits(0)
    other_rows(site)
    worker.ask("sealed.example")
    rings = HitRings(site.folder)
    found, taken, lost = rings.drain(100)
    assert (told(found), taken, lost) == ([], 2, 2)


def test_a_head_made_anew_gives_no_match_twice_and_no_number_again(site: Site) -> None:
    worker = site.worker()
    worker.ask("second.example")
    HitRings(site.folder).drain(100)
    (site.folder / "head").unlink()
    site.writer = TableWriter(site.folder)
    assert (Head(site.folder).epoch, Head(site.folder).generation) == (1, 1)
    assert HitRings(site.folder).drain(100)[1:] == (0, 0)
