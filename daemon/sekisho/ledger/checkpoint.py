"""The state as a file, so that a long ledger need not be folded from its first event at every start.

Lines of JSON, and behind them a checksum:

    {"sekisho-ledger-checkpoint": 1, "number": 5, "chain": "…", "parts": {"opt-outs": 1, …}}
    ["opt-outs", <chunk>]
    …
    <BLAKE2b-256 of all lines before, in hexadecimal>

A checkpoint says what the acts up to `number` amount to, and counts for a ledger whose event of that
number has that chain digest. It is no second record: one that is damaged, of another version or
of another ledger is passed over, and everything is folded anew.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Iterator

from sekisho.ledger.chain import DIGEST_SIZE, Head
from sekisho.ledger.part import Chunk
from sekisho.ledger.state import PARTS, State

FORMAT = 1
_FORMAT = "sekisho-ledger-checkpoint"


class UnusableError(Exception):
    """What stands in the file is no checkpoint this program can read; the text says why."""


def versions() -> dict[str, int]:
    """Name and version of every part of the state."""
    return {part.name: part.version for part in PARTS}


def dump(state: State, chain: bytes) -> Iterator[bytes]:
    """The lines of a checkpoint: `state` after the event with that chain digest."""
    digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
    head = {_FORMAT: FORMAT, "number": state.number, "chain": chain.hex(), "parts": versions()}
    for line in _lines(head, state):
        digest.update(line)
        yield line
    yield f"{digest.hexdigest()}\n".encode()


def _lines(head: dict[str, object], state: State) -> Iterator[bytes]:
    yield _line(head)
    for part in state.parts.values():
        for chunk in part.dump():
            yield _line([part.name, chunk])


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def load(data: bytes) -> tuple[State, Head]:
    """The state a checkpoint holds, and the event it stands behind. Raises UnusableError."""
    end = data.rfind(b"\n", 0, -1) + 1
    view = memoryview(data)
    if hashlib.blake2b(view[:end], digest_size=DIGEST_SIZE).hexdigest().encode() != data[end:].rstrip(b"\n"):
        raise UnusableError("it is damaged: its checksum is not that of its content")
    # A million small objects and no garbage: collecting while they are made takes longer than making them.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _load(data[:end])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnusableError(f"its content is not what this version writes ({type(error).__name__})") from error
    finally:
        if collecting:
            gc.enable()


def _load(data: bytes) -> tuple[State, Head]:
    first, _, rest = data.partition(b"\n")
    head = json.loads(first)
    if head[_FORMAT] != FORMAT or head["parts"] != versions():
        raise UnusableError("another version of the program wrote it")
    state = State(number=head["number"])
    by_name = {part.name: part for part in state.parts.values()}

    def chunks() -> Iterator[tuple[str, Chunk]]:
        start = 0
        while start < len(rest):
            end = rest.index(b"\n", start)
            name, chunk = json.loads(rest[start:end])
            yield name, chunk
            start = end + 1

    for name, chunk in chunks():
        by_name[name].load([chunk])
    return state, Head(state.number, bytes.fromhex(head["chain"]))
