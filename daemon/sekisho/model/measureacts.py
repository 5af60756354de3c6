"""Acts about measures and what bears on all of them: exemptions, the hold, emergencies, outages, announcements.

`model.events` says what an act is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class MeasureOpened:
    """A finding that opens a measure, which is `found` from then on."""

    kind: ClassVar[str] = "measure-opened"
    measure: str
    customer: str
    clause: str
    detector: str
    evidence: dict[str, float | int | str]
    observe: bool
    urgent: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeasureSustained:
    """The condition is there still; recorded now and then, not for every window."""

    kind: ClassVar[str] = "measure-sustained"
    measure: str
    customer: str
    evidence: dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class MeasureMoved:
    """A measure entered `state` for `cause`; `until` as in `model.measures.Measure`."""

    kind: ClassVar[str] = "measure-moved"
    measure: str
    customer: str
    state: str
    cause: str
    until: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeasureExtended:
    kind: ClassVar[str] = "measure-extended"
    measure: str
    customer: str
    until: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TerminationEligible:
    """The contract may be terminated under `clause`; said once for a measure, and nothing is done about it."""

    kind: ClassVar[str] = "termination-eligible"
    measure: str
    customer: str
    clause: str


@dataclass(frozen=True, slots=True)
class CustomerExempted:
    """An operator's exemption from a clause that authorises measures, which closes open ones of that clause."""

    kind: ClassVar[str] = "customer-exempted"
    customer: str
    clause: str
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class ExemptionEnded:
    kind: ClassVar[str] = "exemption-ended"
    customer: str
    clause: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EnforcementHeld:
    """Nothing is enforced by any measure until it is resumed."""

    kind: ClassVar[str] = "enforcement-held"
    reason: str


@dataclass(frozen=True, slots=True)
class EnforcementResumed:
    kind: ClassVar[str] = "enforcement-resumed"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EmergencyDeclared:
    """Communications of public interest come first: `priority` names customers and groups that go on unlimited."""

    kind: ClassVar[str] = "emergency-declared"
    clauses: list[str]
    until: float
    priority: list[str]
    reason: str


@dataclass(frozen=True, slots=True)
class EmergencyEnded:
    kind: ClassVar[str] = "emergency-ended"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutageOpened:
    """A failure of the operator's; `affected` names customers, groups or packs, empty: everybody."""

    kind: ClassVar[str] = "outage-opened"
    outage: str
    since: float
    affected: list[str]
    reason: str
    known: float | None = None
    """When the operator knew of it; None: from its beginning on."""


@dataclass(frozen=True, slots=True)
class OutageClosed:
    kind: ClassVar[str] = "outage-closed"
    outage: str
    at: float


@dataclass(frozen=True, slots=True)
class InterruptionAnnounced:
    """An interruption (maintenance, discontinuation) from `since` to `until`, announced for the packs named."""

    kind: ClassVar[str] = "interruption-announced"
    interruption: str
    what: str
    packs: list[str]
    since: float
    until: float | None
    urgent: bool
    reason: str
