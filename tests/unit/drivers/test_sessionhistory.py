"""What the record of sessions has still to do is told while it has to do it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from sekisho.drivers.sessionhistory import FOLD, KEPT, SessionHistory
from sekisho.sessions.changes import Heard, Opened

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
