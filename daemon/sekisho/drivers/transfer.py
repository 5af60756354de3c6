"""Zones from a primary: the SOA check, AXFR and IXFR over TCP, signed with TSIG.

Owns the connection, its time-outs and limits, and the signatures (RFC 8945); dnspython signs and
verifies. What the records mean, and the order they come in, is `lists.zonetransfer`'s. A sealed
list is always transferred as a whole; every other one by differences where the primary has them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig
import numpy as np

from sekisho.drivers.feeds import TOTAL_FACTOR
from sekisho.drivers.listversions import Base
from sekisho.lists import idn
from sekisho.lists.compile import FeedReport, FeedResult, finish, guard_for, version_of
from sekisho.lists.delta import apply
from sekisho.lists.recordscan import record_starts
from sekisho.lists.rows import Tally
from sekisho.lists.scan import octets
from sekisho.lists.zonescan import WIDEST
from sekisho.lists.zonetransfer import Transferred, ZoneReader, query_serial
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, TsigKey
from sekisho.rpz.serials import newer
from sekisho.snapshot.digest import Key

_FUDGE = 300
_UNSIGNED = 99
"""Messages of a transfer that may come between two signed ones (RFC 8945 section 5.3.1)."""
_TSIG = 250
_SECRET = re.compile(r'secret\s+"?([A-Za-z0-9+/=]+)"?')


@dataclass(frozen=True, slots=True)
class Zone:
    """A transferred list with the serial it has: what the next incremental transfer starts from."""

    result: FeedResult
    serial: int


async def transfer(
    definition: ListDefinition,
    key: Key,
    base: Base | None,
    *,
    never_block: Collection[bytes] = (),
    full: bool = False,
    clock: Callable[[], float] = time.time,
    compiling: AbstractAsyncContextManager[object] | None = None,
) -> Zone | None:
    """Bring a zone up to date with its primary; None if it is. Raises FeedError.

    `full` asks for the whole zone, also where the primary's serial is not newer than ours. `compiling`: what is held while
    what came is compiled, on which the primary's time is not spent.
    """
    shown = f"zone {definition.zone} of {definition.source}"
    total = definition.timeout * TOTAL_FACTOR
    try:
        async with asyncio.timeout(total):
            compiled = await _transfer(definition, key, base, tuple(never_block), full=full, clock=clock)
    except TimeoutError:
        raise FeedError(
            f"{shown} gave nothing for {definition.timeout:g} s, or not all of it in {total:g} s; check the primary and the way to it"
        ) from None
    except FeedError as error:
        raise FeedError(f"{shown}: {error}") from None
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the primary broke off"
        raise FeedError(f"{shown}: {reason}; check that the primary is up and lets this host transfer the zone") from None
    if compiled is None:
        return None
    async with compiling or contextlib.nullcontext():
        return await asyncio.to_thread(compiled)


async def _transfer(
    definition: ListDefinition, key: Key, base: Base | None, never_block: tuple[bytes, ...], *, full: bool, clock: Callable[[], float]
) -> Callable[[], Zone] | None:
    """What compiles the zone that came; None if ours is the primary's."""
    zone = _zone_of(definition)
    signer = Signer(await asyncio.to_thread(load_tsig, definition.tsig)) if definition.tsig else None
    async with _connection(definition, signer, clock) as link:
        serial = query_serial(await link.ask_one(zone, dns.rdatatype.SOA), zone)
        if base is not None and not full:
            if serial == base.serial:
                return None
            if not newer(serial, base.serial):
                older = f"its serial {serial} is older than ours, {base.serial}"
                raise FeedError(f"{older}; if the primary was set back on purpose, refresh the list by hand")
        whole = base is None or full or definition.sealed
        guard = await asyncio.to_thread(guard_for, definition, key, never_block)
        tally = Tally(f"{definition.id} (transfer)", definition.sealed)
        if not whole and base is not None:
            try:
                return await _incremental(link, zone, definition, key, guard, tally, base)
            except FeedError:
                # Not every primary has differences or gets them right; the whole zone settles it.
                tally = Tally(tally.file, tally.sealed)
    async with _connection(definition, signer, clock) as link:
        reader = await link.read_zone(zone, ZoneReader(zone, tally))
        return functools.partial(_finished, reader, definition, key, guard)


async def _incremental(
    link: _Link, zone: bytes, definition: ListDefinition, key: Key, guard: Any, tally: Tally, base: Base
) -> Callable[[], Zone] | None:
    reader = await link.read_zone(zone, ZoneReader(zone, tally, asked=base.serial))
    match reader.outcome:
        case Transferred.CURRENT:
            return None
        case Transferred.FULL:
            return functools.partial(_finished, reader, definition, key, guard)
        case Transferred.DELTA:
            return functools.partial(_applied, reader, base, key, guard)


def _finished(reader: ZoneReader, definition: ListDefinition, key: Key, guard: Any) -> Zone:
    return Zone(finish(definition, reader.rows, key, guard, reader.tally), reader.serial)


def _applied(reader: ZoneReader, base: Base, key: Key, guard: Any) -> Zone:
    compiled = apply(base.compiled, reader.differences, key, guard, reader.tally)
    kinds = Counter(dict(base.report.kinds))
    kinds.update(reader.tally.unkept)
    kinds.subtract(reader.removed.unkept)
    kinds = +kinds
    report = FeedReport(
        entries=len(compiled),
        skipped=max(0, base.report.skipped + reader.tally.skipped - reader.removed.skipped),
        refused=max(0, base.report.refused + reader.tally.refused - reader.removed.refused),
        unkept=kinds.total(),
        faults=reader.tally.faults,
        version=version_of(compiled),
        kinds=tuple(kinds.most_common()),
    )
    return Zone(FeedResult(compiled, report), reader.serial)


def _secret_of(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except OSError as error:
        raise FeedError(f"the TSIG secret {path} cannot be read ({error.strerror}); make it readable for the daemon") from None
    except UnicodeDecodeError:
        return "?"


def load_tsig(key: TsigKey) -> dns.tsig.Key:
    """The key, its secret given or read from its file: base 64 alone, or a `key` clause as BIND's tools write it.

    Raises FeedError, never with the secret.
    """
    text, where = key.secret, f"of the key {key.name}"
    if text is None:
        text, where = _secret_of(key.secret_file), key.secret_file
    clause = _SECRET.search(text)
    try:
        secret = base64.b64decode(clause[1] if clause else "".join(text.split()), validate=True)
        if not secret:
            raise ValueError("no secret")  # noqa: TRY301 - one place says what is wrong with it
    except (binascii.Error, ValueError):
        raise FeedError(f"the TSIG secret {where} is not base 64; write the secret the primary has") from None
    return dns.tsig.Key(dns.name.from_text(key.name.lower()), secret, dns.name.from_text(key.algorithm))


class Signer:
    """Signs a question and verifies the messages of its answer, which are signed as one stream."""

    def __init__(self, key: dns.tsig.Key) -> None:
        self.key = key
        self._mac = b""
        self._context: Any = None
        self._unsigned = 0

    def sign(self, query: dns.message.Message) -> bytes:
        query.use_tsig(self.key, fudge=_FUDGE)
        wire = query.to_wire()
        self._mac, self._context, self._unsigned = query.mac or b"", None, 0
        return wire

    def verify(self, message: bytes, now: float) -> None:
        """Check one message of the answer. Raises FeedError."""
        starts = np.zeros(2, np.int64)
        if not record_starts(octets(message), starts, np.empty(WIDEST, np.uint8)):
            raise FeedError("the primary sent a message that is not well-formed")
        found = self._tsig(message, int(starts[1]))
        if found is None:
            self._unsigned += 1
            if self._context is None or self._unsigned > _UNSIGNED:
                raise FeedError("the primary's answer is not signed; give it the same TSIG key")
            self._context.update(message)
            return
        owner, rdata = found
        try:
            at = int(starts[1])
            self._context = dns.tsig.validate(message, self.key, owner, rdata, int(now), self._mac, at, self._context, multi=True)
        except dns.tsig.PeerBadTime:
            raise FeedError("the primary finds our clock wrong; set the clocks of both") from None
        except dns.tsig.BadTime:
            raise FeedError("the primary's clock and ours differ by more than 5 minutes; set them") from None
        except (dns.tsig.PeerError, dns.exception.DNSException):
            raise FeedError(f"the TSIG key {self.key.name} does not verify; name, algorithm and secret must be the primary's") from None
        self._unsigned = 0

    def close(self) -> None:
        """The stream ends: its last message must have been signed. Raises FeedError."""
        if self._unsigned:
            raise FeedError("the last message of the primary's answer is not signed")

    @staticmethod
    def _tsig(message: bytes, start: int) -> tuple[dns.name.Name, dns.rdtypes.ANY.TSIG.TSIG] | None:
        if not int.from_bytes(message[10:12], "big"):
            return None
        owner, size = dns.name.from_wire(message, start)
        at = start + size
        if int.from_bytes(message[at : at + 2], "big") != _TSIG:
            return None
        length = int.from_bytes(message[at + 8 : at + 10], "big")
        try:
            rdata = dns.rdata.from_wire(dns.rdataclass.ANY, dns.rdatatype.TSIG, message, at + 10, length)
        except (dns.exception.DNSException, ValueError):
            raise FeedError("the primary's TSIG record is not well-formed") from None
        assert isinstance(rdata, dns.rdtypes.ANY.TSIG.TSIG)  # noqa: S101 - by its type
        return owner, rdata


@dataclass(slots=True)
class _Link:
    """A TCP connection to the primary (RFC 7766): messages behind their two octets of length."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    definition: ListDefinition
    signer: Signer | None
    clock: Callable[[], float]
    received: int = field(default=0)

    async def ask_one(self, zone: bytes, rtype: dns.rdatatype.RdataType) -> bytes:
        """Ask a question of one answer message."""
        identity = await self._send(dns.message.make_query(_name(zone), rtype, flags=0))
        message = await self._receive(identity)
        if self.signer is not None:
            self.signer.close()
        return message

    async def read_zone(self, zone: bytes, reader: ZoneReader) -> ZoneReader:
        """Transfer the zone into a reader: incrementally if it asks for that."""
        if reader.asked is None:
            query = dns.message.make_query(_name(zone), dns.rdatatype.AXFR, flags=0)
        else:
            query = dns.message.make_query(_name(zone), dns.rdatatype.IXFR, flags=0)
            soa = dns.rdata.from_text("IN", "SOA", f". . {reader.asked} 0 0 0 0")
            query.find_rrset(query.authority, _name(zone), dns.rdataclass.IN, dns.rdatatype.SOA, create=True).add(soa, 0)
        identity = await self._send(query)
        while not await asyncio.to_thread(reader.feed, await self._receive(identity)):
            pass
        if self.signer is not None:
            self.signer.close()
        return reader

    async def _send(self, query: dns.message.Message) -> int:
        query.id = secrets.randbelow(1 << 16)
        wire = query.to_wire() if self.signer is None else self.signer.sign(query)
        self.writer.write(len(wire).to_bytes(2, "big") + wire)
        await self.writer.drain()
        return query.id

    async def _receive(self, identity: int) -> bytes:
        async with asyncio.timeout(self.definition.timeout):
            length = int.from_bytes(await self.reader.readexactly(2), "big")
            message = await self.reader.readexactly(length)
        self.received += length
        if self.received > self.definition.max_bytes:
            raise FeedError(f"it is larger than {self.definition.max_bytes} octets; set a larger `max_bytes` of the list if it should be")
        if length < 12 or int.from_bytes(message[:2], "big") != identity or not message[2] & 0x80:
            raise FeedError("the primary sent what is no answer to our question")
        if message[3] & 15 == 9 and self.signer is not None:
            raise FeedError(f"the primary refused the TSIG key {self.signer.key.name}; name, algorithm and secret must be the primary's")
        if self.signer is not None:
            self.signer.verify(message, self.clock())
        return message


@contextlib.asynccontextmanager
async def _connection(definition: ListDefinition, signer: Signer | None, clock: Callable[[], float]) -> AsyncIterator[_Link]:
    host, port = split_endpoint(definition.source)
    async with asyncio.timeout(definition.timeout):
        reader, writer = await asyncio.open_connection(host, port)
    try:
        yield _Link(reader, writer, definition, signer, clock)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def split_endpoint(text: str) -> tuple[str, int]:
    """`host`, `host:port` or `[address]:port`; port 53 if it is left out."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest.removeprefix(":") or 53)
    if text.count(":") > 1:
        return text, 53
    host, _, digits = text.partition(":")
    return host, int(digits or 53)


def _zone_of(definition: ListDefinition) -> bytes:
    try:
        return idn.to_wire(definition.zone or "")
    except ValueError:
        raise FeedError("`zone` of the list is no name; write the zone as the primary has it") from None


def _name(wire: bytes) -> dns.name.Name:
    return dns.name.from_wire(wire, 0)[0]
