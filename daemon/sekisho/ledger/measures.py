"""The fold of measures, exemptions, the hold, emergencies, outages and interruptions.

Open measures are all known; closed ones for `KEEP` after their end, `CLOSED` of them at most, so that the fold does not
grow with the years: the acts stay in the ledger. Reads no clock: the time is that of the act taken in.
Acts of a measure whose opening was erased are passed over.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from sekisho.ledger.cases import Case, read_case, step_of
from sekisho.ledger.part import Chunk, Part
from sekisho.ledger.retention import Subject
from sekisho.model.events import Act, RecordedAct
from sekisho.model.measureacts import (
    CustomerExempted,
    EmergencyDeclared,
    EmergencyEnded,
    EnforcementHeld,
    EnforcementResumed,
    ExemptionEnded,
    InterruptionAnnounced,
    MeasureExtended,
    MeasureMoved,
    MeasureOpened,
    MeasureSustained,
    OutageClosed,
    OutageOpened,
    TerminationEligible,
)
from sekisho.model.measures import Detector, Emergency, Exemption, Hold, Interruption, Measure, Outage
from sekisho.model.progress import MeasureAct, occasion_of, opened, progress

KEEP = 90 * 86400.0
"""Seconds a closed measure is known."""
CLOSED = 20_000
"""Closed measures known at most."""
STEPS = 100
"""Steps of one measure known: the newest."""
KEPT_EVENTS = 1000
"""Outages and interruptions known: the newest, and every outage that is open."""
_ROWS = 1000


class MeasureBook(Part):
    """The fold so far. Only `apply` and `forget` change it.

    cases           id -> case, open or closed of late
    exemptions      customer -> clause -> exemption, run out or not
    hold            the hold of all enforcement, if there is one
    emergency       the emergency that was declared last and not ended; `until` says whether it counts
    outages         id -> outage
    interruptions   id -> interruption
    """

    name: ClassVar[str] = "measures"
    version: ClassVar[int] = 2
    acts: ClassVar[tuple[type[Act], ...]] = (
        MeasureOpened,
        MeasureSustained,
        MeasureMoved,
        MeasureExtended,
        TerminationEligible,
        CustomerExempted,
        ExemptionEnded,
        EnforcementHeld,
        EnforcementResumed,
        EmergencyDeclared,
        EmergencyEnded,
        OutageOpened,
        OutageClosed,
        InterruptionAnnounced,
    )

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.exemptions: dict[str, dict[str, Exemption]] = {}
        self.hold: Hold | None = None
        self.emergency: Emergency | None = None
        self.outages: dict[str, Outage] = {}
        self.interruptions: dict[str, Interruption] = {}
        self._open: dict[str, None] = {}
        self._of: dict[str, tuple[str, ...]] = {}
        self._closed: deque[tuple[float, str]] = deque()

    # What is asked of it

    def get(self, measure: str) -> Measure | None:
        case = self.cases.get(measure)
        return None if case is None else case.measure

    def open(self) -> list[Measure]:
        """Every open measure, the first opened first."""
        return [self.cases[one].measure for one in self._open]

    def of(self, customer: str) -> list[Measure]:
        """The customer's measures, open or closed of late, the first opened first."""
        return [self.cases[one].measure for one in self._of.get(customer, ())]

    def customers(self) -> set[str]:
        """Customers with an open measure."""
        return {self.cases[one].measure.customer for one in self._open}

    def last(self, customer: str, clause: str, detector: Detector) -> Measure | None:
        """The newest measure of one cause, open or closed of late."""
        found = [one for one in self.of(customer) if one.clause == clause and one.detector is detector]
        return found[-1] if found else None

    def is_exempt(self, customer: str, clause: str, now: float) -> bool:
        exemption = self.exemptions.get(customer, {}).get(clause)
        return exemption is not None and exemption.in_force(now)

    # The fold

    def apply(self, recorded: RecordedAct) -> None:
        """Take in the next act."""
        act, at, by = recorded.act, recorded.at, recorded.actor
        match act:
            case MeasureOpened():
                self._open_case(act, recorded)
            case MeasureSustained() | MeasureMoved() | MeasureExtended() | TerminationEligible():
                self._progress(act, recorded)
            case CustomerExempted():
                exemption = Exemption(act.customer, act.clause, act.reason, by, at, act.until)
                self.exemptions[act.customer] = {**self.exemptions.get(act.customer, {}), act.clause: exemption}
            case ExemptionEnded():
                self._unexempt(act.customer, act.clause)
            case EnforcementHeld():
                self.hold = Hold(at, by, act.reason)
            case EnforcementResumed():
                self.hold = None
            case EmergencyDeclared():
                self.emergency = Emergency(tuple(act.clauses), at, act.until, tuple(act.priority), by, act.reason)
            case EmergencyEnded():
                self.emergency = None
            case _:
                self._take_event(act, at)

    def _take_event(self, act: Act, at: float) -> None:
        match act:
            case OutageOpened():
                known = act.since if act.known is None else act.known
                self.outages[act.outage] = Outage(act.outage, act.since, None, tuple(act.affected), act.reason, known)
                closed = [one.id for one in self.outages.values() if one.until is not None]
                for one in closed[: max(0, len(self.outages) - KEPT_EVENTS)]:
                    del self.outages[one]
            case OutageClosed():
                outage = self.outages.get(act.outage)
                if outage is not None:
                    self.outages[act.outage] = dataclasses.replace(outage, until=act.at)
            case InterruptionAnnounced():
                packs = tuple(act.packs)
                self.interruptions[act.interruption] = Interruption(
                    act.interruption, act.what, packs, act.since, act.until, at, act.urgent, act.reason
                )
                while len(self.interruptions) > KEPT_EVENTS:
                    del self.interruptions[next(iter(self.interruptions))]
            case _:
                pass

    def _open_case(self, act: MeasureOpened, recorded: RecordedAct) -> None:
        if act.measure in self.cases:
            return
        measure = opened(act, recorded.at)
        self.cases[act.measure] = Case(measure, (step_of(recorded, act, measure, None),))
        self._open[act.measure] = None
        self._of[act.customer] = (*self._of.get(act.customer, ()), act.measure)

    def _progress(self, act: MeasureAct, recorded: RecordedAct) -> None:
        case = self.cases.get(act.measure)
        if case is None or not case.measure.state.is_open:
            return
        after = progress(case.measure, act, recorded.at)
        step = step_of(recorded, act, after, occasion_of(case.measure, act))
        self.cases[act.measure] = Case(after, (*case.steps, step)[-STEPS:])
        if not after.state.is_open:
            del self._open[act.measure]
            self._closed.append((recorded.at, act.measure))
            self._drop_old(recorded.at)

    def _drop_old(self, now: float) -> None:
        while self._closed and (len(self._closed) > CLOSED or self._closed[0][0] < now - KEEP):
            self._drop(self._closed.popleft()[1])

    def _drop(self, measure: str) -> None:
        case = self.cases.pop(measure, None)
        if case is None:
            return
        customer = case.measure.customer
        rest = tuple(one for one in self._of.get(customer, ()) if one != measure)
        if rest:
            self._of[customer] = rest
        else:
            self._of.pop(customer, None)

    def _unexempt(self, customer: str, clause: str) -> None:
        rest = {key: value for key, value in self.exemptions.get(customer, {}).items() if key != clause}
        if rest:
            self.exemptions[customer] = rest
        else:
            self.exemptions.pop(customer, None)

    # Erasure, copies and the form on disk

    def forget(self, subject: Subject) -> None:
        """Let go of what is over and was erased: `("measure", (id,))`, `("exemption", (customer, clause))`, `("outage", (id,))`."""
        group, key = subject
        if group == "measure":
            if key[0] not in self._open:
                self._drop(key[0])
        elif group == "exemption":
            self._unexempt(key[0], key[1])
        elif group == "outage":
            self.outages.pop(key[0], None)

    def copy(self) -> Self:
        made = type(self)()
        made.cases, made.exemptions = dict(self.cases), dict(self.exemptions)
        made.hold, made.emergency = self.hold, self.emergency
        made.outages, made.interruptions = dict(self.outages), dict(self.interruptions)
        made._open, made._of, made._closed = dict(self._open), dict(self._of), deque(self._closed)  # noqa: SLF001 - of this class
        return made

    def dump(self) -> Iterator[Chunk]:
        """What is to be kept, in chunks of JSON."""
        yield {
            "hold": None if self.hold is None else dataclasses.asdict(self.hold),
            "emergency": None if self.emergency is None else dataclasses.asdict(self.emergency),
            "exemptions": [dataclasses.asdict(one) for clauses in self.exemptions.values() for one in clauses.values()],
            "outages": [dataclasses.asdict(one) for one in self.outages.values()],
            "interruptions": [dataclasses.asdict(one) for one in self.interruptions.values()],
            "closed": list(self._closed),
        }
        rows = [dataclasses.asdict(case) for case in self.cases.values()]
        for first in range(0, len(rows), _ROWS):
            yield rows[first : first + _ROWS]

    def load(self, chunks: Iterable[Chunk]) -> None:
        """Take in what `dump` gave, a few chunks at a time. Raises KeyError, TypeError or ValueError for anything else."""
        for chunk in chunks:
            if isinstance(chunk, dict):
                self._load_whole(chunk)
            else:
                self._load_rows(chunk)

    def _load_whole(self, whole: dict[str, Any]) -> None:
        self.hold = None if whole["hold"] is None else Hold(**whole["hold"])
        emergency = whole["emergency"]
        self.emergency = None if emergency is None else Emergency(**_tuples(emergency, "clauses", "priority"))
        for row in whole["exemptions"]:
            exemption = Exemption(**row)
            self.exemptions.setdefault(exemption.customer, {})[exemption.clause] = exemption
        self.outages = {row["id"]: Outage(**_tuples(row, "affected")) for row in whole["outages"]}
        self.interruptions = {row["id"]: Interruption(**_tuples(row, "packs")) for row in whole["interruptions"]}
        self._closed = deque((at, measure) for at, measure in whole["closed"])

    def _load_rows(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            case = read_case(row)
            self.cases[case.measure.id] = case
            self._of[case.measure.customer] = (*self._of.get(case.measure.customer, ()), case.measure.id)
            if case.measure.state.is_open:
                self._open[case.measure.id] = None


def _tuples(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    return row | {key: tuple(row[key]) for key in keys}
