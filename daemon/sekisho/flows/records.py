"""Records decoded by a compiled template: one loop over the records of a set, another over the template's steps.

Owns what becomes of a record: of traffic, a row of the desk's `records`, with sampling multiplied; of options,
the rate of a sampler; of a NAT's event, what `natevents` makes of it. Ports are looked at here, for what the record counts as; they
go as far as it takes to tell whose a shared address is. What was summed, or is of a bad packet, is wiped: neither address nor port
stays in memory.
"""

from __future__ import annotations

import numpy as np

from sekisho.flows.layout import (
    C_RECORDS,
    E_DIRECTION,
    E_INTERFACES,
    F_OCTETS,
    FACT_MAIL,
    FACT_NOT_DOWN,
    FACT_NOT_UP,
    FACT_PORTS,
    M_DIRECTION,
    M_EVENT,
    M_FLAGS,
    M_INPUT,
    M_INSIDE_HIGH,
    M_INSIDE_LOW,
    M_INTERVAL,
    M_OCTETS,
    M_OUTPUT,
    M_PACKETS,
    M_POPULATION,
    M_PROBABILITY,
    M_PROBABILITY_SHORT,
    M_PROTOCOL,
    M_REALM,
    M_REVERSE,
    M_SAMPLER,
    M_SIZE,
    M_SLOTS,
    M_SOURCE_HIGH,
    M_SOURCE_LOW,
    M_SOURCE_PORT,
    M_SOURCE_V4,
    M_SOURCE_V6,
    M_SPACE,
    M_TARGET_HIGH,
    M_TARGET_LOW,
    M_TARGET_PORT,
    M_TARGET_V4,
    MOST_OCTETS,
    R_FACTS,
    R_OCTETS,
    R_OPENED,
    R_REVERSE,
    R_SOURCE_HIGH,
    R_SOURCE_LOW,
    R_TARGET_HIGH,
    R_TARGET_LOW,
    R_WORDS,
    RECORDS,
    S_EXPORTER,
    S_RECORDS,
    SOURCE_PORT,
    STEP,
    T_LENGTH,
    T_OPTIONS,
    T_STEPS,
    T_TAIL,
    TARGET_PORT,
    U64,
    VARIABLE,
    Total,
)
from sekisho.flows.natevents import put_event
from sekisho.flows.sessions import count_fault, count_two, find_rate, set_rate
from sekisho.flows.wire import be16, number
from sekisho.snapshot.compiling import compiled

_V4 = U64(0xFFFF) << U64(32)
_ZERO, _ONE = U64(0), U64(1)
_ALL = U64(0xFFFFFFFFFFFFFFFF)
_RECORDS, _UNUSABLE = int(Total.RECORDS), int(Total.UNUSABLE)
_MOST = U64(MOST_OCTETS)
_TCP, _UDP, _DCCP, _SCTP = U64(6), U64(17), U64(33), U64(132)
_PORT = U64(0xFFFF)
_SYN, _ACK = U64(2), U64(16)
MOST_RATE = 1e6
"""One packet in more than a million is no sampling."""


@compiled
def read_record(desk, data, at, end, place):  # type: ignore[no-untyped-def]
    """Read one record into `values` by the template at `place`; where it ends, or -1 if it goes on beyond `end`."""
    values, steps = desk.values, desk.steps[place]
    for slot in range(M_SLOTS):
        values[slot] = _ZERO
    for step in range(0, STEP * desk.templates[place, T_STEPS], STEP):
        at += np.int64(steps[step])
        length, meaning = np.int64(steps[step + 1]), steps[step + 2]
        if length == VARIABLE:
            if at >= end:
                return -1
            length = np.int64(data[at])
            at += 1
            if length == 255:
                if at + 2 > end:
                    return -1
                length = be16(data, at)
                at += 2
        if at + length > end:
            return -1
        if meaning >= M_SOURCE_V4:
            read_address(values, data, at, meaning)
        elif meaning == M_REALM:
            # Two fields may say it: one that says nothing takes nothing back, and what they disagree on is no network of ours.
            told = number(data, at, length) if length <= 8 else _ALL
            if told != _ZERO:
                values[meaning] = told if values[meaning] == _ZERO or values[meaning] == told else _ALL
        elif meaning > 0:
            values[meaning] = number(data, at, length)
        at += length
    at += desk.templates[place, T_TAIL]
    return at if at <= end else -1


@compiled
def read_address(values, data, at, meaning):  # type: ignore[no-untyped-def]
    """An address; all zeros says that the record has one of the other family."""
    slot = M_SOURCE_HIGH if meaning == M_SOURCE_V4 or meaning == M_SOURCE_V6 else M_TARGET_HIGH
    if meaning == M_SOURCE_V4 or meaning == M_TARGET_V4:
        low = number(data, at, 4)
        if low != _ZERO:
            values[slot], values[slot + 1] = _ZERO, _V4 | low
        return
    high, low = number(data, at, 8), number(data, at + 8, 8)
    if high != _ZERO or low != _ZERO:
        values[slot], values[slot + 1] = high, low
        if meaning == M_SOURCE_V6:
            values[M_INSIDE_HIGH], values[M_INSIDE_LOW] = high, low


@compiled
def read_records(desk, session, data, at, end, place, told):  # type: ignore[no-untyped-def]
    """Decode the records of a set; how many they are, or -1 if one goes on beyond it. `told`: the rate the header tells, 0.0: none."""
    length = desk.templates[place, T_LENGTH]
    options = desk.templates[place, T_OPTIONS] == 1
    exporter = np.int64(desk.sessions[session, S_EXPORTER]) - 1
    many, events = 0, 0
    # What is shorter than any record is padding.
    while at + length <= end:
        at = read_record(desk, data, at, end, place)
        if at < 0:
            return -1
        many += 1
        if options:
            learn_rate(desk, session)
        elif desk.values[M_EVENT] != _ZERO:
            put_event(desk, session, exporter)
            events += 1
        else:
            put_record(desk, session, exporter, told)
    if not options:
        count_two(desk, session, S_RECORDS, _RECORDS, many - events)
    return many


@compiled
def own_rate(values):  # type: ignore[no-untyped-def]
    """The sampling a record tells: one of so many packets, or 0.0."""
    rate = 0.0
    if values[M_PROBABILITY] != _ZERO:
        rate = inverse(values[M_PROBABILITY], 52, 1023)
    elif values[M_PROBABILITY_SHORT] != _ZERO:
        rate = inverse(values[M_PROBABILITY_SHORT], 23, 127)
    elif values[M_SIZE] != _ZERO and values[M_POPULATION] != _ZERO:
        rate = np.float64(values[M_POPULATION]) / np.float64(values[M_SIZE])
    elif values[M_PACKETS] != _ZERO and values[M_SPACE] != _ZERO:
        rate = (np.float64(values[M_PACKETS]) + np.float64(values[M_SPACE])) / np.float64(values[M_PACKETS])
    elif values[M_PACKETS] != _ZERO:
        # Without the packets passed over it says, for all who send it so, one of how many is taken.
        rate = np.float64(values[M_PACKETS])
    elif values[M_INTERVAL] != _ZERO:
        rate = np.float64(values[M_INTERVAL])
    return rate if 1.0 <= rate <= MOST_RATE else 0.0


@compiled
def inverse(word, digits, bias):  # type: ignore[no-untyped-def]
    """1 / p of a floating-point number as the bits of its big-endian form (IEEE 754), for 0 < p <= 1; otherwise 0.0.

    `digits`: bits of its fraction; `bias`: of its exponent.
    """
    exponent = bias - np.int64(word >> U64(digits))
    if exponent < 0 or exponent > 40:
        return 0.0
    one = np.int64(1) << digits
    fraction = np.int64(word) & (one - 1)
    return np.float64(np.int64(1) << exponent) / (1.0 + np.float64(fraction) / np.float64(one))


@compiled
def learn_rate(desk, session):  # type: ignore[no-untyped-def]
    """Keep the sampling a record of options tells, if it does."""
    rate = own_rate(desk.values)
    if rate > 0.0:
        sampler = desk.values[M_SAMPLER]
        set_rate(desk, session, sampler, sampler != _ZERO, rate)


@compiled
def put_record(desk, session, exporter, told):  # type: ignore[no-untyped-def]
    """Hand a record of traffic on, as far as there is anything in it to count."""
    values = desk.values
    if values[M_OCTETS] > _MOST or values[M_REVERSE] > _MOST:
        count_fault(desk, session, F_OCTETS)
        return
    wanted = desk.exporters[exporter, E_DIRECTION]
    if wanted != _ZERO and values[M_DIRECTION] + _ONE != wanted:
        return
    opened = opens(values)
    addressed = values[M_SOURCE_LOW] | values[M_SOURCE_HIGH] | values[M_TARGET_LOW] | values[M_TARGET_HIGH]
    if addressed == _ZERO or (values[M_OCTETS] == _ZERO and values[M_REVERSE] == _ZERO and opened == 0):
        desk.totals[_UNUSABLE] += _ONE
        return
    rate = own_rate(values)
    if rate == 0.0:
        rate = find_rate(desk, session, values[M_SAMPLER])
    if rate == 0.0:
        rate = told if told > 0.0 else desk.defaults[exporter]
    octets, reverse = multiplied(values[M_OCTETS], rate), multiplied(values[M_REVERSE], rate)
    if octets > _MOST or reverse > _MOST:
        count_fault(desk, session, F_OCTETS)
        return
    at = desk.cells[C_RECORDS]
    if at >= RECORDS:
        raise IndexError
    record = desk.records[at]
    record[R_SOURCE_HIGH], record[R_SOURCE_LOW] = values[M_SOURCE_HIGH], values[M_SOURCE_LOW]
    record[R_TARGET_HIGH], record[R_TARGET_LOW] = values[M_TARGET_HIGH], values[M_TARGET_LOW]
    record[R_OCTETS], record[R_REVERSE] = octets, reverse
    facts = 0
    if opened > 0 and is_mail(values[M_TARGET_PORT]):
        facts |= FACT_MAIL
    if desk.exporters[exporter, E_INTERFACES] != _ZERO:
        if not is_inside(desk, exporter, values[M_INPUT]):
            facts |= FACT_NOT_UP
        if not is_inside(desk, exporter, values[M_OUTPUT]):
            facts |= FACT_NOT_DOWN
    record[R_FACTS] = U64(facts) | ports_of(values)
    # A connection that was seen begin stands for as many as packets do; one of which that is not told, for itself.
    record[R_OPENED] = multiplied(_ONE, rate) if opened == 2 else U64(opened)
    desk.cells[C_RECORDS] = at + 1


@compiled
def wipe_records(desk, first):  # type: ignore[no-untyped-def]
    """Forget the records from `first` on, and the values of the one that was read last."""
    for at in range(first, desk.cells[C_RECORDS]):
        for column in range(R_WORDS):
            desk.records[at, column] = _ZERO
    for slot in range(M_SLOTS):
        desk.values[slot] = _ZERO
    desk.cells[C_RECORDS] = first


@compiled
def ports_of(values):  # type: ignore[no-untyped-def]
    """The ports of a record as facts tell them; of a protocol without ports none (ICMP tells its type there)."""
    protocol = values[M_PROTOCOL]
    if protocol != _TCP and protocol != _UDP and protocol != _DCCP and protocol != _SCTP:
        return _ZERO
    source, target = values[M_SOURCE_PORT] & _PORT, values[M_TARGET_PORT] & _PORT
    return U64(FACT_PORTS) | source << U64(SOURCE_PORT) | target << U64(TARGET_PORT)


@compiled
def multiplied(count, rate):  # type: ignore[no-untyped-def]
    """A count with the packets that were not sampled, rounded."""
    return count if rate <= 1.0 else U64(np.int64(np.float64(count) * rate + 0.5))


@compiled
def is_mail(port):  # type: ignore[no-untyped-def]
    """SMTP, and submission with and without TLS (RFC 5321, 6409, 8314)."""
    return port == U64(25) or port == U64(587) or port == U64(465)


@compiled
def opens(values):  # type: ignore[no-untyped-def]
    """Whether the record is of a TCP connection which its source opened: 0 no, 1 most likely, 2 it was seen begin.

    Flags are those of all its packets together: without SYN it began before, unless the exporter tells no flags. A
    SYN alone is the opener's; with an ACK it is the server's too, whose port is the lower of the two.
    """
    flags = values[M_FLAGS]
    if values[M_PROTOCOL] != _TCP or (flags != _ZERO and flags & _SYN == _ZERO):
        return 0
    if flags & _ACK == _ZERO and flags != _ZERO:
        return 2
    if values[M_TARGET_PORT] == _ZERO or values[M_TARGET_PORT] >= values[M_SOURCE_PORT]:
        return 0
    return 2 if flags != _ZERO else 1


@compiled
def is_inside(desk, exporter, interface):  # type: ignore[no-untyped-def]
    """Whether an interface leads to customers."""
    for index in range(np.int64(desk.exporters[exporter, E_INTERFACES])):  # noqa: SIM110 - compiled: no generator
        if desk.interfaces[exporter, index] == interface:
            return True
    return False
