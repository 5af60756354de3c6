"""The one resolver behind all fronts, in a process of its own: those who ask keep this one's interpreter busy."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scenarios.harness import Resolver
from support import free_port


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """The port of a resolver that answers every name."""
    port = free_port()
    argv = [sys.executable, "-c", f"from support.differential.upstream import serve; serve({port})"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield port
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def serve(port: int) -> None:
    """Answer until the input ends."""
    with Resolver(port=port).running():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
