"""A file system that the kernel makes read-only under the running daemon, as it does after an error of the disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scenarios.harness import Resolver, running, write_site
from scenarios.harness.checkpoint import CONTROL, PLANE
from support import wait_until
from support.binaries import require_binary
from support.missing import skip_or_fail

pytestmark = pytest.mark.slow

LISTED = "listed.example"
LISTS = [{"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"}]


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert not done.returncode, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass
class Disk:
    image: Path
    folder: Path

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", self.image, self.folder)

    def unmount(self) -> None:
        run("umount", self.folder)

    def fail(self) -> None:
        """As the kernel does when it finds the file system damaged."""
        device = Path(run("findmnt", "--noheadings", "--output=SOURCE", self.folder).strip()).name
        (Path("/sys/fs/ext4") / device / "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        subprocess.run((require_binary("e2fsck"), "-fy", self.image), capture_output=True, check=False, timeout=60)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 of the test's own. Skips where the kernel has no loop devices to mount one by; whatever else is missing is none of its doing."""
    # A bind mount does not stand in for it: the kernel makes none read-only while a file in it is open for writing, as the ledger is.
    if os.geteuid() != 0:
        skip_or_fail("mounting a file system needs root")
    one = Disk(tmp_path / "disk.img", tmp_path / "disk")
    with one.image.open("wb") as file:
        file.truncate(96 << 20)
    run(require_binary("mkfs.ext4"), "-q", "-F", one.image)
    one.folder.mkdir()
    try:
        one.mount()
    except AssertionError as error:
        pytest.skip(f"no file system of the test's own can be mounted here, for want of loop devices or of the right to: {error}")
    try:
        yield one
    finally:
        subprocess.run(("umount", "--lazy", one.folder), check=False, capture_output=True, timeout=60)


def test_when_the_state_turns_read_only_answers_go_on_acts_are_refused_and_once_mended_all_is_as_it_was(disk: Disk, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        resolver = stack.enter_context(Resolver().running())
        runtime = tmp_path / "run"
        runtime.mkdir()
        site = write_site(tmp_path, runtime, [resolver.port], lists=LISTS, sources={"c2.txt": f"{LISTED}\n"})
        site.edit(state=str(disk.folder / "state"))
        with running(site) as one:
            out, new, seen = (one.customer("gunma") for _ in range(3))
            one.api.post("/v1/optouts", customer=out.id, list="c2")
            acts = one.api.get("/v1/status")["ledger"]["acts"]
            pid = one.pid(CONTROL)
            disk.fail()
            assert "read-only" in " ".join(one.api.get("/v1/status")["warnings"])
            refused = one.sekisho("optout", "add", new.id, "c2", code=1)
            assert "could not be written" in refused["error"]
            ready = one.kill(PLANE)
            one.wait_ready(PLANE, ready + 1)
            for tcp in (False, True):
                assert one.is_answered(out, LISTED, tcp=tcp), "the last good state is in force, after a start of the plane too"
                assert one.is_blocked(new, LISTED, tcp=tcp), "not acknowledged and not in force"
                assert one.is_blocked(seen, LISTED, tcp=tcp)
                assert one.is_answered(seen, one.harmless(), tcp=tcp)
            one.run("--config", str(site.config), "reload")  # whatever comes of it
            assert one.is_blocked(seen, LISTED)
            assert one.is_answered(out, LISTED)
            assert one.api.get("/v1/status")["ledger"]["acts"] == acts
            assert one.pid(CONTROL) == pid, "the daemon is there to say so"
            ready = one.kill(CONTROL)
            wait_until(lambda: "ended with exit code 75" in one.log, what="a start that is refused, by a fault that may pass")
            assert one.times_ready(CONTROL) == ready
            assert one.is_answered(out, LISTED), "the plane answers on"
        assert "Traceback" not in one.log
        disk.unmount()
        disk.mend()
        disk.mount()
        with running(site) as again:
            assert again.is_answered(out, LISTED)
            assert again.is_blocked(new, LISTED)
            assert not [one for one in again.api.get("/v1/status")["warnings"] if "read-only" in one]
            again.api.post("/v1/optouts", customer=new.id, list="c2")
            assert again.is_answered(new, LISTED)
            again.sekisho("audit", "verify")
