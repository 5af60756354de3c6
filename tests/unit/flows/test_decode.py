"""Packets of exporters decoded: what is counted, what is not, and why."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from sekisho.config.flows import FlowExporter
from sekisho.flows import layout
from sekisho.flows.layout import Total
from support.plane import UNCOMPILED
from unit.flows.packets import (
    CUSTOMER,
    SERVER,
    V4_FIELDS,
    Desk,
    a_set,
    ipfix,
    ipfix_options,
    record,
    template,
    v5,
    v5_record,
    v9,
    v9_options,
)

pytestmark = UNCOMPILED
TEMPLATES = {9: 0, 10: 2}
MAKE = {9: v9, 10: ipfix}
BOTH = pytest.mark.parametrize("version", [9, 10])


def learned(version: int, specifiers=V4_FIELDS, domain: int = 0) -> bytes:
    return MAKE[version]([a_set(TEMPLATES[version], template(256, specifiers))], 0, domain)


def test_netflow_5_tells_addresses_and_octets() -> None:
    desk = Desk()
    packet = v5([v5_record(CUSTOMER, SERVER, 1000), v5_record(SERVER, CUSTOMER, 70_000)])
    assert desk.octets(packet) == [(CUSTOMER, SERVER, 1000), (SERVER, CUSTOMER, 70_000)]
    assert not desk.faults


def test_the_header_of_netflow_5_tells_its_sampling() -> None:
    assert Desk().octets(v5([v5_record(CUSTOMER, SERVER, 10)], sampling=0x4000 | 100)) == [(CUSTOMER, SERVER, 1000)]


@BOTH
def test_records_are_read_by_their_template(version: int) -> None:
    desk = Desk()
    sets = [a_set(TEMPLATES[version], template(256, V4_FIELDS)), a_set(256, record() + record(SERVER, CUSTOMER, 5), 3)]
    assert desk.octets(MAKE[version](sets)) == [(CUSTOMER, SERVER, 1000), (SERVER, CUSTOMER, 5)]
    assert desk.octets(MAKE[version]([a_set(256, record(octets=7))], 1)) == [(CUSTOMER, SERVER, 7)]
    assert not desk.faults


@BOTH
def test_ipv6_and_numbers_of_any_length_are_read(version: int) -> None:
    desk = Desk()
    specifiers = ((27, 16), (28, 16), (1, 3), (95, 4), (10, 4))
    one, two = "2001:db8::7", "2001:db8:1::1"
    content = ipaddress.ip_address(one).packed + ipaddress.ip_address(two).packed + (70_000).to_bytes(3, "big") + bytes(8)
    desk.take(learned(version, specifiers))
    assert desk.octets(MAKE[version]([a_set(256, content)])) == [(one, two, 70_000)]


@BOTH
def test_data_before_its_template_is_counted_and_not_guessed(version: int) -> None:
    desk = Desk()
    assert desk.octets(MAKE[version]([a_set(256, record())])) == []
    assert desk.total(Total.EARLY) == 1
    assert not desk.faults


@BOTH
def test_templates_are_of_their_domain(version: int) -> None:
    desk = Desk()
    desk.take(learned(version, domain=1))
    assert desk.octets(MAKE[version]([a_set(256, record())], 0, 2)) == []
    assert desk.octets(MAKE[version]([a_set(256, record())], 0, 1)) == [(CUSTOMER, SERVER, 1000)]


@BOTH
def test_a_template_told_again_otherwise_is_the_new_one(version: int) -> None:
    desk = Desk()
    desk.take(learned(version))
    desk.take(learned(version, ((12, 4), (8, 4), (1, 4))))
    content = ipaddress.ip_address(CUSTOMER).packed + ipaddress.ip_address(SERVER).packed + struct.pack("!I", 9)
    assert desk.octets(MAKE[version]([a_set(256, content)])) == [(SERVER, CUSTOMER, 9)]


@BOTH
def test_two_exporters_behind_one_address_have_their_own_templates(version: int) -> None:
    desk = Desk()
    desk.take(learned(version), port=1000)
    desk.take(learned(version, ((12, 4), (8, 4), (1, 4))), port=2000)
    content = ipaddress.ip_address(CUSTOMER).packed + ipaddress.ip_address(SERVER).packed + struct.pack("!I", 9)
    assert desk.octets(MAKE[version]([a_set(256, record())]), port=1000) == [(CUSTOMER, SERVER, 1000)]
    assert desk.octets(MAKE[version]([a_set(256, content)]), port=2000) == [(SERVER, CUSTOMER, 9)]


@BOTH
def test_an_exporter_whose_port_changed_is_understood_at_once(version: int) -> None:
    desk = Desk()
    desk.take(learned(version), port=1000)
    assert desk.octets(MAKE[version]([a_set(256, record())]), port=2000) == [(CUSTOMER, SERVER, 1000)]


def test_fields_of_variable_length_and_of_enterprises_are_passed_over() -> None:
    desk = Desk()
    specifiers = ((8, 4), (371, 65535), (12, 4), (12, 4, 9), (1, 65535, 29305), (96, 65535), (1, 4))
    content = ipaddress.ip_address(CUSTOMER).packed + b"\x03abc" + ipaddress.ip_address(SERVER).packed
    content += b"\x7f\0\0\1" + b"\x02\x01\x00" + b"\xff\x01\x00" + bytes(256) + struct.pack("!I", 77)
    desk.take(learned(10, specifiers))
    assert desk.octets(ipfix([a_set(256, content + content)])) == [(CUSTOMER, SERVER, 77)] * 2
    assert not desk.faults


@pytest.mark.parametrize("both", [((1, 4), (1, 4, 29305)), ((231, 4), (232, 4))])
def test_octets_of_the_other_direction_are_counted_back(both: tuple[tuple[int, ...], ...]) -> None:
    desk = Desk()
    desk.take(learned(10, ((8, 4), (12, 4), *both)))
    content = ipaddress.ip_address(CUSTOMER).packed + ipaddress.ip_address(SERVER).packed + struct.pack("!II", 10, 500)
    assert desk.take(ipfix([a_set(256, content)]))[0][2:4] == (10, 500)


@pytest.mark.parametrize(("elements", "counted"), [((1, 85), 10), ((85, 1), 20), ((23, 85), 20), ((231, 232), 10)])
def test_of_several_counts_of_the_same_octets_one_is_used(elements: tuple[int, int], counted: int) -> None:
    desk = Desk()
    desk.take(learned(10, ((8, 4), (12, 4), (elements[0], 4), (elements[1], 4))))
    content = ipaddress.ip_address(CUSTOMER).packed + ipaddress.ip_address(SERVER).packed + struct.pack("!II", 10, 20)
    assert desk.take(ipfix([a_set(256, content)]))[0][2] == counted


class TestSampling:
    def test_of_netflow_9_by_the_sampler_a_record_names(self) -> None:
        desk = Desk()
        options = v9_options(257, [(1, 4)], [(48, 1), (49, 1), (50, 4)])
        told = a_set(257, struct.pack("!IBBI", 1, 1, 2, 100) + struct.pack("!IBBI", 1, 2, 2, 10))
        sets = [a_set(1, options, 2), told, a_set(0, template(256, (*V4_FIELDS, (48, 1))))]
        desk.take(v9(sets))
        rows = desk.octets(v9([a_set(256, record(octets=10) + b"\1" + record(octets=10) + b"\2")], 1))
        assert [row[2] for row in rows] == [1000, 100]
        assert not desk.faults

    def test_of_a_whole_exporter(self) -> None:
        desk = Desk()
        desk.take(v9([a_set(1, v9_options(257, [(1, 4)], [(34, 4), (35, 1)]), 2), a_set(257, struct.pack("!IIB", 1, 1000, 1), 3)]))
        desk.take(learned(9))
        assert desk.octets(v9([a_set(256, record(octets=5))]))[0][2] == 5000

    @pytest.mark.parametrize(
        ("options", "content", "rate"),
        [
            (((305, 4), (306, 4)), struct.pack("!II", 1, 99), 100),
            (((305, 4), (306, 4)), struct.pack("!II", 10, 90), 10),
            (((305, 4),), struct.pack("!I", 512), 512),
            (((309, 4), (310, 4)), struct.pack("!II", 1, 64), 64),
            (((311, 8),), struct.pack("!d", 0.125), 8),
            (((311, 4),), struct.pack("!f", 0.125), 8),
            (((311, 4),), struct.pack("!f", 0.001), 1000),
            (((311, 4),), struct.pack("!f", 1.0), 1),
            (((311, 4),), struct.pack("!f", -0.5), 1),
            (((311, 4),), struct.pack("!f", 1e-40), 1),
            (((311, 4),), struct.pack("!f", float("nan")), 1),
            (((34, 4),), struct.pack("!I", 0), 1),
            (((311, 8),), struct.pack("!d", float("nan")), 1),
        ],
    )
    def test_of_ipfix(self, options, content: bytes, rate: int) -> None:
        desk = Desk()
        told = ipfix_options(257, [(302, 4)], options)
        desk.take(ipfix([a_set(3, told), a_set(257, struct.pack("!I", 7) + content), a_set(2, template(256, (*V4_FIELDS, (302, 4))))]))
        assert desk.octets(ipfix([a_set(256, record(octets=10) + struct.pack("!I", 7))]))[0][2] == 10 * rate

    def test_said_in_the_configuration_counts_where_the_exporter_says_none(self) -> None:
        desk = Desk(FlowExporter.model_validate({"address": "192.0.2.254", "sampling": 50}))
        assert desk.octets(v5([v5_record(CUSTOMER, SERVER, 10)]))[0][2] == 500
        assert desk.octets(v5([v5_record(CUSTOMER, SERVER, 10)], 1, sampling=100))[0][2] == 1000


class TestSequences:
    def test_of_netflow_5_count_records(self) -> None:
        desk = Desk()
        two = [v5_record(CUSTOMER, SERVER, 1)] * 2
        for sequence in (100, 102, 110, 112):
            desk.take(v5(two, sequence))
        assert desk.sequence == (1, 6, 0, 0)

    def test_of_netflow_9_count_packets(self) -> None:
        desk = Desk()
        for sequence in (1, 2, 5, 4, 3, 6):
            desk.take(v9([], sequence))
        assert desk.sequence == (1, 0, 2, 0)

    def test_of_ipfix_count_records_of_data(self) -> None:
        desk = Desk()
        desk.take(learned(10))
        for sequence in (0, 2, 5):
            desk.take(ipfix([a_set(256, record() * 2)], sequence))
        assert desk.sequence == (1, 1, 0, 0)

    def test_over_their_end_go_on(self) -> None:
        desk = Desk()
        for sequence in (0xFFFFFFFF, 0, 1):
            desk.take(v9([], sequence))
        assert desk.sequence == (0, 0, 0, 0)

    def test_of_a_router_that_restarted_are_no_gap(self) -> None:
        desk = Desk()
        for sequence in (500_000, 0, 1):
            desk.take(v9([], sequence))
        assert desk.sequence == (0, 0, 0, 1)

    def test_go_on_under_another_port(self) -> None:
        desk = Desk()
        for sequence, port in ((7, 1000), (8, 1001), (12, 1002), (13, 1003)):
            desk.take(v9([], sequence), port=port)
        assert desk.sequence == (1, 3, 0, 0)

    def test_of_two_exporters_behind_one_address_are_not_mixed_up(self) -> None:
        desk = Desk()
        for sequence, port in ((7, 1000), (900, 1001), (8, 1000), (901, 1001), (9, 1000)):
            desk.take(v9([], sequence), port=port)
        assert desk.sequence == (0, 0, 0, 0)

    @pytest.mark.parametrize(("leap", "told"), [(1 << 27, (0, 0, 0, 0)), (65, (0, 0, 0, 0)), (64, (1, 64, 0, 0)), (-2, (0, 0, 1, 0))])
    def test_go_on_under_another_port_as_far_as_packets_get_lost(self, leap: int, told: tuple[int, int, int, int]) -> None:
        desk = Desk()
        for sequence, port in (
            (7, 1000),
            (8, 1000),
            (9 + leap, 1001),
            (9 if leap > 64 else 10 + max(leap, -1), 1000 if leap > 64 else 1001),
        ):
            desk.take(v9([], sequence), port=port)
        assert desk.sequence == told

    def test_of_two_processes_at_one_address_go_on_each_under_its_own_new_port(self) -> None:
        desk = Desk()
        for sequence, port in ((7, 1000), (900, 2000), (8, 1001), (901, 2001), (9, 1001), (904, 2001)):
            desk.take(v9([], sequence), port=port)
        assert desk.sequence == (1, 2, 0, 0)

    def test_are_a_session_s_own(self) -> None:
        desk = Desk()
        for sequence, domain in ((7, 1), (90, 2), (8, 1), (91, 2)):
            desk.take(v9([], sequence, domain))
        assert desk.sequence == (0, 0, 0, 0)


class TestWithdrawal:
    def test_over_tcp_is_heeded(self) -> None:
        desk = Desk()
        desk.take(learned(10), tcp=True)
        desk.take(ipfix([a_set(2, template(256, ()))]), tcp=True)
        assert desk.octets(ipfix([a_set(256, record())]), tcp=True) == []
        assert desk.total(Total.EARLY) == 1

    @pytest.mark.parametrize("kind", [2, 3])
    def test_of_all_takes_those_of_its_kind(self, kind: int) -> None:
        desk = Desk()
        desk.take(learned(10), tcp=True)
        desk.take(ipfix([a_set(kind, template(kind, ()))]), tcp=True)
        assert len(desk.octets(ipfix([a_set(256, record())]), tcp=True)) == (0 if kind == 2 else 1)

    def test_over_udp_is_not(self) -> None:
        desk = Desk()
        desk.take(learned(10))
        desk.take(ipfix([a_set(2, template(256, ()))]))
        assert desk.octets(ipfix([a_set(256, record())])) == [(CUSTOMER, SERVER, 1000)]


class TestBadPackets:
    @pytest.mark.parametrize(
        ("packet", "reason"),
        [
            (b"", "short"),
            (b"\0", "short"),
            (struct.pack("!HH", 9, 1), "short"),
            (struct.pack("!HH", 7, 1) + bytes(40), "version"),
            (v5([v5_record(CUSTOMER, SERVER, 1)], count=2), "short"),
            (v5([], count=0), "short"),
            (ipfix([a_set(300, b"")]) + b"more", "length"),
            (ipfix([a_set(300, bytes(8))])[:-4], "length"),
            (v9([struct.pack("!HH", 256, 3)]), "set"),
            (v9([struct.pack("!HH", 256, 40)]), "set"),
            (v9([a_set(0, template(255, V4_FIELDS))]), "template"),
            (v9([a_set(0, template(256, V4_FIELDS)[:-2])]), "template"),
            (v9([a_set(0, template(256, ((8, 0), (12, 0))))]), "template"),
            (v9([a_set(0, template(256, ((8, 40000), (12, 40000))))]), "template"),
            (v9([a_set(0, template(256, ((8, 4), (12, 65535))))]), "template"),
            (ipfix([a_set(2, template(256, ((82, 65535),) * 65))]), "template"),
            (ipfix([a_set(3, ipfix_options(256, [], [(34, 4)]))]), "template"),
            (ipfix([a_set(2, template(256, ((8, 4, 1),))[:-2])]), "template"),
            (v9([a_set(1, v9_options(256, [(1, 4)], [(34, 4)])[:-3])]), "template"),
        ],
    )
    def test_are_counted_by_reason(self, packet: bytes, reason: str) -> None:
        desk = Desk()
        assert desk.take(packet) == []
        assert desk.faults == {reason: 1}

    @pytest.mark.parametrize("content", [b"\x08ab", b"\xff\x01", b"\xff\xff\xff", b"\xff"])
    def test_a_record_that_goes_on_beyond_its_set_spoils_the_packet(self, content: bytes) -> None:
        desk = Desk()
        desk.take(learned(10, ((8, 4), (12, 4), (1, 4), (82, 65535))))
        good = ipaddress.ip_address(CUSTOMER).packed + ipaddress.ip_address(SERVER).packed + struct.pack("!I", 9)
        assert desk.take(ipfix([a_set(256, good + b"\0"), a_set(256, good + content)])) == []
        assert desk.faults == {"record": 1}

    def test_leave_nothing_behind(self) -> None:
        desk = Desk()
        desk.take(learned(9))
        assert desk.take(v9([a_set(256, record() * 2), struct.pack("!HH", 256, 3)], 1)) == []
        assert not desk.desk.records.any()
        assert not desk.desk.values.any()

    def test_of_strangers_are_refused(self) -> None:
        desk = Desk()
        for packet in (v5([v5_record(CUSTOMER, SERVER, 1)]), b"nonsense", b""):
            assert desk.take(packet, address="203.0.113.9") == []
        assert desk.faults == {"stranger": 3}

    def test_octets_no_flow_has_are_not_counted(self) -> None:
        desk = Desk()
        desk.take(learned(10, ((8, 4), (12, 4), (1, 8))))
        content = ipaddress.ip_address(CUSTOMER).packed + ipaddress.ip_address(SERVER).packed
        assert desk.octets(ipfix([a_set(256, content + b"\xff" * 8 + content + bytes(7) + b"\5")])) == [(CUSTOMER, SERVER, 5)]
        assert desk.faults == {"octets": 1}

    def test_more_templates_than_there_is_room_for_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        desk = Desk()
        desk.desk.cells[layout.C_TEMPLATES] = layout.TEMPLATES * 3 // 4
        desk.take(learned(10))
        assert desk.faults == {"full": 1}


class TestConnections:
    """What is told of connections: how many the source opened, and whether to mail. The port is not."""

    @pytest.mark.parametrize(
        ("ports", "flags", "protocol", "opened", "mail"),
        [
            ((40000, 25), 0x02, 6, 1, True),
            ((40000, 587), 0x1B, 6, 1, True),
            ((40000, 465), 0x1B, 6, 1, True),
            ((40000, 443), 0x1B, 6, 1, False),
            ((25, 40000), 0x1B, 6, 0, False),
            ((40000, 25), 0x18, 6, 0, False),
            ((40000, 25), 0x00, 6, 1, True),
            ((25, 40000), 0x00, 6, 0, False),
            ((40000, 25), 0x00, 17, 0, False),
        ],
    )
    def test_are_the_opener_s(self, ports: tuple[int, int], flags: int, protocol: int, opened: int, mail: bool) -> None:
        desk = Desk()
        desk.take(learned(9))
        row = desk.take(v9([a_set(256, record(ports=ports, flags=flags, protocol=protocol))]))[0]
        assert (row[5], bool(row[4] & layout.FACT_MAIL)) == (opened, mail)

    def test_seen_begin_are_multiplied_by_the_sampling(self) -> None:
        desk = Desk(FlowExporter.model_validate({"address": "192.0.2.254", "sampling": 10}))
        rows = desk.take(v5([v5_record(CUSTOMER, SERVER, 1, (40000, 25), 2), v5_record(CUSTOMER, SERVER, 1, (40000, 25), 0)]))
        assert [row[5] for row in rows] == [10, 1]

    def test_no_port_goes_on(self) -> None:
        desk = Desk()
        rows = desk.take(v5([v5_record(CUSTOMER, SERVER, 1, (40001, 6697))]))
        assert not {40001, 6697} & {value for row in rows for value in row}


class TestTheCustomersSide:
    def test_is_told_by_interfaces(self) -> None:
        desk = Desk(FlowExporter.model_validate({"address": "192.0.2.254", "customer_interfaces": [3, 4]}))
        faces = [(3, 9), (9, 4), (9, 9)]
        rows = desk.take(v5([v5_record(CUSTOMER, SERVER, 1, interfaces=one) for one in faces]))
        up, down = layout.FACT_NOT_UP, layout.FACT_NOT_DOWN
        assert [row[4] & (up | down) for row in rows] == [down, up, up | down]

    def test_one_direction_alone_is_counted(self) -> None:
        desk = Desk(FlowExporter.model_validate({"address": "192.0.2.254", "direction": "ingress"}))
        desk.take(learned(9, (*V4_FIELDS, (61, 1))))
        assert len(desk.take(v9([a_set(256, record() + b"\0" + record() + b"\1")]))) == 1

    def test_the_longest_prefix_says_which_exporter_it_is(self) -> None:
        wide, narrow = {"address": "192.0.2.0/24", "sampling": 2}, {"address": "192.0.2.254", "sampling": 3}
        desk = Desk(FlowExporter.model_validate(wide), FlowExporter.model_validate(narrow))
        packet = v5([v5_record(CUSTOMER, SERVER, 10)])
        assert [desk.octets(packet, address=one)[0][2] for one in ("192.0.2.1", "192.0.2.254")] == [20, 30]
