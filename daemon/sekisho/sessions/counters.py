"""Octets of a session: how many more there are since the last report, over wraps and resets.

RADIUS counts from the session's beginning, in 32 bits (RFC 2866 sections 5.3 and 5.4) and, where the NAS knows
Gigawords (RFC 2869 sections 5.1 and 5.2), in 64.
"""

from __future__ import annotations

WRAP = 1 << 32


def grown(before: int, after: int, *, wide: bool, began_anew: bool) -> int:
    """Octets between two reports, never negative.

    A counter that went back was reset if the NAS counts in 64 bits (`wide`) or says that the session's time went back
    too (`began_anew`): what it shows now came since. Otherwise its 32 bits came round.
    """
    if after >= before:
        return after - before
    if wide or began_anew or before >= WRAP:
        return after
    return after + WRAP - before
