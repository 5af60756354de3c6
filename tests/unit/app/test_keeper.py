"""Programs kept running: each restarted alone, none left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sekisho.app.exitcodes import CRASHED, REFUSED
from sekisho.app.keeper import _look
from sekisho.app.programs import LOOK, PAUSES, STEADY, Keeper, Program
from sekisho.drivers import notify
from sekisho.drivers.notify import NotifyChannel
from support import wait_until

CHILD = """
import contextlib, json, os, signal, socket, sys, time
folder, name, mode = sys.argv[1:4]
with open(os.path.join(folder, name + ".environ"), "w") as file:
    json.dump({key: value for key, value in os.environ.items() if key.startswith(("NOTIFY", "WATCHDOG"))}, file)
starts = os.path.join(folder, name + ".starts")
with open(starts, "a") as file:
    file.write(f"{os.getpid()} {os.environ.get('LISTEN_FDS', '')} {os.environ.get('LISTEN_FDNAMES', '')} "
               f"{os.environ.get('LISTEN_PID') == str(os.getpid())}\\n")
if mode == "refuse":
    print("sekisho.yaml:3: unknown key", file=sys.stderr)
    sys.exit(78)
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "unready-successor" and os.path.exists(os.path.join(folder, name + ".ready")):
    sys.exit(3)
open(os.path.join(folder, name + ".ready"), "w").close()
signal.signal(signal.SIGHUP, lambda *_: open(os.path.join(folder, name + ".hup"), "w").close())
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0"))
channel.send(b"READY=1\\nSTATUS=" + name.encode() + b" serves")
if "WATCHDOG_USEC" not in os.environ or mode == "mute" or (mode == "spoken-for" and os.fork()):
    while True:
        time.sleep(60)
channel.setblocking(False)
with open(os.path.join(folder, name + ".beats"), "ab", 0) as beats:
    while True:
        with contextlib.suppress(BlockingIOError):
            channel.send(b"WATCHDOG=1")
        beats.write(b".")
        time.sleep(0.05)
"""

PARENT = """
import os, socket, sys
from sekisho.app import keeper
folder, modes, child, grace = sys.argv[1], sys.argv[2].split(","), sys.argv[3], float(sys.argv[4])
patience = float(sys.argv[5]) or None
keeper.GRACE = grace
one, two = socket.socketpair()
def program(name, mode, **more):
    return keeper.Program(name, (sys.executable, child, folder, name, mode), watchdog=patience, **more)
sockets = (("tcp-0", one.fileno()), ("udp-0-0", two.fileno()))
programs = (program("control", modes[0], reloads=True), program("plane", modes[1], sockets=sockets, succeeded=True))
sys.exit(keeper.keep(programs, os.environ, lambda text: print(text, flush=True)))
"""


@dataclass
class Run:
    folder: Path
    process: subprocess.Popen[str]

    def starts(self, name: str) -> list[list[str]]:
        path = self.folder / f"{name}.starts"
        return [line.split(" ") for line in path.read_text().splitlines()] if path.exists() else []

    def pid(self, name: str) -> int:
        return int(self.starts(name)[-1][0])

    def beats(self, name: str) -> int:
        """How often it said that it lives, or would have: every twentieth of a second at most."""
        path = self.folder / f"{name}.beats"
        return path.stat().st_size if path.exists() else 0

    def environ(self, name: str) -> dict[str, str]:
        """What it was told of who manages it."""
        found: dict[str, str] = json.loads((self.folder / f"{name}.environ").read_text())
        return found

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "parent.py").write_text(textwrap.dedent(PARENT))
    runs: list[Run] = []

    def _start(control: str = "serve", plane: str = "serve", grace: float = 10.0, watchdog: float = 0.0, **environ: str) -> Run:
        arguments = [tmp_path / "parent.py", tmp_path, f"{control},{plane}", tmp_path / "child.py", grace, watchdog]
        with (tmp_path / "said").open("w") as out:
            inner = os.environ | environ
            process = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=out, stderr=out, text=True, env=inner)
        runs.append(Run(tmp_path, process))
        return runs[-1]

    yield _start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait(60)
        for name in ("control", "plane"):
            for start in run.starts(name):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(start[0]), signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def serving(run: Run) -> bool:
    return "control: ready - control serves" in run.said and "plane: ready - plane serves" in run.said


def test_a_process_that_dies_is_started_again_alone(start) -> None:
    run = start()
    wait_until(lambda: serving(run))
    control, plane = run.pid("control"), run.pid("plane")
    os.kill(plane, signal.SIGKILL)
    wait_until(lambda: len(run.starts("plane")) == 2)
    wait_until(lambda: run.said.count("plane: ready") == 2)
    assert run.pid("plane") != plane
    assert run.pid("control") == control
    assert alive(control)
    assert "plane: ended by SIGKILL; starting it again" in run.said


def test_the_plane_is_handed_the_listening_sockets_at_every_start(start) -> None:
    run = start()
    wait_until(lambda: serving(run))
    os.kill(run.pid("plane"), signal.SIGKILL)
    wait_until(lambda: len(run.starts("plane")) == 2)
    assert {tuple(one[1:]) for one in run.starts("plane")} == {("2", "tcp-0:udp-0-0", "True")}
    assert run.starts("control")[0][1:] == ["", "", "False"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_stops_both_and_exits_0(start, number: int) -> None:
    run = start()
    wait_until(lambda: serving(run))
    run.process.send_signal(number)
    assert run.process.wait(60) == 0
    assert not alive(run.pid("control"))
    assert not alive(run.pid("plane"))


def test_a_process_deaf_to_the_request_is_ended_at_the_deadline(start) -> None:
    run = start(plane="deaf", grace=0.3)
    wait_until(lambda: serving(run))
    run.process.terminate()
    assert run.process.wait(60) == 0
    assert "plane: did not stop in time; ended" in run.said
    assert not alive(run.pid("plane"))


def test_no_orphan_is_left_when_the_supervisor_is_killed(start) -> None:
    run = start()
    wait_until(lambda: serving(run))
    run.process.kill()
    run.process.wait(60)
    wait_until(lambda: not alive(run.pid("control")) and not alive(run.pid("plane")))


def test_a_refused_configuration_stops_everything_with_its_exit_code(start) -> None:
    run = start(control="refuse")
    assert run.process.wait(60) == REFUSED
    assert "sekisho.yaml:3: unknown key" in run.said
    assert "control: ended with exit code 78 before it was ready" in run.said
    wait_until(lambda: not any(alive(int(one[0])) for one in run.starts("plane")))


def test_a_process_that_never_gets_ready_is_given_up(start) -> None:
    run = start(plane="die")
    assert run.process.wait(60) == CRASHED
    assert len(run.starts("plane")) == 5
    assert len(run.starts("control")) == 1


def test_sighup_reaches_the_control_plane_and_spares_the_plane(start) -> None:
    run = start()
    wait_until(lambda: serving(run))
    run.process.send_signal(signal.SIGHUP)
    wait_until((run.folder / "control.hup").exists)
    assert not (run.folder / "plane.hup").exists()
    assert alive(run.pid("plane"))


def test_sigusr2_replaces_the_control_plane_then_lets_a_successor_of_the_plane_take_over(start) -> None:
    run = start()
    wait_until(lambda: serving(run))
    control, plane = run.pid("control"), run.pid("plane")
    run.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: not alive(plane))
    assert not alive(control)
    wait_until(lambda: "has taken over" in run.said)
    said = run.said
    order = ["starting what is installed now", "control: ready", "starting its successor", "plane: ready", "has taken over"]
    assert [said.rindex(words) for words in order] == sorted(said.rindex(words) for words in order)
    assert [len(run.starts(name)) for name in ("control", "plane")] == [2, 2]
    assert {tuple(one[1:]) for one in run.starts("plane")} == {("2", "tcp-0:udp-0-0", "True")}, "the same sockets"
    assert alive(run.pid("plane"))
    wait_until(lambda: "the process that was succeeded ended by SIGUSR1" in run.said)
    assert "starting it again" not in run.said
    # The successor is kept running as the one before it was, and may be succeeded itself.
    os.kill(run.pid("plane"), signal.SIGKILL)
    wait_until(lambda: run.said.count("plane: ready") == 3)
    run.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: run.said.count("has taken over") == 2)


def test_a_successor_that_fails_before_it_is_ready_changes_nothing(start) -> None:
    run = start(plane="unready-successor")
    wait_until(lambda: serving(run))
    plane = run.pid("plane")
    run.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "plane: the successor ended with exit code 3 before it was ready; the process before it goes on" in run.said)
    assert alive(plane)
    run.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: run.said.count("starting its successor") == 2, what="another try")
    assert alive(plane)
    run.process.terminate()
    assert run.process.wait(60) == 0
    assert not alive(plane)


HANGS = "plane: process {} has not said for {:g} s that it lives; ended"


def test_a_process_that_stands_still_is_ended_and_started_again_alone(start) -> None:
    run = start(watchdog=3.0)
    wait_until(lambda: serving(run))
    control, plane = run.pid("control"), run.pid("plane")
    os.kill(plane, signal.SIGSTOP)
    wait_until(lambda: run.said.count("plane: ready") == 2)
    assert not alive(plane)
    said = run.said
    assert HANGS.format(plane, 3) in said
    assert said.index("it lives; ended") < said.index("plane: ended by SIGKILL; starting it again in 0.1 s")
    assert run.pid("control") == control, "which said all the time that it lives"
    assert alive(control)


@pytest.mark.parametrize("mode", ["mute", "spoken-for"])
def test_a_process_that_does_not_say_itself_that_it_lives_is_ended(start, mode: str) -> None:
    """Nothing it starts says so in its place."""
    run = start(plane=mode, watchdog=0.5)
    wait_until(lambda: len(run.starts("plane")) > 1)
    assert HANGS.format(run.starts("plane")[0][0], 0.5) in run.said


def test_a_supervisor_that_was_stopped_for_longer_ends_nobody_when_it_goes_on(start) -> None:
    """And those it watches were stopped as well: it goes by what they say from then on."""
    run = start(watchdog=4.0)
    wait_until(lambda: serving(run))
    pids = [run.pid(name) for name in ("control", "plane")]
    for pid in (run.process.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: time.monotonic() - stopped > 5.0, what="more than its patience to be over")
    run.process.send_signal(signal.SIGHUP)
    run.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "told to read its files again" in run.said, what="the supervisor to have looked")
    before = run.beats("plane")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: run.beats("plane") > before)
    assert "it lives; ended" not in run.said
    assert [run.pid(name) for name in ("control", "plane")] == pids


def test_what_is_managed_itself_hands_nothing_of_its_manager_on(start) -> None:
    with NotifyChannel() as manager:
        run = start(watchdog=30.0, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="5000000", WATCHDOG_PID="1")
        wait_until(lambda: serving(run))
        words: list[tuple[int, dict[str, str]]] = []
        wait_until(lambda: words.extend(manager.take()) or any("READY" in said for _, said in words), what="word to the manager")
        for name in ("control", "plane"):
            environ = run.environ(name)
            assert environ.pop("NOTIFY_SOCKET") != manager.address
            assert environ == {"WATCHDOG_USEC": "30000000"}
        assert {pid for pid, _ in words} == {run.process.pid}
        assert {key for _, said in words for key in said} == {"READY", "STATUS"}, "nobody tells its watchdog for it"


def test_what_is_not_watched_is_told_of_no_watchdog(start) -> None:
    run = start(WATCHDOG_USEC="5000000")
    wait_until(lambda: serving(run))
    assert list(run.environ("plane")) == ["NOTIFY_SOCKET"]


def watched(pid: int = 7, patience: float = 20.0) -> Keeper:
    """A plane that is ready."""
    keeper = Keeper(Program("plane", (), succeeded=True, watchdog=patience))
    keeper.on_start(pid, 0.0)
    keeper.on_ready()
    return keeper


def test_silence_is_counted_from_the_last_sign_of_life_and_told_once() -> None:
    keeper = watched()
    assert [keeper.hangs(LOOK) for _ in range(20)] == [False] * 20
    keeper.on_sign_of_life()
    assert [keeper.hangs(LOOK) for _ in range(22)] == [*[False] * 20, True, False]
    keeper.on_sign_of_life()
    assert not keeper.hangs(LOOK), "it is ended, whatever it said by then"


def test_a_long_time_between_two_looks_counts_as_one_look() -> None:
    keeper = watched()
    assert not any(keeper.hangs(3600.0) for _ in range(20))
    assert keeper.hangs(3600.0)


def test_a_start_takes_as_long_as_it_takes() -> None:
    keeper = watched()
    keeper.on_exit(1.0)
    keeper.on_start(8, 2.0)
    keeper.on_sign_of_life()
    assert not any(keeper.hangs(LOOK) for _ in range(1000))
    keeper.on_ready()
    assert [keeper.hangs(LOOK) for _ in range(21)] == [*[False] * 20, True]


def test_what_was_told_to_leave_has_the_time_for_that() -> None:
    keeper = watched()
    keeper.leaving = True
    assert not any(keeper.hangs(LOOK) for _ in range(1000))


def test_nobody_is_silent_while_there_are_words_that_were_not_taken(monkeypatch) -> None:
    """Anybody of the machine may fill the queue, and what a process says then has no room in it."""
    monkeypatch.setattr(notify, "_AT_ONCE", 3)
    said: list[str] = []
    with NotifyChannel() as channel, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            keeper = watched(process.pid, patience=0.5)
            for _ in range(5):
                stranger.sendto(b"WATCHDOG=1", "\0" + channel.address[1:])
            _look([keeper], channel, LOOK, said.append)
            assert said == []
            assert process.poll() is None
            _look([keeper], channel, LOOK, said.append)
            assert said == [HANGS.format(process.pid, 0.5)]
            assert process.wait(60) == -signal.SIGKILL
        finally:
            process.kill()
            process.communicate()


def test_pauses_grow_with_failures_in_a_row_and_start_anew_after_a_steady_run() -> None:
    keeper = Keeper(Program("plane", ()))
    pauses = []
    now = 0.0
    for _ in range(len(PAUSES) + 1):
        keeper.on_start(7, now)
        pauses.append(keeper.on_exit(now + 1))
    assert pauses == [*PAUSES, PAUSES[-1]]
    keeper.on_start(7, now)
    assert keeper.on_exit(now + STEADY) == PAUSES[0]


def test_a_plane_that_served_is_started_again_at_once_however_often_it_dies_and_the_control_plane_is_not() -> None:
    pauses = {}
    for succeeded in (True, False):
        keeper = Keeper(Program("either", (), succeeded=succeeded))
        pauses[succeeded] = []
        for now in range(len(PAUSES)):
            keeper.on_start(7, now)
            keeper.ready = True
            pauses[succeeded].append(keeper.on_exit(now + 1))
    assert pauses == {True: [PAUSES[0]] * len(PAUSES), False: list(PAUSES)}


def test_once_ready_a_process_is_never_given_up() -> None:
    keeper = Keeper(Program("plane", ()), ever_ready=True)
    for now in range(100):
        keeper.on_start(7, now)
        keeper.on_exit(now)
        assert not keeper.hopeless(1)


def test_progress_is_told_in_other_words_at_once_and_in_other_figures_now_and_then() -> None:
    keeper = Keeper(Program("plane", ()))
    keeper.on_start(7, 0.0)
    assert keeper.worth_telling("compiling: 2 s", 2.0)
    assert not keeper.worth_telling("compiling: 4 s", 4.0)
    assert keeper.worth_telling("compiling: 12 s", 12.0)
    assert keeper.worth_telling("loading", 13.0)
    keeper.ready = True
    assert not keeper.worth_telling("answering", 99.0)
