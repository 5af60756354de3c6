"""A packet of an exporter decoded: NetFlow v5 (Cisco), NetFlow v9 (RFC 3954) or IPFIX (RFC 7011).

Owns the headers, the walk over sets and what makes a packet bad. A bad packet is counted by reason and none of its records
is used (RFC 7011, section 9); templates that came before the fault are kept. Nothing here raises, whatever the packet is.
"""

from __future__ import annotations

import numpy as np

from sekisho.flows.layout import (
    C_BLOCKS,
    C_RECORDS,
    C_SENT,
    F_LENGTH,
    F_RECORD,
    F_SET,
    F_SHORT,
    F_VERSION,
    S_EARLY,
    S_PACKETS,
    U64,
    Total,
)
from sekisho.flows.natevents import wipe_blocks
from sekisho.flows.records import read_records, wipe_records
from sekisho.flows.sessions import count_fault, count_two, find_exporter, find_session, find_template, follow, refuse, template_place
from sekisho.flows.templates import IPFIX, V5, V5_TEMPLATE, V9, read_options, read_templates
from sekisho.flows.wire import be16, be32
from sekisho.snapshot.compiling import compiled

_V5_HEADER, _V5_RECORD, _V9_HEADER, _IPFIX_HEADER = 24, 48, 20, 16
_PACKETS, _EARLY = int(Total.PACKETS), int(Total.EARLY)
_ONE = U64(1)
_LATE_PACKETS, _LATE_RECORDS = 64, 4096
"""How far behind a packet may come: in packets, and in records."""


@compiled
def decode(desk, data, start, size, high, low, port, tcp, now):  # type: ignore[no-untyped-def]
    """Decode the packet in `data` (uint8) from `start` on, `size` octets; its records are added to the desk's `records` and `blocks`.

    From the address (`high`, `low`) and `port`; `tcp` 1: over TCP. `now`: UNIX seconds. The buffer of records is to be at
    most half full.
    """
    desk.totals[_PACKETS] += _ONE
    version = be16(data, start) if size >= 2 else 0
    header = _V5_HEADER if version == V5 else _V9_HEADER if version == V9 else _IPFIX_HEADER
    # Over TCP there is IPFIX alone.
    known = version == IPFIX or (tcp == 0 and (version == V5 or version == V9))
    if size < 2 or not known or size < header:
        if find_exporter(desk, high, low) < 0:
            refuse(desk, high, low)
        else:
            count_fault(desk, -1, F_VERSION if size >= 2 and not known else F_SHORT)
        return
    domain = be16(data, start + 20) if version == V5 else be32(data, start + header - 4)
    number, window = sequence_of(data, start, version)
    session = find_session(desk, high, low, U64(port | tcp << 16 | version << 24 | domain << 32), number, window, now)
    if session < 0:
        return
    desk.sessions[session, S_PACKETS] += _ONE
    before, blocks = desk.cells[C_RECORDS], desk.cells[C_BLOCKS]
    desk.cells[C_SENT] = be32(data, start + (4 if version == IPFIX else 8))
    if version == V5:
        good = decode_v5(desk, session, data, start, start + size, number)
    elif version == IPFIX and be16(data, start + 2) != size:
        count_fault(desk, session, F_LENGTH)
        good = False
    else:
        good = decode_sets(desk, session, data, start, start + size, version, header, number)
    if not good:
        wipe_records(desk, before)
        wipe_blocks(desk, blocks)


@compiled
def sequence_of(data, start, version):  # type: ignore[no-untyped-def]
    """The sequence number in a header, and how far behind a packet may come by it."""
    if version == V9:
        return be32(data, start + 12), _LATE_PACKETS  # it counts packets (RFC 3954, section 5.1)
    return be32(data, start + (16 if version == V5 else 8)), _LATE_RECORDS


@compiled
def decode_v5(desk, session, data, start, end, number):  # type: ignore[no-untyped-def]
    """NetFlow v5: a header and records of one fixed form; the sequence counts records."""
    count = be16(data, start + 2)
    if count == 0 or start + _V5_HEADER + count * _V5_RECORD > end:
        count_fault(desk, session, F_SHORT)
        follow(desk, session, number, 0, False, _LATE_RECORDS)
        return False
    # Two bits of mode, fourteen of interval; 0 and 1: not sampled.
    told = np.float64(be16(data, start + 22) & 0x3FFF)
    at, place = start + _V5_HEADER, template_place(desk, V5_TEMPLATE)
    read_records(desk, session, data, at, at + count * _V5_RECORD, place, told if told > 1.0 else 0.0)
    follow(desk, session, number, count, True, _LATE_RECORDS)
    return True


@compiled
def decode_sets(desk, session, data, start, end, version, header, number):  # type: ignore[no-untyped-def]
    """NetFlow v9 and IPFIX: sets of templates, of options templates, and of data by them."""
    templates = 0 if version == V9 else 2
    at, many = start + header, 0
    good, sure = True, True
    while good and at + 4 <= end:
        identity, length = be16(data, at), be16(data, at + 2)
        if length < 4 or at + length > end:
            count_fault(desk, session, F_SET)
            good = False
        elif identity == templates:
            good = read_templates(desk, session, data, at + 4, at + length, version)
        elif identity == templates + 1:
            good = read_options(desk, session, data, at + 4, at + length, version)
        elif identity >= 256:
            place = find_template(desk, session, identity)
            if place < 0:
                count_two(desk, session, S_EARLY, _EARLY, 1)
                sure = False
            else:
                found = read_records(desk, session, data, at + 4, at + length, place, 0.0)
                if found < 0:
                    count_fault(desk, session, F_RECORD)
                    good = False
                many += max(found, 0)
        at += length
    if version == V9:
        follow(desk, session, number, 1, True, _LATE_PACKETS)
    else:
        # It counts the records of data that were sent before (RFC 7011, section 3.1): how many a bad packet had, nobody knows.
        follow(desk, session, number, many, good and sure, _LATE_RECORDS)
    return good
