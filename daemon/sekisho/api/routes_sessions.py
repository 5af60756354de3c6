"""The routes of sessions.

GET    /v1/sessions?customer=&user=&nas=&unknown=&ended=&limit=
POST   /v1/sessions/at {address, at, port, reason}

The second changes nothing but the record, which has who asked: a viewer may.
"""

from __future__ import annotations

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import MAX_LIMIT, Fields


async def show_sessions(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, user, nas = (fields.optional_text(name) for name in ("customer", "user", "nas"))
    unknown, ended = (bool(fields.integer(name, 0, 0, 1)) for name in ("unknown", "ended"))
    limit = fields.integer("limit", 100, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_sessions(customer, user, nas, unknown=unknown, ended=ended, limit=limit)


async def session_at(operations: Operations, fields: Fields, actor: str) -> Json:
    address, at, reason = fields.text("address"), fields.time("at"), fields.optional_text("reason") or ""
    port = fields.integer("port", -1, -1, 65535)
    fields.end()
    return await operations.session_at(address, at, port if port >= 0 else None, reason, actor=actor)
