"""Requests of RADIUS through the running daemon: which are taken, when they are answered, and what keeps them waiting."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import time

import pytest
import structlog

from support import radius
from support.radius import INTERIM, START, STOP, address, integer
from unit.control.radiussites import configure, go, on, radius_site, until


@pytest.fixture
def site(folder):
    return radius_site(folder)


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
