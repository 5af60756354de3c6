"""dnstap in the control plane: the listener of the configuration in force, and how it does.

Owns which listener runs and when it is changed. Where it cannot be opened the daemon says why, tries again, and does without.
Who is told of the counts is `drivers.customercounts`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from sekisho.config.dnstap import Counted, DnstapSettings
from sekisho.drivers.dnstapseen import Seen
from sekisho.model.dnstap import Ended, Tally
from sekisho.model.errors import UnavailableError
from sekisho.model.observation import DnstapObservation

if TYPE_CHECKING:
    from sekisho.drivers.dnstap import Tap

log = structlog.get_logger("sekisho.dnstap")

Json = dict[str, Any]
RETRY = 5.0
"""Seconds after which what could not be opened is tried again."""


class Taps:
    """The listener of one site; `folder` is that of the plane's tables."""

    def __init__(self, folder: Path, seen: Seen) -> None:
        self._folder, self._seen = folder, seen
        self._settings: DnstapSettings | None = None
        self._tap: Tap | None = None
        self._retry_at = 0.0
        self.error: str | None = None
        """Why nobody listens."""

    async def follow(self, settings: DnstapSettings | None, ticks: float) -> None:
        """Listen as `settings` say, or not at all. `ticks`: monotonic seconds. Raises nothing: what fails is told and tried again."""
        if settings != self._settings:
            await self.close()
            self._settings, self._retry_at = settings, ticks
            self._seen.wanted = settings is not None
            self._seen.answers_only = settings is not None and settings.count is Counted.RESPONSES
        if self._tap is not None and not self._tap.is_alive:
            log.error("dnstap-stopped")
            await self.close()
        if settings is not None and self._tap is None and ticks >= self._retry_at:
            self._retry_at = ticks + RETRY
            await self._open(settings)

    async def close(self) -> None:
        """Stop listening."""
        tap, self._tap = self._tap, None
        self.error = None
        if tap is not None:
            await asyncio.to_thread(tap.close)

    async def _open(self, settings: DnstapSettings) -> None:
        # Imported for a site that has such resolvers: it brings compiled code.
        from sekisho.drivers.dnstap import Tap  # noqa: PLC0415

        try:
            self._tap = await asyncio.to_thread(Tap, self._folder, settings, self._seen)
        except UnavailableError as error:
            if self.error is None:
                log.error("failing", task="dnstap", error=str(error))  # noqa: TRY400 - the sentence says it all
            self.error = str(error)
            return
        self.error = None
        self._tap.start()
        log.info("dnstap", socket=str(settings.socket))

    def observation(self) -> DnstapObservation | None:
        """None where no resolver is to tell of queries."""
        seen = self._seen
        if self._settings is None:
            return None
        return DnstapObservation(
            listening=self._tap is not None,
            streams=seen.streams,
            frames={tally.name.lower(): int(seen.tallies[tally]) for tally in Tally},
            ended={why.value: seen.ended[why] for why in Ended},
        )

    def body(self) -> Json | None:
        """As `status` tells it."""
        found, settings = self.observation(), self._settings
        if found is None or settings is None:
            return None
        return {
            "socket": str(settings.socket),
            "listening": found.listening,
            "error": self.error,
            "resolvers": found.streams,
            "frames": dict(found.frames),
            "ended": dict(found.ended),
        }

    def warnings(self) -> list[str]:
        if self._settings is None:
            return []
        if self.error is not None:
            return [f"{self.error}; queries that resolvers tell of are not counted"]
        if self._tap is not None and not self._seen.streams:
            found = (
                f"no resolver tells of queries at {self._settings.socket}: nobody is found by them, and no finding ends; "
                "start the resolver's dnstap, or take `dnstap:` out"
            )
            return [found]
        return []
