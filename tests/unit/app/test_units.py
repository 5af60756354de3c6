"""The units an operator installs: systemd accepts them, and they give nothing away."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_the_daemon_goes_on_when_memory_runs_out_for_the_process_of_a_sealed_list() -> None:
    assert "OOMPolicy=continue" in (UNITS / "sekishod.service").read_text().splitlines()


def test_whoever_has_a_role_passes_to_the_socket_and_the_tables_stay_the_daemons() -> None:
    modes = {line for name in SERVICES for line in (UNITS / name).read_text().splitlines() if line.startswith("RuntimeDirectoryMode=")}
    assert modes == {"RuntimeDirectoryMode=0751"}
    assert "d /run/sekisho 0751 sekisho sekisho -" in (UNITS / "sekisho.tmpfiles").read_text().splitlines()
    made = {line.split()[1] for line in (UNITS / "sekisho.sysusers").read_text().splitlines() if line.startswith("g ")}
    named = set(re.findall(r"groups: \[([a-z-]+)\]", (UNITS / "README.md").read_text()))
    assert made == named == {"sekisho-view", "sekisho-operate"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed; on Debian: apt-get install systemd")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.socket")]:
        # What the units start is not installed on a machine that only tests.
        text = unit.read_text().replace("/usr/bin/sekishod", "/bin/true").replace("/usr/bin/sekisho-plane", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sekisho" not in done.stderr, done.stderr
