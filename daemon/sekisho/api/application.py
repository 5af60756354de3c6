"""The ASGI application: routing, errors as JSON, and nothing said of what a request held.

Who asks has the role the route states, or gets 403. Every act - a request that needs the operator's
role - leaves a log line with who asked, whatever became of it: route and status, and no word of the
request. What was done is the ledger's to say.

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
from sekisho.api.requests import BadRequestError, ForbiddenError
from sekisho.api.route import ApiRoute
from sekisho.api.routes import ROUTES, read_fields
from sekisho.model.errors import ConfigError, FeedError, LedgerError, RefusedError, SekishoError, TableError, UnavailableError
from sekisho.model.roles import Caller, Role, Roles

log = structlog.get_logger("sekisho.api")

_STATUS: tuple[tuple[type[SekishoError], HTTPStatus], ...] = (
    (BadRequestError, HTTPStatus.BAD_REQUEST),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (RefusedError, HTTPStatus.CONFLICT),
    (ConfigError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (FeedError, HTTPStatus.BAD_GATEWAY),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (LedgerError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TableError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def application(operations: Operations, roles: Callable[[], Roles]) -> Starlette:
    """The application that serves `operations` to those with a role; `roles` is asked at each request."""
    table: dict[str, dict[str, ApiRoute]] = {}
    for route in ROUTES:
        table.setdefault(route.path, {})[route.method] = route
    routes = [Route(path, _serve(operations, roles, methods), methods=list(methods)) for path, methods in table.items()]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


def error_body(error: SekishoError) -> dict[str, Any]:
    """An error as the API and the command line say it."""
    if isinstance(error, ConfigError):
        faults = [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in error.faults]
        count = "1 fault was found" if len(faults) == 1 else f"{len(faults)} faults were found"
        return {"error": count, "hint": "correct them and ask again; what was in force stays in force", "faults": faults}
    wrong, _, hint = str(error).partition("; ")
    return {"error": wrong, "hint": hint}


def refuse_unless(role: Role | None, needed: Role, caller: Caller) -> None:
    """Raises ForbiddenError, with how to get the role, if `role` is not enough."""
    if role is None or role < needed:
        has = "no role" if role is None else f"the role {role.label}"
        raise ForbiddenError(
            f"this needs the role {needed.label}, and {caller.actor} has {has}; "
            f"name the user or a group of theirs under roles.{needed.label} in sekisho.yaml and reload, "
            "as root or as an operator (a new group counts from the user's next login)"
        )


def _serve(operations: Operations, roles: Callable[[], Roles], methods: dict[str, ApiRoute]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        route = methods["GET" if request.method == "HEAD" else request.method]
        caller: Caller = request.state.caller
        try:
            # Before a byte of the body is read.
            refuse_unless(roles().of(caller), route.role, caller)
            answer = await route.endpoint(operations, await read_fields(request), caller.actor)
        except SekishoError as error:
            status = next((status for cls, status in _STATUS if isinstance(error, cls)), HTTPStatus.INTERNAL_SERVER_ERROR)
            _attribute(route, caller, status)
            return JSONResponse(error_body(error), status)
        except Exception as error:  # noqa: BLE001 - the outermost boundary of a request
            # Where, and not what: the text of an unforeseen error may hold what the request held.
            where = traceback.extract_tb(error.__traceback__)[-1]
            log.error("api-failed", route=request.url.path, error=type(error).__name__, file=where.filename, line=where.lineno)  # noqa: TRY400
            _attribute(route, caller, HTTPStatus.INTERNAL_SERVER_ERROR)
            body = {"error": "the daemon failed to carry this out", "hint": "its log says where; please report it"}
            return JSONResponse(body, HTTPStatus.INTERNAL_SERVER_ERROR)
        _attribute(route, caller, HTTPStatus.OK)
        return JSONResponse(answer)

    return serve


def _attribute(route: ApiRoute, caller: Caller, status: HTTPStatus) -> None:
    """Say in the log who asked for an act, or for what they have no role for."""
    if status is HTTPStatus.FORBIDDEN:
        log.warning("forbidden", route=f"{route.method} {route.path}", actor=caller.actor, pid=caller.pid, needs=route.role.label)
    elif route.role is Role.OPERATOR:
        log.info("act", route=f"{route.method} {route.path}", actor=caller.actor, status=int(status))


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    body = {"error": f"the API has no such operation ({status})", "hint": "use a command line of the daemon's own version"}
    return JSONResponse(body, status)
