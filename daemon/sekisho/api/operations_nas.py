"""What the API asks of the daemon about NASes (see `operations`)."""

from __future__ import annotations

from typing import Any, Protocol

Json = dict[str, Any]


class NasOperations(Protocol):
    """Implemented by `sekisho.app.control_operations`."""

    async def show_nas(self, nas: str | None, *, limit: int) -> Json:
        """All NASes; of the one that is named its lines too."""
        ...
