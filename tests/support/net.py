"""Ports of this machine that nobody uses."""

from __future__ import annotations

import contextlib
import socket


def free_port(host: str = "127.0.0.1", tries: int = 50) -> int:
    """A port free for UDP and TCP on `host` a moment ago. Where a port 0 can be bound, prefer that."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(tries):
        with socket.socket(family, socket.SOCK_STREAM) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
            stream.bind((host, 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagram.bind((host, port))
                return port
    raise RuntimeError(f"no port free for UDP and TCP on {host} in {tries} tries")
