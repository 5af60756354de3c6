"""A worker with its thread and sockets: answers, swaps, faults, and the files it writes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import numpy as np
import pytest

from sekisho.drivers.maps import Head, map_customers, map_snapshot
from sekisho.drivers.planeworkers import PlaneSettings, UdpWorker
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.drivers.workerfiles import Tables, WorkerFiles
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.plane.worker import SIGNAL_RETURN
from sekisho.snapshot import layout
from sekisho.snapshot.build import build
from support.plane import KEY, compile_entries, definition, entry, profile, query, reply_to, rule
from support.waiting import wait_until

LOCAL = ("127.0.0.0/8", "::1/128")


@dataclass
class Running:
    """A worker between real sockets: `client` of the product's address, and a resolver that the test plays."""

    folder: Path
    worker: UdpWorker
    writer: TableWriter
    resolver: socket.socket
    deaths: list[BaseException] = field(default_factory=list)

    def publish(self, epoch: int, *names: str) -> None:
        lists = [(definition(0), compile_entries(entry(name) for name in names))]
        self.writer.publish_snapshot(build(epoch, lists, [profile(rule("gunma/別記-1"))], [], KEY), epoch)

    def tables(self) -> Tables:
        head = Head(self.folder)
        customers = map_customers(self.folder, head.generation)
        return Tables(map_snapshot(self.folder, head.epoch, KEY), customers, self.worker.files.budgets(customers.rows), KEY)

    def total(self, counter: Counter) -> int:
        return int(self.worker.counts.totals[counter])


def listener(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((host, 0))
    return one


@contextlib.contextmanager
def running(folder: Path, *hosts: str, timeout: float = 60.0, busy_poll: float = 0.0) -> Iterator[Running]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listener(host)) for host in hosts]
        resolver = stack.enter_context(listener("127.0.0.1"))
        resolver.settimeout(60)
        writer, deaths = TableWriter(folder), list[BaseException]()
        settings = PlaneSettings((resolver.getsockname(),), timeout=timeout, cache_bytes=1 << 20, busy_poll=busy_poll)
        worker = UdpWorker(0, sockets, WorkerFiles(folder), settings, lambda _, error: deaths.append(error))
        one = Running(folder, worker, writer, resolver, deaths)
        one.publish(1, "listed.example")
        writer.replace_customers([CustomerRow("local", tuple(map(Prefix.parse, LOCAL)), 1, 0)], [], 1)
        worker.prepare(one.tables())
        for upstream in worker._upstreams:
            stack.enter_context(upstream)
        # Entered with the order to return: everything is compiled before anybody waits for an answer.
        worker.desk.signal[SIGNAL_RETURN] = 1
        worker._serve()
        worker.desk.signal[SIGNAL_RETURN] = 0
        worker.start()
        try:
            yield one
        finally:
            worker.stop()
            worker.join(60)


@contextlib.contextmanager
def client(host: str, *, source: str | None = None) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((source or ("::1" if ":" in host else "127.0.0.1"), 0))
        one.settimeout(60)
        yield one


def ask(to: tuple[Any, ...], packet: bytes, source: str | None = None) -> tuple[dns.message.Message, str]:
    """The answer, and the address it came from."""
    with client(to[0], source=source) as one:
        one.sendto(packet, to)
        found, where = one.recvfrom(4096)
        return dns.message.from_wire(found), str(where[0])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listed_name_is_blocked_and_another_goes_to_the_resolver(tmp_path: Path, host: str) -> None:
    with running(tmp_path, host) as one:
        address = one.worker.sockets[0].getsockname()[:2]
        assert ask(address, query("listed.example"))[0].rcode() == dns.rcode.NXDOMAIN
        with client(host) as asker:
            asker.sendto(query("www.example"), address)
            question, plane = one.resolver.recvfrom(4096)
            one.resolver.sendto(reply_to(question, "@ 60 IN A 198.51.100.7").to_wire(), plane)
            assert dns.message.from_wire(asker.recv(4096)).answer[0][0].to_text() == "198.51.100.7"
        assert ask(address, query("www.example"))[0].answer[0].ttl <= 60
        wait_until(lambda: one.total(Counter.STEP_CACHE))
        assert one.total(Counter.QUERIES_UDP6 if ":" in host else Counter.QUERIES_UDP4) == 3


@pytest.mark.parametrize("asked", ["127.0.0.1", "127.0.0.7", "127.9.9.9"])
def test_on_a_wildcard_address_the_answer_comes_from_the_address_asked(tmp_path: Path, asked: str) -> None:
    with running(tmp_path, "0.0.0.0") as one:
        port = one.worker.sockets[0].getsockname()[1]
        assert ask((asked, port), query("listed.example"))[1] == asked


@pytest.mark.skipif(os.geteuid() != 0, reason="a raw socket needs root")
def test_an_answer_may_not_be_fragmented_and_needs_no_identification(tmp_path: Path) -> None:
    """RFC 9715: DF on every answer. RFC 6864: such a datagram has no use for an IP identification."""
    with running(tmp_path, "127.0.0.1") as one, socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.settimeout(60)
        address = one.worker.sockets[0].getsockname()
        ask(address, query("listed.example"))
        while True:
            packet = raw.recv(4096)
            if int.from_bytes(packet[20:22], "big") == address[1]:
                break
        assert packet[6] & 0x40
        assert packet[4:6] == b"\0\0"


def test_a_worker_that_looks_again_before_it_sleeps_answers_forwards_and_times_out_as_any_other(tmp_path: Path) -> None:
    with running(tmp_path, "127.0.0.1", timeout=0.05, busy_poll=0.01) as one:
        address = one.worker.sockets[0].getsockname()
        for _ in range(3):
            assert ask(address, query("listed.example"))[0].rcode() == dns.rcode.NXDOMAIN
            assert ask(address, query("www.example"))[0].rcode() == dns.rcode.SERVFAIL
        assert one.total(Counter.UPSTREAM_TIMEOUTS) >= 3


def test_both_families_are_served_by_one_worker(tmp_path: Path) -> None:
    with running(tmp_path, "127.0.0.1", "::1") as one:
        for served in one.worker.sockets:
            assert ask(served.getsockname()[:2], query("listed.example"))[0].rcode() == dns.rcode.NXDOMAIN


def test_another_snapshot_is_taken_without_a_packet_lost(tmp_path: Path) -> None:
    """A packet that comes while the worker changes its tables waits in the socket, and is counted under one of both epochs."""
    with running(tmp_path, "127.0.0.1") as one:
        address = one.worker.sockets[0].getsockname()
        for epoch in range(2, 12):
            one.publish(epoch, "listed.example", f"e{epoch}.example")
            one.worker.take(one.tables())
            assert ask(address, query("listed.example"))[0].rcode() == dns.rcode.NXDOMAIN
            wait_until(lambda: int(one.worker.counts.worker[layout.WORKER_EPOCH]) == epoch)  # noqa: B023
            assert ask(address, query(f"e{epoch}.example"))[0].rcode() == dns.rcode.NXDOMAIN
        assert one.worker.counts.epochs.tolist() == [10, 11]
        assert one.total(Counter.STEP_MANDATORY) + one.total(Counter.STEP_ENTITLED) == 20
        # The first packet of epoch 11 may have been judged by epoch 10, and that of 10 by 9.
        assert sum(one.worker.counts.lists[:, 0].tolist()) in (3, 4)


def test_a_worker_that_was_told_of_tables_sleeps_again(tmp_path: Path) -> None:
    """What woke it is read, also where it was awake already and had taken the tables: else no wait would ever last again."""
    with running(tmp_path, "127.0.0.1") as one:
        address = one.worker.sockets[0].getsockname()
        for _ in range(20):
            one.worker.take(one.tables())
            assert ask(address, query("listed.example"))[0].rcode() == dns.rcode.NXDOMAIN
            one.worker._signal()
            wait_until(lambda: not select.select([one.worker._wake], [], [], 0)[0])
        before = one.worker.sign_of_life
        wait_until(lambda: one.worker.sign_of_life != before)
        assert one.worker.desk.signal[SIGNAL_RETURN] == 0
        assert one.worker._epoll is not None
        assert one.worker._epoll.poll(0) == []


def test_more_customers_than_the_counts_have_room_for_get_larger_counts(tmp_path: Path) -> None:
    with running(tmp_path, "127.0.0.1") as one:
        address = one.worker.sockets[0].getsockname()
        ask(address, query("listed.example"))
        before = one.worker.counts
        many = [CustomerRow(f"c-{number}", (Prefix.parse(f"2001:db8:{number:x}::/48"),), 1, 0) for number in range(3000)]
        one.writer.replace_customers([CustomerRow("local", tuple(map(Prefix.parse, LOCAL)), 1, 0), *many], [], 3001)
        one.worker.take(one.tables())
        wait_until(lambda: one.worker.counts is not before)
        ask(address, query("listed.example"))
        wait_until(lambda: one.total(Counter.QUERIES_UDP4) == 2)
        assert one.worker.counts.customers[1].tolist() == [2, 2, 0, 0]


def test_a_worker_that_fails_on_a_packet_is_counted_and_goes_on(tmp_path: Path) -> None:
    """No packet is known that does it, so the tables are broken: an entry that says a combination which is not there."""
    with running(tmp_path, "127.0.0.1") as one:
        address = one.worker.sockets[0].getsockname()
        good = one.tables()
        arrays = {name: getattr(good.snapshot.tables, name) for name in layout.Snapshot.names()}
        broken = layout.Snapshot(**(arrays | {"combo": np.full_like(arrays["combo"], 99)}))
        one.worker.take(Tables(type(good.snapshot)(2, broken, good.snapshot.directory), good.customers, good.buckets, KEY))
        wait_until(lambda: int(one.worker.counts.worker[layout.WORKER_EPOCH]) == 2)
        with client("127.0.0.1") as asker:
            asker.sendto(query("listed.example"), address)
            wait_until(lambda: one.deaths)
        one.worker.take(good)
        # A packet that comes with the order to take them is still judged by the tables before.
        wait_until(lambda: int(one.worker.counts.worker[layout.WORKER_EPOCH]) == 1)
        assert ask(address, query("listed.example"))[0].rcode() == dns.rcode.NXDOMAIN
        wait_until(lambda: one.total(Counter.WORKER_RESTARTS) == 1)
        assert [type(error) for error in one.deaths] == [IndexError]


def test_a_resolver_whose_port_is_closed_is_servfail_at_once(tmp_path: Path) -> None:
    """The kernel says so; no time-out is waited for."""
    with running(tmp_path, "127.0.0.1", timeout=60) as one:
        one.resolver.close()
        answer, _ = ask(one.worker.sockets[0].getsockname(), query("www.example"))
        assert answer.rcode() == dns.rcode.SERVFAIL


def test_budgets_outlast_the_plane_and_grow(tmp_path: Path) -> None:
    files = WorkerFiles(tmp_path)
    files.budgets(10)[3] = 77
    again = WorkerFiles(tmp_path).budgets(5000)
    assert len(again) >= 5000
    assert int(again[3]) == 77


def test_a_ring_outlasts_the_plane_that_wrote_it(tmp_path: Path) -> None:
    files: Callable[[], WorkerFiles] = lambda: WorkerFiles(tmp_path)  # noqa: E731
    files().hits(0).cursor[0] = 5
    assert int(files().hits(0).cursor[0]) == 5
    (tmp_path / "hits-0").write_bytes(b"damaged")
    assert int(files().hits(0).cursor[0]) == 0
