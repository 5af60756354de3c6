"""The verdict on a query that came over TCP, and the bytes of every answer.

Owns the way between a message (bytes) and the compiled functions all transports share: nothing is
decided or phrased here that `plane` does not decide and phrase (`plane.asking`, which says what differs from
UDP). Silence (silenced customers, DROP, a customer over the hard budget) leaves the connection open, and
nothing comes from the cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from sekisho.drivers.tcpcontext import Tables, TcpContext
from sekisho.model.counters import Counter
from sekisho.plane.addresses import find_customer
from sekisho.plane.answer import UDP_SIZE, dress, write_error
from sekisho.plane.asking import ANSWER_AT, LIMIT, Outcome, rule_on
from sekisho.plane.recording import count_pattern, publish
from sekisho.plane.reply import A_LENGTH, A_NOTED, read_answer, same_question
from sekisho.plane.upstreams import note_latency
from sekisho.plane.verdict import R_ACTION, R_LIST, R_PROFILE, R_ROW, is_served
from sekisho.plane.wire import (
    HEADER,
    NXDOMAIN,
    Q_DO,
    Q_EDNS,
    Q_END,
    Q_FLAGS,
    Q_TYPE,
    TYPE_OPT,
)
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.layout import (
    PATTERN_NXDOMAIN,
    WATCH_CHAINS,
    WATCH_LISTS,
    WORKER_HEARTBEAT,
)

_RECORDS = 6000
"""More records than such a message can hold, of eleven bytes each."""


@compiled
def check_answer(desk: Any, length: Any, end: Any, ttls: Any, elapsed: Any) -> Any:
    """Bytes, without its OPT record, of the resolver's answer in `packets`; -1 if it does not answer what stands in `held`."""
    if length < HEADER or not same_question(desk.packets, 0, length, desk.held, 0, end):
        return -1
    if not read_answer(desk.packets, 0, length, end, desk.facts, ttls, desk.notes):
        return -1
    note_latency(desk, elapsed)
    return desk.facts[A_LENGTH]


@compiled
def dress_answer(counts: Any, desk: Any, length: Any, noted: Any, customer: Any) -> Any:
    """Dress the answer in `answers` for the client whose query stands in `held` and `question`; `noted` bytes of `notes` go along.

    `customer` is the row of who asked.
    """
    if length >= HEADER and desk.answers[3] & 0xF == NXDOMAIN:
        count_pattern(counts, customer, PATTERN_NXDOMAIN)
    publish(counts, desk)
    return dress(desk.answers, 0, length, desk.held, 0, desk.question, desk.notes, 0, noted, -1, LIMIT)


@compiled
def make_error(counts: Any, desk: Any, rcode: Any, ede: Any) -> Any:
    """Answer the client whose query stands in `held` and `question` with an RCODE alone."""
    publish(counts, desk)
    return write_error(desk.held, 0, desk.question, desk.answers, 0, rcode, ede, desk.notes)


@dataclass(frozen=True, slots=True)
class Query:
    """A query let through: its header and question as the client sent them, and what its EDNS said."""

    head: bytes
    flags: int
    qtype: int
    edns: int
    dnssec: int
    customer: int = -1
    """Row of who asked; -1: nobody that is counted."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A resolver's answer, checked, without OPT; `notes` are its Extended DNS Errors, as options."""

    message: bytes
    notes: bytes


@dataclass(frozen=True, slots=True)
class Match:
    """Which action and which rule decided: rows and columns of the snapshot's tables."""

    action: int
    profile: int
    order: int


def opt_of(dnssec: int) -> bytes:
    """An OPT record without options (RFC 6891 section 6.1.2)."""
    return b"\0" + TYPE_OPT.to_bytes(2, "big") + UDP_SIZE.to_bytes(2, "big") + (dnssec << 15).to_bytes(4, "big") + b"\0\0"


class Judge:
    """Asks the compiled functions, on the work space of one desk. Nothing is kept from call to call."""

    def __init__(self, context: TcpContext) -> None:
        self._context, desk = context, context.desk
        self._packet_view, self._out_view, self._asked_view = (memoryview(desk[name]) for name in ("packets", "answers", "held"))
        if len(self._packet_view) < ANSWER_AT + LIMIT or len(self._out_view) < LIMIT:
            raise ValueError(f"a desk's packets must have room for two messages of {LIMIT} bytes, its answers for one")
        self._ttls = np.zeros(_RECORDS, np.int64)
        self._question, self._ruling, self._notes, self._facts = desk["question"], desk["ruling"], desk["notes"], desk["facts"]
        self.totals = desk["totals"]

    def compile(self) -> None:
        """Compile what a query will need, or bring it from the cache. Counts nothing."""
        before = self.totals.copy()
        self.rule(b"", np.uint64(0), np.uint64(0), four=True)
        query = Query(bytes(HEADER), 0, 0, 0, 0)
        self.check(query.head, bytes(HEADER), 0)
        self.dress(query, Reply(bytes(HEADER), b""))
        self.error(query, 0, -1)
        self.owner(np.uint64(0), np.uint64(0))
        self.totals[:] = before
        self.publish()

    def count(self, counter: Counter) -> None:
        self.totals[counter] += np.uint64(1)

    def publish(self) -> None:
        """Bring the counts to where others read them, with a sign of life."""
        counts = self._context.counts
        publish(counts.view, self._context.desk)
        counts.worker[WORKER_HEARTBEAT] = time.time_ns()

    def owner(self, high: np.uint64, low: np.uint64) -> int:
        """Row of the customer an address belongs to; -1 for nobody's."""
        customers = self._context.tables[1].view
        row = int(find_customer(customers, high, low))
        return row if is_served(customers, row) else -1

    def rule(self, message: bytes, high: np.uint64, low: np.uint64, *, four: bool) -> tuple[Outcome, bytes, Tables]:
        """The outcome for one message of a client's, its answer if there is one, and the tables that were asked."""
        tables = self._context.tables
        size = len(message)
        self._packet_view[:size] = message
        snapshot, customers, buckets, key, epoch = tables
        outcome, length = rule_on(
            snapshot.view, customers.view, buckets, key, epoch, self._context.counts.view, self._context.hits.view, self._context.desk,
            size, high, low, four, True, time.monotonic_ns(), 0, np.uint64(0),
        )  # fmt: skip
        return Outcome(outcome), bytes(self._out_view[:length]), tables

    def rule_on_answer(self, query: Query, reply: Reply, high: np.uint64, low: np.uint64) -> tuple[Outcome, bytes, Tables]:
        """The outcome for a resolver's answer to a query let through, FORWARD: it stands; the list's answer, and the tables asked."""
        tables = self._context.tables
        snapshot, customers, buckets, key, epoch = tables
        if not (snapshot.watched[WATCH_LISTS] | snapshot.watched[WATCH_CHAINS]) or len(reply.message) < HEADER:
            return Outcome.FORWARD, b"", tables
        # The query as it was, less what its EDNS had besides DO.
        head = query.head[:2] + query.flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0" + bytes((query.edns,)) + query.head[HEADER:]
        message = head + opt_of(query.dnssec) if query.edns else head
        self._packet_view[: len(message)] = message
        self._packet_view[ANSWER_AT : ANSWER_AT + len(reply.message)] = reply.message
        outcome, length = rule_on(
            snapshot.view, customers.view, buckets, key, epoch, self._context.counts.view, self._context.hits.view, self._context.desk,
            len(message), high, low, False, True, 0, len(reply.message), np.uint64(0),
        )  # fmt: skip
        return Outcome(outcome), bytes(self._out_view[:length]), tables

    def query(self) -> Query:
        """The query last ruled on."""
        values = self._question.tolist()
        return Query(
            bytes(self._packet_view[: values[Q_END]]),
            values[Q_FLAGS],
            values[Q_TYPE],
            values[Q_EDNS],
            values[Q_DO],
            int(self._ruling[R_ROW]),
        )

    def match(self) -> Match:
        """What decided, of the query last ruled on."""
        values = self._ruling.tolist()
        return Match(values[R_ACTION], values[R_PROFILE], values[R_LIST])

    def check(self, head: bytes, message: bytes, elapsed: int) -> Reply | None:
        """The answer to the question in `head`, or None if `message` is not one. `elapsed` in ns."""
        self._packet_view[: len(message)] = message
        self._asked_view[: len(head)] = head
        length = check_answer(self._context.desk, len(message), len(head), self._ttls, elapsed)
        if length < 0:
            return None
        return Reply(bytes(self._packet_view[:length]), self._notes[: self._facts[A_NOTED]].tobytes())

    def dress(self, query: Query, reply: Reply) -> bytes:
        """The answer as the client gets it: its id and spelling, its flags, its EDNS."""
        self._restore(query)
        size = len(reply.message)
        self._out_view[:size] = reply.message
        self._notes[: len(reply.notes)] = np.frombuffer(reply.notes, np.uint8)
        length = dress_answer(self._context.counts.view, self._context.desk, size, len(reply.notes), query.customer)
        return bytes(self._out_view[:length])

    def error(self, query: Query, rcode: int, ede: int) -> bytes:
        """An answer that is only an RCODE, with an Extended DNS Error unless `ede` is negative."""
        self._restore(query)
        length = make_error(self._context.counts.view, self._context.desk, rcode, ede)
        return bytes(self._out_view[:length])

    def _restore(self, query: Query) -> None:
        self._asked_view[: len(query.head)] = query.head
        self._question[Q_END] = len(query.head)
        self._question[Q_FLAGS] = query.flags
        self._question[Q_EDNS] = query.edns
        self._question[Q_DO] = query.dnssec
