"""Reading a ledger for an audit: the daemon's own file, or a backup's, beside a running daemon or without one.

Nothing is written, and nothing is taken from the checkpoint but the event it stands behind: every
event is read from the file, one after another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, Self

from sekisho.drivers import ledgerfile
from sekisho.drivers.checkpoint import noted_head
from sekisho.ledger.audit import Audit, mark_of, names
from sekisho.ledger.chain import Event, Head
from sekisho.model.errors import LedgerError

LEDGER = "ledger.db"


def ledger_of(path: Path) -> Path:
    """The ledger's file, where a folder - a backup's, or the daemon's state - may be named too."""
    return path / LEDGER if path.is_dir() else path


class LedgerSource:
    """A ledger's file, read only. Opened by `with`, which raises LedgerError for a file that is none."""

    def __init__(self, path: Path) -> None:
        self.path = ledger_of(path)
        self.head: Head | None = None
        """The last event by the ledger's own word."""

    def __enter__(self) -> Self:
        try:
            self._connection = ledgerfile.connect_reading(self.path)
            try:
                self._connection.execute("BEGIN")
                self._version = ledgerfile.schema_version(self._connection, self.path)
                self.head = ledgerfile.head(self._connection, self._version)
            except BaseException:
                self._connection.close()
                raise
        except PermissionError as error:
            raise LedgerError(f"the ledger {self.path} may not be read by you; ask as root or as the daemon's user") from error
        except sqlite3.Error as error:
            raise ledgerfile.failed(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def noted(self) -> list[Head]:
        """Heads written down beside the ledger."""
        found = noted_head(self.path)
        return [] if found is None else [found]

    def events(self, after: int = 0, customer: str | None = None) -> Iterator[Event]:
        """Events behind number `after`, of one customer or of all. Raises LedgerError where the file is damaged."""
        try:
            if customer is None:
                yield from ledgerfile.events(self._connection, after, self._version)
            else:
                mark = mark_of(customer)
                found = ledgerfile.events(self._connection, after, self._version, mark)
                yield from (event for event in found if names(event, customer))
        except sqlite3.Error as error:
            raise ledgerfile.failed(self.path, error) from error


class Source(Protocol):
    """Where events are read from. `head` is the last event by the ledger's own word, once all were read."""

    head: Head | None

    def noted(self) -> list[Head]: ...

    def events(self, after: int = 0, customer: str | None = None) -> Iterator[Event]: ...


def verify(source: Source, known: Iterable[Head] = ()) -> Audit:
    """Verify a ledger from its first event on, whatever it is read from; see `Audit.finish` for `known`."""
    noted = list(known)
    audit = Audit()
    try:
        for event in source.events():
            audit.take(event)
            audit.expect(event, noted)
    except LedgerError as error:
        audit.unreadable(error)
        return audit
    audit.finish(source.head, noted)
    return audit
