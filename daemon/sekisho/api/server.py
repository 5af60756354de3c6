"""Serving the application on a Unix socket, and knowing who calls.

The socket's mode says who reaches it. While nobody but root and the daemon's own user has a role it
is 0600, and nobody else does. Where roles are given it is 0666, and each request is judged by what
the kernel says of its caller: a mode knows one group, roles are given to any number of users and
groups, a file's group cannot be set by a daemon without capabilities unless it is in it, and one
who may only look must not be let in by the mode to do more. A caller without a role is told so and
gets no further; what one user can hold open is bounded, and for how long without a request
(`bounded`), so that nobody keeps the others out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from sekisho.api.bounded import CONNECTIONS, BoundedProtocol
from sekisho.api.peers import caller_of
from sekisho.model.errors import UnavailableError
from sekisho.model.roles import ROOT, Caller, Roles

SOCKET_NAME = "sekishod.sock"
CLOSED, OPEN = 0o600, 0o666
"""Modes of the socket: while nobody besides root and the daemon has a role, and while somebody has."""
BACKLOG = 128


class PeerProtocol(BoundedProtocol):
    """HTTP/1.1 whose requests know their caller: `request.state.caller`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.caller: Caller | None = None
        try:
            self.caller = caller_of(transport.get_extra_info("socket"))
        except OSError:
            # It hung up already, or the kernel does not tell: who is nobody is not served.
            transport.abort()
            return
        uid = self.caller.uid
        theirs = sum(one.caller is not None and one.caller.uid == uid for one in self.connections if isinstance(one, PeerProtocol))
        if uid != ROOT and theirs > CONNECTIONS:
            transport.abort()
            return
        self.app_state = {**self.app_state, "caller": self.caller}


class ApiServer(uvicorn.Server):
    """A uvicorn server whose process handles its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def mode_for(roles: Roles) -> int:
    """The socket's mode under these roles."""
    return OPEN if roles.are_given else CLOSED


def listen(path: Path, mode: int = CLOSED) -> socket.socket:
    """A listening socket at `path`, in place of one that a daemon which is gone left behind.

    The caller holds the ledger's lock, so no living daemon's socket is taken away. Raises
    UnavailableError if it cannot be made.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        aside.unlink(missing_ok=True)
        server.bind(str(aside))
        aside.chmod(mode)
        server.listen(BACKLOG)
        server.setblocking(False)
        aside.rename(path)
    except OSError as error:
        server.close()
        raise UnavailableError(
            f"the API socket {path} cannot be made ({error}); make the runtime folder writable for the daemon"
        ) from error
    return server


def server(app: Starlette, protocol: type[BoundedProtocol] = PeerProtocol, *, grace: int = 3) -> ApiServer:
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
