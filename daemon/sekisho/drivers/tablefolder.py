"""The folder of the shared tables, held by one control plane.

The lock of the ledger keeps two daemons from one state folder. With a state folder of its own and the `runtime` of another,
a daemon would put its tables before the other's plane, and take its socket.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sekisho.drivers.filelock import locked
from sekisho.drivers.sharedfiles import make_folder
from sekisho.model.errors import TableError

_LOCK = ".control"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if it is not there, alone. The kernel lets go of it however the process ends.

    Raises TableError.
    """
    try:
        make_folder(folder)
        lock = locked(folder / _LOCK)
    except BlockingIOError:
        raise TableError(f"another sekishod is using {folder.parent}; stop it, or give this one a `runtime` folder of its own") from None
    except OSError as error:
        raise TableError(f"the folder {folder} cannot be used ({error.strerror}); make it writable for the daemon") from error
    try:
        yield
    finally:
        os.close(lock)
