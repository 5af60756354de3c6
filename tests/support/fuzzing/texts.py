"""What the targets of text, of feeds and of transfers have in common: mutants one at a time, and what is judged of what was read."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from sekisho.lists import idn
from sekisho.lists.rows import FIXED, Rows, Tally
from sekisho.model.lists import Scope
from sekisho.snapshot.digest import digest_name
from support.fuzzing.mutator import EDGE, GENERAL, INPUT, Pool, draw, mutate
from support.fuzzing.targets import Finding
from support.plane import KEY
from support.siphash import plain_digest

BOM = b"\xef\xbb\xbf"
NAMES = [
    b"bad.example",
    b"*.worse.example",
    b"BAD.Example.",
    b"xn--bcher-kva.example",
    "bücher.example".encode(),
    b"a" * 63,
    b"192.0.2.1",
    b"-_",
]
COMMON = [b"\n", b"\r\n", b" ", b"\t", b".", b"*.", b"#", b";", b"!", b"\0", b"\xff", BOM, "\u3000".encode(), "\u3002".encode(), *NAMES]


class Text:
    """What the text targets and `transfers` have in common: mutants one at a time, judged in Python."""

    name = ""
    kinds = GENERAL
    longest = 600
    """Bytes of a mutant: many short feeds say more than few long ones."""

    def __init__(self) -> None:
        self.work = np.zeros(INPUT + 2 * EDGE, np.uint8)
        self.seen: set[int] = set()
        self.judged = 0
        self.data = b""
        self._found: list[bytes] = []

    def seeds(self) -> list[bytes]:
        raise NotImplementedError

    def tokens(self) -> list[bytes]:
        return COMMON

    def features(self, data: bytes) -> set[Any]:
        """Judge one input: AssertionError, or any exception, is a finding."""
        raise NotImplementedError

    def fill(self, inputs: list[bytes], seed: int) -> None:
        self.pool, self.count = Pool.of(inputs, self.tokens(), seed)
        self._found = []

    def found(self) -> list[bytes]:
        return self._found

    def current(self) -> bytes:
        return self.data

    def progress(self) -> int:
        return self.judged

    def close(self) -> None:
        """Nothing is held."""

    def judge(self, data: bytes, choice: int | None = None) -> frozenset[int]:
        self.data = data
        self.judged += 1
        try:
            touched = frozenset(zlib.crc32(repr(one).encode()) & 0xFFFF for one in self.features(data))
        except Exception as error:
            what = str(error).partition("\n")[0] if isinstance(error, AssertionError) else f"{error!r}"
            raise Finding(self.name, what, data) from error
        self.seen |= touched
        return touched

    def burst(self, rounds: int) -> int:
        pool = self.pool
        for _ in range(rounds):
            length = draw(self.work, pool.data, pool.lengths, self.count, pool.random)
            length = mutate(
                self.work, length, pool.data, pool.lengths, self.count, pool.tokens, pool.token_lengths, pool.random, self.kinds
            )
            data = self.work[EDGE : EDGE + min(length, self.longest)].tobytes()
            known = len(self.seen)
            self.judge(data)
            if len(self.seen) > known and self.count < len(pool.lengths):
                pool.data[self.count, : len(data)] = np.frombuffer(data, np.uint8)
                pool.lengths[self.count] = len(data)
                self.count += 1
                self._found.append(data)
        return rounds


def check_names(rows: Rows) -> None:
    """Every name kept is a canonical wire name; the digests of the first are those of a plain SipHash."""
    for row in range(rows.count):
        name = rows.name(row)
        labels = idn.split(name)
        assert labels, "the root was kept"
        assert len(name) <= 255, "a name longer than 255 octets was kept"
        assert all(0 < len(label) <= 63 for label in labels), "a label longer than 63 octets was kept"
        assert name == name.lower(), "a capital was kept"
        if row == 0:
            assert digest_name(name, KEY) == plain_digest(name, KEY), "the digest is not SipHash's"


def said_of(rows: Rows, tally: Tally, scope: Scope) -> set[Any]:
    """What was said of the lines, without their text, and the shapes of what was kept."""
    reasons = {fault.message.partition(" (")[0] for fault in tally.faults}
    actions = (None, *FIXED, *rows.extra)
    kinds = {actions[int(number)] for number in rows.actions[: rows.count]}
    touched: set[Any] = {(scope, reason) for reason in reasons} | {(scope, "all", tuple(sorted(reasons)))}
    touched |= {(scope, action.kind, len(action.records)) for action in kinds if action is not None}
    touched |= {
        (scope, int(rows.triggers[row]), len(idn.split(rows.name(row))), len(rows.name(row)).bit_length()) for row in range(rows.count)
    }
    touched.add((scope, rows.count.bit_length(), tally.skipped.bit_length(), tally.unkept.total().bit_length()))
    return touched
