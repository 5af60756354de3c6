"""A whole checkpoint as `sekisho run` starts it: both processes, real sockets, the demo's site."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sekisho.app.demo import running_checkpoint, running_upstream
from sekisho.app.demo_ask import Answer, ask
from sekisho.app.demo_site import DemoSite, make_folders, write_site
from support.net import free_port
from support.waiting import wait_until


@dataclass(frozen=True)
class Checkpoint:
    site: DemoSite
    supervisor: int

    def ask(self, source: str, name: str, rdtype: str = "A") -> Answer:
        """A real query from the address `source`, asked until there is an answer."""
        one = wait_until(lambda: answered(ask(self.site.host, self.site.port, source, name, rdtype)), what=f"an answer to {source}")
        assert one is not None
        return one

    def sekisho(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The operator's command with `--json`; its exit code must be `code`."""
        argv = [sys.executable, "-m", "sekisho.cli.main", "--config", str(self.site.config), "--json", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def metrics(self) -> dict[str, float]:
        """The samples of `/metrics`, by name and labels as they are written."""
        url = f"http://{self.site.host}:{self.site.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as response:
            lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def pid(self, module: str) -> int:
        """The process id of `sekisho.app.control` or `sekisho.app.plane`; 0 while there is none."""
        children = Path(f"/proc/{self.supervisor}/task/{self.supervisor}/children").read_text().split()
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    return int(child)
        return 0

    def kill(self, module: str) -> int:
        """End one process as a fault would; returns its process id."""
        pid = wait_until(lambda: self.pid(module), what=f"a process {module}")
        os.kill(pid, signal.SIGKILL)
        return pid

    @property
    def log(self) -> str:
        return (self.site.folder / "log").read_text(errors="replace")


def answered(one: Answer) -> Answer | None:
    return one if one.message is not None else None


@contextlib.contextmanager
def running(**settings: object) -> Iterator[Checkpoint]:
    """A checkpoint on the demo's site with its upstream; `settings` are keys of sekisho.yaml put over the demo's."""
    folder, runtime = make_folders()
    try:
        with running_upstream() as upstream_port:
            site = write_site(folder, runtime, upstream_port, (free_port(), free_port()))
            site.config.write_text(json.dumps(json.loads(site.config.read_text()) | settings))
            with running_checkpoint(site) as supervisor:
                yield Checkpoint(site, supervisor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)
