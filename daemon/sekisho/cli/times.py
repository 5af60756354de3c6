"""Times as an operator writes them: `2026-04-01`, `2026-04-01T09:30+09:00`, `7d`, `12h`, and of the past `03:14:07`."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import click

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d|w)")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_moment(text: str, now: float, *, past: bool) -> float:
    """UNIX seconds. A duration counts from `now`, back if `past`; a time without offset is local, one without a day the last there was.

    Raises ValueError with a sentence.
    """
    match = _DURATION.fullmatch(text.strip())
    if match:
        seconds = float(match[1]) * _SECONDS[match[2]]
        return now - seconds if past else now + seconds
    clock = _CLOCK.fullmatch(text.strip())
    if clock and past:
        return _latest(dt.time(int(clock[1]), int(clock[2]), int(clock[3] or 0)), now)
    try:
        moment = dt.datetime.fromisoformat(text.strip())
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        clocks = ", 09:30" if past else ""
        raise ValueError(f"{text!r} is neither a time (2026-04-01, 2026-04-01T09:30{clocks}) nor a duration (12h, 7d)") from None


def _latest(clock: dt.time, now: float) -> float:
    """When the local clock showed that last, now included."""
    day = dt.datetime.fromtimestamp(now).date()  # noqa: DTZ006 - the operator's own day
    today = dt.datetime.combine(day, clock).timestamp()
    return today if today <= now else dt.datetime.combine(day - dt.timedelta(days=1), clock).timestamp()


class Moment(click.ParamType[float]):
    """An option that is a time: of the past (`--since`) or of the future (`--until`)."""

    name = "time"

    def __init__(self, *, past: bool) -> None:
        self._past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        now = dt.datetime.now(dt.UTC).timestamp()
        try:
            return parse_moment(value, now, past=self._past)
        except ValueError as error:
            self.fail(str(error), param, ctx)
