"""How long the kernel's counters of very many customers take to be read: told by the kernel, compared, and looked up whose they are.

Queries are counted in parts, what goes up in one table: what the parts are for. In namespaces of the test's own (root).
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from dataclasses import replace

import numpy as np
import pytest

from bench.settings import ENFORCED as CUSTOMERS
from bench.test_kernel import beating
from kernel.gateway import Gateway, gateway
from sekisho.app.control_linereadings import Due
from sekisho.enforce.state import Role
from sekisho.model.customers import V4_MAPPED, Customer, Prefix
from support import netns

ROUNDS = 5


class Spent:
    """Seconds, and of them those of a processor, of the rounds of a step."""

    def __init__(self, name: str) -> None:
        self.name, self.rounds = name, list[tuple[float, float]]()

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.rounds.append((time.perf_counter() - self._began[0], time.process_time() - self._began[1]))

    def __str__(self) -> str:
        walls, cpus = (sorted(one[place] for one in self.rounds) for place in (0, 1))
        return f"  {self.name:<52} {walls[len(walls) // 2] * 1e3:7.0f} ms, CPU {cpus[len(cpus) // 2] * 1e3:.0f} ({cpus[0] * 1e3:.0f} least)"


@pytest.mark.parametrize("role", [Role.COUNT_QUERIES, Role.COUNT_UP])
def test_a_reading_of_everybodys_counters(role: Role) -> None:
    netns.require_root()
    print(f"\n{role}, {CUSTOMERS} customers, load {os.getloadavg()[0]:.1f}")

    async def story(field: netns.Field) -> None:
        counted = {"queries": True, "resolvers": [netns.SERVER]} if role is Role.COUNT_QUERIES else {"counters": True}
        async with gateway(field, every="1h", shaping=False, mail=False, **counted) as one:
            rows = {f"x-{number}": number for number in range(CUSTOMERS)}
            for name, number in rows.items():
                one.people.known[name] = Customer(name, ("t",), (Prefix(V4_MAPPED | 10 << 24 | number, 128),))
            one.lines.counts._row_of = rows.get
            gc.collect()
            gc.freeze()
            one.lines.follow(rows)
            await one.lines.step()
            await measured(one, role)

    with netns.field() as field:
        asyncio.run(story(field))
        gc.unfreeze()


async def measured(one: Gateway, role: Role) -> None:
    kernel, counts, book = one.lines.kernel, one.lines.counts, one.lines.book
    assert kernel is not None
    told = Spent("told by the kernel")
    for _ in range(ROUNDS):
        with told:
            found = await kernel.counts(role, book.known.tables)
    assert sum(len(table.keys) for table in found.values()) == CUSTOMERS + 2 * len({table.six for table in found})
    print(told)
    if role is not Role.COUNT_QUERIES:
        return
    differences, owners, whole = (
        Spent("compared, of everybody something new"),
        Spent("whose they are"),
        Spent("a reading in which nobody asked"),
    )
    counts.asked_since(found, 0.0)
    for number in range(1, ROUNDS + 1):
        found = {table: replace(one, packets=one.packets + np.uint64(1)) for table, one in found.items()}
        with differences:
            new = counts.asked_since(found, float(number))
        assert new is not None
        async with beating() as beat:
            with owners:
                rows = await counts.by_row(new.queries, book.owners, new.moved)
        assert len(rows) >= CUSTOMERS
    print(differences, f"{owners}; {beat}", sep="\n")
    await one.lines._readings.read(Due(True, False), kernel, book.known.tables, book.owners)
    for _ in range(ROUNDS):
        with whole:
            await one.lines._readings.read(Due(True, False), kernel, book.known.tables, book.owners)
    print(whole)
