"""What lines carry, told as stories: every file in `lines/`, in virtual time, through the whole control plane."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from scenarios.harness.lines import DAY, Site
from sekisho.app.control_usage import line_body, usage_body
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.enforce.wanted import Where, state_of
from sekisho.measures.combine import ENFORCED
from sekisho.model.counters import Counter
from sekisho.model.measures import Detector
from sekisho.model.nas import ErrorCause, RequestOutcome
from sekisho.model.sessions import Session
from sekisho.model.usage import Source
from sekisho.snapshot import layout

HERE = Path(__file__).parent / "lines"
STORIES = sorted(HERE.glob("*.yaml"))
KEYS = {
    "for", "uses", "mail", "connections", "queries", "dropped", "busy", "sessions", "daemon", "found", "state", "evidence", "explains",
    "kernel", "limited", "comment",
}  # fmt: skip
TOLD = {
    "nbnet/22-2-4", "vectant/16-3", "gunma/19-2", "nbnet/22-2-3", "network-service/16-15", "nbnet/19-22", "vectant/18-2-16", "gunma/8",
    "nbnet/22-2-5",
}  # fmt: skip
STEP = 300


def pair(value):
    first, _, second = str(value).partition("/")
    return float(first), float(second or 0)


class Teller:
    """One story being told."""

    def __init__(self, story, folder):
        self.story, self.clause = story, story["clauses"][0]
        self.names = [f"c-{number}" for number in range(1, story["lines"] + 1)]
        bandwidth = {"every": "5m", "urgent": True, "segments": story.get("segments", []), **story.get("bandwidth", {})}
        more = {key: story[key] for key in ("duplicates", "detection") if key in story}
        self.site = Site(folder, self.clause.partition("/")[0], self.names, bandwidth, more, story.get("plans", {}))
        today = dt.datetime.fromtimestamp(time.time(), dt.timezone(dt.timedelta(hours=9))).replace(
            hour=10, minute=0, second=0, microsecond=0
        )
        self.now = today.timestamp() + DAY
        self.began = {}

    async def start(self, stack):
        self.core = await stack.enter_async_context(self.site.running(lambda: self.now))
        self.counts = WorkerFiles(self.core.site.settings.runtime / "plane").counts(0, 1000)
        await self.look_at_queries()

    async def tell(self):
        async with contextlib.AsyncExitStack() as stack:
            await self.start(stack)
            for line in self.story["story"]:
                assert set(line) <= KEYS, f"unknown: {set(line) - KEYS}"
                if line.get("daemon") == "restarts":
                    await stack.aclose()
                    await self.start(stack)
                if "sessions" in line:
                    self.sessions(line["sessions"])
                for _ in range(int(line["for"].rstrip("m")) * 60 // STEP):
                    await self.step(line)
                self.judge(line)

    async def step(self, line):
        """Five minutes of what the line says; then the daemon does what is due."""
        self.now += STEP
        rows = np.array([self.core.tables.row_of(name) for name in self.names], np.int64)
        order = np.argsort(rows)
        self.hand_in(line.get("uses", {}), rows, order)
        mail, connections = line.get("mail", {}), line.get("connections", {})
        nothing = np.zeros(len(rows), np.uint64)
        if mail or connections:
            many = [np.array([pair(connections.get(name, 0))[way] * STEP / 60 for name in self.names], np.uint32)[order] for way in (0, 1)]
            letters = np.array([mail.get(name, 0) * STEP / 60 for name in self.names], np.uint32)[order]
            self.core.traffic.add(Source.FLOWS, self.now, rows[order], nothing, nothing, letters, connections=many[0], focused=many[1])
        self.ask(line, rows, order)
        await self.look_at_queries()
        await self.core.bandwidth.tick(self.core.people, self.now)
        await self.core.measures.tick(self.now)
        for asked in self.core.nas.book.due(self.now):
            self.core.nas.book.answered(asked, RequestOutcome.ACKNOWLEDGED, ErrorCause.NONE, self.now)

    def ask(self, line, rows, order):
        """Queries a second: those the plane counts, and those the kernel drops before it."""
        asked, dropped = line.get("queries", {}), line.get("dropped", {})
        for name, row in zip(self.names, rows, strict=True):
            self.counts.customers[row, layout.COUNT_QUERIES] += int(asked.get(name, asked.get("others", 0)) * STEP)
        self.counts.totals[Counter.BUSY_NS] += int(float(str(line.get("busy", "0%")).rstrip("%")) / 100 * STEP * 1e9)
        self.counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
        if dropped:
            many = np.array([dropped.get(name, 0) * STEP for name in self.names], np.uint32)[order]
            self.core.detection._counts.kernel.dropped(rows[order], many)

    async def look_at_queries(self):
        await self.core.detection.tick(self.core.people, self.now, self.now)

    def hand_in(self, uses, rows, order):
        if not uses:
            return
        speeds = [pair(uses.get(name, uses.get("others", 0))) for name in self.names]
        octets = []
        for way in (0, 1):
            each = [min(speed[way], self.left(name) * 100) for name, speed in zip(self.names, speeds, strict=True)]
            octets.append(np.array([speed * 1e6 / 8 * STEP for speed in each], np.uint64)[order])
        reports = self.story.get("reports", "flows")
        for source in Source if reports == "all" else (Source(reports),):
            if source is not Source.RADIUS:
                self.core.traffic.add(source, self.now, rows[order], *octets)
            elif self.now % 600 == 0:
                twice = [one * np.uint64(2) for one in octets]
                self.core.traffic.add(source, self.now, rows[order], *twice, seconds=np.full(len(rows), 600.0))

    def left(self, name):
        """The share of the line that a limit leaves, as the kernel does it."""
        last = self.core.measures.book.last(name, self.clause, Detector.BANDWIDTH)
        return (
            1.0
            if last is None or last.state not in ENFORCED or last.observe
            else self.site.rule(self.core, self.clause, Detector.BANDWIDTH).keep
        )

    def sessions(self, live):
        """Those that go on, all heard of now but those that are heard of no more."""
        known = {(name, nas.lstrip("~")) for name, on in live.items() for nas in on}
        self.began = {key: self.began.get(key, self.now) for key in known}

        def told():
            return [
                Session(nas.lstrip("~"), nas, f"user-{name}", name, self.began[name, nas.lstrip("~")],
                        self.began[name, nas.lstrip("~")] if nas.startswith("~") else self.now)
                for name, on in live.items() for nas in on
            ]  # fmt: skip

        self.core.bandwidth.sessions = told

    def judge(self, line):
        open_ = {one.customer for one in self.core.measures.book.open() if one.clause == self.clause}
        last = max(
            (one for one in self.core.measures.book.of("c-1") if one.clause == self.clause), key=lambda one: one.opened_at, default=None
        )
        if "found" in line:
            assert sorted(open_) == line["found"], line
        if "state" in line:
            assert (last.state.value if last else "none") == line["state"], line
        for key, value in line.get("evidence", {}).items():
            assert last.evidence[key] == pytest.approx(value), (key, line)
        for name, wanted in line.get("kernel", {}).items():
            assert self.kernel(name) == wanted, line
        if "limited" in line:
            assert [name for name in self.names if usage_body(self.core, name)["limited"]] == line["limited"], line
            assert all([one["clause"] for one in usage_body(self.core, name)["limits"]] == [self.clause] for name in line["limited"]), line
        words = line_body(self.core, "c-1", self.now)["words"] if "explains" in line else []
        for said in line.get("explains", []):
            assert re.search(re.escape(said), " ".join(words)), (said, words)

    def kernel(self, name):
        """What the kernel is to hold for a line, over all of its addresses."""
        line = self.core.lines.wants.line(name, counted=False)
        if line is None:
            return "nothing"
        state = state_of([line], Where(("cust0",), "sekisho-up"))
        roles = sorted({role.value for role, prefix, _ in state.each() if prefix in line.prefixes})
        rate = [f"{one / 1e6:g}" for one in line.what.rate or ()]
        mail = [f"{many}/min" for many in state.limits.values()]
        return " ".join([*roles, *mail, *(["/".join(rate) + " Mbit/s"] if rate else [])])


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path, tmp_path):
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    asyncio.run(Teller(story, tmp_path).tell())


def test_there_is_a_story_for_every_clause():
    assert not TOLD - {clause for path in STORIES for clause in yaml.safe_load(path.read_text(encoding="utf-8"))["clauses"]}
