"""Keeping programs running: each restarted alone, all stopped together.

Owns the loop of a small service manager: start, readiness, watchdog, restart after a growing pause, stop with
a deadline. Does not own which programs run nor the sockets they are handed: that is `supervise`; nor
the order of an upgrade: that is `takeover`.

The manager of this process, if it has one, hears of readiness and status from here. Its socket and its watchdog are its own: the programs
get another socket, and the patience this one has with them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterable, Mapping, Sequence

from sekisho.app.exitcodes import CRASHED
from sekisho.app.programs import LOOK, Keeper, Program, Say
from sekisho.app.takeover import Takeover, running
from sekisho.drivers.notify import Notifier, NotifyChannel
from sekisho.drivers.processes import Signals, spawn

__all__ = ["Keeper", "Program", "Say", "keep"]

GRACE = 10.0
"""Seconds the processes have to stop before they are killed."""


def keep(programs: Iterable[Program], environ: Mapping[str, str], say: Say) -> int:
    """Keep the programs running until SIGTERM or SIGINT; call from the main thread.

    Each is started as it comes: what one needs to be made ready does not hold up those before it, and an
    error in that stops them and is raised. Returns the exit code: 0 stopped as asked, else that of a
    program that could not be started at all.
    """
    with Signals() as signals, NotifyChannel() as notices, selectors.DefaultSelector() as selector:
        selector.register(signals.reader, selectors.EVENT_READ)
        selector.register(notices.reader, selectors.EVENT_READ)
        keepers: list[Keeper] = []
        takeover = Takeover(keepers)
        manager = Notifier(environ)

        def tell(text: str) -> None:
            say(text)
            manager.status(text)

        inner = {**environ, "NOTIFY_SOCKET": notices.address}
        inner.pop("WATCHDOG_USEC", None)
        looked = time.monotonic()
        code: int | None = None
        announced = False
        try:
            for program in programs:
                keepers.append(Keeper(program))
                _start_due(keepers, inner)
            while code is None:
                _start_due(keepers, inner)
                selector.select(_patience(keepers, time.monotonic()))
                before, looked = looked, time.monotonic()
                _look(keepers, notices, looked - before, tell)
                code = _handle(keepers, signals.take(), takeover, tell)
                if code is None:
                    code = _reap(keepers, takeover, tell)
                takeover.go_on(time.monotonic(), tell)
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
            program, watched = keeper.program, dict(environ)
            if program.watchdog is not None:
                watched["WATCHDOG_USEC"] = str(round(program.watchdog * 1e6))
            keeper.on_start(spawn(program.argv, watched, program.sockets), time.monotonic())


def _patience(keepers: Sequence[Keeper], now: float) -> float | None:
    due = [moment for keeper in keepers for moment in (keeper.start_at, keeper.leave_by) if moment is not None]
    due += [now + LOOK for keeper in keepers if keeper.silent is not None]
    return max(0.0, min(due) - now) if due else None


def _look(keepers: Sequence[Keeper], notices: NotifyChannel, passed: float, say: Say) -> None:
    """Hear what was said, `passed` seconds after the last time, and end what has not said for too long that it lives.

    At once: nothing is kept of a process that hangs, and one that is stopped hears no other signal. It is started again as one that died.
    """
    for pid, words in notices.take():
        _note(keepers, pid, words, say)
    for keeper in running(keepers):
        if notices.emptied and keeper.hangs(passed):
            say(f"{keeper.program.name}: process {keeper.pid} has not said for {keeper.program.watchdog:g} s that it lives; ended")
            os.kill(keeper.pid, signal.SIGKILL)


def _note(keepers: Sequence[Keeper], pid: int, words: Mapping[str, str], say: Say) -> None:
    """A notification of a child itself: what it starts, and whoever else of this machine may send one, has no say in how it does."""
    keeper = next((one for one in running(keepers) if one.pid == pid), None)
    if keeper is None:
        return
    status = words.get("STATUS", "")
    if words.get("WATCHDOG") == "1" or words.get("STOPPING") == "1":
        keeper.on_sign_of_life()
    if words.get("READY") == "1" and not keeper.ready:
        keeper.on_ready()
        say(f"{keeper.program.name}: ready{f' - {status}' if status else ''}")
    elif status and keeper.worth_telling(status, time.monotonic()):
        say(f"{keeper.program.name}: {status}")


def _handle(keepers: Sequence[Keeper], received: Sequence[int], takeover: Takeover, say: Say) -> int | None:
    for number in received:
        if number in (signal.SIGTERM, signal.SIGINT):
            say("stopping")
            return 0
        if number == signal.SIGHUP:
            for keeper in keepers:
                if keeper.program.reloads and keeper.pid:
                    say(f"{keeper.program.name}: told to read its files again")
                    os.kill(keeper.pid, signal.SIGHUP)
        if number == signal.SIGUSR2:
            takeover.begin(time.monotonic(), say)
    return None


def _reap(keepers: Sequence[Keeper], takeover: Takeover, say: Say) -> int | None:
    for keeper in running(keepers):
        pid, status = os.waitpid(keeper.pid, os.WNOHANG)
        if not pid:
            continue
        code = os.waitstatus_to_exitcode(status)
        _end_group(keeper.pid)
        if takeover.on_exit(keeper, _ended(code), time.monotonic(), say):
            continue
        pause = keeper.on_exit(time.monotonic())
        if keeper.hopeless(code):
            say(f"{keeper.program.name}: {_ended(code)} before it was ready; nothing is left running")
            return code if code > 0 else CRASHED
        say(f"{keeper.program.name}: {_ended(code)}; starting it again in {pause:g} s")
    return None


def _ended(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"


def _stop(keepers: Sequence[Keeper], signals: Signals, say: Say) -> None:
    """Ask every process to stop, and end those that have not by the deadline or a second Ctrl-C."""
    left = running(keepers)
    for keeper in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while left:
        for keeper in list(left):
            if os.waitpid(keeper.pid, os.WNOHANG)[0]:
                _end_group(keeper.pid)
                left.remove(keeper)
        hurried = any(number in (signal.SIGTERM, signal.SIGINT) for number in signals.take())
        if left and (hurried or time.monotonic() >= deadline):
            for keeper in left:
                say(f"{keeper.program.name}: did not stop in time; ended")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(keeper.pid, signal.SIGKILL)
                os.waitpid(keeper.pid, 0)
                _end_group(keeper.pid)
            return
        if left:
            signals.wait(min(0.1, max(0.0, deadline - time.monotonic())))


def _end_group(leader: int) -> None:
    """Whatever a dead process left of its own children ends with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
