"""Whether a list is in force for a customer, and why or why not, in words."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.drivers.localtime import spoken
from sekisho.model.clauses import BlockRule, Profile
from sekisho.model.customers import Customer, OptOutRecord
from sekisho.model.lists import ListDefinition
from sekisho.terms.entitlement import Entitlement


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether one list is in force for one customer, under which rule, and why or why not."""

    list: str
    in_force: bool
    rule: BlockRule | None
    reason: str


def reach(
    customer: Customer, definition: ListDefinition, profile: Profile, entitlement: Entitlement, record: OptOutRecord | None, now: float
) -> Reach:
    """Whether a list is in force for a customer. `record` is the customer's opt-out from it, in force or not."""
    rule, bit = profile.block[definition.order], 1 << definition.order
    if entitlement.mask & bit:
        reason = "mandatory: nobody can opt out" if rule is not None and rule.mandatory else "consent recorded, not opted out"
        if rule is not None and not rule.mandatory and not rule.consent_required:
            reason = "the terms say so; not opted out"
        return Reach(definition.id, True, rule, reason)
    if rule is None:
        terms = ", ".join(customer.terms)
        return Reach(definition.id, False, None, f"no clause of {terms} authorises blocking {definition.category} names")
    if definition.id in customer.exempt or rule.clause in customer.exempt:
        return Reach(definition.id, False, rule, "exempt, by the operator's decision")
    if record is not None and record.in_force(now):
        return Reach(definition.id, False, rule, f"opted out since {spoken(record.since)} by {record.by}")
    if entitlement.unconsented & bit:
        accepted = ", ".join(rule.consent_versions)
        consent = customer.consent
        missing = "no consent recorded" if consent is None else f"consent is to version {consent.version}, the clause needs {accepted}"
        return Reach(definition.id, False, rule, missing)
    return Reach(definition.id, False, rule, "not in force")
