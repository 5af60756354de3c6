"""The life of the data plane: wait for tables, compile, serve, follow the tables, stop.

Owns the order of these, and the watcher, which tells the service manager's watchdog that the plane lives: while all workers
turn, and not for itself alone. It never answers before lists and customers are there, and
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

from sekisho.app import plane_began, plane_sockets
from sekisho.app.plane_turns import Turns
from sekisho.config.packets import PacketSettings
from sekisho.drivers.durable import write_file
from sekisho.drivers.listkey import find_key
from sekisho.drivers.maps import Head, MappedCustomers, MappedSnapshot, map_customers, map_snapshot
from sekisho.drivers.notify import Notifier
from sekisho.drivers.planebanks import Bank
from sekisho.drivers.planeworkers import PlaneSettings, UdpWorker
from sekisho.drivers.processes import spawn
from sekisho.drivers.sharedfiles import WANTED, make_folder
from sekisho.drivers.tcpcontext import TcpContext, TcpSettings
from sekisho.drivers.tcpserver import TcpServer
from sekisho.drivers.warmup import load, warm_up
from sekisho.drivers.workerfiles import Tables, WorkerFiles, enter_epoch
from sekisho.model.errors import TableError, UnavailableError
from sekisho.plane.worker import make_desk
from sekisho.snapshot import layout

_SWITCH = 0.0005
"""Seconds after which a thread of Python gives way to another that waits. A worker that takes new tables needs its turn a few
times, and answers nobody until it had them: with the 5 ms of every other process, TCP clients at work made that 5 ms and more."""
_POLL = 0.1
"""Seconds between looks at the head file; an opt-out does not wait for it, it is a store into a mapped table."""
_START_POLL = 0.01
"""The same before the first tables are there: every answer waits for them."""
_WAIT_NOTE = 5.0
_JOIN = 2.0
_REFUSED_FOR = 2.0
"""Seconds before tables that were refused are tried again."""
_GRACE = 1.0
"""Seconds the resolvers have to answer what is outstanding when the plane stops: what comes in meanwhile waits for the next plane."""
_TCP_GRACE = 5.0
"""Seconds TCP clients have to come to a pause when another plane serves already; longer if the resolvers may take longer."""


class PlaneProcess:
    """The data plane of one site."""

    def __init__(self, settings: PacketSettings, notifier: Notifier) -> None:
        self._settings = settings
        self._notifier = notifier
        self._folder = settings.runtime / "plane"
        self._log = structlog.get_logger("plane")
        self._workers: list[UdpWorker] = []
        self._turns = Turns()
        self._standing: list[int] = []
        """Workers that stood still when they were last looked at, by number."""
        self._stop = asyncio.Event()
        self._succeeded = False

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises SekishoError if it cannot start."""
        sys.setswitchinterval(_SWITCH)
        sockets, otherwise = plane_sockets.open_sockets(self._settings)
        for one in otherwise:
            self._log.warning("sockets-differ", reason=one)
        try:
            make_folder(self._folder)
            bank = Bank(self._folder)
        except OSError as error:
            raise UnavailableError(
                f"the folder {self._folder} cannot be used ({error.strerror}); make it writable for the plane"
            ) from error
        plane_sockets.tell(self._folder, otherwise)
        self._files = WorkerFiles(self._folder, bank.first)
        self._tables, _ = await asyncio.gather(self._first_tables(), self._compile())
        self._make_workers(sockets)
        tcp = self._make_tcp()
        # Compiling may take long, and what was acknowledged meanwhile is to be in force with the first answer.
        await self._follow_head()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGUSR1, self._on_succeeded)
        await tcp.start([one for name, one in sockets.items() if name.startswith("tcp")])
        for worker in self._workers:
            worker.start()
        # Not before: until here the one before it may be the one that serves.
        plane_began.tell(self._folder, self._settings)
        epoch = self._tables.snapshot.epoch
        self._notifier.ready(f"answering; epoch {epoch}, {len(self._workers)} workers")
        self._log.info("answering", epoch=epoch, workers=len(self._workers))
        await self._watch()
        self._notifier.stopping()
        await self._leave(tcp)
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            await asyncio.to_thread(worker.join, _JOIN)
        self._log.info("left")

    def _on_stop(self) -> None:
        self._succeeded = False
        self._stop.set()

    def _on_succeeded(self) -> None:
        """Another plane serves: there is time to leave in."""
        self._succeeded = True
        self._stop.set()

    async def _leave(self, tcp: TcpServer) -> None:
        """Read no listener any more, and answer what was taken: for as long as it takes if another plane serves, else briefly."""
        for worker in self._workers:
            worker.leave()
        began = time.monotonic()
        patience = max(_TCP_GRACE, self._plane_settings.timeout * (self._plane_settings.longest_tries + 1))
        while self._succeeded and time.monotonic() - began < patience:
            tcp.leave()
            if not tcp.connections and all(worker.idle for worker in self._workers):
                break
            await self._follow_head()
            await asyncio.sleep(_POLL)
        await tcp.stop()
        while not all(worker.idle for worker in self._workers) and time.monotonic() - began < _GRACE:
            await self._follow_head()
            await asyncio.sleep(_POLL)

    _tables: Tables
    """The tables in force; set before anything is served."""

    async def _first_tables(self) -> Tables:
        """Wait for a control plane to publish."""
        noted, asked = time.monotonic(), False
        while True:
            why, named = "sekishod has published none yet", (0, 0)
            try:
                head = Head(self._folder)
                # Made by sekishod where none is handed over, and never here: under systemd the plane cannot write there.
                key = find_key(self._settings.state)
                named = (head.epoch, head.generation) if key else (0, 0)
                if key and all(named):
                    self._key = key
                    self._head = head
                    return await asyncio.to_thread(self._map, *named, None)
            except TableError as error:
                why = str(error)
            # Once: what ails them may be no damage but a key that is not theirs, which writing them anew does not mend.
            if all(named) and not asked and (self._head.epoch, self._head.generation) == named:
                asked = True
                self._log.error("tables refused, and none are in force yet; sekishod is asked to write them anew", reason=why)
                with contextlib.suppress(OSError):
                    write_file(self._folder / WANTED, b"")
            if time.monotonic() - noted > _WAIT_NOTE:
                noted = float("inf")
                self._log.warning("waiting for lists and customers; nothing is answered until then", reason=why)
                self._notifier.status(f"waiting for lists and customers: {why}")
            await asyncio.sleep(_START_POLL)

    def _map(self, epoch: int, generation: int, before: Tables | None) -> Tables:
        """Map what is not yet mapped. Raises TableError."""
        snapshot: MappedSnapshot | None = before.snapshot if before and before.snapshot.epoch == epoch else None
        customers: MappedCustomers | None = before.customers if before and before.customers.generation == generation else None
        customers = customers or map_customers(self._folder, generation)
        snapshot = snapshot or map_snapshot(self._folder, epoch, self._key, resident=True)
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
            busy_poll=settings.busy_poll,
        )
        self._plane_settings = plane
        for number in sorted(by_worker):
            worker = UdpWorker(number, by_worker[number], self._files, plane, self._on_death)
            worker.prepare(tables)
            self._workers.append(worker)

    async def _compile(self) -> None:
        """Load the packet path, compiled before if need be, while the tables are waited for; say so when it takes time.

        A process of its own compiles it: what a compiler needs of memory is not to stay here.
        """
        if await asyncio.to_thread(load):
            return
        start = time.monotonic()
        task = asyncio.create_task(self._compile_aside())
        told = False
        while not task.done():
            await asyncio.wait({task}, timeout=2.0)
            if not task.done():
                told = True
                self._progress(f"first start compiles the packet path, half a minute or more: {time.monotonic() - start:.0f} s")
        await task
        if told:
            self._progress(f"compiled in {time.monotonic() - start:.0f} s; later starts load it")

    async def _compile_aside(self) -> None:
        child = spawn((sys.executable, "-P", "-m", "sekisho.app.plane", "--compile"), os.environ)
        await asyncio.to_thread(os.waitpid, child, 0)
        # Whatever became of it: what is missing yet, a folder that cannot be written included, is compiled here.
        await asyncio.to_thread(warm_up)

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
        context.counts = self._files.grown(len(self._workers), tables.customers.rows, context.counts)
        enter_epoch(context.counts, tables)
        context.tables = _bundle(tables)

    async def _watch(self) -> None:
        """Follow the head file, keep the gauges, tell the watchdog, until told to stop."""
        measured = 0.0
        while not self._stop.is_set():
            await self._follow_head()
            if time.monotonic() - measured > 1:
                measured = time.monotonic()
                for worker in self._workers:
                    worker.measure_cache()
                self._tell_watchdog()
            # Not a wait for `stop` with a time-out, which costs ten times as much.
            await asyncio.sleep(_POLL)

    def _tell_watchdog(self) -> None:
        """Tell it that the plane lives, unless a worker stands still: without that one part of the queries has no answer for good."""
        still = self._turns.look({worker.number: worker.sign_of_life for worker in self._workers})
        for number in still:
            if number not in self._standing:
                self._log.error("a worker stands still, and the watchdog is told nothing until it turns", worker=number)
        for number in self._standing:
            if number not in still:
                self._log.warning("a worker that stood still turns again", worker=number)
        self._standing = still
        if not still:
            self._notifier.watchdog()

    _refused = (0, 0)
    """Epoch and generation that could not be taken."""
    _again_at = 0.0
    """When they are tried again, on the monotonic clock: what ails them may be a disk that is full."""

    async def _follow_head(self) -> None:
        """Take the tables the head file names now, unless they are in force or were refused a moment ago."""
        tables = self._tables
        named = self._head.epoch, self._head.generation
        if named == (tables.snapshot.epoch, tables.customers.generation):
            return
        if named != self._refused or time.monotonic() >= self._again_at:
            await self._follow(*named, tables)

    async def _follow(self, epoch: int, generation: int, before: Tables) -> None:
        """Take new tables, or say in the counts that they are refused."""
        try:
            tables = await asyncio.to_thread(self._map, epoch, generation, before)
        except TableError as error:
            if (self._head.epoch, self._head.generation) == (epoch, generation):
                self._refuse(epoch, generation, before, str(error))
            return
        if (self._head.epoch, self._head.generation) != (epoch, generation):
            return  # the one was read before, the other after both were changed: they are not of one configuration
        self._tables = tables
        for worker in self._workers:
            worker.take(tables)
        self._follow_tcp(tables)
        self._log.info("tables taken", epoch=epoch, generation=generation)

    def _refuse(self, epoch: int, generation: int, before: Tables, reason: str) -> None:
        """The last good tables stay in force."""
        for worker in self._workers:
            worker.counts.worker[layout.WORKER_REFUSED_EPOCH] = 0 if epoch == before.snapshot.epoch else epoch
            worker.counts.worker[layout.WORKER_REFUSED_GENERATION] = 0 if generation == before.customers.generation else generation
        if self._refused != (epoch, generation):
            self._log.error("tables refused, the last good ones stay in force", epoch=epoch, generation=generation, reason=reason)
        self._refused, self._again_at = (epoch, generation), time.monotonic() + _REFUSED_FOR

    def _on_death(self, number: int, error: BaseException) -> None:
        self._log.error("a worker failed on a packet and goes on", worker=number, kind=type(error).__name__)


def _bundle(tables: Tables) -> tuple[Any, Any, Any, Any, int]:
    return tables.snapshot.tables, tables.customers.tables, tables.buckets, tables.key, tables.snapshot.epoch
