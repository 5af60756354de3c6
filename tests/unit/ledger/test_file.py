"""Ledgers on a disk that fails: what a power cut tore, what somebody did to the file, what cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat

import pytest
from structlog.testing import capture_logs

from sekisho.drivers import ledgerfile
from sekisho.drivers.audit import LedgerSource, verify
from sekisho.drivers.ledger import Ledger
from sekisho.ledger.chain import Head
from sekisho.model.errors import LedgerError
from sekisho.model.events import OptOutAdded
from unit.ledger.ledgers import ACTOR, chain_of, hurt, opened, opt_outs, write


def verified(path, known=()):
    with LedgerSource(path) as source:
        return [(one.number, one.reason) for one in verify(source, [*known, *source.noted()]).breaks]


def cut_off(path, acts, into):
    """Copies the file as a power cut leaves it: the log as it is, never brought into the database."""

    async def scenario():
        ledger = Ledger.open(path)
        for place, act in enumerate(acts):
            await ledger.append(act, ACTOR, 1000.0 + place)
        for name in (path.name, f"{path.name}-wal"):
            shutil.copyfile(path.with_name(name), into / name)
        await ledger.close()

    asyncio.run(scenario())
    return into / path.name


@pytest.fixture
def torn(tmp_path):
    """A ledger of ten acts, all of them in the write-ahead log, and where each transaction ends there."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "after").mkdir()
    return cut_off(tmp_path / "machine" / "ledger.db", opt_outs(10), tmp_path / "after")


def test_a_log_torn_anywhere_leaves_the_last_whole_event(torn, tmp_path):
    log = ledgerfile.wal_of(torn)
    whole = log.read_bytes()
    wanted = [event.chain for event in chain_of(*opt_outs(10))]
    counts = []
    for place, size in enumerate([*range(0, len(whole), 1777), len(whole)]):
        folder = tmp_path / f"cut-{place}"
        folder.mkdir()
        path = folder / torn.name
        shutil.copyfile(torn, path)
        ledgerfile.wal_of(path).write_bytes(whole[:size])
        with capture_logs() as logs:
            ledger = Ledger.open(path)
        said = [line for line in logs if line["event"] == "ledger-tail-torn"]
        assert len(list(ledger.events())) == ledger.state.number
        counts.append(ledger.state.number)
        frames = (size - 32) / (4096 + 24)
        assert bool(said) == (size > 0 and not (frames == int(frames) and is_whole(whole, int(frames)))), size
        if said:
            assert said[0]["last"] == ledger.state.number
            assert "last whole event" in said[0]["what"]
        asyncio.run(ledger.close())
        assert verified(path) == []
        write(path, [OptOutAdded("after", "c2", "phone")])
        with opened(path) as again:
            assert again.state.number == counts[-1] + 1
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 10
    assert len(wanted) == 10


def is_whole(log, frames):
    """Whether the last of the frames ends a transaction (SQLite file format, 4.1: the size of the database is not 0)."""
    start = 32 + (frames - 1) * (4096 + 24)
    return frames == 0 or int.from_bytes(log[start + 4 : start + 8], "big") > 0


def test_garbage_behind_what_was_synced_costs_nothing_that_was_acknowledged(torn):
    """A transaction was being written when the power went: half of it is on the disk."""
    log = ledgerfile.wal_of(torn)
    whole = log.read_bytes()
    for tail in (whole[-3000:], bytes(5000), whole[32 : 32 + 4120]):
        log.write_bytes(whole + whole[32 : 32 + 24] + tail)
        copy = torn.with_name("copy.db")
        shutil.copyfile(torn, copy)
        shutil.copyfile(log, ledgerfile.wal_of(copy))
        with capture_logs() as logs, opened(copy) as ledger:
            assert ledger.state.number == 10
            assert [line["last"] for line in logs if line["event"] == "ledger-tail-torn"] == [10]
        copy.unlink()


def test_a_ledger_stopped_in_order_is_not_called_torn(tmp_path):
    path = tmp_path / "ledger.db"
    for _ in range(3):
        write(path, opt_outs(40))
    with capture_logs() as logs, opened(path):
        pass
    assert logs == []


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_a_database_that_is_too_short_is_refused_with_what_to_do(tmp_path, share):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(600))
    os.truncate(path, int(path.stat().st_size * share) // 4096 * 4096)
    with pytest.raises(LedgerError, match="sekisho restore"):
        Ledger.open(path)
    with pytest.raises(LedgerError, match="sekisho restore"):
        verified(path)


def test_a_page_overwritten_is_refused_or_found(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(600))
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(os.urandom(4096))
    with pytest.raises(LedgerError, match="sekisho restore"):
        Ledger.open(path)
    assert verified(path)


@pytest.mark.parametrize(
    ("statement", "number", "why"),
    [
        ("DELETE FROM events WHERE number = 20", 20, "is missing"),
        ("DELETE FROM events WHERE number > 17", 18, "is missing"),
        ("DELETE FROM events", 1, "is missing"),
        ("DELETE FROM events WHERE number = 7", 7, "is missing"),
        ("UPDATE events SET actor = 'uid:0(root)' WHERE number = 7", 7, "does not follow"),
        ("UPDATE events SET payload = x'7b7d' WHERE number = 7", 7, "changed after"),
        ("UPDATE events SET payload = NULL WHERE number = 7", 7, "no erasure on record"),
        ("UPDATE events SET version = 2 WHERE number = 7", 7, "does not follow"),
        ("UPDATE events SET actor = CAST(x'ff' AS TEXT) WHERE number = 7", 7, "does not follow"),
        ("UPDATE events SET number = CASE number WHEN 21 THEN 4 ELSE number END", None, None),
    ],
)
def test_what_was_done_to_the_file_is_found_and_named(tmp_path, statement, number, why):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(20))
    assert verified(path) == []
    hurt(path, statement)
    found = verified(path)
    if number is None:
        assert found == []
    else:
        assert found[0][0] == number
        assert why in found[0][1]


def test_events_that_changed_places_in_the_file_are_found(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(20))
    hurt(path, *(f"UPDATE events SET number = {new} WHERE number = {old}" for old, new in ((5, 99), (6, 5), (99, 6))))  # noqa: S608
    assert [number for number, _ in verified(path)][:2] == [5, 6]


def test_a_ledger_whose_last_event_was_taken_away_is_not_opened(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(20))
    hurt(path, "DELETE FROM events WHERE number = 20")
    with pytest.raises(LedgerError, match="event 20: is missing"):
        Ledger.open(path)


def test_a_ledger_that_does_not_say_which_event_is_its_last_is_refused(tmp_path):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(20))
    hurt(path, "DELETE FROM events WHERE number = 20", "DELETE FROM head")
    for reading in (Ledger.open, verified):
        with pytest.raises(LedgerError, match="which event is its last"):
            reading(path)


def test_a_ledger_is_verified_beside_the_daemon_that_writes_it(tmp_path):
    path = tmp_path / "ledger.db"

    async def scenario():
        ledger = Ledger.open(path)
        await ledger.append(OptOutAdded("c-1", "c2", "phone"), ACTOR, 1.0)
        first = verified(path)
        await ledger.append(OptOutAdded("c-2", "c2", "phone"), ACTOR, 1.0)
        with LedgerSource(path) as source:
            second = verify(source)
        await ledger.close()
        return first, second.breaks, second.events

    assert asyncio.run(scenario()) == ([], [], 2)


def test_a_ledger_of_the_first_schema_is_verified_as_it_is(tmp_path):
    from unit.ledger.test_versions import ledger_of_schema_1

    ledger_of_schema_1(tmp_path / "old.db", opt_outs(20))
    before = (tmp_path / "old.db").read_bytes()
    assert verified(tmp_path / "old.db") == []
    assert verified(tmp_path / "old.db", [Head(25, bytes(32))])[0][0] == 21
    assert (tmp_path / "old.db").read_bytes() == before


def test_a_copy_where_nothing_can_be_written_is_verified(tmp_path):
    path = tmp_path / "kept" / "ledger.db"
    write(path, opt_outs(20))
    path.with_name("ledger.db.lock").unlink()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        assert verified(path) == []
        assert sorted(one.name for one in path.parent.iterdir()) == ["ledger.db"] or os.geteuid() == 0
    finally:
        path.parent.chmod(0o700)


def test_what_is_no_ledger_is_told_in_a_sentence(tmp_path):
    (tmp_path / "text").write_text("no database, and not short of one either")
    for name in ("text", "nothing"):
        with pytest.raises(LedgerError, match="; "), LedgerSource(tmp_path / name):
            pass


def test_a_disk_that_cannot_be_written_is_no_damage(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    write(path, opt_outs(5))

    def read_only(where):
        connection = sqlite3.connect(f"{where.as_uri()}?mode=ro", uri=True, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("CREATE TABLE x (y)")

    monkeypatch.setattr(ledgerfile, "connect", read_only)
    with pytest.raises(LedgerError, match="cannot be used") as caught:
        Ledger.open(path)
    assert "damaged" not in str(caught.value)
    assert "has room" in str(caught.value)


async def fill(ledger):
    for number in range(200):
        await ledger.append(OptOutAdded(f"c-{number}", "c2", "x" * 200), ACTOR, 2.0)


def test_a_full_disk_refuses_acts_and_takes_them_again_once_it_has_room(tmp_path):
    path = tmp_path / "ledger.db"
    limits = []

    async def scenario():
        ledger = Ledger.open(path)
        await ledger.append(OptOutAdded("before", "c2", "x"), ACTOR, 1.0)
        real = ledger._commit

        def full(connection, batch):
            connection.execute(f"PRAGMA max_page_count={limits[0]}")
            return real(connection, batch)

        ledger._commit = full
        limits.append(1)
        with pytest.raises(LedgerError, match=r"database or disk is full.*nothing changed"):
            await fill(ledger)
        taken = ledger.state.number
        limits[0] = 1 << 20
        act = await ledger.append(OptOutAdded("after", "c2", "x"), ACTOR, 3.0)
        await ledger.close()
        return taken, act.number

    taken, number = asyncio.run(scenario())
    assert number == taken + 1
    with opened(path) as ledger:
        assert ledger.state.number == number
        assert {"before", "after"} <= set(ledger.state.opt_outs)
    assert verified(path) == []
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
