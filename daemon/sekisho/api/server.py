"""Serving the application on a Unix socket, and knowing who calls.

The socket is the door: its mode (0660) says who may come in, `SO_PEERCRED` who came. The caller's
uid is what the kernel says and not what the request says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from sekisho.model.errors import UnavailableError

SOCKET_NAME = "sekishod.sock"
SOCKET_MODE = 0o660
BACKLOG = 128
_CREDENTIALS = struct.Struct("3i")


class PeerProtocol(H11Protocol):
    """HTTP/1.1 whose client address is the caller's identity: `("uid:1000(name)", pid)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = peer(transport.get_extra_info("socket"))


class ApiServer(uvicorn.Server):
    """A uvicorn server whose process handles its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def peer(connection: socket.socket) -> tuple[str, int]:
    """Who is at the other end of a Unix socket: `uid:1000(name)` and the process id."""
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return f"uid:{uid}({pwd.getpwuid(uid).pw_name})", pid
    except KeyError:
        return f"uid:{uid}", pid


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, in place of one that a daemon which is gone left behind.

    The caller holds the ledger's lock, so no living daemon's socket is taken away. Raises
    UnavailableError if it cannot be made.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        aside.unlink(missing_ok=True)
        server.bind(str(aside))
        aside.chmod(SOCKET_MODE)
        server.listen(BACKLOG)
        server.setblocking(False)
        aside.rename(path)
    except OSError as error:
        server.close()
        raise UnavailableError(
            f"the API socket {path} cannot be made ({error}); make the runtime folder writable for the daemon"
        ) from error
    return server


def server(app: Starlette, protocol: type[H11Protocol] = PeerProtocol, *, grace: int = 3) -> ApiServer:
    """A server for `serve([listen(path)])`; set its `should_exit` to end it.

    `protocol` is the API's unless told. `grace`: seconds the requests under way have at the end.
    """
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=grace,
        h11_max_incomplete_event_size=64 * 1024,
    )
    return ApiServer(config)
