"""A web server that hands out lists, and says of each what it is told to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Feed:
    """What one path of the server says."""

    body: bytes = b""
    status: int = 200
    tag: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)
    """(If-None-Match, status answered) of each request."""

    def say(self, names: list[str], tag: str = "") -> None:
        self.body, self.status, self.tag = "\n".join(names).encode(), 200, tag


@contextlib.contextmanager
def serving(feeds: Mapping[str, Feed]) -> Iterator[str]:
    """Serve feeds by the name of their path; gives the address they are below."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            feed = feeds[self.path.partition("?")[0].strip("/")]
            known = self.headers.get("If-None-Match", "")
            status = 304 if feed.tag and known == feed.tag else feed.status
            feed.asked.append((known, status))
            body = b"" if status == 304 else feed.body
            self.send_response(status)
            if feed.tag:
                self.send_header("ETag", feed.tag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
