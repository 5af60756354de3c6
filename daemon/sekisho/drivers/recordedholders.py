"""Who held an address when recorded traffic passed, by the record of sessions (`sessions.db`): read only, beside a daemon or without.

Owns the reading of it. An address is asked for once and its claims are kept in memory; which traffic it was asked for is kept nowhere.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sekisho.drivers.sessionrows import SCHEMA_VERSION
from sekisho.model.customers import Prefix
from sekisho.model.errors import LedgerError
from sekisho.model.sessions import Ports, Session, SessionEnd
from sekisho.sessions.changes import WHOLE
from sekisho.sessions.holding import Claim

SESSIONS = "sessions.db"
_CLAIMS = (
    "SELECT h.first, h.last, h.step, h.times, h.since, h.until, {later}, coalesce(n.seen, s.seen), s.number, s.nas, s.id, s.user,"
    " s.customer, s.since, s.until, s.end FROM held h JOIN sessions s ON s.number = h.number"
    " LEFT JOIN heard n ON n.line = (SELECT max(line) FROM heard WHERE number = h.number)"
    " WHERE h.address = ? AND h.length = ?"
)


class Holders:
    """The record of sessions of a state folder."""

    def __init__(self, path: Path) -> None:
        """Raises LedgerError for a file that cannot be read, or that is none."""
        self.path = path
        try:
            self._connection = _connect(path)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                self._connection.close()
                raise LedgerError(f"the record of sessions {path} is of version {version} and this program reads {SCHEMA_VERSION}")
            there = {row[1] for row in self._connection.execute("PRAGMA table_info(held)")}
            # A copy that an earlier release made has no such columns.
            later = ", ".join(f"h.{name}" if name in there else "NULL" for name in ("told", "aged"))
            self._claims = _CLAIMS.format(later=later)
            self._lengths = [row[0] for row in self._connection.execute("SELECT length FROM lengths ORDER BY length DESC")]
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"the record of sessions {path} cannot be read ({error}); ask as root or as the daemon's user") from error

    def close(self) -> None:
        self._connection.close()

    def claims(self, address: int) -> list[Claim]:
        """Every session that ever had an address of the 128-bit space. Raises LedgerError."""
        found: list[Claim] = []
        try:
            for length in self._lengths:
                masked = address >> (128 - length) << (128 - length)
                for row in self._connection.execute(self._claims, (masked.to_bytes(16), length)):
                    *ports, since, until, told, aged, seen, number, nas, id_, user, customer, began, over, end = row
                    share = None if (one := Ports(*ports)) == WHOLE else one
                    ended = SessionEnd(end) if end is not None else None
                    session = Session(nas, id_, user, customer, began, seen, until=over, end=ended)
                    found.append(Claim(session, Prefix(masked, length), share, since, until, number, told, bool(aged)))
        except sqlite3.Error as error:
            raise LedgerError(f"the record of sessions {self.path} cannot be read ({error}); see that its disk works") from error
        return found

    def held(self, begin: float, end: float) -> dict[str, set[Prefix]]:
        """Prefixes customers held some time between two times (UNIX seconds). Raises LedgerError."""
        found: dict[str, set[Prefix]] = {}
        asked = (
            "SELECT s.customer, h.address, h.length FROM held h JOIN sessions s ON s.number = h.number"
            " WHERE s.customer IS NOT NULL AND h.since <= ? AND (h.until IS NULL OR h.until > ?)"
        )
        try:
            for customer, value, length in self._connection.execute(asked, (end, begin)):
                found.setdefault(customer, set()).add(Prefix(int.from_bytes(value), length))
        except sqlite3.Error as error:
            raise LedgerError(f"the record of sessions {self.path} cannot be read ({error}); see that its disk works") from error
        return found


def _connect(path: Path) -> sqlite3.Connection:
    name = path.absolute().as_uri()
    log = path.with_name(path.name + "-wal")
    # Without a log nobody writes: opened so, no file is made beside it.
    mode = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"{name}?{mode}", uri=True, isolation_level=None)
