"""The collector of flows: packets on sockets in, sums by customer out, and what it knows over a restart."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import select
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from sekisho.config.flows import FlowExporter
from sekisho.drivers import flows, flowskept
from sekisho.drivers.flows import FlowCollector, UsageBatch
from sekisho.drivers.flowsloop import BATCH, BUCKETS, SIGNAL_RETURN, add_up, count_used, harvest, make_inbox, make_sums, prepare, take
from sekisho.drivers.flowstcp import FlowStreams
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.flows import layout
from sekisho.flows.layout import Total
from sekisho.flows.shares import Shares, make_shares, no_shares
from sekisho.model.customers import Prefix
from sekisho.model.errors import TableError
from sekisho.model.sessions import Ports
from sekisho.snapshot.layout import Customers
from support import wait_until
from unit.flows.packets import CUSTOMER, SERVER, V4_FIELDS, Desk, a_set, ipfix, record, template, v5, v5_record, v9
from unit.flows.test_natevents import BLOCK, block

LOCAL = FlowExporter.model_validate({"address": "127.0.0.0/8"})


NO_SHARES = no_shares()


def row(identity: str, *prefixes: str) -> CustomerRow:
    return CustomerRow(identity, tuple(Prefix.parse(one) for one in prefixes), 0, 0)


@pytest.fixture
def tables(tmp_path: Path) -> TableWriter:
    writer = TableWriter(tmp_path / "plane")
    rows = [row("c-1", "192.0.2.7"), row("c-2", "203.0.113.0/28", "2001:db8:2::/48"), row("c-3", "203.0.113.4")]
    writer.replace_customers(rows, [Prefix.parse("198.51.100.0/30")], 8)
    return writer


@contextlib.contextmanager
def collecting(tmp_path: Path, *exporters: FlowExporter) -> Iterator[tuple[FlowCollector, socket.socket]]:
    """A collector, and a socket connected to it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    one = FlowCollector(tmp_path / "plane", tmp_path / "templates", exporters or (LOCAL,), 3600.0, [listener])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(listener.getsockname())
        one.start()
        try:
            yield one, sender
        finally:
            one.close()


def wait_for_packets(one: FlowCollector, many: int, total: Total = Total.PACKETS) -> None:
    wait_until(lambda: one.view is not None and int(one.view.totals[total]) >= many, 120)


def summed(one: FlowCollector, tables: TableWriter) -> dict[str, tuple[int, int]]:
    """Octets down and up by customer, once the collector is closed."""
    names = {tables.row_of(name): name for name in ("c-1", "c-2", "c-3")}
    found: Counter[tuple[str, int]] = Counter()
    for batch in one.batches():
        for place, number in enumerate(batch.rows.tolist()):
            found[names[number], 0] += int(batch.down[place])
            found[names[number], 1] += int(batch.up[place])
    return {name: (found[name, 0], found[name, 1]) for name in sorted({name for name, _ in found})}


def test_both_directions_are_summed_to_the_customer_with_the_longest_prefix(tmp_path: Path, tables: TableWriter) -> None:
    six = ((27, 16), (28, 16), (1, 4))
    content = ipaddress.ip_address("2001:db8:2::1").packed + ipaddress.ip_address("2001:db8:ffff::1").packed + struct.pack("!I", 64)
    with collecting(tmp_path) as (one, sender):
        sender.send(v5([v5_record(CUSTOMER, SERVER, 100), v5_record(SERVER, CUSTOMER, 5000), v5_record(SERVER, "203.0.113.4", 7)]))
        sender.send(v5([v5_record("203.0.113.5", "203.0.113.4", 30), v5_record("198.51.100.1", SERVER, 9)], 3))
        sender.send(ipfix([a_set(2, template(256, six)), a_set(256, content)]))
        wait_for_packets(one, 3)
    assert summed(one, tables) == {"c-1": (5000, 100), "c-2": (0, 30 + 64), "c-3": (7 + 30, 0)}
    assert one.view is not None
    assert int(one.view.totals[Total.NOBODY]) == 1, "the operator's own networks are no customer"


def test_a_collector_that_was_told_of_a_message_sleeps_again(tmp_path: Path, tables: TableWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What woke it is read at once, also where the message was taken already, not when the next turn is due."""
    monkeypatch.setattr(flows, "TURN", 3600)
    with collecting(tmp_path) as (one, _):
        for _ in range(20):
            one._signal()
            wait_until(lambda: not select.select([one._wake], [], [], 0)[0])


def left_behind(one: FlowCollector) -> list[str]:
    """Where something of a packet is in the collector's memory."""
    buffers = {"records": one._desk.records, "blocks": one._desk.blocks, "values": one._desk.values, "packets": one._inbox.packets}
    return [name for name, buffer in buffers.items() if buffer.any()]


def test_neither_addresses_nor_ports_stay_in_memory_once_they_are_added_up(tmp_path: Path, tables: TableWriter) -> None:
    bad = v9([a_set(0, template(256, V4_FIELDS)), a_set(256, record() * 3), struct.pack("!HH", 256, 3)], 9)
    with collecting(tmp_path) as (one, sender):
        for number in range(3):
            sender.send(v5([v5_record(CUSTOMER, SERVER, 100), v5_record("203.0.113.77", SERVER, 5)], 2 * number))
        sender.send(bad)
        sender.send(v9([a_set(0, template(256, V4_FIELDS)), a_set(256, record() * 2)], 10))
        wait_for_packets(one, 5)
        one.put(0xFFFF << 32 | 0x7F000001, 5000, ipfix([a_set(2, template(256, V4_FIELDS)), a_set(256, record(octets=8))]))
        wait_for_packets(one, 6)
    assert summed(one, tables) == {"c-1": (0, 300 + 2000 + 8)}
    assert left_behind(one) == []


def test_nor_after_a_fault_of_the_collector(tmp_path: Path, tables: TableWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    message = ipfix([a_set(2, template(256, V4_FIELDS)), a_set(256, record())])
    with collecting(tmp_path) as (one, sender):
        with monkeypatch.context() as broken:
            broken.setattr("sekisho.drivers.flows.add_up", fail)
            one.put(0xFFFF << 32 | 0x7F000001, 5000, message)
            wait_until(lambda: one._failing and not left_behind(one), 120)
        sender.send(v5([v5_record(CUSTOMER, SERVER, 7)]))
        wait_for_packets(one, 2)
    assert summed(one, tables) == {"c-1": (0, 7)}


def test_reported_blocks_of_ports_are_handed_over_in_their_order_and_nothing_of_them_stays(
    tmp_path: Path, tables: TableWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.drivers.flows.QUEUED", 2)
    known = FlowExporter.model_validate({"address": "127.0.0.1", "port_blocks": True})
    with collecting(tmp_path, known) as (one, sender):
        sender.send(ipfix([a_set(2, template(256, BLOCK))]))
        wait_for_packets(one, 1)
        for number in range(5):
            sender.send(ipfix([a_set(256, block(ports=(1000 + number, 2000)) * 2)], 2 * number))
            wait_for_packets(one, number + 2)
        found = one.port_blocks()
        assert len(found) == 2, "others wait where they came in"
        wait_until(lambda: not left_behind(one))
        found += one.port_blocks()
        one.put(0xFFFF << 32 | 0x7F000001, 5000, ipfix([a_set(2, template(256, BLOCK)), a_set(256, block(ports=(1005, 2000)))]))
        wait_for_packets(one, 7)
    found += one.port_blocks()
    assert [row[layout.B_FIRST] for row in np.concatenate(found).tolist()] == [
        1000,
        1000,
        1001,
        1001,
        1002,
        1002,
        1003,
        1003,
        1004,
        1004,
        1005,
    ]
    assert left_behind(one) == []
    assert summed(one, tables) == {}


def test_the_loop_is_left_before_there_is_no_room_for_blocks_of_ports() -> None:
    desk, inbox, zero = Desk(FlowExporter.model_validate({"address": "127.0.0.1", "port_blocks": True})).desk, make_inbox(), np.uint64(0)
    customers = Customers(*(np.zeros(64, np.uint64) for _ in Customers.names())).view
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        sender.connect(listener.getsockname())
        prepare(inbox, BATCH)
        found = []
        for packet in (ipfix([a_set(2, template(256, BLOCK))]), *[ipfix([a_set(256, block() * 1500)])] * 6):
            sender.send(packet)
            take(desk, inbox, customers, *make_sums(1), NO_SHARES, zero, listener.fileno(), 1)
            found.append((int(desk.cells[layout.C_BLOCKS]), int(inbox.signal[SIGNAL_RETURN])))
    assert found == [(0, 0), (1500, 0), (3000, 0), (4500, 0), (6000, 0), (7500, 0), (9000, 1)]
    assert layout.BLOCKS // 4 < 9000 < layout.BLOCKS


def test_a_customer_who_came_a_moment_ago_is_counted(tmp_path: Path, tables: TableWriter) -> None:
    with collecting(tmp_path) as (one, sender):
        sender.send(v5([v5_record("192.0.2.99", SERVER, 1)]))
        wait_for_packets(one, 1)
        tables.put_customer(row("c-1", "192.0.2.7", "192.0.2.99"))
        sender.send(v5([v5_record("192.0.2.99", SERVER, 10)], 1))
        wait_for_packets(one, 2)
    assert summed(one, tables) == {"c-1": (0, 10)}


def test_what_nobody_takes_stays_in_the_sums(tmp_path: Path, tables: TableWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.drivers.flows.BATCHES", 2)
    with collecting(tmp_path) as (one, sender):
        one.interval = 0.0
        for number in range(6):
            sender.send(v5([v5_record(CUSTOMER, SERVER, 10**number)], number))
            wait_for_packets(one, number + 1)
            wait_until(lambda sent=number + 1: len(one._batches) == min(2, sent), 120)
        first = one.batches()
        assert [int(batch.up.sum()) for batch in first] == [1, 10]
        wait_until(lambda: len(one._batches) == 1, 120)
        assert int(one.batches()[0].up.sum()) == 111_100, "in one, as soon as there is room"
        sender.send(v5([v5_record(CUSTOMER, SERVER, 7)], 6))
        wait_for_packets(one, 7)
    assert summed(one, tables) == {"c-1": (0, 7)}


def test_templates_and_sampling_are_known_after_a_restart(tmp_path: Path, tables: TableWriter) -> None:
    options = struct.pack("!HHH", 257, 4, 4) + struct.pack("!HHHH", 1, 4, 34, 4)
    with collecting(tmp_path) as (one, sender):
        sender.send(v9([a_set(1, options, 2), a_set(257, struct.pack("!II", 1, 10)), a_set(0, template(256, V4_FIELDS))]))
        wait_for_packets(one, 1)
    with collecting(tmp_path) as (one, sender):
        sender.send(v9([a_set(256, record(octets=5))], 1))
        wait_for_packets(one, 1)
    assert summed(one, tables) == {"c-1": (0, 50)}


def test_a_damaged_file_of_templates_is_left_alone(tmp_path: Path, tables: TableWriter) -> None:
    (tmp_path / "templates").write_bytes(b"SEKISHO\0 and more")
    with collecting(tmp_path) as (one, sender):
        sender.send(v5([v5_record(CUSTOMER, SERVER, 1)]))
        wait_for_packets(one, 1)
    assert summed(one, tables) == {"c-1": (0, 1)}


def test_ipfix_over_tcp_ends_with_its_connection(tmp_path: Path, tables: TableWriter) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    message = ipfix([a_set(2, template(256, V4_FIELDS)), a_set(256, record(octets=8))])

    async def scenario(one: FlowCollector) -> None:
        streams = FlowStreams(one, lambda _: True)
        await streams.start([listener])
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(message + message[:7])
        await writer.drain()
        await asyncio.to_thread(wait_for_packets, one, 1)
        writer.write(message[7:] + b"\0\x09" + bytes(14))
        assert await reader.read() == b"", "a stream that is no IPFIX is closed"
        await asyncio.to_thread(wait_for_packets, one, 3)
        writer.close()
        await asyncio.to_thread(wait_until, lambda: not len(one.view.sessions))
        await streams.close()

    with collecting(tmp_path) as (one, _):
        asyncio.run(scenario(one))
    assert summed(one, tables) == {"c-1": (0, 16)}
    assert one.view is not None
    assert int(one.view.totals[layout.FAULTS + 1]) == 1, "of another version"


def batch_of(records: Sequence[bytes], shares: Shares = NO_SHARES) -> UsageBatch:
    """What is summed of NetFlow v5 records of the customer in row 1."""
    from support.plane import make_customers

    desk, sums = Desk(), make_sums(4)
    customers = make_customers([row("c-1", "192.0.2.7")])
    for start in range(0, len(records), 30):
        desk.take(v5(records[start : start + 30]))
        add_up(desk.desk, customers.view, *sums, shares, np.uint64(0x5EED))
    down, up, mail, opened, targets = sums
    kinds = (np.int64, np.uint64, np.uint64, np.uint32, np.uint32, np.uint32)
    arrays = [np.zeros(count_used(down, up, opened), kind) for kind in kinds]
    harvest(down, up, mail, opened, targets, *arrays, np.zeros(4, np.int64))
    assert not any(column.any() for column in sums), "the next batch begins at nothing"
    assert not desk.desk.records.any(), "no address is left"
    return UsageBatch(0.0, 1.0, *arrays)


def test_connections_to_mail_are_counted_and_their_ports_dropped() -> None:
    ports = [(40000 + number, port) for number, port in enumerate((25, 465, 587, 443, 80, 25))]
    batch = batch_of([v5_record(CUSTOMER, SERVER, 60, one, 2) for one in ports])
    assert (batch.connections.tolist(), batch.mail.tolist()) == ([6], [4])


def added(shares: Shares, records: Sequence[bytes]) -> tuple[dict[int, tuple[int, int]], int, int]:
    """Octets down and up by row; records of nobody, and those of them of shared addresses. Row 1 is 192.0.2.7, row 2 203.0.113.0/28."""
    from support.plane import make_customers

    desk, sums = Desk(), make_sums(8)
    customers = make_customers([row("c-1", "192.0.2.7"), row("c-2", "203.0.113.0/28")])
    for start in range(0, len(records), 30):
        desk.take(v5(records[start : start + 30]))
        add_up(desk.desk, customers.view, *sums, shares, np.uint64(7))
    down, up = sums[0], sums[1]
    found = {index: (int(down[index]), int(up[index])) for index in range(8) if down[index] or up[index]}
    return found, int(desk.desk.totals[Total.NOBODY]), int(desk.desk.totals[Total.SHARED])


CGN = "203.0.113.5"
"""An address several share, in a prefix that the file of customers gives to c-2 as a whole."""
PARTS = make_shares(
    (int(ipaddress.IPv4Address(address)), ports, owner)
    for address, ports, owner in (
        (CGN, Ports(1024, 2047), 3),
        (CGN, Ports(2048, 3071), 4),
        (CGN, Ports(3072, 4095), 0),
        ("198.51.100.200", Ports(1232, 1235, 4096, 15), 5),
    )
)


@pytest.mark.uncompiled
def test_traffic_of_a_shared_address_is_of_the_customer_who_has_the_port() -> None:
    records = [
        v5_record(CGN, SERVER, 1, (1024, 443)),
        v5_record(SERVER, CGN, 10, (443, 2047)),
        v5_record(SERVER, CGN, 100, (443, 2048)),
        v5_record("198.51.100.200", SERVER, 1000, (1235, 443)),
        v5_record("198.51.100.200", SERVER, 2000, (1232 + 14 * 4096, 443)),
        v5_record(CUSTOMER, SERVER, 7, (1024, 443)),
    ]
    assert added(PARTS, records) == ({3: (10, 1), 4: (100, 0), 5: (0, 3000), 1: (0, 7)}, 0, 0)


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("source", "port", "protocol"),
    [
        (CGN, 1023, 6),
        (CGN, 4096, 17),
        (CGN, 3072, 6),
        (CGN, 1024, 1),
        (CGN, 0, 50),
        ("198.51.100.200", 1231, 6),
        ("198.51.100.200", 1236, 6),
        ("198.51.100.200", 1232 + 15 * 4096, 6),
    ],
)
def test_what_is_of_no_known_port_of_a_shared_address_is_counted_and_nobodys(source: str, port: int, protocol: int) -> None:
    one = bytearray(v5_record(source, SERVER, 100, (port & 0xFFFF, 443)))
    one[38] = protocol
    assert added(PARTS, [bytes(one)]) == ({}, 1, 1)


@pytest.mark.uncompiled
def test_without_shared_addresses_all_is_as_it_was() -> None:
    assert added(NO_SHARES, [v5_record(CGN, SERVER, 5, (1, 2)), v5_record("198.51.100.9", SERVER, 5)]) == ({2: (0, 5)}, 1, 0)


def test_connections_to_few_targets_are_told_from_those_to_many() -> None:
    few = batch_of([v5_record(CUSTOMER, f"198.51.100.{number % 2}", 60, (40000, 80), 2) for number in range(300)])
    many = batch_of([v5_record(CUSTOMER, f"198.51.{number >> 8}.{number & 255}", 60, (40000, 80), 2) for number in range(600)])
    assert few.focused.tolist() == few.connections.tolist() == [300]
    assert many.connections.tolist() == [600]
    assert many.focused[0] < 600 * 8 / BUCKETS


def test_tables_that_are_full_are_laid_anew_with_the_youngest_sessions() -> None:
    desk = Desk()
    for number in range(40):
        desk.take(v9([a_set(0, template(256, V4_FIELDS))], number, number), now=1000 + number)
    desk.desk.cells[layout.C_SESSIONS] = layout.SESSIONS * 3 // 4
    assert flowskept.make_room(desk.desk)
    assert desk.desk.cells[layout.C_SESSIONS] == 40
    assert desk.octets(v9([a_set(256, record())], 8, 7), now=2000) == [(CUSTOMER, SERVER, 1000)]
    assert desk.sequence == (0, 0, 0, 0), "sequences go on"


def test_what_a_program_kept_that_numbered_fields_otherwise_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.take(ipfix([a_set(2, template(256, V4_FIELDS))]))
    with monkeypatch.context() as before:
        before.setattr(flowskept, "VERSION", flowskept.VERSION - 1)
        flowskept.save(tmp_path / "kept", desk.desk)
    flowskept.clear(desk.desk)
    with pytest.raises(TableError, match="send their templates again"):
        flowskept.load(tmp_path / "kept", desk.desk)
    assert desk.octets(ipfix([a_set(256, record())])) == []


def test_what_is_kept_says_nothing_of_tcp_nor_of_exporters_no_longer_named(tmp_path: Path) -> None:
    desk = Desk()
    known = ipfix([a_set(2, template(256, V4_FIELDS))])
    desk.take(known, address="192.0.2.1")
    desk.take(known, address="192.0.2.2")
    desk.take(known, address="192.0.2.3", tcp=True)
    flowskept.save(tmp_path / "kept", desk.desk)
    other = Desk(FlowExporter.model_validate({"address": "192.0.2.2"}), FlowExporter.model_validate({"address": "192.0.2.3"}))
    flowskept.clear(other.desk)
    flowskept.load(tmp_path / "kept", other.desk)
    assert other.desk.cells[layout.C_SESSIONS] == 1
    assert other.octets(ipfix([a_set(256, record())]), address="192.0.2.2") == [(CUSTOMER, SERVER, 1000)]
