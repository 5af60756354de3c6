"""Somebody who asks far too much."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def flood(ask: Callable[[int], object]) -> Iterator[None]:
    """Have `ask` called with 0, 1, 2 and so on, about two hundred times a second, by a thread that is gone afterwards."""
    stop = threading.Event()

    def go_on() -> None:
        for number in itertools.count():
            ask(number)
            if stop.wait(0.005):
                return

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
