"""Load that is counted: every query sent is waited for, so that one that is lost is known by its name.

A client of the test's own with a window of outstanding queries on each socket, as many names as
queries or a few again and again. It never asks twice: what is not answered in time is lost.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Load:
    """What came of it. `name(n)` is the n-th query's name."""

    sent: int = 0
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    rcodes: dict[int, int] = field(default_factory=dict)
    patience: float = 60.0
    """Seconds an answer may take before it counts as lost."""
    given_up: int = 0
    """Queries before this one count as lost at once."""
    longest: float = 0.0
    """Seconds the slowest answer took."""

    def wait(self, answers: int, deadline: float = 60.0) -> None:
        """Wait until so many more queries were answered."""
        goal, end = self.answered + answers, time.monotonic() + deadline
        while self.answered < goal:
            assert time.monotonic() < end, f"{goal - self.answered} of {answers} answers did not come in {deadline:g} s"
            time.sleep(0.005)


def question(number: int, name: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


@contextlib.contextmanager
def asking(to: tuple[str, int], sources: list[str], name: Callable[[int], str], *, window: int = 8, rate: float = 0.0) -> Iterator[Load]:
    """Ask without pause (or `rate` queries a second) from `sources`, `window` outstanding each, until the end of the block."""
    load, stop = Load(), threading.Event()
    thread = threading.Thread(target=_ask, args=(to, sources, name, window, rate, load, stop))
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()


def _ask(
    to: tuple[str, int],
    sources: list[str],
    name: Callable[[int], str],
    window: int,
    rate: float,
    load: Load,
    stop: threading.Event,
) -> None:
    waiting: dict[socket.socket, dict[int, tuple[float, int]]] = {}
    with contextlib.ExitStack() as stack:
        for source in sources:
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.bind((source, 0))
            one.connect(to)
            one.setblocking(False)
            waiting[one] = {}
        began = time.monotonic()
        while any(waiting.values()) or not stop.is_set():
            due = not stop.is_set()
            while due:
                due = False
                for one, open_ in waiting.items():  # in turn, so that no customer's budget is asked for more than its part
                    if len(open_) < window and (not rate or load.sent < rate * (time.monotonic() - began)):
                        _send(one, open_, name(load.sent), load)
                        due = bool(rate)
            for one in select.select(list(waiting), [], [], 0.01)[0]:
                _take(one, waiting[one], load)
            now = time.monotonic()
            for open_ in waiting.values():
                for key in [key for key, (sent, number) in open_.items() if now - sent > load.patience or number < load.given_up]:
                    load.lost.append(name(open_.pop(key)[1]))


def _send(one: socket.socket, open_: dict[int, tuple[float, int]], text: str, load: Load) -> None:
    with contextlib.suppress(OSError):
        one.send(question(load.sent, text))
    open_[load.sent & 0xFFFF] = (time.monotonic(), load.sent)
    load.sent += 1


def _take(one: socket.socket, open_: dict[int, tuple[float, int]], load: Load) -> None:
    with contextlib.suppress(OSError):
        while True:
            answer = one.recv(65535)
            known = open_.pop(int.from_bytes(answer[:2], "big"), None)
            if known is not None:
                load.answered += 1
                load.longest = max(load.longest, time.monotonic() - known[0])
                load.rcodes[answer[3] & 15] = load.rcodes.get(answer[3] & 15, 0) + 1
