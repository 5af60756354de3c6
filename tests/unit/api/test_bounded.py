"""Callers who say nothing, or never finish: they hold a connection for a while, and so many of them."""

from __future__ import annotations

import asyncio
import os

import pytest

from sekisho.api.application import application
from sekisho.api.bounded import CONNECTIONS, BoundedProtocol, LimitedProtocol
from sekisho.api.server import PeerProtocol, listen
from sekisho.app.control_metrics import bind_metrics, metrics_application
from sekisho.model.observation import Observation
from sekisho.model.roles import Roles
from unit.api.serving import FakeOperations, serving

GET = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
UNFINISHED = [
    b"",
    b"GET /v1/st",
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\n",
    b'POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"a',
]


def operators():
    return application(FakeOperations(), lambda: Roles(os.getuid()))


def metrics():
    return metrics_application(lambda: Observation(at=0.0, version=""))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(BoundedProtocol, "patience", 0.01)


async def until_closed(reader):
    """What comes until the other side closes, or breaks the connection."""
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("sent", UNFINISHED, ids=["nothing", "half a line", "half a header", "half a body"])
def test_who_sends_no_whole_request_is_closed_by_the_operators_socket(tmp_path, impatient, sent):
    path = tmp_path / "sekishod.sock"

    async def scenario():
        async with serving(operators(), listen(path), PeerProtocol):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(sent)
            said = await until_closed(reader)
            writer.close()
            return said

    assert asyncio.run(scenario()) == b""


@pytest.mark.parametrize("sent", UNFINISHED, ids=["nothing", "half a line", "half a header", "half a body"])
@pytest.mark.parametrize("served", [False, True], ids=["first", "second"])
def test_who_sends_no_whole_request_is_closed_by_metrics(impatient, served, sent):
    async def scenario():
        opened = bind_metrics("127.0.0.1", 0)
        async with serving(metrics(), opened, LimitedProtocol):
            reader, writer = await asyncio.open_connection(*opened.getsockname())
            if served:
                writer.write(SCRAPE)
                await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            await until_closed(reader)
            writer.close()

    asyncio.run(scenario())


def test_a_request_that_is_worked_on_has_all_the_time_it_takes(tmp_path, impatient):
    """The time runs for the caller, not for the daemon: a backup may take minutes."""
    path = tmp_path / "sekishod.sock"
    begun, due = [], asyncio.Event()

    class Slow(FakeOperations):
        def __getattr__(self, name):
            async def operation(*args, **kwargs):
                begun.append(name)
                await due.wait()
                return {"operation": name}

            return operation

    async def scenario():
        async with serving(application(Slow(), lambda: Roles(os.getuid())), listen(path), PeerProtocol):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(GET)
            async with asyncio.timeout(60):
                while not begun:
                    await asyncio.sleep(0)
            # One who came after, and says nothing, is gone by then.
            other, nothing = await asyncio.open_unix_connection(str(path))
            await until_closed(other)
            due.set()
            line = await reader.readline()
            for one in (writer, nothing):
                one.close()
            return line

    assert b"200" in asyncio.run(scenario())


def test_metrics_have_so_many_connections_and_serve_again_when_one_is_closed():
    async def scenario():
        opened = bind_metrics("127.0.0.1", 0)
        async with serving(metrics(), opened, LimitedProtocol) as server:
            held = [await asyncio.open_connection(*opened.getsockname()) for _ in range(CONNECTIONS)]
            async with asyncio.timeout(60):
                while len(server.server_state.connections) < CONNECTIONS:
                    await asyncio.sleep(0)
            reader, beyond = await asyncio.open_connection(*opened.getsockname())
            refused = await until_closed(reader)
            waiting = [one.at_eof() for one, _ in held]
            held[0][1].close()
            async with asyncio.timeout(60):
                while len(server.server_state.connections) == CONNECTIONS:
                    await asyncio.sleep(0)
            reader, again = await asyncio.open_connection(*opened.getsockname())
            again.write(SCRAPE)
            line = await reader.readline()
            for _, one in [*held, (None, beyond), (None, again)]:
                one.close()
            return refused, waiting, line

    refused, waiting, line = asyncio.run(scenario())
    assert refused == b""
    assert not any(waiting)
    assert b"200" in line
