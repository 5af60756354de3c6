"""Sources that hang, redirect for ever, never end or explode: the daemon starts, the other lists are in force, each is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from sekisho.app import control_lists
from sekisho.model.errors import SekishoError
from unit.control.sites import ACTOR, LISTS, run, verdict
from unit.lists.test_feeds import Server

HOSTILE = {"silent": "gave nothing", "loop": "redirects more than 5 times", "endless": "larger than", "bomb": "larger than"}


@pytest.fixture(autouse=True)
def _hurried(monkeypatch) -> None:
    """A start waits a moment for lists it has no version of; how long is not the point here."""
    monkeypatch.setattr(control_lists, "PATIENCE", 0.2)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.ending.set()
        serving.shutdown()
        thread.join()


def test_no_hostile_source_keeps_the_daemon_or_another_list_from_its_work(folder, server: Server) -> None:
    hostile = [
        {
            "id": name,
            "category": "c2",
            "source": f"{server.url}/{name}",
            "format": "domains",
            "scope": "exact",
            "max_bytes": 1_000_000,
            "timeout": "60s",
        }
        for name in HOSTILE
    ]
    folder.lists([*LISTS, *hostile])

    async def scenario(control):
        # The source that hangs has a hundred seconds yet, and everything else is at work.
        assert (await verdict(control, "c-1", "c2.example"))[0] == "blocked"
        folder.write("c2.txt", "c2.example\nadded.example\n")
        await control.refresh_lists("c2", actor=ACTOR)
        assert (await verdict(control, "c-1", "added.example"))[0] == "blocked"
        errors: dict[str, str] = {}
        for _ in range(3000):
            errors = {one["id"]: one["error"] or "" for one in (await control.status())["lists"]}
            if all(errors[name] for name in HOSTILE if name != "silent"):
                break
            await asyncio.sleep(0.01)
        return errors

    errors = run(folder, scenario)
    assert not errors["c2"]
    for name in ("loop", "endless", "bomb"):
        assert HOSTILE[name] in errors[name]


def test_a_daemon_stops_though_a_source_hangs(folder, server: Server) -> None:
    folder.lists([*LISTS, {"id": "silent", "category": "c2", "source": f"{server.url}/silent", "format": "domains", "scope": "exact"}])

    async def scenario(control):
        with pytest.raises((SekishoError, TimeoutError)):
            async with asyncio.timeout(0.3):
                await control.refresh_lists("silent", actor=ACTOR)

    run(folder, scenario)
