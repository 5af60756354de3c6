"""Large arrays of the packet path, in memory that costs nothing until it is touched."""

from __future__ import annotations

import contextlib
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def blank(length: int, kind: Any) -> NDArray[Any]:
    """`length` zeros, straight from the kernel: in huge pages where it gives them, each when it is first touched.

    `np.zeros` would touch all of it, since our processes have what is allocated wiped (`drivers.processes.keep_no_core`).
    """
    if not length:
        return np.zeros(0, kind)
    memory = mmap.mmap(-1, length * np.dtype(kind).itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, kind)
