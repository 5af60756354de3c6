"""Lines on a gateway of a test's own, without the rest of the daemon: customers and what is in force are told by the test."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_lines import Lines
from sekisho.config.document import scan_document
from sekisho.config.settings import Settings, read_settings
from sekisho.model.customers import Customer, Prefix
from sekisho.model.measures import Enforcement
from support import netns

PREFIXES = {"c-1": (netns.CUSTOMER, "2001:db8:0:10::/120"), "c-2": (netns.NEIGHBOUR, "2001:db8:0:10::1000/116")}


@dataclass
class People:
    known: dict[str, Customer]

    def find(self, identity: str) -> Customer | None:
        return self.known.get(identity)

    def ids(self) -> Iterator[str]:
        yield from self.known


@dataclass
class Heard:
    """What was counted: queries dropped by row, those let through, and batches of usage."""

    queries: dict[int, int] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    readings: int = 0
    wanted: bool = False
    batches: list[tuple[Any, ...]] = field(default_factory=list)

    def dropped(self, rows: Any, queries: Any) -> None:
        for row, many in zip(rows.tolist(), queries.tolist(), strict=True):
            self.queries[row] = self.queries.get(row, 0) + many

    def asked(self, rows: Any, queries: Any, seconds: float) -> None:
        assert seconds > 0
        self.readings += 1
        for row, many in zip(rows.tolist(), queries.tolist(), strict=True):
            self.seen[row] = self.seen.get(row, 0) + many

    def add(self, source: Any, at: float, rows: Any, down: Any, up: Any, mail: Any = None) -> None:
        self.batches.append((source, at, rows.tolist(), down.tolist(), up.tolist(), mail.tolist()))


@dataclass
class Gateway:
    lines: Lines
    wanted: dict[str, Enforcement]
    heard: Heard
    people: People
    sites: list[Settings]

    async def enforce(self, **wanted: Enforcement) -> None:
        """As a measure does: what is in force changes, and the lines follow."""
        names = {key.replace("_", "-"): what for key, what in wanted.items()}
        self.wanted.update(names)
        self.lines.follow(names)
        await self.lines.step()

    async def counted(self) -> None:
        """Have the counters read now."""
        readings = self.lines._readings
        readings.silenced_at = readings.usage_at = 0.0
        await self.lines.step()


def settings_of(one: netns.Field, **more: object) -> Settings:
    lines = {"mode": "enforce", "customers": netns.DOWN, "namespace": one.gateway, "every": "1h", "on_stop": "remove"} | more
    text = "\n".join(
        [
            "version: 1",
            "listen: ['192.0.2.1:53', '[2001:db8:0:10::ffff]:53']",
            "upstream: {address: '127.0.0.1:5300'}",
            f"lines: {json.dumps(lines)}",
        ]
    )
    return read_settings(scan_document(text, "s.yaml"), Path("/"))


@contextlib.asynccontextmanager
async def gateway(one: netns.Field, **more: object) -> AsyncIterator[Gateway]:
    """Lines at work from their first look on, and removed at the end unless told."""
    people = People({name: Customer(name, ("t",), tuple(Prefix.parse(text) for text in own)) for name, own in PREFIXES.items()})
    heard, wanted, sites = Heard(), {}, [settings_of(one, **more)]
    rows = {name: number for number, name in enumerate(PREFIXES, start=2)}
    counts = LineCounts(rows.get, heard, heard)
    lines = Lines(lambda: sites[-1], lambda: people, lambda: wanted, counts)
    await lines.step()
    try:
        yield Gateway(lines, wanted, heard, people, sites)
    finally:
        await lines.close()
