"""The doors of the daemon: the operators' API on its Unix socket, and `/metrics`.

Owns opening and closing them. Imported once the tables are in force: web server, API and metrics take
long to import, and the first answer of the plane needs none of them.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from sekisho.api.application import application
from sekisho.api.bounded import LimitedProtocol
from sekisho.api.server import SOCKET_NAME, ApiServer, listen, mode_for, server
from sekisho.app.control_core import Core
from sekisho.app.control_metrics import bind_metrics, metrics_application
from sekisho.app.control_operations import Control
from sekisho.app.control_status import observe

_METRICS_GRACE = 1
"""Seconds a scrape under way has at the end."""


@dataclass(frozen=True, slots=True)
class Door:
    """A server and what it listens on."""

    server: ApiServer
    opened: socket.socket
    path: Path | None = None
    """Of a Unix socket."""

    async def serve(self) -> None:
        await self.server.serve([self.opened])

    def close(self) -> None:
        """Have `serve` end."""
        self.server.should_exit = True

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def open_doors(core: Core) -> list[Door]:
    """Listen, to be served. Raises UnavailableError."""
    settings = core.site.settings
    core.door = settings.runtime / SOCKET_NAME
    api = server(application(Control(core), lambda: core.roles))
    doors = [Door(api, listen(core.door, mode_for(core.roles)), core.door)]
    if settings.metrics is not None:
        metrics = server(metrics_application(lambda: observe(core)), LimitedProtocol, grace=_METRICS_GRACE)
        doors.append(Door(metrics, bind_metrics(settings.metrics.host, settings.metrics.port)))
    return doors
