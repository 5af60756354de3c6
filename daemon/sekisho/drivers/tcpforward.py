"""Forwarding over TCP: a question to the resolvers, tried in turn, and the answer that is believed.

Owns the tries, their time-outs and their counts, as `plane.forward` does for UDP. There is no cache
here, so nothing stale to fall back to: when every try failed the answer is SERVFAIL.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Sequence

import numpy as np

from sekisho.drivers.tcpcontext import TcpSettings
from sekisho.drivers.tcpupstream import Health, Pool
from sekisho.drivers.tcpverdict import Judge, Query, Reply, opt_of
from sekisho.model.counters import Counter
from sekisho.plane.answer import EDE_NETWORK, SERVFAIL
from sekisho.plane.asking import Outcome
from sekisho.plane.wire import AD, CD, HEADER, RD
from sekisho.snapshot.layout import Snapshot

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_STREAM4, _STREAM6 = b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24"


def proxy_header(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    """The PROXY v2 header of a TCP connection from `source` to `target` (haproxy's proxy-protocol.txt, section 2.2)."""
    here, there = _address(source[0]), _address(target[0])
    if here.version != there.version:  # a socket for both families
        here, there = (one if one.version == 6 else ipaddress.IPv6Address(f"::ffff:{one}") for one in (here, there))
    ports = source[1].to_bytes(2, "big") + target[1].to_bytes(2, "big")
    return _SIGNATURE + (_STREAM4 if here.version == 4 else _STREAM6) + here.packed + there.packed + ports


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def make_question(head: bytes, flags: int, dnssec: int) -> bytes:
    """The query for a resolver, less its id: the client's question as spelled, RD and CD, DO, and AD set."""
    counts = b"\x00\x01\x00\x00\x00\x00\x00\x01"
    return b"\0\0" + (flags & (RD | CD) | AD).to_bytes(2, "big") + counts + head[HEADER:] + opt_of(dnssec)


class Forwarder:
    """Asks the resolvers for every client of one server."""

    def __init__(self, judge: Judge, addresses: Sequence[tuple[str, int]], settings: TcpSettings) -> None:
        self._judge, self._settings, self._addresses = judge, settings, tuple(addresses)
        self._health = Health(len(self._addresses))
        self._shared = self._pool(settings.upstream_connections, b"")
        self._pending = 0

    def pool_for(self, source: tuple[str, int], target: tuple[str, int]) -> Pool:
        """The connections for one client's connection: its own where the resolver is told who asks."""
        if not self._settings.proxy_protocol:
            return self._shared
        return self._pool(1, proxy_header(source, target))

    async def leave(self, pool: Pool) -> None:
        """The client's connection ended."""
        if pool is not self._shared:
            self._note_unexpected(pool)
            await pool.close()

    async def close(self) -> None:
        await self._shared.close()

    async def answer(self, pool: Pool, query: Query, high: np.uint64, low: np.uint64) -> tuple[Outcome, bytes, Snapshot | None]:
        """The answer for the client at an address: the resolver's, that of a list which holds something in it, or SERVFAIL.

        CHASE: what decided is the judge's `match` until it is asked again, on the snapshot returned.
        """
        reply = await self.resolve(pool, query.head, query.flags, query.dnssec)
        if reply is None:
            return Outcome.ANSWER, self.give_up(query), None
        outcome, answer, tables = self._judge.rule_on_answer(query, reply, high, low)
        if outcome is Outcome.FORWARD:
            return Outcome.ANSWER, self._judge.dress(query, reply), None
        return outcome, answer, tables[0]

    def give_up(self, query: Query) -> bytes:
        """No resolver answered (RFC 8914 section 4.24)."""
        self._judge.count(Counter.UPSTREAM_SERVFAIL)
        return self._judge.error(query, SERVFAIL, EDE_NETWORK)

    async def resolve(self, pool: Pool, head: bytes, flags: int, dnssec: int) -> Reply | None:
        """The resolvers' answer to the question of `head`, or None when every try failed or too many queries wait."""
        if self._pending >= self._settings.pending:
            self._judge.count(Counter.PENDING_FULL)
            return None
        self._pending += 1
        try:
            return await self._try_each(pool, head, make_question(head, flags, dnssec))
        finally:
            self._pending -= 1
            self._note_unexpected(pool)

    async def _try_each(self, pool: Pool, head: bytes, question: bytes) -> Reply | None:
        judge, number = self._judge, -1
        for _ in range(self._settings.tries):
            previous, number = number, self._health.choose(time.monotonic(), number)
            if previous not in (-1, number):
                judge.count(Counter.UPSTREAM_FAILOVERS)
            judge.count(Counter.UPSTREAM_SENT)
            started = time.monotonic_ns()
            try:
                async with asyncio.timeout(self._settings.timeout):
                    message = await pool.ask(number, question)
            except TimeoutError:
                judge.count(Counter.UPSTREAM_TIMEOUTS)
                self._health.failed(number, time.monotonic())
            except OSError:
                self._health.refused(number, time.monotonic())
            else:
                reply = judge.check(head, message, time.monotonic_ns() - started)
                if reply is not None:
                    judge.count(Counter.UPSTREAM_ANSWERED)
                    self._health.answered(number)
                    return reply
                judge.count(Counter.UPSTREAM_MISMATCHED)
                self._health.failed(number, time.monotonic())
        return None

    def _pool(self, size: int, header: bytes) -> Pool:
        settings = self._settings
        return Pool(self._addresses, size, settings.upstream_idle, settings.timeout / 2, header)

    def _note_unexpected(self, pool: Pool) -> None:
        for _ in range(pool.take_unexpected()):
            self._judge.count(Counter.UPSTREAM_MISMATCHED)
