"""The compiled targets as objects: their tables, their seeds, one input judged, and a burst of mutants."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Protocol

import dns.edns
import dns.message
import numpy as np

from sekisho.plane import cache as packets
from sekisho.plane import worker as desks
from sekisho.snapshot.compiling import COMPILED
from support.fuzzing.features import CHOICE, COUNT, FAULT, LENGTH, POOLED, ROUNDS
from support.fuzzing.lies import burst_path, judge_answer
from support.fuzzing.mutator import EDGE, INPUT, Pool
from support.fuzzing.oracles import FAULTS, OK
from support.fuzzing.path import NAMES, PATH, SOURCES, judge_packet
from support.fuzzing.queries import CANARY, SAMPLES, burst_queries, judge_query, make_bench
from support.fuzzing.seeds import QUERY_TOKENS, answer_seeds, query_seeds
from support.plane import (
    ALLOWED,
    BUDGET,
    CUSTOMER,
    GARDENED,
    KEY,
    OPTED_OUT,
    RESTRICTED,
    SILENCED,
    START,
    STRANGER,
    TRUNCATING,
    Plane,
    looking_snapshot,
    query,
    sockaddr,
)

HOSTS = (
    CUSTOMER, CUSTOMER, CUSTOMER, OPTED_OUT, BUDGET, TRUNCATING, SILENCED, STRANGER, ALLOWED, "2001:db8:1::1", "2001:db8:2::1",
    GARDENED, RESTRICTED,
)  # fmt: skip
_CANARY64 = 0xA5A5A5A5A5A5A5A5


class Finding(AssertionError):  # noqa: N818 - what it carries is no error of the fuzzer's
    """An input that must not come to what it came to. `choice` is what was drawn beside the packet."""

    def __init__(self, target: str, what: str, data: bytes, choice: int = 0) -> None:
        super().__init__(f"{target}: {what}: {data.hex()}")
        self.target, self.what, self.data, self.choice = target, what, data, choice


class Target(Protocol):
    """What the runner needs of a target."""

    name: str

    def seeds(self) -> list[bytes]: ...
    def tokens(self) -> list[bytes]: ...
    def fill(self, inputs: list[bytes], seed: int) -> None: ...
    def found(self) -> list[bytes]:
        """Inputs that joined the pool since it was filled."""

    def judge(self, data: bytes, choice: int | None = None) -> frozenset[int]:
        """The features of one input. Raises Finding."""

    def burst(self, rounds: int) -> int:
        """Judge mutants; returns how many. Raises Finding."""

    def current(self) -> bytes:
        """The input that is being judged: for whoever finds the target stuck."""

    def progress(self) -> int:
        """How many inputs were judged: grows as long as the target is not stuck."""

    def close(self) -> None:
        """Give back what the target holds."""


class _Compiled:
    """What the compiled targets have in common."""

    name = ""
    state: Any
    pool: Pool
    _filled = 0

    def tokens(self) -> list[bytes]:
        return QUERY_TOKENS

    def fill(self, inputs: list[bytes], seed: int) -> None:
        self.pool, self._filled = Pool.of(inputs, self.tokens(), seed)
        self.state.cells[POOLED] = self._filled

    def found(self) -> list[bytes]:
        rows = range(self._filled, int(self.state.cells[POOLED]))
        return [self.pool.data[row, : self.pool.lengths[row]].tobytes() for row in rows]

    def current(self) -> bytes:
        return bytes(self.state.work[EDGE : EDGE + int(self.state.cells[LENGTH])].tobytes())

    def progress(self) -> int:
        return int(self.state.cells[ROUNDS])

    def close(self) -> None:
        """Give back what the target holds."""

    def _put(self, data: bytes) -> int:
        data = data[:INPUT]
        self.state.work[EDGE : EDGE + len(data)] = np.frombuffer(data, np.uint8)
        return len(data)

    def _touched(self) -> set[int]:
        return {int(place) for place in self.state.touched[: int(self.state.cells[COUNT])]}

    def _check(self, fault: int) -> None:
        if fault != OK:
            raise Finding(self.name, FAULTS[fault], self.current(), int(self.state.cells[CHOICE]))

    def _burst(self, call: Any, rounds: int) -> int:
        before = self.progress()
        try:
            call(rounds)
        except Exception as error:
            raise Finding(self.name, f"{type(error).__name__} in compiled code", self.current(), int(self.state.cells[CHOICE])) from error
        self._check(int(self.state.cells[FAULT]))
        return self.progress() - before


class Queries(_Compiled):
    name = "queries"

    def __init__(self) -> None:
        self.tables = Plane(upstreams=1, sockets=1)
        self.tables.__exit__(None, None, None)
        self.state = make_bench(self.tables.snapshot.actions)

    def seeds(self) -> list[bytes]:
        return query_seeds()

    def judge(self, data: bytes, choice: int | None = None) -> frozenset[int]:
        length = self._put(data)
        try:
            fault = judge_query(self.tables.snapshot.view, self.state, length)
        except Exception as error:
            raise Finding(self.name, f"{type(error).__name__} in compiled code", data) from error
        self._check(fault)
        return frozenset(self._touched())

    def burst(self, rounds: int) -> int:
        pool, view = self.pool, self.tables.snapshot.view
        done = self._burst(
            lambda count: burst_queries(view, self.state, pool.data, pool.lengths, pool.tokens, pool.token_lengths, pool.random, count),
            rounds,
        )
        self._read_samples()
        return done

    def _read_samples(self) -> None:
        """Answers of ours, as dnspython reads them."""
        for row in range(SAMPLES):
            sample = self.state.samples[row]
            size = int(sample[0]) << 8 | int(sample[1])
            if size:
                answer = sample[2 : 2 + size].tobytes()
                try:
                    dns.message.from_wire(answer)
                except Exception as error:
                    raise Finding(self.name, f"dnspython does not read the answer: {error!r}", answer) from error
                sample[:2] = 0


class _Desk(_Compiled):
    """The targets that have a desk."""

    answers = False

    def __init__(self) -> None:
        ring = 1 << 20
        self.fence = np.full(ring // 8 + 2, _CANARY64, np.uint64)
        words = self.fence[1:-1].view(np.int64)
        words[:] = 0
        made = packets.make_cache(ring, 7)
        self.plane = plane = Plane(looking_snapshot(), upstreams=2, sockets=2)
        plane.cache = packets.Cache(words.view(np.uint8), words, made.hashes, made.positions, made.state)
        for pair in plane.pairs:
            for one in pair:
                one.close()
        # What goes to resolvers ends at a socket that nobody reads: the kernel drops it when its buffer is full.
        self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind(("127.0.0.1", 0))
        self.way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.way.connect(self.sink.getsockname())
        plane.desk.sockets[:4] = self.way.fileno()
        plane.desk.answers.reshape(-1, desks.ROW)[:, desks.PACKET :] = CANARY
        self.state = state = np.zeros(1, PATH).view(np.recarray)[0]
        state.honest[:] = np.frombuffer(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x33\x64\x07", np.uint8)
        state.clock[0] = START
        for row, host in enumerate(HOSTS):
            _lay(state.sources, state.source_lengths, row, sockaddr(host, 40000))
        for number in range(NAMES):
            _lay(state.asked, state.asked_lengths, number, _question(number))

    def close(self) -> None:
        self.sink.close()
        self.way.close()

    def _tables(self) -> tuple[Any, ...]:
        plane = self.plane
        return (
            plane.snapshot.view, plane.customers.view, plane.buckets, KEY,
            plane.cache.view, plane.counts.view, plane.hits.view, plane.desk, self.state,
        )  # fmt: skip

    def choices(self) -> Iterable[int]:
        """What one input of the corpus is tried with."""
        raise NotImplementedError

    def judge(self, data: bytes, choice: int | None = None) -> frozenset[int]:
        call = judge_answer if self.answers else judge_packet
        touched: set[int] = set()
        for drawn in self.choices() if choice is None else (choice,):
            length = self._put(data)
            try:
                fault = call(*self._tables(), length, drawn)
            except Exception as error:
                raise Finding(self.name, f"{type(error).__name__} in compiled code", data, drawn) from error
            self._check(fault)
            touched |= self._touched()
        return frozenset(touched)

    def burst(self, rounds: int) -> int:
        pool = self.pool
        done = self._burst(
            lambda count: burst_path(
                *self._tables(), pool.data, pool.lengths, pool.tokens, pool.token_lengths, pool.random, self.answers, count
            ),
            rounds,
        )
        if int(self.fence[0]) != _CANARY64 or int(self.fence[-1]) != _CANARY64:
            raise Finding(self.name, "something was written outside the cache", self.current(), int(self.state.cells[CHOICE]))
        return done


class ClientPath(_Desk):
    name = "path"

    def seeds(self) -> list[bytes]:
        return query_seeds()

    def choices(self) -> Iterable[int]:
        # Uncompiled, each takes as long as a thousand: one source of each kind must do.
        for source in range(2, SOURCES, 1 if COMPILED else 4):
            # Two queries that stay unanswered until a resolver's time is up, one that is answered, and one from the cache.
            for high in (0xFF << 21, 0, 1 << 30, 1 << 30):
                yield (high // SOURCES + 1) * SOURCES + source
        # Cut short by the kernel.
        yield (31 << 16) // SOURCES * SOURCES + SOURCES


class LyingUpstream(_Desk):
    name, answers = "answers", True

    def seeds(self) -> list[bytes]:
        return answer_seeds()

    def choices(self) -> Iterable[int]:
        for lie in range(5):
            for number in range(3):
                yield 0xFF << 16 | (lie + 11) << 12 | number


def _lay(rows: Any, lengths: Any, row: int, data: bytes) -> None:
    rows[row, : len(data)] = np.frombuffer(data, np.uint8)
    lengths[row] = len(data)


def _question(number: int) -> bytes:
    edns, payload = (-1, 0, 0, 0)[number % 4], (512, 512, 1232, 4096)[number % 4]
    return query(f"{number:03d}.a.example", edns=edns, payload=payload, want_dnssec=bool(number & 4) and edns == 0, identity=number * 771)
