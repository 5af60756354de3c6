"""What is kept running: a program, and what is known of one process of it.

Owns when a process is started again, when it has been silent for too long, and what of its words is news. Does not own signals nor
sockets: `keeper` has the loop, `takeover` the change from one process to the next.
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
LOOK = 1.0
"""Seconds between two looks at who is silent. Of a longer time no more than this counts: the supervisor was stopped, or the machine
suspended, and so may those it watches have been, or what they said had no room to wait."""
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
    watchdog: float | None = None
    """Seconds it may go without saying that it lives (WATCHDOG=1), once it was ready; None: it is not watched."""


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
    silent: float | None = None
    """Seconds since it said that it lives, of those that count (`LOOK`); None while it is not watched."""

    def on_start(self, pid: int, now: float) -> None:
        self.pid, self.started, self.start_at, self.ready, self.told, self.silent = pid, now, None, False, "", None

    def on_ready(self) -> None:
        """It does its work now, and is watched: a start may take as long as it takes."""
        self.ready = self.ever_ready = True
        self.silent = 0.0 if self.program.watchdog is not None else None

    def on_sign_of_life(self) -> None:
        if self.silent is not None:
            self.silent = 0.0

    def hangs(self, passed: float) -> bool:
        """Whether it has been silent for longer than it may be, now that `passed` seconds more are over; said once of a process.

        One that was told to end has a time of its own for that.
        """
        if self.silent is None or self.program.watchdog is None or self.leaving:
            return False
        self.silent += min(passed, LOOK)
        if self.silent <= self.program.watchdog:
            return False
        self.silent = None
        return True

    def on_exit(self, now: float) -> float:
        """It died: when to start it again, growing with failures in a row. Returns the pause, seconds.

        What serves customers, and came as far as that, is started again at once however often it dies: while
        it is away their queries wait.
        """
        served = self.ready and self.program.succeeded
        self.failures = 1 if served or now - self.started >= STEADY else self.failures + 1
        pause = PAUSES[min(self.failures, len(PAUSES)) - 1]
        self.pid, self.ready, self.silent, self.start_at = 0, False, None, now + pause
        return pause

    def on_end(self, now: float) -> None:
        """It ended as it was told, and is started again at once."""
        self.pid, self.ready, self.silent, self.leaving, self.leave_by, self.start_at = 0, False, None, False, None, now

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
