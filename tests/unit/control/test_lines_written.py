"""Who waits for lines waits for what was told, also if it was told while something else was being written."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from sekisho.app.control_line_bodies import warnings
from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_lines import Lines
from sekisho.config.lines import LineMode
from sekisho.config.settings import parse_settings

SETTINGS = parse_settings("version: 1\nupstream: {address: 192.0.2.53}\nlines: {customers: [eth1]}\n", "sekisho.yaml")
COUNTING = parse_settings(
    "version: 1\nupstream: {address: 192.0.2.53}\nlines: {customers: [eth1], queries: true, resolvers: [192.0.2.53]}\n", "sekisho.yaml"
)


class Kernel:
    """Takes what is written when it is `let`, one after the other."""

    namespace = ""

    def __init__(self):
        self.let, self.begun, self.written = asyncio.Semaphore(0), asyncio.Semaphore(0), []

    async def apply(self, change, *_):
        self.begun.release()
        await self.let.acquire()
        self.written += change.customers


def change(dirty, *_, **__):
    customers = list(dirty)
    dirty.clear()
    return SimpleNamespace(size=1, put_classes={}, customers=customers)


def test_what_is_told_while_the_last_part_is_written_is_waited_for_too():
    async def scenario():
        lines = Lines(lambda: SETTINGS, lambda: None, dict, LineCounts(lambda _: None))
        kernel = Kernel()
        lines._settings, lines._kernel, lines._unsure, lines.book.change = SETTINGS, kernel, False, change
        lines.follow(["c-1"])
        first = asyncio.create_task(lines._write(0.0))
        await kernel.begun.acquire()
        # The turn has taken all there was: it waits for the kernel alone.
        for _ in range(3):
            await asyncio.sleep(0)
        lines.follow(["c-2"])
        waiting = asyncio.create_task(lines.written())
        kernel.let.release()
        await first
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done(), "c-2 is not written"
        kernel.let.release()
        await lines._write(0.0)
        await waiting
        assert kernel.written == ["c-1", "c-2"]

    asyncio.run(scenario())


def test_whether_queries_are_to_be_read_is_the_configurations_to_say():
    async def scenario():
        heard = SimpleNamespace(wanted=False)
        lines = Lines(lambda: SETTINGS, lambda: None, dict, LineCounts(lambda _: None, heard))
        lines._kernel = Kernel()
        found = []
        for settings in (COUNTING, SETTINGS, COUNTING):
            await lines._adopt(settings)
            found.append(heard.wanted)
        assert found == [True, False, True]

    asyncio.run(scenario())


def test_windows_shorter_than_readings_of_queries_are_apart_are_warned_of():
    settings = COUNTING.model_copy(update={"lines": COUNTING.lines.model_copy(update={"mode": LineMode.ENFORCE})})
    lines = SimpleNamespace(problems=[], wants=SimpleNamespace(unnumbered=0), counts=SimpleNamespace(apart=0.0))
    core = SimpleNamespace(site=SimpleNamespace(settings=settings), lines=lines)
    found = []
    for lines.counts.apart in (0.0, settings.detection.window, 42.4):
        found.append(warnings(core))
    assert found[:2] == [[], []]
    [said] = found[2]
    assert said.startswith("queries of customers are read from the kernel every 42 s, and a window of `detection` is 10 s")
