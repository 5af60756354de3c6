"""Which prefixes customers have for now, besides their fixed ones, as the tables ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sekisho.app.control_people import People
from sekisho.drivers.tablerows import NONE_LENT, Lent
from sekisho.model.customers import Prefix


class Lender(Protocol):
    """Who knows them (`app.control_sessions`)."""

    def live_prefixes(self, customer: str) -> tuple[Prefix, ...]: ...

    def holder(self, prefix: Prefix) -> str | None:
        """Whose line it is on; `SHARED` (`drivers.tablerows`): customers share it by ports."""
        ...

    def lent(self) -> Callable[[People], Lent]:
        """All of them as of now; what is given works them out for some customers, in any thread."""
        ...


class NoLender:
    """Nobody has any."""

    def live_prefixes(self, customer: str) -> tuple[Prefix, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def holder(self, prefix: Prefix) -> str | None:  # noqa: ARG002
        return None

    def lent(self) -> Callable[[People], Lent]:
        return lambda _: NONE_LENT
