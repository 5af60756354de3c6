"""What customers usually ask, kept over restarts of the control plane: a file in the state folder.

    {"sekisho-usual-rates": 1, "at": 1700000000.0, "median": 0.4, "learnt": 86400.0, "customers": 3}
    c-1
    …                       as many ids as it says, one a line
    <float32, little-endian, as many>: queries per second
    <BLAKE2b-256 of all before>

Rates by customer and nothing else: no name that was asked for, no address, no time of a query. It is no record: a file
that is damaged, of another version or too old is passed over, and what is usual is learnt anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from sekisho.drivers.durable import write_file
from sekisho.model.errors import UnavailableError

log = structlog.get_logger("sekisho.control")

FORMAT = 1
KEEP = 7 * 86400.0
"""Seconds after which what was usual is not any more."""
_FORMAT = "sekisho-usual-rates"
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class UsualRates:
    """rates float32 (customers): queries per second. `median` and `learnt` as in `detect.overload.Overload`."""

    customers: Sequence[str]
    rates: NDArray[np.float32]
    median: float
    learnt: float


def write_usual(path: Path, usual: UsualRates, at: float) -> None:
    """Write the file, durably; `at`: UNIX seconds. Raises UnavailableError."""
    head = {_FORMAT: FORMAT, "at": at, "median": usual.median, "learnt": usual.learnt, "customers": len(usual.customers)}
    lines = "\n".join([json.dumps(head), *usual.customers, ""]).encode()
    data = lines + usual.rates.astype("<f4").tobytes()
    try:
        write_file(path, data + hashlib.blake2b(data, digest_size=_DIGEST).digest(), durable=True, mode=0o600)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written ({error.strerror}); see that the state folder has room") from error


def read_usual(path: Path, now: float) -> UsualRates | None:
    """What the file holds; None where there is none that can be used, which is said."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("usual-rates-passed-over", why=error.strerror)
        return None
    try:
        return _read(data, now)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("usual-rates-passed-over", why=f"{path} is damaged or of another version ({type(error).__name__})")
        return None


def _read(data: bytes, now: float) -> UsualRates | None:
    content = data[:-_DIGEST]
    if hashlib.blake2b(content, digest_size=_DIGEST).digest() != data[-_DIGEST:]:
        raise ValueError
    head = json.loads(content[: content.index(b"\n")])
    count = head["customers"]
    if head[_FORMAT] != FORMAT:
        raise ValueError
    if abs(now - head["at"]) > KEEP:
        return None
    split = len(content) - 4 * count
    ids = content[:split].decode().split("\n")[1:-1]
    if len(ids) != count:
        raise ValueError
    return UsualRates(ids, np.frombuffer(content[split:], "<f4").astype(np.float32), float(head["median"]), float(head["learnt"]))
