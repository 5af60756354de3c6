"""Detection at work: each window's counts to findings, handed to whoever acts on them.

Owns the rhythm, which clauses a finding is under, what is kept to explain it, and that what is usual outlasts a
restart. A finding is made only under clauses of the customer's own terms that know the detector; the customer's
exemptions are kept.
Decides nothing about rates (`detect.overload`) nor about what follows (`Sink`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog

from sekisho.app.control_people import People
from sekisho.config.detection import Detection as Settings
from sekisho.detect.load import Load
from sekisho.detect.overload import Conclusion, Overload, Standing, Window, forget
from sekisho.drivers.customercounts import CustomerCounts
from sekisho.drivers.usualrates import UsualRates, read_usual, write_usual
from sekisho.model.clauses import MeasureRule, Pack
from sekisho.model.customers import Customer
from sekisho.model.errors import TableError
from sekisho.model.measures import ConditionGone, Detector, Finding

log = structlog.get_logger("sekisho.control")

KEEP_EVERY = 600.0
"""Seconds between two times at which what is usual is written down."""
LEAST = 0.01
"""Queries per second from which on a usual rate is worth keeping: below it no limit follows from it."""
LATE = 0.95
"""Share of a window that must be over for it to be looked at: the rhythm is kept by a clock that ticks coarsely."""


class Sink(Protocol):
    """Who acts on findings."""

    def open(self, detector: Detector) -> Iterable[tuple[str, str, float]]:
        """Customer, clause and opening (UNIX seconds) of every measure of a detector's whose condition is there as far as is known.

        What a restart made the detector forget it takes up again from here, so that the end is told.
        """
        ...

    async def found(self, findings: Sequence[Finding], gone: Sequence[ConditionGone], now: float) -> None:
        """The conditions that are there at `now`, newly or still, and those that are no more.

        What is told with a SekishoError as the answer is told again with the next window.
        """
        ...


class Detection:
    """The detector of DNS overload, as the daemon runs it."""

    def __init__(self, counts: CustomerCounts, row_of: Callable[[str], int | None], sink: Sink | None = None) -> None:
        """`row_of` finds a customer's row in the tables; without a sink findings are shown and nothing follows."""
        self.sink = sink
        self._counts = counts
        self._row_of = row_of
        self._memory = Overload()
        self._settings: Settings | None = None
        self._at: float | None = None
        self._untold: list[ConditionGone] = []
        self._told = 0
        self._kept: tuple[Path, float] | None = None
        """Where what is usual is kept, and when that was done last."""
        self._known: set[tuple[str, str, float]] = set()
        """Measures that were open at the last window: adopted once, if they are not of our own finding."""
        self.conclusion: Conclusion | None = None
        """Of the last window."""

    async def tick(self, people: People, now: float, ticks: float) -> bool:
        """Look at a window if one is over; whether one was. `now` UNIX seconds, `ticks` monotonic seconds."""
        settings = people.site.settings.detection
        if settings != self._settings:
            self._memory, self._settings = forget(self._memory), settings
        if self._at is not None and ticks - self._at < settings.window * LATE:
            return False
        self._at = ticks
        window = await asyncio.to_thread(self._counts.window, now, ticks)
        if window is None:
            return False
        opened = list(self.sink.open(Detector.DNS_OVERLOAD)) if self.sink is not None else []
        for customer, _, since in set(opened) - self._known:
            row = self._row_of(customer)
            if row is not None:
                self._memory.adopt(row, customer, since)
        self._known = set(opened)
        conclusion = self.conclusion = await asyncio.to_thread(self._look, window, settings)
        findings, gone = _told(conclusion, people, now, settings, {(customer, clause) for customer, clause, _ in opened})
        if len(findings) != self._told:
            log.info("overload", customers=len({one.customer for one in findings}), load=" ".join(conclusion.survey.load.holding) or "none")
            self._told = len(findings)
        self._untold += gone
        if self.sink is not None and (findings or self._untold):
            await self.sink.found(findings, tuple(self._untold), now)
        self._untold = []
        if self._kept is not None and not 0 <= now - self._kept[1] < KEEP_EVERY:
            await self.keep(now)
        return True

    async def recall(self, path: Path, now: float) -> None:
        """Take up what was usual before a restart, from the file at `path`, where it is kept from now on."""
        self._kept = path, now
        usual = await asyncio.to_thread(read_usual, path, now)
        if usual is not None:
            await asyncio.to_thread(self._take_up, usual)

    async def keep(self, now: float) -> None:
        """Write down what is usual. Raises UnavailableError if it cannot be; it is tried again."""
        if self._kept is not None:
            self._kept = path, _ = self._kept[0], now
            usual = await asyncio.to_thread(self._usual)
            if usual is not None:
                await asyncio.to_thread(write_usual, path, usual, now)

    def _take_up(self, usual: UsualRates) -> None:
        rows = [self._row_of(customer) for customer in usual.customers]
        known = np.array([row is not None for row in rows], np.bool_)
        at = np.array([row for row in rows if row is not None], np.int64)
        rates = np.zeros(int(at.max(initial=-1)) + 1, np.float32)
        rates[at] = usual.rates[known]
        self._memory.usual, self._memory.median, self._memory.learnt = rates, usual.median, usual.learnt

    def _usual(self) -> UsualRates | None:
        """What is usual, of those it is known of."""
        rates = self._memory.usual
        rows = np.flatnonzero(rates >= LEAST)
        try:
            customers = self._counts.customers(rows)
        except TableError:
            return None
        named = [(name, row) for name, row in zip(customers, rows.tolist(), strict=True) if name is not None]
        kept = np.array([row for _, row in named], np.int64)
        return UsualRates([name for name, _ in named], rates[kept], self._memory.median, self._memory.learnt)

    def standing(self, customer: str) -> Standing | None:
        """Where a customer stands after the last window; None before the first, or without a row."""
        row = self._row_of(customer)
        if row is None or self.conclusion is None or self._settings is None:
            return None
        return self._memory.stand(self.conclusion, row, self._counts.line(row, customer), self._settings)

    @property
    def load(self) -> Load:
        return self.conclusion.survey.load if self.conclusion is not None else Load()

    def _look(self, window: Window, settings: Settings) -> Conclusion:
        survey = self._memory.survey(window, settings)
        return self._memory.conclude(survey, self._counts.lines(survey.rows), settings)


def _told(
    conclusion: Conclusion, people: People, now: float, settings: Settings, opened: set[tuple[str, str]]
) -> tuple[list[Finding], list[ConditionGone]]:
    """What a window says, under each clause it is said under; an end under those of open measures too."""
    findings = [
        Finding(Detector.DNS_OVERLOAD, clause, one.customer, now, settings.window, one.evidence, settings.urgent)
        for one in conclusion.found
        for clause in clauses_for(people, one.customer)
    ]
    gone = []
    for one in conclusion.gone:
        clauses = {clause for customer, clause in opened if customer == one.customer} | set(clauses_for(people, one.customer))
        gone += [ConditionGone(Detector.DNS_OVERLOAD, clause, one.customer, now, one.evidence) for clause in sorted(clauses)]
    return findings, gone


def clauses_for(people: People, identity: str) -> list[str]:
    """Clauses under which DNS overload may be found for a customer; none for one who is not there."""
    customer = people.find(identity)
    return clauses_of(people.site.packs, customer) if customer is not None else []


def clauses_of(packs: Mapping[str, Pack], customer: Customer) -> list[str]:
    """Clauses of the customer's terms that know this detector, less those the customer is exempt from."""
    rules = [rule for name in customer.terms if name in packs for rule in packs[name].rules]
    found = {rule.clause: None for rule in rules if isinstance(rule, MeasureRule) and rule.detector is Detector.DNS_OVERLOAD}
    return [clause for clause in found if clause not in customer.exempt]
