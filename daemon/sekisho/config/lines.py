"""The `lines:` section: what this machine does to customers' lines by its kernel, where their packets pass through it.

Owns the keys and their defaults. What a customer is limited to is the terms'; how the kernel does it is
`sekisho.enforce`'s.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.customers import PlanRecord
from sekisho.config.prefixes import parse_prefix
from sekisho.config.validation import FileModel, shown
from sekisho.config.values import Flag, SomeSeconds, as_items, as_some_seconds, as_text
from sekisho.model.customers import Plan, Prefix

_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}|/[^\0]{1,255}")


class LineMode(enum.StrEnum):
    OBSERVE = "observe"
    ENFORCE = "enforce"


class OnStop(enum.StrEnum):
    LEAVE = "leave"
    REMOVE = "remove"


def _as_interface(value: object) -> str:
    text = as_text(value)
    if not _INTERFACE.fullmatch(text) or text in {".", "..", "lo"}:
        raise ValueError(f"{shown(text)} is no interface towards customers; write its name as `ip link` shows it")
    return text


def _as_namespace(value: object) -> str | None:
    if value is None:
        return None
    text = as_text(value)
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(f"{shown(text)} is no network namespace; write a name of `ip netns list`, or the path of one")
    return text


def _as_host(value: object) -> Prefix:
    found = parse_prefix(as_text(value))
    if found.length != 128:
        raise ValueError(f"{shown(value)} is a network; write the address of one name server")
    return found


def _as_rhythm(value: object) -> float:
    seconds = as_some_seconds(value)
    if not 1 <= seconds <= 3600:
        raise ValueError("lies between 1s and 1h")
    return seconds


def _many(value: dict[str, object]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [value, {"type": "array", "items": value}]})


_TEXTS = _many({"type": "string"})
Interface = Annotated[str, PlainValidator(_as_interface)]
Host = Annotated[Prefix, PlainValidator(_as_host)]
Rhythm = Annotated[SomeSeconds, BeforeValidator(_as_rhythm)]


class LineSettings(FileModel):
    """What the kernel of this machine does to lines. It has to be where the customers' packets pass."""

    mode: LineMode = LineMode.OBSERVE
    """`observe`: what would be done is worked out and shown, and nothing is limited; `enforce`: as the measures say."""
    customers: Annotated[tuple[Interface, ...], BeforeValidator(as_items), Field(max_length=64), _TEXTS] = ()
    """Interfaces towards the customers, of the effect limit-rate."""
    namespace: Annotated[str | None, PlainValidator(_as_namespace), WithJsonSchema({"type": ["string", "null"]})] = None
    """Network namespace they are in, by name or path; null: the daemon's own."""
    silence: Flag = True
    """Whether queries of silenced customers are dropped before they reach the name servers (nftables)."""
    resolvers: Annotated[tuple[Host, ...], BeforeValidator(as_items), Field(max_length=64), _TEXTS] = ()
    """Addresses of name servers such queries are dropped for, besides those of `listen`."""
    mail: Flag = True
    """Whether the sending of mail is limited (nftables)."""
    shaping: Flag = True
    """Whether lines are slowed (HTB, both directions)."""
    counters: Flag = False
    """Whether octets and mail connections of every customer are counted (nftables)."""
    queries: Flag = False
    """Whether queries of every customer to `resolvers` are counted (nftables), for `detection:`."""
    count_every: Rhythm = 10.0
    """How often the counters are read."""
    every: Rhythm = 30.0
    """How often what is in the kernel is read back, compared and repaired."""
    line: PlanRecord | None = None
    """Capacity of lines whose customers have no `plan`; null: such a line is never slowed."""
    on_stop: OnStop = OnStop.LEAVE
    """`leave`: what is in force stays when the daemon stops, and is taken up again at its start; `remove`: it goes."""

    @model_validator(mode="after")
    def _fits(self) -> LineSettings:
        if self.shaping and not self.customers:
            raise ValueError("slowing lines needs the interfaces towards the customers: name them in `customers`, or say `shaping: false`")
        if self.queries and not self.resolvers:
            raise ValueError("counting queries needs the name servers customers ask: name their addresses in `resolvers`")
        return self

    @property
    def counted(self) -> bool:
        """Whether anything is counted of every customer."""
        return self.counters or self.queries

    @property
    def plan(self) -> Plan | None:
        return Plan(float(self.line.down_mbps), float(self.line.up_mbps)) if self.line is not None else None
