"""Opting out and back in (`gunma/別記-3`): on disk, then in force, then acknowledged."""

from __future__ import annotations

from typing import Any

from sekisho.app.control_core import Core
from sekisho.model.customers import OptOutRecord
from sekisho.model.errors import RefusedError
from sekisho.model.events import OptOutAdded, OptOutRemoved
from sekisho.terms.entitlement import permit_opt_out

Json = dict[str, Any]

SHOWN = 10_000
"""Opt-outs of one answer at most."""


async def add(core: Core, customer_id: str, list_id: str, until: float | None, by: str | None, actor: str) -> Json:
    """Opt a customer out of a list.

    Raises RefusedError if there is no such customer or list, if no clause covers it, or if the
    clause lets nobody opt out (`nbnet/21-1`).
    """
    now = core.clock()
    customer = core.people.get(customer_id)
    definition = core.people.definition(list_id)
    rule = permit_opt_out(core.people.profile(customer), definition, customer_id)
    if until is not None and until <= now:
        raise RefusedError("the time it would end lies in the past; give a later one, or none for an opt-out for good")
    recorded = await core.ledger.append(OptOutAdded(customer_id, list_id, by or actor, until), actor, now)
    core.expiry.add(customer_id, until)
    await core.tables.refresh_mask(customer_id, core.clock())
    return {
        "customer": customer_id,
        "list": list_id,
        "in_force": True,
        "since": recorded.at,
        "until": until,
        "by": by or actor,
        "clause": rule.clause,
        "number": recorded.number,
    }


async def remove(core: Core, customer_id: str, list_id: str, by: str | None, actor: str) -> Json:
    """Opt a customer back in. Raises RefusedError if there is no opt-out in force."""
    now = core.clock()
    record = core.state.opt_out(customer_id, list_id)
    if record is None or not record.in_force(now):
        core.people.get(customer_id)
        core.people.definition(list_id)
        raise RefusedError(f"customer {customer_id} is not opted out of {list_id}; `sekisho optout show {customer_id}` shows what is")
    recorded = await core.ledger.append(OptOutRemoved(customer_id, list_id, by or actor), actor, now)
    now = core.clock()
    await core.tables.refresh_mask(customer_id, now)
    customer = core.people.find(customer_id)
    reach = next((one for one in core.people.reaches(customer, now) if one.list == list_id), None) if customer is not None else None
    state = "the list is in force for them again" if reach is not None and reach.in_force else "the list does not reach them all the same"
    why = f" ({reach.reason})" if reach is not None else ""
    return {
        "customer": customer_id,
        "list": list_id,
        "in_force": False,
        "since": recorded.at,
        "until": None,
        "by": by or actor,
        "reach": f"{state}{why}",
        "number": recorded.number,
    }


def show(core: Core, customer_id: str | None, list_id: str | None) -> Json:
    """Opt-outs on record, in force or run out; `in_force` says whether any is in force."""
    now = core.clock()
    if customer_id is not None and customer_id not in core.state.opt_outs:
        core.people.get(customer_id)
    everyone = core.state.each_opt_out()
    records = list(everyone if customer_id is None else core.state.opt_outs.get(customer_id, {}).values())
    if list_id is not None:
        if not any(record.list == list_id for record in records):
            core.people.definition(list_id)
        records = [record for record in records if record.list == list_id]
    return {
        "customer": customer_id,
        "list": list_id,
        "in_force": any(record.in_force(now) for record in records),
        "opt_outs": [_body(record, now) for record in records[:SHOWN]],
        "more": len(records) > SHOWN,
    }


def _body(record: OptOutRecord, now: float) -> Json:
    return {
        "customer": record.customer,
        "list": record.list,
        "in_force": record.in_force(now),
        "since": record.since,
        "until": record.until,
        "by": record.by,
    }
