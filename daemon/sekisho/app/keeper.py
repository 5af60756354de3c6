"""Keeping programs running: each restarted alone, all stopped together.

Owns the loop of a small service manager: start, readiness, restart after a growing pause, stop with
a deadline. Does not own which programs run nor the sockets they are handed: that is `supervise`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sekisho.drivers.notify import Notifier, NotifyChannel
from sekisho.drivers.processes import Signals, spawn

GRACE = 10.0
"""Seconds the processes have to stop before they are killed."""
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a process is started again, after one failure, two, and so on."""
STEADY = 30.0
"""Seconds of running after which earlier failures no longer count."""
HOPELESS = 5
"""Failures in a row, before a process was ready even once, after which the supervisor gives up."""
NEWS = 10.0
"""Seconds after which a status that changed in its figures alone is told again."""
REFUSED_CONFIGURATION = 1
"""Exit code of a process that read its configuration and refused it."""

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

    def on_start(self, pid: int, now: float) -> None:
        self.pid, self.started, self.start_at, self.ready, self.told = pid, now, None, False, ""

    def on_exit(self, now: float) -> float:
        """It died: when to start it again, growing with failures in a row. Returns the pause, seconds."""
        self.failures = 1 if now - self.started >= STEADY else self.failures + 1
        pause = PAUSES[min(self.failures, len(PAUSES)) - 1]
        self.pid, self.ready, self.start_at = 0, False, now + pause
        return pause

    def worth_telling(self, status: str, now: float) -> bool:
        """Whether a status is news: other words, or the same with other figures after a while."""
        words = "".join(letter for letter in status if not letter.isdigit())
        if self.ready or (words == self.told and now - self.told_at < NEWS):
            return False
        self.told, self.told_at = words, now
        return True

    def hopeless(self, code: int) -> bool:
        """Whether starting it again would only repeat the failure: it never was ready, and refuses or keeps dying."""
        return not self.ever_ready and (code == REFUSED_CONFIGURATION or self.failures >= HOPELESS)


def keep(programs: Iterable[Program], environ: Mapping[str, str], say: Say) -> int:
    """Keep the programs running until SIGTERM or SIGINT; call from the main thread.

    Each is started as it comes: what one needs to be made ready does not hold up those before it, and an
    error in that stops them and is raised. Returns the exit code: 0 stopped as asked, 1 a program could
    not be started at all.
    """
    with Signals() as signals, NotifyChannel() as notices, selectors.DefaultSelector() as selector:
        selector.register(signals.reader, selectors.EVENT_READ)
        selector.register(notices.reader, selectors.EVENT_READ)
        keepers: list[Keeper] = []
        manager = Notifier(environ)

        def tell(text: str) -> None:
            say(text)
            manager.status(text)

        inner = {**environ, "NOTIFY_SOCKET": notices.address}
        code: int | None = None
        announced = False
        try:
            for program in programs:
                keepers.append(Keeper(program))
                _start_due(keepers, inner)
            while code is None:
                _start_due(keepers, inner)
                selector.select(_patience(keepers, time.monotonic()))
                for pid, words in notices.take():
                    _note(keepers, pid, words, tell)
                code = _handle(keepers, signals.take(), tell)
                if code is None:
                    code = _reap(keepers, tell)
                if not announced and all(keeper.ready for keeper in keepers):
                    announced = True
                    manager.ready("both processes do their work")
        finally:
            manager.stopping()
            _stop(keepers, signals, tell)
        return code


def _start_due(keepers: Sequence[Keeper], environ: Mapping[str, str]) -> None:
    now = time.monotonic()
    for keeper in keepers:
        if keeper.start_at is not None and keeper.start_at <= now:
            keeper.on_start(spawn(keeper.program.argv, environ, keeper.program.sockets), time.monotonic())


def _patience(keepers: Sequence[Keeper], now: float) -> float | None:
    due = [keeper.start_at for keeper in keepers if keeper.start_at is not None]
    return max(0.0, min(due) - now) if due else None


def _note(keepers: Sequence[Keeper], pid: int, words: Mapping[str, str], say: Say) -> None:
    """A notification of a child, or of a process of a child's group (a worker of the plane's)."""
    keeper = next((one for one in keepers if one.pid and pid in (one.pid, _group(pid, one.pid))), None)
    if keeper is None:
        return
    status = words.get("STATUS", "")
    if words.get("READY") == "1" and not keeper.ready:
        keeper.ready = keeper.ever_ready = True
        say(f"{keeper.program.name}: ready{f' - {status}' if status else ''}")
    elif status and keeper.worth_telling(status, time.monotonic()):
        say(f"{keeper.program.name}: {status}")


def _group(pid: int, leader: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == leader:
            return pid
    return 0


def _handle(keepers: Sequence[Keeper], received: Sequence[int], say: Say) -> int | None:
    for number in received:
        if number in (signal.SIGTERM, signal.SIGINT):
            say("stopping")
            return 0
        if number == signal.SIGHUP:
            for keeper in keepers:
                if keeper.program.reloads and keeper.pid:
                    say(f"{keeper.program.name}: told to read its files again")
                    os.kill(keeper.pid, signal.SIGHUP)
    return None


def _reap(keepers: Sequence[Keeper], say: Say) -> int | None:
    for keeper in keepers:
        if not keeper.pid:
            continue
        pid, status = os.waitpid(keeper.pid, os.WNOHANG)
        if not pid:
            continue
        code = os.waitstatus_to_exitcode(status)
        _end_group(keeper.pid)
        pause = keeper.on_exit(time.monotonic())
        if keeper.hopeless(code):
            say(f"{keeper.program.name}: {_ended(code)} before it was ready; nothing is left running")
            return 1
        say(f"{keeper.program.name}: {_ended(code)}; starting it again in {pause:g} s")
    return None


def _ended(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"


def _stop(keepers: Sequence[Keeper], signals: Signals, say: Say) -> None:
    """Ask every process to stop, and end those that have not by the deadline or a second Ctrl-C."""
    running = [keeper for keeper in keepers if keeper.pid]
    for keeper in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while running:
        for keeper in list(running):
            if os.waitpid(keeper.pid, os.WNOHANG)[0]:
                _end_group(keeper.pid)
                running.remove(keeper)
        hurried = any(number in (signal.SIGTERM, signal.SIGINT) for number in signals.take())
        if running and (hurried or time.monotonic() >= deadline):
            for keeper in running:
                say(f"{keeper.program.name}: did not stop in time; ended")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(keeper.pid, signal.SIGKILL)
                os.waitpid(keeper.pid, 0)
                _end_group(keeper.pid)
            return
        if running:
            signals.wait(min(0.1, max(0.0, deadline - time.monotonic())))


def _end_group(leader: int) -> None:
    """Whatever a dead process left of its own children ends with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
