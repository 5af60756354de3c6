"""The same packets read by scapy and by netflume: what they see is what is counted."""

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
    NetflowHeaderV5,
    NetflowHeaderV9,
    NetflowHeaderV10,
    NetflowRecordV5,
    NetflowRecordV9,
    NetflowTemplateFieldV9,
    NetflowTemplateV9,
)

from unit.flows.packets import Desk, a_set, ipfix, template, v9

ELEMENTS = {8: 4, 12: 4, 27: 16, 28: 16, 1: 4, 2: 4, 4: 1, 5: 1, 6: 1, 7: 2, 11: 2, 10: 4, 14: 4, 15: 4, 16: 4, 21: 4, 22: 4, 60: 1, 95: 4}


def told_by_netflume(decoder: netflume.Decoder, packet: bytes) -> list[tuple[str, str, int]]:
    message = decoder.decode(packet, "192.0.2.254")
    found = [(one.get("src_addr"), one.get("dst_addr"), one.get("octets")) for one in (flow.as_dict() for flow in message.typed_flows())]
    return [(_or_none(source), _or_none(target), octets) for source, target, octets in found]


def _or_none(address: str | None) -> str:
    """No address, which all zeros stand for too."""
    return "::" if address in {None, "0.0.0.0"} else str(address)


def test_netflow_5_as_scapy_writes_it() -> None:
    flows = [("192.0.2.7", "198.51.100.1", 1500), ("198.51.100.1", "192.0.2.7", 4_000_000_000)]
    packet = NetflowHeader(version=5) / NetflowHeaderV5(count=len(flows), flowSequence=9)
    for source, target, octets in flows:
        packet /= NetflowRecordV5(src=source, dst=target, dpkts=3, dOctets=octets, srcport=40000, dstport=443, prot=6, tcpFlags=0x1B)
    assert Desk().octets(bytes(packet)) == flows


@pytest.mark.parametrize("version", [9, 10])
def test_templates_and_data_as_scapy_writes_them(version: int) -> None:
    specifiers = [(8, 4), (12, 4), (1, 4), (4, 1)]
    fields = [NetflowTemplateFieldV9(fieldType=element, fieldLength=length) for element, length in specifiers]
    content = ipaddress.ip_address("192.0.2.7").packed + ipaddress.ip_address("198.51.100.1").packed + struct.pack("!IB", 12345, 6)
    header = NetflowHeaderV9(packageSequence=1, SourceID=3) if version == 9 else NetflowHeaderV10(ObservationDomainID=3)
    packet = NetflowHeader(version=version) / header
    packet /= NetflowFlowsetV9(flowSetID=0 if version == 9 else 2, templates=[NetflowTemplateV9(templateID=260, template_fields=fields)])
    packet /= NetflowDataflowsetV9(templateID=260, records=[NetflowRecordV9(fieldValue=content)])
    raw = bytes(packet)
    if version == 10:
        raw = raw[:2] + struct.pack("!H", len(raw)) + raw[4:]
    assert Desk().octets(raw) == [("192.0.2.7", "198.51.100.1", 12345)]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([9, 10]), st.permutations(sorted(ELEMENTS)), st.integers(3, 12), st.integers(1, 20), st.integers(0, 1 << 32))
def test_any_template_is_read_as_netflume_reads_it(version: int, order: list[int], many: int, records: int, seed: int) -> None:
    chance = random.Random(seed)
    chosen = [element for element in order if element not in {27, 28}][:many]
    chosen += [element for element in (8, 12, 1) if element not in chosen]
    specifiers = [(element, ELEMENTS[element]) for element in chosen]
    content = b"".join(chance.randbytes(length) for _ in range(records) for _, length in specifiers)
    make, first = (v9, 0) if version == 9 else (ipfix, 2)
    packet = make([a_set(first, template(300, specifiers)), a_set(300, content)])
    seen = told_by_netflume(netflume.Decoder(), packet)
    desk = Desk()
    counted = desk.octets(packet)
    assert len(seen) == records
    # Records with nothing in them to count do not go on.
    assert counted == [one for one in seen if one[2]]
    assert not desk.faults
