"""Notices ordered: those that a step owes, those found owed on the record, and what everybody has to be told.

Owns what was not ordered yet, for an error of the disk or a death in between. Which notice an act owes is
`measures.occasions`' to say, what is posted `measures.announcing`'s; sending is the desk's (`control_notices`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Protocol

import structlog

from sekisho.app.control_standing import View
from sekisho.ledger.cases import Case
from sekisho.measures.announcing import PUBLISHED_FOR, announcement_orders, emergency_orders, publication_orders
from sekisho.measures.occasions import owes
from sekisho.model.errors import SekishoError
from sekisho.model.measures import Measure, NoticeOrder, Occasion

log = structlog.get_logger("sekisho.measures")

OWED_FOR = 30 * 86400.0
"""Seconds for which a notice that was never ordered is still owed: a daemon may be down for weeks."""
_PAUSE = 1000
"""Measures after which other tasks have their turn."""


class Notices(Protocol):
    """Who tells the customers."""

    async def order(self, order: NoticeOrder) -> None:
        """Have a notice sent; on the record on return. An order with the key of an earlier one does nothing."""
        ...

    def delivered(self, order: NoticeOrder) -> float | None:
        """When an ordered notice counts as delivered (UNIX seconds, may lie ahead); None: that is not known yet."""
        ...


class Ordering:
    """One daemon's."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._unordered: dict[str, NoticeOrder] = {}

    def delivered(self, measure: Measure) -> float | None:
        """When the notice a noticed measure waits for counts as delivered; None: that is not known yet."""
        return self._notices.delivered(before_order(measure))

    async def look(self, view: View) -> None:
        """Find what is owed by the record, to be ordered with the next."""
        for number, case in enumerate(list(view.book.cases.values()), start=1):
            for order in owed(case, view):
                self._unordered.setdefault(order.key, order)
            if not number % _PAUSE:
                await asyncio.sleep(0)
        for order in announced(view):
            self._unordered.setdefault(order.key, order)

    async def order(self, orders: Iterable[NoticeOrder]) -> None:
        """Order notices, those that could not be ordered before first."""
        for order in orders:
            self._unordered.setdefault(order.key, order)
        for key, order in list(self._unordered.items()):
            try:
                await self._notices.order(order)
            except SekishoError as error:
                log.error("notice-not-ordered", measure=order.measure, occasion=order.occasion.value, error=str(error))  # noqa: TRY400
                return
            self._unordered.pop(key, None)


def before_order(measure: Measure) -> NoticeOrder:
    """The order of the notice a noticed measure waits for."""
    return NoticeOrder(measure.id, measure.customer, measure.clause, Occasion.BEFORE, measure.since, measure.observe)


def owed(case: Case, view: View) -> Iterator[NoticeOrder]:
    """Notices that the acts of a measure owe, whether ordered or not."""
    measure = case.measure
    rule = view.standing_of(measure).rule
    for one in case.steps:
        if one.occasion is not None and owes(rule, one.occasion) and view.now - one.at < OWED_FOR:
            yield NoticeOrder(measure.id, measure.customer, measure.clause, one.occasion, one.at, one.observe)


def announced(view: View) -> Iterator[NoticeOrder]:
    """What everybody is owed to be told now, whether ordered or not."""
    packs, told = view.people.site.packs, view.people.site.settings.notices
    for one in view.book.interruptions.values():
        if view.now - one.announced_at < OWED_FOR:
            yield from announcement_orders(packs, one)
    emergency = view.book.emergency
    if emergency is not None and view.now < emergency.until:
        yield from emergency_orders(packs, emergency, {clause for clause in emergency.clauses if view.observes(clause)})
    if told is not None and (told.web is not None or told.webhook is not None):
        yield from publication_orders(packs, view.now, PUBLISHED_FOR if told.web is None else told.web.keep)
