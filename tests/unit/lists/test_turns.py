"""How many lists are fetched and compiled at a time, and who waits for whom."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from sekisho.drivers import listsources
from sekisho.drivers.feeds import Feeds, Fetched, Validators, is_local
from sekisho.drivers.listsources import COMPILED_AT_ONCE, FETCHED_AT_ONCE
from sekisho.drivers.liststore import ListStore
from sekisho.lists.compile import compile_feed
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import key_of

KEY = key_of(bytes(16))
LISTS = 3 * FETCHED_AT_ONCE


def on_the_web(number: int) -> ListDefinition:
    return ListDefinition(f"list-{number}", number, "c2", f"http://192.0.2.1/{number}", ListFormat.DOMAINS, scope=Scope.SUBTREE)


class Sources(Feeds):
    """Sources that answer when as many are asked as may be; `stuck`: none of the web does."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__()
        self.asked = self.most = 0
        self.stuck = stuck
        self.full = asyncio.Event()

    async def fetch(self, definition: ListDefinition, known: Validators | None = None) -> Fetched | None:
        if is_local(definition):
            return await super().fetch(definition, known)
        self.asked += 1
        self.most = max(self.most, self.asked)
        if self.asked >= FETCHED_AT_ONCE:
            # Once whoever else may ask has asked.
            asyncio.get_running_loop().call_soon(self.full.set)
        await (asyncio.Event() if self.stuck else self.full).wait()
        self.asked -= 1
        return Fetched(bytearray(b"a.example\n"), Validators())


def test_lists_are_fetched_some_at_a_time_and_none_is_left_out(tmp_path: Path) -> None:
    async def story() -> None:
        sources = Sources()
        store = ListStore(tmp_path, KEY, feeds=sources)
        await store.define([on_the_web(number) for number in range(LISTS)])
        assert len(await store.refresh_missing(1000.0)) == LISTS
        assert sources.most == FETCHED_AT_ONCE

    asyncio.run(story())


def test_lists_are_compiled_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, full = threading.Lock(), threading.Event()
    counts = {"now": 0, "most": 0}

    def counted(*args: Any, **options: Any) -> Any:
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts.values())
            if counts["now"] == COMPILED_AT_ONCE:
                full.set()
        assert full.wait(60)
        try:
            return compile_feed(*args, **options)
        finally:
            with lock:
                counts["now"] -= 1

    async def story() -> None:
        monkeypatch.setattr(listsources, "compile_feed", counted)
        store = ListStore(tmp_path, KEY, feeds=Sources())
        files = [tmp_path / f"{number}.txt" for number in range(4)]
        for number, file in enumerate(files):
            file.write_text(f"{number}.example\n")
        local = [ListDefinition(file.stem, 0, "c2", str(file), ListFormat.DOMAINS, scope=Scope.SUBTREE) for file in files]
        await store.define([*local, *(on_the_web(number) for number in range(LISTS))])
        assert len(await store.refresh_missing(1000.0)) == LISTS + len(files)
        assert counts["most"] == COMPILED_AT_ONCE

    asyncio.run(story())


def test_a_file_of_the_machine_waits_for_no_source_that_is_slow(tmp_path: Path) -> None:
    async def story() -> None:
        store = ListStore(tmp_path, KEY, feeds=Sources(stuck=True))
        file = tmp_path / "local.txt"
        file.write_text("a.example\n")
        local = ListDefinition("local", 0, "c2", str(file), ListFormat.DOMAINS, scope=Scope.SUBTREE)
        await store.define([*(on_the_web(number) for number in range(LISTS)), local])
        waiting = [asyncio.create_task(store.refresh(f"list-{number}", 1000.0)) for number in range(LISTS)]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            assert await store.refresh("local", 1000.0)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    asyncio.run(story())
