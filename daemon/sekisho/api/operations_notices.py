"""What the API asks of the daemon about notices and attention calls (see `operations`)."""

from __future__ import annotations

from typing import Any, Protocol

Json = dict[str, Any]


class NoticeOperations(Protocol):
    """Implemented by `sekisho.app.control_notice_operations`."""

    async def show_notices(self, customer: str | None, state: str | None, *, limit: int) -> Json: ...

    async def bounced(self, address: str | None, message: str | None, *, actor: str) -> Json:
        """One of the two: an address that does not work, or a delivery report as it came."""
        ...

    async def show_calls(self, customer: str | None, state: str | None) -> Json: ...

    async def answer_call(self, call: str, *, reason: str, actor: str) -> Json: ...

    async def close_call(self, call: str, *, reason: str, actor: str) -> Json: ...

    async def import_report(self, report: str, clause: str | None, lines: list[Json], *, actor: str) -> Json:
        """`lines`: objects with `line`, `address`, `at` (UNIX seconds) and, where it is known, `port`."""
        ...
