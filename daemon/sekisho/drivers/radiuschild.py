"""The process that listens for RADIUS: `python -m sekisho.drivers.radiuschild CONTROL SOCKET...`, descriptors all of them.

Started by `drivers.radius` alone. Owns receiving, proving and answering packets, so that thousands of them a second
take nothing from what the control plane does. A request is answered when the control plane says that what it tells is
on disk and in force, and not before; the same packet again is answered as it was, or not while the first is in
work (RFC 5080 section 2.2.2). What is kept of a packet is in memory that is there from the start (`drivers.radiusanswers`): nothing
grows by how many come, nor by how unevenly they do. While too much is in work nothing more is received: packets wait in the kernel,
and what finds no room there is counted and sent again by its NAS.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

from sekisho.drivers.processes import end_with_parent, keep_no_core
from sekisho.drivers.radiusanswers import Answers, key_of, source_of
from sekisho.drivers.radiusdecode import Decoder, Read, answer_to
from sekisho.drivers.radiusframes import LENGTH, ORDER, Row, counts_of, line_of, row_of
from sekisho.drivers.radiusrefused import Refused
from sekisho.model.sessions import AccountingFault, AccountingOutcome

IN_WORK = 8192
"""Requests in work at most."""
TOGETHER = 128
"""Packets received before the other sockets have their turn."""
TELL_EVERY = 0.5
MANY = 16
"""Requests in work from which on the next look at the sockets waits for `GATHER`."""
GATHER = 0.005
"""Seconds between two looks then. To look, and to tell the control plane, costs both as much as several packets do, and who waits for
the disk anyway waits hardly longer.
"""


class Listener:
    """What is done with packets."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.decoder: Decoder | None = None
        """None: no NAS is known yet."""
        self._sockets = sockets
        self._places = {one: place for place, one in enumerate(sockets)}
        self.answers = Answers()
        self.counts: dict[tuple[str, str], int] = {}
        self.refused = Refused()
        self._left: set[socket.socket] = set()
        """Those on which more waits, perhaps, than was taken of them at once."""

    @property
    def wants(self) -> bool:
        return self.decoder is not None and self.answers.in_work < IN_WORK

    def pause(self, since: float) -> float:
        """Seconds until the next look at the sockets, `since` seconds after the last."""
        return max(0.0, GATHER - since) if self.answers.in_work >= MANY and not self._left else 0.0

    def receive(self, one: socket.socket, now: float) -> list[Row]:
        """Take what waits on a socket; gives what is to be carried out. `now` is monotonic."""
        rows: list[Row] = []
        for _ in range(TOGETHER):
            try:
                data, source = one.recvfrom(4096)
            except (BlockingIOError, ConnectionRefusedError):
                self._left.discard(one)
                break
            row = self.take(one, data, source, now)
            if row is not None:
                rows.append(row)
        else:
            self._left.add(one)
        return rows

    def take(self, one: socket.socket, data: bytes, source: Any, now: float) -> Row | None:
        """Take one packet."""
        key = key_of(self._places[one], data, source)
        known = self.answers.find(key, now)
        if known is not None:
            self._count(known[0], AccountingOutcome.REPEATED)
            if known[1] is not None:
                _send(one, known[1], source)
            return None
        try:
            read = self.decoder.read(data, source[0], time.time()) if self.decoder is not None else Read(AccountingOutcome.UNKNOWN_NAS)
        except Exception:  # noqa: BLE001 - whatever a NAS may send, the others are listened to
            read = Read(AccountingOutcome.MALFORMED, why=AccountingFault.MALFORMED)
        if read.packet is None or read.told is None:
            self._count("other", read.outcome)
            if read.why is not None:
                self.refused.add(read.nas, source[0], read.why)
            if read.packet is not None:
                _send(one, answer_to(read.packet), source)
            return None
        return row_of(self.answers.expect(key, read.told.kind.value, answer_to(read.packet)), read.told)

    def done(self, tickets: list[int], now: float) -> None:
        """Answer what is on disk and in force. `now` is monotonic."""
        for ticket in tickets:
            given = self.answers.give(ticket, now)
            if given is None:
                continue
            key, kind, answer = given
            self._count(kind, AccountingOutcome.TAKEN)
            place, source = source_of(key)
            _send(self._sockets[place], answer, source)

    def dropped(self) -> int:
        """Packets the kernel had no room for on these sockets."""
        inodes = {os.fstat(one.fileno()).st_ino for one in self._sockets}
        lost = 0
        for table in ("/proc/net/udp", "/proc/net/udp6"):
            with contextlib.suppress(OSError):
                fields = [line.split() for line in Path(table).read_text("ascii").splitlines()[1:]]
                lost += sum(int(line[12]) for line in fields if int(line[9]) in inodes)
        return lost

    def _count(self, kind: str, outcome: str) -> None:
        self.counts[kind, str(outcome)] = self.counts.get((kind, str(outcome)), 0) + 1


def _send(one: socket.socket, answer: bytes, source: Any) -> None:
    # What the kernel does not take the NAS asks for again.
    with contextlib.suppress(OSError):
        one.sendto(answer, source)


def main() -> None:
    """Run until the control plane closes its end."""
    keep_no_core()
    end_with_parent()
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(True)
    sockets = [socket.socket(fileno=int(number)) for number in sys.argv[2:]]
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve(control, sockets, Listener(sockets))
    # Nothing is left to be tidied up.
    os._exit(0)


def _serve(control: socket.socket, sockets: list[socket.socket], listener: Listener) -> None:
    watched = selectors.DefaultSelector()
    watched.register(control, selectors.EVENT_READ)
    pending = bytearray()
    is_listening, told_at, told, looked_at = False, 0.0, (-1, -1), 0.0
    while True:
        # Until the first order nothing is known of any NAS; beyond what may be in work nothing more is received.
        if listener.wants != is_listening:
            is_listening = listener.wants
            for one in sockets:
                if is_listening:
                    watched.register(one, selectors.EVENT_READ)
                else:
                    watched.unregister(one)
        pause = listener.pause(time.monotonic() - looked_at)
        if pause:
            time.sleep(pause)
        rows: list[Row] = []
        looked_at = time.monotonic()
        for ready, _ in watched.select(TELL_EVERY):
            if ready.fileobj is control:
                received = control.recv(1 << 18)
                if not received:
                    return
                pending += received
                _obey(listener, pending)
            else:
                rows += listener.receive(ready.fileobj, time.monotonic())  # type: ignore[arg-type]
        if rows:
            control.sendall(line_of(told=rows))
        now = time.monotonic()
        if now - told_at >= TELL_EVERY:
            told_at = now
            dropped = listener.dropped()
            seen = (sum(listener.counts.values()), dropped)
            if seen != told:
                told = seen
                counts = listener.counts | {("other", str(AccountingOutcome.DROPPED)): dropped}
                control.sendall(line_of(seen=counts_of(counts), refused=listener.refused.take()))


def _obey(listener: Listener, pending: bytearray) -> None:
    """Carry out the frames of the control plane that are whole."""
    while len(pending) >= LENGTH.size:
        end = LENGTH.size + LENGTH.unpack_from(pending)[0]
        if len(pending) < end:
            return
        frame = bytes(pending[LENGTH.size : end])
        del pending[:end]
        if frame[:1] == ORDER:
            order = pickle.loads(frame[1:])  # noqa: S301 - from the daemon itself, by a socket of its own
            listener.decoder = Decoder(order.peers, order.rules)
        else:
            listener.done(json.loads(frame[1:]), time.monotonic())


if __name__ == "__main__":
    main()
