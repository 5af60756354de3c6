"""The operations of the API about measures, emergencies, outages and announcements, carried out on the core."""

from __future__ import annotations

from typing import Any

from sekisho.app import control_emergencies, control_measure_acts, control_outages
from sekisho.app.control_core import Core

Json = dict[str, Any]


class MeasureControl:
    """Implements `sekisho.api.operations_measures.MeasureOperations`."""

    _core: Core

    async def show_measures(self, customer: str | None, clause: str | None, *, closed: bool, limit: int) -> Json:
        return control_measure_acts.show_all(self._core, customer, clause, closed=closed, limit=limit)

    async def show_measure(self, measure: str) -> Json:
        return control_measure_acts.show(self._core, measure)

    async def suspend(self, customer: str, clause: str, *, reason: str, urgent: bool, actor: str) -> Json:
        return await control_measure_acts.suspend(self._core, customer, clause, reason, urgent=urgent, actor=actor)

    async def lift_measure(self, measure: str, *, reason: str, actor: str) -> Json:
        return await control_measure_acts.lift(self._core, measure, reason, actor)

    async def dismiss_measure(self, measure: str, *, reason: str, actor: str) -> Json:
        return await control_measure_acts.dismiss(self._core, measure, reason, actor)

    async def correct_measure(self, measure: str, *, reason: str, actor: str) -> Json:
        return await control_measure_acts.corrected(self._core, measure, reason, actor)

    async def extend_measure(self, measure: str, *, until: float, reason: str, actor: str) -> Json:
        return await control_measure_acts.extend(self._core, measure, until, reason, actor)

    async def deliver_notice(self, measure: str, *, at: float | None, actor: str) -> Json:
        return await control_measure_acts.delivered(self._core, measure, at, actor)

    async def exempt(self, customer: str, clause: str, *, reason: str, until: float | None, actor: str) -> Json:
        return await control_measure_acts.exempt(self._core, customer, clause, reason, until, actor)

    async def unexempt(self, customer: str, clause: str, *, reason: str, actor: str) -> Json:
        return await control_measure_acts.unexempt(self._core, customer, clause, reason, actor)

    async def hold(self, *, reason: str, actor: str) -> Json:
        return await control_emergencies.hold(self._core, reason, actor)

    async def resume(self, *, reason: str, actor: str) -> Json:
        return await control_emergencies.resume(self._core, reason, actor)

    async def show_emergency(self) -> Json:
        return await control_emergencies.show(self._core)

    async def start_emergency(self, *, clauses: list[str], until: float, priority: list[str], reason: str, actor: str) -> Json:
        return await control_emergencies.start(self._core, clauses, until, priority, reason, actor)

    async def end_emergency(self, *, reason: str, actor: str) -> Json:
        return await control_emergencies.end(self._core, reason, actor)

    async def show_outages(self) -> Json:
        return control_outages.show_all(self._core)

    async def show_outage(self, outage: str, *, after: str | None, limit: int) -> Json:
        return await control_outages.show(self._core, outage, after, limit)

    async def open_outage(self, *, since: float | None, known: float | None, affected: list[str], reason: str, actor: str) -> Json:
        return await control_outages.open_outage(self._core, since, known, affected, reason, actor)

    async def close_outage(self, outage: str, *, at: float | None, actor: str) -> Json:
        return await control_outages.close_outage(self._core, outage, at, actor)

    async def announce(
        self, what: str, *, packs: list[str], since: float, until: float | None, reason: str, urgent: bool, actor: str
    ) -> Json:
        return await control_outages.announce(self._core, what, packs, since, until, reason, urgent=urgent, actor=actor)
