"""Serial numbers of zones: the arithmetic of RFC 1982, and which one follows.

A serial is the UNIX time of the change where it can be. With a version a second at most (`batch` of a second or more) serials
do not run ahead of the clock, and one that was lost with the state folder is passed by the next. With a shorter `batch` they do,
by a second for every version above one a second: what is lost then comes back with a serial that secondaries take for an old one,
until the clock has caught up or they are made to transfer the zone.
"""

from __future__ import annotations

BITS = 32
_MODULUS, _HALF = 1 << BITS, 1 << (BITS - 1)


def newer(serial: int, than: int) -> bool:
    """Whether a serial is newer, by the arithmetic of RFC 1982."""
    return serial != than and (serial - than) % _MODULUS < _HALF


def following(serial: int | None, now: float) -> int:
    """The serial after `serial` (None: there was none) at `now` (UNIX seconds): always newer, also if the clock was set back."""
    clock = int(now) % _MODULUS
    if serial is None or newer(clock, serial):
        return clock
    return (serial + 1) % _MODULUS
