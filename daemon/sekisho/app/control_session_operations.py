"""The operations of the API about sessions, carried out on the core."""

from __future__ import annotations

from typing import Any

from sekisho.app import control_session_questions
from sekisho.app.control_core import Core

Json = dict[str, Any]


class SessionControl:
    """Implements `sekisho.api.operations_sessions.SessionOperations`."""

    _core: Core

    async def show_sessions(
        self, customer: str | None, user: str | None, nas: str | None, *, unknown: bool, ended: bool, limit: int
    ) -> Json:
        return control_session_questions.show(self._core, customer, user, nas, limit, unknown=unknown, ended=ended)

    async def session_at(self, address: str, at: float | None, port: int | None, reason: str, *, actor: str) -> Json:
        return await control_session_questions.at(self._core, address, at, port, reason, actor)
