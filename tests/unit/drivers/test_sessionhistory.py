"""What the record of sessions has still to do is told while it has to do it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

from sekisho.drivers.recordedholders import Holders
from sekisho.drivers.sessionhistory import FOLD, KEPT, SessionHistory
from sekisho.drivers.sessionrows import SCHEMA, SCHEMA_VERSION
from sekisho.model.customers import Prefix
from sekisho.model.sessions import Ports, SessionEnd
from sekisho.sessions.changes import Heard, Held, Named, Opened, Over, Released, Told
from sekisho.sessions.columns import code_of

T = 1_775_000_000.0


def opened(number: int) -> Opened:
    return Opened(number, "nas-a", f"s-{number}", "u@example.net", "c-1", T, T, 0, 0, 0, wide=False)


def test_what_waits_for_the_disk_is_counted_until_it_is_there(tmp_path: Path) -> None:
    async def story() -> None:
        history = SessionHistory.open(tmp_path / "sessions.db")
        written, go_on = threading.Event(), threading.Event()

        def first_done() -> None:
            written.set()
            go_on.wait(30)

        history.start()
        try:
            history.write([opened(1), opened(2)], first_done)
            await asyncio.to_thread(written.wait, 30)
            assert history.waiting == 0
            last = threading.Event()
            history.write([opened(3), opened(4), opened(5)], last.set)
            assert history.waiting == 3
            go_on.set()
            await asyncio.to_thread(last.wait, 30)
            assert history.waiting == 0
        finally:
            go_on.set()
            await history.close()

    asyncio.run(story())


def test_lines_that_are_not_folded_yet_are_counted_after_a_restart_too(tmp_path: Path) -> None:
    async def lived() -> int:
        history = SessionHistory.open(tmp_path / "sessions.db")
        history.start()
        history.write([opened(1), *(Heard(1, T + n, n, n, 0, wide=False) for n in range(KEPT + FOLD + 10))], lambda: None)
        await history.close()
        return history.unfolded

    left = asyncio.run(lived())
    history = SessionHistory.open(tmp_path / "sessions.db")
    assert 0 < left <= KEPT + FOLD + 10
    history.restore(T)
    assert history.unfolded == 0


POOL = Prefix.parse("203.0.113.4")
BLOCK = Held(1, code_of(POOL), Ports(1000, 1999), T, T)


def written(path: Path, *facts: object) -> SessionHistory:
    async def life() -> None:
        history = SessionHistory.open(path)
        history.start()
        history.write(facts, lambda: None)  # type: ignore[arg-type]
        await history.close()

    asyncio.run(life())
    return SessionHistory.open(path)


def test_when_a_block_was_told_of_last_is_kept_for_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    history = written(path, opened(1), BLOCK, Told(1, BLOCK.code, 1000, T + 60))
    ((_, held),) = history.restore(T).live
    assert held == [BLOCK._replace(told=T + 60)]


def test_a_block_that_ended_by_its_age_is_told_so_and_until_its_session_is_over(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    history = written(path, opened(1), BLOCK, Released(1, BLOCK.code, T + 99, 1000, aged=True))
    for at in (T + 5, T + 500):
        (claim,) = history.claims(POOL, at)
        assert (claim.aged, claim.told, claim.until) == (True, T, T + 99)
    assert Holders(path).claims(POOL.value) == history.claims(POOL, T + 5)
    history = written(path, Over(1, T + 400, SessionEnd.STOP))
    assert len(history.claims(POOL, T + 399)) == 1
    assert history.claims(POOL, T + 400) == []


def test_a_block_that_was_given_back_is_not_told_of_afterwards(tmp_path: Path) -> None:
    history = written(tmp_path / "sessions.db", opened(1), BLOCK, Released(1, BLOCK.code, T + 99, 1000))
    (claim,) = history.claims(POOL, T + 98)
    assert not claim.aged
    assert history.claims(POOL, T + 99) == []


def test_a_record_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    """Its file has no columns for when blocks were told of; a copy of it is read as it is."""
    path = tmp_path / "sessions.db"
    earlier = SCHEMA.replace("    told    REAL,\n    aged    INTEGER,\n", "")
    assert earlier != SCHEMA
    old = sqlite3.connect(path)
    old.executescript(f"{earlier} PRAGMA user_version={SCHEMA_VERSION};")
    old.execute("INSERT INTO sessions VALUES (1, 'cgn', 's', 'u', 'c-1', ?, ?, 0, 0, 0, 0, NULL, NULL)", (T, T))
    old.execute("INSERT INTO lengths VALUES (128)")
    old.execute("INSERT INTO held VALUES (?, 128, ?, 1, 1000, 1999, 0, 1, NULL)", (POOL.value.to_bytes(16), T))
    old.commit()
    old.close()
    (claim,) = Holders(path).claims(POOL.value)
    assert (claim.told, claim.aged) == (None, False)
    history = written(path, Told(1, BLOCK.code, 1000, T + 7))
    ((_, held),) = history.restore(T).live
    assert held == [BLOCK._replace(told=T + 7)]


def test_a_user_who_was_told_later_than_the_session_is_on_record(tmp_path: Path) -> None:
    unnamed = opened(1)._replace(user="", customer=None)
    history = written(tmp_path / "sessions.db", unnamed, Named(1, None, "u@example.net"), Named(1, "c-1"))
    ((found, _),) = history.restore(T).live
    assert found == opened(1)
