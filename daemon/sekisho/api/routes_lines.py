"""The routes of lines: what the kernel does to them.

GET    /v1/lines?customer=&limit=
"""

from __future__ import annotations

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import MAX_LIMIT, Fields
from sekisho.api.route import ApiRoute
from sekisho.model.roles import Role


async def show_lines(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, limit = fields.optional_text("customer"), fields.integer("limit", 1000, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_lines(customer, limit=limit)


LINE_ROUTES: tuple[ApiRoute, ...] = (ApiRoute("GET", "/v1/lines", Role.VIEWER, show_lines),)
