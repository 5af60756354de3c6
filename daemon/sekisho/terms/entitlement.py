"""What terms authorise for a customer: profiles, entitlements and who may opt out.

No clause, no measure: a list reaches a customer only by a rule of the customer's own terms
(`gunma/別記-1`, `nbnet/21-1`); consent (`gunma/別記-2`) and opt-out (`gunma/別記-3`) take it away
again, never from a mandatory rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sekisho.config.validation import did_you_mean
from sekisho.model.clauses import BlockRule, BudgetRule, Pack, Profile
from sekisho.model.customers import Consent, Customer
from sekisho.model.errors import RefusedError
from sekisho.model.lists import ListDefinition


@dataclass(frozen=True, slots=True)
class Entitlement:
    """Lists by mask bit (their order)."""

    mask: int
    """In force for the customer."""
    unconsented: int
    """Authorised but for a consent that is not on record."""
    opted_out: int
    """Authorised, and lifted by the customer."""


def profile_of(packs: Mapping[str, Pack], terms: tuple[str, ...], lists: Sequence[ListDefinition]) -> Profile:
    """What stacked contracts authorise, list by list. Raises KeyError for a pack that is not there.

    Where several clauses cover a list a mandatory one wins, then the first in the order of the
    contracts. The budget is the strictest: the lowest rate, then the smallest burst, then the first.
    """
    rules = [rule for name in terms for rule in packs[name].rules]
    block: list[BlockRule | None] = [None] * (max((one.order for one in lists), default=-1) + 1)
    for definition in lists:
        covering = [rule for rule in rules if isinstance(rule, BlockRule) and definition.category in rule.categories]
        block[definition.order] = min(covering, key=lambda rule: not rule.mandatory, default=None)
    budgets = [rule for rule in rules if isinstance(rule, BudgetRule)]
    return Profile(terms, tuple(block), min(budgets, key=lambda rule: (rule.rate, rule.burst), default=None))


def entitle(profile: Profile, lists: Sequence[ListDefinition], customer: Customer, opted_out: Collection[str]) -> Entitlement:
    """The lists in force for a customer; `opted_out` are the ids of lists whose opt-out is in force now."""
    mask = unconsented = lifted = 0
    for definition in lists:
        rule = profile.block[definition.order]
        if rule is None or definition.id in customer.exempt or rule.clause in customer.exempt:
            continue
        bit = 1 << definition.order
        if definition.id in opted_out and not rule.mandatory:
            lifted |= bit
        elif not consents(rule, customer.consent):
            unconsented |= bit
        else:
            mask |= bit
    return Entitlement(mask, unconsented, lifted)


def consents(rule: BlockRule, consent: Consent | None) -> bool:
    """Whether a consent on record covers the rule, or none is needed."""
    if not rule.consent_required:
        return True
    return consent is not None and (not rule.consent_versions or consent.version in rule.consent_versions)


def budget_of(profile: Profile, customer: Customer) -> BudgetRule | None:
    """The hard budget of a customer, or None: no clause says one, or the operator exempted the customer from it."""
    budget = profile.budget
    return None if budget is None or budget.clause in customer.exempt else budget


def find_list(lists: Sequence[ListDefinition], name: str) -> ListDefinition:
    """The list of an id. Raises RefusedError with what there is."""
    found = next((one for one in lists if one.id == name), None)
    if found is None:
        known = did_you_mean(name, (one.id for one in lists)) or "; `sekisho lists show` names those there are"
        raise RefusedError(f"there is no list {name}{known}" if lists else f"there is no list {name}: none is defined; see `lists:`")
    return found


def permit_opt_out(profile: Profile, definition: ListDefinition, customer: str) -> BlockRule:
    """The rule a customer may opt out of for a list. Raises RefusedError, citing the clause."""
    rule = profile.block[definition.order] if definition.order < len(profile.block) else None
    if rule is None:
        terms = ", ".join(profile.terms)
        raise RefusedError(
            f"list {definition.id} does not reach customer {customer}: no clause of {terms} authorises blocking"
            f" {definition.category} names; there is nothing to opt out of: `sekisho customers show {customer}` shows what is in force"
        )
    if rule.mandatory:
        raise RefusedError(
            f"customer {customer} cannot opt out of list {definition.id}: {rule.opt_out_clause or rule.clause} lets nobody lift it;"
            " for one over-blocked name use `sekisho lists except`"
        )
    return rule
