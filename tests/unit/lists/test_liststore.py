"""The lists in force: over restarts, failing sources, shrinking feeds and changed definitions."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sekisho.drivers import liststore, listversions
from sekisho.drivers.liststore import ListStore
from sekisho.lists import guard, idn
from sekisho.model.errors import RefusedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import digest_name, key_of

KEY = key_of(bytes(range(16)))
MARK = "unmistakable-mark"


def names(count: int, start: int = 0) -> str:
    return "".join(f"c{number}.c2.example\n" for number in range(start, start + count))


class Site:
    """One list, its source and the state folder; stores come and go."""

    def __init__(self, folder: Path, text: str = "") -> None:
        self.source = folder / "feed.txt"
        self.state = folder / "state"
        self.definition = ListDefinition("sample", 0, "c2", str(self.source), ListFormat.DOMAINS, scope=Scope.SUBTREE)
        self.write(text or names(10))

    def write(self, text: str) -> None:
        """Renamed into place: who fetches it meanwhile gets the one or the other."""
        aside = self.source.with_name("aside")
        aside.write_text(text)
        aside.rename(self.source)

    async def store(self, **options: Any) -> ListStore:
        store = ListStore(self.state, KEY, **options)
        self.errors = await store.define([self.definition])
        return store

    @property
    def file(self) -> Path:
        return self.state / "lists" / "sample.list"

    @property
    def held(self) -> Path:
        return self.state / "lists" / "sample.held"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def holds(store: ListStore, name: str) -> bool:
    return any(compiled.find(*digest_name(idn.to_wire(name), KEY)) is not None for _, compiled in store.current())


def test_the_last_good_list_survives_a_restart_and_starts_without_its_feed(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        assert store.current() == []
        assert await store.refresh("sample", 1000.0)
        site.source.unlink()
        again = await site.store()
        assert site.errors == []
        status = again.status("sample", 1060.0)
        assert (status.entries, status.fetched_at, status.age, status.stale) == (10, 1000.0, 60.0, False)
        assert holds(again, "c3.c2.example")
        assert not await again.refresh("sample", 2000.0)
        status = again.status("sample", 1000.0 + 8 * 86400)
        assert status.stale
        assert "cannot be read" in status.last_error
        assert holds(again, "c3.c2.example")

    run(story())


def test_a_source_that_did_not_change_is_young_again_without_being_written(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        await store.refresh("sample", 1000.0)
        inode = site.file.stat().st_ino
        assert not await store.refresh("sample", 5000.0)
        assert store.status("sample", 5000.0).age == 0.0
        assert site.file.stat().st_ino == inode
        assert (await site.store()).status("sample", 5000.0).age == 0.0

    run(story())


def test_a_feed_that_lost_too_much_is_held_until_it_is_accepted(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        await store.refresh("sample", 1000.0)
        site.write(names(5))
        assert not await store.refresh("sample", 2000.0)
        for looking in (store, await site.store()):
            status = looking.status("sample", 2000.0)
            assert status.entries == 10
            assert status.held is not None
            assert (status.held.entries, status.held.shrink) == (5, 0.5)
        with pytest.raises(RefusedError, match="not other"):
            await store.accept("sample", "other")
        status = await store.accept("sample", status.held.version)
        assert (status.entries, status.held, status.version) == (5, None, looking.status("sample", 0.0).held.version)
        again = (await site.store()).status("sample", 2000.0)
        assert (again.entries, again.held) == (5, None)
        with pytest.raises(RefusedError, match="no held version"):
            await store.accept("sample")

    run(story())


def test_a_held_version_goes_when_the_feed_recovers(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        await store.refresh("sample", 1000.0)
        site.write(names(1))
        await store.refresh("sample", 2000.0)
        assert site.held.exists()
        site.write(names(11))
        assert await store.refresh("sample", 3000.0)
        assert store.status("sample", 3000.0).held is None
        assert not site.held.exists()

    run(story())


def test_a_feed_of_another_kind_of_text_is_an_error_and_no_empty_list(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        await store.refresh("sample", 1000.0)
        site.write("<html>\n<body>service unavailable</body>\n</html>\n")
        assert not await store.refresh("sample", 2000.0)
        status = store.status("sample", 2000.0)
        assert "none of its 3 lines" in status.last_error
        assert (status.entries, status.held) == (10, None)

    run(story())


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_file_is_reported_and_fetched_anew(site: Site, damage: str) -> None:
    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        data = bytearray(site.file.read_bytes())
        if damage == "truncate":
            del data[-100:]
        elif damage == "flip":
            data[200] ^= 1
        else:
            data.clear()
        site.file.write_bytes(data)
        store = await site.store()
        assert len(site.errors) == 1
        assert "fetched anew" in str(site.errors[0])
        assert store.current() == []
        assert await store.refresh("sample", 2000.0)

    run(story())


def test_another_list_key_finds_nothing_stored_and_says_so(site: Site) -> None:
    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        other = ListStore(site.state, key_of(bytes(16)))
        errors = await other.define([site.definition])
        assert "another list key" in str(errors[0])
        assert other.current() == []

    run(story())


def test_a_list_that_becomes_sealed_leaves_no_names_on_disk(site: Site) -> None:
    async def story() -> None:
        site.write(f"{MARK}.example\n" + names(10))
        store = await site.store()
        await store.refresh("sample", 1000.0)
        site.write(f"{MARK}.example\n")
        await store.refresh("sample", 1500.0)
        assert MARK.encode() in site.file.read_bytes()
        assert MARK.encode() in site.held.read_bytes()
        site.definition = replace(site.definition, sealed=True)
        again = await site.store()
        assert again.current() == []
        assert not site.file.exists()
        assert not site.held.exists()
        assert await again.refresh("sample", 2000.0)
        assert holds(again, f"{MARK}.example")
        assert MARK.encode() not in site.file.read_bytes()

    run(story())


def test_a_narrower_scope_is_in_force_before_the_feed_is_fetched_again(site: Site) -> None:
    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        site.definition = replace(site.definition, scope=Scope.EXACT)
        store = await site.store()
        assert set(store.current()[0][1].triggers.tolist()) == {1}
        assert await store.refresh("sample", 1001.0), "the definition changed, so the source is read anew"

    run(story())


def test_another_source_replaces_the_list_however_small_it_is(site: Site, tmp_path: Path) -> None:
    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        other = tmp_path / "other.txt"
        other.write_text("one.c2.example\n")
        site.definition = replace(site.definition, source=str(other))
        store = await site.store()
        assert store.status("sample", 1000.0).entries == 10, "nothing is let through until the new source answers"
        assert await store.refresh("sample", 2000.0)
        assert store.status("sample", 2000.0).entries == 1

    run(story())


def test_a_never_block_name_added_later_takes_its_entry_out_of_the_stored_list(site: Site) -> None:
    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        store = await site.store(never_block=[idn.to_wire("c3.c2.example")])
        assert not holds(store, "c3.c2.example")
        assert store.status("sample", 1000.0).entries == 9
        store = await site.store(never_block=[idn.to_wire("c2.example")])
        assert await store.refresh("sample", 1001.0), "the source did not change but is read anew"
        assert store.status("sample", 1001.0).entries == 0, "that is the operator's decision and no loss of the feed's"
        store = await site.store()
        await store.refresh("sample", 1002.0)
        assert store.status("sample", 1002.0).entries == 10

    run(story())


def test_a_stored_list_is_looked_through_again_under_other_public_suffixes_and_only_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    reguard = liststore.reguard
    monkeypatch.setattr(liststore, "reguard", lambda compiled, guard: looked.append(1) or reguard(compiled, guard))

    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        assert holds(await site.store(), "c3.c2.example")
        assert not looked, "what was kept was judged by the same suffixes"
        monkeypatch.setattr(listversions, "suffixes_version", lambda: "of another day")
        monkeypatch.setattr(guard, "_suffix_rules", lambda: ((idn.to_wire("c3.c2.example"), guard.SUFFIX),))
        assert not holds(await site.store(), "c3.c2.example")
        assert looked

    run(story())


def test_a_sealed_lists_names_are_in_no_object_report_error_or_file(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        site.definition = replace(site.definition, sealed=True, scope=Scope.EXACT)
        bad = f"{MARK} with spaces\n{MARK}..example\n*.{MARK}.example\n{MARK}\n{MARK}-ü\u200d.example\n"
        site.write(f"{MARK}.example\n{bad}{names(9)}")
        store = await site.store()
        await store.refresh("sample", 1000.0)
        site.write(f"{MARK}.example\n")
        await store.refresh("sample", 2000.0)
        site.write(f"{MARK} {MARK}\n")
        await store.refresh("sample", 3000.0)
        status = store.status("sample", 3000.0)
        assert (status.entries, status.skipped, status.refused) == (10, 4, 1)
        assert status.held is not None
        assert status.last_error
        assert [fault.line for fault in status.faults] == [2, 3, 4, 5, 6]
        assert holds(store, f"{MARK}.example")
        shown = repr(status) + repr(store.current()) + repr(vars(store)) + "".join(capsys.readouterr())
        assert MARK not in shown
        assert MARK.encode() not in pickle.dumps((status, store.current(), store.statuses(0.0)))
        files = [path for path in site.state.rglob("*") if path.is_file()]
        assert len(files) == 2
        for path in files:
            assert MARK.encode() not in path.read_bytes()

    run(story())


def test_lists_are_kept_fresh_and_whoever_runs_them_is_told(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        definition = replace(site.definition, refresh=0.05)
        changed: asyncio.Queue[str] = asyncio.Queue()
        task = asyncio.create_task(store.run([definition], changed.put))
        async with asyncio.timeout(60):
            assert await changed.get() == "sample"
            site.write(names(12))
            assert await changed.get() == "sample"
            assert store.status("sample", 0.0).entries == 12
            site.write(names(3))
            while store.status("sample", 0.0).held is None:
                await asyncio.sleep(0.01)
            await store.accept("sample")
            assert await changed.get() == "sample"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story())


def test_a_refresh_asked_for_does_not_wait_for_its_time(site: Site) -> None:
    async def story() -> None:
        store = await site.store()
        changed: asyncio.Queue[str] = asyncio.Queue()
        task = asyncio.create_task(store.run([site.definition], changed.put))
        async with asyncio.timeout(60):
            await changed.get()
            site.write(names(12))
            store.request("sample")
            await changed.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(RefusedError, match="no list"):
            store.request("other")

    run(story())


def test_an_unforeseen_error_of_one_list_is_told_without_its_text(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError(MARK)

    async def story() -> None:
        monkeypatch.setattr("sekisho.drivers.listsources.compile_feed", broken)
        store = await site.store()
        assert not await store.refresh("sample", 1000.0)
        error = store.status("sample", 1000.0).last_error
        assert "ZeroDivisionError" in error
        assert MARK not in error

    run(story())


def test_what_a_killed_writer_left_is_cleaned_up(site: Site) -> None:
    async def story() -> None:
        await (await site.store()).refresh("sample", 1000.0)
        left = site.state / "lists" / ".sample.list.123"
        left.write_text("half")
        await site.store()
        assert not left.exists()

    run(story())
