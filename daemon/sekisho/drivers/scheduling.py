"""How soon a thread that answers gets its processor: a short time slice, of the kernel's fair scheduler.

A worker wakes for a packet, works for microseconds and sleeps again. Where it shares a processor with a process that
computes (the control plane writes down matches, compiles a list), a short slice lets it in at once instead
of after the other's slice of milliseconds; it gets no more time for it (sched(7), EEVDF; Linux 6.12 and later).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

SLICE = 100_000
"""ns; the shortest the kernel grants."""
_NUMBERS = {"x86_64": 314, "aarch64": 274}
"""Of sched_setattr(2), for a libc that has no function of that name."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""
_SCHED_OTHER = 0


def ask_for_short_slice() -> bool:
    """Give the calling thread a short slice. False where the kernel knows none, or it is not allowed: nothing changes then."""
    number = _NUMBERS.get(platform.machine())
    if number is None or os.sched_getscheduler(0) != _SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = ctypes.create_string_buffer(_ATTRIBUTES.pack(_ATTRIBUTES.size, _SCHED_OTHER, 0, nice, 0, SLICE, 0, 0))
    done: int = ctypes.CDLL(None, use_errno=True).syscall(number, 0, attributes, 0)
    return done == 0
