"""What the kernel does to packets for measures: rates, mail, silence, and nothing to anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from kernel.gateway import gateway
from sekisho.model.customers import Customer, Prefix
from sekisho.model.measures import NONE, Enforcement
from sekisho.model.usage import Source
from support import wait_until
from support.netns import CUSTOMER, CUSTOMER6, DOWN, NEIGHBOUR, NEIGHBOUR6, SERVER, SERVER6, flows_freely, keeps_rate, opened, transfer

pytestmark = pytest.mark.kernel
WITNESS = "192.0.2.77"
"""An address on the customers' side that is nobody's line."""
SLOW = Enforcement(rate=(20_000_000, 10_000_000))


@contextlib.contextmanager
def both_families(field, *, up):
    with transfer(field, CUSTOMER, SERVER, up=up) as four, transfer(field, CUSTOMER6, SERVER6, up=up) as six:
        yield lambda: four() + six()


@pytest.mark.parametrize(("up", "promised"), [(False, 20e6), (True, 10e6)])
def test_all_addresses_of_a_line_together_have_the_promised_rate_and_the_neighbour_is_untouched(field, up, promised):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            with both_families(field, up=up) as arrived:
                assert await asyncio.to_thread(keeps_rate, arrived, promised)
            with transfer(field, NEIGHBOUR, SERVER, up=up) as four:
                assert await asyncio.to_thread(flows_freely, four)
            with transfer(field, NEIGHBOUR6, SERVER6, up=up) as six:
                assert await asyncio.to_thread(flows_freely, six)

    asyncio.run(story())


@pytest.mark.parametrize("up", [False, True])
def test_no_packet_is_lost_while_a_line_is_slowed_slowed_further_and_let_go(field, up):
    """Numbered packets, below every rate; towards the customer or from them."""
    numbers = itertools.count()

    async def story(sender, receiver):
        async with gateway(field) as one:
            for what in (SLOW, Enforcement(rate=(4_000_000, 2_000_000)), SLOW, NONE, SLOW, NONE):
                send(sender, 20)
                await one.enforce(c_1=what)
                send(sender, 20)
            # The last ones are sent on from the class before it goes.
            await asyncio.to_thread(lambda: wait_until(lambda: _waiting(field) == 0, deadline=30, what="queues that are empty"))

    def send(sender, many):
        for _ in range(many):
            sender.send(next(numbers).to_bytes(4, "big") + bytes(996))

    with opened(field.customers, CUSTOMER, socket.SOCK_DGRAM) as client, opened(field.server, SERVER, socket.SOCK_DGRAM) as server:
        sender, receiver = (client, server) if up else (server, client)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sender.connect(receiver.getsockname())
        asyncio.run(story(sender, receiver))
        receiver.settimeout(10)
        sent, seen = next(numbers), set()
        with contextlib.suppress(TimeoutError):
            while len(seen) < sent:
                seen.add(int.from_bytes(receiver.recv(2000)[:4], "big"))
        assert len(seen) == sent


def _waiting(field):
    return sum(
        int(line.split("backlog ")[1].split("b ")[1].split("p")[0])
        for line in field.gw("tc", "-s", "qdisc").splitlines()
        if "backlog" in line
    )


def test_a_class_goes_once_nothing_waits_in_it(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=SLOW)
            assert "5ec1:1" in field.gw("tc", "class", "show", "dev", DOWN)
            await one.enforce(c_1=NONE)
            one.lines._sweep_at = 0.0
            await one.lines.step()
            assert "5ec1:1 " not in field.gw("tc", "class", "show", "dev", DOWN)

    asyncio.run(story())


def connects(field, source, port, target=SERVER):
    """Whether a connection comes about; what is limited is refused at once, the time-out is for a busy machine."""
    with opened(field.customers, source) as client:
        client.settimeout(60)
        try:
            client.connect((target, port))
        except ConnectionRefusedError:
            return False
        return True


@contextlib.contextmanager
def listening(field, *ports):
    with contextlib.ExitStack() as stack:
        for address in (SERVER, SERVER6):
            for port in ports:
                stack.enter_context(opened(field.server, address, port=port)).listen(64)
        yield


def test_mail_is_limited_by_the_minute_over_all_its_ports_and_addresses_and_the_rest_of_the_line_is_not(field):
    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=Enforcement(mail=3))
            with listening(field, 25, 465, 587, 443):
                # The neighbours find each other first: a packet sent again would count against the limit.
                assert connects(field, CUSTOMER, 443)
                assert connects(field, CUSTOMER6, 443, SERVER6)
                tries = [
                    (CUSTOMER, 25, SERVER),
                    (CUSTOMER6, 587, SERVER6),
                    (CUSTOMER, 465, SERVER),
                    (CUSTOMER, 25, SERVER),
                    (CUSTOMER6, 25, SERVER6),
                ]
                assert [connects(field, *one) for one in tries] == [True, True, True, False, False]
                assert all(connects(field, CUSTOMER, 443) for _ in range(6))
                assert all(connects(field, NEIGHBOUR, 25) for _ in range(6))
                await one.enforce(c_1=Enforcement(mail=0))
                assert not any(connects(field, CUSTOMER, port) for port in (25, 465, 587))
                assert connects(field, CUSTOMER, 443)
                await one.enforce(c_1=NONE)
                assert all(connects(field, CUSTOMER, 25) for _ in range(6))

    asyncio.run(story())


def asks(field, source, name_server, many=1, patience=60):
    """Whether a name server that answers everything answers; it is asked by a neighbour afterwards, who gets an answer in any case.

    What was sent before is answered, or dropped, before.
    """
    with opened(field.customers, source, socket.SOCK_DGRAM) as client, opened(field.customers, WITNESS, socket.SOCK_DGRAM) as witness:
        for _ in range(many):
            client.sendto(b"query", (name_server, 53))
        witness.sendto(b"query", (name_server, 53))
        assert witness.recv(100)
        client.settimeout(patience)
        with contextlib.suppress(TimeoutError):
            return len(client.recv(100)) > 0
    return False


@contextlib.contextmanager
def answering(namespace, address):
    with opened(namespace, address, socket.SOCK_DGRAM, 53) as server:
        server.settimeout(0.05)
        taken, stop = [0], threading.Event()

        def serve():
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    _, who = server.recvfrom(100)
                    taken[0] += 1
                    server.sendto(b"answer", who)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield taken
        finally:
            stop.set()
            thread.join()


def test_a_silenced_customers_queries_reach_no_name_server_of_ours_and_are_counted(field):
    async def story():
        field.ip(field.customers, "address", "replace", f"{WITNESS}/24", "dev", "line0")
        async with gateway(field, resolvers=[SERVER]) as one:
            with answering(field.gateway, "192.0.2.1") as taken, answering(field.server, SERVER):
                assert asks(field, CUSTOMER, "192.0.2.1")
                before = taken[0]
                await one.enforce(c_1=Enforcement(silenced=True))
                assert not asks(field, CUSTOMER, "192.0.2.1", many=500, patience=0.3)
                assert not asks(field, CUSTOMER, SERVER, patience=0.3)
                assert taken[0] == before + 1, "the neighbour's alone"
                assert asks(field, NEIGHBOUR, "192.0.2.1")
                await one.counted()
                assert one.heard.queries == {2: 501}
                with listening(field, 443):
                    assert connects(field, CUSTOMER, 443)
                await one.enforce(c_1=NONE)
                assert asks(field, CUSTOMER, "192.0.2.1")

    asyncio.run(story())


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_queries_to_resolvers_are_counted_by_customer_and_those_dropped_once(field, mode):
    async def story():
        field.ip(field.customers, "address", "replace", f"{WITNESS}/24", "dev", "line0")
        async with gateway(field, resolvers=[SERVER], queries=True, mode=mode) as one:
            with answering(field.gateway, "192.0.2.1"), answering(field.server, SERVER):
                await one.counted()
                before = one.heard.readings
                assert asks(field, CUSTOMER, SERVER)
                assert asks(field, CUSTOMER, "192.0.2.1"), "the plane's to count"
                with listening(field, 53):
                    assert connects(field, CUSTOMER, 53)
                assert asks(field, NEIGHBOUR, SERVER)
                await one.counted()
                assert (one.heard.seen, one.heard.readings) == ({2: 2, 3: 1}, before + 1)
                for _ in range(2):
                    one.lines.look_again()
                    await one.lines.step()
                assert asks(field, NEIGHBOUR, SERVER)
                await one.counted()
                assert one.heard.seen == {2: 2, 3: 2}, "a look takes no counter away"
                if mode == "enforce":
                    await one.enforce(c_1=Enforcement(silenced=True))
                    assert not asks(field, CUSTOMER, SERVER, many=50, patience=0.3)
                    await one.counted()
                    assert (one.heard.queries, one.heard.seen) == ({2: 50}, {2: 2, 3: 2})

    asyncio.run(story())


ALL_LENGTHS = """
from sekisho.drivers.nftables import Nftables
from sekisho.enforce.difference import Change
from sekisho.enforce.rules import Names
from sekisho.enforce.state import Role, Table, parts_of
from sekisho.enforce.wanted import Where
from sekisho.model.customers import Prefix

lengths = [(False, bits) for bits in range(33)] + [(True, bits) for bits in range(129)]
tables = frozenset(Table(Role.COUNT_QUERIES, six, bits, part) for six, bits in lengths for part in parts_of(Role.COUNT_QUERIES))
names = Names(counted=(Prefix.parse("192.0.2.53"), Prefix.parse("2001:db8::53")))
Nftables().apply(Change(put_tables=tables), tables, Where(), names)
"""


def test_the_kernel_takes_prefixes_of_any_number_of_lengths(field):
    """It takes chains sixteen deep at most."""
    done = subprocess.run(
        ["ip", "netns", "exec", field.gateway, sys.executable, "-c", ALL_LENGTHS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_of_prefixes_within_each_other_the_longest_is_counted_in_both_families(field):
    """.10 and .20 are in other parts than the first addresses of the prefixes around them."""
    within = {
        "c-1": (f"{CUSTOMER}/32", f"{CUSTOMER6}/128"),
        "c-2": ("192.0.2.0/27", "2001:db8:0:10::/64"),
        "c-3": ("192.0.0.0/16", "2001:db8::/32"),
    }

    async def story():
        field.ip(field.customers, "address", "replace", f"{WITNESS}/24", "dev", "line0")
        async with gateway(field, resolvers=[SERVER, SERVER6], queries=True) as one:
            one.lines.counts._row_of = {"c-1": 2, "c-2": 3, "c-3": 4}.get
            for name, prefixes in within.items():
                one.people.known[name] = Customer(name, ("t",), tuple(map(Prefix.parse, prefixes)))
            one.lines.follow(within)
            await one.lines.step()
            ways = ((CUSTOMER, SERVER), (NEIGHBOUR, SERVER), (WITNESS, SERVER), (CUSTOMER6, SERVER6), (NEIGHBOUR6, SERVER6))
            await one.counted()
            with listening(field, 53, 443):
                # The neighbours find each other first: a packet sent again would count.
                for source, target in ways:
                    assert connects(field, source, 443, target)
                for source, target in (*ways, ways[-1]):
                    assert connects(field, source, 53, target)
            await one.counted()
            assert one.heard.seen == {2: 2, 3: 3, 4: 1}

    asyncio.run(story())


def test_traffic_is_counted_by_customer_in_both_directions_and_mail_by_connections(field):
    async def story():
        async with gateway(field, counters=True) as one:
            with transfer(field, CUSTOMER, SERVER, up=False, whole=True) as arrived, listening(field, 25):
                await asyncio.to_thread(lambda: wait_until(lambda: arrived() > 20_000_000, deadline=60, what="a transfer"))
                assert [connects(field, NEIGHBOUR, 25) for _ in range(3)] == [True] * 3
            await one.counted()
            source, at, rows, down, up, mail = one.heard.batches[-1]
            assert (source, rows) == (Source.COUNTERS, [2, 3])
            assert abs(at - time.time()) < 60
            assert arrived() <= down[0] <= arrived() * 1.2 + 200_000
            assert up[0] > 0
            assert mail == [0, 3]
            await one.counted()
            assert len(one.heard.batches) == 1, "nothing new is no batch"

    asyncio.run(story())


def test_what_was_downloaded_before_an_address_went_to_another_customer_is_not_the_others(field):
    async def story():
        async with gateway(field, counters=True) as one:
            with transfer(field, CUSTOMER, SERVER, up=False, whole=True) as arrived:
                await asyncio.to_thread(lambda: wait_until(lambda: arrived() > 1_000_000, deadline=60, what="a transfer"))
            one.people.known = {"c-2": replace(one.people.known["c-2"], prefixes=(Prefix.parse(CUSTOMER),))}
            one.lines.follow(["c-1", "c-2"])
            await one.counted()
            assert one.heard.batches == []
            with transfer(field, CUSTOMER, SERVER, up=False, whole=True) as arrived:
                await asyncio.to_thread(lambda: wait_until(lambda: arrived() > 1_000_000, deadline=60, what="a transfer"))
            await one.counted()
            assert one.heard.batches[-1][2] == [3]

    asyncio.run(story())
