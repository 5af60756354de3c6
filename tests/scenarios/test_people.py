"""Who the customer is, told as stories: every file in `people/`, through the whole control plane and the tables the plane reads."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from pathlib import Path

import pytest
import yaml

from sekisho.config.customers import parse_customers
from sekisho.measures.calendar import JAPAN
from sekisho.model.customers import Prefix
from sekisho.model.errors import ConfigError, RefusedError
from sekisho.model.sessions import Accounting, AccountingKind
from unit.control.sites import ACTOR, Folder, daemon

HERE = Path(__file__).parent / "people"
STORIES = sorted(HERE.glob("*.yaml"))
TOLD = {
    "nbnet/3", "nbnet/別紙1", "vectant/5", "vectant/11", "vectant/別記1", "gunma/5", "gunma/7", "gunma/8",
    "smartconnect-panel/13", "smartconnect-panel/19", "smartconnect-panel/21",
}  # fmt: skip
KEYS = {
    "at", "event", "who", "user", "session", "nas", "addresses", "by", "list", "clause", "whose", "then",
    "blocked", "open", "told", "measures", "refused", "comment",
}  # fmt: skip
KINDS = {
    "logs in": AccountingKind.START,
    "is heard of": AccountingKind.INTERIM,
    "logs off": AccountingKind.STOP,
    "the NAS restarts": AccountingKind.NAS_ON,
}
DAY = time.time() - 86400


def moment(text):
    """Of yesterday, in Japan."""
    hour, minute = map(int, text.split(":"))
    return dt.datetime.fromtimestamp(DAY, JAPAN).replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp()


class Teller:
    """One story being told."""

    def __init__(self, story, folder):
        self.story, self.site, self.now = story, Folder(folder), 0.0
        self.site.set(terms=story["terms"], groups=story.get("groups", {}), measures={"mode": "enforce"})
        self.site.lists([{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree", "answer": "nxdomain"}])
        self.site.customers(story["customers"])

    async def tell(self):
        async with contextlib.AsyncExitStack() as stack:
            await self.start(stack)
            for line in self.story["story"]:
                assert set(line) <= KEYS, f"unknown: {set(line) - KEYS}"
                self.now = moment(line["at"])
                if line["event"] == "the daemon restarts":
                    await stack.aclose()
                    await self.start(stack)
                elif "refused" in line:
                    with pytest.raises((RefusedError, ConfigError), match=line["refused"]):
                        await self.happens(line)
                else:
                    await self.happens(line)
                await self.judge(line)

    async def start(self, stack):
        self.control = await stack.enter_async_context(daemon(self.site, lambda: self.now))
        self.core = self.control.core

    async def happens(self, line):
        event, control = line["event"], self.control
        if event in KINDS:
            held = tuple(Prefix.parse(one) for one in line.get("addresses", []))
            told = Accounting(
                KINDS[event], line.get("nas", "nas-1"), self.now, str(line.get("session", "")), line.get("user", ""), held, seconds=0
            )
            self.core.sessions._take([(0, told)])
            while self.core.sessions._tasks:
                await asyncio.gather(*self.core.sessions._tasks)
            await self.written()
        elif event == "time passes":
            await self.core.measures.tick(self.now)
        elif event == "joins the group":
            await control.add_customer(line["who"], replace=False, actor=ACTOR)
        elif event == "opts the group out":
            await control.opt_group_out("hq", line["list"], until=None, by=line["by"], actor=ACTOR)
        elif event == "opts the group back in":
            await control.opt_group_in("hq", line["list"], by=line["by"], actor=ACTOR)
        elif event == "is suspended urgently":
            await control.suspend(line["who"], line["clause"], reason="reported", urgent=True, actor=ACTOR)
            await self.core.measures.tick(self.now)
        elif event == "is the customer's again":
            (measure,) = self.core.measures.book.open()
            await control.correct_measure(measure.id, reason="a new password", actor=ACTOR)
            await self.core.measures.tick(self.now)
        else:
            raise AssertionError(f"no such event: {event}")

    async def written(self):
        """What was heard is in the record: it is written beside, and only then acknowledged."""
        loop, written = asyncio.get_running_loop(), asyncio.Event()
        self.core.sessions.history.write((), lambda: loop.call_soon_threadsafe(written.set))
        await written.wait()

    async def judge(self, line):
        for address, customer in line.get("whose", {}).items():
            found = self.core.reader.explain(address, 0, b"\x03www\x07example\x00", 1).customer
            assert (found or "nobody") == customer, (address, line)
        for asked, customer in line.get("then", {}).items():
            address, _, at = asked.partition(" at ")
            body = await self.control.session_at(address, moment(at), None, "a test", actor=ACTOR)
            assert (body["customer"] or "nobody") == customer, (asked, body)
        for key, wanted in (("blocked", "blocked"), ("open", "answered")):
            for name in line.get(key, []):
                body = await self.control.explain(customer=name, address=None, port=0, name="c2.example", qtype="A", tcp=False)
                assert body["verdict"] == wanted, (name, line)
        for name, state in line.get("measures", {}).items():
            assert [one.state.value for one in self.core.measures.book.of(name)] == state, line
        for name, email in line.get("told", {}).items():
            assert (self.core.people.get(name).email or "nobody") == email, line


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path, tmp_path):
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    asyncio.run(asyncio.wait_for(Teller(story, tmp_path).tell(), 120))


def test_there_is_a_story_for_every_clause():
    assert not TOLD - {clause for path in STORIES for clause in yaml.safe_load(path.read_text(encoding="utf-8"))["clauses"]}


def test_two_contracts_never_have_one_address():
    """A fixed address is one line's (`nbnet/別紙1`, `vectant/別記1`): the customer file is refused, both lines named."""
    text = """\
version: 1
customers:
  - {id: v-1, terms: vectant, prefixes: [192.0.2.1]}
  - {id: n-8, terms: nbnet, prefixes: [192.0.2.0/29]}
"""
    with pytest.raises(ConfigError) as raised:
        parse_customers(text, "customers.yaml")
    assert "v-1" in str(raised.value)
    assert "n-8" in str(raised.value)
