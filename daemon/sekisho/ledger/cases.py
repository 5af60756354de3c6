"""A measure with the steps that made it what it is, and its form in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sekisho.model.events import RecordedAct
from sekisho.model.measureacts import MeasureMoved
from sekisho.model.measures import Cause, Detector, Measure, MeasureState, Occasion
from sekisho.model.progress import MeasureAct


@dataclass(frozen=True, slots=True)
class Step:
    """One act of a measure: what it was, who did it, and what the customer is told of it where the terms ask for notice."""

    number: int
    at: float
    actor: str
    kind: str
    state: str
    cause: str
    until: float | None
    reason: str
    occasion: Occasion | None
    observe: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A measure and how it came to be as it is. Replaced as a whole, so that a copy of the book may share it."""

    measure: Measure
    steps: tuple[Step, ...]


def step_of(recorded: RecordedAct, act: MeasureAct, after: Measure, occasion: Occasion | None) -> Step:
    """The step an act is: `after` is the measure with it."""
    moved = isinstance(act, MeasureMoved)
    return Step(
        number=recorded.number,
        at=recorded.at,
        actor=recorded.actor,
        kind=act.kind,
        state=after.state.value,
        cause=after.cause.value if moved else "",
        until=after.until,
        reason=getattr(act, "reason", ""),
        occasion=occasion,
        observe=after.observe,
    )


def read_case(row: dict[str, Any]) -> Case:
    """A case from what `dataclasses.asdict` made of it. Raises KeyError, TypeError or ValueError for anything else."""
    return Case(_read_measure(row["measure"]), tuple(_read_step(one) for one in row["steps"]))


def _read_measure(row: dict[str, Any]) -> Measure:
    return Measure(**row | {"detector": Detector(row["detector"]), "state": MeasureState(row["state"]), "cause": Cause(row["cause"])})


def _read_step(row: dict[str, Any]) -> Step:
    return Step(**row | {"occasion": None if row["occasion"] is None else Occasion(row["occasion"])})
