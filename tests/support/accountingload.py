"""RADIUS accounting at a rate: requests are told again after a time as an access server does, until each has its answer.

`python -m support.accountingload PORT RATE SECONDS SESSIONS BASE ROUND` is a process of its own, which tells of the sessions
`s0`, `s1`, ... of the customers `c0`, `c1`, ... with the addresses from BASE on, every packet with a Message-Authenticator,
and prints a line of JSON. Of a hundred packets 96 are Interim-Updates, two are Stops, and two are Starts of those logged in again.
`ROUND` tells the runs of one daemon from each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sekisho.drivers.sessionhistory import SessionHistory
from sekisho.model.customers import V4_MAPPED
from sekisho.sessions.changes import WHOLE, Held, Opened
from support.radius import INTERIM, START, STOP, Nas, attribute, integer, is_answer, octets, packet, told

AGAIN_AFTER = 3.0
"""Seconds after which an access server tells again."""
SOCKETS = 64
STRIDE = 7919
LOGINS = 50
"""One of so many sessions ends and begins anew when it is told of."""


@dataclass
class AccountingLoad:
    """What was sent to a port and what came back."""

    port: int
    signed: bool = False
    sent: int = 0
    again: int = 0
    took: list[float] = field(default_factory=list)
    """Seconds from when a request was sent first to its answer."""

    def run(self, bodies: Iterator[bytes], count: int, rate: float, patience: float = 300.0) -> float:
        """Seconds until all were answered, or until it has taken `patience` seconds longer than the rate."""
        nases = [Nas(self.port) for _ in range(SOCKETS)]
        poll = select.epoll()
        places = {}
        for index, one in enumerate(nases):
            one.socket.setblocking(False)
            poll.register(one.socket, select.EPOLLIN)
            places[one.socket.fileno()] = index
        waiting: dict[tuple[int, int], tuple[float, float, bytes]] = {}
        began = swept = time.monotonic()
        free = [(index, number) for number in range(256) for index in range(SOCKETS)]
        freed: list[tuple[int, int]] = []
        while self.sent < count or waiting:
            now = time.monotonic()
            due = min(count, int((now - began) * rate))
            while self.sent < due and (free or freed):
                if not free:
                    # Those that have waited longest come first.
                    free, freed = freed[::-1], []
                index, number = free.pop()
                request = packet(next(bodies), number, signed=self.signed)
                nases[index].socket.send(request)
                waiting[index, number] = now, now, request
                self.sent += 1
            for descriptor, _ in poll.poll(0.002):
                index = places[descriptor]
                with contextlib.suppress(BlockingIOError):
                    while True:
                        response = nases[index].socket.recv(4096)
                        found = waiting.get((index, response[1]))
                        # An answer to what was told again may come when the identifier is another request's.
                        if found is not None and is_answer(response, found[2]):
                            del waiting[index, response[1]]
                            self.took.append(time.monotonic() - found[0])
                            freed.append((index, response[1]))
            if now - swept > 0.5:
                swept = now
                for key, (first, last, request) in list(waiting.items()):
                    if now - last > AGAIN_AFTER:
                        self.again += 1
                        nases[key[0]].socket.send(request)
                        waiting[key] = first, now, request
            if now - began > count / rate + patience:
                break
        poll.close()
        for one in nases:
            one.close()
        return time.monotonic() - began

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the answers came."""
        took = sorted(self.took)
        return took[min(int(len(took) * share), len(took) - 1)] * 1e3


def write_sessions(path: Path, sessions: int, base: int) -> None:
    """The record of so many live sessions of NAS `bras`, as a daemon that ran before left it."""
    history, now = SessionHistory.open(path), time.time()
    history.start()
    for begin in range(0, sessions, 10_000):
        facts: list[Opened | Held] = []
        for number in range(begin, min(begin + 10_000, sessions)):
            facts.append(Opened(number + 1, "bras", f"s{number}", f"c{number}", f"c{number}", now, now, 0, 0, 0, True))
            facts.append(Held(number + 1, (V4_MAPPED | base + number) << 8 | 128, WHOLE, now))
        history.write(facts, lambda: None)
    asyncio.run(history.close())


def of_all(sessions: int, base: int, turn: str) -> Iterator[bytes]:
    """What access servers tell of so many sessions, without end: octets that grow, and now and then a log-out and a log-in."""
    names: dict[int, str] = {}
    number = 0
    while True:
        one = number * STRIDE % sessions
        number += 1
        user, where = f"c{one}", attribute(8, (base + one).to_bytes(4))
        if number % LOGINS:
            used = octets(number * 1000, number * 5000) + integer(46, 300 + number // sessions)
            yield told(INTERIM, names.get(one, f"s{one}"), user, where + used)
        else:
            yield told(STOP, names.get(one, f"s{one}"), user, where)
            names[one] = f"s{one}.{turn}.{number}"
            yield told(START, names[one], user, where)


def main() -> None:
    port, rate, seconds, sessions = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    load = AccountingLoad(port, signed=True)
    base = int(ipaddress.IPv4Address(sys.argv[5]))
    took = load.run(of_all(sessions, base, sys.argv[6]), max(1, int(rate * seconds)), rate)
    figures = {"p50": load.percentile(0.5), "p99": load.percentile(0.99), "longest": load.percentile(1.0)}
    print(json.dumps({"sent": load.sent, "answered": len(load.took), "again": load.again, "seconds": took} | figures))


if __name__ == "__main__":
    main()
