"""Records of a NAT's events (IPFIX and NetFlow v9, natEvent of RFC 8158): which block of ports a CGN gave to whom, or took back.

Owns what becomes of a record with a natEvent. Of a block of ports (events 16 and 17), from an exporter that is said to report them, a row
of the desk's `blocks` comes; every other - who talked to whom, session by session - is counted, and nothing of it is kept. None of them
is traffic. Does not own whose an inside address is, nor what is made of a block: it goes to the control plane as it is
(`app.control_portblocks`), and is wiped here once it is handed over.
"""

from __future__ import annotations

from sekisho.flows.layout import (
    B_AT,
    B_EVENT,
    B_EXPORTER_HIGH,
    B_EXPORTER_LOW,
    B_FIRST,
    B_INSIDE_HIGH,
    B_INSIDE_LOW,
    B_LAST,
    B_OUTSIDE,
    B_REALM,
    B_WORDS,
    BLOCKS,
    C_BLOCKS,
    C_SENT,
    E_BLOCKS,
    M_EVENT,
    M_FIRST_PORT,
    M_INSIDE_HIGH,
    M_INSIDE_LOW,
    M_LAST_PORT,
    M_MANY_PORTS,
    M_MILLISECONDS,
    M_NONE,
    M_NTP,
    M_OUTSIDE,
    M_PORT_STEP,
    M_REALM,
    M_SECONDS,
    M_SOURCE_HIGH,
    M_SOURCE_LOW,
    S_HIGH,
    S_LOW,
    U64,
    Total,
)
from sekisho.snapshot.compiling import compiled

ALLOCATED, RELEASED = 16, 17
"""natEvent of a block of ports."""
_ALLOCATED, _RELEASED = U64(ALLOCATED), U64(RELEASED)
_ZERO, _ONE = U64(0), U64(1)
_THOUSAND, _R32, _LOW32 = U64(1000), U64(32), U64(0xFFFFFFFF)
_TO_1970 = U64(2_208_988_800)
"""Seconds from 1900 to 1970."""
_MOST_PORT = U64(65535)
_BLOCKS, _PASSED = int(Total.NAT_BLOCKS), int(Total.NAT_PASSED)
_UNUSABLE, _LOST = int(Total.NAT_UNUSABLE), int(Total.NAT_LOST)


@compiled
def meaning_of_nat(element):  # type: ignore[no-untyped-def]
    """What an information element of a NAT's record is read as: a number of eight octets at most."""
    if element == 230:
        return M_EVENT
    if element == 361:
        return M_FIRST_PORT
    if element == 362:
        return M_LAST_PORT
    if element == 363:
        return M_PORT_STEP
    if element == 364:
        return M_MANY_PORTS
    if element == 322:
        return M_SECONDS
    if element == 323:
        return M_MILLISECONDS
    if element == 324 or element == 325:
        return M_NTP
    return M_REALM if element == 234 else M_NONE


@compiled
def put_event(desk, session, exporter):  # type: ignore[no-untyped-def]
    """Hand a block of ports on that is allocated or taken back; count what else a NAT tells."""
    values = desk.values
    event = values[M_EVENT]
    if (event != _ALLOCATED and event != _RELEASED) or desk.exporters[exporter, E_BLOCKS] == _ZERO:
        desk.totals[_PASSED] += _ONE
        return
    first, last = values[M_FIRST_PORT], last_port(values)
    high, low = inside_address(values)
    # Which block goes is clear without its last port and without whose it was; which one comes is not.
    whole = last != _ZERO and high | low != _ZERO
    if first == _ZERO or last > _MOST_PORT or first > _MOST_PORT or values[M_OUTSIDE] == _ZERO or (event == _ALLOCATED and not whole):
        desk.totals[_UNUSABLE] += _ONE
        return
    at = desk.cells[C_BLOCKS]
    if at >= BLOCKS:
        desk.totals[_LOST] += _ONE
        return
    row = desk.blocks[at]
    row[B_EVENT] = event
    row[B_EXPORTER_HIGH], row[B_EXPORTER_LOW] = desk.sessions[session, S_HIGH], desk.sessions[session, S_LOW]
    row[B_INSIDE_HIGH], row[B_INSIDE_LOW] = high, low
    row[B_OUTSIDE], row[B_FIRST], row[B_LAST] = values[M_OUTSIDE], first, last
    row[B_AT], row[B_REALM] = moment(values, desk.cells[C_SENT]), values[M_REALM]
    desk.cells[C_BLOCKS] = at + 1
    desk.totals[_BLOCKS] += _ONE


@compiled
def last_port(values):  # type: ignore[no-untyped-def]
    """The last port of a block; 0: it is not told, above 65535: the block is no range, or is told in two ways that differ."""
    first, last, many = values[M_FIRST_PORT], values[M_LAST_PORT], values[M_MANY_PORTS]
    bad = _MOST_PORT + _ONE
    if first > _MOST_PORT or last > _MOST_PORT or many > _MOST_PORT:
        return bad
    if last == _ZERO and many != _ZERO:
        last = first + many - _ONE
    if last == _ZERO:
        return last
    if last < first or (values[M_PORT_STEP] > _ONE and last != first):
        return bad
    return bad if many != _ZERO and many != last - first + _ONE else last


@compiled
def inside_address(values):  # type: ignore[no-untyped-def]
    """The address the customer has; of DS-Lite that is the tunnel's."""
    if values[M_INSIDE_HIGH] | values[M_INSIDE_LOW] != _ZERO:
        return values[M_INSIDE_HIGH], values[M_INSIDE_LOW]
    return values[M_SOURCE_HIGH], values[M_SOURCE_LOW]


@compiled
def moment(values, sent):  # type: ignore[no-untyped-def]
    """When the event was, in UNIX milliseconds; where the record does not say, when its packet was sent."""
    if values[M_MILLISECONDS] != _ZERO:
        return values[M_MILLISECONDS]
    if values[M_NTP] >> _R32 > _TO_1970:
        return ((values[M_NTP] >> _R32) - _TO_1970) * _THOUSAND + ((values[M_NTP] & _LOW32) * _THOUSAND >> _R32)
    if values[M_SECONDS] != _ZERO:
        return (values[M_SECONDS] & _LOW32) * _THOUSAND
    return U64(sent) * _THOUSAND


@compiled
def wipe_blocks(desk, first):  # type: ignore[no-untyped-def]
    """Forget the blocks of ports from `first` on."""
    for at in range(first, desk.cells[C_BLOCKS]):
        for column in range(B_WORDS):
            desk.blocks[at, column] = _ZERO
    desk.cells[C_BLOCKS] = first
