"""Tables kept over a restart of the machine: in force again at once if everything is as it was, and left alone if not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time

import pytest

from sekisho.app import control_daemon
from sekisho.app.control_daemon import running
from sekisho.app.control_standing import emergency_clauses
from sekisho.drivers import kepttables
from sekisho.drivers.kepttables import KeptTables
from sekisho.drivers.maps import Head, map_customers, map_snapshot
from sekisho.drivers.site import load_site
from sekisho.model.errors import RefusedError, TableError
from sekisho.snapshot import layout
from sekisho.snapshot.people import fields_of
from unit.control.sites import ACTOR, run, verdict

C2 = 1
"""The bit of the list c2 in a mask."""


def restore(folder, now=None):
    """What a machine that starts puts in force, as the fingerprint of the snapshot."""
    return KeptTables(folder.path / "state", folder.path / "run/plane").restore(folder.config, time.time() if now is None else now)


def power_off(folder):
    """What is in memory alone is gone."""
    shutil.rmtree(folder.path / "run")


def masks(folder):
    """Lists in force by customer, in the tables in force."""
    plane = folder.path / "run/plane"
    head = Head(plane)
    map_snapshot(plane, head.epoch)
    customers = map_customers(plane, head.generation)
    rows = fields_of(customers.tables.rows, layout.ROW)
    return {customers.name(row): int(rows["mask"][row]) for row in range(len(rows)) if customers.name(row)}


async def opt_out(control, customer, **more):
    await control.add_opt_out(customer, "c2", **({"until": None, "by": None, "actor": ACTOR} | more))


async def never(*_):
    """In the place of what an end broke off."""
    raise asyncio.CancelledError


@pytest.fixture
def ended(folder):
    """A site whose daemon ended in order, on a machine that was switched off then; c-1 had opted out."""

    async def scenario(control):
        await opt_out(control, "c-1")

    run(folder, scenario)
    power_off(folder)
    return folder


def test_what_was_in_force_is_in_force_again_before_anything_is_loaded(ended):
    assert restore(ended) == (ended.path / "state/snapshot").read_bytes()[-32:].decode()
    found = masks(ended)
    assert (found["c-1"] & C2, found["c-2"] & C2) == (0, C2)
    assert (Head(ended.path / "run/plane").epoch, Head(ended.path / "run/plane").generation) == (1, 1)


def test_what_is_loaded_then_takes_its_place_and_nobody_changes_rows(ended, monkeypatch):
    restored = restore(ended)
    plane = ended.path / "run/plane"
    before = map_customers(plane, 1)
    monkeypatch.setattr("sekisho.app.control_inputs.build", None)  # nothing is built anew

    async def main():
        from sekisho.app.control_base import in_force

        async with in_force(load_site(ended.config), restored) as base:
            return base.tables.published.epoch, dict(base.tables.rows)

    epoch, rows = asyncio.run(main())
    assert (epoch, Head(plane).epoch, Head(plane).generation) == (1, 1, 2)
    assert {before.name(row): row for row in range(before.rows) if before.name(row)} == rows


def test_it_is_put_in_force_once(ended):
    """A crash leaves nothing behind that speaks of before it."""
    assert restore(ended) is not None
    power_off(ended)
    assert restore(ended) is None
    assert not (ended.path / "run").exists()


def test_tables_that_are_there_are_left_alone(folder):
    run(folder, lambda control: control.status())
    before = masks(folder)
    plane = folder.path / "run/plane"
    assert restore(folder) is None
    assert (Head(plane).epoch, Head(plane).generation, masks(folder)) == (1, 1, before)


@pytest.mark.parametrize("left", ["hits-0", "counts-128", "snapshot-7", "customers-7"])
def test_nothing_is_put_in_force_beside_what_speaks_of_later(ended, left):
    plane = ended.path / "run/plane"
    plane.mkdir(parents=True)
    (plane / left).write_bytes(b"")
    assert restore(ended) is None
    assert [one.name for one in plane.iterdir()] == [left]


def change_customers(folder):
    path = folder.path / "customers.yaml"
    stamp = path.stat()
    path.write_text(path.read_text("utf-8").replace('"192.0.2.1"', '"192.0.2.9"'), "utf-8")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def change_source(folder):
    (folder.path / "c2.txt").write_text("bot.example.com\n", "utf-8")


def change_ledger(folder):
    path = folder.path / "state/ledger.db"
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def leave_log(folder):
    (folder.path / "state/ledger.db-wal").write_bytes(b"an act that was not yet in the database")


def change_snapshot(folder):
    """As one that was kept later, by a life that ended otherwise."""
    path = folder.path / "state/snapshot"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("change", [change_customers, change_source, change_ledger, leave_log, change_snapshot])
def test_tables_made_of_something_else_are_not_put_in_force(ended, change):
    change(ended)
    assert restore(ended) is None
    assert not (ended.path / "run").exists()


def test_a_list_whose_file_is_gone_stays_in_force(ended):
    """As it does where a start cannot read it."""
    (ended.path / "csam.txt").unlink()
    assert restore(ended) is not None


def test_another_configuration_of_the_same_state_does_not_get_them(ended):
    ended.config = ended.config.rename(ended.path / "other.yaml")
    assert restore(ended) is None


def test_a_list_that_was_not_read_yet_keeps_nothing(folder):
    """A start would read it first."""

    async def scenario(control):
        await control.status()
        ahead = time.time() + 60
        os.utime(folder.path / "c2.txt", (ahead, ahead))

    run(folder, scenario)
    assert not (folder.path / "state/tables").exists()


def test_what_an_end_that_was_killed_left_goes(ended):
    half = ended.path / "state/.tables.4711"
    half.write_bytes(b"half of it")
    assert restore(ended) is not None
    assert not half.exists()


def test_where_not_all_can_be_put_in_force_nothing_is(ended, monkeypatch):
    def full(*_):
        raise TableError("no room")

    monkeypatch.setattr(kepttables, "create_table", full)
    with pytest.raises(TableError, match="no room"):
        restore(ended)
    assert list((ended.path / "run/plane").iterdir()) == []


def test_the_tables_of_another_program_are_not_put_in_force(ended, monkeypatch):
    monkeypatch.setattr(kepttables.sekisho, "__version__", "0")
    assert restore(ended) is None


@pytest.mark.parametrize("name", ["tables", "snapshot"])
def test_a_file_that_is_damaged_is_not_put_in_force(ended, name):
    path = ended.path / "state" / name
    data = bytearray(path.read_bytes())
    data[-90] ^= 1
    path.write_bytes(data)
    with pytest.raises(TableError, match="checksum"):
        restore(ended)
    assert not (ended.path / "run").exists()


def test_nothing_is_put_in_force_that_time_has_changed(folder):
    ends = time.time() + 3600

    async def scenario(control):
        await opt_out(control, "c-1", until=ends)
        await opt_out(control, "c-2", until=ends + 60)

    for now in (time.time() - 3600, ends, ends + 120):
        run(folder, scenario)
        power_off(folder)
        assert restore(folder, now) is None
    run(folder, scenario)
    power_off(folder)
    assert restore(folder, ends - 60) is not None


@pytest.mark.parametrize("kind", ["emergency", "exemption"])
def test_measures_that_end_by_themselves_end_it_too(folder, kind):
    now = time.time()

    async def scenario(control):
        if kind == "emergency":
            clauses = emergency_clauses(control.core.site)[:1]
            await control.start_emergency(clauses=clauses, until=now + 3600, priority=[], reason="flood", actor=ACTOR)
        else:
            await control.exempt("c-1", "gunma/19-2", until=now + 3600, reason="test", actor=ACTOR)

    run(folder, scenario)
    power_off(folder)
    kept = (folder.path / "state/tables").read_bytes()
    assert restore(folder, now + 7200) is None
    (folder.path / "state/tables").write_bytes(kept)
    assert restore(folder, now + 1800) is not None


@pytest.mark.parametrize("act", ["remove", "add", "reload"])
def test_a_change_that_was_broken_off_keeps_nothing(folder, act):
    """It may stand on record, and half of it in the tables."""

    async def scenario(control):
        tables = control.core.tables
        tables.remove = tables.put = tables.replace = never
        record = {"id": "c-9", "terms": "gunma", "prefixes": ["192.0.2.9"]}
        acts = {
            "remove": lambda: control.remove_customer("c-2", actor=ACTOR),
            "add": lambda: control.add_customer(record, replace=False, actor=ACTOR),
            "reload": lambda: control.reload(actor=ACTOR),
        }
        with pytest.raises(asyncio.CancelledError):
            await acts[act]()

    run(folder, scenario)
    assert not (folder.path / "state/tables").exists()


def test_what_was_refused_changed_nothing(folder):
    async def scenario(control):
        with pytest.raises(RefusedError):
            await control.remove_customer("nobody", actor=ACTOR)

    run(folder, scenario)
    assert (folder.path / "state/tables").exists()


def test_a_customer_whose_row_could_not_be_written_keeps_nothing_and_fails_no_end(folder):
    async def scenario(control):
        await opt_out(control, "c-1")
        control.core.tables._writer.remove_customer("c-1")

    run(folder, scenario)
    assert not (folder.path / "state/tables").exists()


def test_what_was_recorded_and_not_carried_out_is_carried_out_before_the_tables_are_kept(folder):
    """An end may come between the two."""

    async def scenario(control):
        tables = control.core.tables
        refresh, tables.refresh_mask = tables.refresh_mask, never
        with pytest.raises(asyncio.CancelledError):
            await opt_out(control, "c-1")
        tables.refresh_mask = refresh

    run(folder, scenario)
    power_off(folder)
    assert restore(folder) is not None
    assert masks(folder)["c-1"] & C2 == 0


def test_tables_of_an_end_that_was_not_in_order_are_not_kept(folder):
    async def broken_off():
        async with running(folder.config, load_site(folder.config)):
            raise RuntimeError

    async def late():
        async with control_daemon.in_force(load_site(folder.config)) as base, control_daemon.running_on(base, folder.config):
            base.is_in_order = False

    for life in (broken_off, late):
        with contextlib.suppress(RuntimeError):
            asyncio.run(life())
        assert not (folder.path / "state/tables").exists()


def test_a_load_that_was_broken_off_is_not_kept(folder):
    async def scenario(control):
        tables = control.core.tables
        load, tables._load_customers = tables._load_customers, never
        with pytest.raises(asyncio.CancelledError):
            await tables.replace(tables.people, time.time())
        tables._load_customers = load

    run(folder, scenario)
    assert not (folder.path / "state/tables").exists()


def test_nothing_is_kept_beside_a_saved_snapshot_of_something_else(folder):
    async def scenario(control):
        await control.core.tables._snapshots.finish()
        change_snapshot(folder)

    run(folder, scenario)
    assert not (folder.path / "state/tables").exists()


def test_who_is_no_customer_any_more_is_not_kept(folder):
    async def scenario(control):
        await control.add_customer({"id": "late-comer", "terms": "gunma", "prefixes": ["192.0.2.77"]}, replace=False, actor=ACTOR)
        await control.remove_customer("late-comer", actor=ACTOR)

    run(folder, scenario)
    assert b"late-comer" in (folder.path / "run/plane/customers-1").read_bytes()
    power_off(folder)
    assert b"late-comer" not in (folder.path / "state/tables").read_bytes()
    restored = restore(folder)
    assert restored is not None
    assert sorted(masks(folder)) == ["c-1", "c-2", "c-3", "c-4", "c-5"]
    assert run(folder, lambda control: verdict(control, "c-2", "c2.example"))[0] == "blocked"
