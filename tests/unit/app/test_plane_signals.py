"""What signals do to `sekisho-plane` before it has anything to finish."""

from __future__ import annotations

import signal
import subprocess
import sys

SENT = """
import os
from sekisho.app import plane
plane.run = lambda config: os.kill(os.getpid(), {number}) or 0
plane.main(["--config", "sekisho.yaml"])
"""


def ended(number: signal.Signals) -> int:
    return subprocess.run([sys.executable, "-P", "-c", SENT.format(number=int(number))], check=False, timeout=60).returncode


def test_sighup_is_the_control_planes_and_leaves_the_plane_alone() -> None:
    assert ended(signal.SIGHUP) == 0
    assert ended(signal.SIGTERM) == -signal.SIGTERM
