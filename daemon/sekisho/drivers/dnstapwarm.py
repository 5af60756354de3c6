"""Compiling the counting of dnstap, or loading it compiled, before the first frame: entered with nothing to count.

Run as a program it compiles and keeps it: what a compiler needs of memory is not to stay with the daemon.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from sekisho.drivers.compilecache import use_compile_cache
from sekisho.drivers.dnstapcount import TALLIES, count_frames
from sekisho.plane.memory import blank
from sekisho.snapshot.compiling import LOAD_ONLY, NotKeptError
from sekisho.snapshot.layout import Customers

_ROOM = 64
_LONGEST = 300.0
"""Seconds that compiling may take; a minute on a slow machine."""


def get_ready() -> None:
    """Have it compiled by a process of its own if it is not kept, and load it. Blocks for seconds the first time."""
    if _load():
        return
    # The interpreter itself, with a fixed module. What fails there is compiled here.
    subprocess.run((sys.executable, "-P", "-m", __name__), check=False, timeout=_LONGEST, stdin=subprocess.DEVNULL)
    warm_up()


def warm_up() -> None:
    """Compile it, in this process."""
    nobody = Customers(*(np.zeros(_ROOM, np.uint64) for _ in Customers.names()))
    count_frames(blank(_ROOM, np.uint8), 0, 0, nobody.view, 0, np.zeros(1, np.uint32), np.zeros(1, np.int32), np.zeros(TALLIES, np.int64))


def _load() -> bool:
    token = LOAD_ONLY.set(True)
    try:
        warm_up()
    except NotKeptError:
        return False
    finally:
        LOAD_ONLY.reset(token)
    return True


if __name__ == "__main__":
    use_compile_cache()
    warm_up()
