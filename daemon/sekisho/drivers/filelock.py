"""A file that one process has locked. The kernel lets go of it however the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def locked(path: Path) -> int:
    """Lock a file, which is made if it is not there; for as long as the descriptor returned is open.

    Raises BlockingIOError if another process has it, any other OSError if it cannot be opened.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
