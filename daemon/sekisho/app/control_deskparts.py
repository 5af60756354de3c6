"""What the desk of notices works with, as it sees it: the hand that hands over, the record, who hears of bounces."""

from __future__ import annotations

from typing import Protocol

from sekisho.measures.notices import Attempt, Limit
from sekisho.model.events import Act, RecordedAct
from sekisho.model.notices import Channel, Notice


class Unreachable(Protocol):
    """Who is told that mail to a customer bounces, or reaches them again."""

    async def unreachable(self, customer: str, at: float, attempt: Attempt) -> None: ...


class Hand(Protocol):
    """Hands notices over (`control_channels.Channels`)."""

    @property
    def configured(self) -> frozenset[Channel]: ...

    @property
    def limit(self) -> Limit: ...

    async def hand_over(self, notice: Notice, members: list[Notice]) -> Attempt:
        """Raises ConfigError if the notice cannot be written."""
        ...

    def deemed_at(self, notice: Notice, members: list[Notice], began: float, accepted: float) -> float | None: ...

    async def page(self, customer: str) -> str:
        """Where the notices to a customer are posted; empty if that is not known."""
        ...

    async def purge(self) -> int:
        """Take away what is older than it is kept. Raises SekishoError."""
        ...

    async def close(self) -> None: ...


class Record(Protocol):
    """The ledger (`drivers.ledger.Ledger`)."""

    async def append(self, act: Act, actor: str, now: float) -> RecordedAct: ...
