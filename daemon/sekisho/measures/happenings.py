"""What may happen to a measure, and what follows from it: the arguments and the answer of `lifecycle.step`."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.model.events import Act
from sekisho.model.measures import Finding, Measure, NoticeOrder


@dataclass(frozen=True, slots=True)
class Found:
    """The condition is there. `id` is for the measure, should one be opened."""

    finding: Finding
    id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The condition is not there any more, as a detector sees or an operator says."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The notice counts as delivered at `at`."""

    at: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Lift:
    """The operator ends a measure that is in force."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dismiss:
    """The operator ends a measure before it is in force."""

    reason: str


@dataclass(frozen=True, slots=True)
class Extend:
    """The operator prolongs the period."""

    until: float
    reason: str


Event = Found | Gone | Delivered | Tick | Lift | Dismiss | Extend


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows. `measure` is as it will be once the acts are recorded."""

    measure: Measure | None
    acts: tuple[Act, ...] = ()
    orders: tuple[NoticeOrder, ...] = ()
