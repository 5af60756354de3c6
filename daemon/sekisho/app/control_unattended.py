"""What becomes of notices where no channel is attached to tell anybody: they are logged."""

from __future__ import annotations

import structlog

from sekisho.model.measures import NoticeOrder

log = structlog.get_logger("sekisho.measures")


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
