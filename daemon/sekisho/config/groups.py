"""`groups:` of the main file: who represents a VPN group, and what holds for all of its members (`vectant/11`).

What a member's own record says comes first: of the group's only what the record leaves open holds, each figure by itself. Who joins
the group has it from then on, and who leaves it has it no more. Opting the group out is an act of its own (`sekisho group optout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from sekisho.config.customers import ConsentRecord, Contacts, CustomerId, PlanRecord
from sekisho.config.register import Customers
from sekisho.config.validation import FileModel
from sekisho.config.values import Text, Whole
from sekisho.model.customers import Consent, Customer, Plan


class VpnGroup(FileModel):
    """A group, and what its representative has set for all members."""

    representative: CustomerId
    """Customer id of the representative, who is a member."""
    consent: ConsentRecord | None = None
    """Consent given for the members whose own record has none."""
    contacts: Contacts | None = None
    """Where notices to members go whose own record does not say; mail address and language each by itself."""
    plan: PlanRecord | None = None
    """Line capacity of members whose own record has none."""
    sessions: Annotated[Whole, Field(ge=1, le=1000)] | None = None
    """Sessions each member's ID may have at the same time; null: what `duplicates:` says."""

    @property
    def consented(self) -> Consent | None:
        return Consent(self.consent.version, self.consent.at) if self.consent is not None else None

    @property
    def capacity(self) -> Plan | None:
        return Plan(float(self.plan.down_mbps), float(self.plan.up_mbps)) if self.plan is not None else None

    @property
    def email(self) -> str | None:
        return self.contacts.email if self.contacts is not None else None

    @property
    def language(self) -> str | None:
        return self.contacts.language if self.contacts is not None else None


class _RepresentativeAlone:
    """In the schema: the id of the representative stands for a group nothing else is set for."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def _as_group(value: object) -> object:
    return value if isinstance(value, Mapping) else {"representative": value}


Groups = dict[Text, Annotated[VpnGroup, BeforeValidator(_as_group), _RepresentativeAlone()]]


def with_group(customer: Customer, groups: Mapping[str, VpnGroup]) -> Customer:
    """A customer with what is set for the group where the own record says nothing."""
    group = groups.get(customer.group) if customer.group is not None else None
    if group is None:
        return customer
    return replace(
        customer,
        consent=customer.consent or group.consented,
        plan=customer.plan or group.capacity,
        email=customer.email or group.email,
        language=customer.language or group.language,
    )


def settle(customers: Customers, groups: Mapping[str, VpnGroup]) -> None:
    """The same for all customers of a file."""
    for name, group in groups.items():
        customers.complete(name, group.consented, group.capacity, group.email, group.language)


def as_group(customer: Customer, group: VpnGroup | None) -> list[str]:
    """What of a customer is as the group has it, by the words of the record."""
    if group is None:
        return []
    pairs = (
        ("consent", customer.consent, group.consented),
        ("plan", customer.plan, group.capacity),
        ("email", customer.email, group.email),
        ("language", customer.language, group.language),
    )
    return [word for word, own, theirs in pairs if theirs is not None and own == theirs]
