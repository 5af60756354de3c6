"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 60.0, what: str = "the condition", interval: float = 0.01) -> T:
    """Ask `condition` until it gives something true, and return that.

    `deadline` in seconds. Raises AssertionError, naming `what`, when it has passed.
    """
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"{what} did not come about in {deadline:g} s; last value: {value!r}")
        time.sleep(interval)


@contextlib.contextmanager
def end_of_waiting(deadline: float = 60.0) -> Iterator[None]:
    """Fail the test if what is done here waits in the kernel for so long, in seconds. In the main thread only."""

    def end(*_: object) -> None:
        pytest.fail(f"it waited for {deadline:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
