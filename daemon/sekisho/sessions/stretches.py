"""Whose an address was over time, of all the sessions that ever claimed it: stretches between two changes.

Owns the cutting. Who held it in a stretch is `holding.holder_at`'s to say; where several held parts of its ports at a time, it
is asked for each port. Pure: handed claims.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from sekisho.sessions.holding import Claim, holder_at

NOBODY, UNCERTAIN, BY_PORTS = 0, -1, -2


class Stretches:
    """The rows of who held an address, by time."""

    def __init__(self, claims: Sequence[Claim], row_of: Callable[[str | None], int]) -> None:
        """`row_of` gives the row of a customer, UNCERTAIN for whoever is none: no guess is made of another."""
        self._claims, self._row_of = claims, row_of
        edges = {one.since for one in claims} | {one.until for one in claims if one.until is not None}
        # Of a session that was lost it is certain until it was last heard of, that moment included.
        edges |= {math.nextafter(one.session.seen, math.inf) for one in claims if one.session.until is not None}
        edges |= {one.session.until for one in claims if one.aged and one.session.until is not None}
        self._begins = sorted(edges)
        self._rows = [self._stretch(begin) for begin in self._begins]

    def row(self, at: float, port: int | None) -> int:
        """The row at a time (UNIX seconds); NOBODY: no session held it, UNCERTAIN: it was somebody's, not certainly whose."""
        place = bisect.bisect_right(self._begins, at) - 1
        found = self._rows[place] if place >= 0 else NOBODY
        return found if found != BY_PORTS else self._ask(self._at(at), at, port)

    def _stretch(self, begin: float) -> int:
        claims = self._at(begin)
        if any(one.ports is not None for one in claims):
            return BY_PORTS
        return self._ask(claims, begin, None)

    def _at(self, at: float) -> list[Claim]:
        return [one for one in self._claims if one.since <= at and (one.until is None or at < one.until or _may_have_still(one, at))]

    def _ask(self, claims: Sequence[Claim], at: float, port: int | None) -> int:
        found = holder_at(claims, at, port)
        if found.claim is not None:
            return self._row_of(found.claim.session.customer)
        # A port of a shared address that nobody had is not of who has a prefix around the address.
        return UNCERTAIN if found.ambiguous or found.shared else NOBODY


def _may_have_still(claim: Claim, at: float) -> bool:
    """Whether ports ended by their age alone, and the session they were allocated to went on."""
    return claim.aged and (claim.session.until is None or at < claim.session.until)
