"""`/metrics`: the observation of the daemon, in the words of the exporter, on a socket of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sekisho.model.errors import UnavailableError
from sekisho.model.observation import Observation
from sekisho_exporters.prometheus import registry_of, render


def metrics_application(observe: Callable[[], Observation]) -> Starlette:
    """The application that shows what `observe` gives at the time of each scrape."""
    registry: CollectorRegistry = registry_of(observe)

    async def metrics(request: Request) -> Response:
        body, content_type = render(registry, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Starlette(routes=[Route("/metrics", metrics, methods=["GET"])])


def bind_metrics(host: str, port: int) -> socket.socket:
    """The socket metrics are served on. Raises UnavailableError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise UnavailableError(f"metrics cannot be served on {shown} ({error.strerror}); name another address under `metrics:`") from error
