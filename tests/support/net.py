"""Ports for tests."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import socket

_FIRST, _EACH, _SHARES = 12_000, 5_000, 4
"""Below the ports the kernel gives out by itself; each of the processes tests run in has a share of its own."""
_share = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or 0) % _SHARES
_next = itertools.count(random.SystemRandom().randrange(_EACH))


@functools.cache
def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::1", 0))
        return True
    return False


def free_port(host: str = "127.0.0.1", tries: int = 200) -> int:
    """A port free for UDP and TCP on `host` a moment ago, and given to nobody else here. Where a port 0 can be bound, prefer that."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(tries):
        port = _FIRST + _share * _EACH + next(_next) % _EACH
        with (
            socket.socket(family, socket.SOCK_STREAM) as stream,
            socket.socket(family, socket.SOCK_DGRAM) as datagram,
            contextlib.suppress(OSError),
        ):
            stream.bind((host, port))
            datagram.bind((host, port))
            return port
    raise RuntimeError(f"no port free for UDP and TCP on {host} in {tries} tries")
