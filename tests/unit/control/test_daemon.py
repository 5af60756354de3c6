"""`sekishod` as a process: starts whole or says why not, and loses nothing it acknowledged."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from sekisho.api.bounded import LimitedProtocol
from sekisho.api.server import PeerProtocol
from sekisho.app import control
from sekisho.app.clocksteps import TOLD_FOR, ClockSteps
from sekisho.app.control_daemon import _beat, _every
from sekisho.app.control_doors import open_doors
from sekisho.app.exitcodes import CRASHED, PASSING, REFUSED
from sekisho.app.plane_sockets import tell
from sekisho.drivers.sharedfiles import WANTED
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.model.errors import UnavailableError
from sekisho.snapshot import layout
from support import free_port
from unit.control.sites import CUSTOMERS, Folder, run
from unit.flows.packets import v5, v5_record


class Process:
    """A sekishod of its own process."""

    def __init__(self, folder):
        self.folder = folder
        address = folder.path / "notify"
        address.unlink(missing_ok=True)
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(address))
        self.channel.settimeout(60)
        environment = os.environ | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "2000000"}
        self.log = (folder.path / "log").open("ab")
        argv = [sys.executable, "-m", "sekisho.app.control", "--config", str(folder.config), "--log-level", "debug"]
        self.child = subprocess.Popen(argv, env=environment, stdout=self.log, stderr=self.log)

    def wait_for(self, word):
        while word not in (said := self.channel.recv(4096)):
            pass
        return said

    def end(self, number=signal.SIGTERM):
        self.child.send_signal(number)
        code = self.child.wait(30)
        self.close()
        return code

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.channel.close()
        self.log.close()


@pytest.fixture
def start(folder):
    started = []

    def begin():
        process = Process(folder)
        started.append(process)
        process.wait_for(b"READY=1")
        return process

    yield begin
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory, free_port):
    """One daemon for the tests that only look, or change what no other looks at."""
    folder = Folder(tmp_path_factory.mktemp("site"))
    folder.port = free_port()
    folder.set(metrics=f"127.0.0.1:{folder.port}")
    process = Process(folder)
    process.wait_for(b"READY=1")
    yield process
    process.close()


def sekisho(folder, *arguments):
    argv = [sys.executable, "-m", "sekisho.cli.main", "--config", str(folder.config), "--json", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_no_opt_out_is_lost_by_kill_9_between_its_acknowledgement_and_the_restart(folder, start):
    process = start()
    code, answer = sekisho(folder, "optout", "add", "c-1", "c2")
    process.end(signal.SIGKILL)
    assert (code, answer["in_force"]) == (0, True)
    process = start()
    assert sekisho(folder, "explain", "--customer", "c-1", "--name", "c2.example")[1]["verdict"] == "answered"
    assert sekisho(folder, "optout", "show", "c-1")[1]["in_force"] is True
    assert process.end() == 0
    assert not (folder.path / "run" / "sekishod.sock").exists()


def test_the_caller_is_on_record_and_the_plane_that_is_not_there_is_told(running):
    _, answer = sekisho(running.folder, "optout", "add", "c-2", "c2")
    assert answer["by"].startswith(f"uid:{os.getuid()}")
    _, status = sekisho(running.folder, "status")
    assert status["plane"]["running"] is False
    assert status["customers"]["unconsented"] == 1


def test_the_manager_is_told_that_the_daemon_lives(running):
    running.wait_for(b"WATCHDOG=1")


def test_hanging_up_reads_the_configuration_again(running, wait_until):
    running.folder.customers([*CUSTOMERS, {"id": "c-77", "terms": "nbnet"}])
    running.child.send_signal(signal.SIGHUP)
    wait_until(lambda: sekisho(running.folder, "customers", "show", "c-77")[0] == 0, 30)


def test_metrics_show_zeros_and_no_customer_address_or_name(running):
    sekisho(running.folder, "optout", "add", "c-1", "c2")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.folder.port}/metrics") as response:
        text = response.read().decode()
    assert 'sekisho_list_matches_total{list="c2"} 0.0' in text
    assert 'sekisho_list_entries{list="csam"} 1.0' in text
    assert 'sekisho_list_opted_out{list="csam"} 0.0' in text
    assert 'sekisho_clause_matches_total{clause="nbnet/21-1"} 0.0' in text
    assert "sekisho_customers_opted_out 0.0" not in text
    for secret in ("c-1", "192.0.2.", "example"):
        assert secret not in text


def test_a_process_that_keeps_secrets_leaves_no_core_file(running):
    with Path(f"/proc/{running.child.pid}/limits").open(encoding="ascii") as file:
        core = next(line for line in file if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_every_fault_of_the_configuration_is_told_and_nothing_is_started(folder):
    folder.lists([{"id": "c2"}])
    folder.customers([{"id": "c-1", "terms": "nosuchpack"}])
    argv = [sys.executable, "-m", "sekisho.app.control", "--config", str(folder.config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == REFUSED
    assert "lists.yaml" in done.stderr
    assert "customers.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder.path / "state").exists()


def test_a_metrics_address_that_is_taken_is_told(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        folder.set(metrics=f"127.0.0.1:{taken.getsockname()[1]}")
        argv = [sys.executable, "-m", "sekisho.app.control", "--config", str(folder.config)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == PASSING
    assert "metrics cannot be served" in done.stderr
    assert "Traceback" not in done.stderr


def test_flow_records_are_collected_and_told(folder, start, wait_until):
    folder.set(flows={"listen": ["127.0.0.1:0"], "exporters": ["127.0.0.1"]})
    process = start()
    body = wait_until(lambda: (told := sekisho(folder, "flows", "show")[1])["listening"] and told, 120)
    host, _, port = body["listening"][0].removesuffix("/udp").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(v5([v5_record("192.0.2.1", "198.51.100.25", 60)]), (host, int(port)))
    wait_until(lambda: sekisho(folder, "flows", "show")[1]["totals"]["records"] == 1, 30)
    assert process.end() == 0


@pytest.mark.parametrize(
    ("error", "ready", "code"),
    [
        (UnavailableError("the folder cannot be used"), False, PASSING),
        (UnavailableError("the folder cannot be used"), True, CRASHED),
        (RuntimeError("nobody foresaw it"), False, CRASHED),
        (RuntimeError("nobody foresaw it"), True, CRASHED),
    ],
)
def test_a_fault_of_the_machine_a_crash_and_a_fault_of_the_files_end_with_three_codes(
    folder, monkeypatch, capsys, error: Exception, ready: bool, code: int
) -> None:
    async def live(_config, tables, notifier) -> None:
        if ready:
            notifier.ready()
        raise error

    monkeypatch.setattr(control, "_live", live)
    assert control.run(folder.config) == code
    assert str(error) in capsys.readouterr().err


def test_a_step_for_which_something_is_wanting_is_done_when_there_is_some_again_and_another_fault_ends_the_daemon() -> None:
    numbers = iter([errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EROFS, None, errno.EIO])
    done, told, failing = [], [], {}

    async def step() -> None:
        number = next(numbers)
        told.append(list(failing))
        if number is not None:
            raise OSError(number, os.strerror(number))
        done.append(number)

    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(_every(0.0, "drain", step, failing))
    assert done == [None]
    assert told == [[], *[["drain"]] * 4, []], "what fails is known for as long as it does"


def test_a_disk_that_takes_nothing_keeps_the_daemon_from_no_word_to_the_watchdog() -> None:
    """It lives, though its tables cannot be written anew: ended for that it could not even start again."""

    async def repair(_now: float) -> None:
        raise UnavailableError("no room left")

    tables = SimpleNamespace(heartbeat=lambda _now: None, repair=repair)
    core = SimpleNamespace(tables=tables, steps=ClockSteps(), lists=SimpleNamespace(check=lambda: None), clock=time.time)
    words = []
    notifier = SimpleNamespace(watchdog_seconds=10.0, watchdog=lambda: words.append("WATCHDOG=1"))
    with pytest.raises(UnavailableError):
        asyncio.run(_beat(core, notifier))
    assert words == ["WATCHDOG=1"]


def test_both_doors_bound_what_callers_hold_open(folder) -> None:
    folder.set(metrics=f"127.0.0.1:{free_port()}")

    async def scenario(control):
        doors = open_doors(control.core)
        for door in doors:
            door.opened.close()
            door.remove()
        return [door.server.config.http for door in doors]

    assert run(folder, scenario) == [PeerProtocol, LimitedProtocol]


def test_tables_a_plane_could_not_start_by_are_told_for_an_hour_and_then_no_more(folder) -> None:
    """Once they are written anew nothing else shows it."""

    async def scenario(control):
        async def told() -> list[str]:
            return [one for one in (await control.status())["warnings"] if "written anew" in one]

        tables = control.core.tables
        said = [await told()]
        epoch = tables.published.epoch
        (folder.path / "run" / "plane" / WANTED).touch()
        for aged in (0.0, TOLD_FOR - 60, 120):
            await tables.repair(control.core.clock())
            tables.repaired = (tables.repaired[0], tables.repaired[1] - aged)
            said.append(await told())
        assert tables.published.epoch == epoch + 1
        return epoch, said

    epoch, (before, at_once, almost, after) = run(folder, scenario)
    assert before == after == []
    assert f"epoch {epoch}" in at_once[0]
    assert at_once == almost


def test_sockets_that_differ_from_the_configuration_are_told_while_a_plane_runs_with_them(folder) -> None:
    async def scenario(control):
        plane = folder.path / "run" / "plane"
        tell(plane, ["`workers: 4` is not what answers"])
        said = [(await control.status())["warnings"]]
        counts = WorkerFiles(plane).counts(0, 1)
        counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
        counts.worker[layout.WORKER_EPOCH] = control.core.tables.published.epoch
        return [*said, (await control.status())["warnings"]]

    stopped, running = run(folder, scenario)
    assert not any("workers: 4" in one for one in stopped)
    assert "`workers: 4` is not what answers" in running
