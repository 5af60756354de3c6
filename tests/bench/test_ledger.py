"""What the ledger takes on this machine's disk: acts a second, one act alone, and the start of a long ledger.

Figures are printed, and stand in README.md; nothing timed is asserted. `BENCH_EVENTS` is the length of
the long ledger, which lies in `BENCH_FOLDER`, a folder of the disk that is to be measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.drivers import ledgerfile
from sekisho.drivers.audit import LedgerSource, verify
from sekisho.drivers.checkpoint import checkpoint_of
from sekisho.drivers.ledger import Ledger
from sekisho.ledger.acts import encode
from sekisho.ledger.chain import Event, genesis, link
from sekisho.model.events import Act, MeasureMoved, OptOutAdded, OptOutRemoved

ACTOR = "uid:1000(operator)"
EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
ACTS = 20_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(os.environ.get("BENCH_FOLDER", tmp_path))


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
    write(path, EVENTS)
    say(f"{EVENTS:,} events made in {time.perf_counter() - began:.0f} s, {path.stat().st_size >> 20:,} MiB")

    began = time.perf_counter()
    ledger = Ledger.open(path)
    opted_out = len(ledger.state.opt_outs)
    say(f"start without a checkpoint: {time.perf_counter() - began:.2f} s, {opted_out:,} customers opted out")

    async def checkpoint() -> tuple[float, float]:
        """Seconds it took, and the longest the event loop stood still meanwhile."""
        worst = 0.0
        done = asyncio.Event()

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
    for _ in range(3):
        ledger = None
        began = time.perf_counter()
        ledger = Ledger.open(path)
        times.append(time.perf_counter() - began)
        assert len(ledger.state.opt_outs) == opted_out
        asyncio.run(ledger.close())
    say(f"start from the checkpoint: {statistics.median(times):.2f} s ({min(times):.2f}-{max(times):.2f})")

    began = time.perf_counter()
    with LedgerSource(path) as source:
        audit = verify(source)
    assert audit.breaks == []
    took = time.perf_counter() - began
    say(f"verified in {took:.1f} s, {audit.events / took:,.0f} events/s")


def write(path: Path, count: int) -> None:
    """A long ledger as years of a large ISP leave it: one customer of five has opted out, measures came and went."""
    asyncio.run(Ledger.open(path).close())  # makes the tables
    with contextlib.closing(ledgerfile.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        last = Event(0, 0, "", "", b"", b"", genesis())
        for last in events(count):
            connection.execute(
                f"INSERT INTO events ({ledgerfile.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (last.number, last.at_us, last.actor, last.kind, last.payload, last.payload_digest, last.chain, last.version),
            )
        connection.execute("UPDATE head SET number = ?, chain = ?", (last.number, last.chain))
        connection.execute("COMMIT")


def events(count: int) -> Iterator[Event]:
    chain = genesis()
    customers = max(1, count // 10)
    for number in range(1, count + 1):
        who = number // 10 * 7919 % customers
        act: Act
        match number % 10:
            case 0 if who % 4 == 0:
                act = OptOutAdded(f"c-{who:07}", "c2", "phone, ticket 4711")
            case 1 if who % 20 == 0:
                act = OptOutRemoved(f"c-{who:07}", "c2", "phone, ticket 4711")
            case _:
                act = MeasureMoved(f"m-{number // 4}", f"c-{who:07}", "in-force", "condition", 1.7e9, "the line floods")
        event = link(chain, number, number * 1_000_000, ACTOR, act.kind, encode(act))
        chain = event.chain
        yield event
