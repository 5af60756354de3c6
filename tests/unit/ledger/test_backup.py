"""A backup is whole and of one moment, and what is put back is what was backed up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import threading

import pytest

from sekisho.drivers import backup as driver
from sekisho.drivers.audit import LedgerSource, verify
from sekisho.drivers.backup import make_backup, read_backup, restore_backup, verify_backup
from sekisho.drivers.checkpoint import checkpoint_of
from sekisho.drivers.ledger import Ledger
from sekisho.drivers.matches import MatchStore
from sekisho.drivers.nasmemory import NasMemory
from sekisho.drivers.sessionhistory import SessionHistory
from sekisho.model.customers import Prefix
from sekisho.model.errors import LedgerError, RefusedError
from sekisho.model.events import OptOutAdded
from sekisho.model.nas import Limit, Remembered, Target
from sekisho.sessions.changes import WHOLE, Held, Opened
from sekisho.sessions.columns import code_of
from unit.ledger.ledgers import ACTOR, content, hurt, opened, opt_outs, write

NOW = 1_775_000_000.0


@pytest.fixture
def state(tmp_path):
    """A state folder with a record of 30 acts, matches and a key."""
    folder = tmp_path / "state"
    write(folder / "ledger.db", opt_outs(30))
    asyncio.run(MatchStore.open(folder / "matches.db").close())
    (folder / "list.key").write_bytes(bytes(range(16)))
    return folder


ADDRESS = Prefix.parse("192.0.2.7")
LIMIT = Limit(1000, 1000, 9000, 9000)


def entered(path, *facts):
    async def scenario():
        history, done = SessionHistory.open(path), threading.Event()
        history.start()
        history.write(facts, done.set)
        await asyncio.to_thread(done.wait)
        await history.close()

    asyncio.run(scenario())


def session(number, at):
    return Opened(number, "bras", f"s-{number}", "c-1", "c-1", at, at, 0, 0, 0, True), Held(number, code_of(ADDRESS), WHOLE, at)


def holders(path, at):
    async def scenario():
        history = SessionHistory.open(path)
        history.start()
        try:
            return [one.session.id for one in history.claims(ADDRESS, at)]
        finally:
            await history.close()

    return asyncio.run(scenario())


def limits(path, *kept):
    """Remember limits; what is remembered then."""

    async def scenario():
        memory = NasMemory.open(path)
        await memory.write(kept, ())
        found = await memory.read()
        await memory.close()
        return {one.target.session: one.certain for one in found}

    return asyncio.run(scenario())


def limited(number):
    return Remembered(Target("bras", f"s-{number}", "c-1", "c-1", (ADDRESS,)), LIMIT, certain=True)


def test_who_held_an_address_is_known_after_a_restore(state, tmp_path):
    entered(state / "sessions.db", *session(1, NOW))
    made = make_backup(state, tmp_path / "backup", NOW + 10, "x")
    assert made.files == ("ledger.db", "matches.db", "sessions.db")
    entered(state / "sessions.db", *session(2, NOW + 20))
    done = restore_backup(state, tmp_path / "backup", NOW + 30, force=True)
    assert holders(state / "sessions.db", NOW + 25) == ["s-1"]
    assert sorted(holders(done.aside / "sessions.db", NOW + 25)) == ["s-1", "s-2"], "what was told since is aside"
    fresh = tmp_path / "fresh"
    restore_backup(fresh, tmp_path / "backup", NOW + 30, force=False)
    assert holders(fresh / "sessions.db", NOW + 5) == ["s-1"]


def test_a_backup_taken_while_sessions_are_written_is_whole(state, tmp_path):
    async def scenario():
        history, written = SessionHistory.open(state / "sessions.db"), []
        history.start()
        for number in range(1, 3001):
            at = NOW + number
            history.write(session(number, at), lambda number=number: written.append(number))
        made = await asyncio.to_thread(make_backup, state, tmp_path / "backup", NOW, "x")
        await history.close()
        assert written[-1] == 3000
        return made

    read_backup(asyncio.run(scenario()).folder)
    with contextlib.closing(sqlite3.connect(tmp_path / "backup/sessions.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        lonely = "SELECT count(*) FROM sessions WHERE number NOT IN (SELECT number FROM held)"
        assert copy.execute(lonely).fetchone() == (0,), "each transaction is in it or is not"


def test_after_a_restore_no_limit_a_nas_may_hold_is_forgotten_or_taken_for_certain(state, tmp_path):
    limits(state / "nas.db", limited(1))
    make_backup(state, tmp_path / "backup", NOW, "x")
    assert limits(state / "nas.db", limited(2)) == {"s-1": True, "s-2": True}
    restore_backup(state, tmp_path / "backup", NOW, force=True)
    assert limits(state / "nas.db") == {"s-1": False, "s-2": False}
    restore_backup(tmp_path / "fresh", tmp_path / "backup", NOW, force=False)
    assert limits(tmp_path / "fresh/nas.db") == {"s-1": False}


def test_pages_of_customers_keep_their_names_and_sinks_their_places(state, tmp_path):
    small = {"notices.key": b"k" * 32, "posted/abc.json": b"[]", "sinks/siem.json": b'{"version": 1, "number": 30, "chain": ""}'}
    for name, text in small.items():
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_bytes(text)
    for name in ("usage/rows", "lists/c2", "usual-rates", "policyzones.json", "posted/.abc.json.17"):
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_bytes(b"not in a backup")
    made = make_backup(state, tmp_path / "backup", NOW, "x")
    assert set(made.files) == {"ledger.db", "matches.db", *small}
    (state / "posted/abc.json").write_bytes(b"[1]")
    done = restore_backup(state, tmp_path / "backup", NOW, force=True)
    restore_backup(tmp_path / "fresh", tmp_path / "backup", NOW, force=False)
    for folder in (state, tmp_path / "fresh"):
        assert {name: (folder / name).read_bytes() for name in small} == small
        assert (folder / "notices.key").stat().st_mode & 0o077 == 0
    assert (done.aside / "posted/abc.json").read_bytes() == b"[1]"
    assert (state / "usage/rows").exists(), "what no backup holds stays"
    assert not (tmp_path / "fresh/usage").exists()


def test_a_backup_puts_nothing_where_it_does_not_belong(state, tmp_path):
    make_backup(state, tmp_path / "backup", NOW, "x")
    manifest = json.loads((tmp_path / "backup/backup.json").read_text())
    for name in ("../evil.json", "posted/../../evil.json", "/etc/evil", "list.key"):
        manifest["files"][name] = {"bytes": 1, "digest": ""}
    (tmp_path / "backup/backup.json").write_text(json.dumps(manifest))
    assert read_backup(tmp_path / "backup").files == ("ledger.db", "matches.db")


def breaks(path):
    with LedgerSource(path) as source:
        return verify(source).breaks


def test_a_backup_says_what_it_is_and_verifies(state, tmp_path):
    made = make_backup(state, tmp_path / "backup", NOW, "0.1.0")
    assert made == read_backup(tmp_path / "backup")
    assert (made.head.number, made.files) == (30, ("ledger.db", "matches.db"))
    assert breaks(tmp_path / "backup") == []
    verify_backup(made)
    manifest = json.loads((tmp_path / "backup/backup.json").read_text())
    assert "list.key" in manifest["not_copied"]
    assert sorted(one.name for one in (tmp_path / "backup").iterdir()) == ["backup.json", "ledger.db", "matches.db"]
    assert bytes(range(16)) not in b"".join(one.read_bytes() for one in (tmp_path / "backup").iterdir())
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


def test_a_backup_taken_while_acts_are_written_has_all_up_to_one_of_them(tmp_path):
    state = tmp_path / "state"

    async def scenario():
        ledger = Ledger.open(state / "ledger.db")
        stop = threading.Event()

        async def go_on():
            number = 0
            while not stop.is_set():
                number += 1
                await ledger.append(OptOutAdded(f"c-{number}", "c2", "phone"), ACTOR, 1.0)

        writing = asyncio.create_task(go_on())
        made = []
        for place in range(4):
            before = ledger.head.number
            one = await asyncio.to_thread(make_backup, state, tmp_path / f"backup-{place}", NOW, "x")
            assert one.head.number >= before, "what was acknowledged before is in it"
            made.append(one)
        stop.set()
        await writing
        await ledger.close()
        return made

    made = asyncio.run(scenario())
    for one in made:
        verify_backup(one)
    assert made[-1].head.number > made[0].head.number


def test_what_is_put_back_is_what_was_backed_up(state, tmp_path):
    with opened(state / "ledger.db") as ledger:
        wanted = content(ledger.state)
    make_backup(state, tmp_path / "backup", NOW, "x")
    fresh = tmp_path / "fresh"
    done = restore_backup(fresh, tmp_path / "backup", NOW, force=False)
    assert (done.aside, done.key, done.backup.head.number) == (None, None, 30)
    with opened(fresh / "ledger.db") as ledger:
        assert content(ledger.state) == wanted
    write(fresh / "ledger.db", [OptOutAdded("after", "c2", "phone")])
    assert breaks(fresh) == []
    asyncio.run(MatchStore.open(fresh / "matches.db").close())


def test_nothing_is_replaced_unless_it_is_said_so_and_then_it_is_moved_aside(state, tmp_path):
    make_backup(state, tmp_path / "backup", NOW, "x")
    write(state / "ledger.db", [OptOutAdded("later", "c2", "phone")])
    checkpoint_of(state / "ledger.db").write_text("of the later one")
    (state / "ledger.db-wal").write_bytes(b"")
    with pytest.raises(RefusedError, match="--force"):
        restore_backup(state, tmp_path / "backup", NOW, force=False)
    done = restore_backup(state, tmp_path / "backup", NOW, force=True)
    assert done.aside == state / "replaced-20260331T233320Z"
    assert done.key == state / "list.key"
    assert not checkpoint_of(state / "ledger.db").exists()
    assert not (state / "ledger.db-wal").exists()
    with opened(state / "ledger.db") as ledger:
        assert "later" not in ledger.state.opt_outs
        assert ledger.head == done.backup.head
    with opened(done.aside / "ledger.db") as ledger:
        assert "later" in ledger.state.opt_outs
    assert restore_backup(state, tmp_path / "backup", NOW, force=True).aside == state / "replaced-20260331T233320Z-1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root restores for another")
def test_root_puts_back_what_the_daemons_user_can_open(state, tmp_path):
    make_backup(state, tmp_path / "backup", NOW, "x")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    os.chown(fresh, 4711, 4712)
    restore_backup(fresh, tmp_path / "backup", NOW, force=False)
    assert {(one.name, one.stat().st_uid, one.stat().st_gid) for one in fresh.iterdir()} == {
        (name, 4711, 4712) for name in ("ledger.db", "ledger.db.lock", "matches.db")
    }


def test_nothing_is_put_back_under_a_running_daemon(state, tmp_path):
    make_backup(state, tmp_path / "backup", NOW, "x")
    with opened(state / "ledger.db"), pytest.raises(LedgerError, match="another sekishod"):
        restore_backup(state, tmp_path / "backup", NOW, force=True)


def test_a_backup_of_what_does_not_verify_is_not_put_back(state, tmp_path):
    hurt(state / "ledger.db", "UPDATE events SET actor = 'x' WHERE number = 9")
    make_backup(state, tmp_path / "backup", NOW, "x")
    with pytest.raises(LedgerError, match="event 9"):
        restore_backup(tmp_path / "fresh", tmp_path / "backup", NOW, force=False)
    assert not (tmp_path / "fresh/ledger.db").exists()


def spoil_ledger(folder):
    with (folder / "ledger.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff" * 64)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_ledger, "is not what was written"),
        (lambda folder: (folder / "backup.json").unlink(), "no whole backup"),
        (lambda folder: (folder / "ledger.db").unlink(), "no whole backup"),
        (lambda folder: (folder / "backup.json").write_text("{}"), "damaged"),
        (lambda folder: (folder / "backup.json").write_text("[1]"), "damaged"),
        (lambda folder: (folder / "backup.json").write_text('{"sekisho-backup": 7}'), "another version"),
    ],
)
def test_a_backup_that_was_damaged_is_refused(state, tmp_path, spoil, why):
    make_backup(state, tmp_path / "backup", NOW, "x")
    spoil(tmp_path / "backup")
    with pytest.raises((RefusedError, LedgerError), match=why):
        restore_backup(state, tmp_path / "backup", NOW, force=True)
    with opened(state / "ledger.db") as ledger:
        assert ledger.state.number == 30


def test_a_backup_is_never_overwritten_and_starts_at_the_root(state, tmp_path):
    make_backup(state, tmp_path / "backup", NOW, "x")
    with pytest.raises(RefusedError, match="not empty"):
        make_backup(state, tmp_path / "backup", NOW, "x")
    (tmp_path / "empty").mkdir()
    make_backup(state, tmp_path / "empty", NOW, "x")
    with pytest.raises(RefusedError, match="whole path"):
        make_backup(state, type(tmp_path)("backup"), NOW, "x")


@pytest.mark.parametrize("failing", ["_copy", "write_file"])
def test_half_a_backup_is_none(state, tmp_path, monkeypatch, failing):
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(driver, failing, full)
    with pytest.raises(LedgerError, match=r"No space left on device.*with room"):
        make_backup(state, tmp_path / "backup", NOW, "x")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["state"]


def test_a_disk_that_fills_while_it_is_put_back_leaves_what_was_there(state, tmp_path, monkeypatch):
    make_backup(state, tmp_path / "backup", NOW, "x")
    write(state / "ledger.db", [OptOutAdded("later", "c2", "phone")])
    before = sorted(one.name for one in state.iterdir())
    real = driver._install

    def full(source, target):
        if target.name == "matches.db":
            raise OSError(28, os.strerror(28))
        real(source, target)

    monkeypatch.setattr(driver, "_install", full)
    with pytest.raises(LedgerError, match="stands there still"):
        restore_backup(state, tmp_path / "backup", NOW, force=True)
    assert sorted(one.name for one in state.iterdir()) == before
    with opened(state / "ledger.db") as ledger:
        assert "later" in ledger.state.opt_outs


def test_a_damaged_database_gives_a_sentence_and_no_backup(state, tmp_path):
    (state / "matches.db").write_bytes(b"no database at all, and long enough to be seen as none" * 20)
    with pytest.raises(LedgerError, match=r"matches.db is damaged"):
        make_backup(state, tmp_path / "backup", NOW, "x")
    assert not (tmp_path / "backup").exists()
    assert sqlite3.sqlite_version_info > (3, 37)
