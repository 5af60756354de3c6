"""The plane's workers: threads around the compiled loop, and the watcher that swaps their tables.

Owns threads and descriptors. A worker enters `loop.serve`, which holds
no GIL, and leaves it only to take new tables or to stop; its desk and cache outlast the swap. A
worker that raises is counted, its batch is lost, and it goes on.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sekisho.drivers.scheduling import ask_for_short_slice
from sekisho.drivers.upstreamsockets import open_upstream, register, spread
from sekisho.drivers.workerfiles import Tables, WorkerFiles, enter_epoch
from sekisho.model.counters import Counter
from sekisho.plane import cache as packets
from sekisho.plane import worker as desks
from sekisho.plane.loop import KIND_LISTENER, KIND_UPSTREAM, KIND_WAKE, serve
from sekisho.snapshot import layout

_IP_PKTINFO, _IPV6_RECVPKTINFO = 8, 49
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_SO_RCVBUFFORCE, _RECEIVE_BUFFER = 33, 4 << 20
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """What the packet path is told at start. Times in seconds."""

    upstreams: tuple[tuple[str, int], ...]
    timeout: float = 2.0
    tries: int = 2
    proxy_protocol: bool = False
    scoped_cache: bool = False
    cache_bytes: int = 64 << 20
    """Bytes of packet cache of each worker."""
    max_stale: int = 86400
    stale_ttl: int = 30
    busy_poll: float = 0.0
    """How long a worker goes on looking for packets before it sleeps."""

    @property
    def longest_tries(self) -> int:
        """Tries a query has: each resolver's turn comes."""
        return max(self.tries, len(self.upstreams))


@dataclass(slots=True)
class UdpWorker:
    """One worker: its sockets, desk, cache, files and thread."""

    number: int
    sockets: Sequence[socket.socket]
    files: WorkerFiles
    settings: PlaneSettings
    on_death: Callable[[int, BaseException], None]
    tables: Tables | None = None
    desk: Any = None
    cache: Any = None
    counts: Any = None
    hits: Any = None
    stopping: bool = False
    _fitted: Tables | None = None
    """Those the worker's own files fit, which it serves by: others may be handed to it at any moment."""
    _measured: int = 0
    leaving: bool = False
    """Take nothing more from clients; answer what is outstanding."""
    deaf: bool = False
    """It has come about: the worker reads no listener any more."""
    _wake: int = -1
    _epoll: select.epoll | None = None
    _upstreams: list[socket.socket] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def prepare(self, tables: Tables) -> None:
        """Open what the worker needs. Raises UnavailableError if a resolver's address cannot be reached at all."""
        self.tables = tables
        self.desk = desks.make_desk()
        self.cache = packets.make_cache(self.settings.cache_bytes, secrets.randbits(62))
        self.counts = self.files.counts(self.number, tables.customers.rows)
        self.hits = self.files.hits(self.number)
        enter_epoch(self.counts, tables)
        self._fitted = tables
        each = spread(self.settings.upstreams, desks.MAX_SOCKETS)
        self._upstreams = [open_upstream(host, port) for host, port in self.settings.upstreams for _ in range(each)]
        self._configure(each)
        self._register()

    def start(self) -> None:
        # Alive from the first moment on: whoever waits for the plane to take a change waits for this worker too.
        self.counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
        self._thread = threading.Thread(target=self._run, name=f"plane-{self.number}", daemon=True)
        self._thread.start()

    def take(self, tables: Tables) -> None:
        """Swap the tables: the worker leaves its loop for the length of a few calls and goes on with these."""
        self.tables = tables
        self._signal()

    def leave(self) -> None:
        """Read no listener any more; what clients send waits in the sockets for another process."""
        self.leaving = True
        self._signal()

    @property
    def idle(self) -> bool:
        """Whether every query that was taken is answered, and no other will be taken."""
        return self.deaf and int(self.desk.cells[desks.C_FREE]) == desks.PENDING

    @property
    def sign_of_life(self) -> int:
        """Another at every turn of its loop, of which a worker makes two a second at least; the same when it stands still or is gone."""
        return int(self.counts.worker[layout.WORKER_HEARTBEAT])

    def stop(self) -> None:
        self.stopping = True
        self._signal()

    def join(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def measure_cache(self) -> None:
        """Bring the cache's gauges up to date: a pass over its index, left out while nothing was stored."""
        stored = int(self.desk.totals[int(Counter.CACHE_STORED)])
        if stored == self._measured:
            return
        self._measured = stored
        entries, used = packets.usage(self.cache)
        self.desk.totals[int(Counter.CACHE_ENTRIES)] = entries
        self.desk.totals[int(Counter.CACHE_BYTES)] = used

    def _signal(self) -> None:
        # By the descriptor alone: told by a flag besides, a worker that is awake may leave its loop before this is written,
        # and find it written, and no reason to leave, at every turn until the next time.
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        ask_for_short_slice()
        while not self.stopping:
            try:
                self._serve()
            except Exception as error:  # noqa: BLE001 - the boundary of a thread: a worker that dies is restarted and counted
                self.desk.totals[int(Counter.WORKER_RESTARTS)] += np.uint64(1)
                self.desk.queued[0] = 0
                self.on_death(self.number, error)
            self.desk.signal[desks.SIGNAL_RETURN] = 1 if self.stopping else 0
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            self._follow()
            if self.leaving and not self.deaf:
                self._close_ears()
        self.counts.worker[layout.WORKER_HEARTBEAT] = 0

    def _close_ears(self) -> None:
        if self._epoll is not None:
            for one in self.sockets:
                self._epoll.unregister(one.fileno())
        self.deaf = True

    def _follow(self) -> None:
        """Make the worker's own files fit the tables it goes on with."""
        tables = self.tables
        if tables is None:
            return
        self.counts = self.files.grown(self.number, tables.customers.rows, self.counts)
        enter_epoch(self.counts, tables)
        self._fitted = tables

    def _serve(self) -> None:
        tables = self._fitted
        if tables is not None:
            serve(
                tables.snapshot.tables.view, tables.customers.tables.view, tables.buckets, tables.key, tables.snapshot.epoch,
                self.cache.view, self.counts.view, self.hits.view, self.desk,
            )  # fmt: skip

    def _configure(self, each: int) -> None:
        settings = self.desk.settings
        settings[desks.S_TIMEOUT] = int(self.settings.timeout * _BILLION)
        settings[desks.S_TRIES] = self.settings.longest_tries
        settings[desks.S_MAX_STALE] = self.settings.max_stale
        settings[desks.S_STALE_TTL] = self.settings.stale_ttl
        settings[desks.S_PROXY] = int(self.settings.proxy_protocol)
        settings[desks.S_SCOPED] = int(self.settings.scoped_cache)
        settings[desks.S_SOCKETS] = each
        settings[desks.S_BUSY_POLL] = int(self.settings.busy_poll * _BILLION)
        settings[desks.S_UPSTREAMS] = len(self.settings.upstreams)

    def _register(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.desk.settings[desks.S_EPOLL] = self._epoll.fileno()
        register(self._epoll, self._wake, 0, KIND_WAKE)
        self.desk.listeners[:] = -1
        for number, one in enumerate(self.sockets):
            prepare_listener(one)
            self.desk.listeners[number] = one.fileno()
            start = number * desks.PROXY_ROW
            address = sockaddr(one)
            self.desk.proxies[start : start + len(address)] = np.frombuffer(address, np.uint8)
            register(self._epoll, one.fileno(), number, KIND_LISTENER)
        for number, one in enumerate(self._upstreams):
            self.desk.sockets[number] = one.fileno()
            register(self._epoll, one.fileno(), number, KIND_UPSTREAM)


def prepare_listener(one: socket.socket) -> None:
    """Non-blocking, a deep queue, answers that are not fragmented, and on a wildcard address the word which address was asked.

    Answers fit any path (`answer.UDP_SIZE`), so they carry DF as RFC 9715 asks; PROBE, because a forged ICMP
    message must not shrink them. It also spares the kernel an IP identification for each.
    """
    one.setblocking(False)
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    if one.family == socket.AF_INET:
        one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    host = one.getsockname()[0]
    if host == "0.0.0.0":  # noqa: S104 - a comparison
        one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    elif host == "::":
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)


def sockaddr(one: socket.socket) -> bytes:
    """The socket's own address, laid out as in a C sockaddr."""
    host, port = one.getsockname()[:2]
    start = int(one.family).to_bytes(2, "little") + int(port).to_bytes(2, "big")
    address = socket.inet_pton(one.family, host)
    return start + address + bytes(8) if one.family == socket.AF_INET else start + bytes(4) + address + bytes(4)
