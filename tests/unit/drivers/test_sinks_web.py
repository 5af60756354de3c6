"""Events by webhook and syslog, against receivers on the loopback that read every octet."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email.utils
import hashlib
import hmac
import json
import socket
import struct

import pytest

from sekisho.config.events import SyslogTarget
from sekisho.config.values import Endpoint
from sekisho.drivers import sinks, sinkssyslog
from sekisho.drivers.sinkssyslog import SyslogTransport
from sekisho.drivers.sinkswebhook import WebhookTransport
from sekisho.model.errors import SinkError
from sekisho.model.events import OptOutAdded, RecordedAct
from sekisho_exporters.cloudevents import envelope
from support import free_port
from unit.drivers.telling import Record, sink_of, until

SECRET = "a secret of thirty-two octets..."
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sinks, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(sinks, "LOOK_EVERY", 0.001)


def events(first, last):
    return [envelope(RecordedAct(n, NOW, "uid:0(root)", OptOutAdded("c-1", "c2", "利用者")), "urn:x") for n in range(first, last + 1)]


async def in_place(step):
    return step()


@contextlib.asynccontextmanager
async def listening(serve, start=asyncio.start_server, *where):
    """A server whose connections are all closed at the end; gives its port, or 0."""
    tasks = []

    async def handle(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await start(handle, *(where or ("127.0.0.1", 0)))
    async with server:
        name = server.sockets[0].getsockname()
        yield name[1] if isinstance(name, tuple) else 0
        _, late = await asyncio.wait(tasks, timeout=60) if tasks else ((), ())
        assert not late, "connections that stay open"


@contextlib.asynccontextmanager
async def web(answers):
    """A web server that gives these answers, one a request; the requests it got are (headers, body)."""
    got = []

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head.split("\r\n")[1:-2])}
                body = await reader.readexactly(int(headers["content-length"]))
                got.append((headers, body))
                answer = answers.pop(0)
                if answer is None:
                    break
                writer.write(answer.encode() + b"\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()

    async with listening(serve) as port:
        yield f"http://127.0.0.1:{port}/hooks", got


def webhook(url, secret=None, timeout=60.0, batch=1):
    return WebhookTransport(url, secret, timeout, batch, lambda: NOW)


def test_a_delivery_is_signed_and_carries_the_event(tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n")

    async def main():
        async with web(["HTTP/1.1 204 No Content", "HTTP/1.1 202 Accepted"]) as (url, got):
            transport = webhook(url, tmp_path / "secret")
            await transport.send(events(7, 7), in_place)
            (tmp_path / "secret").write_text(f"{SECRET} changed")
            await transport.send(events(8, 8), in_place)
            await transport.close()
        return got

    (headers, body), (later, _) = asyncio.run(main())
    assert json.loads(body) == events(7, 7)[0]
    signed = f"7.{int(NOW)}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).decode()
    assert later["webhook-signature"] != headers["webhook-signature"]


def test_several_events_go_as_a_batch():
    async def main():
        async with web(["HTTP/1.1 200 OK"]) as (url, got):
            transport = webhook(url, batch=10)
            await transport.send(events(1, 4), in_place)
            await transport.close()
        return got

    ((headers, body),) = asyncio.run(main())
    assert json.loads(body) == events(1, 4)
    assert headers["content-type"].startswith("application/cloudevents-batch+json")
    assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("answer", "said", "after"),
    [
        ("HTTP/1.1 503 Busy\r\nretry-after: 120", "status 503", 120.0),
        (f"HTTP/1.1 429 Many\r\nretry-after: {email.utils.formatdate(NOW + 60, usegmt=True)}", "status 429", 60.0),
        ("HTTP/1.1 400 Bad", "status 400", None),
        ("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:9/", "status 301", None),
        ("HTTP/1.1 500 Oops\r\nretry-after: soon", "status 500", None),
        (None, "broke off", None),
    ],
)
def test_whatever_is_not_2xx_was_not_taken(answer, said, after):
    async def main():
        async with web([answer]) as (url, _):
            transport = webhook(url.replace("http://", "http://user:topsecret@") + "?key=topsecret")
            with pytest.raises(SinkError) as caught:
                await transport.send(events(1, 1), in_place)
            await transport.close()
            return caught.value

    error = asyncio.run(main())
    assert said in str(error)
    assert error.retry_after == after
    assert "topsecret" not in str(error)


def test_a_server_that_is_not_there_or_says_nothing_is_told_so():
    async def main():
        nowhere = webhook(f"http://127.0.0.1:{free_port('127.0.0.1')}/")
        with pytest.raises(SinkError, match="no connection"):
            await nowhere.send(events(1, 1), in_place)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            mute = webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.5)
            with pytest.raises(SinkError, match="longer than"):
                await mute.send(events(1, 1), in_place)
            await mute.close()
        await nowhere.close()

    asyncio.run(main())


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("short", "openssl rand")])
def test_without_its_secret_nothing_is_sent(tmp_path, content, said):
    if content is not None:
        (tmp_path / "secret").write_text(content)

    async def main():
        async with web([]) as (url, got):
            transport = webhook(url, tmp_path / "secret")
            with pytest.raises(SinkError, match=said):
                await transport.send(events(1, 1), in_place)
            await transport.close()
            assert not got

    asyncio.run(main())


def frames(data):
    """Messages of a stream by their octet counts (RFC 6587)."""
    found = []
    while data:
        count, _, rest = data.partition(b" ")
        found.append(rest[: int(count)])
        data = rest[int(count) :]
    return found


def numbers(messages):
    return [int(json.loads(one.partition(b'"] ')[2])["id"]) for one in messages]


def tcp(port):
    return SyslogTransport(SyslogTarget("tcp", Endpoint("127.0.0.1", port)), "local0")


def test_messages_come_over_tcp_in_frames_by_one_connection():
    async def main():
        data, connections = bytearray(), []

        async def serve(reader, writer):
            connections.append(writer)
            while chunk := await reader.read(4096):
                data.extend(chunk)

        async with listening(serve) as port:
            transport = tcp(port)
            await transport.send(events(1, 3), in_place)
            await transport.send(events(4, 5), in_place)
            await transport.close()
            async with asyncio.timeout(60):
                while len(frames(bytes(data))) < 5 or frames(bytes(data))[-1][-1:] != b"}":
                    await asyncio.sleep(0.001)
        assert len(connections) == 1
        return bytes(data)

    assert numbers(frames(asyncio.run(main()))) == [1, 2, 3, 4, 5]


@contextlib.asynccontextmanager
async def telling(record, listener, folder):
    """A sink that tells a record to the syslog behind `listener`."""
    sink = sink_of(record, tcp(listener.getsockname()[1]), folder)
    task = asyncio.create_task(sink.run())
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sink._transport.close()  # alone: what the sink has not put on disk by now a killed daemon has not either


def die_unread(listener):
    """A syslog ends with what it was sent in its buffers."""
    dying, _ = listener.accept()
    dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    dying.close()


def read(listener):
    """The numbers a syslog has read when the other side has closed."""
    living, _ = listener.accept()
    with living, living.makefile("rb") as stream:
        return numbers(frames(stream.read()))


def test_what_a_dying_syslog_had_not_read_is_told_again_before_the_next(tmp_path):
    """Acknowledged by the other system, in several batches, and read by nobody."""

    async def main():
        record = Record(3)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with telling(record, listener, tmp_path) as sink:
                await until(lambda: sink.state.number == 3)
                record.add()
                await until(lambda: sink.state.number == 4)
                die_unread(listener)
                record.add()
                await until(lambda: sink.state.taken == 4 + 5)
            return read(listener)

    assert asyncio.run(main()) == [1, 2, 3, 4, 5]


def test_what_a_syslog_may_not_have_read_is_told_again_by_the_next_daemon(tmp_path):
    async def main():
        record = Record(3)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with telling(record, listener, tmp_path) as killed:
                await until(lambda: killed.state.number == 3)
            die_unread(listener)
            record.add()
            async with telling(record, listener, tmp_path) as sink:
                await until(lambda: sink.state.number == 4)
            return read(listener)

    assert asyncio.run(main()) == [1, 2, 3, 4]


def test_what_has_settled_is_not_told_again(tmp_path, monkeypatch):
    monkeypatch.setattr(SyslogTransport, "settles", 0.0)

    async def main():
        record = Record(2)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with telling(record, listener, tmp_path) as sink:
                await until(lambda: sink.state.number == 2)
                die_unread(listener)
                record.add()
                await until(lambda: sink.state.number == 3)
            return read(listener)

    assert asyncio.run(main()) == [3]


def test_a_connection_closed_in_order_was_read_to_its_end_and_nothing_is_told_again(tmp_path):
    async def main():
        record, data = Record(2), b""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with telling(record, listener, tmp_path) as sink:
                await until(lambda: sink.state.number == 2)
                first, _ = listener.accept()
                with first:
                    while len(frames(data)) < 2 or frames(data)[-1][-1:] != b"}":
                        data += first.recv(65536)
                record.add()
                await until(lambda: sink.state.number == 3)
            return numbers(frames(data)), read(listener)

    assert asyncio.run(main()) == ([1, 2], [3])


def test_what_lies_in_buffers_was_not_taken(monkeypatch):
    monkeypatch.setattr(sinkssyslog, "_PATIENCE", 0.2)

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            transport = tcp(silent.getsockname()[1])
            with pytest.raises(SinkError, match="took nothing"):
                await transport.send(events(1, 128), in_place)  # all of it finds room on this side
            await transport.close()

    asyncio.run(main())


def test_udp_and_the_unix_socket_get_a_message_a_datagram(tmp_path):
    async def main(target, receiver):
        transport = SyslogTransport(target, "local3")
        await transport.send(events(1, 3), in_place)
        await transport.close()
        return [receiver.recv(65536) for _ in range(3)]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        got = asyncio.run(main(SyslogTarget("udp", Endpoint(*receiver.getsockname())), receiver))
        assert numbers(got) == [1, 2, 3]
        assert all(one.startswith(b"<157>1 ") for one in got)
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(10)
        assert numbers(asyncio.run(main(SyslogTarget("unix", None, str(path)), receiver))) == [1, 2, 3]


def test_a_stream_of_a_unix_socket_has_a_message_a_line(tmp_path):
    path = tmp_path / "log"

    async def main():
        lines = []
        done = asyncio.Event()

        async def serve(reader, writer):
            while line := await reader.readline():
                lines.append(line.rstrip(b"\n"))
            done.set()

        async with listening(serve, asyncio.start_unix_server, str(path)):
            transport = SyslogTransport(SyslogTarget("unix", None, str(path)), "local0")
            await transport.send(events(1, 3), in_place)
            await transport.close()
            await asyncio.wait_for(done.wait(), 60)
        return lines

    assert numbers(asyncio.run(main())) == [1, 2, 3]


@pytest.mark.parametrize("transport", ["udp", "tcp", "unix"])
def test_a_syslog_that_is_not_there_is_told_so(transport, tmp_path):
    target = SyslogTarget("unix", None, str(tmp_path / "none"))
    if transport != "unix":
        target = SyslogTarget(transport, Endpoint("127.0.0.1", free_port("127.0.0.1")))

    async def main():
        one = SyslogTransport(target, "local0")
        with pytest.raises(SinkError, match="cannot be told"):
            await one.send(events(1, 1), in_place)
        await one.close()

    asyncio.run(main())
