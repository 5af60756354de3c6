"""A site whose access server tells RADIUS, and its running daemon, as tests of sessions use them."""

from __future__ import annotations

import asyncio
import contextlib

from support import radius
from support.radius import Nas
from unit.control.sites import ACTOR, CUSTOMERS, daemon

MOBILE = [*CUSTOMERS, {"id": "c-9", "terms": "gunma", "logins": ["hana@ppp.example"]}]
DAY = 86400.0


def radius_site(folder):
    """The files of a small site with one NAS."""
    folder.write("secret", radius.SECRET.decode())
    folder.customers(MOBILE)
    configure(folder)
    return folder


def configure(folder, listen="127.0.0.1:0", realms=(), **nas):
    one = {"id": "bras-1", "address": "127.0.0.1", "secret_file": "secret"} | nas
    folder.set(radius={"listen": [listen], "nas": [one], "realms": list(realms)})


class On:
    """The daemon of a site, with a NAS that speaks to it from another thread."""

    def __init__(self, control):
        self.control = control
        self.core = control.core
        self.sessions = control.core.sessions

    async def nas(self, **more):
        return Nas(self.sessions.radius.addresses[0][1], **more)

    async def tell(self, nas, *what):
        await asyncio.to_thread(nas.tell, *what)

    def owner(self, text):
        """The customer of a source address, as the plane reads the tables."""
        answer = self.core.reader.explain(text, 0, b"\x03www\x07example\x00", 1)
        return answer.customer

    async def show(self, **more):
        asked = {"customer": None, "user": None, "nas": None, "unknown": False, "ended": False, "limit": 100} | more
        return await self.control.show_sessions(asked.pop("customer"), asked.pop("user"), asked.pop("nas"), **asked)

    async def at(self, text, when=None, port=None):
        return await self.control.session_at(text, when, port, "ticket 1", actor=ACTOR)


@contextlib.asynccontextmanager
async def on(site):
    async with daemon(site) as control:
        yield On(control)


def go(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 600))


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")
