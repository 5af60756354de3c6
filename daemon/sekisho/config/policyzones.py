"""`policy_zones:` of the main file: the response policy zones other resolvers transfer, and who may.

Owns the keys and their defaults. What the zones hold is `rpz`'s, how they are transferred `drivers.policyprimary`'s.
"""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sekisho.config.lists import Algorithm
from sekisho.config.validation import FileModel, did_you_mean
from sekisho.config.values import (
    DnsEndpoint,
    Domain,
    Endpoint,
    FilePath,
    Flag,
    Identifier,
    Network,
    SomeSeconds,
    Text,
    Whole,
    as_items,
)

_TEXTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
LONGEST_LABEL = 63


class ZoneKey(FileModel):
    """A TSIG key (RFC 8945) that secondaries sign with."""

    name: Domain
    """Name of the key, as the secondaries know it."""
    algorithm: Algorithm = "hmac-sha256"
    """HMAC of the key."""
    secret_file: FilePath
    """File with the secret in base 64, readable by the daemon alone."""


class ResolverKind(enum.StrEnum):
    """A resolver that is dealt with as it needs."""

    BIND = "bind"
    UNBOUND = "unbound"
    """Up to 1.17 it goes on with triggers on clients that a difference took away: it gets those zones whole."""
    RECURSOR = "recursor"
    KNOT = "knot"
    """Knot DNS beside Knot Resolver, for which it writes files."""
    OTHER = "other"


class Secondary(FileModel):
    """A resolver that transfers the zones."""

    id: Identifier
    """Name of the resolver, in `sekisho rpz show` and metrics."""
    address: Network
    """Address its questions come from, or the network."""
    resolver: ResolverKind = ResolverKind.OTHER
    """What it is: bind, unbound, recursor, knot, or other."""
    key: Domain | None = None
    """Key it signs with; it is refused without, unless it is `unsigned`."""
    unsigned: Flag = False
    """Let it transfer without a key: for a resolver that cannot sign (Unbound), over a way nobody else can use."""
    notify: DnsEndpoint | None = None
    """Where it is told that a zone changed (RFC 1996), as address[:port]; null: it finds out at its next refresh."""
    addresses: Flag | None = None
    """Whether it gets the addresses of lists (`rpz-ip`); null: every resolver does but Unbound, which stops customers by them
    who opted out, and one that is unsigned and not named, which may be Unbound."""

    @model_validator(mode="after")
    def _keyed(self) -> Secondary:
        if self.key is None and not self.unsigned:
            raise ValueError("names no key; name one of `keys`, or say `unsigned: true` for a resolver that cannot sign")
        if self.key is not None and self.unsigned:
            raise ValueError("has a key and is unsigned; keep the key")
        return self

    @property
    def may_be_unbound(self) -> bool:
        """Unbound cannot sign: who signs is another."""
        return self.resolver is ResolverKind.UNBOUND or (self.resolver is ResolverKind.OTHER and self.unsigned)

    @property
    def gets_addresses(self) -> bool:
        return not self.may_be_unbound if self.addresses is None else self.addresses


class EntitlementClass(FileModel):
    """Customers of the same terms, who get an order of zones of their own: a view of the resolver."""

    id: Identifier
    """Name of the class, in zone names and views."""
    terms: Annotated[tuple[Text, ...], BeforeValidator(as_items), Field(min_length=1), _TEXTS]
    """Ids of the terms packs a customer of the class has: these and no others."""


class PolicyZones(FileModel):
    """The response policy zones that are published."""

    zone: Domain
    """Name below which all of them are: `silenced.` and so on are put before it."""
    listen: Annotated[tuple[DnsEndpoint, ...], BeforeValidator(as_items), Field(min_length=1, max_length=16), _TEXTS] = (
        Endpoint("127.0.0.1", 5353),
    )
    """Where resolvers transfer from, over TCP, and ask for the serial, over UDP and TCP."""
    keys: Annotated[tuple[ZoneKey, ...], BeforeValidator(as_items), Field(max_length=64)] = ()
    """TSIG keys."""
    secondaries: Annotated[tuple[Secondary, ...], BeforeValidator(as_items), Field(max_length=256)] = ()
    """Who may transfer; nobody else."""
    sealed: Annotated[tuple[Identifier, ...], BeforeValidator(as_items), _TEXTS] = ()
    """Sealed lists that are published all the same: their names leave this machine and are readable on every resolver."""
    classes: Annotated[tuple[EntitlementClass, ...], BeforeValidator(as_items), Field(max_length=16)] = ()
    """Entitlement classes, where the terms of customers differ by more than one order of zones can say."""
    ttl: SomeSeconds = 60.0
    """How long customers' machines may keep a blocked answer."""
    batch: Annotated[SomeSeconds, Field(ge=0.1, le=60)] = 1.0
    """Changes within this time make one version of a zone. Below a second serials run ahead of the clock they go by."""
    connections: Annotated[Whole, Field(ge=1, le=10_000)] = 200
    """TCP connections of secondaries at a time. While half are free one address gets what it asks for, then a quarter at most."""
    timeout: SomeSeconds = 30.0
    """How long a connection may stand still."""

    @model_validator(mode="after")
    def _known(self) -> PolicyZones:
        names = [key.name for key in self.keys]
        for what, found in (
            ("keys", names),
            ("secondaries", [one.id for one in self.secondaries]),
            ("classes", [one.id for one in self.classes]),
        ):
            twice = {name for name in found if found.count(name) > 1}
            if twice:
                raise ValueError(f"`{what}` has {', '.join(sorted(twice))} twice; keep one")
        for one in self.secondaries:
            if one.key is not None and one.key not in names:
                raise ValueError(f"secondary {one.id} signs with {one.key}, which is none of `keys`{did_you_mean(one.key, names)}")
        families = {":" in place.host for place in self.listen}
        for one in self.secondaries:
            if one.notify is not None and (":" in one.notify.host) not in families:
                kind, other = ("IPv6", "IPv4") if ":" in one.notify.host else ("IPv4", "IPv6")
                raise ValueError(
                    f"secondary {one.id} is told of changes at {one.notify}, and `listen` has no {kind} address to tell it from; add one,"
                    f" or give `notify` an {other} address of that resolver"
                )
        same = [sorted(group.terms) for group in self.classes]
        for group in self.classes:
            if same.count(sorted(group.terms)) > 1:
                raise ValueError(f"class {group.id} has the terms of another class; keep one")
        return self
