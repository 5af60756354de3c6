"""Whose the ports of shared addresses are, as the collector of flows has it: the table of sessions made into an array.

Owns when the array is made - in a thread, when collecting begins and when there is no room left in it - and that it is changed in
place with every step of the table in between: the collector knows of it before the NAS has its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sekisho.sessions.changes import Part
from sekisho.sessions.table import Table

if TYPE_CHECKING:
    # Imported for a site that has exporters: it brings compiled code.
    from sekisho.flows.shares import Shares

_V4 = 0xFFFFFFFF


class FlowShares:
    """The parts of shared addresses, by the row of whose they are."""

    def __init__(self, table: Table, row_of: Callable[[str], int | None]) -> None:
        self._table, self._row_of = table, row_of
        self._shares: Shares | None = None
        """None: nobody collects."""
        self._meanwhile: list[Part] | None = None
        """What changed since making an array began; None: none is made."""
        self._full = False

    def follow(self, parts: Sequence[Part]) -> None:
        """Have what changed in force at once."""
        if self._meanwhile is not None:
            self._meanwhile += parts
        if self._shares is not None:
            self._full |= not self._put(self._shares, parts)

    async def changed(self, *, anew: bool) -> Shares | None:
        """The array, if it is another than was given last, or `anew`; None: it is the one that was given."""
        if not (anew or self._full):
            return None
        self._meanwhile = []
        try:
            shares = await asyncio.to_thread(self._make)
            # What was in the table already when it was read is put once more, and is the same.
            self._full = not self._put(shares, self._meanwhile)
        finally:
            self._meanwhile = None
        self._shares = shares
        return shares

    def forget(self) -> None:
        """Nobody collects any more."""
        self._shares = None

    def _put(self, shares: Shares, parts: Sequence[Part]) -> bool:
        """Whether there was room for all."""
        from sekisho.flows.shares import drop_part, put_part  # noqa: PLC0415

        fits = True
        for one in parts:
            address = one.code >> 8 & _V4
            if one.given:
                drop_part(shares, address, one.ports)
            else:
                fits &= put_part(shares, address, one.ports, self._row(one.customer))
        return fits

    def _row(self, customer: str | None) -> int:
        return (self._row_of(customer) or 0) if customer is not None else 0

    def _make(self) -> Shares:
        from sekisho.flows.shares import make_shares  # noqa: PLC0415

        return make_shares((address, ports, self._row(customer)) for address, ports, customer in self._table.parts())
