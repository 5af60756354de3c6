"""The plane's watchdog: told that the plane lives while every worker turns, whatever the thread that tells it does."""

from __future__ import annotations

import threading
from pathlib import Path

from structlog.testing import capture_logs

from sekisho.app.plane_process import PlaneProcess
from sekisho.app.plane_turns import STARTING, STILL, Turns
from sekisho.config.packets import parse_packet_settings
from sekisho.drivers.notify import Notifier
from sekisho.drivers.planeworkers import UdpWorker
from sekisho.snapshot import layout
from support.waiting import wait_until
from unit.drivers.test_planeworkers import running

SETTINGS = "{version: 1, upstream: {address: '127.0.0.1:5300'}}"


class StuckWorker(UdpWorker):
    """Enters its loop and comes out of it no more, until it is let."""

    let: threading.Event

    def _serve(self) -> None:
        self.let.wait(60)

    def turn(self) -> None:
        self.counts.worker[layout.WORKER_HEARTBEAT] += 1


class Told(Notifier):
    """How often the watchdog was told."""

    def __init__(self) -> None:
        super().__init__({})
        self.times = 0

    def watchdog(self) -> None:
        self.times += 1


def test_a_worker_stands_still_after_so_many_looks_and_one_that_has_not_turned_yet_has_longer() -> None:
    turns = Turns()
    said = [turns.look({0: 10 + (look > 0), 1: 10}) for look in range(STARTING + 1)]
    assert said[: STILL + 1] == [[]] * (STILL + 1)
    assert said[STILL + 1 : STARTING] == [[0]] * (STARTING - STILL - 1)
    assert said[STARTING] == [0, 1]


def test_a_clock_that_is_set_is_no_standstill() -> None:
    turns = Turns()
    for sign in (10, 11, 5, 10**18, 5, *range(STILL * 2)):
        assert turns.look({0: sign}) == []


def test_the_watchdog_is_told_only_while_every_worker_turns_and_the_log_says_which_does_not(tmp_path: Path) -> None:
    told = Told()
    process = PlaneProcess(parse_packet_settings(SETTINGS, str(tmp_path / "sekisho.yaml")), told)
    with running(tmp_path, "127.0.0.1") as one, running(tmp_path / "other", "127.0.0.1") as other, capture_logs() as logs:
        good = one.worker
        stuck = StuckWorker(1, [], other.worker.files, other.worker.settings, other.worker.on_death)
        stuck.let = threading.Event()
        stuck.prepare(other.tables())
        stuck.start()
        process._workers = [good, stuck]

        def look() -> int:
            """Once the good one has turned."""
            before = good.sign_of_life
            good.take(one.tables())
            wait_until(lambda: good.sign_of_life != before)
            process._tell_watchdog()
            return told.times

        assert look() == 1
        stuck.turn()
        assert [look() for _ in range(STILL)] == [2 + number for number in range(STILL)], "a worker may have to wait for a core"
        assert {look() for _ in range(3)} == {1 + STILL}
        assert [(line["worker"], line["log_level"]) for line in logs] == [(1, "error")]
        stuck.turn()
        assert look() == 2 + STILL
        assert [(line["worker"], line["log_level"]) for line in logs] == [(1, "error"), (1, "warning")]
        del logs[:]
        good.stop()
        good.join(60)
        for _ in range(STILL + 1):
            stuck.turn()
            process._tell_watchdog()
        assert told.times == 2 + 2 * STILL, "once when it has moved to its end, and so often for want of patience"
        assert [(line["worker"], line["log_level"]) for line in logs] == [(0, "error")], "a thread that is gone"
        stuck.stopping = True
        stuck.let.set()
        stuck.join(60)
        for upstream in stuck._upstreams:
            upstream.close()


def test_an_idle_worker_gives_a_sign_of_life_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, "127.0.0.1") as one:
        for _ in range(2):
            before = one.worker.sign_of_life
            wait_until(lambda: one.worker.sign_of_life != before)  # noqa: B023
