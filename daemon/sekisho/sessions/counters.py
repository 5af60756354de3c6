"""Octets of a session: how many more there are since the last report, over wraps, resets and reports that come late.

RADIUS counts from the session's beginning, in 32 bits (RFC 2866 sections 5.3 and 5.4) and, where the NAS knows
Gigawords (RFC 2869 sections 5.1 and 5.2), in 64. Requests overtake each other, and some are told again as if they were new: a report that
shows less than the one before it may be older than that, and then nothing came since. What no line carries is not counted either.
"""

from __future__ import annotations

from typing import NamedTuple

from sekisho.model.sessions import Accounting

WRAP = 1 << 32
SLACK = 2.0
"""Seconds by which the times of two requests about one event may differ: Acct-Delay-Time is whole seconds."""
OVERTAKEN = 30.0
"""Seconds for which a NAS tells the same again (RFC 5080 section 2.2.1). Interim-Updates are a minute apart at least (RFC 2869 section
2.1): octets that fell sooner, in a session whose time is not told, are of a request that was overtaken. If not, the next report tells,
and has all that came since.
"""
FASTEST = 100_000_000_000 // 8
"""Octets a second one way that no customer's line carries more of."""
WAITED = 60.0
"""Seconds by which reports may be further apart than the times they came at: what waited to be sent again says so or not."""


class Reading(NamedTuple):
    """What the counters of a session showed, and when it was told (UNIX seconds). `seconds` -1: its time is not known, or was not told."""

    down: int
    up: int
    seconds: int
    wide: bool
    at: float


class Growth(NamedTuple):
    """Octets towards the customer and from them since a report, and of how many seconds they are."""

    down: int
    up: int
    lasted: float


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


def reading(known: Reading, told: Accounting) -> Reading:
    """What a report shows; octets it says nothing of are as they were."""
    return Reading(
        known.down if told.down is None else told.down,
        known.up if told.up is None else told.up,
        -1 if told.seconds is None else told.seconds,
        told.wide or known.wide,
        told.at,
    )


def is_late(known: Reading, shown: Reading) -> bool:
    """Whether a report was overtaken by the one that is known: it shows an earlier state of the session."""
    passed = shown.at - known.at
    if 0 <= shown.seconds < known.seconds:
        # A session's time that began anew did so after the report before it.
        return passed < max(2 * SLACK, shown.seconds - SLACK)
    return passed < OVERTAKEN and _fell(known, shown) and not 0 <= known.seconds < shown.seconds


def growth(known: Reading, shown: Reading) -> Growth | None:
    """What came since a report, by one that is not late; None: more than a line carries."""
    passed = lasted = shown.at - known.at
    anew = 0 <= shown.seconds < known.seconds
    down = grown(known.down, shown.down, wide=shown.wide, began_anew=anew)
    up = grown(known.up, shown.up, wide=shown.wide, began_anew=anew)
    if 0 <= known.seconds <= shown.seconds:
        # Of what the session did since it was last told of, however long the line had none before.
        lasted = float(shown.seconds - known.seconds)
    if not carries(max(down, up), max(passed, lasted)):
        return None
    return Growth(down, up, max(0.0, lasted))


def goes_on(before: Reading, shown: Reading) -> bool:
    """Whether the octets and the session's time of a report go on from one before, as those of a report that is told again do not.

    Where that one was doubted, both are of what is so by now.
    """
    passed = shown.at - before.at
    if passed < 2 * SLACK or shown.down < before.down or shown.up < before.up:
        return False
    return min(shown.seconds, before.seconds) < 0 or abs(shown.seconds - before.seconds - passed) <= 2 * SLACK


def carries(octets: int, seconds: float) -> bool:
    """Whether a line may have so many octets one way in a time."""
    return octets <= FASTEST * (max(0.0, seconds) + WAITED)


def _fell(known: Reading, shown: Reading) -> bool:
    """Whether there is less of the one and no more of the other."""
    return shown.down <= known.down and shown.up <= known.up and (shown.down < known.down or shown.up < known.up)
