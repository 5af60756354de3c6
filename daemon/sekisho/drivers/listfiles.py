"""The state files of lists: `<state>/lists/<id>.list` in force, `<id>.held` waiting for an operator.

Owns their names and their durability. A file written is whole or not there. The time of the last good
fetch is the file's own modification time, so that a source that did not change costs no writing. Names of a sealed list are in no file.
"""

from __future__ import annotations

import os
from pathlib import Path

from sekisho.drivers.durable import sync_folder, write_file
from sekisho.drivers.listversions import Stored, decode_version, encode_version
from sekisho.model.errors import TableError

FOLDER = "lists"
_MODE = 0o600


class ListFiles:
    """The folder of lists under the state folder. Its methods block: call them from a thread."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER

    def path(self, list_id: str, *, held: bool = False) -> Path:
        return self.folder / f"{list_id}.{'held' if held else 'list'}"

    def read(self, list_id: str, *, held: bool = False) -> Stored | None:
        """The stored version, or None if there is none. Raises TableError if it is damaged."""
        path = self.path(list_id, held=held)
        try:
            data = path.read_bytes()
            modified = path.stat().st_mtime
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TableError(f"{path} cannot be read ({error.strerror}); the list is fetched anew") from None
        try:
            return decode_version(data, modified)
        except TableError as error:
            raise TableError(f"{path}: {error}; the list is fetched anew") from None

    def write(self, list_id: str, stored: Stored, *, held: bool = False) -> None:
        """Write a version durably. Raises OSError."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        path = self.path(list_id, held=held)
        write_file(path, encode_version(stored), durable=True, mode=_MODE)
        os.utime(path, (stored.fetched_at, stored.fetched_at))

    def touch(self, list_id: str, fetched_at: float) -> None:
        """Note that the source still says what the file says."""
        os.utime(self.path(list_id), (fetched_at, fetched_at))

    def promote(self, list_id: str) -> None:
        """Put the held version in force. Raises OSError."""
        self.path(list_id, held=True).rename(self.path(list_id))
        sync_folder(self.folder)

    def remove(self, list_id: str, *, held: bool = False) -> None:
        """Remove a version, durably: it may have names that must not stay."""
        self.path(list_id, held=held).unlink(missing_ok=True)
        if self.folder.exists():
            sync_folder(self.folder)

    def clean(self) -> None:
        """Remove what a writer that was killed left behind."""
        if self.folder.exists():
            for path in self.folder.glob(".*"):
                path.unlink(missing_ok=True)
