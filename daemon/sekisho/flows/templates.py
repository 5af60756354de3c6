"""Templates compiled: of all fields a record has, where those lie that mean something here.

Owns the reading of template sets of NetFlow v9 (RFC 3954, sections 5.2 and 6.1) and IPFIX (RFC 7011, section 3.4)
and what each information element is read as. A compiled template is a row of steps (octets passed over, length, meaning), which
`records` runs over every record of a set. Fields of enterprises are passed over, but for octets of the
reverse direction (RFC 5103).
"""

from __future__ import annotations

from sekisho.flows import layout
from sekisho.flows.layout import (
    C_DIRTY,
    F_TEMPLATE,
    FIELDS,
    GONE,
    M_DIRECTION,
    M_FLAGS,
    M_INPUT,
    M_INTERVAL,
    M_NONE,
    M_OCTETS,
    M_OUTPUT,
    M_OUTSIDE,
    M_PACKETS,
    M_POPULATION,
    M_PROBABILITY,
    M_PROBABILITY_SHORT,
    M_PROTOCOL,
    M_REALM,
    M_REVERSE,
    M_SAMPLER,
    M_SIZE,
    M_SOURCE_PORT,
    M_SOURCE_V4,
    M_SOURCE_V6,
    M_SPACE,
    M_TARGET_PORT,
    M_TARGET_V4,
    M_TARGET_V6,
    S_OWN,
    STEP,
    STEPS,
    T_KEY,
    T_LENGTH,
    T_OPTIONS,
    T_STEPS,
    T_TAIL,
    TEMPLATES,
    U64,
    VARIABLE,
)
from sekisho.flows.natevents import meaning_of_nat
from sekisho.flows.sessions import add_template_place, count_fault, withdraw
from sekisho.flows.wire import be16, be32
from sekisho.snapshot.compiling import compiled

V5, V9, IPFIX = 5, 9, 10
V5_TEMPLATE = 5
"""The id under which the fixed form of NetFlow v5 stands among the templates, of session -1: no packet can name it."""
_REVERSE = 29305
_TCP = U64(1 << 16)
_ONE = U64(1)
_SCOPE = -1
"""Enterprise of a scope field of NetFlow v9, whose types are its own."""


@compiled
def meaning_of(element, length, enterprise):  # type: ignore[no-untyped-def]
    """What an information element (IANA's registry, NetFlow v9's field types) is read as, if its length can be."""
    if enterprise == _REVERSE:
        return M_REVERSE if element == 1 and length <= 8 else M_NONE
    if enterprise != 0:
        return M_NONE
    if element == 8:
        return M_SOURCE_V4 if length == 4 else M_NONE
    if element == 12:
        return M_TARGET_V4 if length == 4 else M_NONE
    if element == 27:
        return M_SOURCE_V6 if length == 16 else M_NONE
    if element == 28:
        return M_TARGET_V6 if length == 16 else M_NONE
    if element == 225:
        return M_OUTSIDE if length == 4 else M_NONE
    if element == 464:
        return M_REALM
    if length == 0 or length > 8:
        return M_NONE
    if element == 1 or element == 231 or element == 85 or element == 23:
        return M_OCTETS
    if element == 232:
        return M_REVERSE
    if element == 4:
        return M_PROTOCOL
    if element == 6:
        return M_FLAGS
    if element == 7 or element == 180 or element == 182:
        return M_SOURCE_PORT
    if element == 11 or element == 181 or element == 183:
        return M_TARGET_PORT
    if element == 10:
        return M_INPUT
    if element == 14:
        return M_OUTPUT
    if element == 61:
        return M_DIRECTION
    if element == 48 or element == 302:
        return M_SAMPLER
    if element == 34 or element == 50:
        return M_INTERVAL
    if element == 305:
        return M_PACKETS
    if element == 306:
        return M_SPACE
    if element == 309:
        return M_SIZE
    if element == 310:
        return M_POPULATION
    if element == 311 and length == 4:
        return M_PROBABILITY_SHORT
    return M_PROBABILITY if element == 311 and length == 8 else meaning_of_nat(element)


@compiled
def rank_of(element):  # type: ignore[no-untyped-def]
    """Which of several counts of the same octets is used: the highest. Deltas, the initiator's, totals, those sent on."""
    if element == 1:
        return 4
    if element == 231:
        return 3
    return 2 if element == 85 else 1


@compiled
def compile_fields(desk, count):  # type: ignore[no-untyped-def]
    """Compile `count` rows of `fields` into `fresh`: (steps, octets of a record, octets after the last step); steps -1: too many."""
    fields, fresh = desk.fields, desk.fresh
    best = 0
    for row in range(count):
        if meaning_of(fields[row, 0], fields[row, 1], fields[row, 2]) == M_OCTETS:
            best = max(best, rank_of(fields[row, 0]))
    steps, gap, total = 0, 0, 0
    seen = U64(0)
    for row in range(count):
        length = fields[row, 1]
        meaning = meaning_of(fields[row, 0], length, fields[row, 2])
        if meaning == M_OCTETS and rank_of(fields[row, 0]) < best:
            meaning = M_NONE
        # Of the same element twice the first is the outer, which is the line's (RFC 7011, section 8); networks are told by two elements.
        if meaning != M_NONE and meaning != M_REALM and seen >> U64(meaning) & _ONE:
            meaning = M_NONE
        seen |= _ONE << U64(meaning)
        total += 1 if length == VARIABLE else length
        if meaning == M_NONE and length != VARIABLE:
            gap += length
            continue
        if steps == STEPS:
            return -1, total, gap
        fresh[STEP * steps], fresh[STEP * steps + 1], fresh[STEP * steps + 2] = gap, length, meaning
        steps += 1
        gap = 0
    return steps, total, gap


@compiled
def keep_template(desk, session, identity, count, options):  # type: ignore[no-untyped-def]
    """Compile the rows of `fields` as a template of the session; False: it cannot be one."""
    steps, total, tail = compile_fields(desk, count)
    if steps < 0 or total < 1 or total > 65535:
        return False
    place = add_template_place(desk, session, identity)
    if place < 0:
        return True
    row = desk.templates[place]
    same = row[T_STEPS] == steps and row[T_LENGTH] == total and row[T_TAIL] == tail and row[T_OPTIONS] == options
    for index in range(STEP * steps):
        if desk.steps[place, index] != desk.fresh[index]:
            desk.steps[place, index] = desk.fresh[index]
            same = False
    row[T_STEPS], row[T_LENGTH], row[T_TAIL], row[T_OPTIONS] = steps, total, tail, options
    if session >= 0:
        if desk.sessions[session, S_OWN] == U64(0):
            same = False
        desk.sessions[session, S_OWN] = _ONE
    if not same:
        desk.cells[C_DIRTY] = 1
    return True


@compiled
def read_fields(desk, data, at, end, count, first, enterprises, scope):  # type: ignore[no-untyped-def]
    """Read `count` field specifiers into `fields` from row `first` on; where they end, or -1 if they do not fit."""
    for row in range(first, first + count):
        if row >= FIELDS or at + 4 > end:
            return -1
        element, enterprise = be16(data, at), 0
        desk.fields[row, 1] = be16(data, at + 2)
        at += 4
        if enterprises and element & 0x8000:
            if at + 4 > end:
                return -1
            element, enterprise = element & 0x7FFF, be32(data, at)
            at += 4
        elif not enterprises and desk.fields[row, 1] == VARIABLE:
            return -1
        desk.fields[row, 0] = element
        desk.fields[row, 2] = _SCOPE if scope else enterprise
    return at


@compiled
def read_templates(desk, session, data, at, end, version):  # type: ignore[no-untyped-def]
    """A set of templates; False, counted, if one of them cannot be."""
    while at + 4 <= end:
        identity, count = be16(data, at), be16(data, at + 2)
        if identity == 0 and count == 0:
            return True  # padding
        if version == IPFIX and count == 0:
            take_back(desk, session, identity, 2)
            at += 4
            continue
        at = read_fields(desk, data, at + 4, end, count, 0, version == IPFIX, False)
        if identity < 256 or at < 0 or not keep_template(desk, session, identity, count, 0):
            count_fault(desk, session, F_TEMPLATE)
            return False
    return True


@compiled
def read_options(desk, session, data, at, end, version):  # type: ignore[no-untyped-def]
    """A set of options templates; False, counted, if one of them cannot be."""
    while at + 4 <= end:
        identity, count = be16(data, at), be16(data, at + 2)
        if identity == 0 and count == 0:
            return True  # padding
        if version == IPFIX and count == 0:
            take_back(desk, session, identity, 3)
            at += 4
            continue
        if at + 6 > end:
            return version == V9  # NetFlow v9 pads to four octets
        if version == IPFIX:
            scopes = be16(data, at + 4)
            good = 0 < scopes <= count
            at = read_fields(desk, data, at + 6, end, count, 0, True, False) if good else -1
        else:
            # Lengths in octets, the scope's first; a scope's types are no information elements.
            scopes, count = count // 4, be16(data, at + 4) // 4
            at = read_fields(desk, data, at + 6, end, scopes, 0, False, True)
            if at >= 0:
                at = read_fields(desk, data, at, end, count, scopes, False, False)
            count += scopes
        if identity < 256 or at < 0 or not keep_template(desk, session, identity, count, 1):
            count_fault(desk, session, F_TEMPLATE)
            return False
    return True


@compiled
def take_back(desk, session, identity, every):  # type: ignore[no-untyped-def]
    """A withdrawal of one template or, under the set's own id, of all of its kind (RFC 7011, section 8.1).

    Over UDP there is none: whoever can send one packet could take an exporter's templates away.
    """
    if desk.sessions[session, layout.S_KEY] & _TCP == U64(0):
        return
    if identity != every:
        withdraw(desk, session, identity)
        return
    for place in range(TEMPLATES):
        if desk.templates[place, T_KEY] >> 16 == session + 1 and desk.templates[place, T_OPTIONS] == every - 2:
            desk.templates[place, T_KEY] = GONE
            desk.cells[C_DIRTY] = 1


@compiled
def keep_v5(desk):  # type: ignore[no-untyped-def]
    """Put the fixed record of NetFlow v5 (Cisco, 48 octets) among the templates; its place."""
    put_field(desk, 0, 8, 4)
    put_field(desk, 1, 12, 4)
    put_field(desk, 2, 15, 4)
    put_field(desk, 3, 10, 2)
    put_field(desk, 4, 14, 2)
    put_field(desk, 5, 2, 4)
    put_field(desk, 6, 1, 4)
    put_field(desk, 7, 22, 4)
    put_field(desk, 8, 21, 4)
    put_field(desk, 9, 7, 2)
    put_field(desk, 10, 11, 2)
    put_field(desk, 11, 210, 1)
    put_field(desk, 12, 6, 1)
    put_field(desk, 13, 4, 1)
    put_field(desk, 14, 5, 1)
    put_field(desk, 15, 210, 8)
    keep_template(desk, -1, V5_TEMPLATE, 16, 0)


@compiled
def put_field(desk, row, element, length):  # type: ignore[no-untyped-def]
    desk.fields[row, 0], desk.fields[row, 1], desk.fields[row, 2] = element, length, 0
