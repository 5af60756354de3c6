"""The routes of notices and attention calls.

GET    /v1/notices?customer=&state=&limit=       POST /v1/notices/bounced {address | message}
GET    /v1/attention?customer=&state=            POST /v1/attention/answer, close {call, reason}
POST   /v1/notice-report {report, clause, lines}
"""

from __future__ import annotations

from sekisho.api.operations import Json, Operations
from sekisho.api.requests import MAX_LIMIT, BadRequestError, Fields

MAX_LINES = 5000
"""Lines of a report in one request at most."""


async def show_notices(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, state = fields.optional_text("customer"), fields.optional_text("state")
    limit = fields.integer("limit", 100, 1, MAX_LIMIT)
    fields.end()
    return await operations.show_notices(customer, state, limit=limit)


async def bounced(operations: Operations, fields: Fields, actor: str) -> Json:
    address, message = fields.optional_text("address"), fields.optional_text("message")
    fields.end()
    if (address is None) == (message is None):
        raise BadRequestError("a bounce is an address or a delivery report and not both; send one of the two")
    return await operations.bounced(address, message, actor=actor)


async def show_calls(operations: Operations, fields: Fields, _actor: str) -> Json:
    customer, state = fields.optional_text("customer"), fields.optional_text("state")
    fields.end()
    return await operations.show_calls(customer, state)


async def answer_call(operations: Operations, fields: Fields, actor: str) -> Json:
    call, reason = fields.text("call"), fields.optional_text("reason") or ""
    fields.end()
    return await operations.answer_call(call, reason=reason, actor=actor)


async def close_call(operations: Operations, fields: Fields, actor: str) -> Json:
    call, reason = fields.text("call"), fields.optional_text("reason") or ""
    fields.end()
    return await operations.close_call(call, reason=reason, actor=actor)


async def import_report(operations: Operations, fields: Fields, actor: str) -> Json:
    report, clause = fields.text("report"), fields.optional_text("clause")
    lines = fields.mappings("lines", MAX_LINES)
    fields.end()
    return await operations.import_report(report, clause, lines, actor=actor)
