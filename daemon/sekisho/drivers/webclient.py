"""The HTTP client of feeds, events and notices: the same rules for all that goes out."""

from __future__ import annotations

import httpx

_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_DEFAULT = 5.0


def open_client(timeout: float = _DEFAULT) -> httpx.AsyncClient:
    """A client that follows no redirect by itself. `timeout` in seconds, for each step of a request that names none.

    A proxy of the environment is for the world outside, never for this host.
    """
    return httpx.AsyncClient(mounts=dict.fromkeys(_LOOPBACK, None), headers={"User-Agent": "sekisho"}, timeout=timeout)
