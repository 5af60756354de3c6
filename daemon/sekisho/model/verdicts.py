"""The verdict: its outcomes and the one table of its steps.

The order of enforcement is this table and nothing else: the compiled plane takes its step
numbers from here, `explain` its sentences, the metrics their labels.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

GARDEN_TTL = 10
"""Seconds an answer of the walled garden may be cached: who has mended what was wrong is soon back."""


class Verdict(enum.StrEnum):
    ANSWERED = "answered"
    BLOCKED = "blocked"
    SILENCED = "silenced"
    LIMITED = "limited"
    GARDENED = "gardened"
    REFUSED = "refused"


class Step(enum.IntEnum):
    """Where a verdict was reached. The numbers are the order of enforcement."""

    MALFORMED = 1
    SOURCE = 2
    SILENCED = 3
    BUDGET = 4
    GARDEN = 5
    MANDATORY = 6
    ENTITLED = 7
    CACHE = 8
    FORWARD = 9


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
    StepDefinition(Step.GARDEN, "garden", "Does a measure answer the customer with the notice page?", Verdict.GARDENED),
    StepDefinition(Step.MANDATORY, "mandatory", "Does a mandatory list hold the name?", Verdict.BLOCKED),
    StepDefinition(Step.ENTITLED, "entitled", "Does a list the customer is entitled to hold the name?", Verdict.BLOCKED),
    StepDefinition(Step.CACHE, "cache", "Is the answer in the packet cache?", Verdict.ANSWERED),
    StepDefinition(Step.FORWARD, "forward", "Forward to the resolver.", Verdict.ANSWERED),
)
