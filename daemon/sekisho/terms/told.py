"""Lengths of time and rates as they stand in a text to publish, in Japanese and English."""

from __future__ import annotations

from sekisho.model.measures import Span, Unit

_UNITS = ((86400, "日", "day"), (3600, "時間", "hour"), (60, "分", "minute"), (1, "秒", "second"))
_OF = {Unit.DAYS: ("日", "day"), Unit.BUSINESS_DAYS: ("営業日", "business day"), Unit.MONTHS: ("か月", "month")}


def length(seconds: float, *, japanese: bool) -> str:
    """Seconds in the largest unit they are whole in."""
    if seconds == 86400:
        return "24時間" if japanese else "24 hours"
    size, ja, en = next(((size, ja, en) for size, ja, en in _UNITS if seconds >= size and seconds % size == 0), (1, "秒", "second"))
    number = f"{seconds / size:g}"
    return f"{number}{ja}" if japanese else f"{number} {en}{'' if number == '1' else 's'}"


def span(told: Span, *, japanese: bool) -> str:
    if told.unit is Unit.SECONDS:
        return length(told.amount, japanese=japanese)
    ja, en = _OF[told.unit]
    return f"{told.amount:g}{ja}" if japanese else f"{told.amount:g} {en}{'' if told.amount == 1 else 's'}"


def rate(bits: float) -> str:
    """bit/s."""
    return f"{bits / 1e9:g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:g} Mbit/s"


def times(number: int) -> str:
    """So many times, in English."""
    return "once" if number == 1 else f"{number} times"
