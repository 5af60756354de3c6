"""The place of a sink in the record: the last event it is done with, on disk, and where it goes on at a start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from sekisho.drivers.durable import write_file
from sekisho.ledger.chain import Event
from sekisho.model.errors import SinkError

log = structlog.get_logger("sekisho.sinks")


class Record(Protocol):
    """The ledger as sinks read it."""

    def since(self, number: int, limit: int) -> list[Event]:
        """Events behind `number`, in order, at most `limit`."""


@dataclass(frozen=True, slots=True)
class Place:
    """The last event a sink is done with, and the chain's digest there: another record's is not mistaken for it."""

    number: int = 0
    chain: str = ""


def place_of(event: Event) -> Place:
    return Place(event.number, event.chain.hex())


def read_place(path: Path) -> Place | None:
    """The place on disk, or None for a sink that has none. Raises SinkError for a file that is none of ours."""
    try:
        body: Any = json.loads(path.read_bytes())
        return Place(int(body["number"]), str(body["chain"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise SinkError(f"{path} is damaged; remove it to have the sink begin anew, with events told a second time") from None


def write_place(path: Path, place: Place) -> None:
    """Put a place on disk, durably. Raises OSError."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    text = json.dumps({"version": 1, "number": place.number, "chain": place.chain})
    write_file(path, text.encode(), durable=True)


def place_in(record: Record, end: int, kept: Place | None, name: str, *, from_now: bool) -> Place:
    """Where the sink `name` goes on in a record of `end` events: the place it kept, if it is one of this record.

    One that has kept none begins with the first event, or `from_now` on.
    """
    if kept is None:
        return _last(record, end) if from_now else Place()
    if not kept.number:
        return kept
    if kept.number > end:
        # A record restored from a copy: what is told already is not told again, and what comes next is.
        log.warning("sink-ahead-of-record", sink=name, number=kept.number, record=end)
        return _last(record, end)
    found = record.since(kept.number - 1, 1)
    if not found or place_of(found[0]) != kept:
        log.warning("sink-of-another-record", sink=name, number=kept.number)
        return Place()
    return kept


def _last(record: Record, end: int) -> Place:
    found = record.since(end - 1, 1) if end else []
    return place_of(found[0]) if found else Place()
