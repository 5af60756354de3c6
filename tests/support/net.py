"""Ports for tests."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import random
import socket
import tempfile

_FIRST, _PORTS = 2_000, 8_000
"""Below the ports the kernel gives out by itself, and below those the plane asks its resolvers from: it takes any of 10000 to 64999
at its start, and would now and then have the one a test was given for a program that starts later."""
_next = itertools.count(random.SystemRandom().randrange(_PORTS))


@functools.cache
def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::1", 0))
        return True
    return False


def free_port(host: str = "127.0.0.1", tries: int = 200) -> int:
    """A port free for UDP and TCP on `host` a moment ago, and given to no test of this machine but this process's, and once.

    Where a port 0 can be bound, prefer that.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(tries):
        port = _FIRST + next(_next) % _PORTS
        with (
            socket.socket(family, socket.SOCK_STREAM) as stream,
            socket.socket(family, socket.SOCK_DGRAM) as datagram,
            contextlib.suppress(OSError),
        ):
            fcntl.lockf(_ledger(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            stream.bind((host, port))
            datagram.bind((host, port))
            return port
    raise RuntimeError(f"no port free for UDP and TCP on {host} in {tries} tries")


@functools.cache
def _ledger() -> int:
    """A file of which each octet stands for a port, locked by the process the port was given to for as long as that runs."""
    path = os.path.join(tempfile.gettempdir(), f"sekisho-test-ports-{os.getuid()}")  # noqa: PTH118 - a number, not a Path, is locked
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
