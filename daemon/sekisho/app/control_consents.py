"""Who consents while the daemon runs is told what the blocking is, and how to opt out (`gunma/別記-3`).

Owns when that is looked at: with the act that puts the customer on the record, and once more at a start for those of
late, since the daemon may have died in between. What is owed to whom is `measures.announcing`'s to say.
"""

from __future__ import annotations

import structlog

from sekisho.app.control_core import Core
from sekisho.measures.announcing import consent_orders
from sekisho.model.customers import Customer
from sekisho.model.errors import SekishoError

log = structlog.get_logger("sekisho.notices")

OWED_FOR = 3600.0
"""Seconds after which a consent is not looked at again: a new program must not tell those of all the years."""


async def tell(core: Core, before: Customer | None, after: Customer) -> None:
    """Order what a customer is owed whose record took the place of `before`. What cannot be ordered is ordered at the next start."""
    if core.site.settings.notices is None:
        # The clause asks for publication, not for a notice that could go nowhere.
        return
    for order in consent_orders(core.site.packs, before, after):
        try:
            await core.desk.order(order)
        except SekishoError as error:
            log.error("notice-not-ordered", occasion=order.occasion.value, error=str(error))  # noqa: TRY400 - the sentence says it all


async def resume(core: Core) -> None:
    """Order what is owed to those who were added or changed just before the last end; what was ordered is not ordered again."""
    since = core.clock() - OWED_FOR
    for identity, at in list(core.state.notices.changed.items()):
        customer = core.people.find(identity)
        if at > since and customer is not None:
            await tell(core, None, customer)
