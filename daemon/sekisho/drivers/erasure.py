"""Finding in a ledger what may be erased, without getting in anybody's way.

A long ledger is read from end to end once a day, in another thread and with pauses, so that
answers do not wait for it. What is kept in memory is what is old enough and not erased.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

from sekisho.drivers import ledgerfile
from sekisho.ledger.acts import MICROSECONDS, recorded
from sekisho.ledger.chain import Event
from sekisho.ledger.retention import KINDS, Due, Sweep

_ROWS = 500
_PAUSE = 0.002
"""Seconds between two looks of `_ROWS` events, in which others run."""


def find_due(path: Path, retention: Mapping[str, float], now: float) -> list[Due]:
    """What of the ledger may be erased at `now` (UNIX seconds); `retention` as in `Sweep`. Raises LedgerError."""
    sweep = Sweep(retention, now)
    if not retention:
        return []
    kinds = sorted(KINDS)
    try:
        with contextlib.closing(ledgerfile.connect(path)) as connection:
            wanted = f"payload IS NOT NULL AND kind IN ({', '.join('?' * len(kinds))})"
            before = round(sweep.before * MICROSECONDS)
            oldest = connection.execute(f"SELECT max(number) FROM events WHERE {wanted} AND at_us <= ?", (*kinds, before))  # noqa: S608
            last = oldest.fetchone()[0]
            if last is None:
                return []
            query = f"SELECT {ledgerfile.COLUMNS} FROM events WHERE {wanted} ORDER BY number"  # noqa: S608 - constants of ours
            _show(connection.execute(query, kinds), sweep, last)
    except sqlite3.Error as error:
        raise ledgerfile.failed(path, error) from error
    return sweep.due()


def _show(rows: sqlite3.Cursor, sweep: Sweep, last: int) -> None:
    while batch := list(itertools.islice(rows, _ROWS)):
        for row in batch:
            act = recorded(Event(*row))
            if act is not None:
                (sweep.consider if act.number <= last else sweep.follow)(act)
        time.sleep(_PAUSE)
