"""The UDP sockets a worker asks its resolvers through: random ports, connected, registered.

Owns port choice (RFC 5452 section 9.2). A connected socket takes answers from its resolver alone,
and is told when the resolver's port is closed.
"""

from __future__ import annotations

import secrets
import select
import socket
from collections.abc import Sequence

from sekisho.model.errors import UnavailableError

_FIRST_PORT, _PORTS = 10000, 55000
_TRIES = 64
_BUFFER = 1 << 20


def open_upstream(host: str, port: int) -> socket.socket:
    """One socket of a random port to the resolver. Raises UnavailableError if the address cannot be reached at all."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - the source address is the kernel's choice
    try:
        for attempt in range(_TRIES):
            try:
                one.bind((wildcard, _FIRST_PORT + secrets.randbelow(_PORTS)))
                break
            except OSError:
                if attempt + 1 == _TRIES:
                    raise
        one.connect((host, port))
    except OSError as error:
        one.close()
        message = f"the resolver {host}:{port} cannot be reached from here ({error.strerror}); correct `upstream:` or the routes"
        raise UnavailableError(message) from error
    return one


def register(epoll: select.epoll, fd: int, number: int, kind: int) -> None:
    """Register a descriptor whose events the compiled loop reads as (number, kind)."""
    _epoll_ctl(epoll.fileno(), fd, number | kind << 32)


def _epoll_ctl(epoll: int, fd: int, data: int) -> None:
    # select.epoll fixes the event's data to the descriptor; the loop wants its own.
    import ctypes  # noqa: PLC0415 - only here

    libc = ctypes.CDLL(None, use_errno=True)
    event = (select.EPOLLIN).to_bytes(4, "little") + data.to_bytes(8, "little")
    if libc.epoll_ctl(epoll, 1, fd, ctypes.create_string_buffer(event, 12)) != 0:
        raise OSError(ctypes.get_errno(), "epoll_ctl")


def spread(addresses: Sequence[tuple[str, int]], total: int) -> int:
    """How many sockets each resolver gets."""
    return max(1, min(16, total // len(addresses)))
