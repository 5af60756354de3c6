"""Listening for dnstap: a thread, the Unix socket, the resolvers' connections, and what was counted by customer.

Owns the thread, the descriptors and the handshake of Frame Streams, with senders that wait for an answer (READY, ACCEPT, START)
and such that do not (START). Of what is received only counts remain: a buffer is wiped once its frames are counted, and is
in no core file.
"""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import selectors
import socket
import threading
import time
from pathlib import Path

import numpy as np
import structlog

from sekisho.config.dnstap import Counted, DnstapSettings
from sekisho.dnstap.control import CONTENT_TYPE, Control, ControlError, ControlFrame, decode, encode
from sekisho.dnstap.frames import CONTROL, MOST, OVERSIZED
from sekisho.drivers.dnstapcount import TALLIES, count_frames
from sekisho.drivers.dnstapseen import Seen
from sekisho.drivers.dnstapwarm import get_ready
from sekisho.drivers.maps import Head, MappedCustomers, map_customers
from sekisho.model.dnstap import Ended
from sekisho.model.errors import TableError, UnavailableError

log = structlog.get_logger("sekisho.dnstap")

BEGIN_WITHIN = 10.0
"""Seconds a connection has to say what it sends."""
ROOM = 2 * MOST
"""Bytes received of a connection and not counted yet."""
_CONTROL_MOST = 1024
_TURN = 1.0
_BACKLOG = 64
_JOIN = 5.0

PAUSE = 0.05
"""Seconds until it is tried again to take a connection for which no descriptor was free: it stays ready all the while."""


class _Phase(enum.Enum):
    OPEN = enum.auto()
    """Nothing was said yet."""
    READY = enum.auto()
    """The sender was accepted and has not begun."""
    STARTED = enum.auto()


class _Stream:
    """One connection."""

    def __init__(self, connection: socket.socket, now: float) -> None:
        self.connection = connection
        self.since = now
        self.phase = _Phase.OPEN
        self.memory = mmap.mmap(-1, ROOM, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel that cannot
            self.memory.madvise(mmap.MADV_DONTDUMP)
        self.data = np.frombuffer(self.memory, np.uint8)
        self.filled = 0
        self.tallies = np.zeros(TALLIES, np.int64)

    def receive(self) -> bool:
        """Take what came; False: the other end is gone."""
        try:
            many = self.connection.recv_into(memoryview(self.memory)[self.filled :])
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        self.filled += many
        return many > 0

    def consume(self, many: int) -> None:
        """Wipe the first bytes, and move the rest to the front."""
        left = self.filled - many
        if many and left:
            self.data[:left] = self.data[many : self.filled].copy()
        if many:
            self.data[left : self.filled] = 0
        self.filled = left

    def say(self, frame: ControlFrame) -> None:
        # A few bytes into an empty buffer: what does not fit is said to somebody who does not listen.
        with contextlib.suppress(OSError):
            self.connection.send(encode(frame))

    def close(self) -> None:
        self.data[:] = 0
        self.connection.close()


class _EndedError(Exception):
    """A connection is over."""

    def __init__(self, why: Ended) -> None:
        super().__init__(why.value)
        self.why = why


class Tap:
    """A listener at the socket of `settings` that counts into `seen`; `folder` is that of the plane's tables."""

    def __init__(self, folder: Path, settings: DnstapSettings, seen: Seen) -> None:
        """Listen. Raises UnavailableError."""
        self._folder, self._settings, self._seen = folder, settings, seen
        self._responses = int(settings.count is Counted.RESPONSES)
        self._listener, self._identity = listen(settings)
        self._wake, self._woken = socket.socketpair()
        self._streams: dict[int, _Stream] = {}
        self._head: Head | None = None
        self._customers: MappedCustomers | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="dnstap", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop listening, and remove the socket. What was received is counted."""
        self._stopping = True
        self._wake.send(b"!")
        if self._thread.ident is not None:
            self._thread.join(_JOIN)
        self._wake.close()
        # Of a path that another daemon has taken since, nothing is removed.
        with contextlib.suppress(OSError):
            if _identity(self._settings.socket) == self._identity:
                self._settings.socket.unlink()

    def _run(self) -> None:
        get_ready()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                selector.register(self._woken, selectors.EVENT_READ)
                while not self._stopping:
                    ready = selector.select(_TURN)
                    now = time.monotonic()
                    self._follow()
                    for key, _ in ready:
                        if key.fileobj is self._listener:
                            self._accept(selector, now)
                        elif isinstance(key.data, _Stream):
                            self._take(selector, key.data)
                    for stream in list(self._streams.values()):
                        if stream.phase is not _Phase.STARTED and now - stream.since > BEGIN_WITHIN:
                            self._end(selector, stream, Ended.SILENT)
                for stream in list(self._streams.values()):
                    self._end(selector, stream, Ended.CLOSED)
        finally:
            self._listener.close()
            self._woken.close()

    def _follow(self) -> None:
        """Take up the customers' tables there are now, and make room for their rows."""
        with contextlib.suppress(TableError):
            self._head = self._head or Head(self._folder)
            generation = self._head.generation
            if self._customers is None or self._customers.generation != generation:
                self._customers = map_customers(self._folder, generation)
        rows, seen = self._customers.rows if self._customers is not None else 0, self._seen
        if rows > len(seen.queries):
            queries, balance = np.zeros(rows, np.uint32), np.zeros(rows, np.int32)
            queries[: len(seen.queries)], balance[: len(seen.balance)] = seen.queries, seen.balance
            seen.queries, seen.balance = queries, balance

    def _accept(self, selector: selectors.BaseSelector, now: float) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return  # who came has gone
        except OSError:
            time.sleep(PAUSE)
            return
        if len(self._streams) >= self._settings.connections:
            connection.close()
            self._seen.ended[Ended.CROWDED] += 1
            return
        connection.setblocking(False)
        stream = self._streams[connection.fileno()] = _Stream(connection, now)
        selector.register(connection, selectors.EVENT_READ, stream)

    def _take(self, selector: selectors.BaseSelector, stream: _Stream) -> None:
        """Count what came over a connection, or go on with its handshake."""
        if stream.connection.fileno() not in self._streams:
            return
        try:
            there = stream.receive()
            while self._step(stream):
                pass
        except _EndedError as ended:
            self._end(selector, stream, ended.why)
            return
        if not there:
            self._end(selector, stream, Ended.CUT)

    def _step(self, stream: _Stream) -> bool:
        """Deal with the frames at the front; whether there may be more. Raises _EndedError."""
        if stream.phase is _Phase.STARTED:
            before = stream.tallies.copy()
            customers = self._customers
            if customers is None:  # a daemon without tables, which cannot be: its queries are nobody's
                raise _EndedError(Ended.CLOSED)
            seen, tables = self._seen, customers.tables.view
            at, what = count_frames(stream.data, 0, stream.filled, tables, self._responses, seen.queries, seen.balance, stream.tallies)
            seen.tallies += stream.tallies - before
            stream.consume(at)
            if what == OVERSIZED:
                raise _EndedError(Ended.OVERSIZED)
            if what != CONTROL:
                return False
        try:
            found = decode(stream.data[: min(stream.filled, _CONTROL_MOST)].tobytes())
        except ControlError:
            raise _EndedError(Ended.DAMAGED) from None
        if found is None:
            return False
        frame, length = found
        stream.consume(length)
        self._obey(stream, frame)
        return True

    def _obey(self, stream: _Stream, frame: ControlFrame) -> None:
        """Do as a control frame says. Raises _EndedError."""
        match stream.phase, frame.type:
            case (_Phase.OPEN, Control.READY) if frame.fits:
                stream.say(ControlFrame(Control.ACCEPT, (CONTENT_TYPE,)))
                stream.phase = _Phase.READY
            case (_Phase.OPEN | _Phase.READY, Control.START) if frame.fits:
                stream.phase = _Phase.STARTED
                self._seen.streams += 1
                self._seen.changes += 1
            case (_Phase.OPEN | _Phase.READY, Control.READY | Control.START):
                raise _EndedError(Ended.REFUSED)
            case (_Phase.STARTED, Control.STOP):
                stream.say(ControlFrame(Control.FINISH))
                raise _EndedError(Ended.STOPPED)
            case _:
                raise _EndedError(Ended.DAMAGED)

    def _end(self, selector: selectors.BaseSelector, stream: _Stream, why: Ended) -> None:
        selector.unregister(stream.connection)
        del self._streams[stream.connection.fileno()]
        stream.close()
        self._seen.ended[why] += 1
        if stream.phase is _Phase.STARTED:
            self._seen.streams -= 1
            self._seen.changes += 1


def listen(settings: DnstapSettings) -> tuple[socket.socket, tuple[int, int]]:
    """A listening socket at the path, in place of one that nobody listens at any more, and its identity. Raises UnavailableError."""
    path = settings.socket
    if _is_answered(path):
        raise UnavailableError(f"somebody else listens at {path}; name another `socket` under `dnstap:`, or end that")
    if path.exists() and not path.is_socket():
        raise UnavailableError(f"{path} is there and is no socket; name another `socket` under `dnstap:`")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        # Nobody can connect before it listens, so nobody does while it is still anybody's.
        if settings.group is not None:
            os.chown(path, -1, settings.group)
        path.chmod(settings.mode)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener, _identity(path)
    except PermissionError as error:
        listener.close()
        raise UnavailableError(
            f"the dnstap socket {path} cannot be made ({error.strerror}); make its folder writable for the daemon, and the daemon a "
            "member of the `group` (SupplementaryGroups=)"
        ) from error
    except OSError as error:
        listener.close()
        raise UnavailableError(f"the dnstap socket {path} cannot be made ({error.strerror or error}); correct `dnstap:`") from error


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
