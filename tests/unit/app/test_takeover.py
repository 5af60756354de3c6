"""The order of an upgrade, event by event, without processes."""

from __future__ import annotations

import signal

import pytest

from sekisho.app import takeover as module
from sekisho.app.programs import Keeper, Program
from sekisho.app.takeover import LEAVE, PATIENCE, Takeover

NEXT = 1000.0


@pytest.fixture
def told(monkeypatch) -> list[tuple[int, int]]:
    """(process, signal) in order."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(module.os, "kill", lambda pid, number: found.append((pid, number)))
    return found


@pytest.fixture
def keepers() -> list[Keeper]:
    control = Keeper(Program("control", ()), pid=10, ready=True, ever_ready=True, start_at=None)
    plane = Keeper(Program("plane", (), succeeded=True), pid=20, ready=True, ever_ready=True, start_at=None)
    return [control, plane]


def said(_: str) -> None: ...


def successor_of(takeover: Takeover, keepers: list[Keeper]) -> Keeper:
    control = keepers[0]
    takeover.begin(0.0, said)
    assert takeover.on_exit(control, "ended", 1.0, said)
    control.on_start(11, 1.0)
    takeover.go_on(1.0, said)
    assert len(keepers) == 2, "not before the control plane is ready"
    control.ready = True
    takeover.go_on(2.0, said)
    keepers[2].on_start(21, 2.0)
    return keepers[2]


def test_the_old_plane_is_told_to_leave_when_its_successor_is_ready_and_not_before(keepers: list[Keeper], told) -> None:
    takeover = Takeover(keepers)
    old, successor = keepers[1], successor_of(takeover, keepers)
    assert told == [(10, signal.SIGTERM)]
    takeover.go_on(3.0, said)
    assert told == [(10, signal.SIGTERM)]
    successor.ready = True
    takeover.go_on(4.0, said)
    assert told[1:] == [(20, LEAVE)]
    assert not takeover.under_way
    assert takeover.on_exit(old, "ended", 5.0, said)
    assert keepers[1:] == [successor]


def test_an_old_plane_that_dies_while_its_successor_starts_is_not_started_again(keepers: list[Keeper], told) -> None:
    takeover = Takeover(keepers)
    old, successor = keepers[1], successor_of(takeover, keepers)
    assert takeover.on_exit(old, "ended", 3.0, said)
    assert keepers[1:] == [successor]
    successor.ready = True
    takeover.go_on(4.0, said)
    assert (20, LEAVE) not in told
    assert not takeover.on_exit(successor, "ended", 5.0, said), "from now on a failure like any other"


def test_a_second_order_during_an_upgrade_is_refused(keepers: list[Keeper], told) -> None:
    takeover = Takeover(keepers)
    words: list[str] = []
    takeover.begin(0.0, words.append)
    takeover.begin(1.0, words.append)
    assert words[-1] == "an upgrade is under way already"
    assert told == [(10, signal.SIGTERM)]


def test_a_process_that_does_not_leave_is_ended(keepers: list[Keeper], told) -> None:
    takeover = Takeover(keepers)
    successor_of(takeover, keepers).ready = True
    takeover.go_on(4.0, said)
    takeover.go_on(4.0 + PATIENCE - 0.1, said)
    assert told[-1] == (20, LEAVE)
    takeover.go_on(4.0 + PATIENCE, said)
    assert told[-1] == (20, signal.SIGKILL)


def test_a_control_plane_that_fails_at_its_new_start_holds_the_upgrade_up_and_no_plane_is_touched(keepers: list[Keeper], told) -> None:
    takeover = Takeover(keepers)
    takeover.begin(0.0, said)
    takeover.on_exit(keepers[0], "ended", 1.0, said)
    keepers[0].on_start(11, 1.0)
    assert not takeover.on_exit(keepers[0], "ended with exit code 1", 2.0, said), "an ordinary failure: tried again after a pause"
    keepers[0].on_exit(2.0)
    takeover.go_on(NEXT, said)
    assert len(keepers) == 2
    assert takeover.under_way
