"""NOTIFY to secondaries (RFC 1996): a zone changed. Sent again until it is acknowledged or too often; a newer serial takes its place.

An acknowledgement comes from where the NOTIFY went, and is signed if that was (RFC 8945 section 5.3): anybody can send a datagram in
the name of an address, and a secondary that was not told learns of a change at its next refresh.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import dns.tsig
import structlog

from sekisho.model.observation import ZONE_NOTIFIES
from sekisho.rpz.zone import Zone

log = structlog.get_logger("sekisho.control")

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
class _Told:
    """What one secondary was told of one zone, and is still to acknowledge. `macs`: of each time it was sent, where it is signed."""

    to: Notified
    future: asyncio.Future[None]
    macs: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Notifier:
    """Belongs to the loop that serves. `send` sends a datagram from an address that a secondary knows as the primary's; raises OSError."""

    secondaries: tuple[Notified, ...]
    send: Callable[[bytes, Notified], None]
    pauses: tuple[float, ...] = PAUSES
    counts: Counter[str] = field(default_factory=Counter)
    """By one of ZONE_NOTIFIES."""
    _running: dict[tuple[str, bytes], asyncio.Task[None]] = field(default_factory=dict)
    _waiting: dict[int, _Told] = field(default_factory=dict)
    _failing: set[str] = field(default_factory=set)
    """Secondaries nothing could be sent to the last time."""

    def changed(self, zone: Zone) -> None:
        """Tell everybody of the zone's newest version."""
        for one in self.secondaries:
            before = self._running.pop((one.id, zone.origin), None)
            if before is not None:
                before.cancel()
            task = asyncio.create_task(self._tell(one, zone.origin, zone.soa()))
            self._running[one.id, zone.origin] = task
            task.add_done_callback(functools.partial(self._ended, (one.id, zone.origin)))

    def answered(self, wire: bytes, host: str, port: int) -> None:
        """An answer came from an address and port: whose it is, if anybody's, needs no further NOTIFY."""
        if len(wire) < 12 or (wire[2] >> 3 & 15) != dns.opcode.NOTIFY or wire[3] & 15:
            return
        told = self._waiting.get(int.from_bytes(wire[:2], "big"))
        if told is None or (told.to.host, told.to.port) != (host, port) or told.future.done():
            return
        if told.to.key is None or any(_is_signed(wire, told.to.key, mac) for mac in told.macs):
            told.future.set_result(None)

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
        told = self._waiting[number] = _Told(one, asyncio.get_running_loop().create_future())
        try:
            for pause in self.pauses:
                wire, mac = notify(number, origin, apex, one.key)
                told.macs.append(mac)
                self._send(wire, one)
                try:
                    async with asyncio.timeout(pause):
                        await asyncio.shield(told.future)
                except TimeoutError:
                    continue
                self.counts[ACKNOWLEDGED] += 1
                return
            self.counts[GIVEN_UP] += 1
        finally:
            del self._waiting[number]

    def _send(self, wire: bytes, one: Notified) -> None:
        """What cannot be sent is tried again after the same pauses; that it cannot is told once, until it can."""
        try:
            self.send(wire, one)
        except OSError as error:
            if one.id not in self._failing:
                self._failing.add(one.id)
                log.warning("policy-notify-not-sent", secondary=one.id, host=one.host, port=one.port, error=error.strerror or str(error))
        else:
            self._failing.discard(one.id)
            self.counts[SENT] += 1


def notify(number: int, origin: bytes, apex: bytes, key: dns.tsig.Key | None) -> tuple[bytes, bytes]:
    """A NOTIFY with the zone's SOA, signed if there is a key, and its MAC."""
    wire = struct.pack("!HHHHHH", number, _NOTIFY, 1, 1, 0, 0) + origin + struct.pack("!HH", dns.rdatatype.SOA, 1) + apex
    if key is None:
        return wire, b""
    signed = dns.message.from_wire(wire)
    signed.use_tsig(key)
    return signed.to_wire(), signed.mac or b""


def _is_signed(wire: bytes, key: dns.tsig.Key, mac: bytes) -> bool:
    """Whether an answer is signed with the key, as one to the question of this MAC."""
    try:
        return dns.message.from_wire(wire, keyring={key.name: key}, request_mac=mac, ignore_trailing=True).had_tsig
    except (dns.exception.DNSException, ValueError):
        return False
