"""Times as people read them: in the zone of this machine, with its offset, the same in every answer, error and table."""

from __future__ import annotations

import datetime as dt


def spoken(seconds: float) -> str:
    """UNIX seconds in words: `2026-04-01 09:30:00+09:00`. Raises OverflowError or ValueError for a time no calendar has."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone().isoformat(" ", "seconds")
