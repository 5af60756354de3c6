"""The `detection:` section: when a customer's queries are far above the statistical average, and load the name servers.

Owns the keys and their defaults. What they mean is `sekisho.detect`'s; what follows from a finding is
the terms'.
"""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from sekisho.config.validation import FileModel
from sekisho.config.values import Flag, Share, SomeSeconds, Whole, as_some_seconds


class Statistic(enum.StrEnum):
    """The average of the population, and how far above it is far above."""

    MEAN = "mean"
    """factor x mean."""
    MEDIAN = "median"
    """median + factor x the larger of 1.4826 x MAD and the median: a few floods do not move it."""


def _as_positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"expected a number above 0, found {value!r}")
    return float(value)


def _as_factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"expected a number, or 0 for none; found {value!r}")
    return float(value)


def _as_window(value: object) -> float:
    seconds = as_some_seconds(value)
    if not 1 <= seconds <= 3600:
        raise ValueError("a window has from 1s to 1h")
    return seconds


Positive = Annotated[float, BeforeValidator(_as_positive)]
Factor = Annotated[float, BeforeValidator(_as_factor)]


class LoadConditions(FileModel):
    """What counts as load or disturbance of the name servers; one of them is enough. null leaves one out."""

    utilisation: Share | None = 0.8
    """Share of its time the busiest worker has packets to deal with."""
    timeouts: Share | None = 0.1
    """Share of the questions to the resolvers that get no answer in time, or find no room to wait for one."""
    latency: SomeSeconds | None = 1.0
    """Time the resolvers take, at the percentile below."""
    queries: Positive | None = None
    """Queries per second of all customers together: what stands for load where their resolvers tell of queries over dnstap, and
    nobody of how they do."""
    percentile: Share = 0.9
    """Share of the answers that came sooner than the latency that is compared."""
    release: Share = 0.8
    """A condition that came holds until its figure is below this share of the value."""


class Detection(FileModel):
    """Detection of DNS overload. Both must hold in `sustained` of `windows` windows: rate and load."""

    window: Annotated[SomeSeconds, BeforeValidator(_as_window)] = 10.0
    """Time over which queries are counted, from 1s to 1h."""
    windows: Annotated[Whole, Field(ge=1, le=64)] = 5
    """Windows looked back on."""
    sustained: Annotated[Whole, Field(ge=1, le=64)] = 3
    """Windows of them in which rate and load must have been there, the last one among them."""
    statistic: Statistic = Statistic.MEDIAN
    """Of the customers who asked anything in the window: median, or mean."""
    factor: Positive = 20.0
    """How far above the statistic is far above it."""
    floor: Positive = 200.0
    """Queries per second that are no flood, however little the others ask."""
    usual: Factor = 3.0
    """A customer below this many times its own usual rate (of days, in windows without load) is not found: what is high
    but steady is no flood. 0: whatever is usual."""
    by_address: Flag = True
    """A customer with several IPv4 addresses is measured as so many lines."""
    release: Share = 0.5
    """The condition is gone below this share of the threshold, or without load,"""
    clear: Annotated[Whole, Field(ge=1, le=1000)] = 3
    """in this many windows one after the other."""
    urgent: Flag = True
    """A finding counts as the emergency of the terms (equipment to be protected at once), where the clause knows one."""
    load: LoadConditions = LoadConditions()
    """The load conditions."""

    @model_validator(mode="after")
    def _fits(self) -> Detection:
        if self.sustained > self.windows:
            raise ValueError(f"sustained ({self.sustained}) is more than the windows there are ({self.windows}); make it no more than that")
        if (self.load.utilisation, self.load.timeouts, self.load.latency, self.load.queries) == (None,) * 4:
            raise ValueError("load has no condition, so nothing could ever be found; set one of utilisation, timeouts, latency and queries")
        return self
