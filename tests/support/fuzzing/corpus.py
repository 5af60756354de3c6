"""The corpus on disk, a folder a target: which inputs are kept, made as small as they can be.

An input is one line of hexadecimal in a `.hex` file; those found are named by their digest, those
written by hand by what they are, and the latter stay whatever happens.
"""

from __future__ import annotations

import hashlib
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

from support.fuzzing.targets import Target

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
CRASHES = CORPUS.parent / "crashes"
LIMIT = 70
"""Inputs a target keeps of what was found."""
LONGEST = 600
"""Bytes of an input that is kept without being the only one of its kind."""
_TRIES = 120


def path_of(target: str) -> Path:
    # A client's packets are the same, whatever they are put through.
    return CORPUS / ("queries" if target == "path" else target)


def load(target: str) -> dict[str, bytes]:
    """The corpus of a target, by name."""
    return {path.stem: bytes.fromhex(path.read_text()) for path in sorted(path_of(target).glob("*.hex"))}


def save(folder: Path, data: bytes) -> Path:
    """Write an input, named by its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}.hex"
    path.write_text(data.hex() + "\n")
    return path


def is_found(name: str) -> bool:
    return len(name) == 12 and all(char in "0123456789abcdef" for char in name)


def shrink(data: bytes, wanted: frozenset[int], features: Callable[[bytes], frozenset[int]]) -> bytes:
    """A shorter input that still has the wanted features: runs are left out, the largest first."""
    size, tries = max(1, len(data) // 2), 0
    while size:
        at = 0
        while at < len(data) and tries < _TRIES:
            less = data[:at] + data[at + size :]
            tries += 1
            if wanted <= features(less):
                data = less
            else:
                at += size
        size //= 2
    return data


def choose(inputs: list[bytes], have: set[int], features: Callable[[bytes], frozenset[int]], limit: int, seconds: float) -> list[bytes]:
    """Of the inputs those that have features beyond `have`, the richest first, each shrunk to what it adds.

    At most `limit` of them, and as many as can be chosen in about that many seconds.
    """
    end = time.monotonic() + seconds
    rich = {data: features(data) for data in inputs}
    chosen: list[bytes] = []
    while rich and len(chosen) < limit and time.monotonic() < end:
        best = max(rich, key=lambda data: (len(rich[data] - have), -len(data)))
        new = rich.pop(best) - have
        if not new:
            break
        small = shrink(best, frozenset(new), features)
        have |= features(small)
        if len(small) <= LONGEST:
            chosen.append(small)
    return chosen


def traced(judge: Callable[[bytes], frozenset[int]]) -> Callable[[bytes], frozenset[int]]:
    """`judge` with the lines and the jumps between lines of the product's source added: for uncompiled runs."""

    def features(data: bytes) -> frozenset[int]:
        met: set[int] = set()

        def local(frame: types.FrameType, event: str, argument: object) -> Callable[..., object]:
            if event == "line":
                met.add(hash((frame.f_code.co_filename, frame.f_lineno)) | 1 << 62)
            return local

        def enter(frame: types.FrameType, event: str, argument: object) -> Callable[..., object] | None:
            return local if "/sekisho/" in frame.f_code.co_filename else None

        before = sys.gettrace()
        sys.settrace(enter)
        try:
            found = judge(data)
        finally:
            sys.settrace(before)
        return found | met

    return features


def minimise(target: Target, features: Callable[[bytes], frozenset[int]]) -> tuple[int, int]:
    """Keep of the found inputs what the features need, beside those written by hand; returns how many were and are found."""
    kept = load(target.name)
    have: set[int] = set()
    for data in (*target.seeds(), *(data for name, data in kept.items() if not is_found(name))):
        have |= features(data)
    found = {name: data for name, data in kept.items() if is_found(name)}
    chosen = choose(list(found.values()), have, features, LIMIT, 600)
    for name in found:
        (path_of(target.name) / f"{name}.hex").unlink()
    for data in chosen:
        save(path_of(target.name), data)
    return len(found), len(chosen)
