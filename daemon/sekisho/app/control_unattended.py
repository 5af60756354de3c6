"""What measures come to where nothing is attached to carry them out or to tell anybody: it is kept, shown and logged."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from sekisho.model.measures import NONE, Enforcement, NoticeOrder

log = structlog.get_logger("sekisho.measures")


class Unenforced:
    """An `Enforcer` of a plane without rows for measures."""

    def __init__(self) -> None:
        self._of: dict[str, Enforcement] = {}

    async def enforce(self, customer: str, what: Enforcement) -> None:
        if what == NONE:
            self._of.pop(customer, None)
        else:
            self._of[customer] = what
            log.warning("no-enforcer", clauses=list(what.by))

    def enforced(self) -> Mapping[str, Enforcement]:
        return self._of


class Unposted:
    """`Notices` without a channel: none is ever delivered but by hand (`sekisho measures delivered`)."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def order(self, order: NoticeOrder) -> None:
        if order.key not in self._seen:
            self._seen.add(order.key)
            log.warning("no-channel", measure=order.measure, clause=order.clause, occasion=order.occasion.value)

    def delivered(self, order: NoticeOrder) -> float | None:  # noqa: ARG002 - the protocol's
        return None
