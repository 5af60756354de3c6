"""What a session that is new has from one of the same exporter and domain under another port: templates, and the sequence.

RFC 3954 knows no port, and behind a translation of addresses it changes; so do two processes stand behind one address. Templates
are lent by the one heard of last; a sequence goes on only where the numbers say so. Over TCP both are the connection's.
"""

from __future__ import annotations

import numpy as np

from sekisho.flows.layout import S_EXPECTED, S_HIGH, S_KEY, S_LOW, S_ORDER, S_OWN, SESSIONS, U64
from sekisho.snapshot.compiling import compiled

_R16, _ZERO = U64(16), U64(0)
_TCP = U64(1 << 16)


@compiled
def find_heir(desk, high, low, key):  # type: ignore[no-untyped-def]
    """The session of the same exporter and domain under another port that was heard of last, of those with templates; or -1."""
    sessions = desk.sessions
    best, order = -1, _ZERO
    for row in range(SESSIONS):
        if is_beside(sessions, row, high, low, key) and sessions[row, S_OWN] != _ZERO and (best < 0 or sessions[row, S_ORDER] >= order):
            best, order = row, sessions[row, S_ORDER]
    return best


@compiled
def find_forerunner(desk, high, low, key, number, window):  # type: ignore[no-untyped-def]
    """The session of the same exporter and domain under another port whose sequence goes on with `number`, or -1: it is another's.

    Of several the one that comes closest. A number at most `window` ahead or behind goes on.
    """
    sessions = desk.sessions
    best, least = -1, window + 1
    for row in range(SESSIONS):
        if not is_beside(sessions, row, high, low, key):
            continue
        expected = np.int64(sessions[row, S_EXPECTED])
        ahead = (number - expected) & 0xFFFFFFFF
        apart = min(ahead, (1 << 32) - ahead)
        if expected >> 32 and apart < least:
            best, least = row, apart
    return best


@compiled
def is_beside(sessions, row, high, low, key):  # type: ignore[no-untyped-def]
    """Whether a session is of the same exporter and domain as `key`, under another port; over TCP none is."""
    other = sessions[row, S_KEY]
    same = other >> _R16 == key >> _R16 and other != key and key & _TCP == _ZERO
    return same and sessions[row, S_HIGH] == high and sessions[row, S_LOW] == low
