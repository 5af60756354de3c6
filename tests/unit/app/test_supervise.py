"""`sekisho run`: addresses bound once, faults told before anything starts."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from sekisho.app import supervise
from sekisho.app.exitcodes import PASSING, REFUSED
from sekisho.app.keeper import Program
from sekisho.cli.main import cli
from support import free_port

UNITS = Path(__file__).parents[3] / "systemd"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sekisho.yaml"
    change(
        path,
        version=1,
        listen=[f"127.0.0.1:{free_port()}", f"127.0.0.2:{free_port('127.0.0.2')}"],
        upstream={"address": "127.0.0.1:9"},
        state="state",
        runtime="runtime",
        workers=2,
        metrics="off",
    )
    return path


def change(config: Path, **keys: object) -> None:
    before = json.loads(config.read_text()) if config.exists() else {}
    config.write_text(json.dumps(before | keys, indent=1))


@pytest.fixture
def kept(monkeypatch) -> list[tuple[tuple[Program, ...], dict[str, str]]]:
    """What `run` would have kept running."""
    found: list[tuple[tuple[Program, ...], dict[str, str]]] = []
    monkeypatch.setattr(supervise, "keep", lambda programs, environ, _say: found.append((tuple(programs), environ)) or 0)
    return found


def test_both_processes_get_the_configuration_and_the_plane_the_sockets(config: Path, kept) -> None:
    assert supervise.run(config, {"HOME": "/home/op"}, lambda _: None) == 0
    (((control, plane), environ),) = kept
    assert control.argv[1:] == ("-P", "-m", "sekisho.app.control", "--config", str(config))
    assert plane.argv[1:] == ("-P", "-m", "sekisho.app.plane", "--config", str(config))
    assert control.sockets == ()
    assert [name for name, _ in plane.sockets] == ["tcp-0", "udp-0-0", "udp-0-1", "tcp-1", "udp-1-0", "udp-1-1"]
    assert Path(environ["NUMBA_CACHE_DIR"]).parent == Path("/home/op/.cache/sekisho")


def test_either_may_be_silent_for_as_long_as_the_services_may(config: Path, kept) -> None:
    supervise.run(config, {}, lambda _: None)
    for program in kept[0][0]:
        unit = (UNITS / f"{program.name}.service").read_text()
        assert f"\nWatchdogSec={program.watchdog:g}\n" in unit
        assert "\nWatchdogSignal=SIGKILL\n" in unit


def test_both_processes_log_as_the_operator_asked(config: Path, kept) -> None:
    arguments = ["run", "--log-level", "debug", "--log-format", "json", "--config", str(config)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert [one.argv[-4:] for one in kept[0][0]] == [("--log-level", "debug", "--log-format", "json")] * 2


def test_modules_of_the_folder_one_stands_in_are_not_taken_for_ours(config: Path, kept, tmp_path: Path) -> None:
    supervise.run(config, {}, lambda _: None)
    (tmp_path / "http.py").write_text("raise SystemExit('a stranger was imported')")
    for program in kept[0][0]:
        argv = (*program.argv[: program.argv.index("-m")], "-c", "import http; print(http.__file__)")
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "http/__init__.py" in done.stdout, done.stderr


def test_a_compile_cache_that_was_named_is_kept(config: Path, kept) -> None:
    supervise.run(config, {"NUMBA_CACHE_DIR": "/elsewhere"}, lambda _: None)
    assert Path(kept[0][1]["NUMBA_CACHE_DIR"]).parent == Path("/elsewhere")


def test_without_a_number_there_is_a_worker_a_core(config: Path, kept, monkeypatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    change(config, workers="auto", listen=[f"127.0.0.1:{free_port()}"])
    supervise.run(config, {}, lambda _: None)
    assert [name for name, _ in kept[0][0][1].sockets] == ["tcp-0", "udp-0-0", "udp-0-1", "udp-0-2"]


def test_every_fault_of_every_file_is_told_and_nothing_starts(config: Path, kept) -> None:
    (config.parent / "lists.yaml").write_text('{"version": 1, "lists": [{"id": "c2", "colour": "red"}]}')
    change(config, lists="lists.yaml", wrokers=2)
    said: list[str] = []
    assert supervise.run(config, {}, said.append) == REFUSED
    (text,) = said
    assert "wrokers" in text
    assert "colour" in text
    assert not kept


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path, kept) -> None:
    said: list[str] = []
    assert supervise.run(tmp_path / "none.yaml", {}, said.append) == REFUSED
    assert "none.yaml" in said[0]
    assert not kept


def test_a_taken_address_is_named_with_what_to_do(config: Path, kept) -> None:
    address = json.loads(config.read_text())["listen"][1]
    host, port = address.split(":")
    with socket.socket() as other:
        other.bind((host, int(port)))
        other.listen()
        said: list[str] = []
        assert supervise.run(config, {}, said.append) == PASSING == 75
    assert said == [f"cannot listen on {address}: another process serves this address; stop it, or name another under `listen:`"]
    assert not kept
