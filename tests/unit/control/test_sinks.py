"""Events out of the daemon: told as acts are recorded, changed by a reload, shown in `status`."""

from __future__ import annotations

import asyncio
import json

import pytest

from sekisho.app.control_status import observe
from sekisho.drivers import sinks
from sekisho.model.errors import ConfigError
from unit.control.sites import ACTOR, SEALED, run


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sinks, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(sinks, "LOOK_EVERY", 0.005)


def file_sink(path, name="archive", **more):
    return {"id": name, "kind": "file", "path": str(path), **more}


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def told(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def caught_up(control):
    await until(lambda: all(one["behind"] == 0 for one in control.core.sinks.bodies()))


async def optout(control, customer="c-1"):
    await control.add_opt_out(customer, "c2", until=None, by=None, actor=ACTOR)


def test_an_opt_out_is_told_and_status_says_how_the_sink_does(folder, tmp_path):
    path = tmp_path / "events.jsonl"
    folder.set(events={"source": "urn:sekisho:test", "sinks": [file_sink(path)]})

    async def scenario(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        await optout(control)
        await caught_up(control)
        (one,) = (await control.status())["sinks"]
        return one, observe(control.core)

    one, seen = run(folder, scenario)
    (event,) = told(path)
    assert (event["source"], event["type"], event["subject"]) == ("urn:sekisho:test", "jp.sekisho.optout.added.v1", "c-1")
    assert (one["id"], one["kind"], one["to"], one["behind"], one["taken"], one["error"]) == ("archive", "file", str(path), 0, 1, "")
    assert [(sink.id, sink.behind, sink.taken) for sink in seen.sinks] == [("archive", 0, 1)]
    assert (seen.acts, sum(seen.append_latency)) == (1, 1)
    assert seen.append_seconds > 0


def test_an_exception_on_a_sealed_list_is_told_without_its_name(folder, tmp_path):
    path = tmp_path / "events.jsonl"
    folder.set(events={"sinks": [file_sink(path)]})

    async def scenario(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        await control.add_exception("csam", SEALED, subtree=False, reason="a mistake of the source", actor=ACTOR)
        await caught_up(control)

    run(folder, scenario)
    assert [one["subject"] for one in told(path)] == ["csam"]
    assert "sealed-mark" not in path.read_text()


def test_a_reload_adds_changes_and_removes_sinks_and_leaves_the_others_alone(folder, tmp_path):
    first, second, third = (tmp_path / f"{name}.jsonl" for name in ("first", "second", "third"))
    folder.set(events={"sinks": [file_sink(first, "a"), file_sink(second, "b")]})

    async def scenario(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        await optout(control, "c-1")
        await caught_up(control)
        before = control.core.sinks._running["a"].sink
        folder.set(events={"sinks": [file_sink(first, "a"), file_sink(third, "c", **{"from": "now"})]})
        await control.reload(actor=ACTOR)
        assert control.core.sinks._running["a"].sink is before, "what did not change goes on undisturbed"
        await until(lambda: control.core.sinks.bodies()[1]["number"] == 1)
        await optout(control, "c-2")
        await caught_up(control)
        folder.set(
            events={"sinks": [file_sink(first, "a", types="customer"), file_sink(third, "c", **{"from": "now"}), file_sink(second, "b")]}
        )
        await control.reload(actor=ACTOR)
        await caught_up(control)
        await control.remove_opt_out("c-2", "c2", by=None, actor=ACTOR)
        await caught_up(control)
        return [one["id"] for one in control.core.sinks.bodies()]

    assert run(folder, scenario) == ["a", "c", "b"]
    assert [one["id"] for one in told(first)] == ["1", "2"]
    assert [one["id"] for one in told(second)] == ["1", "2", "3"], "a sink that comes back goes on where it was"
    assert [one["id"] for one in told(third)] == ["2", "3"]


def test_a_configuration_with_faults_leaves_the_sinks_as_they_are(folder, tmp_path):
    path = tmp_path / "events.jsonl"
    folder.set(events={"sinks": [file_sink(path)]})

    async def scenario(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        folder.set(events={"sinks": [{"id": "b", "kind": "pigeon"}]})
        with pytest.raises(ConfigError):
            await control.reload(actor=ACTOR)
        await optout(control)
        await caught_up(control)

    run(folder, scenario)
    assert len(told(path)) == 1


def test_a_sink_that_fails_says_why_holds_nobody_up_and_catches_up(folder, tmp_path):
    path, missing = tmp_path / "good.jsonl", tmp_path / "missing" / "events.jsonl"
    folder.set(events={"sinks": [file_sink(missing, "down"), file_sink(path, "good")]})

    async def scenario(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        for customer in ("c-1", "c-2"):
            await optout(control, customer)
        await until(lambda: len(told(path)) == 2)
        await until(lambda: control.core.sinks.bodies()[0]["error"])
        down = (await control.status())["sinks"][0]
        assert "No such file or directory" in down["error"]
        assert (down["behind"], down["taken"]) == (2, 0)
        assert down["failing_since"] is not None
        assert observe(control.core).sinks[0].failing
        missing.parent.mkdir()
        await caught_up(control)

    run(folder, scenario)
    assert [one["id"] for one in told(missing)] == ["1", "2"]


def test_after_a_restart_each_sink_goes_on_at_its_place(folder, tmp_path):
    path = tmp_path / "events.jsonl"
    folder.set(events={"sinks": [file_sink(path)]})

    async def first(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        await optout(control, "c-1")
        await caught_up(control)

    async def between(control):
        await optout(control, "c-2")  # recorded while no sink runs

    run(folder, first)
    run(folder, between)

    async def last(control):
        await control.core.sinks.adopt(control.core.site.settings.events)
        await caught_up(control)

    run(folder, last)
    assert [one["subject"] for one in told(path)] == ["c-1", "c-2"]


def test_a_fault_of_ours_in_a_sink_is_said_and_ends_nothing_else(folder, tmp_path, monkeypatch):
    folder.set(events={"sinks": [file_sink(tmp_path / "events.jsonl")]})

    async def scenario(control):
        async def broken(self):
            raise ZeroDivisionError

        monkeypatch.setattr("sekisho.drivers.sinks.Sink._step", broken)
        await control.core.sinks.adopt(control.core.site.settings.events)
        await until(lambda: control.core.sinks.bodies()[0]["error"])
        await optout(control)
        return control.core.sinks.bodies()[0]

    body = run(folder, scenario)
    assert "ZeroDivisionError" in body["error"]
    assert body["behind"] == 1
