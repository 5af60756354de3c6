"""Targets `tcp` and `tcpanswers`: what a client writes to its connection, and what a resolver writes to the one it was asked on.

An input is all that comes on a connection: messages behind their two octets of length, mutated as a whole, so lengths lie and
messages break off. `tcp`: it comes in pieces; what is cut from it must be what stands in it, each message must come to what it
comes to alone, and that to what the RFCs owe it. `tcpanswers`: one honest question is out, and the resolver says what it likes;
the client gets an answer to the question, from a message with its id and question, or SERVFAIL.

Client, framing, forwarding and verdicts are the product's, its sockets left out. The honest resolver of `tcp` answers at once.
"""

from __future__ import annotations

import asyncio
import types
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from sekisho.drivers import tcpclient
from sekisho.drivers.tcpclient import Client, Framer, Source
from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.drivers.tcpforward import Forwarder
from sekisho.drivers.tcpupstream import Channel, Pool
from sekisho.drivers.tcpverdict import Judge, Reply
from sekisho.model.counters import Counter
from sekisho.plane.asking import LIMIT, Outcome
from sekisho.plane.wire import HEADER
from sekisho.plane.worker import make_desk
from sekisho.snapshot.compiling import COMPILED
from support.fuzzing import oracles
from support.fuzzing.ends import Incoming, Outgoing
from support.fuzzing.mutator import EVERY
from support.fuzzing.oracles import FAULTS, OK, S_DO, S_EDNS, S_END, S_SLOTS, S_TYPE
from support.fuzzing.seeds import QUERY_TOKENS, answer_seeds, query_seeds
from support.fuzzing.texts import Text
from support.plane import CUSTOMER, KEY, STRANGER, Plane, looking_snapshot, query

_SETTINGS = TcpSettings(tries=2)
_SIZES = (4096, 1, 2, 3, 17, 100)
"""Octets that come at a time, one of these for an input."""
_IDENTITY = 0x1234
"""The id a question goes out under: the mutants must be able to know it."""
_HONEST = bytes.fromhex("c00c000100010000003c0004c6336407")
_NAME = b"\x03000\x01a\x07example\0"


def _plain(module: types.ModuleType) -> Any:
    """A module with its compiled functions left as Python: for a few packets that is sooner done than compiling them for bytes."""
    source = Path(str(module.__file__))
    plain = types.ModuleType(f"plain_{source.stem}")
    with mock.patch("sekisho.snapshot.compiling.compiled", lambda function: function):
        exec(compile(source.read_text("utf-8"), source, "exec"), plain.__dict__)  # noqa: S102 - a module of ours
    return plain


_ORACLES = _plain(oracles)


def framed(messages: Iterable[bytes]) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def frames(data: bytes) -> list[bytes]:
    """The whole messages of a stream, cut by the words of RFC 1035 section 4.2.2."""
    found, at = [], 0
    while at + 2 <= len(data):
        size = data[at] * 256 + data[at + 1]
        if at + 2 + size > len(data):
            break
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found


class Honest(Forwarder):
    """A resolver that answers every question with one address."""

    async def resolve(self, pool: Pool, head: bytes, flags: int, dnssec: int) -> Reply | None:
        reply = self._judge.check(head, head[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + head[HEADER:] + _HONEST, 1000)
        assert reply is not None, "an honest answer is not taken for one"
        return reply


class LyingPool(Pool):
    """Every connection says the same as soon as it is asked, and ends."""

    data = b""

    async def _open(self, number: int) -> Channel:
        reader, said = asyncio.StreamReader(), [self.data]

        def say() -> None:
            if said:
                reader.feed_data(said.pop())
                reader.feed_eof()

        return Channel(reader, Outgoing(say), self._idle, self._patience)  # type: ignore[arg-type]


class Lying(Forwarder):
    pool: LyingPool

    def _pool(self, size: int, header: bytes) -> Pool:
        self.pool = LyingPool(self._addresses, size, 10.0, 1.0, header)
        return self.pool


class Streams(Text):
    """What both have in common: tables, and a client that is served until its connection ends."""

    kinds = EVERY
    longest = 1200

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.tables = Plane(looking_snapshot(), upstreams=1, sockets=1)
        self.tables.__exit__(None, None, None)
        self.judge_of = self._make_judge()
        self.said = np.zeros(S_SLOTS, np.int64)

    def _make_judge(self) -> Judge:
        plane = self.tables
        buckets = np.zeros(len(plane.buckets), np.uint64)
        tables = (plane.snapshot, plane.customers, buckets, KEY, 1)
        return Judge(TcpContext(tables, plane.counts, plane.hits, make_desk()))

    def tokens(self) -> list[bytes]:
        return [*QUERY_TOKENS, b"\0\0", b"\0\x0c", b"\xff\xff", b"\0\x1f\x12\x34", _NAME]

    def close(self) -> None:
        self.loop.close()

    def serve(self, forwarder: Forwarder, data: bytes, size: int, source: Source) -> list[bytes]:
        """What the client is written when its connection brought `data`."""
        faults: list[BaseException] = []
        outgoing = Outgoing()

        async def served() -> None:
            client = Client(self.judge_of, forwarder, _SETTINGS, source, Incoming(data, size), outgoing)  # type: ignore[arg-type]
            await client.serve()
            await forwarder.close()

        with mock.patch.object(tcpclient, "report", faults.append):
            self.loop.run_until_complete(served())
        if faults:
            raise faults[0]
        answers = frames(outgoing.written)
        assert framed(answers) == outgoing.written, "what is written is not whole messages"
        return answers

    def code_of(self, message: bytes) -> int:
        """The RCODE owed to a message (-1: silence); its fields are in `said`."""
        return int(_ORACLES.read_query(message, 0, len(message), self.said))

    def fault_of(self, message: bytes, code: int, answer: bytes) -> int:
        """What is wrong with an answer to a message for which `code_of` said what is owed to it."""
        edns = int(self.said[S_EDNS]) if code not in (1, 4) else 0
        end = HEADER if code == 4 else int(self.said[S_END])
        return int(_ORACLES.answer_fault(message, 0, end, edns, LIMIT, answer, 0, len(answer)))


class ClientStream(Streams):
    name = "tcp"

    def __init__(self) -> None:
        super().__init__()
        self.alone = self._make_judge()
        self.sources = (Source(CUSTOMER, 40000), Source(CUSTOMER, 40000), Source(STRANGER, 40000))

    def seeds(self) -> list[bytes]:
        single = query_seeds()
        pairs = [framed(single[at : at + 2]) for at in range(0, len(single), 2)]
        whole = framed([query("bad.example"), query("www.example", edns=0), query("chase.example"), b"", query("local.example", "TXT")])
        return [*pairs, whole, whole[:-3], b"", b"\0", framed([b"\0" * 11]), framed([query("www.example") + bytes(400)])]

    def features(self, data: bytes) -> set[Any]:
        digest = zlib.crc32(data)
        size, source = _SIZES[digest % len(_SIZES)], self.sources[digest // 8 % len(self.sources)]
        messages = frames(data)
        assert self.loop.run_until_complete(_cut(data, size)) == messages, "the stream is cut otherwise than its lengths say"
        exact, asked, touched = self._expected(messages, source)
        answers = self.serve(Honest(self.judge_of, [("192.0.2.2", 53)], _SETTINGS), data, size, source)
        for answer in exact:
            assert answer in answers, "a message among others is not answered as it is alone"
            answers.remove(answer)
        assert len(answers) == len(asked), "not every question that went on was answered once"
        for message in asked:
            answer = self._answer_to(message, answers)
            touched.add(("on", answer[3] & 15, len(answer).bit_length(), answer[7] if len(answer) > 7 else 0))
        return touched | {(len(messages), len(asked)), ("rest", len(data) == len(framed(messages)), len(messages) > 0)}

    def _answer_to(self, message: bytes, answers: list[bytes]) -> bytes:
        """One of the answers that is one to this question; it is taken away."""
        code, faults = self.code_of(message), []
        for answer in answers:
            faults.append(self.fault_of(message, code, answer))
            if faults[-1] == OK:
                answers.remove(answer)
                return answer
        raise AssertionError(FAULTS[min(faults, default=0)] or "a question that went on was not answered")

    def _expected(self, messages: Sequence[bytes], source: Source) -> tuple[list[bytes], list[bytes], set[Any]]:
        """Answers that are made here, and questions that go on, up to the end of the connection."""
        exact: list[bytes] = []
        asked: list[bytes] = []
        touched: set[Any] = set()
        for message in messages:
            outcome, answer, _ = self.alone.rule(message, source.high, source.low, four=True)
            code = self.code_of(message)
            fields = tuple(int(self.said[slot]) for slot in (S_TYPE, S_EDNS, S_DO))
            touched.add((outcome, code, min(fields[0], 300), *fields[1:], answer[3] if answer else 0, len(answer).bit_length()))
            assert (outcome is Outcome.CLOSE) == (len(message) < HEADER), "only what is no message ends the connection"
            assert code != -1 or not answer, "an answer was made to what is owed none"
            assert code <= 0 or (outcome is Outcome.ANSWER and answer[3] & 15 == code & 15), "the error is not the one the RFCs give"
            if outcome in (Outcome.FORWARD, Outcome.CHASE):
                asked.append(message)
            elif answer:
                fault = self.fault_of(message, code, answer)
                assert fault == OK, FAULTS[fault]
                exact.append(answer)
            if outcome in (Outcome.CLOSE, Outcome.LAST):
                break
        return exact, asked, touched


class ResolverStream(Streams):
    name = "tcpanswers"

    def __init__(self) -> None:
        super().__init__()
        self.question = query("000.a.example", edns=0, identity=0x4321)
        self.honest = set(self.seeds()[:3])
        self.source = Source(CUSTOMER, 40000)

    def seeds(self) -> list[bytes]:
        true = [_IDENTITY.to_bytes(2, "big") + message[2:] for message in answer_seeds()[: None if COMPILED else 12]]
        late = [framed([b"\x12\x35" + true[0][2:], true[1]]), framed([true[1][:-1]]), framed([b"", true[2]]), framed([true[3]] * 3)]
        return [*(framed([message]) for message in true), *late, framed([true[4]])[:-4], b"\xff\xff" + true[0], b"", framed([b"\x12\x34"])]

    def features(self, data: bytes) -> set[Any]:
        forwarder = Lying(self.judge_of, [("192.0.2.2", 53)], _SETTINGS)
        forwarder.pool.data = data
        before = self.judge_of.totals.copy()
        with mock.patch("sekisho.drivers.tcpupstream.secrets.randbelow", return_value=_IDENTITY):
            answers = self.serve(forwarder, framed([self.question]), 4096, self.source)
        moved = tuple(int(at) for at in np.flatnonzero(self.judge_of.totals != before))
        true = any(self._is_true(message) for message in frames(data))
        believed = int(Counter.UPSTREAM_ANSWERED) in moved
        assert true or not believed, "an answer without the right id and question was given to a client"
        assert believed or data not in self.honest, "an honest answer did not reach the client"
        assert len(answers) == 1 or (believed and not answers), "a question was not answered once"
        touched: set[Any] = {(moved, true), ("frames", min(len(frames(data)), 8), len(data).bit_length())}
        for answer in answers:
            fault = self.fault_of(self.question, self.code_of(self.question), answer)
            assert fault == OK, FAULTS[fault]
            touched.add((answer[2] & 0x7F, answer[3], *(min(answer[at], 3) for at in (7, 9, 11)), len(answer).bit_length()))
        return touched

    def _is_true(self, message: bytes) -> bool:
        """Whether a message repeats the id that went out and the question."""
        asked = _IDENTITY.to_bytes(2, "big") + self.question[2:]
        end = HEADER + len(_NAME) + 4
        return bool(_ORACLES.is_answer_to(message, 0, len(message), asked, 0, end))


async def _cut(data: bytes, size: int) -> list[bytes]:
    framer = Framer(Incoming(data, size), _SETTINGS)  # type: ignore[arg-type]
    found = []
    while (message := await framer.next(bool)) is not None:
        found.append(message)
    return found


def streams() -> dict[str, type[Streams]]:
    """The targets of this module."""
    return {one.name: one for one in (ClientStream, ResolverStream)}
