"""Whose the ports of shared addresses are, as the collector of flows has it: the table of sessions made into an array.

Owns when the array is made anew: in a thread, soon after somebody has other ports than before, and less often the longer it takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sekisho.sessions.table import Table

if TYPE_CHECKING:
    # Imported for a site that has exporters: it brings compiled code.
    from sekisho.flows.shares import Shares

SPARE = 10.0
"""Times as long as the last array took to make passes before the next one is made."""


class FlowShares:
    """The parts of shared addresses, by the row of whose they are."""

    def __init__(self, table: Table, row_of: Callable[[str], int | None]) -> None:
        self._table, self._row_of = table, row_of
        self._known = -1
        self._not_before = 0.0

    async def changed(self, now: float, *, anew: bool) -> Shares | None:
        """The array, if it is another than was given last, or `anew`; None: nothing changed, or not now. `now` is monotonic."""
        if anew:
            self._known = -1
        version = self._table.sharing
        if version == self._known or (now < self._not_before and not anew):
            return None
        began = time.monotonic()
        shares = await asyncio.to_thread(self._make)
        self._known, self._not_before = version, now + SPARE * (time.monotonic() - began)
        return shares

    def _make(self) -> Shares:
        from sekisho.flows.shares import make_shares  # noqa: PLC0415

        rows: dict[str, int] = {}

        def row(customer: str | None) -> int:
            if customer is None:
                return 0
            found = rows.get(customer)
            if found is None:
                found = rows[customer] = self._row_of(customer) or 0
            return found

        return make_shares((address, ports, row(customer)) for address, ports, customer in self._table.parts())
