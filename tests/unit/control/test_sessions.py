"""RADIUS through the running daemon: from a packet to the table the plane reads, the disk, the answer and the operator."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import time

import numpy as np
import pytest
import structlog

from sekisho.api.requests import BadRequestError
from sekisho.app import control_taken
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.sessions import Accounting, AccountingKind
from sekisho.model.usage import Source
from support import radius, wait_until
from support.radius import INTERIM, ON, START, STOP, Nas, address, integer, octets, prefix6
from unit.control.sites import ACTOR, CUSTOMERS, daemon

MOBILE = [*CUSTOMERS, {"id": "c-9", "terms": "gunma", "logins": ["hana@ppp.example"]}]
DAY = 86400.0


@pytest.fixture
def site(folder):
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


def test_a_log_in_is_in_force_and_on_disk_when_it_is_answered(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            assert it.owner("198.51.100.7") is None
            await it.tell(nas, START, "s1", "hana@ppp.example", address("198.51.100.7") + prefix6("2001:db8:77::/56"))
            assert it.owner("198.51.100.7") == "c-9"
            assert it.owner("2001:db8:77:9::1") == "c-9"
            (row,) = it.sessions.history._reader.execute("SELECT customer, until FROM sessions").fetchall()
            assert row == ("c-9", None)
            assert it.sessions.prefixes_of("c-9") == (Prefix.parse("198.51.100.7"), Prefix.parse("2001:db8:77::/56"))
            before = time.time()
            await it.tell(nas, STOP, "s1", "hana@ppp.example", integer(46, 1))
            assert it.owner("198.51.100.7") is None
            assert (await it.at("198.51.100.7", before - 0.001))["customer"] == "c-9"
            assert (await it.at("198.51.100.7"))["outcome"] == "unknown"
            nas.close()

    go(scenario)


def test_sessions_go_on_over_a_restart_and_a_reload(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.tell(nas, INTERIM, "s1", "c-1", octets(10, 20) + integer(46, 5))
            nas.close()
        async with on(site) as it:
            assert it.owner("198.51.100.7") == "c-1"
            (session,) = (await it.show())["sessions"]
            assert (session["customer"], session["down"], session["up"]) == ("c-1", 20, 10)
            site.customers([one for one in MOBILE if one["id"] != "c-1"])
            await it.control.reload(actor=ACTOR)
            assert it.owner("198.51.100.7") is None
            assert (await it.show(unknown=True))["sessions"][0]["user"] == "c-1"
            site.customers(MOBILE)
            await it.control.reload(actor=ACTOR)
            assert it.owner("198.51.100.7") == "c-1"
            await it.core.tables.rebuild(time.time())
            assert it.owner("198.51.100.7") == "c-1"

    go(scenario)


def test_what_a_session_holds_stays_when_its_customer_is_changed_at_run_time(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "new@ppp.example", address("198.51.100.7"))
            body = await it.show(unknown=True)
            assert (body["unknown"], body["sessions"][0]["customer"], it.owner("198.51.100.7")) == (1, None, None)
            record = {"id": "c-77", "terms": "gunma", "logins": ["new@ppp.example"], "prefixes": ["192.0.2.77"]}
            await it.control.add_customer(record, replace=False, actor=ACTOR)
            assert (it.owner("198.51.100.7"), it.owner("192.0.2.77")) == ("c-77", "c-77")
            await it.control.add_customer(record | {"group": "g"}, replace=True, actor=ACTOR)
            assert it.owner("198.51.100.7") == "c-77"
            await it.control.remove_customer("c-77", actor=ACTOR)
            assert it.owner("198.51.100.7") is None
            assert (await it.show())["unknown"] == 1
            nas.close()

    go(scenario)


def test_a_log_in_name_is_one_customers(site):
    async def scenario():
        async with on(site) as it:
            for record in ({"id": "c-78", "terms": "gunma", "logins": ["hana@ppp.example"]}, {"id": "hana@ppp.example", "terms": "gunma"}):
                with pytest.raises(RefusedError, match="c-9"):
                    await it.control.add_customer(record, replace=False, actor=ACTOR)

    go(scenario)


def test_a_fixed_address_is_its_customers_again_when_the_session_that_had_it_ends(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-9", address("192.0.2.1"))
            assert it.owner("192.0.2.1") == "c-9"
            await it.tell(nas, STOP, "s1", "c-9")
            assert it.owner("192.0.2.1") == "c-1"
            nas.close()

    go(scenario)


def test_a_fixed_address_on_anothers_line_is_told_once_and_shown_while_it_is_so(site):
    async def scenario():
        async with on(site) as it:
            assert not (await it.show())["faults"]
            nas = await it.nas()
            await it.tell(nas, START, "s0", "c-1", address("192.0.2.1"))
            assert not (await it.show())["faults"], "their own"
            for session in ("s1", "s2"):
                await it.tell(nas, INTERIM, session, "c-9", address("192.0.2.1"))
            assert it.owner("192.0.2.1") == "c-9", "RADIUS knows who is on the line"
            (fault,) = (await it.show())["faults"]
            assert "1 address of other customers' fixed prefixes, such as 192.0.2.1/32 of c-1, which is on the line of c-9" in fault
            assert fault in (await it.control.status())["warnings"]
            nas.close()
        async with on(site) as it:
            await until(lambda: len(it.sessions.taken()) == 1)
            nas = await it.nas()
            await it.tell(nas, START, "s3", "stranger", address("192.0.2.1"))
            assert "on the line of a user who is no customer" in (await it.show())["faults"][0]
            await it.tell(nas, STOP, "s3", "stranger", integer(46, 5))
            assert not (await it.show())["faults"]
            nas.close()

    with structlog.testing.capture_logs() as logs:
        go(scenario)
    told = [(one["prefix"], one["owner"], one["customer"]) for one in logs if one["event"] == "fixed-prefix-taken"]
    # Once before the restart, once after it.
    assert told == [("192.0.2.1/32", "c-1", "c-9"), ("192.0.2.1/32", "c-1", "c-9"), ("192.0.2.1/32", "c-1", None)]


def test_a_pool_laid_over_fixed_prefixes_fills_neither_memory_nor_log(site, monkeypatch):
    monkeypatch.setattr(control_taken, "MOST", 2)
    site.customers([{"id": "c-30", "terms": "gunma", "prefixes": ["203.0.113.0/29"]}, {"id": "c-9", "terms": "gunma"}])

    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            for last in range(5):
                await it.tell(nas, START, f"s{last}", "c-9", address(f"203.0.113.{last}"))
            assert len(it.sessions._taken._codes) == 2
            for last in range(5):
                await it.tell(nas, STOP, f"s{last}", "c-9", integer(46, 5))
            await it.sessions.tick()
            assert not it.sessions._taken._codes, "there is room again"
            nas.close()

    with structlog.testing.capture_logs() as logs:
        go(scenario)
    assert [one["event"] for one in logs].count("fixed-prefix-taken") == 2


def test_a_nas_that_restarts_leaves_no_ghosts_and_others_sessions_alone(site):
    async def scenario():
        site.set(
            radius={
                "listen": ["127.0.0.1:0"],
                "nas": [
                    {"id": "bras-1", "address": "127.0.0.1", "secret_file": "secret"},
                    {"id": "bras-2", "address": "127.0.0.2", "secret_file": "secret"},
                ],
            }
        )
        async with on(site) as it:
            first, second = await it.nas(), await it.nas(host="127.0.0.2")
            await it.tell(first, START, "s1", "c-1", address("198.51.100.1"))
            await it.tell(second, START, "s1", "c-2", address("198.51.100.2"))
            await it.tell(first, ON)
            assert [one["user"] for one in (await it.show())["sessions"]] == ["c-2"]
            assert (it.owner("198.51.100.1"), it.owner("198.51.100.2")) == (None, "c-2")
            (ended,) = (await it.show(customer="c-1", ended=True))["sessions"]
            assert ended["end"] == "nas-restart"
            first.close()
            second.close()

    go(scenario)


def test_a_log_in_is_not_ended_with_the_sessions_of_before_though_it_is_told_with_the_restart(site):
    """By one batch, and by the same Acct-Session-Id: access servers count from one again."""

    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.1"))
            now = time.time()
            anew = Accounting(AccountingKind.START, "bras-1", now, "s1", "c-1", (Prefix.parse("198.51.100.2"),))
            it.sessions._take([(1, Accounting(AccountingKind.NAS_ON, "bras-1", now)), (2, anew)])
            await until(lambda: not it.sessions._tasks and not it.sessions.history.waiting)
            assert (it.owner("198.51.100.1"), it.owner("198.51.100.2")) == (None, "c-1")
            assert [one["end"] for one in (await it.show(customer="c-1", ended=True))["sessions"]] == [None, "nas-restart"]
            nas.close()

    go(scenario)


def test_a_session_nothing_is_heard_of_ends_after_time_out_and_grace(site):
    async def scenario():
        configure(site, timeout="10m", grace="5m")
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            heard = time.time()
            it.sessions._clock = lambda: heard + 800
            await it.sessions.tick()
            (session,) = (await it.show(customer="c-1"))["sessions"]
            assert it.sessions.is_silent(it.sessions.live("c-1")[0], heard + 800)
            assert session["until"] is None
            it.sessions._clock = lambda: heard + 1000
            await it.sessions.tick()
            assert (await it.show())["live"] == 0
            assert it.owner("198.51.100.7") is None
            nas.close()

    go(scenario)


class Sink:
    def __init__(self):
        self.added = []
        self.over = []

    def expect_none(self, source, rows):
        assert rows.dtype == np.int64
        self.over.append((source, rows.tolist()))

    def add(self, source, at, rows, down, up, seconds, early):
        assert (rows.dtype, down.dtype, up.dtype, seconds.dtype, early.dtype) == (np.int64, np.uint64, np.uint64, np.float64, np.bool_)
        self.early = early.tolist()
        self.added.append((source, rows.tolist(), down.tolist(), up.tolist(), seconds.tolist()))


def test_octets_are_handed_on_from_the_customers_side(site):
    async def scenario(swap):
        configure(site, swap=swap)
        async with on(site) as it:
            it.sessions.usage = sink = Sink()
            nas = await it.nas()
            id_ = f"s-{swap}"
            await it.tell(nas, START, id_, "c-1", address("198.51.100.7"))
            await it.tell(nas, INTERIM, id_, "c-1", octets(1000, 5 << 32) + integer(46, 60))
            await it.tell(nas, STOP, id_, "c-1", octets(1500, (5 << 32) + 7) + integer(46, 120))
            await it.sessions.tick()
            row = it.core.tables.row_of("c-1")
            down, up = (5 << 32) + 7, 1500
            assert sink.added == [(Source.RADIUS, [row], [up if swap else down], [down if swap else up], [60.0])]
            nas.close()

    go(lambda: scenario(swap=False))
    go(lambda: scenario(swap=True))


def test_of_whom_no_session_goes_on_no_report_is_waited_for(site):
    async def scenario():
        async with on(site) as it:
            it.sessions.usage = sink = Sink()
            nas = await it.nas()
            row = it.core.tables.row_of("c-1")
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.tell(nas, INTERIM, "s1", "c-1", octets(1000, 5000) + integer(46, 60))
            await it.sessions.tick()
            assert sink.early == [False]
            await it.tell(nas, START, "s2", "c-1", address("198.51.100.8"))
            await it.tell(nas, STOP, "s1", "c-1", octets(1500, 5500) + integer(46, 120))
            await it.sessions.tick()
            assert sink.over == [], "they have logged in again"
            assert sink.early == [True]
            await it.tell(nas, ON)
            await asyncio.to_thread(wait_until, lambda: not len(it.sessions.table))
            await it.sessions.tick()
            assert sink.over == [(Source.RADIUS, [row])]
            await it.sessions.tick()
            assert len(sink.over) == 1
            nas.close()

    go(scenario)


def test_a_packet_told_again_is_answered_the_same_and_once_carried_out(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            request = nas.request(radius.told(START, "s1", "c-1", address("198.51.100.7")))
            answers = [await asyncio.to_thread(nas.answer, request) for _ in range(3)]
            assert radius.is_answer(answers[0], request)
            assert len(set(answers)) == 1
            assert it.sessions.history._reader.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
            nas.close()

    go(scenario)


def test_what_comes_late_is_of_its_own_time_where_the_clock_of_the_nas_is_right(site):
    async def scenario(trusted, later):
        configure(site, event_timestamp=trusted)
        async with on(site) as it:
            nas = await it.nas()
            now = int(time.time())
            began, ended = (integer(55, now + later - ago) for ago in (900, 300))
            await it.tell(nas, START, f"s-{trusted}-{later}", "c-1", address("198.51.100.9") + began)
            await it.tell(nas, STOP, f"s-{trusted}-{later}", "c-1", integer(46, 600) + ended)
            found = [(await it.at("198.51.100.9", now - ago))["customer"] for ago in (1000, 600, 100)]
            nas.close()
            return found

    async def each():
        assert await scenario(trusted=False, later=0) == [None, None, None], "by arrival"
        assert await scenario(trusted=True, later=7200) == [None, None, None], "a clock that is before ours is not right"
        assert await scenario(trusted=True, later=0) == [None, "c-1", None]

    go(each)


def test_who_does_not_know_the_secret_is_not_answered(site):
    async def scenario():
        async with on(site) as it:
            wrong, stranger, right = await it.nas(secret=b"another"), await it.nas(host="127.0.0.9"), await it.nas()
            start = radius.told(START, "s1", "c-1", address("198.51.100.7"))
            assert await asyncio.to_thread(wrong.answer, wrong.request(start), 0.3) is None
            assert await asyncio.to_thread(stranger.answer, stranger.request(start), 0.3) is None
            await it.tell(right, INTERIM, "s2", "c-2")
            assert [one["id"] for one in (await it.show())["sessions"]] == ["s2"]
            await until(lambda: it.sessions.radius.counts.get(("other", "unknown-nas")) == 1)
            assert it.sessions.radius.counts["other", "bad-secret"] == 1
            await until(lambda: it.sessions.radius.counts.get(("interim", "taken")) == 1)
            body = await it.show()
            named = [(one["nas"], one["source"], one["reason"], one["packets"]) for one in body["refused"]]
            assert named == [("bras-1", "127.0.0.1", "secret", 1), (None, "127.0.0.9", "no-nas", 1)]
            assert [(one["nas"], one["at"] is not None) for one in body["heard"]] == [("bras-1", True)]
            for one in (wrong, stranger, right):
                one.close()

    go(scenario)


def test_a_nas_none_of_whose_packets_is_taken_is_in_the_log_and_in_status(site):
    async def scenario():
        async with on(site) as it:
            wrong = await it.nas(secret=b"another")
            for _ in range(2):
                wrong.socket.send(wrong.request(radius.told(START, "s1", "c-1", address("198.51.100.7"))))
            await until(lambda: it.sessions.radius.counts.get(("other", "bad-secret")) == 2)
            body = await it.show()
            assert body["heard"] == [{"nas": "bras-1", "at": None}]
            (warning,) = [one for one in (await it.control.status())["warnings"] if "bras-1" in one]
            assert "secret is not the one" in warning
            assert "127.0.0.1" not in warning
            wrong.close()

    with structlog.testing.capture_logs() as logs:
        go(scenario)
    (line,) = [one for one in logs if one["event"] == "radius-refused"]
    assert (line["nas"], line["source"], line["reason"]) == ("bras-1", "127.0.0.1", "secret")


def test_a_message_authenticator_is_checked_where_it_is_and_wanted_where_that_is_set(site):
    async def scenario():
        configure(site, message_authenticator=True)
        async with on(site) as it:
            nas = await it.nas()
            plain = nas.request(radius.told(START, "s1", "c-1"))
            assert await asyncio.to_thread(nas.answer, plain, 0.3) is None
            signed = nas.request(radius.told(START, "s1", "c-1"), signed=True)
            response = await asyncio.to_thread(nas.answer, signed)
            assert radius.is_answer(response, signed)
            assert response[20:22] == bytes([80, 18]), "the response is signed as the request was"
            nas.close()

    go(scenario)


def test_a_realm_is_taken_off_only_where_that_is_set(site):
    async def scenario(realms, expected):
        configure(site, realms=realms)
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, f"s-{expected}", "c-1@example.net", address("198.51.100.7"))
            assert it.owner("198.51.100.7") == expected
            nas.close()

    go(lambda: scenario((), None))
    go(lambda: scenario(("example.net",), "c-1"))


def test_an_id_told_with_its_realm_and_without_it_is_one_id(site):
    async def scenario():
        configure(site, realms=("example.net",))
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.tell(nas, START, "s2", "c-1@example.net", address("198.51.100.8"))
            await it.tell(nas, START, "s3", "c-2@example.org", address("198.51.100.9"))
            assert [one.user for one in it.sessions.several()] == ["c-1", "c-1"]
            assert it.core.bandwidth.sessions == it.sessions.several
            assert (it.sessions.login_of("c-2@example.org"), it.sessions.login_of("hana@ppp.example")) == (
                "c-2@example.org",
                "hana@ppp.example",
            )
            nas.close()

    go(scenario)


def test_a_shared_address_is_nobodys_in_the_plane_and_known_by_its_ports(site):
    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        async with on(site) as it:
            nas = await it.nas()
            for number, (customer, ports) in enumerate((("c-1", "1024-2047"), ("c-2", "2048-3071")), 1):
                inside = address(f"100.64.0.{number}")
                outside = radius.vendor(9, 1, f"ports={ports}".encode()) + radius.vendor(9, 2, b"203.0.113.1")
                await it.tell(nas, START, f"s{number}", customer, inside + outside)
            assert it.owner("203.0.113.1") is None
            assert (it.owner("100.64.0.1"), it.owner("100.64.0.2")) == ("c-1", "c-2")
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1"
            assert (await it.at("203.0.113.1", port=2048))["customer"] == "c-2"
            assert (await it.at("203.0.113.1", port=4000))["outcome"] == "unknown"
            assert (await it.at("203.0.113.1"))["outcome"] == "ambiguous"
            nas.close()

    go(scenario)


def test_a_shared_address_in_a_fixed_prefix_is_nobodys_while_it_is_shared(site):
    """No list, measure or consent of who has the prefix reaches those who share the address by ports."""

    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        site.customers([*MOBILE, {"id": "c-30", "terms": "gunma", "prefixes": ["203.0.113.0/29"]}])
        outside = radius.vendor(9, 1, b"ports=1024-2047") + radius.vendor(9, 2, b"203.0.113.1")
        rest = tuple(Prefix.parse(text) for text in ("203.0.113.0", "203.0.113.2/31", "203.0.113.4/30"))
        async with on(site) as it:
            moved = []
            it.sessions.followers.append(moved.append)
            nas = await it.nas()
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.2")) == ("c-30", "c-30")
            await it.tell(nas, START, "s1", "c-1", address("100.64.0.1") + outside)
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.0"), it.owner("203.0.113.2")) == (None, "c-30", "c-30")
            assert any("c-30" in some for some in moved), "who limits lines is told"
            assert it.sessions.prefixes_of("c-30") == rest
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1"
            assert (await it.at("203.0.113.1", port=9000))["customer"] is None, "not who has the prefix around it"
            (fault,) = (await it.show())["faults"]
            assert "203.0.113.1" in fault
            assert "take it out of the prefixes of c-30" in fault
            await it.control.add_customer({"id": "c-31", "terms": "gunma", "prefixes": ["203.0.113.64/26"]}, replace=False, actor=ACTOR)
            await it.control.reload(actor=ACTOR)
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.2")) == (None, "c-30")
            nas.close()
        async with on(site) as it:
            assert (it.owner("203.0.113.1"), it.owner("203.0.113.2")) == (None, "c-30"), "after a restart too"
            nas = await it.nas()
            await it.tell(nas, STOP, "s1", "c-1", integer(46, 5))
            assert it.owner("203.0.113.1") == "c-30"
            assert it.sessions.prefixes_of("c-30") == (Prefix.parse("203.0.113.0/29"),)
            assert not (await it.show())["faults"]
            nas.close()

    go(scenario)


def test_a_customer_of_just_the_shared_address_has_it_again_when_it_is_shared_no_more(site):
    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        async with on(site) as it:
            nas = await it.nas()
            outside = radius.vendor(9, 1, b"ports=1024-2047") + radius.vendor(9, 2, b"203.0.113.1")
            await it.tell(nas, START, "s1", "c-1", address("100.64.0.1") + outside)
            await it.control.add_customer({"id": "c-32", "terms": "gunma", "prefixes": ["203.0.113.1"]}, replace=False, actor=ACTOR)
            assert (it.owner("203.0.113.1"), it.sessions.prefixes_of("c-32")) == (None, ())
            await it.tell(nas, STOP, "s1", "c-1", integer(46, 5))
            assert (it.owner("203.0.113.1"), it.sessions.prefixes_of("c-32")) == ("c-32", (Prefix.parse("203.0.113.1"),))
            nas.close()

    go(scenario)


def test_nobody_is_told_who_will_hold_an_address(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            with pytest.raises(BadRequestError, match="still to come"):
                await it.at("198.51.100.7", time.time() + DAY)
            with pytest.raises(BadRequestError, match="still to come"):
                await it.at("192.0.2.1", time.time() + DAY)
            assert (await it.at("198.51.100.7", time.time() + 1))["customer"] == "c-1", "a clock that is a little before ours"
            nas.close()

    go(scenario)


def test_who_asked_for_a_holder_is_on_the_record(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            await it.at("198.51.100.7")
            (event,) = [
                one for one in (await it.control.audit_events(after=0, limit=100, customer=None))["events"] if one["kind"] == "looked-up"
            ]
            assert event["actor"] == ACTOR
            assert (event["payload"]["customer"], event["payload"]["why"]) == ("c-1", "ticket 1")
            nas.close()

    go(scenario)


def test_a_listener_that_dies_is_started_again_and_loses_nothing(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-1", address("198.51.100.7"))
            os.kill(it.sessions.radius.listener, signal.SIGKILL)
            await it.tell(nas, START, "s2", "c-2", address("198.51.100.8"))
            assert (it.owner("198.51.100.7"), it.owner("198.51.100.8")) == ("c-1", "c-2")
            nas.close()

    go(scenario)


def test_a_request_that_cannot_be_taken_is_told_to_operators_and_taken_when_it_can(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            failing = iter([True])

            def fail(moved):
                if next(failing, False):
                    raise RuntimeError("of a defect")

            it.sessions.followers.append(fail)
            request = nas.request(radius.told(START, "s1", "c-1", address("198.51.100.7")))
            nas.socket.send(request)
            await until(lambda: it.sessions.radius.failure is not None)
            assert any("could not be taken (RuntimeError)" in fault for fault in (await it.show())["faults"])
            # Of a request that was not answered nothing says when its row is written: its failure may be seen before.
            await until(lambda: it.sessions.history._reader.execute("SELECT user FROM sessions").fetchall() == [("c-1",)])
            assert radius.is_answer(await asyncio.to_thread(nas.answer, request), request), "by the listener that was started again"
            assert (await it.show())["faults"] == []
            assert it.owner("198.51.100.7") == "c-1", "and the plane has it"
            nas.close()

    with structlog.testing.capture_logs() as logs:
        go(scenario)
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["radius-listener-failed"]


def test_no_listener_answers_for_what_one_before_had_in_work(site):
    async def scenario():
        async with on(site) as it:
            nas, batches = await it.nas(), []
            it.sessions.radius._take = batches.append
            nas.socket.send(nas.request(radius.told(START, "s1", "c-1")))
            await until(lambda: len(batches) == 1)
            os.kill(it.sessions.radius.listener, signal.SIGKILL)
            request = nas.request(radius.told(START, "s2", "c-1"))
            nas.socket.send(request)
            await until(lambda: len(batches) > 1 and batches[-1][0][1].session == "s2")
            first, second = batches[0][0][0], batches[-1][0][0]
            assert first != second
            it.sessions.radius.done([first])
            it.sessions.radius.done([second])
            assert radius.is_answer(await asyncio.to_thread(nas.socket.recv, 4096), request)
            nas.close()

    go(scenario)


def test_a_listener_that_cannot_start_is_told_to_operators(site, monkeypatch):
    async def scenario():
        monkeypatch.setattr(sys, "executable", shutil.which("false"))
        async with on(site) as it:
            await until(lambda: it.sessions.radius.failure is not None)
            assert any("ends as soon as it is started" in fault for fault in (await it.show())["faults"])
            monkeypatch.undo()
            await until(lambda: it.sessions.radius.failure is None)

    go(scenario)


def test_a_disk_that_takes_nothing_leaves_requests_unanswered_until_it_does(site):
    async def scenario():
        async with on(site) as it:
            nas = await it.nas()
            other = sqlite3.connect(it.sessions.history.path, isolation_level=None)
            it.sessions.history._connection.execute("PRAGMA busy_timeout=50")
            other.execute("BEGIN IMMEDIATE")
            request = nas.request(radius.told(START, "s1", "c-1", address("198.51.100.7")))
            assert await asyncio.to_thread(nas.answer, request, 0.4) is None
            await until(lambda: it.sessions.history.failing is not None)
            assert "disk has room" in (await it.show())["faults"][0]
            other.execute("ROLLBACK")
            nas.socket.settimeout(30)
            response = await asyncio.to_thread(nas.socket.recv, 4096)
            assert radius.is_answer(response, request)
            other.close()
            nas.close()

    go(scenario)


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


def test_where_many_customers_are_is_told_as_of_each_of_them(site):
    """Fixed, by session, both, the same twice, on another's line, shared by ports, added at run time, and nobody."""
    fixed = {
        "c-40": ["192.0.2.40"],
        "c-41": ["192.0.2.41", "2001:db8:41::/48"],
        "c-42": [],
        "c-43": ["203.0.113.0/29"],
        "c-44": ["192.0.2.44"],
    }

    async def scenario():
        configure(site, ports={"range": "26.9.1", "address": "26.9.2"})
        site.customers([{"id": one, "terms": "gunma", "prefixes": own} for one, own in fixed.items()])
        asked = [*fixed, "nobody", "c-45", "c-40"]

        def parsed(*texts):
            return tuple(map(Prefix.parse, texts))

        async with on(site) as it:

            def told():
                each = it.sessions.prefixes_of_each(asked)
                assert each == list(map(it.sessions.prefixes_of, asked))
                return dict(zip(asked, each, strict=True))

            assert told() == {one: parsed(*fixed.get(one, ())) for one in asked}
            nas = await it.nas()
            await it.tell(nas, START, "s1", "c-41", address("192.0.2.41") + prefix6("2001:db8:77::/56"))
            await it.tell(nas, START, "s2", "c-42", address("192.0.2.44"))
            await it.control.add_customer({"id": "c-45", "terms": "gunma", "prefixes": ["192.0.2.45"]}, replace=False, actor=ACTOR)
            assert told()["c-41"] == parsed("192.0.2.41", "2001:db8:41::/48", "2001:db8:77::/56")
            assert (told()["c-42"], told()["c-44"], told()["c-45"]) == (parsed("192.0.2.44"), (), parsed("192.0.2.45"))
            outside = radius.vendor(9, 1, b"ports=1024-2047") + radius.vendor(9, 2, b"203.0.113.1")
            await it.tell(nas, START, "s3", "c-40", address("100.64.0.1") + outside)
            assert told()["c-43"] == parsed("203.0.113.0", "203.0.113.2/31", "203.0.113.4/30")
            assert told()["c-40"] == parsed("192.0.2.40", "100.64.0.1")
            nas.close()

    go(scenario)


def ip_port_range(address4, first, last, alloc):
    """RFC 8045 section 3.1.2, in an Extended-Type-1 attribute."""
    parts = b"".join(
        bytes((kind, 6)) + value for kind, value in ((8, alloc.to_bytes(4)), (9, first.to_bytes(4)), (10, last.to_bytes(4)), (3, address4))
    )
    return radius.attribute(241, b"\x06" + parts)


def test_a_block_of_ports_that_is_never_given_back_ends_by_its_age(site):
    async def scenario():
        configure(site, block_age="2d", timeout=None)
        async with on(site) as it:
            nas, pool = await it.nas(), bytes((203, 0, 113, 1))
            await it.tell(nas, START, "s1", "c-1", address("100.64.0.1") + ip_port_range(pool, 1024, 2047, 1))
            await it.tell(nas, INTERIM, "s1", "c-1", integer(46, 5))
            began = time.time()
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1"
            await it.sessions.tick()
            it.core.clock = it.sessions._clock = lambda: began + 2 * DAY + 60
            assert (await it.at("203.0.113.1", port=1500))["customer"] == "c-1", "as far as is known"
            await it.sessions.tick()
            assert it.sessions.table.parts() == []
            assert it.owner("100.64.0.1") == "c-1", "the session goes on"
            it.sessions.history.write((), lambda: None)
            wait_until(lambda: it.sessions.history.waiting == 0)
            for when in (None, began + DAY):
                told = await it.at("203.0.113.1", when, port=1500)
                assert (told["outcome"], told["customer"]) == ("ambiguous", None)
                assert "ended by their age" in told["why"]
                (claim,) = told["claims"]
                assert (claim["customer"], claim["held_end"], claim["until"]) == ("c-1", "age", None)
            nas.close()
        configure(site, block_age=None, timeout=None)

    go(scenario)
