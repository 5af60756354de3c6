"""The operations of the API about notices and attention calls, carried out on the core."""

from __future__ import annotations

from typing import Any

from sekisho.app import control_attention, control_desk
from sekisho.app.control_attention import CLAUSE
from sekisho.app.control_core import Core
from sekisho.app.control_session_questions import HeldAddresses
from sekisho.measures.reports import Sighting, read_row
from sekisho.model.errors import RefusedError
from sekisho.model.notices import CallState

Json = dict[str, Any]


class NoticeControl:
    """Implements `sekisho.api.operations_notices.NoticeOperations`."""

    _core: Core

    async def show_notices(self, customer: str | None, state: str | None, *, limit: int) -> Json:
        return control_desk.show(self._core, customer, state, limit)

    async def bounced(self, address: str | None, message: str | None, *, actor: str) -> Json:
        if address is not None:
            return await control_desk.bounced_address(self._core, address, actor)
        return await control_desk.bounced_report(self._core, message or "", actor)

    async def show_calls(self, customer: str | None, state: str | None) -> Json:
        return control_attention.show(self._core, customer, state)

    async def answer_call(self, call: str, *, reason: str, actor: str) -> Json:
        return await control_attention.move(self._core, call, CallState.ANSWERED, reason, actor)

    async def close_call(self, call: str, *, reason: str, actor: str) -> Json:
        return await control_attention.move(self._core, call, CallState.CLOSED, reason, actor)

    async def import_report(self, report: str, clause: str | None, lines: list[Json], *, actor: str) -> Json:
        core = self._core
        return await control_attention.take(core, HeldAddresses(core), report, clause or CLAUSE, _sightings(lines, core.clock()), actor)


def _sightings(lines: list[Json], now: float) -> list[Sighting]:
    """Lines as a client read them, read once more: whoever asks the API need not be our client. Raises RefusedError."""
    found = []
    for number, row in enumerate(lines, 1):
        line = row.get("line", number)
        if not isinstance(line, int) or isinstance(line, bool):
            raise RefusedError(f"line {number} of the request has a `line` that is no number; send the line's number in the report")
        try:
            found.append(read_row(line, row, now))
        except ValueError as error:
            raise RefusedError(f"line {number} of the request: {error}") from None
    return found
