"""What tests of sinks tell, and whom: a ledger in memory, and a receiver that fails as it is told."""

from __future__ import annotations

import asyncio

from sekisho.drivers.sinks import Sink, Transport
from sekisho.ledger.acts import encode
from sekisho.ledger.chain import genesis, link
from sekisho.model.errors import LedgerError, SinkError
from sekisho.model.events import OptOutAdded
from sekisho.model.eventtypes import WORDS

NOW = 1_700_000_000.0


class Record:
    """A ledger in memory, chained as the real one."""

    def __init__(self, count=0, start=0):
        self.events = []
        self.start = start
        self.broken = False
        for _ in range(count):
            self.add()

    def add(self, act=None):
        number = len(self.events) + 1
        act = act or OptOutAdded(f"c-{number % 3}", "c2", f"c-{number % 3}")
        before = self.events[-1].chain if self.events else genesis()
        self.events.append(link(before, number, round((NOW - 1000 + self.start + number) * 1e6), "uid:0(root)", act.kind, encode(act)))

    def erase(self, number):
        event = self.events[number - 1]
        self.events[number - 1] = type(event)(event.number, event.at_us, event.actor, event.kind, None, event.payload_digest, event.chain)

    def end(self):
        return len(self.events)

    def since(self, number, limit):
        if self.broken:
            raise LedgerError("the disk is gone")
        return self.events[number : number + limit]


class Receiver(Transport):
    """Takes what it is handed, or fails as it is told: before taking it, or after."""

    def __init__(self, batch=1):
        self.batch = batch
        self.got = []
        self.faults = []
        self.hang = None

    async def send(self, events, run):
        if self.hang is not None:
            await self.hang.wait()
        fault = self.faults.pop(0) if self.faults else None
        if fault == "lost":
            raise SinkError("no connection")
        self.got += [int(event["id"]) for event in events]
        if fault == "unanswered":
            raise SinkError("no answer")
        if fault is not None:
            raise fault

    async def close(self):
        pass


def sink_of(record, receiver, folder, *, name="desk", words=WORDS, from_now=False):
    return Sink(name, receiver, record, record.end, lambda: NOW, folder, "urn:sekisho", words, from_now=from_now)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)
