"""The `bandwidth:` section: shared segments, when one is congested, and how often lines are looked at.

Owns the keys and their defaults. Which share or volume is too much is the terms' to say; how it is seen, `sekisho.detect`'s.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.validation import FileModel, shown
from sekisho.config.values import Flag, Identifier, Network, Seconds, Share, SomeSeconds, Text, Whole, as_items, as_some_seconds

_PLAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([0-9]+(?:\.[0-9]+)?)")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMG])bit/s")
_MANY = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})


def _as_every(value: object) -> float:
    seconds = as_some_seconds(value)
    if not 1 <= seconds <= 3600:
        raise ValueError("lines are looked at every 1s to 1h")
    return seconds


def _as_congestion_window(value: object) -> float:
    seconds = as_some_seconds(value)
    if not 300 <= seconds <= 86400:
        raise ValueError("a segment is looked at over 5m to 24h")
    return seconds


def _as_plan(value: object) -> tuple[float, float]:
    match = _PLAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a plan's Mbit/s down and up, such as 1000/100, found {shown(value)}")
    return float(match[1]), float(match[2])


def _as_rate(value: object) -> float:
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not float(match[1]):
        raise ValueError(f"expected a rate such as 500Mbit/s or 10Gbit/s, found {shown(value)}")
    return float(match[1]) * {"k": 1e3, "M": 1e6, "G": 1e9}[match[2]]


def _as_factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 1:
        raise ValueError(f"expected a number of 1 or more, found {value!r}")
    return float(value)


PlanRates = Annotated[tuple[float, float], PlainValidator(_as_plan), WithJsonSchema({"type": "string", "pattern": f"^{_PLAN.pattern}$"})]
Rate = Annotated[float, PlainValidator(_as_rate), WithJsonSchema({"type": "string", "pattern": f"^{_RATE.pattern}$"})]


class Segment(FileModel):
    """What lines share: an uplink, a PON tree, a BAS. Its lines are those of any group, prefix or plan named, or all."""

    id: Identifier
    """Names the segment in evidence and in the published criteria."""
    down: Rate
    """What it carries towards the customers,"""
    up: Rate
    """and from them."""
    congested: Share | None = None
    """Utilisation from which on it is congested; null: as the section says."""
    groups: Annotated[tuple[Text, ...], BeforeValidator(as_items), _MANY] = ()
    """Lines of these groups,"""
    prefixes: Annotated[tuple[Network, ...], BeforeValidator(as_items), _MANY] = ()
    """those with an address of theirs in these networks,"""
    plans: Annotated[tuple[PlanRates, ...], BeforeValidator(as_items), _MANY] = ()
    """those of these plans, by Mbit/s down and up: 1000/100;"""
    everybody: Flag = False
    """or everybody's."""

    @model_validator(mode="after")
    def _somebody(self) -> Segment:
        if not (self.groups or self.prefixes or self.plans or self.everybody):
            raise ValueError("nobody is on it; name `groups`, `prefixes` or `plans`, or say `everybody: true`")
        return self


class Bandwidth(FileModel):
    """Detection of who occupies lines and segments, and of mass mail and connection storms, under clauses that know them."""

    every: Annotated[SomeSeconds, BeforeValidator(_as_every)] = 60.0
    """How often lines are looked at."""
    windows: Annotated[Whole, Field(ge=1, le=64)] = 5
    """Looks looked back on."""
    sustained: Annotated[Whole, Field(ge=1, le=64)] = 3
    """Looks of them in which the condition must have been there, the last one among them."""
    clear: Annotated[Whole, Field(ge=1, le=1000)] = 3
    """Looks one after the other after which it is gone,"""
    release: Share = 0.8
    """below this share of what it came at."""
    congested: Share = 0.8
    """Utilisation of a segment from which on it is congested,"""
    congestion_window: Annotated[SomeSeconds, BeforeValidator(_as_congestion_window)] = 300.0
    """over this time."""
    factor: Annotated[float, BeforeValidator(_as_factor)] = 3.0
    """Who uses less than so many times what the median active line of the segment does is not found: what lifts everybody is
    nobody's doing."""
    pressing: Share = 0.8
    """A limited customer who uses this share of what the limit leaves would use more without it."""
    urgent: Flag = False
    """A finding counts as the emergency of the terms, where the clause knows one."""
    segments: tuple[Segment, ...] = ()
    """The shared segments. With none, nobody is found where a clause asks for congestion."""

    @model_validator(mode="after")
    def _fits(self) -> Bandwidth:
        if self.sustained > self.windows:
            raise ValueError(f"sustained ({self.sustained}) is more than the windows there are ({self.windows}); make it no more than that")
        names = [one.id for one in self.segments]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"segment {twice} stands twice; keep one")
        return self


class Duplicates(FileModel):
    """Detection of one ID in more live sessions than it may have."""

    allowed: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Sessions one ID may have at the same time,"""
    plans: dict[str, Annotated[Whole, Field(ge=1, le=1000)]] = Field(default_factory=dict)
    """and those of plans for which it is another number, by Mbit/s down and up: {1000/1000: 2}."""
    grace: Seconds = 120.0
    """How long both must be there side by side: a reconnect whose end was lost is none. The earlier one has to be heard of after
    it; where a NAS sends no Interim-Updates (`timeout: null`), that NAS of anything."""
    silent: SomeSeconds = 7200.0
    """A session nothing was heard of for so long counts no more; of a NAS that sends no Interim-Updates, nothing of the NAS."""
    urgent: Flag = False
    """A finding counts as the emergency of the terms, where the clause knows one."""

    @model_validator(mode="after")
    def _plans(self) -> Duplicates:
        for plan in self.plans:
            _as_plan(plan)
        return self

    def allowed_for(self, down_mbps: float | None, up_mbps: float | None) -> int:
        """Sessions an ID of a plan may have at the same time."""
        for plan, number in self.plans.items():
            if _as_plan(plan) == (down_mbps, up_mbps):
                return number
        return self.allowed
