"""The desk's tables laid anew from what they held: after a restart, or when they have filled up."""

from __future__ import annotations

import numpy as np

from sekisho.flows.layout import (
    S_EXPECTED,
    S_EXPORTER,
    S_HEIR,
    S_HIGH,
    S_KEY,
    S_LOW,
    S_OWN,
    S_WORDS,
    STEP,
    STEPS,
    T_KEY,
    T_LENGTH,
    T_STEPS,
    T_WORDS,
    U64,
)
from sekisho.flows.otherports import find_heir
from sekisho.flows.sessions import add_template_place, find_exporter, find_session, set_rate
from sekisho.flows.templates import keep_v5
from sekisho.snapshot.compiling import compiled

_ZERO = U64(0)


@compiled
def restore_tables(desk, sessions, rates, templates, steps, samplers, sampled, where, counts):  # type: ignore[no-untyped-def]
    """Enter sessions (uint64 (n, S_WORDS)) with their rates, templates and samplers into empty tables.

    The keys of templates and samplers tell the session by its row in `sessions`; `where` int64 (n): scratch room. `counts` 1: with all
    that was counted. Sessions of who is no exporter any more are left out. False: it does not fit together.
    """
    keep_v5(desk)
    for row in range(sessions.shape[0]):
        where[row] = -1
        high, low = sessions[row, S_HIGH], sessions[row, S_LOW]
        exporter = find_exporter(desk, high, low)
        if exporter < 0 or sessions[row, S_KEY] >> U64(24) == _ZERO:
            continue
        session = find_session(desk, high, low, sessions[row, S_KEY], 0, -1, 0)
        if session < 0:
            continue
        where[row] = session
        desk.sessions[session, S_OWN] = sessions[row, S_OWN]
        if counts == 1:
            for column in range(S_EXPECTED, S_WORDS):
                desk.sessions[session, column] = sessions[row, column]
            desk.sessions[session, S_EXPORTER] = U64(exporter + 1)
        desk.sessions[session, S_HEIR] = _ZERO
        desk.rates[session] = rates[row]
    for row in range(templates.shape[0]):
        owner = templates[row, T_KEY] >> 16
        if owner < 0 or owner >= sessions.shape[0] or not 0 <= templates[row, T_STEPS] <= STEPS or templates[row, T_LENGTH] < 1:
            return False
        if where[owner] < 0:
            continue
        place = add_template_place(desk, where[owner], templates[row, T_KEY] & 0xFFFF)
        if place < 0:
            continue
        for column in range(T_STEPS, T_WORDS):
            desk.templates[place, column] = templates[row, column]
        for index in range(STEP * STEPS):
            desk.steps[place, index] = steps[row, index]
    for row in range(samplers.shape[0]):
        owner = samplers[row] >> 32
        if owner < 0 or owner >= sessions.shape[0]:
            return False
        if where[owner] >= 0:
            usual = desk.rates[where[owner]]
            set_rate(desk, where[owner], U64(samplers[row] & 0xFFFFFFFF), True, sampled[row])
            desk.rates[where[owner]] = usual
    for row in range(sessions.shape[0]):
        session = np.int64(where[row])
        if session >= 0 and desk.sessions[session, S_OWN] == _ZERO:
            heir = find_heir(desk, desk.sessions[session, S_HIGH], desk.sessions[session, S_LOW], desk.sessions[session, S_KEY])
            desk.sessions[session, S_HEIR] = U64(heir + 1)
    return True
