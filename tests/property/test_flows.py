"""Whatever comes to the collector of flows: nothing is raised, nothing is read beyond the packet, and what was read stays so."""

from __future__ import annotations

import random
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.config.flows import FlowExporter
from sekisho.flows import layout
from sekisho.flows.decode import decode
from sekisho.snapshot.compiling import COMPILED
from support.plane import UNCOMPILED
from unit.flows.packets import (
    EXPORTER,
    V4_FIELDS,
    Desk,
    a_set,
    ipfix,
    ipfix_options,
    number,
    record,
    template,
    v5,
    v5_record,
    v9,
    v9_options,
)
from unit.flows.test_natevents import BLOCK, block

pytestmark = UNCOMPILED
SEEDS = (
    v5([v5_record("192.0.2.7", "198.51.100.1", 9)] * 3),
    v9([a_set(0, template(256, V4_FIELDS)), a_set(256, record() * 3), a_set(1, v9_options(257, [(1, 4)], [(48, 1), (50, 4)]), 2)]),
    v9([a_set(257, struct.pack("!IBI", 1, 1, 100)), a_set(256, record())]),
    ipfix([a_set(2, template(258, (*V4_FIELDS, (82, 65535), (1, 4, 29305)))), a_set(258, record() + b"\x03abc" + bytes(4))]),
    ipfix([a_set(3, ipfix_options(259, [(302, 4)], [(305, 4), (306, 4), (311, 8)])), a_set(259, bytes(20))]),
    ipfix([a_set(2, template(256, ())), a_set(2, template(2, ()))]),
    ipfix([a_set(2, template(260, (*BLOCK, (364, 2), (464, 65535)))), a_set(260, (block() + b"\4\0\x03abc") * 3)]),
    v9([a_set(0, template(261, BLOCK)), a_set(261, block() + block(17) + block(4))]),
)
PATTERN = 0xA5


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(0, 4)):
        where = chance.randrange(len(data)) if data else 0
        match chance.randrange(5):
            case 0 if data:
                data[where] = chance.choice((0, 1, 2, 255, 254, 128, chance.randrange(256)))
            case 1 if data:
                data[where : where + 2] = struct.pack("!H", chance.choice((0, 1, 3, 4, 5, 255, 256, 65535, len(data))))
            case 2:
                data = data[:where]
            case 3:
                data[where:where] = chance.randbytes(chance.randint(1, 8))
            case _:
                data += chance.choice(SEEDS)[20:]
    if len(data) > 4 and data[:2] == b"\0\x0a" and chance.random() < 0.8:
        data[2:4] = struct.pack("!H", len(data) & 0xFFFF)
    return bytes(data)


@settings(max_examples=300 if COMPILED else 10, deadline=None)
@given(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=5), st.integers(0, 1 << 32))
def test_no_packet_does_harm(seeds: list[bytes], seed: int) -> None:
    desk, chance = Desk(FlowExporter.model_validate({"address": "192.0.2.0/24", "port_blocks": True})), random.Random(seed)
    high, low = np.uint64(number(EXPORTER) >> 64), np.uint64(number(EXPORTER) & (1 << 64) - 1)
    for packet in (*SEEDS, *(mutated(one, chance) for one in seeds)):
        # The buffer ends where the packet does: reading on would raise.
        before = int(desk.desk.totals[layout.Total.PACKETS])
        room = np.frombuffer(bytearray(packet) or bytearray(1), np.uint8)
        start = int(desk.desk.cells[layout.C_RECORDS])
        decode(desk.desk, room, 0, len(packet), high, low, 2055, chance.randint(0, 1), 1_700_000_000)
        assert int(desk.desk.totals[layout.Total.PACKETS]) == before + 1
        assert start <= int(desk.desk.cells[layout.C_RECORDS]) <= layout.RECORDS // 2
        blocks = desk.desk.blocks[: desk.desk.cells[layout.C_BLOCKS]]
        assert np.isin(blocks[:, layout.B_EVENT], (16, 17)).all()
        first, last = blocks[:, layout.B_FIRST], blocks[:, layout.B_LAST]
        assert ((first > 0) & (first <= 65535) & (last <= 65535) & ((last >= first) | (last == 0))).all()
        assert (blocks[:, layout.B_OUTSIDE] > 0).all()
        used = desk.desk.records[: desk.desk.cells[layout.C_RECORDS]]
        assert (used[:, layout.R_OCTETS : layout.R_REVERSE + 1] <= layout.MOST_OCTETS).all()
    sampled = np.concatenate((desk.desk.rates, desk.desk.sampled))
    assert np.isfinite(sampled).all()
    assert ((sampled == 0) | ((sampled >= 1) & (sampled <= 1e6))).all()


@settings(max_examples=60 if COMPILED else 5, deadline=None)
@given(st.binary(max_size=200))
def test_what_lies_behind_a_packet_is_not_read(content: bytes) -> None:
    """The same packet in rooms with other octets behind it is read the same."""
    found = []
    for behind in (0, PATTERN):
        desk = Desk(FlowExporter.model_validate({"address": "192.0.2.0/24", "port_blocks": True}))
        for packet in (
            SEEDS[1],
            SEEDS[3],
            SEEDS[6],
            SEEDS[7],
            ipfix([content]),
            v9([content]),
            v5([content], count=max(1, len(content) // 48)),
        ):
            room = np.full(len(packet) + 64, behind, np.uint8)
            room[: len(packet)] = np.frombuffer(packet, np.uint8)
            decode(desk.desk, room, 0, len(packet), np.uint64(0), np.uint64(number(EXPORTER)), 2055, 0, 1)
        blocks = desk.desk.blocks[: desk.desk.cells[layout.C_BLOCKS]].tolist()
        assert len(blocks) >= 5
        found.append((desk.desk.totals.tolist(), blocks, desk.desk.records[: desk.desk.cells[layout.C_RECORDS]].tolist()))
    assert found[0] == found[1]
