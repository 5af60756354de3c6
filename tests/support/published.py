"""Tables as a control plane publishes them, and workers on them without threads or sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sekisho.drivers.maps import Head, MappedSnapshot, map_customers, map_snapshot
from sekisho.drivers.tables import TableWriter
from sekisho.drivers.workerfiles import Tables, WorkerFiles, enter_epoch
from sekisho.model.customers import Prefix
from sekisho.plane.recording import publish
from sekisho.snapshot.build import build
from support.plane import (
    ALLOWED,
    CLAUSE,
    CUSTOMER,
    GARDEN,
    GROUNDS,
    KEY,
    MANDATORY_CLAUSE,
    PEOPLE,
    Plane,
    compile_entries,
    definition,
    entry,
    profile,
    query,
    rule,
)


class Site:
    """A control plane's tables and the planes that come and go on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = TableWriter(folder)
        self.publish(1)
        self.writer.replace_customers(PEOPLE, [Prefix.parse(ALLOWED)], 10)
        self.files = WorkerFiles(folder)
        self.planes: list[Plane] = []

    def publish(self, epoch: int, *, swapped: bool = False) -> None:
        lists = [compile_entries([entry("second.example")]), compile_entries([entry("sealed.example")])]
        rules = [rule(CLAUSE), rule(MANDATORY_CLAUSE, mandatory=True)]
        if swapped:
            rules.reverse()
        names = ["sealed", "open"] if swapped else ["open", "sealed"]
        definitions = [definition(order, sealed=name == "sealed") for order, name in enumerate(names)]
        held = list(zip(definitions, reversed(lists) if swapped else lists, strict=True))
        self.writer.publish_snapshot(build(epoch, held, [profile(*rules)], [], KEY, grounds=GROUNDS, garden=GARDEN), epoch)

    def snapshot(self) -> MappedSnapshot:
        return map_snapshot(self.folder, Head(self.folder).epoch, KEY)

    def worker(self, number: int = 0) -> Worker:
        return Worker(self, number)


class Worker:
    """A worker of the plane as its thread runs it, without the thread."""

    def __init__(self, site: Site, number: int) -> None:
        self.site = site
        customers = map_customers(site.folder, Head(site.folder).generation)
        self.plane = Plane(site.snapshot().tables, customers.tables, upstreams=1, sockets=1)
        site.planes.append(self.plane)
        self.plane.counts = site.files.counts(number, customers.rows)
        self.plane.hits = site.files.hits(number)
        self.take()

    def take(self) -> None:
        mapped = self.site.snapshot()
        customers = map_customers(self.site.folder, Head(self.site.folder).generation)
        enter_epoch(self.plane.counts, Tables(mapped, customers, self.plane.buckets, KEY))
        self.plane.snapshot, self.plane.customers, self.plane.epoch = mapped.tables, customers.tables, mapped.epoch

    def ask(self, *names: str, source: str = CUSTOMER) -> None:
        for name in names:
            self.plane.ask(query(name), source)
        publish(self.plane.counts.view, self.plane.desk)


@contextlib.contextmanager
def published(folder: Path) -> Iterator[Site]:
    """The tables of a site in `folder`, epoch 1."""
    with contextlib.ExitStack() as planes:
        one = Site(folder)
        yield one
        for plane in one.planes:
            planes.enter_context(plane)
