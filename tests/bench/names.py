"""What the comparison asks: the blocked names, and the questions of the three mixes. The same seed, the same names."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SEED = 22
ALLOWED = 20_000
"""Names that nothing blocks: few enough for every cache, many enough for none to answer from one line of memory."""
QUESTIONS = 100_000
WIDTH = 96
"""Bytes kept for each question; the longest is shorter."""
MIXES = {"allowed": 0.0, "tenth": 0.1, "blocked": 1.0}
"""Mixes, and the share of questions that are to be blocked."""
HEAD = bytes((0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0))
"""A query with recursion desired and one question (RFC 1035, 4.1.1)."""
TAIL = bytes((0, 1, 0, 1))
"""Type A, class IN."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Questions:
    """Questions as packets: uint8 (number, WIDTH), and the length of each, int64."""

    packets: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int64]
    blocked: int
    """How many of them are to be blocked."""


def blocked_names(number: int) -> list[str]:
    """So many names in zones of one to three labels below `example`; none is another's parent or an allowed one."""
    draw = random.Random(SEED)
    return [f"{_label(draw)}{index:x}.{_zone(draw)}example" for index in range(number)]


def allowed_names() -> list[str]:
    draw = random.Random(SEED + 1)
    return [f"www.ok-{_label(draw)}{index:x}.{_zone(draw)}example" for index in range(ALLOWED)]


def questions(blocked: Sequence[str], allowed: Sequence[str], share: float) -> Questions:
    """A mix in random order. Of those to be blocked, every other asks for a name below one of the list."""
    draw = random.Random(SEED + 2)
    names, count = [], 0
    for number in range(QUESTIONS):
        if draw.random() < share:
            count += 1
            names.append(("www." if number % 2 else "") + draw.choice(blocked))
        else:
            names.append(draw.choice(allowed))
    return packed(names, count)


def packed(names: list[str], blocked: int = 0) -> Questions:
    """Questions for the addresses of names, without EDNS; the load generator gives each its id."""
    packets = np.zeros((len(names), WIDTH), np.uint8)
    lengths = np.zeros(len(names), np.int64)
    for row, name in enumerate(names):
        packet = HEAD + wire(name) + TAIL
        packets[row, : len(packet)] = np.frombuffer(packet, np.uint8)
        lengths[row] = len(packet)
    return Questions(packets, lengths, blocked)


def wire(name: str) -> bytes:
    """A name of letters, digits and hyphens as it stands in a packet (RFC 1035, 3.1)."""
    return b"".join(bytes((len(label),)) + label for label in name.encode().split(b".")) + b"\0"


def _label(draw: random.Random) -> str:
    return "".join(draw.choices(_LETTERS, k=draw.randint(6, 14)))


def _zone(draw: random.Random) -> str:
    return "".join(f"{draw.choice(_LETTERS)}{draw.randrange(40)}." for _ in range(draw.choice((0, 0, 0, 1, 1, 2))))
