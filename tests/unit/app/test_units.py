"""The units an operator installs: systemd accepts them, and they give nothing away."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sekisho.app import exitcodes

UNITS = Path(__file__).resolve().parents[3] / "systemd"
SERVICES = ("sekishod.service", "sekisho-plane.service")


@pytest.mark.parametrize("name", SERVICES)
def test_neither_service_falls_with_the_other(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    other = next(one for one in SERVICES if one != name)
    binding = ("Requires=", "BindsTo=", "PartOf=", "Requisite=")
    assert not [line for line in lines if line.startswith(binding) and other in line]


@pytest.mark.parametrize("name", SERVICES)
def test_no_core_file_no_capability_no_new_privilege(name: str) -> None:
    lines = (UNITS / name).read_text().splitlines()
    assert {"LimitCORE=0", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict"} <= set(lines)


def test_both_are_handed_the_key_of_the_lists_and_pause_after_a_start_that_was_refused() -> None:
    """The plane cannot write where sekishod would make a key, and each would be refused again a moment later."""
    pauses = set()
    for name in SERVICES:
        lines = (UNITS / name).read_text().splitlines()
        assert "LoadCredential=list-key" in lines
        pauses.update(line for line in lines if line.startswith("ExecStopPost="))
        assert not [line for line in lines if line.startswith("RestartPreventExitStatus=")], "whatever ended it, it is tried again"
    (pause,) = pauses
    assert f"{exitcodes.PASSING}|{exitcodes.REFUSED})" in pause


def test_the_daemon_goes_on_when_memory_runs_out_for_the_process_of_a_sealed_list() -> None:
    assert "OOMPolicy=continue" in (UNITS / "sekishod.service").read_text().splitlines()


def test_whoever_has_a_role_passes_to_the_socket_and_the_tables_stay_the_daemons() -> None:
    modes = {line for name in SERVICES for line in (UNITS / name).read_text().splitlines() if line.startswith("RuntimeDirectoryMode=")}
    assert modes == {"RuntimeDirectoryMode=0751"}
    assert "d /run/sekisho 0751 sekisho sekisho -" in (UNITS / "sekisho.tmpfiles").read_text().splitlines()
    made = {line.split()[1] for line in (UNITS / "sekisho.sysusers").read_text().splitlines() if line.startswith("g ")}
    named = set(re.findall(r"groups: \[([a-z-]+)\]", (UNITS / "README.md").read_text()))
    assert made == named == {"sekisho-view", "sekisho-operate"}


with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed; on Debian: apt-get install systemd"
)


@pytest.mark.parametrize("name", SERVICES)
def test_however_often_a_service_dies_it_is_started_again(name: str) -> None:
    """By default systemd gives up after five starts in ten seconds, and fails the socket unit with it: queries wait no more then."""
    unit, _, service = (UNITS / name).read_text().partition("[Service]")
    assert "StartLimitIntervalSec=0" in unit.splitlines()
    assert [line for line in service.splitlines() if line in ("Restart=always", "Restart=on-failure")]


@with_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    copies = copied(tmp_path, [*UNITS.glob("*.service"), *UNITS.glob("*.socket")])
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *copies], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sekisho" not in done.stderr, done.stderr


def copied(folder: Path, units: list[Path]) -> list[str]:
    """The units with what they start replaced by what is installed on a machine that only tests, too."""
    for unit in units:
        (folder / unit.name).write_text(re.sub(r"/usr/bin/sekisho(d|-plane)", "/bin/true", unit.read_text()))
    return sorted(str(folder / unit.name) for unit in units)


@with_systemd
@pytest.mark.parametrize(("name", "lines"), [("sekishod.service", False), ("sekishod.service", True), ("sekisho-plane.service", False)])
def test_what_a_service_leaves_open_is_the_figure_of_the_readme_and_at_most_two(name: str, lines: bool, tmp_path: Path) -> None:
    (unit,) = copied(tmp_path, [UNITS / name])
    if lines:
        added = tmp_path / f"{name}.d"
        added.mkdir()
        shutil.copy(UNITS / "sekishod-lines.conf", added)
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze rates no files; systemd 250 and later do")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    version = subprocess.run(["systemd-analyze", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    text = (UNITS / "README.md").read_text()
    row = re.search(rf"^\| `{re.escape(name)}`{' with `sekishod-lines.conf`' if lines else ''} \| (\d+\.\d) \|$", text, re.MULTILINE)
    assert row is not None
    # Other versions rate by other rules.
    if f"systemd {version} " in text:
        assert f": {row.group(1)} " in done.stdout.splitlines()[-1]


@with_systemd
@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("sekishod.service", {"chown", "fchownat", "prlimit64", "flock", "fsync"}),  # chown: the group of the dnstap socket
        ("sekisho-plane.service", {"sched_setattr", "prlimit64", "recvmmsg", "sendmmsg"}),  # the short slice of a worker
    ],
)
def test_the_filter_lets_through_the_system_calls_that_features_need(name: str, calls: set[str]) -> None:
    allowed: set[str] = set()
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2]
            named = {call for word in words.lstrip("~").split() for call in members(word)}
            allowed = allowed - named if words.startswith("~") else allowed | named
    assert not calls - allowed


def members(word: str) -> set[str]:
    """The system calls a word of SystemCallFilter= stands for."""
    if not word.startswith("@"):
        return {word}
    argv = ["systemd-analyze", "syscall-filter", "--no-pager", word]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    found = {line.strip() for line in lines} - {""}
    return {call for one in found if not one.startswith("#") for call in members(one)}
