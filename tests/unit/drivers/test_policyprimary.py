"""A primary of policy zones, asked by another implementation: dnspython checks the order of transfers and every signature."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest

from sekisho.config.policyzones import PolicyZones
from sekisho.drivers import policyprimary
from sekisho.drivers.policyprimary import Primary, PrimaryThread, serving
from sekisho.model.customers import Prefix
from sekisho.rpz.journal import Change
from sekisho.rpz.records import PASSTHRU, client_ip, cname
from sekisho.rpz.zone import Few, Timers, Zone
from support import wait_until

NAME = "pass.rpz.test"
ORIGIN = b"\x04pass\x03rpz\x04test\0"
SECRET = base64.b64encode(b"a secret of 32 octets, for tests").decode()
KEYS = dns.tsigkeyring.from_text({"one.key.test": SECRET})
WRONG = dns.tsigkeyring.from_text({"one.key.test": base64.b64encode(b"x" * 32).decode()})


def record(number: int) -> bytes:
    return client_ip(Prefix.parse(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")) + cname(PASSTHRU, 60)


class Served:
    """A primary with one zone of 5000 records, and what is asked of it."""

    def __init__(self, primary: Primary, thread: PrimaryThread, port: int) -> None:
        self.primary, self.thread, self.port = primary, thread, port
        self.zone = Zone(ORIGIN, NAME, Timers(), 100, Few(), clients=True)
        self.change(Change((), tuple(record(number) for number in range(5000))), 101)
        self.do(lambda: primary.serve(self.zone))

    def do(self, step: object) -> None:
        done = threading.Event()
        self.thread.call(lambda: (step(), done.set()))  # type: ignore[operator]
        assert done.wait(60)

    def change(self, change: Change, serial: int) -> None:
        content = self.zone.content

        def put() -> None:
            content.change(change)  # type: ignore[attr-defined]
            self.zone.put(content, change, serial)
            self.primary.notifier.changed(self.zone)

        self.do(put)

    def transfer(
        self, zone: dns.zone.Zone, keyring: object = KEYS, *, source: str = "127.0.0.1", udp: bool = False
    ) -> dns.rdatatype.RdataType:
        query, _ = dns.xfr.make_query(zone, keyring=keyring)
        mode = dns.query.UDPMode.ONLY if udp else dns.query.UDPMode.NEVER
        dns.query.inbound_xfr("127.0.0.1", zone, query, self.port, timeout=60, source=source, udp_mode=mode)
        return query.question[0].rdtype

    def ask(
        self, rdtype: str, *, name: str = NAME, keyring: object = KEYS, tcp: bool = False, source: str = "127.0.0.1"
    ) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype)
        if keyring is not None:
            query.use_tsig(keyring)
        send = dns.query.tcp if tcp else dns.query.udp
        return send(query, "127.0.0.1", port=self.port, source=source, timeout=60)


def empty() -> dns.zone.Zone:
    return dns.zone.Zone(NAME, relativize=False)


def owners(zone: dns.zone.Zone) -> set[str]:
    return {name.to_text() for name in zone.nodes if "rpz-client-ip" in name.to_text()}


@pytest.fixture
def notified() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(60)
        yield one


@pytest.fixture
def served(tmp_path: Path, notified: socket.socket) -> Iterator[Served]:
    (tmp_path / "secret").write_text(SECRET)
    settings = PolicyZones.model_validate(
        {
            "zone": "rpz.test",
            "listen": ["127.0.0.1:0"],
            "keys": [{"name": "one.key.test", "secret_file": "secret"}],
            "secondaries": [
                {"id": "one", "address": "127.0.0.1", "key": "one.key.test", "notify": f"127.0.0.1:{notified.getsockname()[1]}"},
                {"id": "three", "address": "127.0.0.3", "unsigned": True},
                {"id": "two", "address": "127.0.0.2", "unsigned": True, "resolver": "unbound"},
            ],
            "connections": 60,
        },
        context={"folder": tmp_path},
    )
    primary = Primary(settings)
    primary.notifier.pauses = (0.05,) * 1000
    with serving(primary) as (thread, ports):
        yield Served(primary, thread, ports[0])


def test_the_whole_zone_comes_signed_in_several_messages(served: Served) -> None:
    zone = empty()
    served.transfer(zone)
    assert len(owners(zone)) == 5000
    assert zone.find_rdataset(zone.origin, "SOA")[0].serial == 101
    assert served.primary.answers.transfers[NAME, "axfr"] == 1
    assert served.primary.answers.octets > 1 << 17


def test_a_change_comes_as_a_difference_and_makes_the_same_zone(served: Served) -> None:
    zone = empty()
    served.transfer(zone)
    served.change(Change((record(0), record(1)), (record(9000),)), 102)
    served.change(Change((record(9000),), (record(9001), record(0))), 103)
    before = served.primary.answers.octets
    assert served.transfer(zone) == dns.rdatatype.IXFR
    assert served.primary.answers.octets - before < 1000, "two changes, not five thousand records"
    whole = empty()
    served.transfer(whole)
    assert zone.find_rdataset(zone.origin, "SOA")[0].serial == 103
    assert owners(zone) == owners(whole)
    assert served.primary.answers.transfers[NAME, "ixfr"] == 1
    assert served.transfer(zone) == dns.rdatatype.IXFR
    assert served.primary.answers.transfers[NAME, "current"] == 1


def test_unbound_gets_a_zone_of_client_triggers_whole_where_one_went_and_else_the_difference(served: Served) -> None:
    zone = empty()
    served.transfer(zone, None, source="127.0.0.2")
    served.change(Change((), (record(9000),)), 102)
    served.transfer(zone, None, source="127.0.0.2")
    counts = served.primary.answers.transfers
    wait_until(lambda: counts[NAME, "ixfr"] == 1, what="the difference to be counted")
    served.change(Change((record(0),), (record(9001),)), 103)
    served.change(Change((), (record(9002),)), 104)
    served.transfer(zone, None, source="127.0.0.2")
    assert len(owners(zone)) == 5002
    wait_until(lambda: (counts[NAME, "axfr"], counts[NAME, "ixfr"]) == (2, 1), what="the whole zone to be counted")


def test_over_udp_the_serial_is_told_and_the_zone_is_not(served: Served) -> None:
    zone = empty()
    served.transfer(zone)
    served.change(Change((record(0),), ()), 102)
    with pytest.raises(dns.xfr.UseTCP):
        served.transfer(zone, udp=True)
    assert served.ask("AXFR").rcode() == dns.rcode.FORMERR
    assert served.ask("SOA").answer[0][0].serial == 102


def test_many_secondaries_transfer_at_once(served: Served) -> None:
    def one(_: int) -> int:
        zone = empty()
        served.transfer(zone)
        return len(owners(zone))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == [5000] * 4


def test_secondaries_are_served_in_turn_and_one_that_does_not_read_holds_up_nobody(served: Served) -> None:
    """Two dozen transfers under way at once, read a message at a time."""

    def asked() -> bytes:
        query = dns.message.make_query(NAME, "AXFR")
        query.use_tsig(KEYS)
        wire = query.to_wire()
        return len(wire).to_bytes(2, "big") + wire

    def records(reader: BinaryIO) -> int:
        return int.from_bytes(reader.read(int.from_bytes(reader.read(2), "big"))[6:8], "big")

    with contextlib.ExitStack() as open_:
        idle = open_.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", served.port))
        idle.sendall(asked() * 40)
        readers = []
        for _ in range(24):
            one = open_.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=60))
            one.sendall(asked())
            readers.append(open_.enter_context(one.makefile("rb")))
        got = [0] * len(readers)
        while any(count < 5003 for count in got):
            for number, reader in enumerate(readers):
                if got[number] < 5003:
                    got[number] += records(reader)
        assert got == [5003] * 24
        assert served.primary.connections == 25


def test_who_is_no_secondary_or_has_no_key_is_refused(served: Served) -> None:
    assert served.ask("SOA", keyring=None).rcode() == dns.rcode.REFUSED
    assert served.ask("SOA", keyring=None, source="127.0.0.9").rcode() == dns.rcode.REFUSED
    for keyring in (None, WRONG):
        with pytest.raises(dns.exception.DNSException):
            served.transfer(empty(), keyring)
    assert served.ask("SOA", name="other.rpz.test", keyring=None, source="127.0.0.2").rcode() == dns.rcode.NOTAUTH
    assert served.ask("A", keyring=None, source="127.0.0.2").rcode() == dns.rcode.REFUSED
    refused = served.primary.answers.refused
    assert (refused["key"], refused["address"], refused["zone"]) == (3, 1, 1)
    assert not served.primary.answers.transfers


OTHER_KEY = dns.tsigkeyring.from_text({"two.key.test": SECRET})


@pytest.mark.parametrize(
    ("keyring", "late", "told"),
    [(OTHER_KEY, 0, dns.tsig.PeerBadKey), (WRONG, 0, dns.tsig.PeerBadSignature), (KEYS, 3600, dns.tsig.PeerBadTime)],
)
def test_who_signs_is_told_why_it_is_not_taken(
    served: Served, monkeypatch: pytest.MonkeyPatch, keyring: object, late: int, told: type[Exception]
) -> None:
    """NOTAUTH with the error in a TSIG record; what is wrong with the time is signed (RFC 8945 section 5.2)."""
    real = time.time
    monkeypatch.setattr(served.primary.answers, "clock", real)
    query = dns.message.make_query(NAME, "SOA")
    query.use_tsig(keyring)
    with monkeypatch.context() as earlier:
        earlier.setattr(dns.message.time, "time", lambda: real() - late)
        wire = query.to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(60)
        one.sendto(wire, ("127.0.0.1", served.port))
        answer = one.recv(4096)
    read = dns.message.from_wire(answer, keyring=False)
    assert (read.id, read.rcode(), read.question) == (query.id, dns.rcode.NOTAUTH, query.question)
    assert bool(read.tsig[0].mac) == bool(late)
    if late:
        assert abs(int.from_bytes(read.tsig[0].other, "big") - real()) < 3600
    with pytest.raises(told):
        dns.message.from_wire(answer, keyring=keyring, request_mac=query.mac)
    assert served.primary.answers.refused["key"] == 1


def test_a_signed_question_for_no_zone_of_ours_has_a_signed_answer(served: Served) -> None:
    answer = served.ask("SOA", name="other.rpz.test")
    assert (answer.rcode(), answer.had_tsig) == (dns.rcode.NOTAUTH, True)


def test_what_is_no_question_hurts_nothing(served: Served) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", served.port))
        for packet in (b"", b"\0" * 11, b"\xff" * 12, b"\0" * 12, b"\0\1\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\6\0\1", bytes(range(256))):
            one.send(packet)
    with socket.create_connection(("127.0.0.1", served.port)) as stream:
        stream.sendall(b"\0\5hello")
        assert stream.recv(10) == b""
    assert served.ask("SOA").rcode() == dns.rcode.NOERROR


def test_a_change_is_told_again_until_it_is_acknowledged(served: Served, notified: socket.socket) -> None:
    served.change(Change((record(0),), ()), 102)

    def heard() -> tuple[dns.message.Message, object]:
        while True:
            wire, source = notified.recvfrom(4096)
            message = dns.message.from_wire(wire, keyring=KEYS)
            if message.answer[0][0].serial == 102:
                return message, source

    first, source = heard()
    assert first.opcode() == dns.opcode.NOTIFY
    assert first.flags & dns.flags.AA
    assert first.had_tsig
    assert source == ("127.0.0.1", served.port), "from the address secondaries know"
    again, _ = heard()
    assert again.id == first.id
    counts = served.primary.notifier.counts
    acknowledged = counts["acknowledged"]
    notified.sendto(dns.message.make_response(again).to_wire(), source)
    wait_until(lambda: counts["acknowledged"] > acknowledged, what="the acknowledgement to be heard")


def connect(served: Served, source: str, count: int) -> list[socket.socket]:
    return [socket.create_connection(("127.0.0.1", served.port), timeout=60, source_address=(source, 0)) for _ in range(count)]


def is_closed(one: socket.socket) -> bool:
    return one.recv(1) == b""


def test_a_source_leaves_connections_to_others_and_more_than_there_are_are_closed(served: Served) -> None:
    """Of 60 it gets half while they are free, and of the other half no more, for it has more than a quarter; others get a quarter."""
    primary = served.primary
    with contextlib.ExitStack() as held:
        for source, gets in (("127.0.0.1", 30), ("127.0.0.2", 15), ("127.0.0.3", 15)):
            before = primary.connections
            for one in connect(served, source, gets):
                held.enter_context(one)
            wait_until(lambda: primary.connections == before + gets, what="all connections")  # noqa: B023 - waited for here
            (more,) = connect(served, source, 1)
            with more:
                assert is_closed(more)
        assert (primary.connections, primary.turned_away) == (60, 3)
    wait_until(lambda: primary.connections == 0, what="no connection")
    assert served.ask("SOA", tcp=True).rcode() == dns.rcode.NOERROR


def test_strangers_take_no_connection_from_secondaries(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few that ask are told why they are refused; the others are closed at once."""
    primary = served.primary
    with contextlib.ExitStack() as held, monkeypatch.context() as patience:
        patience.setattr(policyprimary, "_BRIEF", 0.5)
        idle = [held.enter_context(one) for one in connect(served, "127.0.0.9", 80)]
        wait_until(lambda: primary.answers.refused["address"] >= 64, what="strangers to be closed")
        assert primary.connections == 0
        assert served.ask("SOA", tcp=True).rcode() == dns.rcode.NOERROR
        assert all(is_closed(one) for one in idle), "nor are the others waited for"
    wait_until(lambda: primary.strangers == 0, what="no stranger")
    assert served.ask("SOA", tcp=True, keyring=None, source="127.0.0.9").rcode() == dns.rcode.REFUSED
    assert primary.answers.refused["address"] == 81
    assert primary.turned_away == 0
