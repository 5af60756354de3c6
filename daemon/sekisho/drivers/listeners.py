"""The sockets clients ask on, bound before and apart from the process that serves them.

A socket outlives the plane: while that is compiled, restarted or upgraded, queries wait in the
kernel instead of being refused. One UDP socket a worker and address shares its port by
SO_REUSEPORT, in the order of the workers; one TCP socket an address listens.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator, Sequence

from sekisho.model.errors import UnavailableError

BACKLOG = 1024
"""TCP connections waiting to be accepted."""
ANY_PORT_TRIES = 20
"""Tries for a port that both transports have free, where any will do."""


def bind_listeners(addresses: Sequence[tuple[str, int]], workers: int) -> list[tuple[str, socket.socket]]:
    """Bind every address and return the sockets by name: `tcp-<address>` and `udp-<address>-<worker>`.

    Raises UnavailableError, saying which address and what to do, and leaves nothing bound.
    """
    bound: list[tuple[str, socket.socket]] = []
    try:
        for index, (host, port) in enumerate(addresses):
            bound.extend(_bind_address(index, host, port, workers))
    except OSError as error:
        for _, one in bound:
            one.close()
        raise UnavailableError(_sentence(host, port, error)) from error
    return bound


def name_listeners(sockets: Iterable[socket.socket]) -> dict[str, socket.socket]:
    """Inherited sockets by the names `bind_listeners` gives, whoever bound them.

    The kernel says what each is: systemd gives every socket of a unit the same name. Addresses and
    workers are numbered in the order the sockets come. The sockets become non-blocking. Raises
    UnavailableError for one that is neither UDP nor TCP.
    """
    addresses: dict[tuple[str, int], int] = {}
    named: dict[str, socket.socket] = {}
    for one in sockets:
        if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            raise UnavailableError(f"an inherited socket ({one.family.name}, {one.type.name}) is neither UDP nor TCP; see the socket unit")
        one.setblocking(False)
        index = addresses.setdefault(one.getsockname()[:2], len(addresses))
        if one.type == socket.SOCK_STREAM:
            named[f"tcp-{index}"] = one
        else:
            worker = sum(1 for name in named if name.startswith(f"udp-{index}-"))
            named[f"udp-{index}-{worker}"] = one
    return named


def _bind_address(index: int, host: str, port: int, workers: int, tries: int = ANY_PORT_TRIES) -> list[tuple[str, socket.socket]]:
    """All sockets of one address. Port 0 asks for any that TCP and UDP have free. Raises OSError, and leaves nothing bound."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(_bind_stream(host, port))
        chosen = stream.getsockname()[1]
        try:
            _refuse_if_taken(host, chosen)
            datagrams = [stack.enter_context(_bind_datagram(host, chosen)) for _ in range(workers)]
        except OSError as error:
            if port or tries == 1 or error.errno != errno.EADDRINUSE:
                raise
        else:
            stack.pop_all()
            return [(f"tcp-{index}", stream), *((f"udp-{index}-{worker}", one) for worker, one in enumerate(datagrams))]
    return _bind_address(index, host, port, workers, tries - 1)


def _bind_stream(host: str, port: int) -> socket.socket:
    one = _socket(host, socket.SOCK_STREAM)
    with _closed_on_error(one):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
        one.listen(BACKLOG)
    return one


def _bind_datagram(host: str, port: int) -> socket.socket:
    one = _socket(host, socket.SOCK_DGRAM)
    with _closed_on_error(one):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, port))
    return one


def _refuse_if_taken(host: str, port: int) -> None:
    """SO_REUSEPORT would share a port with another process of the same user; without it that fails."""
    with _socket(host, socket.SOCK_DGRAM) as probe:
        probe.bind((host, port))


def _socket(host: str, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, kind)
    one.setblocking(False)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return one


@contextlib.contextmanager
def _closed_on_error(one: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError:
        one.close()
        raise


def _sentence(host: str, port: int, error: OSError) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    advice = {
        errno.EADDRINUSE: "another process serves this address; stop it, or name another under `listen:`",
        errno.EADDRNOTAVAIL: "this machine has no such address; add it to an interface, or name another under `listen:`",
        errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE; start by systemd's socket unit, or name another port under `listen:`",
        errno.EAFNOSUPPORT: "this machine has no IPv6; take the address out of `listen:`",
    }
    return f"cannot listen on {where}: {advice.get(error.errno or 0, os.strerror(error.errno or 0))}"
