"""What stands in a file, in short: to see later whether it still does."""

from __future__ import annotations

import hashlib
from io import BufferedReader
from pathlib import Path

_BYTES = 16
DIGITS = 2 * _BYTES


def digest_of(*pieces: bytes | bytearray | memoryview) -> str:
    """`DIGITS` hexadecimal digits (BLAKE2b-128) of pieces one after the other."""
    state = hashlib.blake2b(digest_size=_BYTES)
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()


def stream_digest(file: BufferedReader) -> str:
    """The same of an open file, from where it stands to its end. Raises OSError."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()


def file_digest(path: Path) -> str | None:
    """The same of a file; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return stream_digest(file)
    except OSError:
        return None
