"""Counts as people read them, in what is logged, warned of and printed."""

from __future__ import annotations


def number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def counted(value: object, one: str, more: str) -> str:
    """A count and what is counted: `1 customer`, `2 customers`."""
    return f"{number(value)} {one if value == 1 else more}"
