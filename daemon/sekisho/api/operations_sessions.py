"""What the API asks of the daemon about sessions (see `operations`)."""

from __future__ import annotations

from typing import Any, Protocol

Json = dict[str, Any]


class SessionOperations(Protocol):
    """Implemented by `sekisho.app.control_session_operations`."""

    async def show_sessions(
        self, customer: str | None, user: str | None, nas: str | None, *, unknown: bool, ended: bool, limit: int
    ) -> Json: ...

    async def session_at(self, address: str, at: float | None, port: int | None, reason: str, *, actor: str) -> Json:
        """`at` None: now. Who asked, and why, is on the record before the answer is given."""
        ...
