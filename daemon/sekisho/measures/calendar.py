"""When a length of time ends that a document states: days, business days and months of the calendar of Japan.

Days are those of Japan, where every document here is in force, whatever zone the machine is in. A span runs
from one time of day to the same time of day, so the day it starts on is not counted (Civil Code, article 140);
where a document counts whole days, as for the claim of a credit, `last_moment` gives the end of the last one
(article 141). Times are UNIX seconds.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import math

from sekisho.model.measures import Span, Unit

JAPAN = dt.timezone(dt.timedelta(hours=9), "JST")
"""Japan's time: nine hours before UTC the whole year, since 1951."""

_SATURDAY = 5


def ends(span: Span, start: float) -> float:
    """When a span is over that starts at `start`.

    Business days end on a business day; a month that lacks the day ends on its last. Raises ValueError for a
    span that is no length of time.
    """
    return _moved(span, start, 1)


def starts(span: Span, end: float) -> float:
    """The latest moment a notice must be out for something at `end` that it has to precede by the span.

    Business days are counted back from the day of `end`, so the answer lies on a business day. Raises
    ValueError for a span that is no length of time.
    """
    return _moved(span, end, -1)


def last_moment(span: Span, start: float) -> float:
    """The end of the last day of a span in whole days, the day of `start` not counted: midnight, exclusive.

    A span in hours or less ends to the second, as `ends` says.
    """
    end = ends(span, start)
    if span.unit is Unit.SECONDS:
        return end
    day = dt.datetime.fromtimestamp(end, JAPAN).date() + dt.timedelta(days=1)
    return dt.datetime.combine(day, dt.time(), JAPAN).timestamp()


def is_business_day(day: dt.date) -> bool:
    """Neither a Saturday or Sunday nor a public holiday of Japan, substitute holidays included."""
    return day.weekday() < _SATURDAY and day not in _public_holidays(day.year)


def _moved(span: Span, moment: float, direction: int) -> float:
    if not math.isfinite(span.amount) or span.amount < 0:
        raise ValueError(f"{span.amount} {span.unit} is no length of time")
    if span.unit is Unit.SECONDS:
        return moment + direction * span.amount
    amount = int(span.amount)
    if amount != span.amount:
        raise ValueError(f"{span.amount} {span.unit}: the calendar has whole days and months only")
    local = dt.datetime.fromtimestamp(moment, JAPAN)
    match span.unit:
        case Unit.DAYS:
            day = local.date() + dt.timedelta(days=direction * amount)
        case Unit.BUSINESS_DAYS:
            day = _business_days(local.date(), direction, amount)
        case Unit.MONTHS:
            day = _months(local.date(), direction * amount)
    return moment + (day - local.date()).total_seconds()


def _business_days(day: dt.date, direction: int, amount: int) -> dt.date:
    """The business day `amount` business days away; the day itself is not counted."""
    left = amount
    while left:
        day += dt.timedelta(days=direction)
        left -= is_business_day(day)
    return day


def _months(day: dt.date, amount: int) -> dt.date:
    year, month = divmod(day.year * 12 + day.month - 1 + amount, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


@functools.cache
def _public_holidays(year: int) -> frozenset[dt.date]:
    import holidays  # noqa: PLC0415 - takes long to import, and is asked only where business days count

    return frozenset(holidays.country_holidays("JP", years=year))
