"""Sessions, templates and samplers found by their keys, and the sequence each session counts.

Owns the three hash tables of the desk: open addressing, places once used stay so (a given-up one is marked
GONE) until `drivers.flowskept` lays the tables anew.
"""

from __future__ import annotations

import numpy as np

from sekisho.flows.layout import (
    C_DIRTY,
    C_EXPORTERS,
    C_SAMPLERS,
    C_SESSIONS,
    C_STRANGER_HIGH,
    C_STRANGER_LOW,
    C_TEMPLATES,
    E_HIGH,
    E_LENGTH,
    E_LOW,
    F_FULL,
    F_STRANGER,
    FAULTS,
    GONE,
    S_EXPECTED,
    S_EXPORTER,
    S_FAULTS,
    S_GAPS,
    S_HEIR,
    S_HIGH,
    S_KEY,
    S_LATE,
    S_LOST,
    S_LOW,
    S_ORDER,
    S_OWN,
    S_RESTARTS,
    S_SEEN,
    S_SINCE,
    SAMPLERS,
    SESSIONS,
    T_KEY,
    TEMPLATES,
    U64,
    Total,
)
from sekisho.flows.otherports import find_forerunner, find_heir
from sekisho.snapshot.compiling import compiled

_K1, _K2, _K3 = U64(0x9E3779B97F4A7C15), U64(0xC2B2AE3D27D4EB4F), U64(0x165667B19E3779F9)
_R32, _R16, _ONE, _ZERO = U64(32), U64(16), U64(1), U64(0)
_LOW32, _LOW16 = U64(0xFFFFFFFF), U64(0xFFFF)
_ALL = U64(0xFFFFFFFFFFFFFFFF)
_TCP = U64(1 << 16)
_GONE = U64(GONE)
_GAPS, _LOST, _LATE, _RESTARTS = int(Total.GAPS), int(Total.LOST), int(Total.LATE), int(Total.RESTARTS)
_PACKETS = int(Total.PACKETS)
LEAP = 1 << 28
"""A sequence that is further ahead than this has begun anew."""


@compiled
def count_fault(desk, session, fault):  # type: ignore[no-untyped-def]
    """Count a bad packet; `session` -1: it is nobody's."""
    desk.totals[FAULTS + fault] += _ONE
    if session >= 0:
        desk.sessions[session, S_FAULTS + fault] += _ONE


@compiled
def mix(word):  # type: ignore[no-untyped-def]
    """A word whose bits all depend on all bits of `word`."""
    word = (word ^ (word >> _R32)) * _K1
    return (word ^ (word >> _R32)) * _K2 >> _R16


@compiled
def find_exporter(desk, high, low):  # type: ignore[no-untyped-def]
    """The entry of the configuration with the longest prefix that holds the address, or -1. Entries are in that order."""
    for row in range(desk.cells[C_EXPORTERS]):
        length = np.int64(desk.exporters[row, E_LENGTH])
        masked_high, masked_low = high, low
        if length <= 64:
            masked_low = _ZERO
            masked_high = _ZERO if length == 0 else high & (_ALL << U64(64 - length))
        elif length < 128:
            masked_low = low & (_ALL << U64(128 - length))
        if desk.exporters[row, E_HIGH] == masked_high and desk.exporters[row, E_LOW] == masked_low:
            return row
    return -1


@compiled
def find_session(desk, high, low, key, number, window, now):  # type: ignore[no-untyped-def]
    """The session's row, made if it is new; -1, counted, if it is no exporter's or there is no room.

    `number`: the packet's sequence number, `window` as for `follow`; `now`: UNIX seconds.
    """
    sessions = desk.sessions
    at = np.int64(mix(high ^ mix(low ^ mix(key)))) & (SESSIONS - 1)
    for _ in range(SESSIONS):
        found = sessions[at, S_KEY]
        if found == key and sessions[at, S_HIGH] == high and sessions[at, S_LOW] == low:
            if sessions[at, S_EXPORTER] == _ZERO:
                refuse(desk, high, low)
                return -1
            if sessions[at, S_SINCE] == _ZERO:
                sessions[at, S_SINCE] = U64(now)
            sessions[at, S_SEEN], sessions[at, S_ORDER] = U64(now), desk.totals[_PACKETS]
            return at
        if found == _ZERO:
            break
        at = (at + 1) & (SESSIONS - 1)
    exporter = find_exporter(desk, high, low)
    if exporter < 0:
        refuse(desk, high, low)
        return -1
    if desk.cells[C_SESSIONS] >= SESSIONS * 3 // 4:
        count_fault(desk, -1, F_FULL)
        return -1
    heir, before = find_heir(desk, high, low, key), find_forerunner(desk, high, low, key, number, window)
    for column in range(sessions.shape[1]):
        sessions[at, column] = _ZERO
    sessions[at, S_HIGH], sessions[at, S_LOW], sessions[at, S_KEY] = high, low, key
    sessions[at, S_EXPORTER] = U64(exporter + 1)
    sessions[at, S_HEIR] = U64(heir + 1)
    sessions[at, S_SEEN] = U64(now)
    sessions[at, S_SINCE], sessions[at, S_ORDER] = U64(now), desk.totals[_PACKETS]
    if before >= 0:
        # Its sequence goes on under another port; should both be there, each is followed on its own from now on.
        sessions[at, S_EXPECTED], sessions[before, S_EXPECTED] = sessions[before, S_EXPECTED], _ZERO
    desk.rates[at] = 0.0
    desk.cells[C_SESSIONS] += 1
    return at


@compiled
def refuse(desk, high, low):  # type: ignore[no-untyped-def]
    """Count a packet of an address that is no exporter's."""
    count_fault(desk, -1, F_STRANGER)
    desk.cells[C_STRANGER_HIGH], desk.cells[C_STRANGER_LOW] = np.int64(high), np.int64(low)


@compiled
def template_place(desk, key):  # type: ignore[no-untyped-def]
    """The place of a template by its key, or -1 - the free place where it would go, or -1 - TEMPLATES if there is none."""
    at = np.int64(mix(U64(key))) & (TEMPLATES - 1)
    free = -1
    for _ in range(TEMPLATES):
        found = desk.templates[at, T_KEY]
        if found == key:
            return at
        if found == GONE and free < 0:
            free = at
        if found == 0:
            return -1 - at if free < 0 else -1 - free
        at = (at + 1) & (TEMPLATES - 1)
    return -1 - TEMPLATES if free < 0 else -1 - free


@compiled
def find_template(desk, session, identity):  # type: ignore[no-untyped-def]
    """The place of the template a set of data names, or -1."""
    place = template_place(desk, (session + 1) << 16 | identity)
    if place < 0 and desk.sessions[session, S_OWN] == _ZERO and desk.sessions[session, S_HEIR] != _ZERO:
        place = template_place(desk, np.int64(desk.sessions[session, S_HEIR]) << 16 | identity)
    return place if place >= 0 else -1


@compiled
def withdraw(desk, session, identity):  # type: ignore[no-untyped-def]
    """Forget one template of a session."""
    place = template_place(desk, (session + 1) << 16 | identity)
    if place >= 0:
        desk.templates[place, T_KEY] = GONE
        desk.cells[C_DIRTY] = 1


@compiled
def forget(desk, session):  # type: ignore[no-untyped-def]
    """Give a session up, with all that is its own."""
    for place in range(TEMPLATES):
        if desk.templates[place, T_KEY] >> 16 == session + 1:
            desk.templates[place, T_KEY] = GONE
    for place in range(SAMPLERS):
        if desk.samplers[place] >> _R32 == U64(session + 1):
            desk.samplers[place] = _GONE
    for row in range(SESSIONS):
        if desk.sessions[row, S_HEIR] == U64(session + 1):
            desk.sessions[row, S_HEIR] = _ZERO
    desk.sessions[session, S_KEY] = _GONE
    desk.rates[session] = 0.0
    desk.cells[C_DIRTY] = 1


@compiled
def forget_connection(desk, high, low, port):  # type: ignore[no-untyped-def]
    """Give up every session of a TCP connection that has ended."""
    for row in range(SESSIONS):
        key = desk.sessions[row, S_KEY]
        if key & (_TCP | _LOW16) == _TCP | U64(port) and key > _GONE and desk.sessions[row, S_HIGH] == high:
            if desk.sessions[row, S_LOW] == low:
                forget(desk, row)


@compiled
def sampler_place(desk, key):  # type: ignore[no-untyped-def]
    """The place of a sampler's rate, or -1 - the free place where it would go, or -1 - SAMPLERS if there is none."""
    at = np.int64(mix(key)) & (SAMPLERS - 1)
    for _ in range(SAMPLERS):
        found = desk.samplers[at]
        if found == key:
            return at
        if found == _ZERO:
            return -1 - at
        at = (at + 1) & (SAMPLERS - 1)
    return -1 - SAMPLERS


@compiled
def find_rate(desk, session, sampler):  # type: ignore[no-untyped-def]
    """One of how many packets the sampler takes, as far as the exporter told; 0.0: it did not. `sampler` 0: which is not said."""
    for owner in (session + 1, np.int64(desk.sessions[session, S_HEIR])):
        if owner == 0:
            continue
        if sampler != _ZERO:
            place = sampler_place(desk, U64(owner) << _R32 | sampler & _LOW32)
            if place >= 0:
                return desk.sampled[place]
        if desk.rates[owner - 1] > 0.0:
            return desk.rates[owner - 1]
    return 0.0


@compiled
def set_rate(desk, session, sampler, named, rate):  # type: ignore[no-untyped-def]
    """Keep what an exporter says of its sampling; for records that name no sampler, what it said last."""
    if desk.rates[session] != rate:
        desk.rates[session] = rate
        desk.cells[C_DIRTY] = 1
    if not named:
        return
    place = sampler_place(desk, U64(session + 1) << _R32 | sampler & _LOW32)
    if place < 0:
        place = -1 - place
        if place >= SAMPLERS or desk.cells[C_SAMPLERS] >= SAMPLERS * 3 // 4:
            count_fault(desk, session, F_FULL)
            return
        desk.samplers[place] = U64(session + 1) << _R32 | sampler & _LOW32
        desk.cells[C_SAMPLERS] += 1
        desk.sampled[place] = 0.0
    if desk.sampled[place] != rate:
        desk.sampled[place] = rate
        desk.cells[C_DIRTY] = 1


@compiled
def follow(desk, session, number, units, sure, window):  # type: ignore[no-untyped-def]
    """Compare a packet's sequence number with the one expected; the next is `units` on, if that is sure.

    A number at most `window` behind is that of a packet overtaken by later ones: what was taken for lost is not.
    """
    sessions = desk.sessions
    expected = np.int64(sessions[session, S_EXPECTED])
    if expected >> 32:
        ahead = (number - expected) & 0xFFFFFFFF
        if 0 < ahead < LEAP:
            count_two(desk, session, S_GAPS, _GAPS, 1)
            count_two(desk, session, S_LOST, _LOST, ahead)
        elif ahead >= LEAP and (1 << 32) - ahead <= window:
            count_two(desk, session, S_LATE, _LATE, 1)
            found = min(np.int64(sessions[session, S_LOST]), units)
            sessions[session, S_LOST] -= U64(found)
            desk.totals[_LOST] -= U64(found)
            return
        elif ahead >= LEAP:
            count_two(desk, session, S_RESTARTS, _RESTARTS, 1)
    following = (number + units) & 0xFFFFFFFF
    sessions[session, S_EXPECTED] = U64(following | 1 << 32 if sure else 0)


@compiled
def count_two(desk, session, column, total, many):  # type: ignore[no-untyped-def]
    """Count for a session and for all of them."""
    desk.sessions[session, column] += U64(many)
    desk.totals[total] += U64(many)


@compiled
def add_template_place(desk, session, identity):  # type: ignore[no-untyped-def]
    """The place of a template that is to be written; -1, counted, if there is no room."""
    key = (session + 1) << 16 | identity
    place = template_place(desk, key)
    if place >= 0:
        return place
    place = -1 - place
    if place >= TEMPLATES or desk.cells[C_TEMPLATES] >= TEMPLATES * 3 // 4:
        count_fault(desk, session, F_FULL)
        return -1
    if desk.templates[place, T_KEY] == 0:
        desk.cells[C_TEMPLATES] += 1
    desk.templates[place, T_KEY] = key
    return place
