"""What lines cost the control plane in the kernel: as many customers at once as the contract says, one alone, and the reading back.

Through the reconciler as the daemon has it, in namespaces of the test's own (root). Beside it `nft -f` writes the same elements
and `tc -batch` the same classes: what the programs of the kernel's own people take on the same machine in the same minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from bench.settings import CLASSES
from bench.settings import ENFORCED as CUSTOMERS
from kernel.gateway import Gateway, gateway
from sekisho.enforce.state import on_wire
from sekisho.model.customers import V4_MAPPED, Customer, Prefix
from sekisho.model.measures import Enforcement
from support import netns
from support.netns import DOWN

CHANGES = 25
RATE = (8_000_000, 4_000_000)
KINDS = {
    "silence": (Enforcement(silenced=True), CUSTOMERS),
    "no mail": (Enforcement(mail=0), CUSTOMERS),
    "mail by the minute": (Enforcement(mail=5), CUSTOMERS),
    "rates": (Enforcement(rate=RATE), CLASSES),
}


class Beat:
    """How long the event loop stood still at most, and how long it worked without a pause: on a busy machine that is less."""

    def __init__(self) -> None:
        self.worst = self.worked = 0.0

    async def run(self) -> None:
        last, spent = time.perf_counter(), time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now, cpu = time.perf_counter(), time.thread_time()
            self.worst, self.worked = max(self.worst, now - last - 0.001), max(self.worked, cpu - spent)
            last, spent = now, cpu

    def __str__(self) -> str:
        return f"the event loop stood {self.worst * 1e3:.0f} ms at most, of which it worked {self.worked * 1e3:.0f}"


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[Beat]:
    beat = Beat()
    task = asyncio.create_task(beat.run())
    await asyncio.sleep(0.01)
    try:
        yield beat
    finally:
        task.cancel()


async def until(condition: object, what: str) -> None:
    end = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        await asyncio.sleep(0.0005)


async def timed(step: Awaitable[None]) -> float:
    began = time.perf_counter()
    await step
    return time.perf_counter() - began


async def one_change(one: Gateway, name: str, what: Enforcement) -> None:
    """Until it is in the kernel."""
    one.wanted[name] = what
    one.lines.follow([name])
    await done(one)


async def done(one: Gateway) -> None:
    """Until nothing is left to write, and what was to be is written."""
    await until(lambda: not one.lines._dirty and not one.lines._writing, "what is to be written")


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_at_once_one_alone_and_the_reading_back(kind: str) -> None:
    netns.require_root()
    what, many = KINDS[kind]
    print(f"\n{kind}, {many} customers, load {os.getloadavg()[0]:.1f}")

    async def story(field: netns.Field) -> None:
        async with gateway(field, every="1h") as one:
            names = [f"x-{number}" for number in range(many)]
            alone = [f"y-{number}" for number in range(2 * CHANGES)]
            for number, name in enumerate([*names, *alone]):
                one.people.known[name] = Customer(name, ("t",), (Prefix(V4_MAPPED | 10 << 24 | number, 128),))
            # As the daemon does with all that it has read at its start.
            gc.collect()
            gc.freeze()
            running = asyncio.create_task(one.lines.run())
            await until(lambda: one.lines._where.roles and not one.lines._lock.locked(), "a start")
            await asyncio.sleep(1)
            first = await timed(one_change(one, alone[0], what))
            one.wanted.update(dict.fromkeys(names, what))
            async with beating() as beat:
                one.lines.follow(names)
                began, cpu = time.perf_counter(), time.process_time()
                await done(one)
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
                print(f"  all at once {took:.2f} s, {cpu:.2f} s of CPU; {beat}")
            rest = sorted([await timed(one_change(one, name, what)) for name in alone[1:CHANGES]])
            print(f"  one alone {rest[len(rest) // 2] * 1e3:.1f} ms, at most {rest[-1] * 1e3:.1f}; the very first {first * 1e3:.1f}")
            async with beating() as beat:
                one.lines.look_again()
                await until(lambda: one.lines._looking is not None, "a look")
                began, beside = time.perf_counter(), []
                while one.lines._looking is not None:
                    if len(beside) < CHANGES:
                        beside.append(await timed(one_change(one, alone[CHANGES + len(beside)], what)))
                    await asyncio.sleep(0.01)
                took = time.perf_counter() - began
                print(f"  read back in {took:.2f} s; {beat}")
                beside.sort()
                print(f"  {len(beside)} changes beside it {beside[len(beside) // 2] * 1e3:.1f} ms, at most {beside[-1] * 1e3:.1f}")
            assert not one.lines.repairs.total()
            began = time.perf_counter()
            one.wanted.clear()
            one.lines.follow([*names, *alone])
            await done(one)
            print(f"  all let go {time.perf_counter() - began:.2f} s")
            running.cancel()

    with netns.field() as field:
        asyncio.run(story(field))
        gc.unfreeze()


def test_the_yardsticks(tmp_path: Path) -> None:
    netns.require_root()
    elements = ", ".join(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(CUSTOMERS))
    (tmp_path / "nft").write_text(f"add element inet bench silence {{ {elements} }}\n", encoding="ascii")
    rate = f"{on_wire(RATE[0]) * 8}bit"
    lines = [f"class replace dev {DOWN} parent 1: classid 1:{n:x} htb rate {rate} ceil {rate}" for n in range(1, CLASSES + 1)]
    lines += [f"qdisc replace dev {DOWN} parent 1:{n:x} handle {n:x}: pfifo limit 171" for n in range(2, CLASSES + 2) if n <= CLASSES]
    (tmp_path / "tc").write_text("\n".join(lines) + "\n", encoding="ascii")
    with netns.field() as field:
        field.gw("nft", "add table inet bench; add set inet bench silence { type ipv4_addr; counter; }")
        field.gw("tc", "qdisc", "add", "dev", DOWN, "root", "handle", "1:", "htb")
        for name, argv in (("nft -f", ["nft", "-f", "nft"]), ("nft -j list", ["nft", "-j", "list", "set", "inet", "bench", "silence"]),
                           ("tc -batch", ["tc", "-batch", "tc"])):  # fmt: skip
            began = time.perf_counter()
            command = ["ip", "netns", "exec", field.gateway, *argv]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=300)
            print(f"\n{name}: {time.perf_counter() - began:.2f} s", end="")
            if argv[1] == "-j":
                json.loads(done.stdout)
                print(f", {time.perf_counter() - began:.2f} with its JSON read", end="")
    print()
