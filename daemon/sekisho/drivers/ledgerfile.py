"""The ledger's SQLite file: its tables, how it is opened for writing and for reading, what a crash left of it.

    events   the acts, one a row; triggers refuse every change but the erasing of a payload
    head     number and chain digest of the last event, written in the same transaction: an event
             taken from the end is missed

Schema 1 had no `head`, and no `version` of events; it is brought up to date in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

from sekisho.ledger.chain import Event, Head, genesis
from sekisho.model.errors import LedgerError

SCHEMA_VERSION = 2
READABLE = frozenset({1, 2})
_COLUMNS = "number, at_us, actor, kind, payload, payload_digest, chain"
COLUMNS = f"{_COLUMNS}, version"

_HEAD = "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, chain BLOB NOT NULL) STRICT;"
_STAND = """
CREATE TRIGGER events_stand BEFORE UPDATE OF number, at_us, actor, kind, payload_digest, chain, version ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
_SCHEMA = f"""
CREATE TABLE events (
    number         INTEGER PRIMARY KEY,
    at_us          INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    payload        BLOB,
    payload_digest BLOB    NOT NULL,
    chain          BLOB    NOT NULL,
    version        INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TRIGGER events_stay BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER payloads_stand BEFORE UPDATE OF payload ON events WHEN NEW.payload IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
{_STAND}
{_HEAD}
INSERT INTO head VALUES (1, 0, x'{genesis().hex()}');
"""  # noqa: S608 - constants of ours
_FROM_1 = f"""
ALTER TABLE events ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
DROP TRIGGER IF EXISTS events_stand;
{_STAND}
{_HEAD}
INSERT INTO head SELECT 1, number, chain FROM (
    SELECT number, chain FROM events UNION ALL SELECT 0, x'{genesis().hex()}' ORDER BY number DESC LIMIT 1
);
"""  # noqa: S608 - constants of ours

_WAL_MAGIC = frozenset({0x377F0682, 0x377F0683})
_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # An erased payload leaves nothing behind in free pages.
        connection.execute("PRAGMA secure_delete=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reading(path: Path) -> sqlite3.Connection:
    """Open for reading, beside a running daemon or without one; nothing is changed. Raises LedgerError, sqlite3.Error."""
    if not path.is_file():
        # Whoever may not look into the folder is told so, not that there is no ledger.
        raise LedgerError(f"there is no ledger {path}; name its file, or a backup's folder")
    name = path.absolute().as_uri()
    try:
        connection = sqlite3.connect(f"{name}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)
        try:
            # Also where a page, and not a name, was changed: every event that can be read is looked at.
            connection.text_factory = lambda text: text.decode(errors="replace")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError:
        # A copy on a disk that cannot be written has no log beside it, and nobody who writes to it.
        log = wal_of(path)
        if log.exists() and log.stat().st_size:
            raise
        connection = sqlite3.connect(f"{name}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a ledger. Raises LedgerError for a file that is none, or that a newer program wrote."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in READABLE:
        raise LedgerError(
            f"the ledger {path} has schema version {version} and this program reads {SCHEMA_VERSION}; run the version that wrote it"
        )
    return version


def prepare(connection: sqlite3.Connection, path: Path) -> int:
    """Make the tables of a new file, or bring those of an older program up to date; returns the schema found, 0 for a new file.

    Raises LedgerError, sqlite3.Error.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return version
    is_new = version == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if not is_new:
        schema_version(connection, path)
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA if is_new else _FROM_1} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return version


def events(connection: sqlite3.Connection, after: int = 0, version: int = SCHEMA_VERSION, mark: bytes | None = None) -> Iterator[Event]:
    """Events behind number `after`, first one first; with a `mark`, those alone that have it somewhere in their content."""
    columns = COLUMNS if version > 1 else _COLUMNS
    query = f"SELECT {columns} FROM events WHERE number > ?1 AND (?2 IS NULL OR instr(payload, ?2)) ORDER BY number"  # noqa: S608 - ours
    for row in connection.execute(query, (after, mark)):
        yield Event(*row)


def event(connection: sqlite3.Connection, number: int) -> Event | None:
    """One event by its number."""
    row = connection.execute(f"SELECT {COLUMNS} FROM events WHERE number = ?", (number,)).fetchone()  # noqa: S608 - ours
    return Event(*row) if row is not None else None


def head(connection: sqlite3.Connection, version: int = SCHEMA_VERSION) -> Head | None:
    """The last event by the ledger's own word, or None for a schema that has none. Raises LedgerError if it was taken out."""
    if version == 1:
        return None
    row = connection.execute("SELECT number, chain FROM head").fetchone()
    if row is None:
        raise LedgerError(
            "the ledger does not say any more which event is its last, so that none can be missed; "
            "put back its last good copy (`sekisho restore`)"
        )
    return Head(*row)


def wal_of(path: Path) -> Path:
    """SQLite's write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def frames_in_log(path: Path) -> int:
    """How many frames of the write-ahead log belong to its present generation, whole or not (SQLite file format, 4.1 and 4.2).

    SQLite itself takes only those up to the last whole transaction, and says how many they are: a
    difference is what a crash tore. A log with no head that can be read counts as one frame.
    """
    try:
        with wal_of(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(_WAL_HEADER.size)
            if not start:
                return 0
            if len(start) < _WAL_HEADER.size:
                return 1
            magic, _, page, _, *salts, _, _ = _WAL_HEADER.unpack(start)
            if magic not in _WAL_MAGIC or not 512 <= page <= 65536:
                return 1
            frame = _FRAME_HEADER.size + page
            count = 0
            for place in range((size - _WAL_HEADER.size + frame - 1) // frame):
                file.seek(_WAL_HEADER.size + place * frame)
                opening = file.read(_FRAME_HEADER.size)
                if len(opening) < _FRAME_HEADER.size or list(_FRAME_HEADER.unpack(opening)[2:4]) == salts:
                    count = place + 1
            return count
    except FileNotFoundError:
        return 0


def take_log(connection: sqlite3.Connection) -> int:
    """Bring what the write-ahead log holds into the file; returns how many of its frames were good."""
    _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(0, int(frames))


def check_size(connection: sqlite3.Connection, path: Path) -> None:
    """See that the file is as long as it says: the end of a long ledger is read at a start, and not all of it.

    Raises LedgerError.
    """
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    found = path.stat().st_size
    if pages * size > found:
        raise damaged(path, f"it has {found} bytes and should have {pages * size}")


def damaged(path: Path, what: object) -> LedgerError:
    return LedgerError(
        f"the ledger {path} is damaged ({what}); put back its last good copy (`sekisho restore`), or move it aside to start an empty one"
    )


def failed(path: Path, error: sqlite3.Error) -> LedgerError:
    """What to say of a file that could not be opened or read: damage, or a disk that does not let us."""
    if isinstance(error, sqlite3.OperationalError):
        return LedgerError(
            f"the ledger {path} cannot be used ({error}); see that its disk works and has room, and that the daemon may write there"
        )
    return damaged(path, error)
