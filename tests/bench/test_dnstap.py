"""How many messages the reader of dnstap counts: senders over the Unix socket, a million customers. `make bench-all`, or pytest this file.

The reader is the daemon's: its thread, its socket, its handshake and its tables. Senders are processes of their own and send what was
made before, in pieces as large as a resolver's buffer. Its CPU is that of the whole process, which does nothing else then.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from bench.settings import CUSTOMERS, pick
from sekisho.config.dnstap import DnstapSettings
from sekisho.drivers.dnstap import Tap
from sekisho.drivers.dnstapseen import Seen
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.dnstap import Tally
from support import wait_until
from support.dnstap import RESPONSE, Sender, framed, message

TARGET = 100_000
"""Messages a second."""
MESSAGES = pick(2_000_000, 200_000)
FIRST = 10 << 24
SENDERS = (1, 2, 4)
PREPARED = 20_000
"""Messages that a sender has ready, of as many customers, and sends again and again."""
PIECE = 64 << 10
"""Bytes handed to the kernel at once."""
QUERY_BYTES = 60


def prepared(seed: int, *, both: bool) -> bytes:
    """Frames of queries, each with its response where both are told."""
    rng = np.random.default_rng(seed)
    frames = []
    for one in rng.choice(CUSTOMERS, PREPARED // (1 + both), replace=False):
        number = FIRST + int(one)
        address, wire = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)), rng.bytes(QUERY_BYTES)
        frames += [message(address, wire=wire), *([message(address, RESPONSE, wire)] if both else [])]
    return framed(*frames)


def send(path: Path, seed: int, both: bool, many: int, ready: Barrier) -> None:
    data = memoryview(prepared(seed, both=both))
    sender = Sender(path).start()
    sender.socket.settimeout(300)
    ready.wait(300)
    for _ in range(many):
        for start in range(0, len(data), PIECE):
            sender.socket.sendall(data[start : start + PIECE])
    sender.close()


@pytest.fixture(scope="module")
def tables() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        rows = [CustomerRow(f"c-{number}", (Prefix(V4_MAPPED | FIRST + number, 128),), 1, 0) for number in range(CUSTOMERS)]
        TableWriter(Path(folder)).replace_customers(rows, [], CUSTOMERS)
        del rows
        yield Path(folder)


@pytest.mark.parametrize("both", [False, True], ids=["queries", "queries and responses"])
@pytest.mark.parametrize("senders", SENDERS)
def test_messages_a_second(tables: Path, tmp_path: Path, senders: int, both: bool) -> None:
    path, seen = tmp_path / "tap", Seen(wanted=True)
    tap = Tap(tables, DnstapSettings.model_construct(socket=path, group=None), seen)
    tap.start()
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(senders + 1)
    rounds = MESSAGES // PREPARED // senders
    sent = rounds * PREPARED * senders
    running = [context.Process(target=send, args=(path, seed, both, rounds, ready)) for seed in range(senders)]
    try:
        for one in running:
            one.start()
        wait_until(lambda: seen.streams == senders, deadline=300, what="the streams")
        ready.wait(300)
        began, used = time.monotonic(), time.process_time()
        wait_until(lambda: seen.streams == 0, deadline=300, interval=0.005, what="the end of all streams")
        took, used = time.monotonic() - began, time.process_time() - used
    finally:
        for one in running:
            one.join(30)
            one.kill()
        tap.close()
    counted, answered = int(seen.tallies[Tally.COUNTED]), int(seen.tallies[Tally.RESPONDED])
    print(
        f"\n{senders} senders, {'queries and responses' if both else 'queries'}: {sent / took:,.0f} messages a second, "
        f"{used / sent * 1e9:,.0f} ns of CPU a message, {counted + answered:,} of {sent:,} counted, "
        f"{np.count_nonzero(seen.queries):,} customers",
        file=sys.stderr,
    )
    assert counted + answered == sent == int(seen.tallies.sum())
    assert answered == (sent // 2 if both else 0)
    assert int(seen.queries.sum()) == counted
    # Of CPU and not of the clock, which others' work slows.
    assert sent / used >= TARGET
