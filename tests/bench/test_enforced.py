"""From the measure to the kernel where a million customers are on line: as many at once as the contract says, and one alone.

The daemon's core on a site of a million customers, each with a fixed prefix and a live session, limits lines in namespaces of the test's
own (root). The clock runs from when a measure is in force until nothing is left to be written; then the kernel is read back, and
must have every address of everybody, and no other. Not collected by default; `pytest tests/bench/test_enforced.py -s` prints the figures.
With BENCH_FIRST=1 the process goes before all others while the clock runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench import settings
from bench.settings import CLASSES, CUSTOMERS, ENFORCED, pick
from bench.test_kernel import beating, until
from sekisho.app.control_core import Core
from sekisho.app.control_daemon import running
from sekisho.config.lines import LineSettings
from sekisho.drivers.site import load_site
from sekisho.enforce.state import Role
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.measures import NONE, Enforcement
from support import netns
from support.accountingload import write_sessions

CHANGES = pick(100, 25)
POOL = 10 << 24
HOMES = 0x2001_0DB8 << 96
"""Prefixes of 64 bits from here on, one for each customer."""
RATE = (8_000_000, 4_000_000)
KINDS = {
    "silence": (Enforcement(silenced=True), ENFORCED, Role.SILENCE),
    "no mail": (Enforcement(mail=0), ENFORCED, Role.NO_MAIL),
    "mail by the minute": (Enforcement(mail=5), ENFORCED, Role.MAIL),
    "rates": (Enforcement(rate=RATE), CLASSES, Role.DOWN),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    netns.require_root()
    folder = tmp_path_factory.mktemp("site")
    with (folder / "customers.csv").open("w", encoding="ascii") as out:
        out.write("id,terms,prefixes\n")
        out.writelines(f"c{number},gunma,{Prefix(HOMES | number << 64, 64)}\n" for number in range(CUSTOMERS))
    (folder / "state").mkdir()
    write_sessions(folder / "state" / "sessions.db", CUSTOMERS, POOL)
    return folder


@contextlib.asynccontextmanager
async def core_on(folder: Path, field: netns.Field) -> AsyncIterator[Core]:
    site = {
        "version": 1,
        "listen": ["192.0.2.1:53"],
        "upstream": {"address": "127.0.0.1:5300"},
        "state": "state",
        "runtime": "run",
        "terms": ["gunma"],
        "customers": "customers.csv",
        "metrics": "off",
        "lines": {"mode": "enforce", "customers": netns.DOWN, "namespace": field.gateway, "every": "1h", "on_stop": "remove"},
    }
    (folder / "sekisho.yaml").write_text(json.dumps(site))
    async with running(folder / "sekisho.yaml", load_site(folder / "sekisho.yaml")) as core:
        yield core


@contextlib.contextmanager
def first() -> Iterator[None]:
    """Before all others, if that is asked for: every thread of this process."""

    def put(policy: int, priority: int) -> None:
        for task in Path("/proc/self/task").iterdir() if settings.FIRST else ():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(int(task.name), policy, os.sched_param(priority))

    put(os.SCHED_RR, 1)
    try:
        yield
    finally:
        put(os.SCHED_OTHER, 0)


async def in_kernel(core: Core) -> None:
    """Until nothing is left to be written, and what was to be is written."""
    await until(lambda: not core.lines._dirty and not core.lines._writing, "what is to be written")


async def addresses(core: Core, role: Role) -> set[Prefix]:
    """All of a role that the kernel tells."""
    sight = await core.lines.sight()
    assert sight is not None
    return {prefix for one, prefix, _ in sight.state.each() if one is role}


def of(numbers: range) -> set[Prefix]:
    found = {Prefix(V4_MAPPED | POOL + number, 128) for number in numbers}
    return found | {Prefix(HOMES | number << 64, 64) for number in numbers}


async def story(core: Core) -> None:
    assert isinstance(core.lines.settings, LineSettings)
    gc.collect()
    gc.freeze()
    work = asyncio.create_task(core.lines.run())
    for kind in settings.KINDS:
        what, many, role = KINDS[kind]
        stride = CUSTOMERS // many
        chosen = range(0, stride * many, stride)
        alone = (
            range(stride * many - stride + 1, CUSTOMERS)[: 2 * CHANGES] if stride > 2 * CHANGES else range(1, 4 * CHANGES * stride, stride)
        )
        print(f"\n{kind}, {many} of {CUSTOMERS} customers, an address and a prefix each; load {os.getloadavg()[0]:.1f}")
        given = dict.fromkeys([f"c{number}" for number in chosen], what)
        async with beating() as beat:
            with first():
                began, cpu = time.perf_counter(), time.process_time()
                told = asyncio.create_task(core.tables.enforce_all(given))
                await until(lambda: bool(core.lines._dirty), "the measures")
                heard = time.perf_counter() - began
                await in_kernel(core)
                took, spent = time.perf_counter() - began, time.process_time() - cpu
            await told
            print(
                f"  in the kernel {took:.2f} s after the measures were in force ({spent:.2f} s of CPU); told after {heard:.2f}; the plane's"
                f" tables {time.perf_counter() - began:.2f} s; {beat}"
            )
        began = time.perf_counter()
        assert await addresses(core, role) == of(chosen)
        print(f"  read back and compared in {time.perf_counter() - began:.2f} s")
        times = []
        for number in list(alone)[:CHANGES]:
            with first():
                began = time.perf_counter()
                await core.tables.enforce(f"c{number}", what)
                await in_kernel(core)
                times.append(time.perf_counter() - began)
            await asyncio.sleep(0.005)
        times.sort()
        print(f"  one alone {times[len(times) // 2] * 1e3:.1f} ms, {times[-2] * 1e3:.1f} and {times[-1] * 1e3:.1f} at most")
        began = time.perf_counter()
        await core.tables.enforce_all(dict.fromkeys([*given, *(f"c{number}" for number in alone)], NONE))
        await in_kernel(core)
        print(f"  all let go {time.perf_counter() - began:.2f} s")
        assert not await addresses(core, role)
    work.cancel()


def test_a_hundred_thousand_of_a_million_who_are_on_line(folder: Path) -> None:
    with netns.field() as field:

        async def run() -> None:
            began = time.perf_counter()
            async with core_on(folder, field) as core:
                print(f"\nstarted in {time.perf_counter() - began:.1f} s, {len(core.sessions.table)} sessions")
                await story(core)

        asyncio.run(run())
        gc.unfreeze()
