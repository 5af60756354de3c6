"""An upgrade while queries come in: a new process takes over from the old one (SIGUSR2).

Owns the order of it. First what is merely stopped and started (the control plane, whose absence no
query feels), so that a plane of a new version finds tables of its own version. When that is ready a
successor of the plane is started with the same listening sockets; both serve for a moment. When
the successor is ready the old one is told to leave: it takes no more from the sockets, answers
what it has taken, and ends. A successor that fails before it is ready changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence

from sekisho.app.programs import Keeper, Say

LEAVE = signal.SIGUSR1
"""What a program that is `succeeded` is told: another process serves, leave."""
PATIENCE = 30.0
"""Seconds a process has to leave before it is ended; it bounds its own leave to fewer."""


class Takeover:
    """The upgrade of all programs, one at a time."""

    def __init__(self, keepers: list[Keeper]) -> None:
        """`keepers` is the supervisor's own list: successors join it, and what has left is taken out of it."""
        self._keepers = keepers
        self._wanted = False
        self._successors: dict[int, Keeper] = {}
        """By the identity of the keeper that is to leave."""

    @property
    def under_way(self) -> bool:
        return self._wanted or bool(self._successors)

    def begin(self, now: float, say: Say) -> None:
        """Start an upgrade; `now` is of the monotonic clock."""
        if self.under_way:
            say("an upgrade is under way already")
            return
        self._wanted = True
        say("upgrading: each program is replaced by what is installed now")
        for keeper in self._keepers:
            if not keeper.program.succeeded and keeper.pid:
                keeper.ready = False
                _dismiss(keeper, signal.SIGTERM, now)

    def go_on(self, now: float, say: Say) -> None:
        """Do what has become possible: call it whenever something may have happened."""
        if self._wanted and all(keeper.ready for keeper in self._keepers if not keeper.program.succeeded):
            self._wanted = False
            for old in [keeper for keeper in self._keepers if keeper.program.succeeded and keeper.pid and not keeper.leaving]:
                say(f"{old.program.name}: starting its successor")
                self._successors[id(old)] = Keeper(old.program, ever_ready=True)
                self._keepers.append(self._successors[id(old)])
        for old in list(self._keepers):
            successor = self._successors.get(id(old))
            if successor is not None and successor.ready:
                del self._successors[id(old)]
                say(f"{old.program.name}: process {successor.pid} has taken over, process {old.pid} answers what it has taken and ends")
                _dismiss(old, LEAVE, now)
        for keeper in running(self._keepers):
            if keeper.leave_by is not None and keeper.leave_by <= now:
                say(f"{keeper.program.name}: process {keeper.pid} did not leave in time; ended")
                keeper.leave_by = None
                _tell(keeper, signal.SIGKILL)

    def on_exit(self, keeper: Keeper, said: str, now: float, say: Say) -> bool:
        """A process ended (`said` tells how): whether that was part of the upgrade, and is dealt with."""
        if keeper.leaving and not keeper.program.succeeded:
            say(f"{keeper.program.name}: {said}; starting what is installed now")
            keeper.on_end(now)
            return True
        if keeper.leaving:
            say(f"{keeper.program.name}: the process that was succeeded {said}")
            self._keepers.remove(keeper)
            return True
        if id(keeper) in self._successors:  # it died while its successor is on the way: that one is the program now
            say(f"{keeper.program.name}: {said}; its successor is on the way")
            del self._successors[id(keeper)]
            self._keepers.remove(keeper)
            return True
        for old, successor in self._successors.items():
            if successor is keeper:
                say(f"{keeper.program.name}: the successor {said} before it was ready; the process before it goes on")
                del self._successors[old]
                self._keepers.remove(keeper)
                return True
        return False


def running(keepers: Sequence[Keeper]) -> list[Keeper]:
    return [keeper for keeper in keepers if keeper.pid]


def _dismiss(keeper: Keeper, number: signal.Signals, now: float) -> None:
    keeper.leaving, keeper.leave_by = True, now + PATIENCE
    _tell(keeper, number)


def _tell(keeper: Keeper, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper.pid, number)
