"""The smaller sections of `sekisho.yaml`: roles, measures, walled garden. The larger ones have modules of their own."""

from __future__ import annotations

import enum
import ipaddress
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from sekisho.config.accounts import Group, User
from sekisho.config.validation import FileModel
from sekisho.config.values import (
    Domain,
    Text,
    as_items,
    as_v4,
    as_v6,
    one_or_many,
)

NoticeV4 = Annotated[ipaddress.IPv4Address, PlainValidator(as_v4)]
NoticeV6 = Annotated[ipaddress.IPv6Address, PlainValidator(as_v6)]
_ACCOUNTS = one_or_many({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]})


class RoleMembers(FileModel):
    """Who has a role, by name or numeric id."""

    users: Annotated[tuple[User, ...], BeforeValidator(as_items), _ACCOUNTS] = ()
    """Users."""
    groups: Annotated[tuple[Group, ...], BeforeValidator(as_items), _ACCOUNTS] = ()
    """Groups: whoever has one as primary or supplementary group."""


class RoleSettings(FileModel):
    """Who may use the operator's commands. Root and the daemon's own user always may."""

    viewer: RoleMembers = RoleMembers()
    """Reads everything, personal data of customers included, and changes nothing."""
    operator: RoleMembers = RoleMembers()
    """Reads and changes everything."""


class MeasureMode(enum.StrEnum):
    """Whether measures are carried out."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class MeasureSettings(FileModel):
    """Which measures are enforced. Until it says so, all but the enforcing is done."""

    mode: MeasureMode = MeasureMode.OBSERVE
    """`observe`: a measure is found, recorded and shown, and does nothing to anybody; `enforce`: as the terms say."""
    clauses: dict[Text, MeasureMode] = Field(default_factory=dict)
    """Clauses for which it is otherwise, by id: `nbnet/22-2-5: enforce`."""
    priority: Annotated[tuple[Text, ...], BeforeValidator(as_items), one_or_many({"type": "string"})] = ()
    """Customers and groups that go on unlimited in an emergency, besides those named when it is declared."""

    def observes(self, clause: str) -> bool:
        return self.clauses.get(clause, self.mode) is MeasureMode.OBSERVE


class WalledGarden(FileModel):
    """Where a customer is led whom a measure suspends: to the page that says why."""

    a: Annotated[tuple[NoticeV4, ...], BeforeValidator(as_items), Field(max_length=8), one_or_many({"type": "string"})] = ()
    """IPv4 addresses of the notice page."""
    aaaa: Annotated[tuple[NoticeV6, ...], BeforeValidator(as_items), Field(max_length=8), one_or_many({"type": "string"})] = ()
    """IPv6 addresses of the notice page."""
    allow: Annotated[tuple[Domain, ...], BeforeValidator(as_items), Field(max_length=64), one_or_many({"type": "string"})] = ()
    """Names that resolve all the same, with all below them: the notice page's own, the customers' panel, where they pay."""

    @model_validator(mode="after")
    def _somewhere(self) -> WalledGarden:
        if not self.a and not self.aaaa:
            raise ValueError("needs at least one address of the notice page under `a` or `aaaa`")
        return self
