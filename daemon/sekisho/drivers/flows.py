"""The collector of flow records: a thread around the compiled loop, its sockets, and what it hands over.

Owns the thread, the descriptors, the file of templates, the batches of usage and the reported blocks of ports. The loop holds no GIL. It
leaves it a few times a second, to follow the customers' tables, to take what came over TCP, and to hand over what was summed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from sekisho.config.flows import FlowExporter
from sekisho.drivers import flowskept
from sekisho.drivers.flowsetup import exporter_rows, prepare_socket
from sekisho.drivers.flowsloop import (
    EVENTS,
    I_EPOLL,
    KIND_LISTENER,
    KIND_WAKE,
    SIGNAL_RETURN,
    TOP,
    Sums,
    add_up,
    collect,
    count_used,
    harvest,
    make_inbox,
    make_sums,
)
from sekisho.drivers.maps import Head, MappedCustomers, map_customers
from sekisho.drivers.upstreamsockets import register
from sekisho.flows import layout
from sekisho.flows.decode import decode
from sekisho.flows.layout import Total
from sekisho.flows.natevents import wipe_blocks
from sekisho.flows.sessions import forget_connection
from sekisho.flows.shares import Shares, no_shares
from sekisho.model.errors import TableError
from sekisho.plane.memory import blank

log = structlog.get_logger("sekisho.flows")

TURN = 0.25
"""Seconds the loop goes on at most before it is left."""
QUEUED = 256
"""Messages that came over TCP and wait for the thread."""
BATCHES = 64
"""Batches that wait to be taken; if nobody takes them, what comes stays in the sums until there is room."""
_BILLION = 1_000_000_000
_SAVE_EVERY = 1.0
_SO_MEMINFO, _DROPS = 55, 8
_LOW = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What flows tell of customers since the batch before; all arrays of one length, a customer each.

    rows int64 (`tables.row_of`), down and up uint64 (octets), mail and connections uint32 (those they opened, and those to ports
    of mail among them), focused uint32: how many of the connections went to the most frequent of the buckets their targets
    fall in - near all where they are few, a fifth where they are many.
    """

    at: float
    """UNIX seconds of its end."""
    seconds: float
    rows: NDArray[np.int64]
    down: NDArray[np.uint64]
    up: NDArray[np.uint64]
    mail: NDArray[np.uint32]
    connections: NDArray[np.uint32]
    focused: NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class FlowView:
    """What is known of the exporters at one moment: copies."""

    sessions: NDArray[np.uint64]
    rates: NDArray[np.float64]
    templates: NDArray[np.int64]
    """Of each session, how many it has told and not withdrawn."""
    totals: NDArray[np.uint64]
    stranger: int = 0
    """The address refused last, in the 128-bit space; 0: none."""


@dataclass(slots=True)
class FlowCollector:
    """Collects on `sockets` (UDP, bound) for the customers of the tables in `folder`, until it is closed."""

    folder: Path
    file: Path
    """Where templates are kept over restarts."""
    exporters: Sequence[FlowExporter]
    interval: float
    sockets: Sequence[socket.socket] = ()
    shares: Shares = field(default_factory=no_shares)
    """Parts of shared addresses; another array takes its place from the next turn on."""
    view: FlowView | None = None
    _batches: deque[UsageBatch] = field(default_factory=deque)
    _blocks: deque[NDArray[np.uint64]] = field(default_factory=deque)
    _waiting: deque[tuple[int, int, bytes | None]] = field(default_factory=deque)
    _stopping: bool = False
    _desk: Any = None
    _inbox: Any = None
    _sums: Sums | None = None
    _key: int = 0
    _customers: MappedCustomers | None = None
    _head: Head | None = None
    _epoll: select.epoll | None = None
    _wake: int = -1
    _thread: threading.Thread | None = None
    _since: float = 0.0
    _saved: float = 0.0
    _drops: dict[int, int] = field(default_factory=dict)
    _failing: bool = False

    def start(self) -> None:
        self._desk = layout.make_desk(blank(1, layout.DESK))
        self._inbox = make_inbox()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inbox.settings[I_EPOLL] = self._epoll.fileno()
        register(self._epoll, self._wake, 0, KIND_WAKE)
        for number, one in enumerate(self.sockets[:EVENTS]):
            prepare_socket(one)
            self._inbox.listeners[number] = one.fileno()
            register(self._epoll, one.fileno(), number, KIND_LISTENER)
        self._thread = threading.Thread(target=self._run, name="flows", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, write what is kept, and close the sockets. Batches not taken yet can be taken afterwards."""
        self._stopping = True
        self._signal()
        if self._thread is not None:
            self._thread.join(10.0)
        for one in self.sockets:
            one.close()
        if self._epoll is not None:
            self._epoll.close()
            os.close(self._wake)
            self._epoll = None

    def batches(self) -> list[UsageBatch]:
        """What was summed since this was asked last."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._batches.popleft())
        return taken

    def port_blocks(self) -> list[NDArray[np.uint64]]:
        """Blocks of ports that CGNs reported since this was asked, in their order: rows of `layout.B_WORDS`. Who takes them wipes them."""
        return [self._blocks.popleft() for _ in range(len(self._blocks))]

    def put(self, address: int, port: int, message: bytes | None) -> bool:
        """Hand over a message that came over TCP, None for the end of the connection; False: not now, too many wait."""
        if message is not None and len(self._waiting) >= QUEUED:
            return False
        self._waiting.append((address, port, message))
        self._signal()
        return True

    def _signal(self) -> None:
        if self._inbox is not None and self._epoll is not None:
            os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        try:
            self._configure()
        except TableError as error:
            log.warning("flow-templates-lost", error=str(error))
        self._since = time.monotonic()
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:  # the boundary of a thread: a fault of ours must not end it unseen
                if not self._failing:
                    log.exception("flow-collector-failed", kind=type(error).__name__)
                self._failing = True
                self._wipe()
                time.sleep(TURN)
        with contextlib.suppress(Exception):
            self._tidy(True)

    def _configure(self) -> None:
        rows, rates, interfaces = exporter_rows(self.exporters)
        desk = self._desk
        desk.exporters[:], desk.defaults[:], desk.interfaces[:] = rows, rates, interfaces
        desk.cells[layout.C_EXPORTERS] = len(self.exporters)
        flowskept.load(self.file, desk)

    def _turn(self) -> None:
        """Go round the loop until it is time for something else, and do that."""
        if not self._follow():
            time.sleep(TURN)
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._inbox.signal[SIGNAL_RETURN] = 1 if self._stopping or self._waiting else 0
        until = time.monotonic_ns() + int(TURN * _BILLION)
        collect(self._desk, self._inbox, self._tables, *self._columns, self.shares, np.uint64(self._key), until)
        self._lay_out_blocks()
        self._take_messages()
        self._tidy(self._stopping)
        self._failing = False

    @property
    def _tables(self) -> Any:
        return self._customers.tables.view if self._customers is not None else None

    @property
    def _columns(self) -> Sums:
        return self._sums if self._sums is not None else make_sums(0)

    def _follow(self) -> bool:
        """Have the customers' tables in force; False: there are none yet."""
        try:
            self._head = self._head or Head(self.folder)
            generation = self._head.generation
            if self._customers is None or self._customers.generation != generation:
                self._customers = map_customers(self.folder, generation)
        except TableError:
            self._head = None if self._customers is None else self._head
            return self._customers is not None
        if self._sums is None or len(self._sums[0]) < self._customers.rows:
            self._sums = make_sums(self._customers.rows + self._customers.rows // 4, self._sums)
        return True

    def _take_messages(self) -> None:
        now = int(time.time())
        for _ in range(min(len(self._waiting), QUEUED)):
            address, port, message = self._waiting.popleft()
            high, low = np.uint64(address >> 64), np.uint64(address & _LOW)
            if message is None:
                forget_connection(self._desk, high, low, port)
                continue
            self._inbox.packets[: len(message)] = np.frombuffer(message, np.uint8)
            decode(self._desk, self._inbox.packets, 0, len(message), high, low, port, 1, now)
            add_up(self._desk, self._tables, *self._columns, self.shares, np.uint64(self._key))
            self._inbox.packets[: len(message)] = 0
            self._lay_out_blocks()

    def _lay_out_blocks(self) -> None:
        """Have the blocks of ports that were reported ready to be taken, unless too many are; then they wait where they are."""
        many = int(self._desk.cells[layout.C_BLOCKS])
        if many and len(self._blocks) < QUEUED:
            reported = self._desk.blocks[:many].copy()
            wipe_blocks(self._desk, 0)
            self._blocks.append(reported)

    def _wipe(self) -> None:
        """Forget the packets and records that were in work."""
        self._desk.cells[[layout.C_RECORDS, layout.C_BLOCKS]] = 0
        for buffer in (self._desk.records, self._desk.blocks, self._desk.values, self._inbox.packets):
            buffer[:] = 0

    def _tidy(self, last: bool) -> None:
        now = time.monotonic()
        if last or (now - self._since >= self.interval and len(self._batches) < BATCHES):
            self._hand_over(now)
        self._count_drops()
        if flowskept.make_room(self._desk):
            log.warning("flow-sessions-dropped", kept=int(self._desk.cells[layout.C_SESSIONS]))
        if self._desk.cells[layout.C_DIRTY] and (now - self._saved >= _SAVE_EVERY or last):
            self._save(now)
        self.view = self._look()

    def _save(self, now: float) -> None:
        self._desk.cells[layout.C_DIRTY], self._saved = 0, now
        try:
            flowskept.save(self.file, self._desk)
        except OSError as error:
            self._desk.cells[layout.C_DIRTY] = 1
            if not self._failing:
                log.error("flow-templates-not-kept", file=str(self.file), error=error.strerror)  # noqa: TRY400 - the sentence says it all
            self._failing = True

    def _hand_over(self, now: float) -> None:
        seconds, self._since = now - self._since, now
        if self._sums is None:
            return
        down, up, mail, opened, targets = self._sums
        many = count_used(down, up, opened)
        if not many:
            return
        kinds = (np.int64, np.uint64, np.uint64, np.uint32, np.uint32, np.uint32)
        arrays = [np.zeros(many, kind) for kind in kinds]
        harvest(down, up, mail, opened, targets, *arrays, np.zeros(TOP, np.int64))
        # Under another key the same target falls into another bucket: windows tell nothing of each other.
        self._key = secrets.randbits(64)
        self._batches.append(UsageBatch(time.time(), seconds, *arrays))

    def _count_drops(self) -> None:
        for one in self.sockets:
            told = one.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
            if len(told) > 4 * _DROPS:
                drops = struct.unpack_from("=I", told, 4 * _DROPS)[0]
                more = (drops - self._drops.get(one.fileno(), 0)) & 0xFFFFFFFF
                self._drops[one.fileno()] = drops
                self._desk.totals[Total.DROPPED] += np.uint64(more)

    def _look(self) -> FlowView:
        desk = self._desk
        rows = np.flatnonzero(desk.sessions[:, layout.S_KEY] > layout.GONE)
        owners = desk.templates[:, layout.T_KEY] >> 16
        told = np.bincount(owners[owners > 0] - 1, minlength=layout.SESSIONS)
        high, low = (int(desk.cells[cell]) & _LOW for cell in (layout.C_STRANGER_HIGH, layout.C_STRANGER_LOW))
        return FlowView(desk.sessions[rows], desk.rates[rows], told[rows], desk.totals.copy(), high << 64 | low)
