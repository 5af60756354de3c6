"""How long is fuzzed, from which seed, and what from: `FUZZ_SECONDS`, `FUZZ_SEED` and the folder `corpus`.

A failure names the seed and shows the packet in hexadecimal: `FUZZ_SEED=... pytest tests/fuzz` repeats it, and a packet
put into the corpus (one line of hexadecimal in a `.hex` file) is tried first ever after.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CORPUS = Path(__file__).parent / "corpus"
_LEAST = 1500


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("FUZZ_SEED") or random.SystemRandom().getrandbits(32))


@pytest.fixture
def rounds() -> Iterator[int]:
    """Numbers until the time is over; a few seconds where nothing else is said."""
    seconds = float(os.environ.get("FUZZ_SECONDS") or "4")

    def run() -> Iterator[int]:
        # The first round may load or compile what it calls, and is not timed.
        yield 0
        end, number = time.monotonic() + seconds, 1
        while number < _LEAST or time.monotonic() < end:
            yield number
            number += 1

    return run()


@pytest.fixture
def corpus() -> Callable[[str], list[bytes]]:
    """The packets kept of one kind."""

    def read(kind: str) -> list[bytes]:
        found = [bytes.fromhex(path.read_text()) for path in sorted((CORPUS / kind).glob("*.hex"))]
        assert found, f"the corpus has no {kind}"
        return found

    return read
