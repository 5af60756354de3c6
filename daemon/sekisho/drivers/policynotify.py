"""NOTIFY to secondaries (RFC 1996): a zone changed. Sent again until it is acknowledged or too often; a newer serial takes its place."""

from __future__ import annotations

import asyncio
import functools
import secrets
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import dns.tsig

from sekisho.model.observation import ZONE_NOTIFIES
from sekisho.rpz.zone import Zone

SENT, ACKNOWLEDGED, GIVEN_UP = ZONE_NOTIFIES
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds to wait for an answer before it is sent again; after the last it is given up until the next change."""
_NOTIFY = 4 << 11 | int(dns.flags.AA)


@dataclass(frozen=True, slots=True)
class Notified:
    """A secondary that is told, and where. `key`: what it is signed with."""

    id: str
    host: str
    port: int
    key: dns.tsig.Key | None


@dataclass(slots=True)
class Notifier:
    """Belongs to the loop that serves. `send` sends a datagram from an address that secondaries know as the primary's."""

    secondaries: tuple[Notified, ...]
    send: Callable[[bytes, str, int], None]
    pauses: tuple[float, ...] = PAUSES
    counts: Counter[str] = field(default_factory=Counter)
    """By one of ZONE_NOTIFIES."""
    _running: dict[tuple[str, bytes], asyncio.Task[None]] = field(default_factory=dict)
    _waiting: dict[int, tuple[Notified, bytes, asyncio.Future[None]]] = field(default_factory=dict)

    def changed(self, zone: Zone) -> None:
        """Tell everybody of the zone's newest version."""
        for one in self.secondaries:
            before = self._running.pop((one.id, zone.origin), None)
            if before is not None:
                before.cancel()
            task = asyncio.create_task(self._tell(one, zone.origin, zone.soa()))
            self._running[one.id, zone.origin] = task
            task.add_done_callback(functools.partial(self._ended, (one.id, zone.origin)))

    def answered(self, wire: bytes, host: str) -> None:
        """An answer came from an address: whose it is, if anybody's, needs no further NOTIFY."""
        if len(wire) < 12 or (wire[2] >> 3 & 15) != dns.opcode.NOTIFY:
            return
        found = self._waiting.get(int.from_bytes(wire[:2], "big"))
        if found is None or found[0].host != host or found[2].done():
            return
        if not wire[3] & 15:
            found[2].set_result(None)

    async def close(self) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: tuple[str, bytes], task: asyncio.Task[None]) -> None:
        if self._running.get(key) is task:
            del self._running[key]

    async def _tell(self, one: Notified, origin: bytes, apex: bytes) -> None:
        number = secrets.randbelow(1 << 16)
        while number in self._waiting:
            number = secrets.randbelow(1 << 16)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = one, origin, future
        try:
            for pause in self.pauses:
                self.send(notify(number, origin, apex, one.key), one.host, one.port)
                self.counts[SENT] += 1
                try:
                    async with asyncio.timeout(pause):
                        await asyncio.shield(future)
                except TimeoutError:
                    continue
                self.counts[ACKNOWLEDGED] += 1
                return
            self.counts[GIVEN_UP] += 1
        finally:
            del self._waiting[number]


def notify(number: int, origin: bytes, apex: bytes, key: dns.tsig.Key | None) -> bytes:
    """A NOTIFY with the zone's SOA, signed if there is a key."""
    wire = struct.pack("!HHHHHH", number, _NOTIFY, 1, 1, 0, 0) + origin + struct.pack("!HH", dns.rdatatype.SOA, 1) + apex
    if key is None:
        return wire
    signed = dns.message.from_wire(wire)
    signed.use_tsig(key)
    return signed.to_wire()
