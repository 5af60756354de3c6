"""Limits at NASes while the daemon runs: real packets to a real UDP server, and a memory on disk."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from sekisho.app.control_nas import NasLimits
from sekisho.config.coa import CoaSettings
from sekisho.drivers.nasmemory import NasMemory
from sekisho.model.customers import Customer, Plan, Prefix
from sekisho.model.errors import LedgerError
from sekisho.model.measures import NONE, Enforcement
from sekisho.model.nas import Limit, Remembered, RequestKind, RequestOutcome, Target
from sekisho.model.sessions import Session, SessionEnd
from support import coaserver

SLOW = Enforcement(rate=(10_000_000, 1_000_000), by=("nbnet/22-2-4",))
RATE, SESSION, USER, ADDRESS = (14988, 8), 44, 1, 8
PEOPLE = {
    name: Customer(name, ("nbnet",), (Prefix.parse(f"192.0.2.{number}"),), plan=Plan(100, 50))
    for number, name in enumerate(("c-1", "c-2"), 1)
}


def session(number, customer="c-1", nas="bng-1", since=0.0):
    return Session(nas, f"s-{number}", f"{customer}@example.net", customer, since, since, (Prefix.parse(f"198.51.100.{number}"),))


class Live:
    """Who is on which line now."""

    def __init__(self, *sessions):
        self.sessions = list(sessions)

    def live(self, customer):
        return [one for one in self.sessions if one.customer == customer]

    def login_of(self, user):
        return user.removesuffix("@ppp.example")


class Site:
    """A daemon's NAS side, which can die and be started again."""

    def __init__(self, folder, *ports, **more):
        self.folder, self.ports, self.more = folder, ports, more
        (folder / "secret").write_bytes(coaserver.SECRET)
        self.live = Live()
        self.enforced = {}

    def settings(self, **more):
        extra = {"secret_file": str(self.folder / "secret"), "vendor": "mikrotik", **self.more.get("nas", {})}
        nases = [{"id": f"bng-{number}", "address": f"127.0.0.1:{port}", **extra} for number, port in enumerate(self.ports, 1)]
        rest = {key: value for key, value in self.more.items() if key != "nas"}
        return CoaSettings.model_validate({"nas": nases, "timeout": 5.0, "retries": 1, "backoff": 0.05, "backoff_max": 0.2, **rest, **more})

    @contextlib.asynccontextmanager
    async def running(self, **more):
        path = self.folder / "nas.db"
        limits = NasLimits(lambda: NasMemory.open(path), PEOPLE.get, lambda one: one.plan, self.live, lambda: self.enforced)
        await limits.start(self.settings(**more), remembered=path.exists())
        await limits.reconcile({})
        task = asyncio.create_task(limits.run())
        try:
            yield limits
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await limits.stop()
            await limits.close()

    def enforce(self, limits, customer, what):
        self.enforced = {**self.enforced, customer: what}
        limits.follow([customer])

    def remembered(self):
        async def read():
            memory = NasMemory.open(self.folder / "nas.db")
            try:
                return await memory.read()
            finally:
                await memory.close()

        return asyncio.run(read())


async def until(condition, what, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
    return what


def rates(server):
    return [asked.text(RATE) for asked in server.requests]


async def settled(limits):
    await until(limits.book.idle, "everything is asked")


def test_a_measure_slows_the_line_and_its_end_gives_the_speed_of_the_contract_back(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            site.enforce(limits, "c-1", NONE)
            await settled(limits)
            assert limits.requests == {(kind, RequestOutcome.ACKNOWLEDGED): 1 for kind in (RequestKind.LIMIT, RequestKind.LIFT)}
        return site

    with coaserver.running() as server:
        site = asyncio.run(story(server))
    assert site.remembered() == []
    assert rates(server) == [["1000k/10000k"], ["50000k/100000k"]]
    assert all(one.genuine and one.text(SESSION) == ["s-1"] and one.text(USER) == ["c-1@example.net"] for one in server.requests)


@pytest.mark.parametrize("share", [True, False])
def test_sessions_of_one_customer_at_two_nases_share_the_promised_rate_as_they_come_and_go(tmp_path, share):
    whole, half = "1000k/10000k", "500k/5000k" if share else "1000k/10000k"

    async def story(first, second):
        site = Site(tmp_path, first.port, second.port, share=share)
        site.live.sessions = [session(1)]

        async def now(*expected):
            await settled(limits)
            assert [rates(one)[-1:] for one in (first, second)] == [[[said]] if said else [] for said in expected]

        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await now(whole, None)
            site.live.sessions.append(session(2, nas="bng-2", since=5.0))
            limits.session_started(site.live.sessions[1])
            await now(half, half)
            gone = site.live.sessions.pop(0)
            limits.session_ended(replace(gone, until=9.0, end=SessionEnd.STOP))
            await now(half, whole)
            site.enforce(limits, "c-1", NONE)
            await now(half, "50000k/100000k")

    with coaserver.running() as first, coaserver.running() as second:
        asyncio.run(story(first, second))
        asked = len(first.requests), len(second.requests)
    assert asked == ((2, 3) if share else (1, 2)), "nothing is asked twice"


@pytest.mark.parametrize("lifted", [False, True])
def test_a_daemon_that_died_knows_of_the_limit_it_left(tmp_path, lifted):
    """A request was on its way when it died: nobody knows whether the NAS carried it out."""
    site = Site(tmp_path, 9)
    limit = Limit(10_000_000, 1_000_000, 100_000_000, 50_000_000)
    target = Target("bng-1", "s-1", "c-1@example.net", "c-1", (Prefix.parse("198.51.100.1"),))

    async def before():
        memory = NasMemory.open(tmp_path / "nas.db")
        await memory.write([Remembered(target, limit, certain=False)], [])
        await memory.close()

    async def after():
        site.live.sessions = [session(1)]
        site.enforced = {} if lifted else {"c-1": SLOW}
        async with site.running() as limits:
            await settled(limits)

    asyncio.run(before())
    with coaserver.running() as server:
        site.ports = (server.port,)
        asyncio.run(after())
    assert rates(server) == [["50000k/100000k"] if lifted else ["1000k/10000k"]]
    assert [one.certain for one in site.remembered()] == ([] if lifted else [True])


def test_it_is_written_down_before_the_nas_is_asked(tmp_path):
    site = Site(tmp_path, 9)
    seen = []

    def look(server, asked):
        seen.append(asyncio.run_coroutine_threadsafe(asyncio.to_thread(lambda: sqlite_rows(tmp_path / "nas.db")), loops[0]).result(60))
        return coaserver.ack(server, asked)

    loops = []

    async def story():
        loops.append(asyncio.get_running_loop())
        site.live.sessions = [session(1)]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)

    with coaserver.running(look) as server:
        site.ports = (server.port,)
        asyncio.run(story())
    assert seen[0] == [("s-1", 0)]
    assert [one.certain for one in site.remembered()] == [True]


def sqlite_rows(path):
    import sqlite3

    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT session, certain FROM held").fetchall()


def test_nothing_is_asked_while_it_cannot_be_written_down(tmp_path, monkeypatch):
    site = Site(tmp_path, 9)

    async def full(self, kept, gone):
        raise LedgerError("the disk is full; make room")

    async def story(server):
        site.live.sessions = [session(1)]
        async with site.running() as limits:
            monkeypatch.setattr(NasMemory, "write", full)
            site.enforce(limits, "c-1", SLOW)
            await until(lambda: limits._disk_failed, "the disk fails")
            assert server.asked == []
            monkeypatch.undo()
            monkeypatch.setattr("sekisho.app.control_nas_asking._DISK_WAIT", 0.0)
            limits.book.want("c-1", None, [], 0.0)
            site.enforce(limits, "c-1", SLOW)
            await until(lambda: server.asked, "it is asked")

    with coaserver.running() as server:
        site.ports = (server.port,)
        monkeypatch.setattr("sekisho.app.control_nas_asking._DISK_WAIT", 0.05)
        asyncio.run(story(server))


def test_a_session_that_starts_later_is_slowed_at_its_start_and_a_restarted_nas_once_more(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            assert server.asked == []
            site.live.sessions = [session(1)]
            limits.session_started(session(1))
            await settled(limits)
            assert len(server.requests) == 1
            limits.nas_restarted("bng-1")
            site.live.sessions = [session(2)]
            limits.session_started(session(2))
            await settled(limits)
            limits.session_started(session(3, customer="c-2"))
            await settled(limits)

    with coaserver.running() as server:
        asyncio.run(story(server))
    assert [one.text(SESSION) for one in server.requests] == [["s-1"], ["s-2"]]


@pytest.mark.parametrize(
    ("end", "said"), [(SessionEnd.STOP, 1), (SessionEnd.NAS_RESTART, 1), (SessionEnd.TIMEOUT, 2), (SessionEnd.REPLACED, 2)]
)
def test_a_limit_on_a_session_that_was_only_not_heard_of_any_more_is_taken_back(tmp_path, end, said):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            site.live.sessions = []
            limits.session_ended(replace(session(1), until=9.0, end=end))
            await settled(limits)
        return site

    with coaserver.running() as server:
        site = asyncio.run(story(server))
    assert len(server.requests) == said
    assert site.remembered() == []


def test_a_session_that_began_before_the_restart_of_its_nas_was_told_is_slowed(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(2)]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            limits.nas_restarted("bng-1")
            await settled(limits)

    with coaserver.running() as server:
        asyncio.run(story(server))
    assert [one.text(SESSION) for one in server.requests] == [["s-2"], ["s-2"]]


def test_a_limit_that_a_nas_refuses_is_told_with_its_cause(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            assert any("bng-1 refuses what is asked for 1 line;" in one for one in limits.warnings())
            assert {cause.word: count for cause, count in limits.causes.items()} == {"unsupported-attribute": 1}

    with coaserver.running(coaserver.nak(401)) as server:
        asyncio.run(story(server))
    assert len(server.requests) == 1


def test_a_nas_that_does_not_answer_is_told_of_and_asked_until_it_does(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running(timeout=0.05) as limits:
            site.enforce(limits, "c-1", SLOW)
            await until(lambda: any("bng-1 does not answer, and 1 line waits" in one for one in limits.warnings()), "it is told")
            server.reply = coaserver.ack
            await settled(limits)
            assert limits.warnings() == []

    with coaserver.running(coaserver.silence) as server:
        asyncio.run(story(server))


def test_several_nases_are_asked_each_with_its_own(tmp_path):
    async def story(one, other):
        site = Site(tmp_path, one.port, other.port)
        site.live.sessions = [session(1), session(2, nas="bng-2"), session(3, nas="elsewhere")]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)

    with coaserver.running() as one, coaserver.running() as other:
        asyncio.run(story(one, other))
    assert [[asked.text(SESSION) for asked in server.requests] for server in (one, other)] == [[["s-1"]], [["s-2"]]]


def test_observing_sends_nothing(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running(mode="observe") as limits:
            site.enforce(limits, "c-1", SLOW)
            await limits.step()
            (line,) = limits.book.lines()
            assert limits.book.next_of(line).kind is RequestKind.LIMIT
            await limits.adopt(site.settings())
            await settled(limits)

    with coaserver.running() as server:
        asyncio.run(story(server))
    assert rates(server) == [["1000k/10000k"]], "and what was observed is asked once it is enforced"


@pytest.mark.parametrize(("on_stop", "said"), [("leave", 1), ("remove", 2)])
def test_on_stop_limits_stay_or_are_lifted_as_the_operator_chose(tmp_path, on_stop, said):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running(on_stop=on_stop) as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
        return site

    with coaserver.running() as server:
        site = asyncio.run(story(server))
    assert len(server.requests) == said
    assert len(site.remembered()) == 2 - said


def test_a_stop_waits_no_longer_than_it_may_for_a_nas_that_is_silent(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running(on_stop="remove", stop_timeout=0.3) as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            server.reply = coaserver.silence
        return site

    with coaserver.running() as server:
        site = asyncio.run(story(server))
    assert [one.certain for one in site.remembered()] == [False], "what may be there is remembered"


def test_a_line_with_a_fixed_address_is_slowed_without_accounting(tmp_path):
    async def story(server):
        site = Site(tmp_path, server.port, nas={"networks": ["192.0.2.0/24"]})
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)

    with coaserver.running() as server:
        asyncio.run(story(server))
    (asked,) = server.requests
    assert asked.packet[ADDRESS] == [bytes((192, 0, 2, 1))]
    assert (asked.text(SESSION), asked.text(RATE)) == ([], ["1000k/10000k"])


@pytest.mark.parametrize(("configured", "ended"), [(False, []), (True, [["s-2"], ["s-3"]])])
def test_the_later_sessions_of_a_duplicate_log_in_are_ended_where_that_is_configured(tmp_path, configured, ended):
    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(2, since=20.0), session(1, since=10.0)]
        async with site.running(disconnect_duplicates=configured) as limits:
            await limits.look({"c-1": 1})
            await settled(limits)
            limits.session_ended(session(2))
            site.live.sessions = [session(1, since=10.0), session(3, since=30.0)]
            limits.session_started(session(3, since=30.0))
            await settled(limits)

    with coaserver.running() as server:
        asyncio.run(story(server))
    assert [one.text(SESSION) for one in server.requests] == ended
    assert all(one.disconnects for one in server.requests)


def test_sessions_of_the_customers_other_ids_go_on(tmp_path):
    def under(number, user, since):
        return replace(session(number, since=since), user=user)

    async def story(server):
        site = Site(tmp_path, server.port)
        site.live.sessions = [under(1, "home", 10.0), under(2, "shop", 20.0), under(3, "home@ppp.example", 30.0), under(4, "shed", 40.0)]
        async with site.running(disconnect_duplicates=True) as limits:
            await limits.look({"c-1": 1})
            await settled(limits)

    with coaserver.running() as server:
        asyncio.run(story(server))
    assert [one.text(SESSION) for one in server.requests] == [["s-3"]]


def test_without_a_section_what_is_remembered_is_told(tmp_path):
    async def story():
        site = Site(tmp_path, server.port)
        site.live.sessions = [session(1)]
        async with site.running() as limits:
            site.enforce(limits, "c-1", SLOW)
            await settled(limits)
            await limits.adopt(None)
            assert any("bng-1, which `coa:` does not name any more, may hold 1 limit;" in one for one in limits.warnings())

    with coaserver.running() as server:
        asyncio.run(story())
