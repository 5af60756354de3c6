"""A machine of a test's own: a real systemd as process 1, in namespaces, over a copy of this machine's files that is thrown away.

Owns the namespaces and what is mounted in them. Nothing there is of this machine: the files are an overlay in memory,
the network has a loopback alone, control groups are a folder of their own, and the kernel's settings cannot be written.
Of what Debian enables nothing is started. The product is there as an operator would have it in a virtual environment under /opt.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekisho.drivers.compilecache import source_digest
from support.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
MANAGER = Path("/lib/systemd/systemd")
PRODUCT, SOURCES, PYTHON = "opt/sekisho", "opt/sekisho-sources", "opt/python"
_NEWNET = 0x40000000
_PROGRAMS = {"sekisho": "sekisho.cli.main", "sekishod": "sekisho.app.control", "sekisho-plane": "sekisho.app.plane"}

_BOOT = r"""
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$FOLDER"
cd "$FOLDER"
mkdir upper work root product-upper product-work
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay root
for one in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs root/$one; done
chmod 1777 root/tmp
mkdir root/dev/pts root/dev/shm root/old
mount -t tmpfs -o mode=1777 tmpfs root/dev/shm
for one in null zero full random urandom tty; do touch root/dev/$one; mount --bind /dev/$one root/dev/$one; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts root/dev/pts
ln -s pts/ptmx root/dev/ptmx
ln -s /proc/self/fd root/dev/fd
mount -t proc proc root/proc
mount --bind root/proc/sys root/proc/sys
mount -o remount,bind,ro root/proc/sys
mount -t sysfs -o ro sysfs root/sys
mount -t cgroup2 cgroup2 root/sys/fs/cgroup
for one in "$PRODUCT" "$SOURCES" "$PYTHON"; do mkdir -p "root/$one"; done
mount -t overlay -o lowerdir="$ENVIRONMENT",upperdir=product-upper,workdir=product-work overlay "root/$PRODUCT"
mount --bind "$CHECKOUT" "root/$SOURCES"
mount -o remount,bind,ro "root/$SOURCES"
mount --bind "$BASE" "root/$PYTHON"
hostname checkpoint
ip link set lo up
cd root
pivot_root . old
umount -l old
# As systemd finds it where nothing is between it and the kernel: units' own mounts (credentials) come about by propagation.
mount --make-rshared /
cd /
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires
for one in systemd-sysctl systemd-modules-load systemd-update-utmp systemd-logind dbus; do ln -sf /dev/null etc/systemd/system/$one.service; done
for one in timers getty remote-fs; do ln -sf /dev/null etc/systemd/system/$one.target; done
for one in /lib/systemd/system/multi-user.target.wants/*; do ln -sf /dev/null etc/systemd/system/${one##*/}; done
printf '[Unit]\nDescription=A machine of a test\nRequires=basic.target\nAfter=basic.target\n' >etc/systemd/system/test.target
: >etc/fstab
: >etc/machine-id
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin "$MANAGER" --system --unit=test.target --log-target=journal --show-status=no
"""


@dataclass(frozen=True)
class Machine:
    pid: int
    """Its process 1, as this machine counts."""

    @property
    def root(self) -> Path:
        """Its files, as seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def run(self, *argv: str, code: int | None = 0, stdin: str = "") -> str:
        """Run a program there, as its root, and give both outputs; its exit code must be `code` (None: any)."""
        inner = [
            "nsenter",
            f"--target={self.pid}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
            "--",
            *argv,
        ]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
        done = subprocess.run(inner, capture_output=True, text=True, check=False, timeout=120, input=stdin, env=environ)
        said = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{' '.join(argv)}: exit code {done.returncode}\n{said}"
        return said

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit as systemd has them."""
        lines = self.run("systemctl", "show", unit, *(f"--property={one}" for one in properties)).splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def inside(self, step: Callable[[], Any]) -> Any:
        """Do a step from a thread in its network: a socket made there stays in it."""
        found: list[Any] = []

        def go() -> None:
            number = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
            try:
                assert ctypes.CDLL(None, use_errno=True).setns(number, _NEWNET) == 0
                found.append(step())
            finally:
                os.close(number)

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
        assert found, "the step failed; its error is above"
        return found[0]


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Boot one; `folder` is an empty one of this machine's. Skips the test, with the reason, where that is not permitted."""
    _require()
    group = _cgroup2() / f"sekisho-test-{os.getpid()}-{os.urandom(2).hex()}"
    environ = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "FOLDER": str(folder),
        "ENVIRONMENT": sys.prefix,
        "BASE": sys.base_prefix,
        "CHECKOUT": str(CHECKOUT),
        "MANAGER": str(MANAGER),
        "PRODUCT": PRODUCT,
        "SOURCES": SOURCES,
        "PYTHON": PYTHON,
    }
    unshare = ("unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child=SIGKILL")
    # In its control group before the namespace of control groups is made: that group is the machine's whole world of them.
    enter = f'echo $$ >"{group}/cgroup.procs" && exec setpriv --pdeathsig KILL {" ".join(unshare)} sh -ec "$0"'
    log = folder.with_name(f"{folder.name}.log")
    group.mkdir()
    try:
        with log.open("wb") as file:
            process = subprocess.Popen(["sh", "-c", enter, _BOOT], env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            one = Machine(wait_until(lambda: _child(process, log), what="the machine's first process"))
            wait_until(lambda: _booted(one, process, log), what="the machine to boot", interval=0.1)
            _install(one)
            yield one
        finally:
            process.kill()
            process.wait()
    finally:
        wait_until(lambda: _removed(group), what="the end of the machine's processes")


def _require() -> None:
    reason = ""
    if os.geteuid() != 0:
        reason = "a machine of one's own needs root"
    elif not MANAGER.exists():
        reason = "systemd is not installed; on Debian: apt-get install systemd"
    elif missing := [one for one in ("unshare", "nsenter", "setpriv", "pivot_root", "ip") if shutil.which(one) is None]:
        reason = f"{', '.join(missing)} not installed; on Debian: apt-get install util-linux iproute2"
    elif "overlay" not in Path("/proc/filesystems").read_text():
        reason = "this kernel has no overlay file system"
    elif subprocess.run(
        ["unshare", "--pid", "--mount", "--net", "--cgroup", "--fork", "true"], check=False, capture_output=True
    ).returncode:
        reason = "namespaces are not permitted here"
    elif not os.access(_cgroup2(), os.W_OK):
        reason = "control groups (version 2) are not there or not writable"
    if reason:
        pytest.skip(reason)


def _cgroup2() -> Path:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(words[1]) for words in mounts if words[2] == "cgroup2"), Path("/nonexistent"))


def _child(process: subprocess.Popen[bytes], log: Path) -> int:
    assert process.poll() is None, log.read_text(errors="replace")
    with contextlib.suppress(FileNotFoundError):
        return int((Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() or ["0"])[0])
    return 0


def _booted(one: Machine, process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        # What is permitted is known only by trying: a container may forbid any of the mounts.
        pytest.skip(f"a machine of one's own cannot be started here: {log.read_text(errors='replace').strip()[-300:]}")
    if Path(f"/proc/{one.pid}/comm").read_text().strip() != "systemd":
        return False
    return one.run("systemctl", "is-active", "test.target", code=None).strip() == "active"


def _install(one: Machine) -> None:
    """The product in a virtual environment under /opt, and the code this checkout has compiled."""
    product = one.root / PRODUCT
    base = Path("/") / PYTHON / Path(os.path.realpath(sys.executable)).relative_to(os.path.realpath(sys.base_prefix))
    for name in ("python", "python3", Path(sys.executable).name):
        (product / "bin" / name).unlink(missing_ok=True)
        (product / "bin" / name).symlink_to(base)
    (product / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    packages = product / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for path in packages.glob("*sekisho*.pth"):
        path.unlink()
    (packages / "sekisho.pth").write_text(f"/{SOURCES}/daemon\n/{SOURCES}/exporters\n")
    for name, module in _PROGRAMS.items():
        program = one.root / "usr/bin" / name
        # An interpreter with a shared library finds that beside itself, and not where it was built.
        program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH=/{PYTHON}/lib exec /{PRODUCT}/bin/python3 -P -m {module} "$@"\n')
        program.chmod(0o755)


def keep_compiled(one: Machine, user: str) -> None:
    """Put the code this checkout has compiled where the units keep theirs, so that no start compiles."""
    digest = source_digest()
    kept = Path(os.environ["NUMBA_CACHE_DIR"])
    kept = kept if kept.name == digest else kept / digest
    shutil.copytree(kept, one.root / "var/cache/sekisho" / digest, dirs_exist_ok=True)
    one.run("chown", "-R", f"{user}:{user}", "/var/cache/sekisho")
    one.run("chmod", "-R", "go=", "/var/cache/sekisho")


def _removed(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()
