"""What detectors find, handed to the measures: the one way from `detect` to the life cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sekisho.app.control_measures import Measures
from sekisho.measures.combine import ENFORCED
from sekisho.model.measures import ConditionGone, Detector, Finding, MeasureState


class Findings:
    """Implements `control_detection.Sink` and `control_bandwidth.Sink` on the measures."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def open(self, detector: Detector) -> Iterator[tuple[str, str, float]]:
        for measure in self._measures.book.open():
            if measure.detector is detector and measure.state is not MeasureState.ENDING and measure.gone_at is None:
                yield measure.customer, measure.clause, measure.opened_at

    def enforced(self, customer: str, clause: str, detector: Detector, now: float) -> bool:
        """Whether a measure found by a detector does something to a customer now."""
        last = self._measures.book.last(customer, clause, detector)
        if last is None or last.state not in ENFORCED or last.observe:
            return False
        standing = self._measures.view(now).standing(customer, clause, detector)
        return standing.rule is not None and not (standing.exempt or standing.observe or standing.held)

    async def found(self, findings: Sequence[Finding], gone: Sequence[ConditionGone], now: float) -> None:
        if gone:
            await self._measures.gone([(one.customer, one.clause, one.detector) for one in gone], now)
        if findings:
            await self._measures.found(findings, now)
