"""What the ledger takes on this machine's disk: acts a second, one act alone, and the start of a long ledger.

Figures are printed, and stand in README.md; nothing timed is asserted. `BENCH_EVENTS` is the length of
the long ledger, which lies in `BENCH_FOLDER`, a folder of the disk that is to be measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.settings import EVENTS, FOLDER, pick
from sekisho.drivers.audit import LedgerSource, verify
from sekisho.drivers.checkpoint import checkpoint_of, write_checkpoint
from sekisho.drivers.ledger import Ledger
from sekisho.ledger.acts import encode
from sekisho.ledger.chain import digest_chain, digest_payload, genesis
from sekisho.ledger.state import State
from sekisho.model.events import Act, OptOutAdded, OptOutRemoved, RecordedAct
from sekisho.model.measureacts import MeasureMoved

ACTOR = "uid:1000(operator)"
ACTS = pick(20_000, 2000)
WHOLE = 2_000_000
"""Longer ledgers are not read as a whole here: it takes minutes, and as long for each event."""
MOVED = b'{"cause":"condition","customer":"c-%07d","measure":"m-%d","reason":"the line floods","state":"in-force","until":1700000000.0}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return FOLDER or tmp_path


def say(text: str) -> None:
    print(f"  {text}")


def test_acts_a_second_and_one_act_alone(folder: Path) -> None:
    async def scenario() -> None:
        ledger = Ledger.open(folder / "acts.db")
        for callers in (1, 8, 64, 512):
            count = min(ACTS, 400 * callers)
            taken: list[float] = []

            async def call(mine: range, taken: list[float] = taken) -> None:
                for number in mine:
                    began = time.perf_counter()
                    await ledger.append(OptOutAdded(f"c-{number:07}", "c2", "phone, ticket 4711"), ACTOR, time.time())
                    taken.append(time.perf_counter() - began)

            began = time.perf_counter()
            await asyncio.gather(*(call(range(first, count, callers)) for first in range(callers)))
            rate = count / (time.perf_counter() - began)
            cuts = statistics.quantiles(taken, n=100)
            say(f"{callers:>3} callers: {rate:8,.0f} acts/s, one act {cuts[49] * 1e3:.2f} ms (p50), {cuts[98] * 1e3:.2f} ms (p99)")
        await ledger.close()

    asyncio.run(scenario())


def test_the_start_of_a_long_ledger(folder: Path) -> None:
    path = folder / "long.db"
    began = time.perf_counter()
    state, chain = write(path, EVENTS)
    opted_out = len(state.opt_outs)
    say(f"{EVENTS:,} events made in {time.perf_counter() - began:.0f} s, {path.stat().st_size >> 20:,} MiB, {opted_out:,} opted out")
    if EVENTS <= WHOLE:
        began, cpu = time.perf_counter(), time.process_time()
        ledger = Ledger.open(path)
        say(f"start without a checkpoint: {time.perf_counter() - began:.2f} s ({time.process_time() - cpu:.2f} s of CPU)")
        assert ledger.state.opt_outs == state.opt_outs
        asyncio.run(ledger.close())
    write_checkpoint(path, state, chain)
    del state

    async def checkpoint() -> tuple[float, float]:
        """Seconds it took, and the longest the event loop stood still meanwhile."""
        worst = 0.0
        done = asyncio.Event()
        ledger = Ledger.open(path)

        async def watch() -> None:
            nonlocal worst
            while not done.is_set():
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                worst = max(worst, time.perf_counter() - before - 0.001)

        watching = asyncio.create_task(watch())
        before = time.perf_counter()
        await ledger.checkpoint()
        took = time.perf_counter() - before
        done.set()
        await watching
        await ledger.close()
        return took, worst

    took, worst = asyncio.run(checkpoint())
    size = checkpoint_of(path).stat().st_size >> 20
    say(f"checkpoint written in {took:.2f} s, {size} MiB; the event loop stood still for {worst * 1e3:.0f} ms at most")

    times = []
    for _ in range(5):
        began, cpu = time.perf_counter(), time.process_time()
        ledger = Ledger.open(path)
        times.append((time.perf_counter() - began, time.process_time() - cpu))
        assert len(ledger.state.opt_outs) == opted_out
        asyncio.run(ledger.close())
        del ledger
    walls, cpus = [one[0] for one in times], [one[1] for one in times]
    say(f"start from the checkpoint: {statistics.median(walls):.2f} s ({min(walls):.2f}-{max(walls):.2f}), {min(cpus):.2f} s of CPU")
    if EVENTS <= WHOLE:
        began, cpu = time.perf_counter(), time.process_time()
        with LedgerSource(path) as source:
            audit = verify(source)
        assert audit.breaks == []
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        say(f"verified in {took:.1f} s, {audit.events / took:,.0f} events/s ({audit.events / cpu:,.0f} a second of CPU)")


def write(path: Path, count: int) -> tuple[State, bytes]:
    """A long ledger as years of a large ISP leave it: one customer of five has opted out, measures came and went.

    Returns the state and the last chain digest.
    """
    asyncio.run(Ledger.open(path).close())  # makes the tables
    state = State()
    last = [0, genesis()]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        insert = "INSERT INTO events (number, at_us, actor, kind, payload, payload_digest, chain) VALUES (?, ?, ?, ?, ?, ?, ?)"
        connection.executemany(insert, rows(count, state, last))
        connection.execute("UPDATE head SET number = ?, chain = ?", last)
        connection.execute("COMMIT")
    state.number = count
    return state, last[1]


def rows(count: int, state: State, last: list[Any]) -> Iterator[tuple[Any, ...]]:
    chain = genesis()
    customers = max(1, count // 10)
    for number in range(1, count + 1):
        who = number // 10 * 7919 % customers
        act: Act | None = None
        if number % 10 == 0 and who % 4 == 0:
            act = OptOutAdded(f"c-{who:07}", "c2", "phone, ticket 4711")
        elif number % 10 == 1 and who % 20 == 0:
            act = OptOutRemoved(f"c-{who:07}", "c2", "phone, ticket 4711")
        if act is None:
            kind, payload = MeasureMoved.kind, MOVED % (who, number // 4)
        else:
            kind, payload = act.kind, encode(act)
            state.apply(RecordedAct(number, float(number), ACTOR, act))
        digest = digest_payload(payload)
        chain = digest_chain(chain, number, number * 1_000_000, ACTOR, kind, digest)
        yield number, number * 1_000_000, ACTOR, kind, payload, digest, chain
    last[:] = [count, chain]
