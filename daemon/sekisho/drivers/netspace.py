"""A thread in a network namespace: all that is asked of one kernel's network is asked from there, one after the other.

A namespace is a property of a thread. Entering another than the daemon's own needs CAP_SYS_ADMIN (setns(2)).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sekisho.drivers.scheduling import ask_for_short_slice
from sekisho.model.errors import UnavailableError

_CLONE_NEWNET = 0x40000000
_NAMED = Path("/run/netns")

Result = TypeVar("Result")


class NetworkThread:
    """Runs steps in the namespace of a name (`ip netns list`) or path; None: the daemon's own."""

    def __init__(self, namespace: str | None) -> None:
        self.namespace = namespace
        self._entered = namespace is None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="network", initializer=ask_for_short_slice)
        self._steps: set[Future[Any]] = set()

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do, nor will have before the event loop goes on."""
        return not self._steps

    async def run(self, step: Callable[[], Result]) -> Result:
        """Raises UnavailableError if the namespace cannot be entered, and whatever the step raises."""
        future = self._pool.submit(self._inside, step)
        self._steps.add(future)
        # A step goes on though nobody waits for it any more.
        future.add_done_callback(self._steps.discard)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _inside(self, step: Callable[[], Result]) -> Result:
        if not self._entered and self.namespace is not None:
            _enter(self.namespace)
            self._entered = True
        return step()


def _enter(namespace: str) -> None:
    path = Path(namespace) if namespace.startswith("/") else _NAMED / namespace
    library = ctypes.CDLL(None, use_errno=True)
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UnavailableError(f"the network namespace {path} is not there ({error.strerror}); make it, or mend `lines:`") from error
    try:
        if library.setns(number, _CLONE_NEWNET):
            why = os.strerror(ctypes.get_errno())
            raise UnavailableError(
                f"the network namespace {path} cannot be entered ({why}); give the daemon CAP_SYS_ADMIN, or start it in that namespace"
            )
    finally:
        os.close(number)
