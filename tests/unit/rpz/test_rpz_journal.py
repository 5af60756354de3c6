"""What changed between versions, and zones that tell it."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.rpz.journal import LEAST, MAX_VERSIONS, Change, Journal, condense
from sekisho.rpz.zone import Few, Timers, Zone

ORIGIN = b"\x03rpz\x04test\0"


def record(number: int) -> bytes:
    return b"\x04" + str(number).zfill(4).encode() + b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\1\0"


@given(st.lists(st.sets(st.integers(0, 8)), min_size=2, max_size=8), st.data())
def test_a_difference_from_any_version_leads_to_the_newest(versions: list[set[int]], data: st.DataObject) -> None:
    journal = Journal()
    for serial, (before, after) in enumerate(itertools.pairwise(versions)):
        change = Change(tuple(map(record, sorted(before - after))), tuple(map(record, sorted(after - before))))
        journal.add(serial, change, len(after))
    start = data.draw(st.integers(0, len(versions) - 2))
    change = journal.since(start)
    assert change is not None
    had, wanted = set(map(record, versions[start])), set(map(record, versions[-1]))
    assert set(change.removed) <= had, "nothing is taken away that was not there"
    assert not set(change.added) & had, "nothing is added that was there"
    assert (had - set(change.removed)) | set(change.added) == wanted
    assert len(change.removed) == len(set(change.removed))


def test_back_and_forth_is_no_difference() -> None:
    there = Change((), (record(1),))
    gone = Change((record(1),), ())
    assert len(condense([there, gone, there, gone])) == 0


def test_a_journal_forgets_the_oldest_and_says_so() -> None:
    journal = Journal()
    for serial in range(MAX_VERSIONS + 10):
        journal.add(serial, Change((), (record(serial),)), 0)
    assert journal.since(5) is None
    assert journal.since(10) is not None
    journal.add(MAX_VERSIONS + 10, Change((), tuple(map(record, range(LEAST)))), 0)
    assert len(journal) <= LEAST
    assert journal.since(MAX_VERSIONS + 9) is None


@given(st.lists(st.sets(st.integers(0, 8)), min_size=1, max_size=8))
def test_a_packed_journal_says_the_same_differences(versions: list[set[int]]) -> None:
    journal = Journal()
    for serial, (before, after) in enumerate(itertools.pairwise(versions)):
        journal.add(serial, Change(tuple(map(record, before - after)), tuple(map(record, after - before))), 100)
    kept = Journal.unpack(journal.pack())
    assert len(kept) == len(journal)
    assert [kept.since(serial) for serial in range(9)] == [journal.since(serial) for serial in range(9)]


def test_a_packed_journal_holds_the_newest_changes_and_no_more_than_so_many() -> None:
    journal = Journal()
    for serial in range(10):
        journal.add(serial, Change((record(serial),), (record(100 + serial),)), 0)
    kept = Journal.unpack(journal.pack(7))
    assert len(kept) == 6
    assert kept.since(6) is None
    assert kept.since(7) == journal.since(7)
    assert len(Journal.unpack(journal.pack(1))) == 0


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:-5], lambda packed: packed[:8] + b"\xff" + packed[9:], lambda _: b"", lambda _: b"x"]
)
def test_a_damaged_journal_is_none(damage: Callable[[bytes], bytes]) -> None:
    journal = Journal()
    journal.add(1, Change((), (record(1), record(2))), 0)
    with pytest.raises(ValueError, match="damaged"):
        Journal.unpack(damage(journal.pack()))
    with pytest.raises(ValueError, match="damaged"):
        Journal.unpack(zlib.compress(zlib.decompress(journal.pack())[:-1]))


def serials(runs: object) -> list[int]:
    found = []
    for _, octets in runs:  # type: ignore[attr-defined]
        position = 0
        while (position := octets.find(b"\x09localhost\0\x0ahostmaster", position)) >= 0:
            at = position + 22 + len(ORIGIN)
            found.append(int.from_bytes(octets[at : at + 4], "big"))
            position += 1
    return found


def test_a_transfer_has_the_soa_where_the_rfcs_want_it() -> None:
    """RFC 5936 section 2.2: first and last; RFC 1995 section 4: new, old, deletions, new, additions, new."""
    zone = Zone(ORIGIN, "rpz.test", Timers(), 7, Few())
    change = Change((), tuple(map(record, range(5))))
    zone.content.change(change)  # type: ignore[attr-defined]
    zone.put(zone.content, change, 8)
    assert serials(zone.whole()) == [8, 8]
    runs = zone.since(7)
    assert runs is not None
    assert serials(runs) == [8, 7, 8, 8]
    assert zone.since(6) is None


def test_a_transfer_under_way_is_of_the_version_it_began_with() -> None:
    zone = Zone(ORIGIN, "rpz.test", Timers(), 7, Few())
    zone.content.change(Change((), tuple(map(record, range(4000)))))  # type: ignore[attr-defined]
    runs = zone.whole()
    next(runs)
    zone.content.change(Change(tuple(map(record, range(4000))), ()))  # type: ignore[attr-defined]
    assert sum(count for count, _ in runs) == 4001
