"""Ledgers for the tests, and ways to hurt them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from sekisho.drivers.ledger import Ledger
from sekisho.ledger.acts import encode
from sekisho.ledger.chain import Event, genesis, link
from sekisho.model.events import Act, OptOutAdded, OptOutRemoved

ACTOR = "uid:1000(operator)"
DAY = 86400.0


def chain_of(*acts: Act, every: float = 1.0) -> list[Event]:
    """Events of a good ledger, `every` seconds apart from 1 on."""
    events: list[Event] = []
    previous = genesis()
    for number, act in enumerate(acts, 1):
        events.append(link(previous, number, round(1_000_000 * number * every), ACTOR, act.kind, encode(act)))
        previous = events[-1].chain
    return events


def opt_outs(count: int) -> list[Act]:
    """Opt-outs of many customers, every third of them taken back."""
    acts: list[Act] = []
    for number in range(count):
        acts.append(OptOutAdded(f"c-{number}", "c2", "phone"))
        if number % 3 == 2:
            acts.append(OptOutRemoved(f"c-{number}", "c2", "phone"))
    return acts[:count]


def write(path: Path, acts: list[Act], at: float = 1000.0) -> None:
    """Append acts, a second apart, by a daemon that is stopped afterwards."""

    async def scenario() -> None:
        ledger = Ledger.open(path)
        await asyncio.gather(*(ledger.append(act, ACTOR, at + place) for place, act in enumerate(acts)))
        await ledger.close()

    asyncio.run(scenario())


@contextlib.contextmanager
def opened(path: Path):
    """The ledger as the next start finds it."""
    ledger = Ledger.open(path)
    try:
        yield ledger
    finally:
        asyncio.run(ledger.close())


def hurt(path: Path, *statements: str) -> None:
    """Change the file as somebody with a database tool would, who knows of the triggers."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for trigger in ("events_stay", "events_stand", "payloads_stand"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def content(state) -> dict[str, object]:
    """All a state holds, to be compared."""
    return {part.name: list(part.dump()) for part in state.parts.values()}
