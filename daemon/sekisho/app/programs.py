"""What is kept running: a program, and what is known of one process of it.

Owns when a process is started again and what of its words is news. Does not own signals nor sockets:
`keeper` has the loop, `takeover` the change from one process to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sekisho.app.exitcodes import REFUSED

PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a process is started again, after one failure, two, and so on."""
STEADY = 30.0
"""Seconds of running after which earlier failures no longer count."""
HOPELESS = 5
"""Failures in a row, before a process was ready even once, after which the supervisor gives up."""
NEWS = 10.0
"""Seconds after which a status that changed in its figures alone is told again."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep running."""

    name: str
    argv: tuple[str, ...]
    sockets: tuple[tuple[str, int], ...] = ()
    """(name, descriptor) pairs handed over."""
    reloads: bool = False
    """It reads its files again on SIGHUP."""
    succeeded: bool = False
    """At an upgrade the next process serves before this one is told to leave (SIGUSR1); otherwise it is stopped first."""


@dataclass(slots=True)
class Keeper:
    """What the supervisor knows of one program; the times are of the monotonic clock."""

    program: Program
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    start_at: float | None = 0.0
    """When to start it; None while it runs."""
    ready: bool = False
    ever_ready: bool = False
    told: str = ""
    """The last status told, without its figures."""
    told_at: float = 0.0
    leaving: bool = False
    """It was told to end: its end is no failure."""
    leave_by: float | None = None
    """When it is ended if it has not left by itself."""

    def on_start(self, pid: int, now: float) -> None:
        self.pid, self.started, self.start_at, self.ready, self.told = pid, now, None, False, ""

    def on_exit(self, now: float) -> float:
        """It died: when to start it again, growing with failures in a row. Returns the pause, seconds.

        What serves customers, and came as far as that, is started again at once however often it dies: while
        it is away their queries wait.
        """
        served = self.ready and self.program.succeeded
        self.failures = 1 if served or now - self.started >= STEADY else self.failures + 1
        pause = PAUSES[min(self.failures, len(PAUSES)) - 1]
        self.pid, self.ready, self.start_at = 0, False, now + pause
        return pause

    def on_end(self, now: float) -> None:
        """It ended as it was told, and is started again at once."""
        self.pid, self.ready, self.leaving, self.leave_by, self.start_at = 0, False, False, None, now

    def worth_telling(self, status: str, now: float) -> bool:
        """Whether a status is news: other words, or the same with other figures after a while."""
        words = "".join(letter for letter in status if not letter.isdigit())
        if self.ready or (words == self.told and now - self.told_at < NEWS):
            return False
        self.told, self.told_at = words, now
        return True

    def hopeless(self, code: int) -> bool:
        """Whether starting it again would only repeat the failure: it never was ready, and refuses or keeps dying."""
        return not self.ever_ready and (code == REFUSED or self.failures >= HOPELESS)
