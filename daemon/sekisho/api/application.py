"""The ASGI application: routing, errors as JSON, and nothing said of what a request held.

Every error is `{"error": what is wrong, "hint": what to do}`; the two halves of one sentence of
`sekisho.model.errors`, which are written `wrong; what to do`.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sekisho.api.operations import Operations
from sekisho.api.requests import BadRequestError
from sekisho.api.routes import ROUTES, Endpoint, read_fields
from sekisho.model.errors import ConfigError, FeedError, LedgerError, RefusedError, SekishoError, TableError, UnavailableError

log = structlog.get_logger("sekisho.api")

_STATUS: tuple[tuple[type[SekishoError], HTTPStatus], ...] = (
    (BadRequestError, HTTPStatus.BAD_REQUEST),
    (RefusedError, HTTPStatus.CONFLICT),
    (ConfigError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (FeedError, HTTPStatus.BAD_GATEWAY),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (LedgerError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TableError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def application(operations: Operations) -> Starlette:
    """The application that serves `operations`."""
    table: dict[str, dict[str, Endpoint]] = {}
    for method, path, endpoint in ROUTES:
        table.setdefault(path, {})[method] = endpoint
    routes = [Route(path, _serve(operations, methods), methods=list(methods)) for path, methods in table.items()]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


def error_body(error: SekishoError) -> dict[str, Any]:
    """An error as the API and the command line say it."""
    if isinstance(error, ConfigError):
        faults = [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in error.faults]
        count = "1 fault was found" if len(faults) == 1 else f"{len(faults)} faults were found"
        return {"error": count, "hint": "correct them and ask again; what was in force stays in force", "faults": faults}
    wrong, _, hint = str(error).partition("; ")
    return {"error": wrong, "hint": hint}


def _serve(operations: Operations, methods: dict[str, Endpoint]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        try:
            answer = await endpoint(operations, await read_fields(request), _actor(request))
        except SekishoError as error:
            status = next((status for cls, status in _STATUS if isinstance(error, cls)), HTTPStatus.INTERNAL_SERVER_ERROR)
            return JSONResponse(error_body(error), status)
        except Exception as error:  # noqa: BLE001 - the outermost boundary of a request
            # Where, and not what: the text of an unforeseen error may hold what the request held.
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error("api-failed", route=request.url.path, error=type(error).__name__, file=where.filename, line=where.lineno)  # noqa: TRY400
            body = {"error": "the daemon failed to carry this out", "hint": "its log says where; please report it"}
            return JSONResponse(body, HTTPStatus.INTERNAL_SERVER_ERROR)
        return JSONResponse(answer)

    return serve


def _actor(request: Request) -> str:
    return request.client.host if request.client else "unknown"


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    body = {"error": f"the API has no such operation ({status})", "hint": "use a command line of the daemon's own version"}
    return JSONResponse(body, status)
