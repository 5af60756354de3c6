"""Every setting of the measurements, read from the environment here and nowhere else. README.md has the table of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

DEFAULTS: dict[str, tuple[float, float]] = {
    "BENCH_NAMES": (1_000_000, 100_000),
    "BENCH_ROUNDS": (4, 2),
    "BENCH_SECONDS": (3, 1.5),
    "BENCH_RATE": (5000, 5000),
    "BENCH_RUNS": (5, 2),
    "BENCH_CUSTOMERS": (1_000_000, 100_000),
    "BENCH_ENFORCED": (100_000, 10_000),
    "BENCH_CLASSES": (2000, 200),
    "BENCH_SESSIONS": (1_000_000, 100_000),
    "BENCH_RADIUS_SECONDS": (20, 5),
    "BENCH_EVENTS": (1_000_000, 100_000),
}
"""Of each number, what it is, and what it is with BENCH_QUICK=1."""
KINDS_OF_MEASURE = ("silence", "no mail", "mail by the minute", "rates")


def is_on(name: str) -> bool:
    """Whether a switch is set: to anything but nothing and 0."""
    return os.environ.get(name, "0") not in {"", "0"}


QUICK = is_on("BENCH_QUICK")


def pick(whole: T, quick: T) -> T:
    """What no setting says: the one, or with BENCH_QUICK=1 the other."""
    return quick if QUICK else whole


def number(name: str) -> float:
    """A setting of DEFAULTS. Raises ValueError for what is no number."""
    return float(os.environ.get(name) or pick(*DEFAULTS[name]))


LARGE, FIRST = is_on("BENCH_LARGE"), is_on("BENCH_FIRST")
NAMES, ROUNDS, RATE, RUNS = (int(number(f"BENCH_{name}")) for name in ("NAMES", "ROUNDS", "RATE", "RUNS"))
CUSTOMERS, ENFORCED, CLASSES = (int(number(f"BENCH_{name}")) for name in ("CUSTOMERS", "ENFORCED", "CLASSES"))
SESSIONS, EVENTS = (int(number(f"BENCH_{name}")) for name in ("SESSIONS", "EVENTS"))
SECONDS, RADIUS_SECONDS = number("BENCH_SECONDS"), number("BENCH_RADIUS_SECONDS")
KINDS = tuple((os.environ.get("BENCH_KINDS") or ",".join(KINDS_OF_MEASURE)).split(","))
JSON = Path(os.environ["BENCH_JSON"]) if os.environ.get("BENCH_JSON") else None
FOLDER = Path(os.environ["BENCH_FOLDER"]) if os.environ.get("BENCH_FOLDER") else None
