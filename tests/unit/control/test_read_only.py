"""Folders that cannot be written: a sentence that names them and what to do, and no half start."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.app.exitcodes import PASSING
from unit.control.sites import Folder

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


@pytest.fixture
def site() -> Iterator[Folder]:
    """Its folders are there, so that none need be made."""
    path = Path(tempfile.mkdtemp(prefix="sekisho-read-only-"))
    path.chmod(0o755)
    one = Folder(path)
    for folder in ("state", "run"):
        (path / folder).mkdir()
        (path / folder).chmod(0o755)
    yield one
    for folder in ("state", "run"):
        (path / folder).chmod(0o755)
    shutil.rmtree(path)


def start(site: Folder, module: str) -> subprocess.CompletedProcess[str]:
    """Start a process that may not write just anywhere, though it were root's."""
    libc = ctypes.CDLL(None)
    argv = [sys.executable, "-P", "-m", module, "--config", str(site.config)]
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0),
    )


def test_a_read_only_state_is_told_and_nothing_is_started(site: Folder) -> None:
    (site.path / "state").chmod(0o555)
    done = start(site, "sekisho.app.control")
    assert done.returncode == PASSING
    assert f"the state folder {site.path}/state cannot be used" in done.stdout + done.stderr
    assert "make it writable" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["sekisho.app.control", "sekisho.app.plane"])
def test_a_read_only_runtime_folder_is_told(site: Folder, module: str) -> None:
    (site.path / "run").chmod(0o555)
    (site.path / "state").chmod(0o755)
    done = start(site, module)
    assert done.returncode == PASSING
    assert f"the folder {site.path}/run/plane cannot be" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
