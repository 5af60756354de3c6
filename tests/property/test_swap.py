"""Tables that change under readers: a verdict is of one snapshot, whole, and never an exception.

The readers are threads in compiled code, which holds no GIL, and map the tables as the plane does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sekisho.drivers.maps import Head, MappedCustomers, MappedSnapshot, map_customers, map_snapshot
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import Prefix
from sekisho.model.errors import TableError
from sekisho.plane.addresses import find_customer
from sekisho.plane.names import PRINT_WORDS
from sekisho.plane.verdict import R_LIST, R_ROW, R_RULE, R_SLOTS, decide
from sekisho.snapshot.build import build
from support.plane import KEY, START, address, at, compile_entries, definition, entry, profile, rule, wire

NAME = "www.listed.example"
EPOCHS = 40


def snapshot_of(epoch: int) -> bytearray:
    """Of odd epochs list 0 holds the name, of even ones list 1; every epoch has a clause of its own, and other sizes."""
    filler = [entry(f"host-{number}.example") for number in range(epoch % 50 * 7)]
    held, other = compile_entries([entry("listed.example"), *filler]), compile_entries(filler)
    lists = [held, other] if epoch % 2 else [other, held]
    terms = profile(*(rule(f"clause-{epoch}-{order}") for order in range(2)))
    return build(epoch, [(definition(order), one) for order, one in enumerate(lists)], [terms], [], KEY)


class Reader:
    """One reader's work space."""

    def __init__(self) -> None:
        self.lower, self.labels = np.zeros(264, np.uint8), np.zeros(130, np.int64)
        octets = wire(NAME)
        self.lower[: len(octets)] = np.frombuffer(octets, np.uint8)
        self.labels[1], self.labels[2] = 4, 11
        self.work = (np.zeros(130, np.uint64), np.zeros(130, np.int64), np.zeros((130, PRINT_WORDS), np.uint64))
        self.ruling = np.zeros(R_SLOTS, np.int64)
        self.buckets = np.zeros(10_000, np.uint64)

    def ask(self, snapshot: MappedSnapshot, customers: MappedCustomers, source: tuple[Any, Any]) -> int:
        tables = snapshot.tables.view, customers.tables.view, self.buckets, KEY
        return int(
            decide(
                *tables,
                find_customer(customers.tables.view, *source),
                *source,
                self.lower,
                self.labels,
                3,
                START,
                True,
                False,
                *self.work,
                self.ruling,
            )
        )


@contextmanager
def readers(work: Callable[[], None], count: int = 3) -> Iterator[list[BaseException]]:
    """Threads that do the work over and over while the block runs; what they raised is raised behind it."""
    stop, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for failure in failures:
        raise failure


def test_no_reader_ever_sees_a_verdict_of_two_snapshots(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    writer.publish_snapshot(snapshot_of(1), 1)
    writer.replace_customers([CustomerRow("customer", at("192.0.2.1"), 3, 0)], [], 1)
    customers, source = map_customers(tmp_path, 1), address("192.0.2.1")
    head = Head(tmp_path)
    local, seen = threading.local(), set[int]()
    enough = threading.Event()

    def look() -> None:
        if not hasattr(local, "reader"):
            local.reader = Reader()
        epoch = head.epoch
        try:
            snapshot = map_snapshot(tmp_path, epoch, KEY)
        except TableError:
            assert head.epoch > epoch, "only an epoch that is over may be gone"
            return
        for _ in range(20):
            local.reader.ask(snapshot, customers, source)
            order, clause = int(local.reader.ruling[R_LIST]), snapshot.directory.clauses[int(local.reader.ruling[R_RULE])]
            assert order == (0 if epoch % 2 else 1)
            assert clause == f"clause-{epoch}-{order}"
        seen.add(epoch)
        if len(seen) > EPOCHS // 4:
            enough.set()

    with readers(look) as failures:
        epoch = 1
        while not failures and (epoch < EPOCHS or not enough.is_set()):
            epoch += 1
            writer.publish_snapshot(snapshot_of(epoch), epoch)
    assert len(seen) > EPOCHS // 4


def test_a_snapshot_stays_whole_for_a_reader_that_keeps_it_after_its_file_is_gone(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    writer.replace_customers([CustomerRow("customer", at("192.0.2.1"), 3, 0)], [], 1)
    writer.publish_snapshot(snapshot_of(1), 1)
    kept, customers, reader = map_snapshot(tmp_path, 1, KEY), map_customers(tmp_path, 1), Reader()
    for epoch in range(2, 6):
        writer.publish_snapshot(snapshot_of(epoch), epoch)
    assert not (tmp_path / "snapshot-1").exists()
    reader.ask(kept, customers, address("192.0.2.1"))
    assert int(reader.ruling[R_LIST]) == 0


def test_customers_change_in_place_under_readers_and_each_lookup_is_of_some_moment(tmp_path: Path) -> None:
    """One prefix wanders between two customers, masks change, neighbours come and go: a steady customer never notices."""
    writer = TableWriter(tmp_path)
    writer.publish_snapshot(snapshot_of(1), 1)
    steady, wandering = CustomerRow("steady", at("192.0.2.1"), 1, 0), Prefix.parse("192.0.2.128/25")
    writer.replace_customers([steady, CustomerRow("a", (wandering,), 1, 0), CustomerRow("b", (), 1, 0)], [], 5000)
    snapshot, head, local = map_snapshot(tmp_path, 1, KEY), Head(tmp_path), threading.local()
    rows, looks, generations = set[int](), [0], set[int]()
    fixed, moving = address("192.0.2.1"), address("192.0.2.200")

    def look() -> None:
        if not hasattr(local, "reader"):
            local.reader = Reader()
        generation = head.generation
        try:
            customers = map_customers(tmp_path, generation)
        except TableError:
            assert head.generation > generation
            return
        generations.add(generation)
        for _ in range(50):
            local.reader.ask(snapshot, customers, fixed)
            assert (int(local.reader.ruling[R_ROW]), int(local.reader.ruling[R_LIST])) == (1, 0)
            local.reader.ask(snapshot, customers, moving)
            rows.add(int(local.reader.ruling[R_ROW]))
            looks[0] += 1

    with readers(look) as failures:
        step = 0
        while not failures and (step < 1500 or looks[0] < 2000 or len(rows) < 3):
            step += 1
            whose = "ab"[step % 2]
            writer.put_customer(CustomerRow(whose, (wandering,), step % 4, 0))
            writer.put_customer(CustomerRow(f"n-{step % 1200}", at(f"2001:db8:{step % 4000:x}::/48"), step % 4, 0))
            writer.set_mask(whose, step % 3)
            if step % 7 == 0:
                writer.remove_customer(whose)
    assert rows == {-1, 2, 3}, "its owner, the other, or nobody"


def test_an_opt_out_is_seen_by_a_reader_in_the_middle_of_its_work(tmp_path: Path) -> None:
    """gunma/別記-3: in force at once, without a new table."""
    writer = TableWriter(tmp_path)
    writer.publish_snapshot(snapshot_of(1), 1)
    writer.replace_customers([CustomerRow("customer", at("192.0.2.1"), 1, 0)], [], 1)
    snapshot, customers, reader, source = map_snapshot(tmp_path, 1, KEY), map_customers(tmp_path, 1), Reader(), address("192.0.2.1")
    for mask, listed in ((1, 0), (0, -1), (1, 0), (2, -1)):
        writer.set_mask("customer", mask)
        reader.ask(snapshot, customers, source)
        assert int(reader.ruling[R_LIST]) == listed
