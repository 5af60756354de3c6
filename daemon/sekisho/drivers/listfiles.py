"""The state files of lists: `<state>/lists/<id>.list` in force, `<id>.held` waiting for an operator.

Owns their names, what stands beside the compiled list in them, and their durability. A file
written is whole or not there. The time of the last good fetch is the file's own modification time,
so that a source that did not change costs no writing. Names of a sealed list are in no file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sekisho.drivers.feeds import Validators
from sekisho.drivers.sharedfiles import write_file
from sekisho.lists import idn
from sekisho.lists.compile import FeedReport
from sekisho.model.errors import Fault, TableError
from sekisho.model.lists import ListDefinition
from sekisho.snapshot.digest import Key, digest_name, entry_id
from sekisho.snapshot.entries import CompiledList, decode, encode

FOLDER = "lists"
_CHECK = idn.to_wire("list-key.check.invalid")
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Identity:
    """Of which definition a stored list is. A change of `source` or `scope` makes it another list."""

    source: str
    """Digest of where it comes from and how it is read: the address itself may carry a password."""
    scope: str
    sealed: bool
    guard: str
    """Digest of the never-block names it was guarded by: with others the source is read anew."""
    key: str
    """Digest of a fixed name by the list key: the digests of another key find nothing."""

    @classmethod
    def of(cls, definition: ListDefinition, key: Key, never_block: Collection[bytes] = ()) -> Identity:
        guarded = json.dumps([sorted(name.hex() for name in never_block), sorted(definition.never_block)])
        guard = hashlib.blake2b(guarded.encode(), digest_size=16).hexdigest()
        origin = json.dumps([definition.source, definition.format, definition.column, definition.zone])
        source = hashlib.blake2b(origin.encode(), digest_size=16).hexdigest()
        return cls(source, str(definition.scope or ""), definition.sealed, guard, entry_id(*digest_name(_CHECK, key)))


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of a list, with what is known of it."""

    compiled: CompiledList
    report: FeedReport
    identity: Identity
    fetched_at: float
    """UNIX seconds: when the source was last known to say this."""
    validators: Validators = field(default_factory=Validators)
    serial: int | None = None
    """Of a transferred zone."""
    shrink: float = 0.0
    """Of a held version: the share of entries it loses."""


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
            compiled, about = decode(data)
            return _stored(compiled, about, modified)
        except TableError as error:
            raise TableError(f"{path}: {error}; the list is fetched anew") from None
        except (KeyError, TypeError, ValueError):
            raise TableError(f"{path} has no description this program understands; the list is fetched anew") from None

    def write(self, list_id: str, stored: Stored, *, held: bool = False) -> None:
        """Write a version durably. Raises OSError."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        path = self.path(list_id, held=held)
        write_file(path, encode(stored.compiled, _about(stored)), durable=True, mode=_MODE)
        os.utime(path, (stored.fetched_at, stored.fetched_at))

    def touch(self, list_id: str, fetched_at: float) -> None:
        """Note that the source still says what the file says."""
        os.utime(self.path(list_id), (fetched_at, fetched_at))

    def promote(self, list_id: str) -> None:
        """Put the held version in force. Raises OSError."""
        self.path(list_id, held=True).rename(self.path(list_id))
        self._sync()

    def remove(self, list_id: str, *, held: bool = False) -> None:
        """Remove a version, durably: it may have names that must not stay."""
        self.path(list_id, held=held).unlink(missing_ok=True)
        if self.folder.exists():
            self._sync()

    def clean(self) -> None:
        """Remove what a writer that was killed left behind."""
        if self.folder.exists():
            for path in self.folder.glob(".*"):
                path.unlink(missing_ok=True)

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _about(stored: Stored) -> dict[str, object]:
    report = stored.report
    return {
        "identity": asdict(stored.identity),
        "validators": asdict(stored.validators),
        "serial": stored.serial,
        "shrink": stored.shrink,
        "version": report.version,
        "counts": [report.skipped, report.refused, report.unkept],
        "kinds": [list(kind) for kind in report.kinds],
        "faults": [[fault.file, fault.line, fault.message] for fault in report.faults],
    }


def _stored(compiled: CompiledList, about: dict[str, Any], modified: float) -> Stored:
    skipped, refused, unkept = about["counts"]
    report = FeedReport(
        entries=len(compiled),
        skipped=skipped,
        refused=refused,
        unkept=unkept,
        faults=tuple(Fault(str(file), int(line), str(message)) for file, line, message in about["faults"]),
        version=str(about["version"]),
        kinds=tuple((str(kind), int(count)) for kind, count in about["kinds"]),
    )
    return Stored(
        compiled,
        report,
        Identity(**about["identity"]),
        modified,
        Validators(**about["validators"]),
        about["serial"],
        float(about["shrink"]),
    )
