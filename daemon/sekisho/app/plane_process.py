"""The life of the data plane: wait for tables, compile, serve, follow the tables, stop.

Owns the order of these, and the watcher. It never answers before lists and customers are there, and
a table that is damaged is refused: the one in force stays, and the refusal is told in the counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import Any

import structlog

from sekisho.config.settings import Settings
from sekisho.drivers.listeners import bind_listeners, name_listeners
from sekisho.drivers.listkey import load_key
from sekisho.drivers.maps import Head, MappedCustomers, MappedSnapshot, map_customers, map_snapshot
from sekisho.drivers.notify import Notifier, inherited_sockets
from sekisho.drivers.planeworkers import PlaneSettings, Tables, UdpWorker, WorkerFiles, enter_epoch
from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.drivers.tcpserver import TcpServer
from sekisho.drivers.warmup import warm_up
from sekisho.model.errors import TableError
from sekisho.plane.worker import make_desk
from sekisho.snapshot import layout

_POLL = 0.02
"""Seconds between looks at the head file; an opt-out does not wait for it, it is a store into a mapped table."""
_WAIT_NOTE = 5.0
_JOIN = 2.0


class PlaneProcess:
    """The data plane of one site."""

    def __init__(self, settings: Settings, notifier: Notifier) -> None:
        self._settings = settings
        self._notifier = notifier
        self._folder = settings.runtime / "plane"
        self._files = WorkerFiles(self._folder)
        self._log = structlog.get_logger("plane")
        self._workers: list[UdpWorker] = []
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises SekishoError if it cannot start."""
        sockets = self._sockets()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = load_key(self._settings.state)
        self._tables, _ = await asyncio.gather(self._first_tables(), self._compile())
        self._make_workers(sockets)
        tcp = self._make_tcp()
        # Compiling may take long, and what was acknowledged meanwhile is to be in force with the first answer.
        refused = await self._follow_head()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await tcp.start([one for name, one in sockets.items() if name.startswith("tcp")])
        for worker in self._workers:
            worker.start()
        epoch = self._tables.snapshot.epoch
        self._notifier.ready(f"answering; epoch {epoch}, {len(self._workers)} workers")
        self._log.info("answering", epoch=epoch, workers=len(self._workers))
        await self._watch(refused)
        self._notifier.stopping()
        await tcp.stop()
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            await asyncio.to_thread(worker.join, _JOIN)

    def _sockets(self) -> dict[str, Any]:
        """The sockets by name: inherited from systemd or `sekisho run`, else bound here."""
        found = dict(name_listeners(one.open() for one in inherited_sockets()))
        if found:
            return found
        count = self._settings.workers or len(os.sched_getaffinity(0))
        return dict(bind_listeners([(one.host, one.port) for one in self._settings.listen], count))

    _tables: Tables
    """The tables in force; set before anything is served."""

    async def _first_tables(self) -> Tables:
        """Wait for a control plane to publish."""
        noted = time.monotonic()
        while True:
            with contextlib.suppress(TableError):
                head = Head(self._folder)
                if head.epoch and head.generation:
                    self._head = head
                    return self._map(head.epoch, head.generation, None)
            if time.monotonic() - noted > _WAIT_NOTE:
                noted = float("inf")
                self._log.warning("waiting for sekishod to publish lists and customers; nothing is answered until then")
                self._notifier.status("waiting for sekishod to publish lists and customers")
            await asyncio.sleep(_POLL)

    def _map(self, epoch: int, generation: int, before: Tables | None) -> Tables:
        """Map what is not yet mapped. Raises TableError."""
        snapshot: MappedSnapshot | None = before.snapshot if before and before.snapshot.epoch == epoch else None
        customers: MappedCustomers | None = before.customers if before and before.customers.generation == generation else None
        customers = customers or map_customers(self._folder, generation)
        snapshot = snapshot or map_snapshot(self._folder, epoch, self._key)
        return Tables(snapshot, customers, self._files.budgets(customers.rows), self._key)

    def _make_workers(self, sockets: dict[str, Any]) -> None:
        settings, tables = self._settings, self._tables
        by_worker: dict[int, list[Any]] = {}
        for name, one in sockets.items():
            kind, _, rest = name.partition("-")
            if kind == "udp":
                by_worker.setdefault(int(rest.split("-")[1]), []).append(one)
        shared = settings.cache.shared if settings.cache.shared is not None else not settings.upstream.proxy_protocol
        plane = PlaneSettings(
            upstreams=tuple((one.host, one.port) for one in settings.upstream.addresses),
            timeout=settings.upstream.timeout,
            proxy_protocol=settings.upstream.proxy_protocol,
            scoped_cache=not shared,
            cache_bytes=settings.cache.mib * (1 << 20) // max(1, len(by_worker)),
            max_stale=int(settings.cache.max_stale),
        )
        self._plane_settings = plane
        for number in sorted(by_worker):
            worker = UdpWorker(number, by_worker[number], self._files, plane, self._on_death)
            worker.prepare(tables)
            self._workers.append(worker)

    async def _compile(self) -> None:
        """Compile the packet path, or load it, while the tables are waited for; say so when it takes time."""
        start = time.monotonic()
        task = asyncio.create_task(asyncio.to_thread(warm_up))
        told = False
        while not task.done():
            await asyncio.wait({task}, timeout=2.0)
            if not task.done():
                told = True
                self._progress(f"first start compiles the packet path, half a minute or more: {time.monotonic() - start:.0f} s")
        await task
        if told:
            self._progress(f"compiled in {time.monotonic() - start:.0f} s; later starts load it")

    def _progress(self, text: str) -> None:
        """Tell it to whoever started us: the service manager, which shows it, or else a person."""
        if os.environ.get("NOTIFY_SOCKET"):
            self._notifier.status(text)
        else:
            sys.stderr.write(f"sekisho-plane: {text}\n")
            sys.stderr.flush()

    def _make_tcp(self) -> TcpServer:
        tables, plane = self._tables, self._plane_settings
        number = len(self._workers)
        counts = self._files.counts(number, tables.customers.rows)
        counts.worker[layout.WORKER_ROLE] = 1
        enter_epoch(counts, tables)
        self._tcp_context = TcpContext(tables=_bundle(tables), counts=counts, hits=self._files.hits(number), desk=make_desk())
        settings = TcpSettings(timeout=plane.timeout, proxy_protocol=plane.proxy_protocol)
        return TcpServer(self._tcp_context, plane.upstreams, settings)

    def _follow_tcp(self, tables: Tables) -> None:
        """The TCP side's swap: its counts first, so that an epoch never counts in the half of another."""
        context = self._tcp_context
        if tables.customers.rows > len(context.counts.customers):
            context.counts = self._files.counts(len(self._workers), tables.customers.rows, context.counts)
        enter_epoch(context.counts, tables)
        context.tables = _bundle(tables)

    async def _watch(self, refused: int) -> None:
        """Follow the head file, keep the gauges, pat the watchdog, until told to stop."""
        measured = 0.0
        while not self._stop.is_set():
            refused = await self._follow_head(refused)
            if time.monotonic() - measured > 1:
                measured = time.monotonic()
                for worker in self._workers:
                    worker.measure_cache()
                self._notifier.watchdog()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _POLL)

    async def _follow_head(self, refused: int = 0) -> int:
        """Take the tables the head file names now, unless they are in force or `refused`; returns the epoch refused, or 0."""
        tables = self._tables
        epoch, generation = self._head.epoch, self._head.generation
        if (epoch, generation) == (tables.snapshot.epoch, tables.customers.generation) or epoch == refused:
            return refused
        return await self._follow(epoch, generation, tables)

    async def _follow(self, epoch: int, generation: int, before: Tables) -> int:
        """Take new tables; returns the epoch that was refused, or 0."""
        try:
            tables = await asyncio.to_thread(self._map, epoch, generation, before)
        except TableError as error:
            if (self._head.epoch, self._head.generation) != (epoch, generation):
                return 0
            for worker in self._workers:
                worker.counts.worker[layout.WORKER_REFUSED_EPOCH] = epoch
            self._log.error("tables refused, the last good ones stay in force", epoch=epoch, reason=str(error))
            return epoch
        if (self._head.epoch, self._head.generation) != (epoch, generation):
            return 0  # the one was read before, the other after both were changed: they are not of one configuration
        self._tables = tables
        for worker in self._workers:
            worker.take(tables)
        self._follow_tcp(tables)
        self._log.info("tables taken", epoch=epoch, generation=generation)
        return 0

    def _on_death(self, number: int, error: BaseException) -> None:
        self._log.error("a worker failed on a packet and goes on", worker=number, kind=type(error).__name__)


def _bundle(tables: Tables) -> tuple[Any, Any, Any, Any, int]:
    return tables.snapshot.tables, tables.customers.tables, tables.buckets, tables.key, tables.snapshot.epoch
