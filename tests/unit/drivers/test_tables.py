"""The control plane's tables: customers in place, generations, rows that last, and what a damaged file does."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.drivers.durable import write_file
from sekisho.drivers.maps import Head, MappedCustomers, map_customers, map_snapshot
from sekisho.drivers.sharedfiles import HEAD, create_table, customers_file, map_table, snapshot_file
from sekisho.drivers.tablerows import SHARED, BulkRows, CustomerRow, Lent
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError, TableError
from sekisho.plane.addresses import find_customer
from sekisho.sessions.columns import code_of
from sekisho.snapshot import layout
from sekisho.snapshot.build import build
from sekisho.snapshot.digest import key_of
from sekisho.snapshot.people import fields_of, fill, find_slot
from sekisho.snapshot.sections import Kind
from support.plane import KEY, address


def row(name: str, *prefixes: str, mask: int = 1, profile: int = 0, rate: int = 0) -> CustomerRow:
    return CustomerRow(name, tuple(Prefix.parse(one) for one in prefixes), mask, profile, budget_rate=rate, budget_burst=rate)


def people(folder: Path) -> MappedCustomers:
    return map_customers(folder, Head(folder).generation)


def owner(folder: Path, text: str) -> str | None:
    """Who has an address; "allowed" for the operator's networks."""
    customers = people(folder)
    number = int(find_customer(customers.tables.view, *address(text)))
    if number < 0 or not standing(customers)["flags"][number] & layout.ACTIVE:
        return None
    return customers.name(number) or "allowed"


def standing(customers: MappedCustomers) -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
    return fields_of(customers.tables.rows, layout.ROW)


def mask_of(folder: Path, text: str) -> int:
    customers = people(folder)
    return int(standing(customers)["mask"][find_customer(customers.tables.view, *address(text))])


@pytest.fixture
def writer(tmp_path: Path) -> TableWriter:
    """Three customers and an allowed network."""
    one = TableWriter(tmp_path)
    rows = [row("a", "192.0.2.0/28"), row("b", "192.0.2.128/25", "2001:db8:b::/48", mask=3), row("c", "198.51.100.1", rate=7)]
    one.replace_customers(rows, [Prefix.parse("203.0.113.0/24")], 3)
    return one


def test_the_ids_of_many_rows_are_those_of_each(writer: TableWriter, tmp_path: Path) -> None:
    writer.put_customer(row("dé-4", "198.51.100.9"))
    customers = people(tmp_path)
    asked = np.array([3, 0, 0, 1, 2, 4, 5, 99], np.int64)
    found = customers.names(asked)
    assert found == [customers.name(number) for number in asked.tolist()]
    assert set(found) == {"a", "b", "c", "dé-4", None}
    assert customers.names(asked[:0]) == []


def test_rows_of_no_customers_have_no_ids(tmp_path: Path) -> None:
    TableWriter(tmp_path).replace_customers([], [], 0)
    assert people(tmp_path).names(np.zeros(2, np.int64)) == [None, None]


def test_customers_are_found_by_every_prefix_of_theirs(writer: TableWriter, tmp_path: Path) -> None:
    found = {
        text: owner(tmp_path, text)
        for text in ("192.0.2.15", "192.0.2.16", "192.0.2.200", "2001:db8:b:1::9", "198.51.100.1", "198.51.100.2", "203.0.113.9")
    }
    assert found == {
        "192.0.2.15": "a", "192.0.2.16": None, "192.0.2.200": "b", "2001:db8:b:1::9": "b", "198.51.100.1": "c", "198.51.100.2": None, "203.0.113.9": "allowed",
    }  # fmt: skip
    tables = standing(people(tmp_path))
    assert (int(tables["rate"][3]), int(tables["burst"][3]), int(tables["mask"][2])) == (7, 7, 3)
    assert int(tables["flags"][layout.ALLOWED]) & layout.NETWORK


def test_gunma_beppyo_3_an_opt_out_is_one_store_that_mapped_readers_see(writer: TableWriter, tmp_path: Path) -> None:
    """At any time, with no other clause of the contract changed: no file is made, no reader maps anew."""
    mapped = people(tmp_path)
    generation = mapped.generation
    writer.set_mask("b", 1)
    assert int(standing(mapped)["mask"][2]) == 1
    assert Head(tmp_path).generation == generation


def test_a_shared_address_is_nobodys_within_a_customers_prefix_and_allowed_where_it_was(writer: TableWriter, tmp_path: Path) -> None:
    def answers(text: str) -> bool:
        mapped = people(tmp_path)
        number = int(find_customer(mapped.tables.view, *address(text)))
        return number >= 0 and bool(int(standing(mapped)["flags"][number]) & layout.ACTIVE)

    inside, allowed = Prefix.parse("192.0.2.3"), Prefix.parse("203.0.113.9")
    assert writer.give([(inside, SHARED), (allowed, SHARED)])
    assert [answers(text) for text in ("192.0.2.2", "192.0.2.3", "192.0.2.4", "203.0.113.9")] == [True, False, True, True]
    again = TableWriter(tmp_path)
    rows = [row("a", "192.0.2.0/28"), row("b", "192.0.2.128/25")]
    again.load_customers(None, rows, [Prefix.parse("203.0.113.0/24")], 2, None, Lent((), (), [code_of(inside), code_of(allowed)]))
    assert [answers(text) for text in ("192.0.2.2", "192.0.2.3", "203.0.113.9")] == [True, False, True]
    assert again.row_of("a") == writer.row_of("a"), "no row was given out twice"
    again.put_customer(row("new", "198.51.100.9"))
    assert len(set(again.rows.values())) == len(again.rows)
    again.give([(inside, None)])
    assert owner(tmp_path, "192.0.2.3") == "a", "it is shared no more"


def test_measures_come_and_go_at_once_and_leave_lists_profile_and_prefixes(writer: TableWriter, tmp_path: Path) -> None:
    mapped = people(tmp_path)
    writer.put_customer(row("c", "198.51.100.1", mask=5, profile=3, rate=7))
    before = standing(mapped)[3].copy()
    told = CustomerRow("c", (), 0, 9, budget_rate=2, budget_burst=4, silenced=True, garden=True, measure=17, limiter=0xFFFE)
    writer.set_standing(told)
    found = standing(mapped)[3]
    assert int(found["flags"]) == layout.ACTIVE | layout.SILENCED | layout.GARDEN
    assert (int(found["rate"]), int(found["burst"]), int(found["measure"]), int(found["limiter"])) == (2, 4, 17, 0xFFFE)
    assert (int(found["mask"]), int(found["profile"]), int(found["first"])) == (5, 3, int(before["first"])), "not what a measure is about"
    writer.set_standing(row("c", rate=7))
    assert standing(mapped)[3] == before


def test_a_row_given_out_for_tables_that_are_loaded_meanwhile_is_not_in_those_in_force(writer: TableWriter) -> None:
    writer._numbers.rows["later"] = 1 << 20
    with pytest.raises(RefusedError, match="customer later is not in the tables"):
        writer.set_standing(row("later"))


def test_a_customer_added_is_found_in_tables_already_mapped(writer: TableWriter, tmp_path: Path) -> None:
    mapped = people(tmp_path)
    writer.put_customer(row("d", "198.51.100.64/26", mask=5))
    number = int(find_customer(mapped.tables.view, *address("198.51.100.100")))
    assert (mapped.name(number), int(standing(mapped)["mask"][number])) == ("d", 5)


def test_a_prefix_that_moves_belongs_to_who_took_it_last(writer: TableWriter, tmp_path: Path) -> None:
    writer.put_customer(row("c", "192.0.2.0/28"))
    assert (owner(tmp_path, "192.0.2.1"), owner(tmp_path, "198.51.100.1")) == ("c", None)
    writer.put_customer(row("a", "192.0.2.64/28"))
    assert (owner(tmp_path, "192.0.2.1"), owner(tmp_path, "192.0.2.65")) == ("c", "a"), "who lost it does not take it away again"
    writer.remove_customer("a")
    assert owner(tmp_path, "192.0.2.1") == "c"


def test_a_prefix_a_customer_no_longer_has_falls_back_to_the_longer_ones_and_the_allowed(writer: TableWriter, tmp_path: Path) -> None:
    writer.put_customer(row("e", "203.0.113.0/24", "203.0.113.128/25"))
    assert owner(tmp_path, "203.0.113.200") == owner(tmp_path, "203.0.113.1") == "e"
    writer.put_customer(row("e", "203.0.113.0/24"))
    assert owner(tmp_path, "203.0.113.200") == "e"
    writer.put_customer(row("e"))
    assert owner(tmp_path, "203.0.113.200") == "allowed"


def test_a_customer_removed_is_nobody_and_may_come_back(writer: TableWriter, tmp_path: Path) -> None:
    writer.remove_customer("b")
    assert owner(tmp_path, "192.0.2.200") is None
    for act in (lambda: writer.remove_customer("b"), lambda: writer.set_mask("b", 1), lambda: writer.set_standing(row("b"))):
        with pytest.raises(RefusedError, match="customer b is not in the tables"):
            act()
    writer.put_customer(row("b", "192.0.2.128/25", mask=9))
    assert (owner(tmp_path, "192.0.2.200"), mask_of(tmp_path, "192.0.2.200")) == ("b", 9)
    assert people(tmp_path).name(2) == "b", "in its old row, so that what was counted keeps its meaning"


def test_an_unknown_customer_is_refused(writer: TableWriter) -> None:
    with pytest.raises(RefusedError, match="customer nobody"):
        writer.set_mask("nobody", 1)


def test_before_any_customers_are_loaded_there_is_nothing_to_change(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no customers are loaded"):
        TableWriter(tmp_path).put_customer(row("a"))


def test_a_table_that_is_full_grows_into_the_next_generation(writer: TableWriter, tmp_path: Path) -> None:
    generation = Head(tmp_path).generation
    for number in range(3000):
        writer.put_customer(row(f"new-{number}", f"2001:db8:{number:x}::/48", mask=number))
    assert Head(tmp_path).generation > generation
    for number in (0, 1500, 2999):
        assert (owner(tmp_path, f"2001:db8:{number:x}::1"), mask_of(tmp_path, f"2001:db8:{number:x}::1")) == (f"new-{number}", number)
    # The first b's /48 was given to the customer of number 0xb: everybody else is as before.
    assert [owner(tmp_path, text) for text in ("192.0.2.1", "192.0.2.200", "203.0.113.1")] == ["a", "b", "allowed"]
    assert int(standing(people(tmp_path))["rate"][3]) == 7


def test_a_customer_of_very_many_prefixes_or_a_very_long_id_grows_the_table(writer: TableWriter, tmp_path: Path) -> None:
    writer.put_customer(row("many", *(f"2001:db8:{number:x}::/48" for number in range(4000))))
    writer.put_customer(row("x" * 200_000, "198.51.100.77"))
    assert owner(tmp_path, "2001:db8:f9f::1") == "many"
    assert owner(tmp_path, "198.51.100.77") == "x" * 200_000


def test_a_table_with_room_for_many_customers_keeps_it_when_its_prefixes_run_out(tmp_path: Path) -> None:
    one = TableWriter(tmp_path)
    one.replace_customers([row("a", "192.0.2.0/28", mask=5)], [], 5000)
    one.put_customer(row("b", *(f"2001:db8:{number:x}::/48" for number in range(2, 6000))))
    assert people(tmp_path).rows >= 5000
    assert owner(tmp_path, "2001:db8:1000::1") == "b"
    assert mask_of(tmp_path, "192.0.2.1") == 5


def test_growing_brings_back_no_prefix_that_moved_and_no_customer_who_left(writer: TableWriter, tmp_path: Path) -> None:
    writer.put_customer(row("c", "192.0.2.0/28"))
    writer.remove_customer("b")
    for number in range(3000):
        writer.put_customer(row(f"new-{number}", f"2001:db8:{number:x}::/48"))
    assert [owner(tmp_path, text) for text in ("192.0.2.1", "192.0.2.200", "198.51.100.1")] == ["c", None, None]


def test_rows_are_kept_over_a_restart_of_the_control_plane(writer: TableWriter, tmp_path: Path) -> None:
    writer.put_customer(row("日本", "198.51.100.3"))
    before = {name: people(tmp_path).name(name) for name in range(5)}
    again = TableWriter(tmp_path)
    again.replace_customers([row("new", "198.51.100.9"), row("c", "198.51.100.1"), row("a", "192.0.2.0/28")], [], 3)
    customers = people(tmp_path)
    assert {number: customers.name(number) for number in range(5)} == before
    assert customers.name(5) == "new"
    assert owner(tmp_path, "192.0.2.200") is None, "who is not loaded again is nobody's customer"


def test_a_restart_over_a_damaged_customers_file_starts_anew(writer: TableWriter, tmp_path: Path) -> None:
    path = tmp_path / customers_file(Head(tmp_path).generation)
    path.write_bytes(path.read_bytes()[:100])
    again = TableWriter(tmp_path)
    again.replace_customers([row("z", "192.0.2.1")], [], 1)
    assert owner(tmp_path, "192.0.2.1") == "z"


def test_old_generations_and_snapshots_go_and_the_last_two_stay(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    for epoch in range(1, 6):
        writer.publish_snapshot(build(epoch, [], [], [], KEY), epoch)
        writer.replace_customers([], [], 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["customers-4", "customers-5", "head", "snapshot-4", "snapshot-5"]
    assert (writer.epoch, Head(tmp_path).epoch, Head(tmp_path).generation) == (5, 5, 5)


def test_a_staged_snapshot_comes_in_force_with_its_customers(writer: TableWriter, tmp_path: Path) -> None:
    writer.publish_snapshot(build(1, [], [], [], KEY), 1)
    writer.stage_snapshot(build(2, [], [], [], KEY), 2)
    assert Head(tmp_path).epoch == 1
    writer.replace_customers([row("a")], [], 1, epoch=2)
    assert (Head(tmp_path).epoch, Head(tmp_path).generation) == (2, 2)
    assert (tmp_path / snapshot_file(1)).exists(), "readers of the one before are not cut off"


def test_a_heartbeat_is_told_to_readers(writer: TableWriter, tmp_path: Path) -> None:
    writer.heartbeat(123)
    assert Head(tmp_path).heartbeat == 123


def test_customers_in_bulk_and_one_by_one_give_the_same_tables(tmp_path: Path) -> None:
    rows = [row(f"id-{number}", f"192.0.2.{number}", mask=number % 3, rate=number % 2) for number in range(200)]
    prefixes = [one.prefixes[0] for one in rows]
    groups = {(one.mask, one.budget_rate): one for one in rows}
    kinds = list(groups)
    bulk = BulkRows(
        [one.id for one in rows],
        np.array([kinds.index((one.mask, one.budget_rate)) for one in rows]),
        list(groups.values()),
        np.array([one.value >> 64 for one in prefixes], np.uint64),
        np.array([one.value & (1 << 64) - 1 for one in prefixes], np.uint64),
        np.array([one.length for one in prefixes], np.uint8),
        np.arange(200, dtype=np.uint32),
        frozenset(["id-7"]),
    )
    single = [one for one in rows if one.id != "id-7"]
    TableWriter(tmp_path / "bulk").load_customers(bulk, [], [])
    TableWriter(tmp_path / "single").replace_customers(single, [], 200)
    for number in range(200):
        text = f"192.0.2.{number}"
        assert owner(tmp_path / "bulk", text) == owner(tmp_path / "single", text) == (None if number == 7 else f"id-{number}")
        if number != 7:
            assert mask_of(tmp_path / "bulk", text) == number % 3


ADDRESSES = [f"192.0.2.{last}" for last in range(0, 16, 2)]
PREFIX = st.sampled_from(["192.0.2.0/24", "192.0.2.0/28", "192.0.2.0/29", "192.0.2.8/29", "192.0.2.4/30", "192.0.2.6/32", "192.0.2.8/32"])
ACTS = st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.sets(PREFIX, max_size=3))), max_size=25)


@given(ACTS, st.sets(PREFIX, max_size=2))
def test_any_order_of_additions_moves_and_removals_leaves_what_a_dictionary_says(
    tmp_path_factory: pytest.TempPathFactory, acts: Sequence[tuple[str, set[str] | None]], allow: Iterable[str]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    writer = TableWriter(folder)
    writer.replace_customers([], [Prefix.parse(one) for one in allow], 4)
    owners: dict[str, str] = dict.fromkeys(allow, "allowed")
    known: set[str] = set()
    for name, prefixes in acts:
        held = {one for one, whose in owners.items() if whose == name}
        if prefixes is None:
            if name not in known:
                continue
            known.remove(name)
            writer.remove_customer(name)
        else:
            known.add(name)
            writer.put_customer(row(name, *sorted(prefixes)))
        for one in held - (prefixes or set()):
            owners[one] = "allowed" if one in allow else ""
        owners |= dict.fromkeys(prefixes or (), name)
    for text in ADDRESSES:
        where = ipaddress.ip_address(text)
        found = [
            (ipaddress.ip_network(one).prefixlen, whose) for one, whose in owners.items() if whose and where in ipaddress.ip_network(one)
        ]
        assert owner(folder, text) == (max(found)[1] if found else None)


@given(st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128), st.integers(0, 99)), max_size=60), st.integers(0, 40))
def test_slots_are_found_as_in_a_dictionary(prefixes: list[tuple[int, int, int]], spare: int) -> None:
    model = {(value, length): whose for value, length, whose in prefixes}
    slots = len(model) + spare + 1
    table, rows, present = np.zeros((slots, 4), np.uint64), np.zeros(100 * 4, np.uint64), np.zeros(3, np.uint64)
    addresses, entries = table.reshape(-1), fields_of(table, layout.SLOT)
    columns = (
        np.array([value >> 64 for value, _, _ in prefixes], np.uint64),
        np.array([value & (1 << 64) - 1 for value, _, _ in prefixes], np.uint64),
        np.array([length for _, length, _ in prefixes], np.uint8),
        np.array([whose for _, _, whose in prefixes], np.uint32),
    )
    assert fill(addresses, rows, present, *columns) == len(model)
    for (value, length), whose in model.items():
        slot = find_slot(addresses, np.uint64(value >> 64), np.uint64(value & (1 << 64) - 1), length)
        assert int(entries["owner"][slot]) == whose
        other = find_slot(addresses, np.uint64(value >> 64), np.uint64((value ^ 1) & (1 << 64) - 1), length)
        assert (other >= 0) == ((value ^ 1, length) in model)
        if other < 0:
            assert int(entries["length"][-1 - other]) == 0
    assert {length for length in range(129) if int(present[length >> 6]) >> (length & 63) & 1} == {length for _, length in model}


def test_a_full_table_ends_the_search() -> None:
    addresses = np.full(16, 65, np.uint64)
    assert find_slot(addresses, np.uint64(99), np.uint64(99), 64) == -5


def test_a_snapshot_of_another_key_is_refused(tmp_path: Path) -> None:
    TableWriter(tmp_path).publish_snapshot(build(1, [], [], [], KEY), 1)
    assert map_snapshot(tmp_path, 1, KEY).epoch == 1
    with pytest.raises(TableError, match="another list key"):
        map_snapshot(tmp_path, 1, key_of(b"another key 1234"))


def test_a_missing_an_empty_and_a_damaged_snapshot_are_refused(tmp_path: Path) -> None:
    data = build(1, [], [], [], KEY)
    with pytest.raises(TableError, match="is missing"):
        map_snapshot(tmp_path, 1)
    (tmp_path / snapshot_file(1)).touch()
    with pytest.raises(TableError, match="is empty"):
        map_snapshot(tmp_path, 1)
    for bit in range(8, len(data) * 8, 1013):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        write_file(tmp_path / snapshot_file(1), damaged)
        try:
            found = map_snapshot(tmp_path, 1, KEY).tables
        except TableError:
            continue
        np.testing.assert_array_equal(found.rules, map_snapshot_of(tmp_path, data).rules)


def map_snapshot_of(folder: Path, data: bytearray) -> layout.Snapshot:
    write_file(folder / snapshot_file(99), data)
    return map_snapshot(folder, 99).tables


def test_a_file_is_written_aside_so_that_a_name_never_shows_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write_file(path, b"first", durable=True)
    before = path.stat().st_ino
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["table"]


def test_a_durable_file_is_on_the_disk_before_its_name_shows_it_and_its_name_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "file").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(tmp_path / "file", b"octets", durable=True)
    assert synced == [(False, False), (True, True)]


def test_a_table_mapped_for_reading_cannot_be_written(tmp_path: Path) -> None:
    create_table(tmp_path / HEAD, Kind.HEAD, 1, 0, {"values": np.zeros(4, np.uint64)})
    arrays = map_table(tmp_path / HEAD, Kind.HEAD, 1).arrays
    with pytest.raises(ValueError, match="read-only"):
        arrays["values"][0] = 1
