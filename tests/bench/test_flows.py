"""How many flow records one core takes, from the socket to the sums of customers. `make bench-all`, or pytest this file."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable

import numpy as np
import pytest

from bench.settings import CUSTOMERS, pick
from sekisho.config.flows import FlowExporter
from sekisho.drivers import flowskept
from sekisho.drivers.flowsetup import exporter_rows, prepare_socket
from sekisho.drivers.flowsloop import I_EPOLL, KIND_LISTENER, collect, make_inbox, make_sums
from sekisho.drivers.upstreamsockets import register
from sekisho.flows import layout
from sekisho.flows.layout import Total
from sekisho.flows.shares import no_shares
from sekisho.plane.memory import blank
from sekisho.snapshot.layout import CUSTOMERS_VERSION, Customers
from sekisho.snapshot.people import build_customers, fill
from sekisho.snapshot.sections import Kind, unpack
from unit.flows.packets import V4_FIELDS, a_set, ipfix, template, v5, v9

TARGET = 300_000
"""Records a second."""
ROUNDS, PACKETS = pick(5, 2), 4000
FIELDS = (*V4_FIELDS, (2, 4), (10, 4), (14, 4), (21, 4), (22, 4), (5, 1), (61, 1), (136, 1), (60, 1))


def tables() -> Customers:
    """A million customers with an address each, from 10.0.0.0 on."""
    _, arrays = unpack(build_customers(1, CUSTOMERS + 1, CUSTOMERS, 0), Kind.CUSTOMERS, CUSTOMERS_VERSION)
    low = np.arange(CUSTOMERS, dtype=np.uint64) + np.uint64(0xFFFF << 32 | 10 << 24)
    lengths, owners = np.full(CUSTOMERS, 128, np.uint8), np.arange(1, CUSTOMERS + 1, dtype=np.uint32)
    columns = arrays["slots"].reshape(-1), arrays["rows"].reshape(-1), arrays["present"]
    fill(*columns, np.zeros(CUSTOMERS, np.uint64), low, lengths, owners)
    return Customers(*(arrays[name] for name in Customers.names()))


def content_v5(chance: np.random.Generator, many: int) -> list[bytes]:
    customers = chance.integers(0, CUSTOMERS, many)
    far = struct.pack("!I", 0xCB007107)
    near = [struct.pack("!I", (10 << 24) + int(one)) for one in customers]
    tail = struct.pack("!HHIIIIHHBBBBHHBBH", 1, 2, 9, 9000, 0, 9, 443, 40000, 0, 0x1B, 6, 0, 0, 0, 24, 24, 0)
    return [(far + one if place % 3 else one + far) + bytes(4) + tail for place, one in enumerate(near)]


def content_by_template(chance: np.random.Generator, many: int) -> list[bytes]:
    customers = chance.integers(0, CUSTOMERS, many)
    far = struct.pack("!I", 0xCB007107)
    rest = struct.pack("!HHBBI", 443, 40000, 6, 0x1B, 9000) + bytes(4 * 5 + 4)
    return [
        (far + struct.pack("!I", (10 << 24) + int(one)) if place % 3 else struct.pack("!I", (10 << 24) + int(one)) + far) + rest
        for place, one in enumerate(customers)
    ]


def packets_v5(chance: np.random.Generator) -> list[bytes]:
    return [v5(content_v5(chance, 29), 29 * number) for number in range(200)]


def packets_v9(chance: np.random.Generator) -> list[bytes]:
    head = [v9([a_set(0, template(256, FIELDS))])]
    return head + [v9([a_set(256, b"".join(content_by_template(chance, 30)))], number) for number in range(200)]


def packets_ipfix(chance: np.random.Generator) -> list[bytes]:
    head = [ipfix([a_set(2, template(256, FIELDS))])]
    return head + [ipfix([a_set(256, b"".join(content_by_template(chance, 30)))], 30 * number) for number in range(200)]


@pytest.mark.parametrize("make", [packets_v5, packets_v9, packets_ipfix])
def test_records_a_second(make: Callable[[np.random.Generator], list[bytes]]) -> None:
    packets = make(np.random.default_rng(5))
    customers, sums = tables(), make_sums(CUSTOMERS + 1)
    desk, inbox = layout.make_desk(blank(1, layout.DESK)), make_inbox()
    desk.exporters[:], desk.defaults[:], desk.interfaces[:] = exporter_rows([FlowExporter.model_validate({"address": "127.0.0.1"})])
    desk.cells[layout.C_EXPORTERS] = 1
    flowskept.restore(desk, flowskept.NOTHING, counts=False)
    taken, processor = 0, 0.0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        select.epoll() as epoll,
    ):
        listener.bind(("127.0.0.1", 0))
        prepare_socket(listener)
        sender.connect(listener.getsockname())
        inbox.settings[I_EPOLL], inbox.listeners[0] = epoll.fileno(), listener.fileno()
        register(epoll, listener.fileno(), 0, KIND_LISTENER)
        for number in range(ROUNDS + 1):
            for index in range(PACKETS):
                sender.send(packets[index % len(packets)])
            before = int(desk.totals[Total.RECORDS])
            used = time.thread_time()
            while select.select([listener], [], [], 0)[0]:
                collect(desk, inbox, customers.view, *sums, no_shares(), np.uint64(1), time.monotonic_ns() + 2_000_000)
            if number:
                taken += int(desk.totals[Total.RECORDS]) - before
                processor += time.thread_time() - used
    by_core = taken / processor
    print(
        f"\n{make.__name__}: {by_core:,.0f} records a second of one core, {taken:,} records, {int(desk.totals[Total.NOBODY]):,} of nobody"
    )
    assert not desk.totals[layout.FAULTS :].any()
    assert by_core >= TARGET
