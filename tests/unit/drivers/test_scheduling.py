"""A thread that asked for a short slice has it, by the kernel's own word."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sekisho.drivers.scheduling import SLICE, ask_for_short_slice


def slice_of(thread: int) -> int:
    """ns, of a thread of this process."""
    with Path(f"/proc/self/task/{thread}/sched").open() as file:
        fields = dict(line.split(":", 1) for line in file if line.startswith("se.slice"))
    if not fields:
        pytest.skip("this kernel does not tell a thread's slice")
    return int(fields.popitem()[1])


def test_a_thread_that_asked_has_a_short_slice_and_no_other_has() -> None:
    seen: list[tuple[bool, int]] = []

    def ask() -> None:
        asked = ask_for_short_slice()
        seen.append((asked, slice_of(threading.get_native_id())))

    before = slice_of(threading.get_native_id())
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [(True, SLICE)]
    assert slice_of(os.getpid()) == before > SLICE
