"""The verdict: its outcomes and the one table of its steps.

The order of enforcement is this table and nothing else: the compiled plane takes its step
numbers from here, `explain` its sentences, the metrics their labels.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    ANSWERED = "answered"
    BLOCKED = "blocked"
    SILENCED = "silenced"
    LIMITED = "limited"
    REFUSED = "refused"


class Step(enum.IntEnum):
    """Where a verdict was reached. The numbers are part of the table format."""

    MALFORMED = 1
    SOURCE = 2
    SILENCED = 3
    BUDGET = 4
    MANDATORY = 5
    ENTITLED = 6
    CACHE = 7
    FORWARD = 8


@dataclass(frozen=True, slots=True)
class StepDefinition:
    step: Step
    label: str
    """Label of metrics: a closed set."""
    question: str
    """What is asked at this step, for `explain`."""
    verdict: Verdict
    """The verdict when this step decides."""


STEPS: tuple[StepDefinition, ...] = (
    StepDefinition(Step.MALFORMED, "malformed", "Is it a well-formed query?", Verdict.REFUSED),
    StepDefinition(Step.SOURCE, "source", "Is the source a customer's or in an allowed network?", Verdict.REFUSED),
    StepDefinition(Step.SILENCED, "silenced", "Is the customer silenced by a measure?", Verdict.SILENCED),
    StepDefinition(Step.BUDGET, "budget", "Is the customer over the hard query budget?", Verdict.LIMITED),
    StepDefinition(Step.MANDATORY, "mandatory", "Does a mandatory list hold the name?", Verdict.BLOCKED),
    StepDefinition(Step.ENTITLED, "entitled", "Does a list the customer is entitled to hold the name?", Verdict.BLOCKED),
    StepDefinition(Step.CACHE, "cache", "Is the answer in the packet cache?", Verdict.ANSWERED),
    StepDefinition(Step.FORWARD, "forward", "Forward to the resolver.", Verdict.ANSWERED),
)
