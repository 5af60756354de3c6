"""HTTP over the API socket: the standard library's client, apart because it takes as long to import as all else of a verb."""

from __future__ import annotations

import http.client
import socket
from http.client import BAD_REQUEST, HTTPException
from pathlib import Path

__all__ = ["BAD_REQUEST", "Connection", "HTTPException"]


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket; `timeout` in seconds."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
