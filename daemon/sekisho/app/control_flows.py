"""Flow records in the control plane: the collector of the configuration in force, and where its sums go.

Owns which collector runs and when it is changed. It is opened once the tables are in force; where it cannot be, the daemon says
why and tries again, and does without. Who is told of usage is `Traffic`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from sekisho.app.control_flowshares import FlowShares
from sekisho.app.control_portblocks import PortBlocks
from sekisho.app.control_traffic import Traffic
from sekisho.config.flows import FlowSettings
from sekisho.config.values import Endpoint
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.flows import BlockOutcome, FlowFault
from sekisho.model.observation import FlowObservation
from sekisho.model.usage import Source

log = structlog.get_logger("sekisho.flows")

Json = dict[str, Any]
FILE = "flow-templates"
"""Below the state folder: templates and sampling rates, which exporters tell only now and then."""
TICK = 0.5
_RETRY = 5.0


class Flows:
    """The flow records of one site; `folder` is that of the plane's tables."""

    def __init__(
        self, folder: Path, state: Path, taker: Traffic | None = None, shares: FlowShares | None = None, blocks: PortBlocks | None = None
    ) -> None:
        """`shares`: whose the ports of shared addresses are; None: nobody says. `blocks`: who takes what CGNs report of that."""
        self._shares, self._blocks = shares, blocks
        self._folder, self._file, self._taker = folder, state / FILE, taker
        self._settings: FlowSettings | None = None
        self._collector: Any = None
        self._streams: Any = None
        self._bound: list[str] = []
        self._retry_at = 0.0
        self._changing = asyncio.Lock()
        self._before = np.zeros(0, np.uint64)
        """What collectors that were replaced had counted."""
        self.error: str | None = None
        self.octets = 0
        """Of customers, both directions, since the start."""
        self.batches = 0

    def want(self, settings: FlowSettings | None) -> None:
        """Collect as `settings` say from the next tick on: a start does not wait for what may have to be compiled first."""
        self._settings = settings
        if self._blocks is not None:
            self._blocks.adopt(settings)

    async def adopt(self, settings: FlowSettings | None) -> None:
        """Collect as `settings` say, or not at all. Raises nothing: what fails is told and tried again."""
        async with self._changing:
            if settings == self._settings and self._collector is not None:
                return
            await self._close()
            self.want(settings)
            if settings is not None:
                await self._open(settings)

    async def tick(self, now: float) -> None:
        """Hand on what was summed; open again what could not be."""
        collector = self._collector
        if collector is not None:
            await self._hand_on(collector)
            if self._collector is collector:
                await self._share(collector, anew=False)
        elif self._settings is not None and now >= self._retry_at and not self._changing.locked():
            async with self._changing:
                self._retry_at = now + _RETRY
                await self._open(self._settings)

    async def _share(self, collector: Any, *, anew: bool) -> None:
        shares = await self._shares.changed(anew=anew) if self._shares is not None else None
        if shares is not None:
            collector.shares = shares

    async def close(self) -> None:
        """Stop collecting; what was summed is handed on."""
        async with self._changing:
            await self._close()

    async def _close(self) -> None:
        if self._streams is not None:
            await self._streams.close()
        if self._collector is not None:
            await asyncio.to_thread(self._collector.close)
            await self._hand_on(self._collector)
            totals = self._totals()
            self._before = totals
        self._streams = self._collector = None
        if self._shares is not None:
            self._shares.forget()
        self._bound, self.error = [], None

    async def _hand_on(self, collector: Any) -> None:
        """Octets at once, blocks of ports in turns: the collector may be closed and replaced meanwhile."""
        reported = collector.port_blocks()
        for batch in collector.batches():
            self.batches += 1
            self.octets += int(batch.down.sum()) + int(batch.up.sum())
            if self._taker is not None:
                self._taker.add(
                    Source.FLOWS,
                    batch.at,
                    batch.rows,
                    batch.down,
                    batch.up,
                    batch.mail,
                    connections=batch.connections,
                    focused=batch.focused,
                )
        if self._blocks is not None:
            await self._blocks.take(reported)

    async def _open(self, settings: FlowSettings) -> None:
        # Imported for a site that has exporters: it brings compiled code.
        from sekisho.drivers import flowswarm  # noqa: PLC0415
        from sekisho.drivers.flows import FlowCollector  # noqa: PLC0415
        from sekisho.drivers.flowstcp import FlowStreams  # noqa: PLC0415

        sockets: list[socket.socket] = []
        try:
            datagrams = [_bind(one, socket.SOCK_DGRAM, sockets) for one in settings.listen]
            streams = [_bind(one, socket.SOCK_STREAM, sockets) for one in settings.listen_tcp]
        except OSError as error:
            for one in sockets:
                one.close()
            self._failed(f"flow records cannot be received ({error.strerror or error}); correct `flows:`, or free the address")
            return
        if not await asyncio.to_thread(flowswarm.load):
            child = flowswarm.start_compiling()
            await asyncio.to_thread(os.waitpid, child, 0)
        collector = FlowCollector(self._folder, self._file, settings.exporters, settings.interval, datagrams)
        await self._share(collector, anew=True)
        collector.start()
        self._streams = FlowStreams(collector, within([one.address for one in settings.exporters]))
        await self._streams.start(streams)
        self._collector = collector
        self._bound = [f"{Endpoint(*one.getsockname()[:2])}/{_KINDS[one.type]}" for one in sockets]
        if self.error is not None:
            log.info("flow-collector-recovered")
        self.error = None

    def _failed(self, sentence: str) -> None:
        if self.error != sentence:
            log.error("flow-collector-unavailable", error=sentence)
        self.error = sentence

    def _totals(self) -> NDArray[np.uint64]:
        view = self._collector.view if self._collector is not None else None
        if view is None:
            return self._before
        found: NDArray[np.uint64] = view.totals + self._before if len(self._before) else view.totals
        return found

    def warnings(self) -> list[str]:
        return [self.error] if self.error is not None else []

    def body(self) -> Json:
        """The answer to `sekisho flows show`."""
        from sekisho.flows import layout  # noqa: PLC0415

        view = self._collector.view if self._collector is not None else None
        totals = self._totals() if len(self._totals()) else np.zeros(layout.TOTALS, np.uint64)
        return {
            "configured": self._settings is not None,
            "listening": self._bound,
            "error": self.error,
            "exporters": _exporters(view) if view is not None else [],
            "totals": {one.name.lower(): int(totals[one]) for one in layout.Total},
            "bad": _faults(totals[layout.FAULTS :]),
            "stranger": _address(view.stranger) if view is not None and view.stranger else None,
            "blocks": self._block_counts(totals),
            "batches": self.batches,
            "octets": self.octets,
        }

    def observation(self) -> FlowObservation | None:
        """What the exporters of metrics may tell; None without a configuration."""
        if self._settings is None:
            return None
        from sekisho.flows import layout  # noqa: PLC0415
        from sekisho.flows.layout import Total  # noqa: PLC0415

        totals = self._totals() if len(self._totals()) else np.zeros(layout.TOTALS, np.uint64)
        view = self._collector.view if self._collector is not None else None
        return FlowObservation(
            packets=int(totals[Total.PACKETS]),
            records=int(totals[Total.RECORDS]),
            nobody=int(totals[Total.NOBODY]),
            shared=int(totals[Total.SHARED]),
            unusable=int(totals[Total.UNUSABLE]),
            lost=int(totals[Total.LOST]),
            gaps=int(totals[Total.GAPS]),
            early=int(totals[Total.EARLY]),
            dropped=int(totals[Total.DROPPED]),
            faults=_faults(totals[layout.FAULTS :]),
            blocks=self._block_counts(totals),
            sessions=len(view.sessions) if view is not None else 0,
            failing=self.error is not None,
        )

    def _block_counts(self, totals: NDArray[np.uint64]) -> dict[str, int]:
        """Records of NATs' events by `BlockOutcome`: what the collector could not use, and what became of the others."""
        from sekisho.flows.layout import Total  # noqa: PLC0415

        read = {BlockOutcome.PASSED: Total.NAT_PASSED, BlockOutcome.UNUSABLE: Total.NAT_UNUSABLE, BlockOutcome.LOST: Total.NAT_LOST}
        known = self._blocks.counts if self._blocks is not None else {}
        return {one.value: known.get(one, 0) + (int(totals[read[one]]) if one in read else 0) for one in BlockOutcome}


_KINDS = {socket.SOCK_DGRAM: "udp", socket.SOCK_STREAM: "tcp"}


def within(prefixes: list[Prefix]) -> Callable[[int], bool]:
    """Whether an address of the 128-bit space is in one of the prefixes."""
    return lambda address: any(one.value >> 128 - one.length == address >> 128 - one.length for one in prefixes)


def _bind(endpoint: Endpoint, kind: socket.SocketKind, opened: list[socket.socket]) -> socket.socket:
    """A socket, put among the `opened`. Raises OSError."""
    one = socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, kind)
    opened.append(one)
    with contextlib.suppress(OSError):
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if endpoint.host == "::" else 1)
    if kind == socket.SOCK_STREAM:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((endpoint.host, endpoint.port))
    if kind == socket.SOCK_STREAM:
        one.listen(64)
    return one


def _address(number: int) -> str:
    if number >> 32 == V4_MAPPED >> 32:
        return str(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(number))


def _faults(counted: NDArray[np.uint64]) -> dict[str, int]:
    return {fault.value: int(counted[place]) for place, fault in enumerate(FlowFault)}


def _exporters(view: Any) -> list[Json]:
    """Exporters by address, version and domain, whatever ports they send from."""
    from sekisho.flows import layout  # noqa: PLC0415

    found: dict[tuple[str, str, str, int], Json] = {}
    order = np.argsort(view.sessions[:, layout.S_SEEN], kind="stable")
    for place in order.tolist():
        one = _session(view.sessions[place], float(view.rates[place]), int(view.templates[place]))
        known = found.setdefault((one["address"], one["transport"], one["version"], one["domain"]), one)
        if known is not one:
            for name in _ADDED:
                known[name] += one[name]
            known["bad"] = {name: known["bad"].get(name, 0) + one["bad"].get(name, 0) for name in known["bad"] | one["bad"]}
            known["ports"] = (one["ports"] + known["ports"])[:_MOST_PORTS]
            known["sampling"] = one["sampling"] or known["sampling"]
            known["seen"] = one["seen"] or known["seen"]
            known["since"] = min(known["since"] or math.inf, one["since"] or math.inf)
            known["since"] = None if known["since"] == math.inf else known["since"]
    return [found[key] for key in sorted(found)]


_ADDED = ("templates", "packets", "records", "gaps", "lost", "late", "restarts", "early")
_MOST_PORTS = 8


def _session(row: NDArray[np.uint64], rate: float, told: int) -> Json:
    """One session: an exporter, by address, port, version and domain."""
    from sekisho.flows import layout  # noqa: PLC0415

    key = int(row[layout.S_KEY])
    seen, since = int(row[layout.S_SEEN]), int(row[layout.S_SINCE])
    return {
        "address": _address(int(row[layout.S_HIGH]) << 64 | int(row[layout.S_LOW])),
        "ports": [key & 0xFFFF],
        "transport": "tcp" if key >> 16 & 1 else "udp",
        "version": {5: "netflow5", 9: "netflow9", 10: "ipfix"}[key >> 24 & 0xFF],
        "domain": key >> 32,
        "allowed": bool(row[layout.S_EXPORTER]),
        "templates": int(told),
        "sampling": float(rate) or None,
        "packets": int(row[layout.S_PACKETS]),
        "records": int(row[layout.S_RECORDS]),
        "gaps": int(row[layout.S_GAPS]),
        "lost": int(row[layout.S_LOST]),
        "late": int(row[layout.S_LATE]),
        "restarts": int(row[layout.S_RESTARTS]),
        "early": int(row[layout.S_EARLY]),
        "bad": {name: count for name, count in _faults(row[layout.S_FAULTS :]).items() if count},
        "since": since or None,
        "seen": seen or None,
    }
