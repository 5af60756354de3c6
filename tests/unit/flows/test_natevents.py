"""Records of a NAT's events: a block of ports goes on as it was told, and nothing else that a NAT tells does."""

from __future__ import annotations

import ipaddress
import random
import struct

import netflume
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.netflow import (
    NetflowDataflowsetV9,
    NetflowFlowsetV9,
    NetflowHeader,
    NetflowHeaderV9,
    NetflowHeaderV10,
    NetflowRecordV9,
    NetflowTemplateFieldV9,
    NetflowTemplateV9,
)

from sekisho.config.flows import FlowExporter
from sekisho.flows import layout
from sekisho.flows.layout import Total
from support.plane import UNCOMPILED
from unit.flows.packets import EXPORTER, V4_FIELDS, Desk, a_set, ipfix, ipfix_options, record, shown, template, v9

pytestmark = UNCOMPILED
MAKE, FIRST = {9: v9, 10: ipfix}, {9: 0, 10: 2}
BOTH = pytest.mark.parametrize("version", [9, 10])
SENT = 1_700_000_000
BLOCK = ((323, 8), (230, 1), (8, 4), (225, 4), (361, 2), (362, 2))
INSIDE, OUTSIDE = "100.64.0.9", "203.0.113.5"


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def block(
    event: int = 16, inside: str = INSIDE, outside: str = OUTSIDE, ports: tuple[int, int] = (1024, 2047), at: int = SENT * 1000
) -> bytes:
    """A record of BLOCK."""
    return struct.pack("!QB4s4sHH", at, event, packed(inside), packed(outside), *ports)


def cgn(**more: object) -> Desk:
    return Desk(FlowExporter.model_validate({"address": "192.0.2.0/24", "port_blocks": True} | more))


def told(desk: Desk) -> list[tuple[int, str, str, int, int, int]]:
    """Event, inside, outside, first and last port, UNIX milliseconds of the blocks on a desk."""
    rows = desk.desk.blocks[: desk.desk.cells[layout.C_BLOCKS]].tolist()
    assert all(shown(row[layout.B_EXPORTER_HIGH] << 64 | row[layout.B_EXPORTER_LOW]) == EXPORTER for row in rows)
    return [
        (row[0], shown(row[3] << 64 | row[4]), str(ipaddress.IPv4Address(row[layout.B_OUTSIDE])), row[6], row[7], row[layout.B_AT])
        for row in rows
    ]


def read(specifiers, content: bytes, version: int = 10) -> Desk:
    desk = cgn()
    packet = MAKE[version]([a_set(FIRST[version], template(256, specifiers)), a_set(256, content)])
    assert desk.take(packet) == []
    assert not desk.faults
    assert desk.total(Total.RECORDS) == 0
    return desk


@BOTH
def test_blocks_go_on_in_their_order_and_are_no_traffic(version: int) -> None:
    desk = read(BLOCK, block() + block(17, at=SENT * 1000 + 5), version)
    assert told(desk) == [
        (16, INSIDE, OUTSIDE, 1024, 2047, SENT * 1000),
        (17, INSIDE, OUTSIDE, 1024, 2047, SENT * 1000 + 5),
    ]
    assert desk.total(Total.NAT_BLOCKS) == 2


def test_octets_in_a_record_of_a_block_are_nobodys_traffic() -> None:
    desk = read((*BLOCK, (1, 4)), block() + struct.pack("!I", 5000))
    assert len(told(desk)) == 1


@BOTH
@pytest.mark.parametrize("event", [1, 2, 3, 4, 5, 6, 8, 11, 13, 14, 15, 18, 255])
def test_who_talked_to_whom_by_a_nat_is_counted_and_nothing_of_it_is_kept(version: int, event: int) -> None:
    desk = read((*BLOCK, (12, 4), (1, 4)), block(event) + packed("198.51.100.1") + struct.pack("!I", 77), version)
    assert told(desk) == []
    assert desk.total(Total.NAT_PASSED) == 1
    assert not desk.desk.blocks.any()


def test_a_record_without_an_event_is_traffic_as_before() -> None:
    desk = cgn()
    fields = (*V4_FIELDS, (230, 1), (225, 4))
    packet = ipfix([a_set(2, template(256, fields)), a_set(256, record() + b"\0" + packed(OUTSIDE))])
    assert len(desk.take(packet)) == 1
    assert desk.total(Total.RECORDS) == 1


def test_an_exporter_that_is_not_said_to_report_blocks_reports_none() -> None:
    desk = Desk()
    assert desk.take(ipfix([a_set(2, template(256, BLOCK)), a_set(256, block())])) == []
    assert (told(desk), desk.total(Total.NAT_PASSED)) == ([], 1)


def test_options_with_an_event_are_about_the_exporter() -> None:
    desk = cgn()
    desk.take(ipfix([a_set(3, ipfix_options(256, BLOCK[:1], BLOCK[1:])), a_set(256, block())]))
    assert told(desk) == []
    assert desk.total(Total.NAT_PASSED) == 0


@pytest.mark.parametrize(
    ("element", "length", "value", "at"),
    [
        (322, 4, SENT + 3, (SENT + 3) * 1000),
        (323, 8, SENT * 1000 + 123, SENT * 1000 + 123),
        (324, 8, (SENT + 2_208_988_800) << 32 | 1 << 31, SENT * 1000 + 500),
        (325, 8, (SENT + 2_208_988_800) << 32 | 1 << 30, SENT * 1000 + 250),
        (325, 8, 17, SENT * 1000),
        (95, 4, 99, SENT * 1000),
    ],
)
@BOTH
def test_the_time_is_the_records_or_that_of_its_packet(version: int, element: int, length: int, value: int, at: int) -> None:
    desk = read(((element, length), *BLOCK[1:]), value.to_bytes(length, "big") + block()[8:], version)
    assert told(desk)[0][5] == at


@pytest.mark.parametrize(
    ("ports", "many", "step", "range_"),
    [
        ((1024, 0), 512, 1, (1024, 1535)),
        ((1024, 0), 512, 0, (1024, 1535)),
        ((1024, 1535), 512, 1, (1024, 1535)),
        ((1024, 1024), 1, 4, (1024, 1024)),
        ((65535, 0), 1, 0, (65535, 65535)),
        ((1024, 1535), 511, 1, None),
        ((1024, 1535), 0, 4, None),
        ((1024, 0), 512, 4, None),
        ((65000, 0), 1000, 0, None),
        ((2047, 1024), 0, 0, None),
        ((1024, 0), 0, 0, None),
        ((0, 1023), 0, 0, None),
    ],
)
def test_a_block_is_one_range_of_ports_or_of_no_use(ports, many: int, step: int, range_) -> None:
    desk = read((*BLOCK, (363, 2), (364, 2)), block(ports=ports) + struct.pack("!HH", step, many))
    assert [one[3:5] for one in told(desk)] == ([range_] if range_ else [])
    assert desk.total(Total.NAT_UNUSABLE) == (0 if range_ else 1)


def test_ports_of_more_than_two_octets_are_no_ports() -> None:
    fields = (*BLOCK[:4], (361, 4), (362, 4))
    for first, last in ((1024, 1 << 31), (1 << 16, 1 << 16), ((1 << 32) - 1, 0)):
        desk = read(fields, block()[:17] + struct.pack("!II", first, last))
        assert (told(desk), desk.total(Total.NAT_UNUSABLE)) == ([], 1)


def test_a_block_of_nobody_or_of_no_address_is_of_no_use_but_may_be_taken_back_by_its_first_port() -> None:
    assert told(read(BLOCK, block(inside="0.0.0.0"))) == []
    assert told(read(BLOCK, block(outside="0.0.0.0"))) == []
    assert told(read(BLOCK, block(17, inside="0.0.0.0", ports=(1024, 0))))[0][1:5] == ("::", OUTSIDE, 1024, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_of_a_tunnel_the_inside_address_is_the_tunnels(turned: bool) -> None:
    tunnel, within = "2001:db8:7::1", "10.0.0.2"
    parts = [((27, 16), packed(tunnel)), ((8, 4), packed(within))]
    parts = parts[::-1] if turned else parts
    fields = (*[field for field, _ in parts], (230, 1), (225, 4), (361, 2), (362, 2))
    content = b"".join(value for _, value in parts) + struct.pack("!B4sHH", 16, packed(OUTSIDE), 1024, 2047)
    assert told(read(fields, content))[0][1] == tunnel


@pytest.mark.parametrize(
    ("field", "value", "realm"),
    [
        ((234, 4), struct.pack("!I", 7), 7),
        ((464, 2), b"\1\2", 258),
        ((464, 65535), b"\x03abc", 0x616263),
        ((464, 65535), b"\x0ccustomers-01", (1 << 64) - 1),
        ((464, 12), b"customers-01", (1 << 64) - 1),
        ((463, 4), b"\0\0\0\5", 0),
    ],
)
def test_the_network_of_the_inside_address_goes_with_it(field, value: bytes, realm: int) -> None:
    desk = read((*BLOCK, field), block() + value)
    assert int(desk.desk.blocks[0, layout.B_REALM]) == realm


@pytest.mark.parametrize(("first", "second", "realm"), [(8, 0, 8), (0, 8, 8), (8, 8, 8), (8, 9, (1 << 64) - 1)])
def test_two_fields_that_say_the_network_do_not_take_back_what_one_says(first: int, second: int, realm: int) -> None:
    desk = read((*BLOCK, (234, 4), (464, 4)), block() + struct.pack("!II", first, second))
    assert int(desk.desk.blocks[0, layout.B_REALM]) == realm


def test_nothing_of_a_bad_packet_is_used_and_its_blocks_are_wiped() -> None:
    desk = cgn()
    good = [a_set(2, template(256, BLOCK)), a_set(256, block())]
    desk.take(ipfix(good))
    assert len(told(desk)) == 1
    desk.take(ipfix([a_set(256, block(inside="100.64.0.10")), struct.pack("!HH", 256, 3)], 1))
    assert desk.faults == {"set": 1}
    assert len(told(desk)) == 1
    assert not desk.desk.blocks[1:].any()


def test_what_there_is_no_room_for_is_counted() -> None:
    desk = cgn()
    desk.take(ipfix([a_set(2, template(256, BLOCK))]))
    desk.desk.cells[layout.C_BLOCKS] = layout.BLOCKS - 1
    desk.take(ipfix([a_set(256, block() * 3)]))
    assert (desk.total(Total.NAT_BLOCKS), desk.total(Total.NAT_LOST)) == (1, 2)
    assert desk.desk.cells[layout.C_BLOCKS] == layout.BLOCKS


@BOTH
def test_blocks_as_scapy_writes_them(version: int) -> None:
    fields = [NetflowTemplateFieldV9(fieldType=element, fieldLength=length) for element, length in BLOCK]
    header = NetflowHeaderV9(packageSequence=1, SourceID=3) if version == 9 else NetflowHeaderV10(ObservationDomainID=3)
    packet = NetflowHeader(version=version) / header
    packet /= NetflowFlowsetV9(flowSetID=FIRST[version], templates=[NetflowTemplateV9(templateID=260, template_fields=fields)])
    packet /= NetflowDataflowsetV9(templateID=260, records=[NetflowRecordV9(fieldValue=block())])
    raw = bytes(packet)
    if version == 10:
        raw = raw[:2] + struct.pack("!H", len(raw)) + raw[4:]
    desk = cgn()
    desk.take(raw)
    assert told(desk) == [(16, INSIDE, OUTSIDE, 1024, 2047, SENT * 1000)]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([9, 10]), st.permutations([*BLOCK, (4, 1), (463, 4), (12, 4), (95, 4)]), st.integers(1, 20), st.integers(0, 1 << 32))
def test_blocks_are_read_as_netflume_reads_them(version: int, fields: list[tuple[int, int]], records: int, seed: int) -> None:
    chance = random.Random(seed)
    content = b""
    for _ in range(records):
        first = chance.randint(1, 60_000)
        known = {230: chance.choice((16, 17)), 361: first, 362: first + chance.randint(0, 5_000), 323: chance.randint(1, 1 << 45)}
        content += b"".join(
            known[element].to_bytes(length, "big") if element in known else chance.randbytes(length) for element, length in fields
        )
    packet = MAKE[version]([a_set(FIRST[version], template(300, fields)), a_set(300, content)])
    seen = [flow.as_dict() for flow in netflume.Decoder().decode(packet, EXPORTER).typed_flows()]
    desk = cgn()
    desk.take(packet)
    assert told(desk) == [
        (one["ie230"], one["src_addr"], one["post_nat_src_addr"], one["ie361"], one["ie362"], one["observation_time_ms"]) for one in seen
    ]
