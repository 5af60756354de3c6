"""One zone to be published: its serial, its content, and what changed of late.

Has one owner, the primary's loop; what is being transferred meanwhile keeps the content it began with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from sekisho.rpz.journal import Change, Journal
from sekisho.rpz.records import CLIENT_OWNER, blocks, name_server, soa


class Content(Protocol):
    """The records of a zone below its apex."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def blocks(self, *, addresses: bool = True) -> Iterator[tuple[int, bytes]]:
        """All of them, in runs of at most `records.BLOCK` octets; what changes meanwhile is not in it.

        Without `addresses` all but the triggers on addresses in answers.
        """
        ...


class Few:
    """Content kept record by record: triggers on clients, which change one by one."""

    def __init__(self) -> None:
        self._records: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._records))

    def change(self, change: Change) -> None:
        for record in change.removed:
            self._records.pop(record, None)
        self._records.update(dict.fromkeys(change.added))

    def blocks(self, *, addresses: bool = True) -> Iterator[tuple[int, bytes]]:
        del addresses  # there are none
        return blocks(list(self._records))


@dataclass(frozen=True, slots=True)
class Timers:
    """Seconds of the SOA, and the TTL of records that have none of their own."""

    refresh: int = 60
    retry: int = 10
    expire: int = 7 * 86400
    ttl: int = 60


@dataclass(slots=True)
class Zone:
    """`origin` is the canonical wire name; `label` the name as text, for people and metrics."""

    origin: bytes
    label: str
    timers: Timers
    serial: int
    content: Content
    clients: bool = False
    """It holds triggers on clients."""
    journal: Journal = field(default_factory=Journal)

    def put(self, content: Content, change: Change | None, serial: int) -> None:
        """A new version. `change` None: it is not told apart from the one before, whose secondaries get all of it."""
        if change is None:
            self.journal.clear()
        else:
            self.journal.add(self.serial, change, len(content))
        self.content, self.serial = content, serial

    def soa(self, serial: int | None = None) -> bytes:
        times = self.timers
        chosen = self.serial if serial is None else serial
        return soa(self.origin, chosen, refresh=times.refresh, retry=times.retry, expire=times.expire, minimum=times.ttl)

    def frozen(self, *, addresses: bool = True) -> Iterator[tuple[int, bytes]]:
        """The records below the apex as they are now, whatever changes before they are read; `addresses` as of `Content.blocks`."""
        content = self.content
        return blocks(list(content)) if isinstance(content, Few) else content.blocks(addresses=addresses)

    def whole(self, *, addresses: bool = True) -> Iterator[tuple[int, bytes]]:
        """The records of a full transfer (RFC 5936 section 2.2), in runs."""
        apex = self.soa()
        first = apex + name_server(self.timers.ttl)
        runs = self.frozen(addresses=addresses)
        yield 2, first
        yield from runs
        yield 1, apex

    def since(self, serial: int, *, addresses: bool = True) -> Iterator[tuple[int, bytes]] | None:
        """The records of an incremental transfer from a version (RFC 1995 section 4), or None if only all of it helps."""
        change = self.journal.since(serial)
        if change is not None and not addresses:
            change = change.without_addresses()
        if change is None or len(change) > max(len(self.content), 1):
            return None
        return self._difference(serial, change, self.soa())

    def loses_clients(self, serial: int) -> bool:
        """Whether a trigger on clients went, or does otherwise, since a version; False too where the difference is not known."""
        change = self.journal.since(serial)
        return change is not None and any(self.clients or CLIENT_OWNER in record for record in change.removed)

    def _difference(self, serial: int, change: Change, apex: bytes) -> Iterator[tuple[int, bytes]]:
        yield 2, apex + self.soa(serial)
        yield from blocks(change.removed)
        yield 1, apex
        yield from blocks(change.added)
        yield 1, apex
