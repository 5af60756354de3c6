"""Joins between what watches customers' use: sessions to lines, to usage, and to the detector of double log-ins and the NAS."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from sekisho.app.control_nas import duplicate_logins
from sekisho.app.control_usage import usage_body
from sekisho.measures.combine import ENFORCED
from sekisho.model.customers import Prefix
from sekisho.model.measures import Detector
from support import coaserver, radius
from support.radius import INTERIM, START, STOP, Nas, address, integer, octets
from unit.control.sites import daemon

PACK = """\
version: 1
pack: once
document: {title: Rules of logging in, operator: Example ISP, version: "1"}
clauses:
  - id: once/1
    article: "1"
    ja: 重複ログイン
    en: One ID is for one session.
    rules:
      - {kind: measure, ground: duplicate-login, detector: duplicate-login, effect: by-hand, extent: partial, notice: none,
         fees: continue, record: {fields: [time, customer, clause, action], retention: 180d}}
"""
NOTHING = {"silence": False, "mail": False, "shaping": False}
"""Of lines: known, and nothing is done to them in any kernel."""
USER = "hana@ppp.example"


@pytest.fixture
def site(folder):
    folder.write("secret", radius.SECRET.decode())
    folder.write("asked", coaserver.SECRET.decode())
    folder.write("once.yaml", PACK)
    folder.customers([{"id": "c-9", "terms": ["once"], "logins": [USER], "prefixes": ["192.0.2.9"]}])
    nas = [{"id": name, "address": f"127.0.0.{number}", "secret_file": "secret"} for number, name in ((1, "bras-1"), (2, "bras-2"))]
    folder.set(
        terms=["./once.yaml"],
        measures={"mode": "enforce"},
        radius={"listen": ["127.0.0.1:0"], "nas": nas},
        lines=NOTHING,
        duplicates={"grace": "1m"},
    )
    return folder


class On:
    """The daemon's core, and access servers that tell it of sessions."""

    def __init__(self, core):
        self.core = core
        self.now = time.time()

    async def tell(self, host, *what):
        nas = Nas(self.core.sessions.radius.addresses[0][1], host=host)
        await asyncio.to_thread(nas.tell, *what)
        nas.close()

    def open(self):
        return [one for one in self.core.measures.book.open() if one.detector is Detector.DUPLICATE_LOGIN]

    async def look(self):
        """What the daemon does now and then."""
        self.now += 60
        await self.core.bandwidth.tick(self.core.people, self.now)
        await self.core.measures.tick(self.now)
        await self.core.nas.look(duplicate_logins(self.core.measures.view(self.now)))


def go(site, scenario):
    async def main():
        async with daemon(site) as control:
            await scenario(On(control.core))

    asyncio.run(asyncio.wait_for(main(), 120))


def test_the_addresses_of_a_session_are_the_lines_at_once(site):
    async def scenario(it):
        lines = it.core.lines
        await lines.step()
        await it.tell("127.0.0.1", START, "s1", USER, address("198.51.100.7"))
        assert list(lines._dirty) == ["c-9"], "the lines were told"
        assert lines.wants.line("c-9", counted=True).prefixes == (Prefix.parse("192.0.2.9"), Prefix.parse("198.51.100.7"))
        await lines.step()
        assert not lines._dirty
        await it.tell("127.0.0.1", STOP, "s1", USER)
        assert list(lines._dirty) == ["c-9"]
        assert lines.wants.line("c-9", counted=True).prefixes == (Prefix.parse("192.0.2.9"),)

    go(site, scenario)


def test_a_fixed_address_on_anothers_line_is_not_the_owners_meanwhile(site):
    site.customers(
        [
            {"id": "c-9", "terms": ["once"], "logins": [USER], "prefixes": ["192.0.2.9"]},
            {"id": "c-8", "terms": ["once"], "prefixes": ["192.0.2.8"]},
        ]
    )

    async def scenario(it):
        lines = it.core.lines
        await lines.step()
        await it.tell("127.0.0.1", START, "s1", USER, address("192.0.2.8"))
        assert set(lines._dirty) == {"c-8", "c-9"}, "both were told"
        assert it.core.sessions.prefixes_of("c-8") == ()
        assert it.core.sessions.prefixes_of("c-9") == (Prefix.parse("192.0.2.9"), Prefix.parse("192.0.2.8"))
        await lines.step()
        await it.tell("127.0.0.1", STOP, "s1", USER)
        assert set(lines._dirty) == {"c-8", "c-9"}
        assert it.core.sessions.prefixes_of("c-8") == (Prefix.parse("192.0.2.8"),)

    go(site, scenario)


def test_octets_of_accounting_are_the_customers_usage(site):
    async def scenario(it):
        await it.tell("127.0.0.1", START, "s1", USER, address("198.51.100.7"))
        await it.tell("127.0.0.1", INTERIM, "s1", USER, octets(3 << 20, 5 << 30))
        await it.core.sessions.tick()
        used = usage_body(it.core, "c-9")
        assert used["source"] == "radius"
        assert [(day["up_bytes"], day["down_bytes"]) for day in used["days"]] == [(3 << 20, 5 << 30)]

    go(site, scenario)


def test_a_line_is_on_the_segment_its_session_has_an_address_of(site):
    site.set(bandwidth={"segments": [{"id": "bas-1", "down": "1Gbit/s", "up": "1Gbit/s", "prefixes": ["198.51.100.0/24"]}]})

    async def scenario(it):
        def on():
            return it.core.bandwidth.index.lines.on(it.core.tables.row_of("c-9"))

        await it.look()
        assert on() == []
        await it.tell("127.0.0.1", START, "s1", USER, address("198.51.100.7"))
        await it.look()
        assert on() == [0], "the look after the log-in has it there"
        await it.tell("127.0.0.1", START, "s2", USER, address("203.0.113.7"))
        await it.tell("127.0.0.1", STOP, "s1", USER)
        await it.look()
        assert on() == []
        assert not it.core.bandwidth._moved, "who moved is remembered until then"

    go(site, scenario)


async def side_by_side(it):
    """One ID in sessions at two access servers that began ten minutes ago (Acct-Delay-Time)."""
    for host, session, began in (("127.0.0.1", "s1", 600), ("127.0.0.2", "s2", 590)):
        await it.tell(host, START, session, USER, integer(41, began))


async def asked(it):
    """Until no NAS is asked any more."""
    while not it.core.nas.book.idle():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("configured", "ended"), [(True, [["s2"], ["s3"]]), (False, [])])
def test_a_double_log_in_is_found_and_its_later_sessions_ended_where_that_is_configured(site, configured, ended):
    async def scenario(it, server):
        running = asyncio.create_task(it.core.nas.run())
        await side_by_side(it)
        await it.look()
        assert not it.open(), "a reconnect has a grace"
        await asyncio.gather(it.tell("127.0.0.1", INTERIM, "s1", USER), it.tell("127.0.0.2", INTERIM, "s2", USER))
        await it.look()
        (measure,) = it.open()
        assert (measure.customer, measure.clause, measure.state in ENFORCED) == ("c-9", "once/1", True)
        assert measure.evidence["sessions"] == 2
        await asked(it)
        await it.tell("127.0.0.2", STOP, "s2", USER)
        await it.tell("127.0.0.2", START, "s3", USER)
        await asked(it)
        assert [one.text(44) for one in server.requests] == ended
        await it.tell("127.0.0.2", STOP, "s3", USER)
        await it.look()
        assert not it.open()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    with coaserver.running() as server:
        nas = {"address": f"127.0.0.1:{server.port}", "secret_file": "asked", "vendor": "cisco"}
        nases = [{"id": name} | nas for name in ("bras-1", "bras-2")]
        site.set(coa={"nas": nases, "disconnect_duplicates": configured})
        go(site, lambda it: scenario(it, server))
    assert all(one.disconnects and one.genuine for one in server.requests)


@pytest.mark.parametrize(
    ("timeout", "later", "found"),
    [("1h", ["127.0.0.1"], False), (None, [], False), (None, ["127.0.0.2"], False), (None, ["127.0.0.1"], True)],
)
def test_a_double_log_in_is_found_where_a_nas_sends_no_interim_updates(site, timeout, later, found):
    """By its configuration, and as long as anything is heard of the NAS of the earlier one."""
    nas = [{"id": f"bras-{number}", "address": f"127.0.0.{number}", "secret_file": "secret", "timeout": timeout} for number in (1, 2)]
    site.set(radius={"listen": ["127.0.0.1:0"], "nas": nas})

    async def scenario(it):
        await it.tell("127.0.0.1", START, "s1", USER, integer(41, 600))
        await it.tell("127.0.0.2", START, "s2", USER, integer(41, 300))
        for host in later:
            await it.tell(host, START, "another", "somebody@ppp.example")
        it.now = time.time()
        for _ in range(3):
            await it.look()
        assert bool(it.open()) == found
        await it.tell("127.0.0.2", STOP, "s2", USER)
        await it.look()
        assert not it.open()

    go(site, scenario)


def test_what_the_word_of_a_nas_is_worth_is_known_after_a_restart(site):
    async def tell(it):
        await it.tell("127.0.0.1", START, "s1", USER, integer(41, 600))

    async def ask(it):
        due, heard = it.core.sessions.word("bras-1")
        assert due == 1800
        assert abs(time.time() - 600 - heard) < 60
        assert it.core.sessions.word("bras-9") == (0.0, 0.0)

    go(site, tell)
    go(site, ask)
