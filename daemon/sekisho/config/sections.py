"""The smaller sections of `sekisho.yaml`: roles, measures, upstream, cache, walled garden. The larger ones have modules of their own."""

from __future__ import annotations

import enum
import ipaddress
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from sekisho.config.accounts import Group, User
from sekisho.config.validation import FileModel
from sekisho.config.values import (
    DnsEndpoint,
    Domain,
    Flag,
    Seconds,
    SomeSeconds,
    Text,
    Whole,
    as_items,
    as_v4,
    as_v6,
    one_or_many,
)

ENDPOINTS = one_or_many({"type": "string", "examples": ["127.0.0.1:53", "[::1]:53"]})
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


class Upstream(FileModel):
    """The resolvers queries are forwarded to."""

    addresses: Annotated[tuple[DnsEndpoint, ...], BeforeValidator(as_items), Field(alias="address", min_length=1, max_length=16), ENDPOINTS]
    """Resolvers in the order they are tried; port 53 where none is given."""
    proxy_protocol: Flag = False
    """Prefix each query with a PROXY v2 header that carries the client's address."""
    timeout: SomeSeconds = 2.0
    """Time one resolver has to answer before the next is tried."""


class Cache(FileModel):
    """The packet cache."""

    mib: Annotated[Whole, Field(ge=0, le=65536)] = 64
    """Memory of the cache in MiB; 0 switches it off."""
    max_stale: Seconds = 86400.0
    """How long past its TTL an answer may be served while the resolvers fail (RFC 8767); 0 never."""
    shared: Flag | None = None
    """One cache for every customer (true), none of one customer's answers for another (false), or null: shared,
    unless proxy_protocol lets the resolver answer by client address."""


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
