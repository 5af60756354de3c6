"""Limits at NASes and what accounting tells: from packets of RADIUS through the daemon's core to packets of CoA."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import pytest

from sekisho.model.nas import RequestKind, RequestOutcome
from support import coaserver, radius
from support.radius import INTERIM, START, Nas, address, integer
from unit.control.sites import ACTOR, daemon

CLAUSE = "network-service/16-15"
SESSION, RATE = 44, (14988, 8)
SLOW, FULL = "5000k/10000k", "50000k/100000k"
HOUR = 3600.0


class On:
    """The daemon's core with one NAS, which tells of sessions and is asked; nothing is asked but by `ask`."""

    def __init__(self, control, server, nas):
        self.control, self.core, self.server, self.bras = control, control.core, server, nas
        self.nas = control.core.nas
        self.ahead = 0.0
        sessions = self.core.sessions
        self.core.clock = sessions._clock = lambda: time.time() + self.ahead
        self.nas._now = lambda: time.monotonic() + self.ahead
        sessions.radius._take = lambda batch: sessions._take([(ticket, replace(told, at=told.at + self.ahead)) for ticket, told in batch])

    async def later(self, seconds):
        self.ahead += seconds
        await self.core.sessions.tick()

    async def tell(self, kind, user="c-1", *, seconds=None):
        more = b"" if seconds is None else integer(46, seconds)
        await asyncio.to_thread(self.bras.tell, kind, "s-1", user, address("198.51.100.7") + more)

    async def ask(self, reply=coaserver.ack):
        """Ask what is due, as often as something is after an answer. Returns the rates that were asked for."""
        self.server.reply = reply
        before = len(self.server.requests)
        await self.nas.step()
        while self.nas._asking:
            await asyncio.gather(*self.nas._asking)
            await self.nas.step()
        return [one.text(RATE)[0] for one in self.server.requests[before:]]

    async def suspend(self):
        made = await self.control.suspend("c-1", CLAUSE, reason="a storm", urgent=False, actor=ACTOR)
        return made["id"]

    async def lift(self, measure):
        await self.control.lift_measure(measure, reason="it stopped", actor=ACTOR)

    async def remembered(self):
        return [(one.target.session, one.certain) for one in await self.nas._memory.read()]


@pytest.fixture
def site(folder):
    folder.write("secret", coaserver.SECRET.decode())
    folder.write("accounting-secret", radius.SECRET.decode())
    plan = {"down_mbps": 100, "up_mbps": 50}
    folder.customers([{"id": name, "terms": "network-service", "plan": plan} for name in ("c-1", "c-2")])
    told = {"id": "bras-1", "address": "127.0.0.1", "secret_file": "accounting-secret", "timeout": "1h", "grace": "10m"}
    folder.set(terms=["network-service"], measures={"mode": "enforce"}, radius={"listen": ["127.0.0.1:0"], "nas": [told]})
    return folder


@contextlib.asynccontextmanager
async def on(site):
    with coaserver.running() as server:
        one = {"id": "bras-1", "address": f"127.0.0.1:{server.port}", "secret_file": "secret", "vendor": "mikrotik"}
        site.set(coa={"nas": [one], "timeout": 0.05, "retries": 0, "backoff": "1s", "backoff_max": "2s"})
        async with daemon(site) as control:
            bras = Nas(control.core.sessions.radius.addresses[0][1])
            try:
                yield On(control, server, bras)
            finally:
                bras.close()


def go(site, scenario):
    async def main():
        async with on(site) as it:
            await scenario(it)

    asyncio.run(asyncio.wait_for(main(), 600))


def test_a_limit_whose_nas_could_not_be_reached_while_the_measure_ended_is_lifted_when_the_session_is_heard_of_again(site):
    async def scenario(it):
        await it.tell(START)
        measure = await it.suspend()
        assert await it.ask() == [SLOW]
        (began,) = it.core.sessions.live("c-1")
        await it.later(HOUR + 700)
        assert it.core.sessions.live("c-1") == []
        assert await it.ask(coaserver.silence) == [FULL], "nobody knows of the session, so nothing is to be limited"
        await it.lift(measure)
        it.ahead += 60
        await it.tell(INTERIM, seconds=4400)
        assert it.core.sessions.live("c-1")[0].since == began.since, "it is the same session"
        assert await it.remembered() == [("s-1", False)], "what the NAS may hold is remembered"
        assert await it.ask() == [FULL]
        assert await it.remembered() == []
        assert it.nas.requests[RequestKind.LIFT, RequestOutcome.ACKNOWLEDGED] == 1
        assert it.nas.book.idle()

    go(site, scenario)


def test_likewise_when_it_is_heard_of_so_late_that_it_counts_as_another_session(site):
    async def scenario(it):
        await it.tell(START)
        measure = await it.suspend()
        await it.ask()
        await it.later(HOUR + 700)
        await it.ask(coaserver.silence)
        await it.lift(measure)
        await it.later(2 * HOUR)
        await it.tell(INTERIM, seconds=11_600)
        assert await it.ask() == [FULL]
        assert await it.remembered() == []

    go(site, scenario)


def test_a_limited_session_that_is_heard_of_again_keeps_its_limit(site):
    async def scenario(it):
        await it.tell(START)
        await it.suspend()
        await it.ask()
        await it.later(HOUR + 700)
        await it.ask(coaserver.silence)
        it.ahead += 60
        await it.tell(INTERIM, seconds=4400)
        assert await it.ask() == [SLOW]
        assert await it.remembered() == [("s-1", True)]

    go(site, scenario)


def test_a_session_that_starts_anew_under_the_name_of_one_that_was_limited_has_its_full_speed(site):
    async def scenario(it):
        await it.tell(START)
        measure = await it.suspend()
        await it.ask()
        await it.later(HOUR + 700)
        await it.ask(coaserver.silence)
        await it.lift(measure)
        it.ahead += 60
        await it.tell(START, seconds=0)
        assert await it.ask() == []
        assert await it.remembered() == []

    go(site, scenario)
