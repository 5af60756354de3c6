"""What is enforced, kept as the record of measures says: for a few customers, or for all of them.

Owns the comparing of what is done with what is to be done. What that is follows from a `View`; how it is done is the
enforcer's. What could not be done is on the record: the next comparison tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from sekisho.app.control_standing import View
from sekisho.model.errors import SekishoError
from sekisho.model.measures import NONE, Enforcement

log = structlog.get_logger("sekisho.measures")

MANY = 10_000
"""Customers beyond whom all are told at once, in one load of the tables."""
_PAUSE = 1000
"""Customers after which other tasks have their turn."""


class Enforcer(Protocol):
    """What the plane does to single customers."""

    async def enforce(self, customer: str, what: Enforcement) -> None:
        """All that measures do to a customer from now on; in force on return. Raises SekishoError if it cannot be."""
        ...

    async def enforce_all(self, given: Mapping[str, Enforcement]) -> None:
        """The same for many customers."""
        ...

    def enforced(self) -> Mapping[str, Enforcement]:
        """Customers to whom anything is done now."""
        ...


class Enforcing:
    """One daemon's."""

    def __init__(self, enforcer: Enforcer) -> None:
        self._enforcer = enforcer

    def enforced(self) -> Mapping[str, Enforcement]:
        """Customers to whom anything is done now."""
        return self._enforcer.enforced()

    async def some(self, customers: Iterable[str], view: View) -> None:
        """Have done to some customers what the record says."""
        enforced = self._enforcer.enforced()
        for identity in customers:
            customer = view.people.find(identity)
            wanted = NONE if customer is None else view.enforcement(customer)
            if enforced.get(identity, NONE) != wanted:
                await self._one(identity, wanted)

    async def all(self, view: View) -> None:
        """Compare what the plane does with what the record says, and repair it."""
        enforced = dict(self._enforcer.enforced())
        if view.emergency_counts or len(enforced) > MANY:
            # It may concern everybody: others' turns come meanwhile. Nothing changes the record of measures, the lock is held.
            differing = await asyncio.to_thread(_differing, enforced, view)
        else:
            differing = _differing(enforced, view)
        if len(differing) > MANY:
            try:
                await self._enforcer.enforce_all(differing)
            except SekishoError as error:
                log.error("not-enforced", customers=len(differing), error=str(error))  # noqa: TRY400 - as below
            return
        for number, (identity, what) in enumerate(differing.items(), start=1):
            await self._one(identity, what)
            if not number % _PAUSE:
                await asyncio.sleep(0)

    async def again(self, customers: Iterable[str]) -> None:
        """Tell once more what was told last of customers to whom something is done."""
        for number, identity in enumerate(customers, start=1):
            what = self._enforcer.enforced().get(identity)
            if what is not None:
                await self._one(identity, what)
            if not number % _PAUSE:
                await asyncio.sleep(0)

    async def _one(self, identity: str, what: Enforcement) -> None:
        try:
            await self._enforcer.enforce(identity, what)
        except SekishoError as error:
            # It is on the record: the next comparison tries again.
            log.error("not-enforced", clauses=list(what.by), error=str(error))  # noqa: TRY400 - the sentence says it all


def _differing(enforced: Mapping[str, Enforcement], view: View) -> dict[str, Enforcement]:
    """Customers to whom something else is to be done than is, and what."""
    wanted = view.enforcements()
    found = {one: NONE for one in enforced if one not in wanted}
    for one, what in wanted.items():
        now = enforced.get(one)
        # Most are told the same, which one look at the object says.
        if now is not what and now != what:
            found[one] = what
    return found
