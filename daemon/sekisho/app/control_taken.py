"""Fixed prefixes of customers that are on another's line by a session: RADIUS counts, and the operator is told.

Owns what is remembered of them and what the log is told. Whose an address is meanwhile is `control_whereabouts`'s. No more than `MOST`
are remembered and told of: a pool laid over all fixed prefixes fills neither memory nor log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import structlog

from sekisho.app.control_people import People
from sekisho.model.customers import Prefix
from sekisho.sessions.columns import code_of, prefix_of
from sekisho.sessions.table import Table

log = structlog.get_logger("sekisho.radius")

MOST = 1000
"""Prefixes that are remembered, and pairs of prefix and customer the log was told of."""


class Taking(NamedTuple):
    """A session has a prefix that is, or is in, a fixed one of the customer `owner`."""

    prefix: Prefix
    owner: str
    customer: str | None
    """Whose line it is on; None: of a user who is no customer."""


class Taken:
    """Those of one table of sessions."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._codes: dict[int, None] = {}
        self._told: dict[tuple[int, str | None], None] = {}

    def note(self, codes: Iterable[int], people: People) -> None:
        """These prefixes are on somebody's line now, or no more."""
        for one in self._of(codes, people):
            code = code_of(one.prefix)
            if len(self._codes) < MOST:
                self._codes[code] = None
            if (code, one.customer) not in self._told and len(self._told) < MOST:
                self._told[code, one.customer] = None
                # The plane takes who asks from there for `customer`, and no more for `owner`.
                log.warning("fixed-prefix-taken", prefix=str(one.prefix), owner=one.owner, customer=one.customer)

    def tidy(self, people: People) -> None:
        """Make room where there is none."""
        if len(self._codes) >= MOST:
            self.now(people)

    def now(self, people: People) -> list[Taking]:
        """Those that are so still, `MOST` at most; the others are forgotten."""
        found = self._of(self._codes, people)
        self._codes = dict.fromkeys(code_of(one.prefix) for one in found)
        return found

    def _of(self, codes: Iterable[int], people: People) -> list[Taking]:
        held = {prefix_of(code): self._table.holder(code) for code in codes if self._table.is_whole(code)}
        found = (Taking(prefix, owner, held[prefix]) for prefix, owner in people.fixed_around(held))
        # One line a prefix: that several have it is a fault of the customers' files, and told there.
        return list({one.prefix: one for one in found if one.owner != one.customer}.values())
