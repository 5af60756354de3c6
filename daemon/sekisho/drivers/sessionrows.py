"""The tables of the record of sessions, and how facts stand in them.

`heard` is the small table that facts of sessions going on are added to; `sessions` and `held` are what they amount to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from sekisho.sessions.changes import Fact, Heard, Held, Named, Opened, Over, Released, Revived, Told

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE sessions (
    number   INTEGER PRIMARY KEY,
    nas      TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    user     TEXT    NOT NULL,
    customer TEXT,
    since    REAL    NOT NULL,
    seen     REAL    NOT NULL,
    down     INTEGER NOT NULL,
    up       INTEGER NOT NULL,
    seconds  INTEGER NOT NULL,
    wide     INTEGER NOT NULL,
    until    REAL,
    end      TEXT
) STRICT;
CREATE INDEX sessions_until ON sessions (until);
CREATE INDEX sessions_customer ON sessions (customer, since);
CREATE TABLE held (
    address BLOB    NOT NULL,
    length  INTEGER NOT NULL,
    since   REAL    NOT NULL,
    number  INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    step    INTEGER NOT NULL,
    times   INTEGER NOT NULL,
    until   REAL,
    told    REAL,
    aged    INTEGER,
    PRIMARY KEY (address, length, since, number, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_number ON held (number);
CREATE TABLE lengths (length INTEGER PRIMARY KEY) STRICT;
CREATE TABLE heard (
    line    INTEGER PRIMARY KEY,
    number  INTEGER NOT NULL,
    seen    REAL    NOT NULL,
    down    INTEGER NOT NULL,
    up      INTEGER NOT NULL,
    seconds INTEGER NOT NULL,
    wide    INTEGER NOT NULL
) STRICT;
"""
LATER = ("told REAL", "aged INTEGER")
"""Columns of `held` that a file of this version may lack: they are added, and a program that knows nothing of them writes none."""
COLUMNS = "number, nas, id, user, customer, since, seen, down, up, seconds, wide"
_MOST = (1 << 63) - 1
"""SQLite's integers are signed; a session of so many octets there is none."""


def _address(code: int) -> bytes:
    return (code >> 8).to_bytes(16)


def opened(row: Sequence[Any]) -> Opened:
    number, nas, id_, user, customer, since, seen, down, up, seconds, wide = row
    return Opened(number, nas, id_, user, customer, since, seen, down, up, seconds, bool(wide))


def enter(connection: sqlite3.Connection, fact: Fact, lengths: set[int]) -> None:
    """Put a fact into the tables, within a transaction of the caller's. `lengths` is what the table of that name holds.

    Raises sqlite3.Error.
    """
    execute = connection.execute
    match fact:
        case Heard():
            execute(
                "INSERT INTO heard (number, seen, down, up, seconds, wide) VALUES (?, ?, ?, ?, ?, ?)",
                (fact.number, fact.seen, min(fact.down, _MOST), min(fact.up, _MOST), fact.seconds, fact.wide),
            )
        case Opened():
            row = (*fact[:7], min(fact.down, _MOST), min(fact.up, _MOST), fact.seconds, fact.wide)
            execute(f"INSERT INTO sessions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        case Held():
            length = fact.code & 0xFF
            if length not in lengths:
                execute("INSERT OR IGNORE INTO lengths VALUES (?)", (length,))
                lengths.add(length)
            ports = fact.ports
            execute(
                "INSERT OR REPLACE INTO held (address, length, since, number, first, last, step, times, told)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (_address(fact.code), length, fact.since, fact.number, ports.first, ports.last, ports.step, ports.times, fact.told),
            )
        case Told():
            execute(
                "UPDATE held SET told = ? WHERE address = ? AND length = ? AND number = ? AND first = ? AND until IS NULL",
                (fact.told, _address(fact.code), fact.code & 0xFF, fact.number, fact.first),
            )
        case Released():
            execute(
                "UPDATE held SET until = ?, aged = ? WHERE address = ? AND length = ? AND number = ? AND first = ? AND until IS NULL",
                (fact.until, fact.aged or None, _address(fact.code), fact.code & 0xFF, fact.number, fact.first),
            )
        case Over():
            execute("UPDATE sessions SET until = ?, end = ? WHERE number = ?", (fact.until, fact.end.value, fact.number))
        case Revived():
            execute("UPDATE sessions SET until = NULL, end = NULL WHERE number = ?", (fact.number,))
        case Named():
            execute("UPDATE sessions SET customer = ?, user = coalesce(?, user) WHERE number = ?", (fact.customer, fact.user, fact.number))


def complete(connection: sqlite3.Connection) -> None:
    """Add the columns that came later. Raises sqlite3.Error."""
    there = {row[1] for row in connection.execute("PRAGMA table_info(held)")}
    for column in LATER:
        if column.partition(" ")[0] not in there:
            connection.execute(f"ALTER TABLE held ADD COLUMN {column}")
