"""Serials of policy zones over a restart: none goes back, and none ever stands for another content than it was given to."""

from __future__ import annotations

import asyncio
import itertools
import json
from types import SimpleNamespace

import pytest

from sekisho.app.control_policyserved import Served
from sekisho.config.policyzones import PolicyZones
from sekisho.rpz.journal import Change
from sekisho.rpz.serials import newer
from sekisho.rpz.zone import Few

SETTINGS = PolicyZones.model_validate(
    {"zone": "rpz.test", "listen": ["127.0.0.1:0"], "secondaries": [{"id": "one", "address": "127.0.0.1", "unsigned": True}]}
)
ONE, OTHER = b"\x03one\x00", b"\x05other\x00"


class Primary:
    """The primary's thread, whose loop comes to what it is told when it is `let`."""

    def __init__(self):
        self.primary = SimpleNamespace(serve=lambda _: None, withdraw=lambda _: None, notifier=SimpleNamespace(changed=lambda _: None))
        self.waiting = []

    def call(self, step):
        self.waiting.append(step)

    def let(self):
        waiting, self.waiting = self.waiting, []
        for step in waiting:
            step()

    def stop(self):
        self.let()


def names(*records):
    content = Few()
    content.change(Change((), records))
    return content


@pytest.fixture
def served(tmp_path):
    """Opens the zones as another process would, with what the one before kept."""
    clock = itertools.count(1_800_000_000)

    async def opened():
        made, primary = Served(tmp_path / "policyzones.json", lambda: next(clock)), Primary()
        await made.open(primary)
        return made, primary

    return opened


def test_a_zone_that_went_and_came_back_has_no_serial_of_before_it_changed(served):
    async def scenario():
        zones, _ = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        await zones.close()
        zones, primary = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        await zones.put("list-a", names(OTHER), Change((ONE,), (OTHER,)), "other")
        primary.let()
        last = zones.zones["list-a"].serial
        zones.remove("list-a")
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        again = zones.zones["list-a"].serial
        assert newer(again, last), "a secondary that has the version in between would keep that one"
        zones.remove("list-a")
        await zones.close()
        zones, _ = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        assert zones.zones["list-a"].serial == again, "what stayed as it was is not transferred anew"

    asyncio.run(scenario())


def test_what_is_kept_while_the_primary_is_busy_is_the_serial_of_the_newest_content(served):
    """A daemon that is killed then would serve what is new under the serial that secondaries have for what was before."""

    async def scenario():
        zones, primary = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        primary.let()
        before = zones.zones["list-a"].serial
        await zones.put("list-a", names(OTHER), Change((ONE,), (OTHER,)), "other")
        await zones.keep()
        zones, _ = await served()
        await zones.create("list-a", names(OTHER), SETTINGS, "other")
        assert newer(zones.zones["list-a"].serial, before)

    asyncio.run(scenario())


def test_a_version_that_could_not_be_kept_is_passed_all_the_same_when_the_zones_are_opened_again(served, tmp_path):
    async def scenario():
        zones, primary = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        await zones.keep()
        kept = (tmp_path / "policyzones.json").read_text()
        await zones.put("list-a", names(OTHER), Change((ONE,), (OTHER,)), "other")
        await zones.close()
        last = json.loads((tmp_path / "policyzones.json").read_text())["list-a"][0]
        (tmp_path / "policyzones.json").write_text(kept)
        await zones.open(primary)
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        assert newer(zones.zones["list-a"].serial, last)

    asyncio.run(scenario())


def test_no_serial_is_served_that_was_not_kept(served, tmp_path):
    """Killed right after, the daemon comes back with the older content, and must not give it the serial a secondary has."""

    async def scenario():
        zones, primary = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        assert primary.waiting
        assert json.loads((tmp_path / "policyzones.json").read_text())["list-a"][0] == zones.zones["list-a"].serial
        primary.let()
        await zones.put("list-a", names(OTHER), Change((ONE,), (OTHER,)), "other")
        primary.let()
        last = zones.zones["list-a"].serial
        again, _ = await served()
        await again.create("list-a", names(ONE), SETTINGS, "one")
        assert newer(again.zones["list-a"].serial, last)

    asyncio.run(scenario())


def test_a_change_of_clients_is_kept_before_it_is_served(served, tmp_path):
    async def scenario():
        zones, primary = await served()
        await zones.create("allowed", names(ONE), SETTINGS)
        primary.let()
        before = zones.zones["allowed"].serial
        await zones.change({"allowed": Change((), (OTHER,))})
        kept = json.loads((tmp_path / "policyzones.json").read_text())["allowed"][0]
        assert newer(kept, before)
        assert zones.zones["allowed"].serial == before
        primary.let()
        assert zones.zones["allowed"].serial == kept
        assert set(zones.zones["allowed"].content) == {ONE, OTHER}

    asyncio.run(scenario())


def test_a_zone_removed_while_its_serial_is_kept_is_not_served(served):
    async def scenario():
        zones, primary = await served()
        created = asyncio.create_task(zones.create("list-a", names(ONE), SETTINGS, "one"))
        while "list-a" not in zones.zones:
            await asyncio.sleep(0)
        zones.remove("list-a")
        withdrawn = len(primary.waiting)
        await created
        assert len(primary.waiting) == withdrawn == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ['{"list-a": []}', '{"list-a": {}}', '{"list-a": 1}', "[]", "{", '{"list-a": [1, "", "no journal"]}'])
def test_a_damaged_file_is_as_none(served, tmp_path, text):
    (tmp_path / "policyzones.json").write_text(text)

    async def scenario():
        zones, _ = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        assert newer(zones.zones["list-a"].serial, 1)

    asyncio.run(scenario())


def test_where_no_zones_are_published_any_longer_no_names_are_kept_and_the_serials_are(served, tmp_path):
    async def scenario():
        zones, primary = await served()
        await zones.create("list-a", names(ONE), SETTINGS, "one")
        await zones.put("list-a", names(OTHER), Change((ONE,), (OTHER,)), "other")
        primary.let()
        await zones.close()
        kept = json.loads((tmp_path / "policyzones.json").read_text())["list-a"]
        assert len(kept) == 3, "what changed is kept"
        await zones.forget()
        assert json.loads((tmp_path / "policyzones.json").read_text()) == {"list-a": kept[:2]}

    asyncio.run(scenario())
