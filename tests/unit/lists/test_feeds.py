"""Fetching feeds from files and a real HTTP server that behaves, misbehaves and is slow."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekisho.drivers.feeds import Decoder, Feeds, Fetched, Validators
from sekisho.drivers.webfeeds import shown_url
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope

BODY = b"c2.example\n" * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; `seen` of the server keeps the requests' headers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers))
        getattr(self, "do_" + self.path.strip("/").replace("-", "_").partition("?")[0])()

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def do_plain(self) -> None:
        if self.headers.get("If-None-Match") == '"one"' or self.headers.get("If-Modified-Since") == "yesterday":
            self.reply(b"", 304)
        else:
            self.reply(BODY, ETag='"one"', Last_Modified="yesterday")

    def do_gzipped(self) -> None:
        self.reply(gzip.compress(BODY), Content_Encoding="gzip")

    def do_list_gz(self) -> None:
        self.reply(gzip.compress(BODY[:100]) + gzip.compress(BODY[100:]))

    def do_bomb(self) -> None:
        self.reply(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    def do_cut(self) -> None:
        self.reply(gzip.compress(BODY)[:-9], Content_Encoding="gzip")

    def do_short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "99999")
        self.end_headers()
        self.wfile.write(BODY)
        self.close_connection = True

    def do_endless(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.ending.is_set():
                self.wfile.write(b"a" * 65536)
        self.close_connection = True

    def do_silent(self) -> None:
        self.server.ending.wait(20)
        self.close_connection = True

    def do_trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.ending.wait(0.05):
                self.wfile.write(b"a")
        self.close_connection = True

    def do_loop(self) -> None:
        self.reply(b"", 302, Location="/loop")

    def do_moved(self) -> None:
        self.reply(b"", 301, Location="/plain")

    def do_missing(self) -> None:
        self.reply(b"no such list", 404)

    def do_brotli(self) -> None:
        self.reply(BODY, Content_Encoding="br")

    def log_message(self, *arguments: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, str]] = []
        self.ending = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield serving
        finally:
            serving.ending.set()
            serving.shutdown()
            thread.join()


def definition(source: str, **options: Any) -> ListDefinition:
    return ListDefinition("sample", 0, "c2", source, ListFormat.DOMAINS, scope=Scope.EXACT, **options)


def fetch(source: str, known: Validators | None = None, **options: Any) -> Fetched | None:
    async def once() -> Fetched | None:
        async with Feeds() as feeds:
            return await feeds.fetch(definition(source, **options), known)

    return asyncio.run(once())


def test_a_feed_is_fetched_and_not_again_while_it_is_the_same(server: Server) -> None:
    first = fetch(f"{server.url}/plain")
    assert first is not None
    assert bytes(first.data) == BODY
    assert first.validators == Validators('"one"', "yesterday")
    assert fetch(f"{server.url}/plain", first.validators) is None
    assert fetch(f"{server.url}/plain", Validators(modified="yesterday")) is None
    assert server.seen[1]["If-None-Match"] == '"one"'


@pytest.mark.parametrize("path", ["gzipped", "list_gz"])
def test_compressed_feeds_are_undone_within_the_limit(server: Server, path: str) -> None:
    fetched = fetch(f"{server.url}/{path}", max_bytes=len(BODY))
    assert fetched is not None
    assert bytes(fetched.data) == BODY


def test_a_bomb_is_undone_beside_the_event_loop(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    add = Decoder.add

    def noted(self: Decoder, chunk: bytes) -> None:
        threads.append(threading.get_ident())
        add(self, chunk)

    monkeypatch.setattr(Decoder, "add", noted)
    with pytest.raises(FeedError, match="larger than"):
        fetch(f"{server.url}/bomb", max_bytes=1_000_000)
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("path", "words", "options"),
    [
        ("plain", "max_bytes", {"max_bytes": 100}),
        ("gzipped", "max_bytes", {"max_bytes": 1000}),
        ("bomb", "larger than 1000000 octets", {"max_bytes": 1_000_000}),
        ("endless", "larger than 1000000 octets", {"max_bytes": 1_000_000}),
        ("cut", "damaged", {}),
        ("short", "broke off", {}),
        ("silent", "gave nothing for 0.5 s", {"timeout": 0.5}),
        ("loop", "redirects more than 5 times", {}),
        ("missing", "status 404", {}),
        ("brotli", "encoded as 'br'", {}),
    ],
)
def test_a_source_that_misbehaves_is_one_sentence(server: Server, path: str, words: str, options: dict[str, Any]) -> None:
    with pytest.raises(FeedError, match=words) as caught:
        fetch(f"{server.url}/{path}?token=secret", **options)
    assert "secret" not in str(caught.value)


def test_a_source_that_sends_an_octet_now_and_then_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.drivers.webfeeds.TOTAL_FACTOR", 1)
    with pytest.raises(FeedError, match="took longer than 1 s"):
        fetch(f"{server.url}/trickle", timeout=1.0)


def test_a_redirect_is_followed(server: Server) -> None:
    fetched = fetch(f"{server.url}/moved")
    assert fetched is not None
    assert bytes(fetched.data) == BODY


def test_nobody_listening_is_one_sentence(free_port: Callable[[str], int]) -> None:
    with pytest.raises(FeedError, match="no connection"):
        fetch(f"http://127.0.0.1:{free_port('127.0.0.1')}/x")


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown_url("https://user:password@feeds.example:8443/list.txt?token=1#x") == "https://feeds.example:8443/list.txt"


def test_a_file_is_read_and_not_again_while_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(BODY)
    first = fetch(str(path))
    assert first is not None
    assert bytes(first.data) == BODY
    assert fetch(str(path), first.validators) is None
    path.write_bytes(BODY + b"more.example\n")
    assert fetch(str(path), first.validators) is not None
    path.write_bytes(gzip.compress(BODY))
    compressed = fetch(str(path))
    assert compressed is not None
    assert bytes(compressed.data) == BODY


def test_what_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read"):
        fetch(str(tmp_path / "missing"))
    with pytest.raises(FeedError, match="no plain file"):
        fetch(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FeedError, match="no plain file"):
        fetch(str(tmp_path / "pipe"))
    (tmp_path / "large").write_bytes(BODY)
    with pytest.raises(FeedError, match="max_bytes"):
        fetch(str(tmp_path / "large"), max_bytes=10)
