"""Callers who say nothing, never finish, or take no response: they hold a connection for a while, and so many of them."""

from __future__ import annotations

import asyncio
import os
import socket

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
LARGE = b"x" * 2_000_000
PIECE = 100_000
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


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Less than the five seconds after which uvicorn itself closes a connection that says nothing."""
    monkeypatch.setattr(BoundedProtocol, "patience", 4.0)
    return 4.0


class Skipping(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward."""

    ahead = 0.0

    def time(self):
        return super().time() + self.ahead


def run(scenario):
    with asyncio.Runner(loop_factory=Skipping) as runner:
        return runner.run(scenario())


async def let_pass(seconds):
    """Have so much time be over, and all have happened that was due by then."""
    loop, due = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(seconds, due.set)
    loop.ahead += seconds
    await due.wait()


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def is_taken(connection, sent):
    """Whether the server has read what was sent of a request."""
    if not sent:
        return True
    data, _ = connection.conn.trailing_data
    return data == sent or bool(connection.cycle and connection.cycle.more_body)


def is_answered(connection):
    return connection.cycle is None or connection.cycle.response_complete


async def large(scope, receive, send):
    """An application whose every answer is `LARGE`."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(LARGE)).encode())]})
    await send({"type": "http.response.body", "body": LARGE})


async def in_pieces(scope, receive, send):
    """The same answer, of which the next piece waits until the one before is on its way."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(LARGE)).encode())]})
    for start in range(0, len(LARGE), PIECE):
        more = start + PIECE < len(LARGE)
        await send({"type": "http.response.body", "body": LARGE[start : start + PIECE], "more_body": more})


def left(server):
    """Bytes of a response that the kernel has not taken yet, of the only connection there is."""
    return sum(one.transport.get_write_buffer_size() for one in server.server_state.connections)


async def until_closed(reader):
    """What comes until the other side closes, or breaks the connection."""
    async with asyncio.timeout(60):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("sent", UNFINISHED, ids=["nothing", "half a line", "half a header", "half a body"])
def test_who_sends_no_whole_request_is_closed_by_the_operators_socket(tmp_path, patience, sent):
    path = tmp_path / "sekishod.sock"

    async def scenario():
        async with serving(operators(), listen(path), PeerProtocol) as server:
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(sent)
            await until(lambda: any(is_taken(one, sent) for one in server.server_state.connections))
            await let_pass(patience)
            said = await until_closed(reader)
            writer.close()
            return said

    assert run(scenario) == b""


@pytest.mark.parametrize("sent", UNFINISHED, ids=["nothing", "half a line", "half a header", "half a body"])
@pytest.mark.parametrize("served", [False, True], ids=["first", "second"])
def test_who_sends_no_whole_request_is_closed_by_metrics(patience, served, sent):
    async def scenario():
        opened = bind_metrics("127.0.0.1", 0)
        async with serving(metrics(), opened, LimitedProtocol) as server:
            reader, writer = await asyncio.open_connection(*opened.getsockname())
            if served:
                writer.write(SCRAPE)
                await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            # What has half a body is answered at once; its time begins again with that.
            await until(lambda: any(is_taken(one, sent) and is_answered(one) for one in server.server_state.connections))
            await let_pass(patience)
            await until_closed(reader)
            writer.close()

    run(scenario)


def test_a_request_that_is_worked_on_has_all_the_time_it_takes(tmp_path, patience):
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
        async with serving(application(Slow(), lambda: Roles(os.getuid())), listen(path), PeerProtocol) as server:
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(GET)
            await until(lambda: begun)
            # One who came after, and says nothing, is gone by then.
            other, nothing = await asyncio.open_unix_connection(str(path))
            await until(lambda: len(server.server_state.connections) == 2)
            await let_pass(patience)
            await until_closed(other)
            due.set()
            line = await reader.readline()
            for one in (writer, nothing):
                one.close()
            return line

    assert b"200" in run(scenario)


def test_a_response_that_is_taken_slowly_is_taken_whole(tmp_path, patience):
    """By less at a time than has the kernel take more of it."""
    path = tmp_path / "sekishod.sock"

    async def scenario():
        loop, taken, times = asyncio.get_running_loop(), b"", 0
        async with serving(large, listen(path), PeerProtocol) as server:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(path))
                caller.setblocking(False)
                await loop.sock_sendall(caller, GET)
                await until(lambda: left(server))
                while left(server):
                    end = len(taken) + (1 << 16)
                    while len(taken) < end and (some := await loop.sock_recv(caller, end - len(taken))):
                        taken += some
                    await let_pass(patience)
                    times += 1
                while some := await loop.sock_recv(caller, 1 << 16):
                    taken += some
            return taken, times

    taken, times = run(scenario)
    assert taken.endswith(b"\r\n\r\n" + LARGE)
    assert times > 10


@pytest.mark.parametrize("answer", [large, in_pieces])
@pytest.mark.parametrize("sent", [GET, GET * 2, GET * 2 + UNFINISHED[-1]], ids=["one", "two", "two and a half"])
def test_who_takes_nothing_of_a_response_is_closed(tmp_path, patience, answer, sent):
    """Whatever else is to come: the next request, its response, or the rest of this one."""
    path = tmp_path / "sekishod.sock"

    async def scenario():
        async with serving(answer, listen(path), PeerProtocol) as server:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(path))
                caller.sendall(sent)
                await until(lambda: left(server))
                # A response may be begun in the same turn as the one before it ends.
                await asyncio.sleep(0)
                await let_pass(patience)
                await until(lambda: not server.server_state.connections and not server.server_state.tasks)

    run(scenario)


def test_who_takes_nothing_of_metrics_is_closed(patience):
    async def scenario():
        opened = bind_metrics("127.0.0.1", 0)
        # Else the kernel would take all of it, and the connection be done with.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        async with serving(in_pieces, opened, LimitedProtocol) as server:
            with socket.socket() as caller:
                caller.connect(opened.getsockname())
                caller.sendall(SCRAPE)
                await until(lambda: left(server))
                # The kernel may take some more of it, as long as it has room.
                for _ in range(100):
                    if server.server_state.connections:
                        await let_pass(patience)
                return len(server.server_state.connections)

    assert run(scenario) == 0


def test_a_response_that_waits_for_its_caller_has_all_the_time_again_when_it_goes_on(tmp_path, patience):
    path = tmp_path / "sekishod.sock"

    async def scenario():
        loop, taken = asyncio.get_running_loop(), 0
        async with serving(in_pieces, listen(path), PeerProtocol) as server:
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(path))
                caller.setblocking(False)
                await loop.sock_sendall(caller, GET)
                await until(lambda: left(server))
                while some := await loop.sock_recv(caller, PIECE):
                    taken += len(some)
                    await let_pass(patience * 0.75)
            return taken

    assert run(scenario) > len(LARGE)


def test_a_response_before_its_request_is_whole_has_its_own_time(tmp_path, patience):
    path = tmp_path / "sekishod.sock"

    async def scenario():
        async with serving(large, listen(path), PeerProtocol) as server:
            reader, writer = await asyncio.open_unix_connection(str(path))
            await until(lambda: server.server_state.connections)
            await let_pass(patience * 0.75)
            writer.write(UNFINISHED[-1])
            await reader.readuntil(b"\r\n\r\n")
            await until(lambda: left(server))
            await let_pass(patience * 0.75)
            taken = await reader.readexactly(len(LARGE))
            writer.close()
            return taken

    assert run(scenario) == LARGE


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

    refused, waiting, line = run(scenario)
    assert refused == b""
    assert not any(waiting)
    assert b"200" in line
