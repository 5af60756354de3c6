"""Folders for Unix sockets: a path of more than 107 octets is none, and those of tests get long."""

from __future__ import annotations

import atexit
import shutil
import tempfile


def socket_folder() -> str:
    """A folder with a short path, gone when the tests end."""
    folder = tempfile.mkdtemp(prefix="sekisho-", dir="/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
