"""Customers shown, added and removed at run time."""

from __future__ import annotations

from typing import Any

from sekisho.app import control_consents, control_groups
from sekisho.app.control_core import Core
from sekisho.app.control_enforcement import enforcement_body
from sekisho.app.control_explain import reach_body
from sekisho.config.customers import record_of
from sekisho.config.document import read_document
from sekisho.config.groups import as_group
from sekisho.model.customers import Customer
from sekisho.model.errors import RefusedError
from sekisho.model.events import CustomerAdded, CustomerRemoved

Json = dict[str, Any]


def page(core: Core, after: str | None, limit: int) -> Json:
    """A page of all customers, in the order of the file and then of their adding."""
    found, more = core.people.page(after, limit)
    return {"known": len(core.people), "more": more, "customers": [_body(core, customer) for customer in found]}


def show(core: Core, customer_id: str) -> Json:
    """One customer, what measures have in force on it, and for each list whether it is in force and why."""
    customer = core.people.get(customer_id)
    budget = core.people.budget(customer)
    return _body(core, customer) | {
        "sessions": [str(prefix) for prefix in core.sessions.live_prefixes(customer_id)],
        "plan": {"down_mbps": customer.plan.down_mbps, "up_mbps": customer.plan.up_mbps} if customer.plan else None,
        "contacts": {key: value for key, value in (("email", customer.email), ("language", customer.language)) if value},
        "fee": {"yearly" if customer.fee.yearly else "monthly": customer.fee.yen} if customer.fee else None,
        "budget": {"clause": budget.clause, "rate": budget.rate, "burst": budget.burst, "over": budget.over.value} if budget else None,
        "lists": [reach_body(reach) for reach in core.people.reaches(customer, core.clock())],
        "measures": enforcement_body(core.tables.enforcements.of(customer_id)),
    }


async def add(core: Core, record: Json | str, replace: bool, actor: str) -> Json:
    """Add a customer, or put it in another's place.

    Raises ConfigError with every fault of the record, RefusedError if it cannot stand beside the others.
    """
    mapping = _read(record) if isinstance(record, str) else record
    async with core.changes:
        own = core.people.parse(mapping, replace=replace)
        before = core.people.find(own.id)
        recorded = await core.ledger.append(CustomerAdded(own.id, record_of(own)), actor, core.clock())
        customer = core.people.completed(own)
        now = core.clock()
        core.people.recount(before, customer, now)
        core.people.added(customer)
        await core.tables.put(customer, now)
        core.sessions.customer_changed(customer.id, (*customer.logins, *(before.logins if before is not None else ())))
    await core.measures.touch(customer.id, core.clock())
    if customer.group is not None and (before is None or before.group != customer.group):
        await control_groups.settle(core, customer.group, [customer.id], actor)
    await control_consents.tell(core, before, customer)
    return {"customer": customer.id, "in_force": True, "replaced": before is not None, "number": recorded.number}


async def remove(core: Core, customer_id: str, actor: str) -> Json:
    """Remove a customer. Raises RefusedError if there is none of that id."""
    async with core.changes:
        customer = core.people.get(customer_id)
        recorded = await core.ledger.append(CustomerRemoved(customer_id), actor, core.clock())
        core.people.recount(customer, None, core.clock())
        core.people.removed(customer_id)
        await core.tables.remove(customer_id)
        core.sessions.customer_changed(customer_id, customer.logins)
    await core.measures.touch(customer_id, core.clock())
    return {"customer": customer_id, "in_force": True, "number": recorded.number}


def _read(text: str) -> Json:
    """The one customer a document holds: the mapping itself, or a customer file with one."""
    value: object = read_document(text, "customer").value
    if isinstance(value, dict) and isinstance(value.get("customers"), list):
        value = value["customers"]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise RefusedError("the document does not hold one customer; write `id:`, `terms:` and `prefixes:` as in the customer file")
    return value


def _body(core: Core, customer: Customer) -> Json:
    return {
        "id": customer.id,
        "source": core.people.source(customer.id),
        "terms": list(customer.terms),
        "consent": {"version": customer.consent.version, "at": customer.consent.at} if customer.consent else None,
        "prefixes": [str(prefix) for prefix in customer.prefixes],
        "logins": list(customer.logins),
        "group": customer.group,
        "as_group": as_group(customer, core.site.settings.groups.get(customer.group or "")),
        "exempt": list(customer.exempt),
    }
