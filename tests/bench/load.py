"""The load generator: one thread, compiled, many clients' addresses over one socket.

It sends and receives by batches (sendmmsg, recvmmsg), and sets each query's source address itself
(IP_PKTINFO, ip(7)). A run is either *full*, a fixed number of queries outstanding at any time, or
*paced*, a fixed number a second whatever comes back, so that a server that stalls is asked on.
An answer's time runs from the system call that sent its query to the one that brought the answer.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import types

from bench.names import Questions
from bench.site import BASE, CUSTOMERS
from sekisho.plane.native import CLOCK_MONOTONIC, clock, get16, put16, put32, receive, transmit
from sekisho.snapshot.compiling import compiled

BATCH = 32
OUTSTANDING = 200
ANSWER = 512
TIMED = 1 << 17
"""Answers of a run whose times are kept."""
IP_PKTINFO = 8
CONTROL = 32
"""CMSG_SPACE of an in_pktinfo."""
DRAIN = 1_500_000_000
STALL = 1_000_000_000
"""Nanoseconds without an answer after which what is outstanding counts as lost."""
SENT, ANSWERED, LOST, NXDOMAIN, NOERROR, OTHER, NANOSECONDS, KEPT, SILENCE, LATE = range(10)

_pause = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


@dataclass(frozen=True)
class Run:
    """What came of one run."""

    sent: int
    answered: int
    lost: int
    nxdomain: int
    noerror: int
    seconds: float
    times: npt.NDArray[np.int64]
    """Nanoseconds of the answers, as many as were kept, sorted."""
    silence: float
    """The longest time, in milliseconds, between two answers; what the generator itself was kept from running is in it."""
    late: int = 0
    """Answers that came when their query counted as lost: its id was another's by then."""

    def percentile(self, share: float) -> float:
        """Microseconds within which that share of the answers came."""
        return float(self.times[min(int(len(self.times) * share), len(self.times) - 1)]) / 1e3


class Load:
    """Asks servers of 127.0.0.1 from the addresses of so many customers."""

    def __init__(self, customers: int = CUSTOMERS, rest: int = 0, first: int = BASE) -> None:
        """`customers`: addresses from `first` on. `rest`: microseconds a paced run sleeps where there is nothing to do; 0: it goes round,
        which measures best and takes a CPU.
        """
        self._customers, self._rest, self._first = customers, rest, first
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", 0))
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        self._address = np.zeros(16, np.uint8)
        self._vectors = np.zeros((BATCH, 2), np.int64)
        self._control = np.zeros((BATCH, CONTROL), np.uint8)
        self._answers = np.zeros((BATCH, ANSWER), np.uint8)
        self._into = np.zeros((BATCH, 2), np.int64)
        self._sends = np.zeros((BATCH, 8), np.int64)
        self._receives = np.zeros((BATCH, 8), np.int64)
        head = np.frombuffer(struct.pack("@NII", 28, 0, IP_PKTINFO), np.uint8)
        for row in range(BATCH):
            self._control[row, : len(head)] = head
            # struct mmsghdr: name, its length, vector, its length, control, its length, flags, bytes moved.
            self._sends[row] = [
                self._address.ctypes.data,
                16,
                self._vectors[row].ctypes.data,
                1,
                self._control[row].ctypes.data,
                CONTROL,
                0,
                0,
            ]
            self._into[row] = [self._answers[row].ctypes.data, ANSWER]
            self._receives[row] = [0, 0, self._into[row].ctypes.data, 1, 0, 0, 0, 0]

    def close(self) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """The port it asks from."""
        port: int = self._socket.getsockname()[1]
        return port

    def full(self, port: int, questions: Questions, seconds: float) -> Run:
        return self._run(port, questions, seconds, 1 << 62, OUTSTANDING, 0)

    def paced(self, port: int, questions: Questions, seconds: float, rate: int) -> Run:
        return self._run(port, questions, seconds, 1 << 62, 0, 1_000_000_000 // rate)

    def flood(self, port: int, questions: Questions, seconds: float) -> Run:
        """As fast as it goes, whatever comes back."""
        return self._run(port, questions, seconds, 1 << 62, 1 << 62, 0)

    def once(self, port: int, questions: Questions) -> Run:
        """Ask each question once, few at a time, so that a resolver that has to ask another loses none."""
        return self._run(port, questions, 120.0, len(questions.lengths), 16, 0)

    def _run(self, port: int, questions: Questions, seconds: float, limit: int, window: int, interval: int) -> Run:
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1"))
        self._address[:] = np.frombuffer(address, np.uint8)
        times, tally = np.zeros(TIMED, np.int64), np.zeros(10, np.int64)
        drive(
            self._socket.fileno(), questions.packets, questions.packets.ctypes.data, questions.lengths, self._vectors, self._control.reshape(-1),
            self._sends, self._answers, self._receives, np.zeros(1 << 16, np.int64), times, np.zeros(2, np.int64), tally,
            int(seconds * 1e9), limit, window, interval, self._first, self._customers, np.uint32(self._rest if interval else 0),
        )  # fmt: skip
        kept = np.sort(times[: tally[KEPT]])
        sent, answered, lost, nxdomain, noerror = (int(tally[what]) for what in (SENT, ANSWERED, LOST, NXDOMAIN, NOERROR))
        return Run(sent, answered, lost, nxdomain, noerror, float(tally[NANOSECONDS]) / 1e9, kept, tally[SILENCE] / 1e6, int(tally[LATE]))


@compiled
def pause(rest):  # type: ignore[no-untyped-def]
    """Let others have the CPU: for so many microseconds, or while there are any."""
    if rest > 0:
        _sleep(rest)
    else:
        _pause()


@compiled
def drive(
    fd,
    packets,
    base,
    lengths,
    vectors,
    control,
    sends,
    answers,
    receives,
    waiting,
    times,
    scratch,
    tally,
    duration,
    limit,
    window,
    interval,
    first,
    customers,
    rest,
):  # type: ignore[no-untyped-def]
    """Send for `duration` ns or `limit` queries, then wait for the rest. `window` queries outstanding, or one each `interval` ns.

    `waiting` int64 (65536): when the query of an id was sent, 0 for none.
    """
    number = lengths.shape[0]
    start = clock(CLOCK_MONOTONIC, scratch)
    now = heard = start
    sent = answered = lost = outstanding = kept = silence = np.int64(0)
    while True:
        count = np.int64(0)
        if now - start < duration and sent < limit:
            room = window - outstanding if interval == 0 else (now - start) // interval + 1 - sent
            count = min(np.int64(BATCH), room, limit - sent)
        elif (outstanding == 0 and lost == 0) or now - heard > DRAIN:
            break
        if count > 0:
            for k in range(count):
                row = (sent + k) % number
                put16(packets[row], 0, (sent + k) & 0xFFFF)
                vectors[k, 0] = base + row * packets.shape[1]
                vectors[k, 1] = lengths[row]
                put32(control, k * CONTROL + 20, first + (sent + k) * 7919 % customers)
            now = clock(CLOCK_MONOTONIC, scratch)
            gone = max(transmit(fd, sends, 0, count), np.int64(0))
            for k in range(gone):
                identity = (sent + k) & 0xFFFF
                if waiting[identity] != 0:
                    lost += 1
                    outstanding -= 1
                waiting[identity] = now
            sent += gone
            outstanding += gone
        got = receive(fd, receives, BATCH)
        now = clock(CLOCK_MONOTONIC, scratch)
        if got <= 0:
            if interval == 0 and outstanding > 0 and now - heard > STALL:
                lost += outstanding
                outstanding = np.int64(0)
                waiting[:] = 0
                heard = now
            if count <= 0:
                pause(rest)
            continue
        silence = max(silence, (now - heard) * min(answered, 1))
        heard = now
        for k in range(got):
            identity = get16(answers[k], 0)
            if waiting[identity] == 0:
                tally[LATE] += 1
                continue
            if kept < times.shape[0]:
                times[kept] = now - waiting[identity]
                kept += 1
            waiting[identity] = 0
            outstanding -= 1
            answered += 1
            rcode = answers[k, 3] & 15
            tally[NXDOMAIN if rcode == 3 else NOERROR if rcode == 0 else OTHER] += 1
    tally[SENT], tally[ANSWERED], tally[LOST], tally[KEPT] = sent, answered, lost + outstanding, kept
    tally[NANOSECONDS], tally[SILENCE] = heard - start, silence
