"""What the detector of overload finds, handed to the measures: the one way from `detect` to the life cycle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sekisho.app.control_measures import Measures
from sekisho.model.measures import ConditionGone, Detector, Finding, MeasureState


class Findings:
    """Implements `control_detection.Sink` on the measures."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def open(self, detector: Detector) -> Iterator[tuple[str, str, float]]:
        for measure in self._measures.book.open():
            if measure.detector is detector and measure.state is not MeasureState.ENDING and measure.gone_at is None:
                yield measure.customer, measure.clause, measure.opened_at

    async def found(self, findings: Sequence[Finding], gone: Sequence[ConditionGone], now: float) -> None:
        if gone:
            await self._measures.gone([(one.customer, one.clause, one.detector) for one in gone], now)
        if findings:
            await self._measures.found(findings, now)
