"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

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
