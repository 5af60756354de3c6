"""The sinks of the configuration in force, each with its task: opened, changed at a reload, closed at the end.

Owns which sinks run. How one goes on is `drivers.sinks`'.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from sekisho.config.events import AnySink, EventSettings, FileSinkSettings, StdoutSinkSettings, SyslogSinkSettings
from sekisho.drivers.sinkplaces import Record
from sekisho.drivers.sinks import Sink, Transport
from sekisho.model.observation import SinkObservation
from sekisho.model.publication import words_named

log = structlog.get_logger("sekisho.sinks")

Json = dict[str, Any]

FOLDER = "sinks"
"""Below the state folder: the place of each sink in the ledger."""


@dataclass(slots=True)
class _Running:
    settings: AnySink
    source: str
    sink: Sink
    task: asyncio.Task[None]


class Sinks:
    """The sinks that run. `end` gives the number of the last act on the record."""

    def __init__(self, record: Record, end: Callable[[], int], state: Path, clock: Callable[[], float]) -> None:
        self._record, self._end, self._clock = record, end, clock
        self._folder = state / FOLDER
        self._running: dict[str, _Running] = {}

    async def adopt(self, settings: EventSettings) -> None:
        """Run these sinks and no other. One whose settings are as before goes on undisturbed."""
        wanted = {one.id: one for one in settings.sinks}
        for name, running in list(self._running.items()):
            if running.settings != wanted.get(name) or running.source != settings.source:
                del self._running[name]
                await _stop(running)
        for name, one in wanted.items():
            if name not in self._running:
                self._running[name] = self._start(one, settings.source)
        self._running = {name: self._running[name] for name in wanted}

    async def close(self) -> None:
        running = list(self._running.values())
        self._running = {}
        await asyncio.gather(*(_stop(one) for one in running))

    def bodies(self) -> list[Json]:
        """The sinks in the order of the configuration, as `status` tells them."""
        return [
            {
                "id": name,
                "kind": one.settings.kind,
                "to": _shown(one.settings),
                "number": one.sink.state.number,
                "behind": one.sink.lag(),
                "behind_seconds": one.sink.lag_seconds(),
                "taken": one.sink.state.taken,
                "failures": one.sink.state.failures,
                "passed_over": one.sink.state.passed_over,
                "error": one.sink.state.error,
                "failing_since": one.sink.state.failing_since,
            }
            for name, one in self._running.items()
        ]

    def observations(self) -> tuple[SinkObservation, ...]:
        return tuple(
            SinkObservation(
                id=name,
                kind=one.settings.kind,
                behind=one.sink.lag(),
                behind_seconds=one.sink.lag_seconds(),
                taken=one.sink.state.taken,
                failures=one.sink.state.failures,
                failing=one.sink.state.failing_since is not None,
            )
            for name, one in self._running.items()
        )

    def _start(self, settings: AnySink, source: str) -> _Running:
        sink = Sink(
            settings.id,
            self._transport(settings),
            self._record,
            self._end,
            self._clock,
            self._folder,
            source,
            words_named(settings.types),
            from_now=settings.begin == "now",
        )
        task = asyncio.create_task(sink.run(), name=f"sink-{settings.id}")
        task.add_done_callback(functools.partial(_ended, sink))
        return _Running(settings, source, sink, task)

    def _transport(self, settings: AnySink) -> Transport:
        # Imported for a sink of the kind: most sites have one or none, and the HTTP client takes long to import.
        match settings:
            case FileSinkSettings():
                from sekisho.drivers.sinksfile import FileTransport  # noqa: PLC0415

                return FileTransport(settings.path, settings.rotate, settings.rotate_count, settings.keep)
            case StdoutSinkSettings():
                from sekisho.drivers.sinksfile import StdoutTransport  # noqa: PLC0415

                return StdoutTransport()
            case SyslogSinkSettings():
                from sekisho.drivers.sinkssyslog import SyslogTransport  # noqa: PLC0415

                return SyslogTransport(settings.to, settings.facility)
            case _:
                from sekisho.drivers.sinkswebhook import WebhookTransport  # noqa: PLC0415

                return WebhookTransport(settings.url, settings.secret, settings.timeout, settings.batch, self._clock)


async def _stop(running: _Running) -> None:
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    await running.sink.close()


def _ended(sink: Sink, task: asyncio.Task[None]) -> None:
    """A sink's task goes on for ever: one that ends by itself has met a fault of ours, which the log and `status` say."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("sink-ended", sink=sink.name, exc_info=error)
        sink.give_up(f"the sink has ended by a fault of Sekisho's ({type(error).__name__}), report the log; a restart starts it again")


def _shown(settings: AnySink) -> str:
    """Where a sink leads to, without what may be a secret."""
    match settings:
        case FileSinkSettings():
            return str(settings.path)
        case StdoutSinkSettings():
            return "standard output"
        case SyslogSinkSettings():
            return str(settings.to)
        case _:
            from sekisho.drivers.webfeeds import shown_url  # noqa: PLC0415 - with the HTTP client

            return shown_url(settings.url)
