"""SQLite files as all parts that keep one open them: made readable for the group alone, written ahead, erased for good.

Owns the opening. What a damaged file or one of another version means, and what to do about it, is said by whose file it is.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path


def open_database(path: Path, schema: str, version: int, *, synchronous: str) -> tuple[sqlite3.Connection, int]:
    """Open a file, or create it with `schema`: the connection, in which each statement is its own transaction, and the version found.

    `synchronous` is FULL where what is committed has to outlive the machine, NORMAL where the process is enough.
    Raises OSError and sqlite3.Error.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    # What was deleted leaves nothing behind in free pages.
    connection.execute("PRAGMA secure_delete=ON")
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        connection.executescript(f"BEGIN; {schema} PRAGMA user_version={version}; COMMIT;")
        found = version
    return connection, found
