"""File systems that are really full, of state and of tables: what is acknowledged is on record, and queries are answered."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Resolver, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from support import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")]

LISTED = "listed.example"
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]


@contextlib.contextmanager
def mounted(folder: Path, mib: int) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", folder), check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True, timeout=30)


@contextlib.contextmanager
def filled(*folders: Path) -> Iterator[None]:
    """No octet more has room in the file systems of these folders, until the end."""
    fillers = [folder / "filler" for folder in folders]
    try:
        for filler in fillers:
            with filler.open("wb", buffering=0) as file:
                for size in (1 << 20, 1 << 12, 1):
                    fill(file.fileno(), bytes(size))
                with pytest.raises(OSError, match="No space left"):
                    file.write(b"x")
        yield
    finally:
        for filler in fillers:
            filler.unlink()


def fill(descriptor: int, octets: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, octets)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Checkpoint]:
    with (
        Resolver().running() as resolver,
        mounted(tmp_path / "disk", 96) as folder,
        mounted(tmp_path / "shm", 192) as runtime,
        running(write_site(folder, runtime, [resolver.port], lists=LISTS, sources={"c2.txt": f"{LISTED}\n"})) as one,
    ):
        yield one


def test_with_both_file_systems_full_what_is_in_force_stays_and_no_act_is_acknowledged_that_is_not_recorded(site: Checkpoint) -> None:
    out, new, seen = (site.customer("gunma") for _ in range(3))
    site.sekisho("optout", "add", out.id, "c2")
    pids = {module: site.pid(module) for module in (CONTROL, PLANE)}
    acts = site.sekisho("status")["ledger"]["acts"]
    with filled(site.site.folder, site.site.runtime):
        refused = site.sekisho("optout", "add", new.id, "c2", code=1)
        assert "could not be written" in refused["error"]
        assert "room" in refused["hint"]
        assert site.is_blocked(new, LISTED), "not acknowledged and not in force"
        assert "room" in str(site.sekisho("reload", code=1))
        assert site.is_answered(out, LISTED)
        assert site.is_blocked(seen, LISTED)
        assert site.is_answered(seen, site.harmless())
        status = site.sekisho("status")
        assert status["ledger"]["acts"] == acts
        for folder in (site.site.folder / "state", site.site.runtime):
            assert any(f"{folder} has no room left" in one for one in status["warnings"])
    site.sekisho("reload")
    site.sekisho("optout", "add", new.id, "c2")
    assert site.is_answered(new, LISTED)
    assert site.is_blocked(seen, LISTED)
    assert {module: site.pid(module) for module in pids} == pids, "nothing died of it"
    assert site.events(seen, at_least=2), "matches waited for room"
    site.sekisho("audit", "verify")
    assert not [one for one in site.sekisho("status")["warnings"] if "no room left" in one]


def test_a_daemon_that_finds_the_disk_full_at_its_start_is_started_again_when_there_is_room(site: Checkpoint) -> None:
    out, other = (site.customer("gunma") for _ in range(2))
    site.api.post("/v1/optouts", customer=out.id, list="c2")
    with filled(site.site.folder, site.site.runtime):
        ready = site.kill(CONTROL)
        wait_until(lambda: "sekishod: ended with exit code" in site.log, what="a start that is refused")
        assert "sekishod: ended with exit code 75; starting it again" in site.log
        assert "Traceback" not in site.log
        assert site.is_answered(out, LISTED)
        assert site.is_blocked(other, LISTED)
    site.wait_ready(CONTROL, ready + 1)
    assert site.sekisho("optout", "show", out.id)["in_force"]
    site.api.post("/v1/optouts", customer=other.id, list="c2")
    assert site.is_answered(other, LISTED)
