"""Who is told of customers' sessions as they begin and end."""

from __future__ import annotations

from typing import Protocol

from sekisho.model.sessions import Session


class Watcher(Protocol):
    """Such as `app.control_nas`."""

    def session_started(self, session: Session) -> None: ...

    def session_resumed(self, session: Session) -> None: ...

    def session_ended(self, session: Session) -> None: ...

    def nas_restarted(self, name: str) -> None: ...
